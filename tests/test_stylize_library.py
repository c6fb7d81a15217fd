"""Styles by name: what is saved comes back, and what others do to the file harms nobody."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splatview.stylize.diffusing import Diffusing, Phrase
from splatview.stylize.library import BUILT_IN, LOOKS, Library, randomised


@dataclass(frozen=True)
class Paint:
    radius: float = 4


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "folder" / "styles.json", {"paint": Paint})


STYLES = st.builds(
    Diffusing,
    prompt=st.lists(st.builds(Phrase, st.text(max_size=20), st.floats(0, 2)), max_size=3).map(tuple),
    negative=st.text(max_size=20),
    seed=st.integers(0, 2**63 - 1),
    strength=st.floats(0, 1),
    steps=st.integers(1, 8),
    indices=st.sampled_from([(), (3, 40)]),
    guidance=st.sampled_from(["none", "full", "self", "initialize"]),
)


@given(style=STYLES, name=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=50))
def test_a_style_comes_back_as_it_was_saved(tmp_path_factory, style, name):
    path = tmp_path_factory.mktemp("styles") / "styles.json"
    Library(path).save(name, style)
    assert Library(path).load(name) == style and name in Library(path).names()


def test_styles_of_every_kind_lie_side_by_side(library):
    library.save("mine", Paint(7))
    library.save("oil", replace(Diffusing(), seed=5))
    assert library.load("mine") == Paint(7) and library.load("oil").seed == 5
    assert library.names()[:2] == ["mine", "oil"] and set(library.names()) == {"mine", *BUILT_IN}
    library.remove("oil")
    assert library.load("oil") == BUILT_IN["oil"]
    for name in ("oil", "nothing"):
        with pytest.raises(KeyError):
            library.remove(name)
    with pytest.raises(KeyError):
        library.load("nothing")
    assert [path.name for path in library.path.parent.iterdir()] == ["styles.json"]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101])
def test_names_are_one_line(library, name):
    with pytest.raises(ValueError, match="the name of a style"):
        library.save(name, Diffusing())
    with pytest.raises(ValueError, match="expected a value of Diffusing, Paint"):
        library.save("good", 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "expected a JSON file of styles"),
        ("[]", "expected a JSON file of styles"),
        ('{"version": 1, "styles": {"a": 3}}', "expected a JSON file of styles"),
        ('{"version": 9, "styles": {}}', "version 1, got 9"),
        (" " * (5 << 20), "expected a JSON file of styles"),
        ('{"a":' * 100_000, "expected a JSON file of styles"),
    ],
    ids=["text", "list", "number", "version", "huge", "deep"],
)
def test_a_file_that_is_none_of_ours_is_left_alone(library, content, message):
    library.path.parent.mkdir()
    library.path.write_text(content)
    for act in (library.names, lambda: library.save("a", Diffusing())):
        with pytest.raises(ValueError, match=message):
            act()
    assert library.path.read_text() == content


def test_styles_that_cannot_be_kept_leave_those_that_are(library, monkeypatch):
    library.save("a", Paint(3))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no more room")))
        with pytest.raises(OSError, match="no more room"):
            library.save("b", Paint(4))
    assert list(library.path.parent.iterdir()) == [library.path] and library.load("a") == Paint(3)


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ({"kind": "poem", "controls": {}}, "unknown kind, 'poem'"),
        ({"kind": "diffusion", "controls": {"strength": 5}}, "strength: expected 0 to 1, got 5"),
        ({"kind": "diffusion", "controls": {"prompt": "oil"}}, "prompt"),
        ({"kind": "diffusion"}, "the style 'a'"),
    ],
)
def test_a_style_that_is_broken_leaves_the_others(library, style, message):
    library.save("b", Paint(3))
    content = json.loads(library.path.read_text())
    content["styles"]["a"] = style
    library.path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        library.load("a")
    assert library.load("b") == Paint(3)


def test_fields_of_newer_versions_are_passed_over(library):
    library.save("b", Paint(3))
    library.path.write_text(library.path.read_text().replace('"radius": 3', '"radius": 3, "wetness": 2'))
    assert library.load("b") == Paint(3)


def test_chance_finds_other_looks_and_leaves_the_rest():
    before = Diffusing(size=256, mix=0.5, steps=2)
    found = [randomised(before, np.random.default_rng(seed)) for seed in range(20)]
    assert len({style.seed for style in found}) == 20 and len({style.prompt for style in found}) == 20
    assert all(phrase.text in LOOKS.values() for style in found for phrase in style.prompt)
    assert all((style.size, style.mix, style.steps) == (256, 0.5, 2) for style in found)
    assert randomised(before, np.random.default_rng(3)) == found[3]
