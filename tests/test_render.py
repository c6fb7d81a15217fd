"""The CPU renderer against the specification (`numpy_renderer`), and the specification against gsplat's own torch code."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy_renderer
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from splatview import Camera, Gaussians, RenderOptions, Scene, harmonics, open_renderer
from splatview.frame import Interrupt, Interrupted, Masks
from splatview.gaussians import concatenate
from splatview.geometry import Similarity
from splatview.scene import Layer

EVERYTHING = ("rgb", "alpha", "depth", "median_depth", "ids")
Case = tuple[Scene, Camera, RenderOptions]


@pytest.fixture(scope="module")
def renderer():
    return open_renderer("cpu")


def cloud(count: int = 400, degree: int = 1, kind: str = "classic", size: float = -2.5, spread: float = 0.6, seed: int = 0) -> Gaussians:
    """Random splats around the origin with standard deviations around exp(size)."""
    rng = np.random.default_rng(seed)
    sh = rng.normal(0, 0.3, (count, harmonics.coefficients(degree), 3))
    return Gaussians(
        rng.normal(0, 1, (count, 3)), rng.normal(size=(count, 4)), rng.normal(size, spread, (count, 3)), rng.normal(0, 2, count), sh, kind
    )


def shot(width: int = 96, height: int = 64, fov_y: float = 0.9, eye: tuple[float, float, float] = (0.5, -4, 1)) -> Camera:
    return Camera.look_at(eye, (0, 0, 0), (0, 0, 1), fov_y, width, height)


def alone(splats: Gaussians, camera: Camera | None = None, **options) -> Case:
    return Scene({"cloud": Layer(splats)}), camera or shot(), RenderOptions(outputs=EVERYTHING, **options)


def off_centre(cx: float, cy: float) -> Camera:
    K = shot().K.copy()
    K[:2, 2] = cx, cy
    return Camera(K, shot().camera_from_world, 96, 64)


def several_layers() -> Case:
    """Layers of every kind that cross each other, one hidden, one empty, placed with turns and scales."""
    placement = Similarity((0.8, 0.3, -0.4, 0.2), (0.3, 0.5, -0.2), 0.6)
    layers = {
        "a": Layer(cloud(200, degree=3, seed=1)),
        "unseen": Layer(cloud(100, seed=2), visible=False),
        "b": Layer(cloud(200, degree=2, kind="antialiased", size=-4, seed=3), placement),
        "empty": Layer(cloud(0)),
        "c": Layer(cloud(100, degree=0, kind="2dgs", seed=4), Similarity((0.1, 0, 1, 0), (0, 0.5, 0.5), 1.7)),
    }
    return Scene(layers), shot(), RenderOptions(outputs=EVERYTHING, background=(0.1, 0.2, 0.3))


def masked(**names: str) -> Case:
    """Two layers; for each keyword `hidden` or `tinted` a mask of the layer that it names."""
    scene = Scene({"a": Layer(cloud(300)), "b": Layer(cloud(200, seed=5))})
    masks = {key: Masks({name: np.arange(len(scene.layers[name].content)) % 3 == 0}) for key, name in names.items()}
    return scene, shot(), RenderOptions(outputs=EVERYTHING, tint=(1.0, 0.1, 0.2), **masks)


def with_logits(low: float, high: float) -> Gaussians:
    return replace(cloud(), opacity_logits=np.random.default_rng(6).uniform(low, high, 400))


def needles() -> Gaussians:
    """One axis a hundred times as long as the others."""
    return replace(cloud(), log_scales=np.random.default_rng(7).permuted(np.tile([-5.0, -5.0, -0.4], (400, 1)), axis=1))


def flat() -> Gaussians:
    return replace(cloud(), log_scales=np.random.default_rng(8).normal(-2, 0.5, (400, 3)) - [0, 0, 15])


CASES: dict[str, Callable[[], Case]] = {
    **{f"degree {degree}": lambda degree=degree: alone(cloud(degree=degree)) for degree in range(5)},
    "degree 3 cut to 1": lambda: alone(cloud(degree=3), sh_degree=1),
    "degree 1 asked for 4": lambda: alone(cloud(degree=1), sh_degree=4),
    "antialiased": lambda: alone(cloud(kind="antialiased", size=-4)),
    "antialiased, drawn classic": lambda: alone(cloud(kind="antialiased", size=-4), antialiased=False),
    "classic, drawn antialiased": lambda: alone(cloud(size=-4), antialiased=True),
    "2dgs": lambda: alone(replace(flat(), kind="2dgs")),
    "dense": lambda: alone(cloud(2000, degree=3)),
    "principal point off centre": lambda: alone(cloud(), off_centre(20, 50)),
    "principal point outside": lambda: alone(cloud(), off_centre(-30, 90)),
    "near and far": lambda: alone(cloud(), near=3.7, far=4.9),
    "background": lambda: alone(cloud(), background=(0.2, 0.5, 0.9)),
    "several layers": several_layers,
    "hidden": lambda: masked(hidden="a"),
    "tinted": lambda: masked(tinted="b"),
    "hidden and tinted": lambda: masked(hidden="b", tinted="b"),
    "splats grown": lambda: alone(cloud(), splat_scale=2.5),
    "splats shrunk": lambda: alone(cloud(), splat_scale=0.2),
    "splats shrunk, antialiased": lambda: alone(cloud(kind="antialiased"), splat_scale=0.2),
    "camera inside": lambda: alone(cloud(2000), shot(fov_y=1.9, eye=(0.1, -0.2, 0.1))),
    "splats larger than the picture": lambda: alone(cloud(60, size=1.0)),
    "needles": lambda: alone(needles()),
    "needles, antialiased": lambda: alone(needles(), antialiased=True),
    "flat": lambda: alone(flat()),
    "tiny splats": lambda: alone(cloud(2000, size=-9)),
    "tiny splats, antialiased": lambda: alone(cloud(2000, size=-6), antialiased=True),
    "nearly clear": lambda: alone(with_logits(-8, -4)),
    "opaque": lambda: alone(with_logits(8, 40)),
    "no whole tiles": lambda: alone(cloud(), shot(101, 37)),
    "one pixel": lambda: alone(cloud(), shot(1, 1)),
    "one column": lambda: alone(cloud(), shot(1, 70)),
    "large picture": lambda: alone(cloud(60), shot(400, 300)),
}


def psnr(got: np.ndarray, expected: np.ndarray) -> float:
    """Decibels against the largest expected value, or 1 if that is more."""
    error = np.mean((got.astype(np.float64) - expected) ** 2)
    return 10 * np.log10(max(1.0, np.abs(expected).max(initial=0)) ** 2 / max(error, 1e-30))


@pytest.mark.parametrize("name", CASES)
def test_the_picture_is_the_specified_one(renderer, name):
    scene, camera, options = CASES[name]()
    frame, expected = renderer.render(scene, camera, options), numpy_renderer.render(scene, camera, options)
    assert expected["alpha"].max() > 0.001, "the case shows nothing"
    for output in ("rgb", "alpha", "depth"):
        assert psnr(getattr(frame, output), expected[output]) >= 60, output
    assert np.mean(np.isclose(frame.median_depth, expected["median_depth"], rtol=1e-4)) >= 0.995
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
    assert (frame.ids == -1).all() and (frame.id_layers == -1).all()


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


POISON = [
    ("means", np.nan),
    ("means", np.inf),
    ("quats", np.nan),
    ("quats", np.inf),
    ("log_scales", np.nan),
    ("log_scales", np.inf),
    ("log_scales", -np.inf),
    ("log_scales", 1e30),
    ("opacity_logits", np.nan),
    ("sh", np.nan),
    ("sh", np.inf),
]


@pytest.mark.parametrize(("attribute", "value"), POISON)
def test_broken_splats_are_not_drawn(renderer, attribute, value):
    healthy, broken = cloud(300), cloud(40, seed=10)
    array = getattr(broken, attribute).copy()
    array.reshape(len(broken), -1)[:, 0] = value
    mixed = concatenate([replace(broken, **{attribute: array}), healthy])
    poisoned = renderer.render(*alone(mixed))
    clean = renderer.render(*alone(healthy))
    for output in ("rgb", "alpha", "depth", "median_depth"):
        assert np.isfinite(getattr(poisoned, output)).all(), output
        assert psnr(getattr(poisoned, output), getattr(clean, output)) >= 60, output


@pytest.mark.parametrize(("value", "opacity"), [(np.inf, 1), (-np.inf, 0)])
def test_an_infinite_opacity_logit_is_opaque_or_clear(renderer, value, opacity):
    splats = replace(cloud(300), opacity_logits=np.full(300, value))
    scene, camera, options = alone(splats)
    assert (splats.opacities == opacity).all()
    frame, expected = renderer.render(scene, camera, options), numpy_renderer.render(scene, camera, options)
    assert psnr(frame.rgb, expected["rgb"]) >= 60 and frame.alpha.any() == opacity


ANY_FLOAT = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    means=arrays.arrays(np.float32, (12, 3), elements=st.floats(-1e3, 1e3, width=32) | ANY_FLOAT),
    quats=arrays.arrays(np.float32, (12, 4), elements=st.floats(-1, 1, width=32) | ANY_FLOAT),
    log_scales=arrays.arrays(np.float32, (12, 3), elements=st.floats(-20, 20, width=32) | ANY_FLOAT),
    logits=arrays.arrays(np.float32, (12,), elements=st.floats(-20, 20, width=32) | ANY_FLOAT),
    sh=arrays.arrays(np.float32, (12, 4, 3), elements=st.floats(-2, 2, width=32) | ANY_FLOAT),
    eye=st.tuples(*[st.floats(-1e6, 1e6)] * 3).filter(lambda eye: np.hypot(eye[0], eye[1]) > 1e-3),
    fov_y=st.floats(1e-3, 3.1),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    antialiased=st.booleans(),
)
def test_extreme_scenes_give_finite_pictures(renderer, means, quats, log_scales, logits, sh, eye, fov_y, size, antialiased):
    splats = Gaussians(means, quats, log_scales, logits, sh)
    camera = Camera.look_at(eye, (0, 0, 0), (0, 0, 1), fov_y, *size)
    frame = renderer.render(*alone(splats, camera, antialiased=antialiased))
    for output in ("rgb", "alpha", "depth", "median_depth"):
        assert np.isfinite(getattr(frame, output)).all(), output
    assert frame.alpha.min() >= 0 and frame.alpha.max() <= 1
    assert frame.ids.min() >= -1 and frame.ids.max() < len(splats)


DRAW = """
import sys
import numpy as np
sys.path.insert(0, {tests!r})
from test_render import CASES
from splatview import open_renderer
renderer = open_renderer("cpu")
images = {{}}
for name in {names!r}:
    frame = renderer.render(*CASES[name]())
    images |= {{f"{{name}}/{{output}}": image for output, image in frame.images.items()}}
np.savez({path!r}, **images)
"""
SHARED_CASES = [
    "dense",
    "several layers",
    "camera inside",
    "needles, antialiased",
    "splats larger than the picture",
    "tiny splats",
    "one pixel",
]


def drawn_by_another_process(path: Path, names: list[str], **environment: str) -> dict[str, np.ndarray]:
    """The images of some cases, as drawn under another environment; skips if this CPU cannot do that."""
    code = DRAW.format(tests=str(Path(__file__).parent), names=names, path=str(path))
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode and "one that this processor has" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    with np.load(path) as images:
        return dict(images)


@pytest.mark.parametrize("path", ["avx512", "avx2", "portable"])
def test_instruction_sets_agree(tmp_path, path):
    other = drawn_by_another_process(tmp_path / "other.npz", SHARED_CASES, SPLATVIEW_SIMD=path)
    portable = drawn_by_another_process(tmp_path / "portable.npz", SHARED_CASES, SPLATVIEW_SIMD="portable")
    for name in SHARED_CASES:
        for output in ("rgb", "alpha"):
            difference = np.abs(other[f"{name}/{output}"] - portable[f"{name}/{output}"])
            assert np.mean(difference <= 1e-4) >= 0.999 and difference.max() <= 1e-2, (name, output)


@pytest.mark.parametrize("path", ["avx512", "avx2", "portable"])
def test_every_instruction_set_draws_the_specified_picture(tmp_path, path):
    images = drawn_by_another_process(tmp_path / "images.npz", SHARED_CASES, SPLATVIEW_SIMD=path)
    for name in SHARED_CASES:
        expected = numpy_renderer.render(*CASES[name]())
        for output in ("rgb", "alpha", "depth"):
            assert psnr(images[f"{name}/{output}"], expected[output]) >= 60, (name, output)


def test_threads_do_not_show(tmp_path):
    one = drawn_by_another_process(tmp_path / "one.npz", SHARED_CASES, SPLATVIEW_THREADS="1")
    two = drawn_by_another_process(tmp_path / "two.npz", SHARED_CASES, SPLATVIEW_THREADS="2")
    assert all(np.array_equal(one[key], two[key]) for key in one)


def gsplat_projection(splats: Gaussians, camera: Camera, near: float = 0.01, far: float = 1e10):
    """radii, means2d, depths, conics and compensations as gsplat's own torch code gives them, float64."""
    torch = pytest.importorskip("torch")
    gsplat = pytest.importorskip("gsplat.cuda._torch_impl")

    def tensor(array: np.ndarray):
        return torch.from_numpy(array.astype(np.float64))

    covs, _ = gsplat._quat_scale_to_covar_preci(tensor(splats.quats), tensor(splats.log_scales).exp(), True, False)
    pose, K = tensor(camera.camera_from_world)[None], tensor(camera.K)[None]
    results = gsplat._fully_fused_projection(
        tensor(splats.means), covs, pose, K, camera.width, camera.height, near_plane=near, far_plane=far, calc_compensations=True
    )
    return [result[0].numpy() for result in results]


@pytest.mark.parametrize("camera", [shot(), off_centre(-10, 75), shot(fov_y=1.9, eye=(0.1, -0.2, 0.1))], ids=["centred", "off", "inside"])
def test_the_specified_projection_is_gsplats(camera):
    splats = cloud(1000, kind="antialiased", size=-3)
    radii, means, depths, conics, compensations = gsplat_projection(splats, camera)
    ours = numpy_renderer.project(splats, Similarity(), camera, RenderOptions())
    drawn = radii.any(axis=1)
    assert drawn.sum() > 10
    assert np.allclose(ours.means[drawn], means[drawn], rtol=1e-9)
    assert np.allclose(ours.depths, depths)
    assert np.allclose(ours.conics[drawn], conics[drawn], rtol=1e-6, atol=1e-9)
    assert np.allclose(ours.opacities[drawn], splats.opacities[drawn] * compensations[drawn], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("degree", range(5))
def test_the_specified_colours_are_gsplats(degree):
    torch = pytest.importorskip("torch")
    gsplat = pytest.importorskip("gsplat.cuda._torch_impl")
    splats, camera = cloud(degree=4), shot()
    ours = numpy_renderer.project(splats, Similarity(), camera, RenderOptions(sh_degree=degree)).colours
    directions = torch.from_numpy(splats.means - camera.position)
    theirs = gsplat._spherical_harmonics(degree, directions, torch.from_numpy(splats.sh.astype(np.float64)))
    assert np.allclose(ours, np.maximum(theirs.numpy() + 0.5, 0), atol=1e-9)


def test_outside_gsplats_boxes_the_specification_draws_nothing():
    """gsplat's bounding boxes leave out only what is under 1/255, so brute force draws the same."""
    splats, camera = replace(cloud(), opacity_logits=np.full(400, 6.0)), shot()
    radii, means, *_ = gsplat_projection(splats, camera)
    ours = numpy_renderer.project(splats, Similarity(), camera, RenderOptions())
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    for index in np.flatnonzero(ours.depths > 0.01):
        outside = (np.abs(x - means[index, 0]) > radii[index, 0]) | (np.abs(y - means[index, 1]) > radii[index, 1])
        assert not numpy_renderer.alphas_at(ours, index, x, y)[outside].any()


def tiles_of(lists: list[list[tuple[int, int]]], across: int) -> dict[int, set[tuple[int, int]]]:
    """For each Gaussian of a scene with one layer the tiles (x, y) in whose lists it is."""
    covered: dict[int, set[tuple[int, int]]] = {}
    for index, members in enumerate(lists):
        for _, gaussian in members:
            covered.setdefault(gaussian, set()).add((index % across, index // across))
    return covered


TILED = [
    "dense",
    "needles",
    "needles, antialiased",
    "opaque",
    "nearly clear",
    "tiny splats",
    "no whole tiles",
    "principal point off centre",
]


@pytest.mark.parametrize("name", TILED)
def test_tiles_leave_out_only_what_is_not_seen(renderer, name):
    """Every pixel that a Gaussian reaches with 1/255 or more lies in one of its tiles, and its tiles touch gsplat's box."""
    scene, camera, options = CASES[name]()
    splats = scene.layers["cloud"].content
    renderer.render(scene, camera, options)
    lists, across = renderer._native.tile_lists()
    side = next(side for side in (4, 8, 16, 32, 64) if -(-camera.width // side) == across)
    covered = tiles_of(lists, across)
    radii, means, *_ = gsplat_projection(splats, camera)
    projected = numpy_renderer.project(splats, Similarity(), camera, options)
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    for index in np.flatnonzero((projected.depths > options.near) & (projected.depths < options.far)):
        seen = numpy_renderer.alphas_at(projected, index, x, y) >= (1 + 1e-4) / 255
        wanted = {(int(column) // side, int(row) // side) for row, column in zip(*np.nonzero(seen), strict=True)}
        assert wanted <= covered.get(index, set())
        low, high = (means[index] - radii[index]) / side, (means[index] + radii[index]) / side
        box = {
            (u, v) for u in range(int(np.floor(low[0])), int(np.ceil(high[0]))) for v in range(int(np.floor(low[1])), int(np.ceil(high[1])))
        }
        assert covered.get(index, set()) <= box


def test_tile_lists_are_sorted_by_depth(renderer):
    scene, camera, options = CASES["dense"]()
    renderer.render(scene, camera, options)
    depths = numpy_renderer.project(scene.layers["cloud"].content, Similarity(), camera, options).depths
    for members in renderer._native.tile_lists()[0]:
        assert (np.diff([depths[gaussian] for _, gaussian in members]) >= -1e-5).all()
