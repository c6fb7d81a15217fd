"""Who is seen in a region of the picture: what a brute-force computation of all weights says, on every instruction set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy_renderer
import pytest
from numpy.typing import NDArray
from render_cases import CASES, alone, cloud, masked, shot
from torch_ops import TORCH_OPS

from splatview import Camera, Scene
from splatview.frame import Interrupt, Interrupted, Masks
from splatview.render.splats_cpu import CpuRenderer
from splatview.render.splats_cuda import CudaRenderer
from splatview.scene import Layer

SEARCHED = [
    "several layers",
    "hidden",
    "antialiased",
    "classic, drawn antialiased",
    "principal point off centre",
    "principal point outside",
    "camera inside",
    "dense",
    "splats larger than the picture",
    "needles, antialiased",
    "tiny splats",
    "opaque",
    "near and far",
    "no whole tiles",
    "one pixel",
    "centres",
    "splats grown",
    "large picture",
]


def regions(camera: Camera, seed: int = 0) -> dict[str, NDArray]:
    """A rectangle, a disc and a scatter of pixels, anywhere in the picture, and all of it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: camera.height, : camera.width]
    (left, right), (top, bottom) = (np.sort(rng.integers(0, size, 2)) for size in (camera.width, camera.height))
    rectangle = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    disc = np.hypot(x - rng.integers(camera.width), y - rng.integers(camera.height)) < 9
    return {"rectangle": rectangle, "disc": disc, "scatter": rng.random(x.shape) < 0.01, "all": np.ones(x.shape, bool)}


def check(got: Masks, weights: dict[str, NDArray], least: float) -> None:
    """`got` holds who weighs `least` or more; within a thousandth of it either answer is right."""
    assert list(got) == list(weights)
    for name, weight in weights.items():
        sure = np.abs(weight - least) > 1e-3 * least
        assert np.array_equal(got[name][sure], weight[sure] >= least), name


@pytest.fixture(scope="module", params=["avx512", "avx2", "portable"])
def renderer(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPLATVIEW_SIMD", request.param)
        try:
            return CpuRenderer()
        except ValueError as error:
            pytest.skip(str(error))


@pytest.mark.parametrize("name", SEARCHED)
def test_contributors_are_who_weighs_enough(renderer, name):
    scene, camera, options = CASES[name]()
    for region in regions(camera, len(name)).values():
        weights = numpy_renderer.heaviest_weights(scene, camera, region, options)
        for least in (0.01, 0.05, 0.4):
            check(renderer.contributors(scene, camera, region, least, options), weights, least)


def test_outlined_splats_weigh_what_their_rims_do(renderer):
    """A pixel on the very edge of a rim may fall to either side."""
    scene, camera, options = alone(cloud(200), style="outlines")
    region = regions(camera)["all"]
    expected = numpy_renderer.heaviest_weights(scene, camera, region, options)["cloud"] >= 0.3
    got = renderer.contributors(scene, camera, region, 0.3, options)["cloud"]
    assert expected.sum() > 50 and np.mean(got == expected) >= 0.98


@pytest.mark.parametrize("name", ["several layers", "hidden", "classic, drawn antialiased", "principal point off centre", "near and far"])
def test_the_cuda_backend_finds_the_same(name):
    """Its code on a CPU, over torch twins of the kernels; the kernels have tests of their own."""
    renderer = CudaRenderer("cpu", TORCH_OPS)
    scene, camera, options = CASES[name]()
    broken = replace(cloud(30, seed=8), means=np.where(np.arange(30)[:, None] % 2, np.nan, cloud(30, seed=8).means))
    scene = scene.with_layer("broken", Layer(broken))
    for region in regions(camera, len(name)).values():
        check(
            renderer.contributors(scene, camera, region, 0.05, options),
            numpy_renderer.heaviest_weights(scene, camera, region, options),
            0.05,
        )
    assert dict(renderer.contributors(Scene(), camera, regions(camera)["all"], 0.5)) == {}
    with pytest.raises(ValueError, match="region"):
        renderer.contributors(scene, camera, np.ones((3, 3), bool), 0.5)


@pytest.fixture(scope="module")
def native():
    return CpuRenderer()


def test_a_region_of_a_pixel_holds_the_one_that_contributes_most_there(native):
    scene, camera, options = alone(cloud(600, size=-1.5))
    ids = native.render(scene, camera, replace(options, outputs=("ids",))).ids
    for row, column in ((10, 20), (33, 50), (63, 95)):
        region = np.zeros(ids.shape, bool)
        region[row, column] = True
        weights = numpy_renderer.heaviest_weights(scene, camera, region, options)["cloud"]
        if weights.max() > 0.02:
            found = native.contributors(scene, camera, region, 0.999 * weights.max(), options)["cloud"]
            assert found[ids[row, column]]


def test_regions_add_up(native):
    """What is seen in two regions together is seen in one or the other; cut into strips or not."""
    scene, _, options = CASES["several layers"]()
    camera = shot(300, 200)
    first, second = (regions(camera, seed)["rectangle"] for seed in (1, 2))
    cut = CpuRenderer()
    cut._native.set_least_spare(0)
    for renderer in (native, cut):
        one, two, both = (renderer.contributors(scene, camera, region, 0.02, options) for region in (first, second, first | second))
        assert all(np.array_equal(both[name], one[name] | two[name]) for name in both)
        assert any(mask.any() for mask in both.values())
        whole = native.contributors(scene, camera, first | second, 0.02, options)
        assert np.mean(np.concatenate(list(whole.values())) == np.concatenate(list(both.values()))) > 0.999


def test_an_empty_region_and_an_empty_scene_hold_nobody(native):
    nowhere = np.zeros((64, 96), bool)
    assert not native.contributors(*CASES["dense"]()[:2], nowhere, 0.5)["cloud"].any()
    assert dict(native.contributors(Scene(), shot(), ~nowhere, 0.5)) == {}
    assert dict(native.contributors(Scene({"none": Layer(cloud(0))}), shot(), ~nowhere, 0.5)) == {}


def test_what_is_hidden_is_not_seen_and_hides_nobody(native):
    scene, camera, options = masked(hidden="a")
    everywhere = np.ones((64, 96), bool)
    found = native.contributors(scene, camera, everywhere, 0.01, options)
    shown = np.flatnonzero(~options.hidden["a"])
    bare = scene.with_layer("a", Layer(scene.layers["a"].content.take(shown)))
    assert not found["a"][options.hidden["a"]].any() and found["a"].any()
    assert np.array_equal(found["a"][shown], native.contributors(bare, camera, everywhere, 0.01)["a"])


def test_the_overdraw_limit_is_heeded(native):
    scene, camera, options = alone(cloud(3000, size=-1.5))
    limits, everywhere = (None, 20, 5), np.ones((64, 96), bool)
    found = [native.contributors(scene, camera, everywhere, 1e-3, replace(options, overdraw_limit=limit))["cloud"] for limit in limits]
    assert 0 < found[2].sum() < found[1].sum() < found[0].sum() and found[2].sum() <= 5 * 24


def test_a_picture_is_drawn_as_before_after_a_search(native):
    scene, camera, options = CASES["dense"]()
    before = native.render(scene, camera, options).rgb.copy()
    native.contributors(scene, camera, regions(camera)["disc"], 0.1, options)
    assert native._native.tile_lists() == ([], 0)
    assert np.array_equal(native.render(scene, camera, options).rgb, before)


def test_what_is_no_region_or_no_share_is_refused(native):
    scene, camera, _ = alone(cloud(10))
    with pytest.raises(ValueError, match=r"region.*\[64, 96\], got \[96, 64\]"):
        native.contributors(scene, camera, np.ones((96, 64), bool), 0.5)
    for least in (0, -1, 1.5, np.nan):
        with pytest.raises(ValueError, match="least: expected a share of a pixel"):
            native.contributors(scene, camera, np.ones((64, 96), bool), least)


def test_a_search_is_interrupted(native):
    scene, camera, _ = alone(cloud())
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(Interrupted):
        native.contributors(scene, camera, np.ones((64, 96), bool), 0.5, interrupt=interrupt)
