"""The CUDA backend's own code on a CPU, over gsplat's torch twins of its kernels: the specified picture, the contract of `Renderer`."""

from __future__ import annotations

import gc
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import gsplat.cuda._wrapper as gsplat_wrapper
import numpy as np
import numpy_renderer
import pytest
import torch
from render_cases import CASES, EVERYTHING, alone, cloud, masked, psnr, several_layers, shot
from test_render_broken import POISON
from torch_ops import TORCH_OPS

from splatview import Gaussians, Layer, RenderOptions, Scene, open_renderer
from splatview.frame import Interrupt, Interrupted, Masks
from splatview.gaussians import concatenate
from splatview.geometry import Similarity
from splatview.render.backends import Check
from splatview.render.splats_cuda import CudaRenderer, gsplat_ops


@pytest.fixture(scope="module")
def renderer():
    return CudaRenderer("cpu", TORCH_OPS)


def layered(**options):
    scene, camera, drawn = several_layers()
    return scene, camera, replace(drawn, **options)


DRAWN = {
    **{name: case for name, case in CASES.items() if name not in ("dense", "large picture", "degree 2", "splats shrunk", "tiny splats")},
    "layers as centres": lambda: layered(style="centres"),
    "outlines": lambda: alone(cloud(degree=2), style="outlines", background=(0.2, 0.5, 0.9)),
    "layers as outlines": lambda: layered(style="outlines"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_the_picture_is_the_specified_one(renderer, name):
    scene, camera, options = DRAWN[name]()
    frame, expected = renderer.render(scene, camera, options), numpy_renderer.render(scene, camera, options)
    assert expected["alpha"].max() > 0.001, "the case shows nothing"
    assert psnr(frame.rgb, expected["rgb"]) >= 60 and psnr(frame.alpha, expected["alpha"]) >= 60
    assert psnr(frame.coverage, expected["coverage"]) >= 60
    assert psnr(frame.depth, expected["depth"]) >= 45  # one pixel at the limit of being covered jumps between a depth and none
    assert np.mean(np.isclose(frame.median_depth, expected["median_depth"], rtol=1e-4)) >= 0.995
    assert np.mean((frame.ids == expected["ids"]) & (frame.id_layers == expected["id_layers"])) >= 0.995
    assert np.mean(frame.overdraw == expected["overdraw"]) >= 0.995


def gsplats_kernels(monkeypatch):
    """gsplat's own Python functions, with their checks of shapes, over torch twins of what they call in C++."""

    def project(means, covars, quats, scales, opacities, poses, Ks, width, height, eps2d, near, far, radius_clip, compensations, model):
        assert (eps2d, radius_clip, model) == (0.3, 0, "PINHOLE") and poses.dtype == Ks.dtype == torch.float32
        flags = {"near_plane": near, "far_plane": far, "calc_compensations": compensations, "opacities": opacities}
        return TORCH_OPS.project(means, covars, quats, scales, poses, Ks, width, height, **flags)

    def intersect(means, radii, depths, images, gaussians, count, tile, across, down, sort, segmented):
        assert images is gaussians is None and sort and not segmented and radii.dtype == torch.int32 and count == len(means)
        return TORCH_OPS.intersect(means, radii, depths, tile, across, down)

    def rasterise(means, conics, colours, opacities, background, masks, *rest):
        assert masks is None
        return *TORCH_OPS.rasterise(means, conics, colours, opacities, *rest, background), None

    kernels = {
        "projection_ewa_3dgs_fused_fwd": project,
        "spherical_harmonics_fwd": TORCH_OPS.evaluate,
        "intersect_tile": intersect,
        "intersect_offset": TORCH_OPS.offsets,
        "rasterize_to_pixels_3dgs_fwd": rasterise,
    }
    monkeypatch.setattr(gsplat_wrapper, "_make_lazy_cuda_func", kernels.__getitem__)
    monkeypatch.setattr(gsplat_wrapper, "_make_lazy_cuda_obj", lambda name: name.removeprefix("CameraModelType."))
    return replace(gsplat_ops(), contributions=TORCH_OPS.contributions, seen_in=TORCH_OPS.seen_in)


@pytest.mark.parametrize("outputs", [("rgb",), ("alpha",), ("depth",), EVERYTHING])
@pytest.mark.parametrize("style", ["splats", "centres", "outlines"])
def test_the_installed_gsplat_takes_our_calls(monkeypatch, renderer, style, outputs):
    through_gsplat = CudaRenderer("cpu", gsplats_kernels(monkeypatch))
    scene, camera, options = layered(style=style, outputs=outputs)
    cameras = [camera, shot(eye=(3, 1, 0))]
    got, expected = (each.render_many(scene, cameras, options) for each in (through_gsplat, renderer))
    assert all(np.array_equal(a.images[name], b.images[name]) for a, b in zip(got, expected, strict=True) for name in outputs)


def test_gsplat_finds_its_ninja_in_an_environment_that_is_not_activated(monkeypatch, tmp_path):
    ninja = tmp_path / "bin" / "ninja"
    ninja.parent.mkdir()
    ninja.touch(0o755)
    monkeypatch.setattr("sys.executable", str(ninja.with_name("python")))
    monkeypatch.setenv("PATH", str(tmp_path))
    gsplat_ops()
    assert Path(shutil.which("ninja") or "") == ninja


@pytest.mark.parametrize("missing", ["NVIDIA GPU", "gsplat"])
def test_the_choice_falls_on_the_cpu_where_something_is_missing_and_cuda_says_what(monkeypatch, caplog, missing):
    needs = [
        Check("NVIDIA GPU", missing != "NVIDIA GPU", "a GPU, or none", "buy one"),
        Check("gsplat", False, "not installed", "install it"),
    ]
    monkeypatch.setattr("splatview.render.backends.driver", lambda: needs[0])
    monkeypatch.setattr("splatview.render.backends.cuda_needs", lambda: iter(needs))
    with pytest.raises(ValueError, match=f"^backend cuda: {missing}: .*splatview doctor"):
        open_renderer("cuda")
    assert open_renderer("auto").name.startswith("cpu ")
    assert ("the GPU is not used: backend cuda: gsplat" in caplog.text) == (missing == "gsplat"), "said only where there is a GPU"


def test_a_failing_gsplat_is_one_clear_error():
    def broken(*_, **__):
        raise RuntimeError("no kernel image is available\nfor execution on the device")

    with pytest.raises(ValueError, match=r"cuda.*no kernel image is available for execution.*splatview doctor"):
        CudaRenderer("cpu", replace(TORCH_OPS, intersect=broken))
    with pytest.raises(ValueError, match="came out wrong"):
        CudaRenderer("cpu", replace(TORCH_OPS, rasterise=lambda *given: [0.5 * image for image in TORCH_OPS.rasterise(*given)]))


def test_outputs_have_the_promised_types(renderer):
    scene, camera, options = layered(outputs=(*EVERYTHING, "rgb8"))
    frame = renderer.render(scene, camera, options)
    shape = (camera.height, camera.width)
    types = {
        "rgb": np.float32,
        "rgb8": np.uint8,
        "alpha": np.float32,
        "depth": np.float32,
        "median_depth": np.float32,
        "coverage": np.float32,
    }
    types |= dict.fromkeys(("ids", "id_layers", "overdraw"), np.int32)
    assert set(frame.images) == set(types)
    for name, dtype in types.items():
        image = getattr(frame, name)
        assert (image.dtype, image.shape[:2], image.flags.c_contiguous) == (dtype, shape, True), name
    assert np.array_equal(frame.images["rgb8"], (np.clip(frame.rgb, 0, 1) * 255 + 0.5).astype(np.uint8))
    assert set(frame.images) == set(open_renderer("cpu").render(scene, camera, options).images)
    assert set(frame.timings) == {"project", "sort", "blend", "contributions", "copy"} and min(frame.timings.values()) >= 0
    assert frame.counts["drawn"] <= scene.count and frame.counts["pairs"] >= frame.counts["drawn"]


@pytest.mark.parametrize("style", ["splats", "outlines"])
@pytest.mark.parametrize("output", EVERYTHING)
def test_an_output_does_not_depend_on_what_else_is_asked_for(renderer, output, style):
    scene, camera, options = layered(style=style)
    together = renderer.render(scene, camera, options)
    single = renderer.render(scene, camera, replace(options, outputs=(output,)))
    assert np.allclose(getattr(single, output), getattr(together, output), atol=1e-5)
    assert set(single.images) == ({"ids", "id_layers"} if output == "ids" else {output})


def test_only_what_is_asked_for_is_computed():
    def never(*_, **__):
        raise AssertionError("this stage is not needed")

    scene, camera, options = alone(cloud())
    for style, outputs, idle in (
        ("splats", ("ids", "overdraw"), ("evaluate", "rasterise")),
        ("splats", ("depth", "alpha"), ("evaluate", "contributions")),
        ("splats", ("rgb8",), ("contributions",)),
        ("outlines", EVERYTHING, ("rasterise",)),
    ):
        renderer = CudaRenderer("cpu", TORCH_OPS)
        renderer._ops = replace(TORCH_OPS, **dict.fromkeys(idle, never))
        assert set(outputs) <= set(renderer.render(scene, camera, replace(options, style=style, outputs=outputs)).images)


BROKEN = replace(cloud(5), means=np.full((5, 3), np.nan))


@pytest.mark.parametrize("scene", [Scene(), Scene({"none": Layer(cloud(0))}), Scene({"broken": Layer(BROKEN)})])
def test_nothing_to_draw_gives_the_background(renderer, scene):
    options = RenderOptions(background=(0.25, 0.5, 0.75), outputs=(*EVERYTHING, "rgb8"))
    for frame in renderer.render_many(scene, [shot(), shot(fov_y=1)], options):
        assert np.allclose(frame.rgb, [0.25, 0.5, 0.75])
        assert np.array_equal(np.unique(frame.rgb8.reshape(-1, 3), axis=0), [[64, 128, 191]])
        assert not any(getattr(frame, name).any() for name in ("alpha", "depth", "median_depth", "overdraw", "coverage"))
        assert (frame.ids == -1).all() and (frame.id_layers == -1).all() and dict(frame.counts) == {"drawn": 0, "pairs": 0}
        assert frame.rgb.shape == (64, 96, 3)


@pytest.mark.parametrize(("attribute", "value"), [*POISON, ("log_scales", 45.0)])
def test_broken_splats_are_not_drawn(renderer, attribute, value):
    """Nor are those whose covariance no float can hold, which would lie over the whole picture."""
    healthy, broken = cloud(300), cloud(40, seed=10)
    array = getattr(broken, attribute).copy()
    array.reshape(len(broken), -1)[:, : 3 if value == 45 else 1] = value
    mixed = concatenate([replace(broken, **{attribute: array}), healthy])
    poisoned, clean = renderer.render(*alone(mixed)), renderer.render(*alone(healthy))
    for output in ("rgb", "alpha", "depth", "median_depth"):
        assert psnr(getattr(poisoned, output), getattr(clean, output)) >= 60, output
    assert np.array_equal(poisoned.ids, np.where(clean.ids < 0, -1, clean.ids + 40))


def test_a_mask_counts_the_broken_splats_too(renderer):
    splats = concatenate([BROKEN, cloud(50)])
    hidden = np.arange(55) % 2 == 0
    shown = splats.take(~hidden)
    frame = renderer.render(*alone(splats, hidden={"cloud": hidden}))
    assert psnr(frame.rgb, renderer.render(*alone(shown)).rgb) >= 80
    assert not np.isin(frame.ids, np.flatnonzero(hidden)).any() and frame.ids.max() > 5


def test_quaternions_of_any_length_and_of_none(renderer):
    splats = cloud(200)
    stretched = replace(splats, quats=splats.quats * np.geomspace(1e-30, 1e30, 200)[:, None].astype(np.float32))
    assert psnr(renderer.render(*alone(stretched)).rgb, renderer.render(*alone(splats)).rgb) >= 80
    none, upright = (replace(splats, quats=np.tile(quat, (200, 1))) for quat in ([0, 0, 0, 0], [1, 0, 0, 0]))
    assert np.array_equal(renderer.render(*alone(none)).rgb, renderer.render(*alone(upright)).rgb)


def test_many_cameras_give_what_each_gives(renderer):
    scene, _, options = layered(outputs=(*EVERYTHING, "rgb8"))
    cameras = [shot(), shot(eye=(3, 2, 1)), shot(fov_y=1.4, eye=(-0.5, -0.5, 0.5))]
    frames = renderer.render_many(scene, cameras, options)
    for camera, frame in zip(cameras, frames, strict=True):
        single = renderer.render(scene, camera, options)
        assert frame.camera == camera and dict(frame.counts) == dict(single.counts)
        assert np.array_equal(frame.ids, single.ids) and np.array_equal(frame.id_layers, single.id_layers)
        for name in ("rgb", "alpha", "depth", "median_depth"):
            assert np.allclose(getattr(frame, name), getattr(single, name), atol=1e-5), name
    for cameras in ([], [shot(8, 8), shot(8, 9)]):
        with pytest.raises(ValueError, match="one size"):
            renderer.render_many(scene, cameras, options)


def test_a_scene_stays_on_the_device_while_it_lives():
    renderer = CudaRenderer("cpu", TORCH_OPS)
    gc.collect()
    assert not len(renderer._resident), "the first picture's scene is gone"
    splats = cloud()
    here = renderer.prepare(splats)
    for placement in (Similarity(), Similarity((0.3, -0.5, 0.7, 0.4), (0.4, -0.3, 0.2), 1.3)):
        renderer.render(Scene({"moved": Layer(splats, placement)}), shot(), RenderOptions(sh_degree=0, splat_scale=2, antialiased=True))
    assert renderer.prepare(splats) is here and len(renderer._resident) == 1
    del splats
    gc.collect()
    assert not len(renderer._resident)


def test_a_mask_is_uploaded_once(renderer):
    scene, camera, options = masked(hidden="a", tinted="a")
    here = renderer.prepare(scene.layers["a"].content)
    renderer.render(scene, camera, options)
    uploaded = {key: tensor for key, (_, tensor) in here.masks.items()}
    renderer.render(scene, camera, replace(options, background=(1, 1, 1)))
    assert len(uploaded) == 2 and all(here.masks[key][1] is tensor for key, tensor in uploaded.items())
    del options
    gc.collect()
    assert not here.masks


def test_a_mask_of_another_length_is_refused(renderer):
    scene, camera, options = alone(cloud(30))
    for masks in ({"hidden": Masks({"cloud": np.ones(29, bool)})}, {"tinted": Masks({"cloud": np.ones(31, bool)})}):
        with pytest.raises(ValueError, match=r"cloud.*30 Gaussians"):
            renderer.render(scene, camera, replace(options, **masks))


@pytest.mark.parametrize("stage", ["project", "intersect", "rasterise"])
def test_an_interrupt_is_heard_between_the_stages(stage):
    interrupt, called = Interrupt(), []

    def noted(name):
        def op(*given, **named):
            called.append(name)
            if name == stage:
                interrupt.set()
            return getattr(TORCH_OPS, name)(*given, **named)

        return op

    stages = ["project", "intersect", "rasterise", "contributions"]
    renderer = CudaRenderer("cpu", TORCH_OPS)
    renderer._ops = replace(TORCH_OPS, **{name: noted(name) for name in stages})
    with pytest.raises(Interrupted):
        renderer.render(*alone(cloud()), interrupt)
    assert called == stages[: stages.index(stage) + 1]
    with pytest.raises(Interrupted):
        renderer.render(*alone(cloud()), interrupt)
    assert called == stages[: stages.index(stage) + 1], "one that is set before starts nothing"


def test_an_encoder_on_the_device_is_used_while_it_works(renderer):
    """With torchvision's interface: [3, H, W] bytes in, a tensor of bytes out."""
    scene, camera, options = alone(cloud())
    options = replace(options, outputs=("rgb8",))
    assert renderer.encode_jpeg(renderer.render(scene, camera, options), 90) is None, "a CPU has none"

    def encoder(picture, quality):
        assert picture.is_contiguous() and picture.dtype == torch.uint8
        done, jpeg = cv2.imencode(".jpg", picture.permute(1, 2, 0).numpy()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert done
        return torch.from_numpy(jpeg)

    encoding = CudaRenderer("cpu", TORCH_OPS)
    encoding._encoder = encoder
    frames = encoding.render_many(scene, [camera, shot(eye=(3, 2, 1))], options)
    for frame in frames:
        decoded = cv2.imdecode(np.frombuffer(encoding.encode_jpeg(frame, 95), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert psnr(decoded / 255, frame.rgb8 / 255) > 30
    assert encoding.encode_jpeg(renderer.render(scene, camera, options), 95) is None, "another renderer's frame"
    del frame, frames
    gc.collect()
    assert not len(encoding._pictures)

    def broken(picture, quality):
        raise RuntimeError("nvjpeg is not here")

    encoding._encoder = broken
    frame = encoding.render(scene, camera, options)
    assert encoding.encode_jpeg(frame, 95) is None and encoding._encoder is None


def test_overdraw_limits_are_not_heeded(renderer):
    scene, camera, options = alone(cloud(300))
    limited = renderer.render(scene, camera, replace(options, overdraw_limit=1))
    assert np.array_equal(limited.rgb, renderer.render(scene, camera, options).rgb)


def test_extremes_give_finite_pictures(renderer):
    rng = np.random.default_rng(0)
    for _ in range(20):
        wild = [
            rng.normal(0, 10 ** rng.uniform(-3, 3), shape).astype(np.float32) for shape in ((12, 3), (12, 4), (12, 3), (12,), (12, 4, 3))
        ]
        for array in wild:
            array.flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf, 3e38, 1e-45, 0])
        for style in ("splats", "centres", "outlines"):
            scene, camera, options = alone(Gaussians(*wild), shot(40, 30, rng.uniform(0.01, 3), rng.normal(0, 3, 3)), style=style)
            frame = renderer.render(scene, camera, options)
            assert all(np.isfinite(getattr(frame, output)).all() for output in ("rgb", "alpha", "depth", "median_depth"))
            assert frame.alpha.min() >= 0 and frame.alpha.max() <= 1 and frame.ids.max() < 12
