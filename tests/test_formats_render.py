"""The same scene looks the same from every format."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import splatview
from splatview.camera import Camera
from splatview.formats import FORMATS
from splatview.formats.packing import dc_from_colours
from splatview.frame import RenderOptions
from splatview.framing import frame_scene
from splatview.scene import Layer, Scene

LEAST = 35.0  # dB
FLAT = (".splat", ".ksplat")  # hold colours from 0 to 1 only
KINDS = ["compressed.ply", "v3.spz", "v4.spz", "splat", "glb", "l0_sh2.ksplat", "l1_sh2.ksplat", "l2_sh2.ksplat"]
SAME = [f"leica_derived/leica.{kind}" for kind in KINDS]
SAME += ["leica-sofort-top8192.sog", "../nerf/nerfstudio_splatfacto"]


@pytest.fixture(scope="module")
def leica(data):
    return splatview.load(data / "splats" / "leica-sofort-top8192.ply")


@pytest.fixture(scope="module")
def pictures():
    """Draws a scene from four sides: [4, H, W, 3]."""
    renderer = splatview.open_renderer("cpu")

    def draw(scene, sh_degree=None):
        [layer] = scene.layers.values()
        low, high = np.percentile(layer.content.means, [5, 95], axis=0)
        centre, reach = (low + high) / 2, 1.2 * np.linalg.norm(high - low)
        sides = reach * np.array([[1, 0.2, 0], [0, -0.2, 1], [-1, 0.3, 0.1], [0.1, -0.3, -1]])
        cameras = [Camera.look_at(np.round(centre + side, 2), np.round(centre, 2), (0, -1, 0), 0.7, 320, 240) for side in sides]
        options = RenderOptions(sh_degree=sh_degree)
        frames = [renderer.render(scene, camera, options) for camera in cameras]
        assert min(frame.alpha.mean() for frame in frames) > 0.1  # the scene is in the picture
        return np.stack([frame.rgb for frame in frames])

    return draw


def psnr(a, b):
    """Decibels between two sets of pictures, 1 the brightest, as they are shown."""
    return -10 * np.log10(np.mean((np.clip(a, 0, 1) - np.clip(b, 0, 1)) ** 2) + 1e-20)


def likeness(truth, picture, suffix):
    """Decibels of the worst view; of all views together where colours are cut, as clipped highlights fill some views and not others."""
    return psnr(truth, picture) if suffix in FLAT else min(map(psnr, truth, picture))


@pytest.mark.parametrize("name", SAME)
def test_leica_looks_like_its_ply(data, leica, pictures, name):
    scene = splatview.load(data / "splats" / name)
    [layer] = scene.layers.values()
    as_it_lies, degree = Scene({"a": Layer(layer.content)}), layer.content.sh_degree  # a run's frame is the ply's
    assert likeness(pictures(leica, degree), pictures(as_it_lies), Path(name).suffix) >= LEAST


@pytest.mark.parametrize("size", [(640, 480), (1280, 720)])
def test_a_splat_file_is_opened_on_a_view_that_looks_like_its_ply(data, leica, size):
    """The view that the viewer and `splatview render` begin with; others show more of the highlights that the format cuts."""
    [layer] = leica.layers.values()
    flat, camera = Scene({"a": Layer(layer.content.with_max_degree(0))}), frame_scene(leica).camera(*size)
    scene, renderer = splatview.load(data / "splats" / "leica_derived" / "leica.splat"), splatview.open_renderer("cpu")
    assert psnr(*(renderer.render(one, camera).rgb for one in (flat, scene))) >= LEAST


def test_a_splat_file_only_lacks_the_colours_out_of_range(data, leica, pictures):
    """Colours above 1 (1.5 % of this scene) are nearly all that the format loses besides the harmonics."""
    [layer] = leica.layers.values()
    splats, scene = layer.content, splatview.load(data / "splats" / "leica_derived" / "leica.splat")
    held = dc_from_colours(np.clip(splats.colours, 0, 1))[:, None]
    truth, picture = pictures(Scene({"a": Layer(replace(splats, sh=held))})), pictures(scene)
    assert psnr(truth, picture) >= 45 and min(map(psnr, truth, picture)) >= 40


@pytest.mark.parametrize("options", [{}, {"spz_version": 4}, {"max_sh": 1}], ids=str)
@pytest.mark.parametrize("suffix", [entry.suffix for entry in FORMATS if entry.encode])
def test_what_we_write_looks_like_what_we_read(leica, pictures, tmp_path, suffix, options):
    splatview.save(leica, tmp_path / f"a{suffix}", **options)
    scene = splatview.load(tmp_path / f"a{suffix}")
    degree = 0 if suffix == ".splat" else options.get("max_sh")
    truth, written = pictures(leica, degree), pictures(scene)
    assert likeness(truth, written, suffix) >= LEAST
    assert suffix != ".ply" or options.get("max_sh") or np.array_equal(truth, written)


def test_wrong_harmonics_look_different(leica, pictures):
    """The measure of the tests above notices what they are for."""
    [layer] = leica.layers.values()
    sh = layer.content.sh.copy()
    sh[:, 1:] *= -1
    assert psnr(pictures(leica), pictures(Scene({"a": Layer(replace(layer.content, sh=sh))}))) < LEAST
