"""The package as a whole: what an import costs, and that the examples in the documentation are true."""

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import splatview

# Of its own folder alone: an editable install adds the checkout to its path, and walking that imports all of it again as
# splatview.splatview, whose message classes viser would take for ours in every test that follows.
MODULES = [
    module.name
    for module in pkgutil.walk_packages([str(Path(splatview.__file__).parent)], "splatview.")
    if not module.name.endswith("__main__") and ".native" not in module.name
]


@pytest.mark.parametrize("name", ["splatview", *MODULES])
def test_examples_are_true(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # examples save files
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert "splatview.splatview" not in sys.modules
    assert result.failed == 0  # the differences are in the captured output


@pytest.mark.parametrize("name", ["Camera", "Gaussians", "RenderOptions", "Scene", "load", "open_renderer", "save"])
def test_what_is_public_has_an_example(name):
    tests = doctest.DocTestFinder(recurse=False).find(getattr(splatview, name), name)
    assert any(test.examples for test in tests)


def test_importing_splatview_costs_numpy_alone():
    code = """if True:
        import sys, numpy
        before = set(sys.modules)
        import splatview
        packages = {name.partition(".")[0] for name in set(sys.modules) - before}
        print(sorted(name for name in packages if name not in sys.stdlib_module_names))
        print(sorted(name for name in sys.modules if name.startswith("splatview.")))
    """
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] in ("['splatview']", "['numpy', 'splatview']")  # parts of numpy are loaded late
    numpy_only = "arrays geometry harmonics camera gaussians volumes hashgrid viewpoints scene frame latest"
    layer_0 = {f"splatview.{name}" for name in numpy_only.split()}
    assert set(eval(lines[1])) <= layer_0


def test_the_source_without_its_native_module_says_what_to_do():
    """As Python finds it in a checkout after `pip install .`."""
    code = "import sys; sys.modules['splatview.native._splats'] = None; import splatview; splatview.open_renderer('cpu')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "pip install -e" in done.stderr.splitlines()[-1]


def test_every_public_name_is_there():
    assert len(splatview.__all__) <= 12
    for name in splatview.__all__:
        assert getattr(splatview, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = splatview.nothing
