"""Another tool, PlayCanvas' splat-transform, reads what we write, and we read what it writes (`make peer` installs it and runs this)."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from format_steps import COMPRESSED, SPLAT, SPZ, angles, check, chunk_errors, matched

import splatview
from splatview.formats import FORMATS
from splatview.scene import Layer, Scene

READS = {".ply", ".compressed.ply", ".spz", ".sog", ".splat"}
WRITES = {".ply", ".compressed.ply", ".spz", ".sog", ".glb"}
CASES = [(entry.suffix, {}) for entry in FORMATS if entry.encode and entry.suffix in READS] + [(".spz", {"spz_version": 4})]
STEPS = {".compressed.ply": COMPRESSED, ".spz": SPZ, ".splat": SPLAT}
ALPHA = 0.3 / 255  # we read the bytes 0 and 255 as a quarter of a step inside the ends
TURN = {".splat": 0.02}  # it divides by 255 where we, and the writers of this format, use 128


@pytest.fixture(scope="module")
def peer():
    """Converts a file into another; skips where the tool is not installed."""
    folder = Path(os.environ.get("SPLATVIEW_PEER") or Path(__file__).parents[1] / "tools" / ".peer")
    tool = shutil.which("splat-transform", path=folder / "node_modules" / ".bin") or shutil.which("splat-transform")
    if tool is None or shutil.which("node") is None:
        pytest.skip(f"splat-transform is neither in {folder} (or $SPLATVIEW_PEER) nor on the path: `make peer` installs it with npm")

    def convert(source, target):
        done = subprocess.run([tool, "-q", "-w", "-g", "cpu", source, target], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    return convert


@pytest.fixture
def truth(random_gaussians):
    return random_gaussians(700, 3)


def only(scene):
    [layer] = scene.layers.values()
    return layer.content


def assert_same(one, other, turn=1e-3):
    """The same Gaussians in the same order, but for rounding in float32."""
    np.testing.assert_allclose(one.means, other.means, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(one.log_scales, other.log_scales, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(one.opacities, other.opacities, atol=ALPHA)
    np.testing.assert_allclose(one.sh, other.sh, rtol=1e-5, atol=1e-5)
    assert angles(one.quats, other.quats).max() <= turn


@pytest.mark.parametrize(("suffix", "options"), CASES, ids=str)
def test_it_reads_what_we_write(peer, truth, tmp_path, suffix, options):
    path, converted = tmp_path / f"scene{suffix}", tmp_path / "converted.ply"
    splatview.save(Scene({"a": Layer(truth)}), path, **options)
    peer(path, converted)
    theirs = only(splatview.load(converted))
    theirs = replace(theirs, opacity_logits=np.clip(theirs.opacity_logits, -30, 30))  # it may write infinite ones
    assert_same(theirs, only(splatview.load(path)), TURN.get(suffix, 1e-3))
    if suffix in STEPS:
        errors = chunk_errors(path.read_bytes(), len(truth)) if suffix == ".compressed.ply" else ()
        check(matched(theirs, truth), theirs, STEPS[suffix], *errors, truncates=1 if suffix != ".splat" else 2)


@pytest.mark.parametrize("suffix", [entry.suffix for entry in FORMATS if entry.suffix in WRITES])
def test_we_read_what_it_writes(peer, truth, tmp_path, suffix):
    source, converted, back = tmp_path / "source.ply", tmp_path / f"converted{suffix}", tmp_path / "back.ply"
    splatview.save(Scene({"a": Layer(truth)}), source)
    peer(source, converted)
    ours = only(splatview.load(converted))
    if suffix in READS:
        peer(converted, back)
        assert_same(ours, only(splatview.load(back)))
    else:  # it only writes glb, and that without loss
        assert_same(ours, truth)
    if suffix in STEPS:
        errors = chunk_errors(converted.read_bytes(), len(truth)) if suffix == ".compressed.ply" else ()
        check(matched(ours, truth), ours, STEPS[suffix], *errors, truncates=2)


@pytest.mark.parametrize(("count", "degree"), [(1, 3), (300, 2), (300, 1), (300, 0)])
def test_every_degree_arrives(peer, random_gaussians, tmp_path, count, degree):
    truth = Scene({"a": Layer(random_gaussians(count, degree))})
    for suffix, options in CASES:
        splatview.save(truth, tmp_path / f"a{suffix}", **options)
        peer(tmp_path / f"a{suffix}", tmp_path / "back.ply")
        back = only(splatview.load(tmp_path / "back.ply"))
        assert back.sh_degree == (0 if suffix == ".splat" else degree)
        assert_same(back, only(splatview.load(tmp_path / f"a{suffix}")), TURN.get(suffix, 1e-3))
