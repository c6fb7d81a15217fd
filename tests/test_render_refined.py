"""Pictures of fields that come in more and more pixels: none is drawn twice, and the last is the one that is drawn at once."""

from __future__ import annotations

import gc
import itertools
import weakref

import numpy as np
import pytest
from render_cases import cloud, psnr
from small_fields import ball, slab

from splatview import Camera, RenderOptions, Scene, open_renderer
from splatview.frame import Interrupt, Interrupted
from splatview.geometry import Similarity
from splatview.render.field_cpu import FieldCpu, FieldImage
from splatview.render.refined import Refined
from splatview.render.splats_cpu import CpuRenderer
from splatview.scene import Layer
from splatview.stream.resolution import SHARES

HERE = Similarity(translation=(-0.5, -0.5, -0.5))


def shot(width=77, height=53):
    return Camera.look_at((0.3, -2.5, 0.4), (0, 0, 0), (0, 0, 1), 0.5, width, height)


@pytest.fixture
def scene():
    return Scene({"cloud": Layer(cloud(60)), "slab": Layer(slab(density=4.0), HERE), "ball": Layer(ball(density=9.0), HERE)})


@pytest.fixture
def counted():
    """A CPU renderer that counts what its parts are asked for: rays of fields, and pictures of splats."""
    renderer, fields = open_renderer("cpu"), FieldCpu()
    counts = {"rays": 0, "splats": 0}

    class Fields:
        def render(self, layer, camera, options, interrupt, *, divide=None):
            counts["rays"] += camera.width * camera.height
            return fields.render(layer, camera, options, interrupt, divide=divide)

    class Splats(CpuRenderer):
        def render(self, *asked):
            counts["splats"] += 1
            return super().render(*asked)

    return type(renderer)(Splats(), Fields), counts


@pytest.mark.parametrize("shares", [SHARES, (1 / 16, 1.0), (1 / 4, 1 / 2, 1.0), (0.3, 0.3, 0.9, 1.0), (1 / 64, 1.0)])
def test_the_last_picture_is_the_one_drawn_at_once_and_no_ray_was_drawn_twice(counted, scene, shares):
    renderer, counts = counted
    outputs = ("rgb", "rgb8", "alpha", "depth", "median_depth")
    whole = renderer.render(scene, shot(), RenderOptions(outputs=outputs))
    counts.update(rays=0, splats=0)
    apart = []
    for share in shares:
        frame = renderer.render(scene, shot(), RenderOptions(outputs=outputs, field_share=share))
        apart.append(psnr(frame.rgb, whole.rgb))
        assert counts["rays"] >= 0.99 * share * 2 * 77 * 53
    assert counts == {"rays": 2 * 77 * 53, "splats": 1}
    assert all(np.array_equal(frame.images[name], whole.images[name]) for name in outputs) and frame.counts == whole.counts
    assert all(before <= after for before, after in itertools.pairwise(apart)) and apart[0] > 20


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 1), (1, 9), (8, 8), (9, 17)])
def test_any_size_is_covered(width, height):
    camera, drawn = shot(width, height), np.zeros((height, width), int)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)

    def draw(part, pixels):
        """Every pixel tells the ray that it stands for."""
        u, v = np.meshgrid(np.arange(part.width) + 0.5, np.arange(part.height) + 0.5)
        rays = np.stack([u, v, np.ones_like(u)], -1) @ (camera.K @ np.linalg.inv(part.K)).T
        columns, rows = (rays[..., axis].astype(int) for axis in (0, 1))
        np.add.at(drawn, (rows, columns), 1)
        assert np.array_equal(rows, np.mgrid[:height, :width][0][pixels]) and np.array_equal(columns, np.mgrid[:height, :width][1][pixels])
        return FieldImage(rays.astype(np.float32), *np.ones((2, *u.shape), np.float32), np.ones(u.shape, np.int32))

    refined = Refined(camera)
    for share in SHARES:
        refined.refine(share, draw)
        assert refined.share >= share and drawn.max() == 1
        image = refined.image
        assert image.samples.sum() == drawn.sum() and np.allclose(image.alpha, 1, atol=1e-6) and np.allclose(image.depth, 1, atol=1e-6)
        if share in (1 / 2, 3 / 4):  # no lattice
            continue
        right, below = (slice(0, max(1, 8 * ((side - 1) // 8) + 1)) for side in (width, height))
        assert np.allclose(image.rgb[below, right, :2], np.stack([x, y], -1)[below, right], atol=1e-3), "linear between those around"
    assert drawn.all() and np.array_equal(image.rgb[..., 0], x.astype(np.float32))


def test_what_was_drawn_outlives_an_interruption_but_not_another_view(counted, scene):
    renderer, counts = counted
    renderer.render(scene, shot(), RenderOptions(field_share=1 / 4))
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(Interrupted):
        renderer.render(scene, shot(), RenderOptions(), interrupt)
    renderer.render(scene, shot(20, 20), RenderOptions())  # at once: it is not begun, and takes nobody's place
    counts.update(rays=0)
    whole = renderer.render(scene, shot(), RenderOptions(background=(1, 1, 1)))
    assert counts["rays"] == pytest.approx(2 * 0.75 * 77 * 53, rel=0.03)
    for changed in (RenderOptions(near=1.0), RenderOptions(field_detail=0.5)):
        counts.update(rays=0)
        renderer.render(scene, shot(), changed)
        assert counts["rays"] == 2 * 77 * 53
    again = Scene(dict(scene.layers))
    assert np.array_equal(renderer.render(again, shot(), RenderOptions(background=(1, 1, 1))).rgb, whole.rgb)
    assert counts["rays"] == 4 * 77 * 53


def test_a_removed_field_is_let_go(counted):
    renderer, _ = counted
    scene = Scene({"cloud": Layer(cloud(60)), "ball": Layer(ball(), HERE)})
    renderer.render(scene, shot(), RenderOptions(field_share=1 / 4))
    field = weakref.ref(scene.layers["ball"].content)
    scene = scene.without("ball")
    gc.collect()
    assert field() is not None, "the case shows nothing"
    renderer.render(scene, shot())
    gc.collect()
    assert field() is None


@pytest.mark.parametrize("share", [0.0, 1.01, np.nan])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=r"RenderOptions.field_share: expected a share over 0 and up to 1"):
        RenderOptions(field_share=share)
