"""Splats and fields in one picture: each alone is what its own renderer draws, and together they are put over one another by depth."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from interpreted_composites import case
from numpy_field import render as specified
from render_cases import CASES, EVERYTHING, cloud, psnr
from small_fields import ball, slab

from splatview import Camera, Gaussians, RenderOptions, Scene, open_renderer
from splatview.frame import Interrupt, Interrupted, Masks
from splatview.geometry import Similarity
from splatview.render.field_cpu import FieldCpu
from splatview.render.splats_cpu import CpuRenderer
from splatview.scene import Layer

ALL = RenderOptions(outputs=(*EVERYTHING, "rgb8"))
HERE = Similarity(translation=(-0.5, -0.5, -0.5))  # the unit cube around the origin
RED, GREEN, BLUE = (0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9)


def shot(width=72, height=48, eye=(0.0, -2.5, 0.0)):
    return Camera.look_at(eye, (0, 0, 0), (0, 0, 1), 0.5, width, height)


def wall(y, colour=BLUE, opacity=0.999):
    """Flat splats in the plane y, together about as opaque as `opacity` says: one is larger than the picture."""
    sh = (np.array(colour) - 0.5) / 0.28209479177387814
    logit = np.log(opacity / (1 - opacity))
    return Gaussians([[0, y, 0]], [[1, 0, 0, 0]], [[4.0, -6.0, 4.0]], [logit], sh[None, None])


def at(y):
    return Similarity(translation=(-0.5, y - 0.5, -0.5))


@pytest.fixture(scope="module")
def renderer():
    return open_renderer("cpu")


@pytest.fixture(scope="module")
def half():
    """A slab through which about half of the light comes, of a thickness of 0.2."""
    return slab(GREEN, density=np.log(2) / 0.2)


@pytest.mark.parametrize("name", CASES)
def test_without_a_visible_field_a_frame_is_the_splat_renderers_own(renderer, name):
    scene, camera, options = CASES[name]()
    got, expected = (
        renderer.render(scene.with_layer("unseen", Layer(ball(), visible=False)), camera, options),
        CpuRenderer().render(scene, camera, options),
    )
    assert got.images.keys() == expected.images.keys() and got.timings.keys() == expected.timings.keys() and got.counts == expected.counts
    assert all(np.array_equal(got.images[key], expected.images[key]) for key in got.images)


def test_a_field_alone_is_the_field_renderers_picture_over_the_background(renderer):
    field, background = ball(), (0.2, 0.4, 0.6)
    frame = renderer.render(Scene({"ball": Layer(field, HERE)}), shot(), replace(ALL, background=background))
    layer = Layer(field, HERE)
    image = FieldCpu().render(layer, shot())
    assert np.array_equal(frame.alpha, image.alpha) and np.allclose(frame.depth, image.depth, rtol=1e-6)
    assert np.allclose(frame.rgb, image.rgb + (1 - image.alpha)[..., None] * np.float32(background), atol=1e-6)
    assert np.array_equal(frame.images["rgb8"], (np.clip(frame.rgb, 0, 1) * 255 + 0.5).astype(np.uint8))
    assert psnr(frame.rgb, specified(layer, shot(), background)["rgb"]) > 50
    assert 0.1 < image.alpha.mean() < 0.9 and frame.alpha[24, 36] > 0.99, "the case shows nothing"
    assert (frame.ids == -1).all() and not frame.overdraw.any() and not frame.coverage.any()
    assert np.array_equal(frame.id_layers, np.where(frame.alpha > 1 / 255, 0, -1))
    opaque = image.alpha > 0.5
    assert np.array_equal(frame.median_depth, np.where(opaque, frame.depth, 0))
    assert frame.counts["samples"] == image.samples.sum() and frame.timings["fields"] > 0


def test_outputs_have_the_promised_types_and_do_not_depend_on_each_other(renderer, half):
    scene = Scene({"cloud": Layer(cloud(200)), "slab": Layer(half, HERE), "ball": Layer(ball(), HERE)})
    together = renderer.render(scene, shot(), replace(ALL, tinted=Masks({"cloud": np.arange(200) % 2 == 0})))
    shape = (48, 72)
    for name, dtype in (
        dict.fromkeys(("ids", "id_layers", "overdraw"), np.int32).items()
        | dict.fromkeys(("rgb", "alpha", "depth", "median_depth", "coverage"), np.float32).items()
    ):
        image = getattr(together, name)
        assert image.dtype == dtype and image.shape == shape + ((3,) if name == "rgb" else ()), name
        if name != "id_layers":
            single = renderer.render(scene, shot(), replace(ALL, outputs=(name,), tinted=Masks({"cloud": np.arange(200) % 2 == 0})))
            assert np.array_equal(getattr(single, name), image), name
            assert set(single.images) == ({"ids", "id_layers"} if name == "ids" else {name})


@pytest.mark.parametrize("y", [-1.0, 1.0])
def test_an_opaque_thing_hides_what_is_behind_it(renderer, y):
    """The wall stands before the ball, or behind it."""
    scene = Scene({"wall": Layer(wall(y)), "ball": Layer(ball(RED), HERE)})
    frame = renderer.render(scene, shot(), ALL)
    middle, corner = frame.rgb[24, 36], frame.rgb[2, 2]
    assert corner == pytest.approx(BLUE, abs=0.02) and middle == pytest.approx(BLUE if y < 0 else RED, abs=0.02)
    assert frame.depth[24, 36] == pytest.approx(1.5 if y < 0 else 2.2, abs=0.03) and frame.depth[2, 2] == pytest.approx(2.5 + y, rel=0.02)
    assert frame.alpha.min() > 0.99 and frame.ids[2, 2] == 0 and frame.id_layers[2, 2] == 0
    assert (frame.ids[24, 36] == 0) == (y < 0)


@pytest.mark.parametrize(("y", "opacity"), [(1.0, 0.999), (-1.0, 0.6)])
def test_what_is_half_transparent_lets_through_what_over_says(renderer, half, y, opacity):
    background = (0.3, 0.5, 0.7)
    splats, field = Scene({"wall": Layer(wall(y, opacity=opacity))}), Scene({"slab": Layer(half, HERE)})
    options = replace(ALL, background=background, tinted=Masks({"wall": np.ones(1, bool)}), tint=None)
    both = renderer.render(Scene({**splats.layers, **field.layers}), shot(), options)
    one, other = (renderer.render(scene, shot(), replace(options, background=(0, 0, 0))) for scene in (splats, field))
    near, far = (one, other) if y < 0 else (other, one)
    through = (1 - near.alpha)[..., None]
    over = near.rgb + through * (far.rgb + (1 - far.alpha)[..., None] * np.float32(background))
    assert np.allclose(both.rgb, over, atol=1e-5)
    assert both.alpha == pytest.approx(1 - (1 - near.alpha) * (1 - far.alpha), abs=1e-6)
    assert both.depth * both.alpha == pytest.approx(near.alpha * near.depth + through[..., 0] * far.alpha * far.depth, abs=1e-4)
    assert both.coverage == pytest.approx(one.coverage if y < 0 else through[..., 0] * one.coverage, abs=1e-6)
    assert 0.4 < other.alpha[24, 36] < 0.6 and np.array_equal(both.overdraw, one.overdraw)
    middle = both.median_depth[24, 36]
    assert middle == pytest.approx(2.5 if y > 0 and other.alpha[24, 36] >= 0.5 else 2.5 + y, abs=0.05)


@pytest.mark.parametrize(("density", "seen"), [(1.0, True), (300.0, False)])
def test_ids_are_of_splats_that_most_of_their_light_comes_from(renderer, density, seen):
    frame = renderer.render(Scene({"slab": Layer(slab(density=density), HERE), "wall": Layer(wall(1.0))}), shot(), ALL)
    assert frame.ids[24, 36] == (0 if seen else -1) and frame.id_layers[24, 36] == (1 if seen else 0)


DRAFTS = {
    "whole": {},
    "some pixels": {"field_share": 1 / 4},
    "longer steps": {"field_detail": 0.3},
    "both": {"field_share": 1 / 4, "field_detail": 0.3},
}


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("among", [("slab", "near", "unseen", "far", "ball"), ("ball", "slab"), ("near", "ball", "far")])
def test_the_layer_of_a_pixel_is_the_one_that_is_brightest_white_among_black_ones(renderer, among, draft):
    """That is what its weight is; all splats together count as one."""
    places = {
        "slab": at(0.5),
        "ball": at(-0.3),
        "near": Similarity(translation=(0.3, -0.8, 0.2)),
        "far": Similarity(translation=(-0.3, 0.2, 0)),
    }

    def content(name, colour):
        if name in ("slab", "ball"):
            rgb = (np.clip(colour, 1e-6, 1 - 1e-6),) * 3
            return slab(rgb, density=6.0) if name == "slab" else ball(rgb, density=8.0)
        return replace(cloud(60, degree=0, size=-3, seed=len(name)), sh=np.full((60, 1, 3), (colour - 0.5) / 0.28209479177387814))

    def drawn(*white):
        layers = {name: Layer(content(name, float(name in white)), places.get(name, HERE), name != "unseen") for name in among}
        return renderer.render(Scene(layers), shot(), replace(ALL, **DRAFTS[draft]))

    together = ("near", "far")
    groups = {place: (name,) for place, name in enumerate(among) if name in ("slab", "ball")}
    groups |= {-1: together} if "near" in among else {}
    weights = {place: drawn(*white).rgb[..., 0] for place, white in groups.items()}
    frame, ordered = drawn(), np.sort([*weights.values(), np.zeros((48, 72))], axis=0)
    sure = (ordered[-1] - ordered[-2] > 0.02) & (ordered[-1] > 0.02)
    most = np.array(list(weights))[np.argmax(list(weights.values()), axis=0)]
    splats = most == -1
    assert all((sure & (most == place)).mean() > 0.1 for place in weights), "the case shows nothing"
    assert np.array_equal(frame.id_layers[sure & ~splats], most[sure & ~splats]) and (frame.ids[sure & ~splats] == -1).all()
    own = [place for place, name in enumerate(among) if name in together]
    assert np.isin(frame.id_layers[sure & splats], own).all() and (frame.ids[sure & splats] >= 0).all()
    assert not (frame.ids >= 0)[frame.id_layers < 0].any()


def test_the_order_of_layers_does_not_matter(renderer, half):
    layers = {
        "cloud": Layer(cloud(300, size=-3)),
        "green": Layer(half, HERE),
        "red": Layer(ball(RED, 5.0), at(0.4)),
        "blue": Layer(ball(BLUE, 3.0), at(-0.3)),
    }
    first = renderer.render(Scene(layers), shot(), ALL)
    second = renderer.render(Scene(dict(reversed(layers.items()))), shot(), ALL)
    for name in ("rgb", "alpha", "depth", "median_depth", "ids"):
        assert np.mean(np.isclose(getattr(first, name), getattr(second, name), atol=1e-4)) > 0.999, name
    assert first.alpha.max() > 0.9


def test_two_halves_of_a_field_are_the_whole(renderer):
    """Cut where nothing is opaque: one behind the other, they give what the field gives that has both."""
    thick = slab(GREEN, 4.0, 0.3, 0.7)
    thin = slab(GREEN, 4.0, 0.4, 0.6)
    whole = renderer.render(Scene({"whole": Layer(thick, HERE)}), shot(), ALL)
    parts = renderer.render(Scene({"far": Layer(thin, at(0.1)), "near": Layer(thin, at(-0.1))}), shot(), ALL)
    for name in ("rgb", "alpha", "depth"):
        assert psnr(getattr(parts, name), getattr(whole, name)) > 35, name


def test_near_and_far_cut_fields(renderer):
    scene = Scene({"ball": Layer(ball(), HERE)})
    assert not renderer.render(scene, shot(), replace(ALL, near=2.95)).alpha.any()
    assert not renderer.render(scene, shot(), replace(ALL, far=2.05)).alpha.any()
    cut = renderer.render(scene, shot(), replace(ALL, near=2.5))
    assert cut.depth[24, 36] > 2.5 and cut.alpha[24, 36] > 0.99


def test_an_interrupt_is_heard_before_fields_and_in_them(renderer):
    scene, camera = Scene({"cloud": Layer(cloud(10)), "ball": Layer(ball(density=1.0), HERE)}), shot(1600, 1200)
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(Interrupted):
        renderer.render(scene, camera, ALL, interrupt)
    alone = scene.without("cloud")
    started = time.perf_counter()
    renderer.render(alone, camera, ALL)
    whole = time.perf_counter() - started
    late = Interrupt()
    timer = threading.Timer(whole / 8, late.set)
    timer.start()
    with pytest.raises(Interrupted):
        renderer.render(alone, camera, ALL, late)
    timer.join()
    assert renderer.render(scene, shot(), ALL, Interrupt()).alpha.any()


def test_what_a_field_hides_is_not_selected(renderer):
    """Of specks before and behind the ball and beside it those behind are not seen; behind something translucent they are, too."""

    def specks(x):
        means = np.array([[x - 0.05, -0.8, 0.0], [x + 0.05, 0.8, 0.0]])
        return Gaussians(means, np.tile([1.0, 0, 0, 0], (2, 1)), np.full((2, 3), -4.0), [5.0, 5.0], np.zeros((2, 1, 3)))

    around, region = {"middle": Layer(specks(0.0)), "beside": Layer(specks(0.5))}, np.ones((48, 72), bool)
    solid, thin = (Scene({**around, "ball": Layer(ball(density=density), HERE)}) for density in (300.0, 0.5))
    for options in (RenderOptions(), replace(ALL, background=(1.0, 1.0, 1.0))):
        found = renderer.contributors(solid, shot(), region, 0.05, options)
        assert found["middle"].tolist() == [True, False] and found["beside"].all() and set(found) == {"middle", "beside"}
        assert all(mask.all() for mask in renderer.contributors(thin, shot(), region, 0.05, options).values())
    part = region.copy()
    part[:, :36] = False
    assert renderer.contributors(solid, shot(), part, 0.05)["beside"].all()
    assert not renderer.contributors(solid, shot(), ~region, 0.05).get("middle", np.zeros(2, bool)).any()


def test_many_pictures_are_one_each(renderer):
    scene = Scene({"ball": Layer(ball(), HERE), "wall": Layer(wall(1.0))})
    first, second = renderer.render_many(scene, [shot(), shot(eye=(2, 1, 1))], ALL)
    assert np.array_equal(first.rgb, renderer.render(scene, shot(), ALL).rgb) and not np.array_equal(first.rgb, second.rgb)
    assert renderer.encode_jpeg(first, 90) is None


def test_the_backend_of_gpus_draws_the_same(renderer, tmp_path):
    """Its code, with gsplat's stages in torch and our kernels in Triton's interpreter."""
    out = tmp_path / "images.npz"
    subprocess.run([sys.executable, Path(__file__).with_name("interpreted_composites.py"), out], check=True)

    class Undivided(CpuRenderer):
        render_divided = None

    frame = type(renderer)(Undivided(), FieldCpu).render(*case())
    with np.load(out) as images:
        assert set(images) == set(frame.images) and all(psnr(images[name], frame.images[name]) > 60 for name in images)
    assert frame.alpha.max() > 0.9, "the case shows nothing"
