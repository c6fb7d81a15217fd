"""A picture laid onto what another frame shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from render_cases import cloud, psnr

from splatview import Camera, Gaussians, RenderOptions, Scene, open_renderer
from splatview.frame import Frame
from splatview.scene import Layer
from splatview.stylize.carried import carried

OPTIONS = RenderOptions(outputs=("rgb8", "alpha", "depth"), background=(0.1, 0.2, 0.3))


def board(y, size, count, seed):
    """A coloured board in the plane y, of small flat splats."""
    x, z = (axis.reshape(-1) for axis in np.meshgrid(*np.linspace(-size, size, count)[None].repeat(2, 0)))
    rng = np.random.default_rng(seed)
    waves = sum(np.sin(np.outer(x, a) + np.outer(z, b)) for a, b in rng.normal(0, 6, (2, 2, 3)))
    scale = np.log(1.2 * size / count)
    return Gaussians(
        np.stack([x, np.full_like(x, y), z], 1), np.tile([1.0, 0, 0, 0], (len(x), 1)), np.tile([scale, -6.0, scale], (len(x), 1)),
        np.full(len(x), 9.0), waves[:, None],
    )  # fmt: skip


@pytest.fixture(scope="module")
def seen():
    """Frames of a small board before a large one."""
    renderer = open_renderer("cpu")
    scene = Scene({"front": Layer(board(-1.0, 0.4, 40, 1)), "back": Layer(board(1.5, 6.0, 160, 2))})

    def shot(x=0.0, width=160, height=90, shift=0.0):
        camera = Camera.look_at((x, -4.0, 0.5), (0, 0, 0), (0, 0, 1), 0.6, width, height)
        k = camera.K.copy()
        k[0, 2] += shift
        return renderer.render(scene, Camera(k, camera.camera_from_world, width, height), OPTIONS)

    return shot


def test_onto_its_own_frame_a_picture_is_itself(seen):
    for frame in (seen(), seen(0.7, 131, 77, 11.0)):
        style = np.random.default_rng(0).integers(0, 256, frame.rgb8.shape, dtype=np.uint8)
        assert np.abs(carried(style, frame, frame).astype(int) - style).max() <= 1


@pytest.mark.parametrize(("x", "size"), [(0.25, (160, 90)), (-0.4, (240, 135)), (0.3, (81, 47))])
def test_what_is_rendered_is_carried_to_what_is_rendered_there(seen, x, size):
    before, now = seen(), seen(x, *size)
    apart = psnr(before.rgb8 / 255, seen(x).rgb8 / 255)
    assert psnr(carried(before.rgb8, before, now) / 255, now.rgb8 / 255) > max(21, apart + 4)


def test_what_was_hidden_is_changed_as_what_is_around_it(seen):
    """A style that makes everything darker by the same has done so there, too."""
    before, now = seen(-0.5), seen(0.5)
    style = (before.rgb8 * 0.5).astype(np.uint8)
    got, expected = carried(style, before, now), now.rgb8 * 0.5
    assert psnr(got / 255, expected / 255) > 24
    assert np.abs(got.astype(int) - now.rgb8).mean() > 15, "the case shows nothing"


def test_from_the_other_side_nothing_is_known_and_the_frame_is_shown(seen):
    before = seen()
    camera = Camera.look_at((0, 50, 0), (0, 100, 0), (0, 0, 1), 0.6, 160, 90)
    away = replace(open_renderer("cpu").render(Scene({"cloud": Layer(cloud(50))}), camera, OPTIONS))
    style = np.full_like(before.rgb8, 255)
    got = carried(style, before, away)
    assert got.shape == away.rgb8.shape and (got >= away.rgb8).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (17, 5)])
def test_any_size_is_carried_to_any(size):
    camera = Camera.look_at((0, -4, 0), (0, 0, 0), (0, 0, 1), 0.6, *size)
    shape = size[::-1]
    images = {"rgb8": np.full((*shape, 3), 9, np.uint8), "depth": np.full(shape, 4, np.float32), "alpha": np.ones(shape, np.float32)}
    frame = Frame(camera, images)
    other = Frame(Camera.look_at((1, -4, 0), (0, 0, 0), (0, 0, 1), 0.6, 5, 9), {
        "rgb8": np.full((9, 5, 3), 9, np.uint8), "depth": np.full((9, 5), 4, np.float32), "alpha": np.ones((9, 5), np.float32)
    })  # fmt: skip
    assert carried(images["rgb8"], frame, other).shape == (9, 5, 3) and carried(other.rgb8, other, frame).shape == (*shape, 3)
