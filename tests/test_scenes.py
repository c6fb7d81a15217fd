"""The bundled scene: what the repository promises of it, and that its maker still makes it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import splatview
from splatview.formats import spz
from splatview.framing import frame_scene

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "scenes" / "led_stage.spz"


@pytest.fixture(scope="module")
def demo():
    return spz.decode(DEMO.read_bytes())


@pytest.fixture(scope="module")
def scene():
    return splatview.load(DEMO)


def test_it_is_small_and_has_enough_to_show(demo):
    assert DEMO.stat().st_size < 4_000_000
    assert len(demo) >= 100_000
    assert demo.sh_degree == 3


def test_every_number_is_finite_and_every_splat_visible(demo):
    for array in (demo.means, demo.quats, demo.log_scales, demo.opacity_logits, demo.sh):
        assert np.isfinite(array).all()
    assert (demo.opacities > 1 / 255).all()
    assert (demo.scales.max(1) < 1.5).all()  # metres: nothing hangs over the stage


def test_the_floor_gleams_and_the_wall_does_not(demo):
    gleam = np.abs(demo.sh[:, 1:]).max((1, 2))
    floor = np.abs(demo.means[:, 2]) < 1e-3
    assert (gleam[floor] > 0.02).mean() > 0.9
    on_wall = (np.abs(np.hypot(demo.means[:, 0], demo.means[:, 1]) - 6.5) < 1e-3) & (demo.means[:, 2] > 0.2)
    assert on_wall.sum() > 30_000 and not gleam[on_wall].any()


def test_up_is_guessed(scene):
    assert frame_scene(scene).up_axis == "z"


def test_the_opening_view_shows_it(scene):
    frame = splatview.open_renderer("cpu").render(scene, frame_scene(scene).camera(640, 360))
    assert (frame.alpha > 0.5).mean() > 0.2
    middle = frame.rgb[120:240, 220:420]
    assert middle.mean() > 0.15 and middle.std() > 0.1


@pytest.mark.slow
def test_the_maker_makes_the_same_scene(demo, tmp_path):
    pytest.importorskip("scipy", reason="tools/make_scenes.py needs scipy")
    made = tmp_path / "again.spz"
    subprocess.run([sys.executable, ROOT / "tools" / "make_scenes.py", "--output", made], check=True, capture_output=True, cwd=ROOT)
    again = spz.decode(made.read_bytes())
    assert len(again) == len(demo)
    assert np.abs(again.means - demo.means).max() <= 2 / 4096
    assert np.abs(again.log_scales - demo.log_scales).max() <= 1 / 16 + 1e-6
    # Another processor may round a ray past an edge: a few of the fitted colours may then differ.
    assert (np.abs(again.sh - demo.sh).max((1, 2)) > 0.05).mean() < 0.001
