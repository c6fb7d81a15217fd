"""The CPU renderer draws the specified picture (`numpy_renderer`), and keeps the contract of `Renderer`."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import numpy_renderer
import pytest
from render_cases import CASES, EVERYTHING, alone, cloud, masked, psnr, several_layers, shot

from splatview import Gaussians, RenderOptions, Scene, open_renderer
from splatview.frame import Interrupt, Interrupted
from splatview.gaussians import concatenate
from splatview.geometry import Similarity
from splatview.scene import Layer


@pytest.fixture(scope="module")
def renderer():
    return open_renderer("cpu")


@pytest.mark.parametrize("name", CASES)
def test_the_picture_is_the_specified_one(renderer, name):
    scene, camera, options = CASES[name]()
    frame, expected = renderer.render(scene, camera, options), numpy_renderer.render(scene, camera, options)
    assert expected["alpha"].max() > 0.001, "the case shows nothing"
    for output in ("rgb", "alpha", "depth", "coverage"):
        assert psnr(getattr(frame, output), expected[output]) >= 60, output
    assert np.mean(np.isclose(frame.median_depth, expected["median_depth"], rtol=1e-4)) >= 0.995
    assert np.mean(frame.overdraw == expected["overdraw"]) >= 0.995
    assert np.mean((frame.ids == expected["ids"]) & (frame.id_layers == expected["id_layers"])) >= 0.995


def stacked(*logits: float) -> Gaussians:
    """Grey splats, larger than the picture, one behind the other."""
    count = len(logits)
    means = [[0, 0.1 * index, 0] for index in range(count)]
    return Gaussians(means, np.tile([1, 0, 0, 0], (count, 1)), np.full((count, 3), 3), np.array(logits), np.zeros((count, 1, 3)))


@pytest.mark.parametrize(
    ("logits", "alpha"),
    [
        ([40], 0.999),  # capped
        ([40, 40], 0.999),  # the second would leave 1e-6 of the light: it is left out
        ([3, 40], 1 / (1 + np.exp(-3))),  # and so is one that closes a pixel that was half open
        ([0, 0, 0], 1 - 0.5**3),
        ([np.log(0.99 / 254.01)], 0),  # just under 1/255
        ([np.log(1.01 / 253.99)], 1.01 / 255),
    ],
)
def test_the_limits_of_alpha_are_exact(renderer, logits, alpha):
    scene, camera, options = alone(stacked(*logits), shot(8, 8, fov_y=0.01))
    assert numpy_renderer.render(scene, camera, options)["alpha"] == pytest.approx(alpha, abs=1e-5)
    assert renderer.render(scene, camera, options).alpha == pytest.approx(alpha, abs=1e-5)


def test_outputs_have_the_promised_types(renderer):
    scene, camera, options = several_layers()
    frame = renderer.render(scene, camera, replace(options, outputs=(*EVERYTHING, "rgb8")))
    shape = (camera.height, camera.width)
    for name, dtype, tail in (
        ("rgb", np.float32, (3,)),
        ("rgb8", np.uint8, (3,)),
        ("alpha", np.float32, ()),
        ("depth", np.float32, ()),
        ("median_depth", np.float32, ()),
        ("ids", np.int32, ()),
        ("id_layers", np.int32, ()),
        ("overdraw", np.int32, ()),
        ("coverage", np.float32, ()),
    ):
        image = getattr(frame, name)
        assert (image.dtype, image.shape) == (dtype, shape + tail), name
    assert frame.timings and all(milliseconds >= 0 for milliseconds in frame.timings.values())


@pytest.mark.parametrize("output", EVERYTHING)
def test_an_output_does_not_depend_on_what_else_is_asked_for(renderer, output):
    scene, camera, options = several_layers()
    together = renderer.render(scene, camera, options)
    single = renderer.render(scene, camera, replace(options, outputs=(output,)))
    assert np.array_equal(getattr(single, output), getattr(together, output))
    with pytest.raises(ValueError, match="outputs"):
        _ = single.alpha if output != "alpha" else single.rgb


def test_the_8_bit_picture_is_the_rounded_one(renderer):
    scene, camera, _ = alone(cloud(1000, degree=3))
    bright = Scene({"cloud": Layer(replace(scene.layers["cloud"].content, sh=2 * scene.layers["cloud"].content.sh))})
    frame = renderer.render(bright, camera, RenderOptions(outputs=("rgb", "rgb8"), background=(0.3, 0.6, 0.9)))
    assert frame.rgb.max() > 1, "the case does not clamp"
    assert np.array_equal(frame.images["rgb8"], (np.clip(frame.rgb, 0, 1) * 255 + 0.5).astype(np.uint8))


@pytest.mark.parametrize("scene", [Scene(), Scene({"none": Layer(cloud(0))}), Scene({"unseen": Layer(cloud(), visible=False)})])
def test_nothing_to_draw_gives_the_background(renderer, scene):
    frame = renderer.render(scene, shot(), RenderOptions(background=(0.25, 0.5, 0.75), outputs=(*EVERYTHING, "rgb8")))
    assert np.allclose(frame.rgb, [0.25, 0.5, 0.75])
    assert np.array_equal(np.unique(frame.rgb8.reshape(-1, 3), axis=0), [[64, 128, 191]])
    assert not frame.alpha.any() and not frame.depth.any() and not frame.median_depth.any()
    assert not frame.overdraw.any() and not frame.coverage.any() and (frame.ids == -1).all() and (frame.id_layers == -1).all()


def test_a_placed_layer_is_drawn_as_the_moved_splats(renderer):
    splats, placement = cloud(degree=4), Similarity((0.3, -0.5, 0.7, 0.4), (0.4, -0.3, 0.2), 1.3)
    placed = renderer.render(Scene({"cloud": Layer(splats, placement)}), shot())
    baked = renderer.render(Scene({"cloud": Layer(splats.transformed(placement))}), shot())
    for output in ("rgb", "alpha", "depth"):
        assert psnr(getattr(placed, output), getattr(baked, output)) >= 60, output


def test_layers_are_sorted_together(renderer):
    parts = [cloud(200, seed=seed) for seed in range(3)]
    apart = renderer.render(Scene({str(index): Layer(part) for index, part in enumerate(parts)}), shot())
    joined = renderer.render(Scene({"all": Layer(concatenate(parts))}), shot())
    assert psnr(apart.rgb, joined.rgb) >= 80


def test_hiding_is_the_same_as_removing(renderer):
    scene, camera, options = masked(hidden="a")
    splats = scene.layers["a"].content
    removed = scene.with_layer("a", Layer(splats.take(~options.hidden["a"])))
    assert psnr(renderer.render(scene, camera, options).rgb, renderer.render(removed, camera).rgb) >= 80


def test_coverage_is_the_share_of_what_is_tinted(renderer):
    """Nothing tinted covers nothing, everything covers alpha, and disjoint parts add up; whether alone or among other outputs."""
    scene, camera, options = alone(cloud(800, size=-1.5))
    chosen = np.random.default_rng(0).random(800) < 0.3
    parts = {}
    for name, mask in (("none", ~chosen & chosen), ("some", chosen), ("others", ~chosen), ("all", chosen | ~chosen)):
        frame = renderer.render(scene, camera, replace(options, outputs=("alpha", "coverage"), tinted={"cloud": mask}))
        everything = renderer.render(scene, camera, replace(options, tinted={"cloud": mask}, tint=None))
        assert np.array_equal(frame.coverage, everything.coverage)
        assert np.array_equal(everything.rgb, renderer.render(scene, camera, options).rgb), "without a tint nothing changes its colour"
        parts[name] = frame.coverage
    assert not parts["none"].any() and parts["all"] == pytest.approx(frame.alpha, abs=1e-5)
    assert parts["some"].max() > 0.5 and parts["some"] + parts["others"] == pytest.approx(frame.alpha, abs=1e-5)


def test_a_warm_renderer_draws_what_a_fresh_one_draws(renderer):
    """Buffers and caches that are kept between frames do not show."""
    for name in ("dense", "one pixel", "several layers", "large picture", "hidden"):
        scene, camera, options = CASES[name]()
        fresh = open_renderer("cpu").render(scene, camera, options)
        warm = renderer.render(scene, camera, options)
        assert all(np.array_equal(warm.images[key], fresh.images[key]) for key in fresh.images), name


def test_an_earlier_frame_is_not_drawn_over(renderer):
    scene, camera, options = alone(cloud())
    first = renderer.render(scene, camera, options)
    before = {name: image.copy() for name, image in first.images.items()}
    renderer.render(*alone(cloud(seed=9)))
    assert all(np.array_equal(first.images[name], before[name]) for name in before)


def test_an_interrupt_ends_the_render_and_nothing_else(renderer):
    scene, camera, options = alone(cloud(2000))
    expected = renderer.render(scene, camera, options)
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(Interrupted):
        renderer.render(scene, camera, options, interrupt)
    again = renderer.render(scene, camera, options, Interrupt())
    assert np.array_equal(again.rgb, expected.rgb)


def test_an_interrupt_is_heard_while_drawing(renderer):
    scene, camera, options = alone(cloud(20_000, size=-1.5, spread=1), shot(1600, 1200))
    renderer.render(scene, camera, options)
    started = time.perf_counter()
    renderer.render(scene, camera, options)
    whole = time.perf_counter() - started
    interrupt = Interrupt()
    timer = threading.Timer(whole / 8, interrupt.set)
    timer.start()
    with pytest.raises(Interrupted):
        renderer.render(scene, camera, options, interrupt)
    timer.join()


@pytest.mark.parametrize("size", [-2.5, -1.0, -6.0])
def test_outlines_are_the_specified_ones(renderer, size):
    """A pixel on the very edge of a rim may fall to either side."""
    scene, camera, options = alone(cloud(200, size=size), style="outlines")
    frame, expected = renderer.render(scene, camera, options), numpy_renderer.render(scene, camera, options)
    plain = renderer.render(scene, camera, replace(options, style="splats"))
    assert np.mean(np.abs(frame.rgb - expected["rgb"]).max(-1) < 1e-3) >= 0.99
    assert np.mean(np.abs(frame.rgb - plain.rgb).max(-1) > 0.02) > (0.2 if size > -5 else 0.001), "no outline is seen"
    assert np.mean(frame.ids == expected["ids"]) >= 0.98


def test_an_overdraw_limit_keeps_the_nearest_of_each_tile(renderer):
    """Large splats meet every tile, so the nearest hundred of a tile are the nearest hundred of all."""
    splats = stacked(*np.full(300, -3.0))
    scene, camera, options = alone(splats, shot(50, 40, fov_y=0.01))
    first = alone(splats.take(np.arange(100)), camera)[0]
    limited = renderer.render(scene, camera, replace(options, overdraw_limit=100))
    assert np.array_equal(limited.rgb, renderer.render(first, camera, options).rgb)
    assert limited.overdraw.max() == 100 < renderer.render(scene, camera, options).overdraw.max()


@pytest.mark.parametrize("limit", [1, 63, 64, 65, 200])
def test_an_overdraw_limit_is_a_prefix_of_every_tile(renderer, limit):
    scene, camera, options = alone(cloud(3000, size=-1.5), shot(200, 150))
    native = renderer.splats._native
    renderer.render(scene, camera, options)
    whole, _ = native.tile_lists()
    renderer.render(scene, camera, replace(options, overdraw_limit=limit))
    limited, _ = native.tile_lists()
    assert max(map(len, whole)) > 200
    assert [tile[:limit] for tile in whole] == limited
