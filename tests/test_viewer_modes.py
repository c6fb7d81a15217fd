"""View modes, the split screen and the overdraw guard."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from render_cases import cloud, shot

from splatview import Gaussians, RenderOptions, Scene, open_renderer
from splatview.frame import Interrupt
from splatview.outputs.images import ids_picture, normals_picture, overdraw_picture
from splatview.scene import Layer
from splatview.stream.resolution import Guard
from splatview.viewer.picture import Saved, coloured, draw, encoded
from splatview.viewer.view import Request, Shown, View

CAMERA = shot(160, 120)


@pytest.fixture(scope="module")
def renderer():
    return open_renderer("cpu")


def picture(renderer, view: View, scene: Scene | None = None):
    scene = scene or Scene({"cloud": Layer(cloud(800, degree=2))})
    return coloured(draw(renderer, Request(scene, CAMERA, view, 0.01), CAMERA, styled=lambda frame: 255 - frame.rgb8)[1])


def test_every_mode_shows_something_of_its_own(renderer):
    pictures = [picture(renderer, View(shown=mode)) for mode in get_args(Shown)]
    for index, one in enumerate(pictures):
        assert one.shape == (120, 160, 3) and one.std() > 5
        assert all(np.abs(one.astype(int) - other).mean() > 3 for other in pictures[:index])


@pytest.mark.parametrize("left", get_args(Shown))
@pytest.mark.parametrize("right", ["colour", "outlines", "overdraw"])
def test_a_split_shows_the_left_of_one_and_the_right_of_the_other(renderer, left, right):
    split = picture(renderer, View(shown=left, beside=right, split=0.25))
    assert np.array_equal(split[:, :40], picture(renderer, View(shown=left))[:, :40])
    assert np.array_equal(split[:, 40:], picture(renderer, View(shown=right))[:, 40:])


@pytest.mark.parametrize(("at", "columns"), [(0.0, 0), (1.0, 160)])
def test_a_split_may_stand_at_either_edge(renderer, at, columns):
    split = picture(renderer, View(shown="alpha", beside="colour", split=at))
    assert np.array_equal(split[:, :columns], picture(renderer, View(shown="alpha"))[:, :columns])
    assert np.array_equal(split[:, columns:], picture(renderer, View())[:, columns:])


@pytest.mark.parametrize("normal", [(0, -1, 0), (0.6, -0.8, 0), (-0.48, -0.6, 0.64)])
def test_the_normals_of_a_plane_are_its_own(normal):
    """A plane through the origin, by the depth of each pixel's ray."""
    camera = shot(64, 48)
    v, u = np.mgrid[:48, :64] + 0.5
    rays = np.stack([(u - camera.K[0, 2]) / camera.K[0, 0], (v - camera.K[1, 2]) / camera.K[1, 1], np.ones_like(u)], -1)
    towards = rays @ camera.camera_from_world[:3, :3]
    depth = -(camera.position @ np.array(normal)) / (towards @ np.array(normal))
    colours = normals_picture(depth.astype(np.float32), camera)[4:-4, 4:-4]
    assert np.abs(colours - (127.5 * np.array(normal) + 127.5)).max() <= 1.5
    assert not normals_picture(np.zeros((48, 64), np.float32), camera).any()


def test_overdraw_brightens_with_every_doubling():
    levels = overdraw_picture(np.array([[0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]], np.int32)).astype(int).sum(-1)[0]
    assert levels[0] == 0 and (np.diff(levels) > 0).all()
    assert overdraw_picture(np.array([[100_000]], np.int32)).sum() == levels[-1]


def test_ids_have_colours_of_their_own():
    """And so do fields, which have no ids."""
    ids, layers = np.arange(-1, 2000, dtype=np.int32)[None], np.zeros((1, 2001), np.int32)
    layers[0, 0] = -1
    colours = ids_picture(ids, layers)[0]
    assert not colours[0].any() and colours[1:].max(-1).min() >= 96
    assert len(np.unique(colours[1:], axis=0)) > 1990
    assert (ids_picture(ids, layers + 1)[0, 1:] != colours[1:]).any(-1).mean() > 0.99
    fields = ids_picture(np.full((1, 9), -1, np.int32), np.arange(9, dtype=np.int32)[None])[0]
    assert fields.max(-1).min() >= 96 and len(np.unique(fields, axis=0)) == 9


def crowd(count: int = 8000) -> Scene:
    """Faint splats that each fill the picture."""
    rng = np.random.default_rng(0)
    means, quats = rng.normal(0, 0.3, (count, 3)), np.tile([1.0, 0, 0, 0], (count, 1))
    return Scene({"crowd": Layer(Gaussians(means, quats, np.full((count, 3), 1.0), np.full(count, -5.2), rng.normal(size=(count, 1, 3))))})


def test_the_guard_bounds_what_every_pixel_blends(renderer):
    scene, view = crowd(), View(shown="overdraw")
    for limit in Guard.LIMITS[1:]:
        frame, _ = draw(renderer, Request(scene, CAMERA, view, 0.01), CAMERA, Interrupt(), Saved(limit))
        assert limit / 2 < frame.overdraw.max() <= limit
    free = renderer.render(scene, CAMERA, RenderOptions(outputs=("overdraw",)))
    assert free.overdraw.max() > Guard.LIMITS[1]


def test_the_guard_lets_everything_through_until_nothing_else_helps():
    guard = Guard()
    for frame_ms, blending_ms, smallest in ((100, 90, False), (100, 40, True), (40, 39, True), (20, 19, True)):
        guard.observe(frame_ms, blending_ms, 33, smallest)
        assert guard.limit is None


def test_the_guard_closes_step_by_step_and_opens_again():
    guard, seen = Guard(), []
    for _ in range(8):
        guard.observe(200, 190, 33, smallest=True)
        seen.append(guard.limit)
    assert seen == [2048, 1024, 512, 256, 128, 128, 128, 128]
    guard.observe(20, 18, 33, smallest=True)
    assert guard.limit == 128
    for _ in range(8):
        guard.observe(8, 6, 33, smallest=False)
    assert guard.limit is None


def test_a_mode_keeps_the_settings_of_the_view():
    view = View(shown="outlines", sh_degree=1, splat_scale=0.5, background=(1, 0, 0), antialiased=True)
    for mode in get_args(Shown):
        options = replace(view, shown=mode).options(0.25, (mode,))
        kept = options.sh_degree, options.splat_scale, options.background, options.antialiased, options.near
        assert kept == (1, 0.5, (1, 0, 0), True, 0.25)


def test_a_renderers_own_encoder_is_asked_for_its_own_picture_alone(renderer):
    asked = []

    def encoder(frame, quality):
        asked.append((frame, quality))
        return b"its own" if quality == 60 else None

    for view, own in ((View(), True), (View(shown="outlines"), True), (View(shown="normals"), False), (View(beside="depth"), False)):
        frame, pixels = draw(renderer, Request(Scene({"cloud": Layer(cloud())}), CAMERA, view, 0.01), CAMERA)
        assert (encoded(frame, pixels, 1.0, 60, encoder=encoder).jpeg == b"its own") == own
        assert encoded(frame, pixels, 1.0, 70, encoder=encoder).jpeg == encoded(frame, pixels, 1.0, 70).jpeg
    assert len(asked) == 4
