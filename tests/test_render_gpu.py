"""On a GPU: the CUDA backend against the CPU renderer."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace

import cv2
import numpy as np
import pytest
from render_cases import CASES, EVERYTHING, alone, cloud, masked, psnr, several_layers, shot
from scripted_client import ScriptedClient

from splatview import RenderOptions, Scene, open_renderer
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings

# gsplat may be compiled at its first use, and what compilers warn of is not ours.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]
LARGE = shot(1280, 720)


@pytest.fixture(scope="module")
def gpu():
    return open_renderer("cuda")


@pytest.fixture(scope="module")
def cpu():
    return open_renderer("cpu")


def compare(gpu, cpu, scene, camera, options):
    ours, cpus = gpu.render(scene, camera, options), cpu.render(scene, camera, options)
    assert cpus.alpha.max() > 0.001, "the case shows nothing"
    for output in ("rgb", "alpha"):
        assert psnr(getattr(ours, output), getattr(cpus, output)) >= 45, output
    alike = (ours.alpha > 0) == (cpus.alpha > 0)  # a pixel at the limit of being covered has a depth or none
    assert alike.mean() >= 0.9995 and psnr(ours.depth[alike], cpus.depth[alike]) >= 45
    assert np.mean((ours.ids == cpus.ids) & (ours.id_layers == cpus.id_layers)) >= 0.995
    assert np.mean(np.isclose(ours.median_depth, cpus.median_depth, rtol=1e-3)) >= 0.995
    assert psnr(ours.coverage, cpus.coverage) >= 45
    assert np.mean(ours.overdraw == cpus.overdraw) >= 0.99


@pytest.mark.parametrize("name", CASES)
def test_both_backends_draw_the_same_picture(gpu, cpu, name):
    compare(gpu, cpu, *CASES[name]())


def test_both_backends_see_the_same_in_a_region(gpu, cpu):
    scene, _, options = alone(cloud(100_000, size=-4))
    region = np.zeros((720, 1280), bool)
    region[200:500, 300:700] = True
    for least in (0.01, 0.1, 0.5):
        ours, cpus = (each.contributors(scene, LARGE, region, least, options)["cloud"] for each in (gpu, cpu))
        assert cpus.any() and np.count_nonzero(ours != cpus) <= 0.002 * np.count_nonzero(cpus) + 1


@pytest.mark.parametrize("style", ["splats", "centres", "outlines"])
@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("degree", [0, 3, 4])
def test_and_of_large_scenes(gpu, cpu, antialiased, degree, style):
    scene, _, options = alone(cloud(100_000, degree=degree, size=-4), antialiased=antialiased, style=style)
    compare(gpu, cpu, scene, LARGE, options)


@pytest.mark.parametrize("style", ["splats", "centres", "outlines"])
def test_and_of_layers_in_every_style(gpu, cpu, style):
    for scene, _, options in (several_layers(), masked(hidden="b", tinted="a")):
        compare(gpu, cpu, scene, shot(640, 400), replace(options, style=style))


def test_several_cameras_in_one_call(gpu):
    scene, _, options = several_layers()
    cameras = [shot(320, 200), shot(320, 200, eye=(3, 2, 1))]
    for frame, camera in zip(gpu.render_many(scene, cameras, options), cameras, strict=True):
        single = gpu.render(scene, camera, options)
        assert frame.camera is camera and psnr(frame.rgb, single.rgb) >= 60
        assert np.mean((frame.ids == single.ids) & (frame.id_layers == single.id_layers)) >= 0.999


@pytest.mark.parametrize("output", EVERYTHING)
def test_an_output_does_not_depend_on_what_else_is_asked_for(gpu, output):
    scene, camera, options = several_layers()
    together, single = gpu.render(scene, camera, options), gpu.render(scene, camera, replace(options, outputs=(output,)))
    assert np.mean(np.isclose(getattr(single, output), getattr(together, output), atol=1e-5)) >= 0.999


def test_a_frame_waits_for_the_gpu_and_is_not_drawn_over(gpu):
    """Its pictures are copied while nobody waits, into memory that later frames use again."""
    scene, _, options = alone(cloud(20_000, degree=3))
    frames = [gpu.render(scene, shot(640, 400, eye=(3 * np.sin(turn), -3 * np.cos(turn), 1)), options) for turn in range(8)]
    kept = [{name: image.copy() for name, image in frame.images.items()} for frame in frames]
    again = [gpu.render(scene, frame.camera, options) for frame in frames]
    for frame, before, later in zip(frames, kept, again, strict=True):
        assert all(np.array_equal(frame.images[name], image) for name, image in before.items())
        assert psnr(later.rgb, frame.rgb) >= 80 and sum(later.timings.values()) > 0


def test_broken_splats_are_not_drawn(gpu):
    whole, broken = cloud(2000), cloud(2000)
    for name, value in (("means", np.nan), ("log_scales", np.inf), ("log_scales", 45), ("sh", -np.inf), ("quats", np.nan)):
        array = getattr(broken, name).copy()
        array[:1000] = value
        damaged = gpu.render(*alone(replace(broken, **{name: array})))
        clean = gpu.render(*alone(whole.take(range(1000, 2000))))
        assert psnr(damaged.rgb, clean.rgb) >= 60 and psnr(damaged.alpha, clean.alpha) >= 60, name


def test_memory_is_given_back_with_the_gaussians(gpu):
    import torch

    def drawn():
        scene, camera, options = alone(cloud(500_000, degree=3))
        gpu.render(scene, camera, options)
        return torch.cuda.memory_allocated()

    gc.collect()
    before = torch.cuda.memory_allocated()
    during = drawn()
    gc.collect()
    assert during - before > 50e6 and torch.cuda.memory_allocated() - before < 10e6


def test_its_jpeg_is_the_picture(gpu):
    frame = gpu.render(Scene({"cloud": Layer(cloud(5000))}), LARGE, RenderOptions(outputs=("rgb8", "depth")))
    data = gpu.encode_jpeg(frame, 95)
    if data is None:
        pytest.skip("torchvision, which encodes on the GPU, is not installed")
    picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert cv2.PSNR(picture, frame.rgb8) > 35
    assert gpu.encode_jpeg(replace(frame), 95) is None


def test_the_viewer_shows_the_gpus_pictures(gpu):
    async def pictures(url):
        async with ScriptedClient.connect(url, width=640, height=360) as client:
            await client.orbit(0)
            first = await client.rest(1.0)
            for turn in range(20):
                await client.orbit(0.05 * turn)
                await asyncio.sleep(0.03)
            return first, await client.rest(1.0)

    scene = Scene({"cloud": Layer(cloud(20_000, degree=2))})
    with Viewer(scene, ViewerSettings(port=0, open=False), renderer=gpu) as viewer:
        first, last = asyncio.run(pictures(viewer.url))
    assert first.size == last.size == (640, 360)
    assert first.pixels.std() > 5 and not np.array_equal(first.pixels, last.pixels)
