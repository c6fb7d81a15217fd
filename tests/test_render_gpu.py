"""On a GPU: the CUDA backend against the CPU renderer."""

from __future__ import annotations

import gc
from dataclasses import replace

import cv2
import numpy as np
import pytest
from render_cases import CASES, alone, cloud, psnr, several_layers, shot

from splatview import RenderOptions, Scene, open_renderer
from splatview.scene import Layer

pytestmark = pytest.mark.gpu
LARGE = shot(1280, 720)


@pytest.fixture(scope="module")
def gpu():
    return open_renderer("cuda")


@pytest.fixture(scope="module")
def cpu():
    return open_renderer("cpu")


def compare(gpu, cpu, scene, camera, options):
    ours, cpus = gpu.render(scene, camera, options), cpu.render(scene, camera, options)
    for output in ("rgb", "alpha", "depth"):
        assert psnr(getattr(ours, output), getattr(cpus, output)) >= 45, output
    assert np.mean((ours.ids == cpus.ids) & (ours.id_layers == cpus.id_layers)) >= 0.995
    assert np.mean(np.isclose(ours.median_depth, cpus.median_depth, rtol=1e-3)) >= 0.995


@pytest.mark.parametrize("name", CASES)
def test_both_backends_draw_the_same_picture(gpu, cpu, name):
    compare(gpu, cpu, *CASES[name]())


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("degree", range(5))
def test_and_of_large_scenes(gpu, cpu, antialiased, degree):
    scene, _, options = alone(cloud(100_000, degree=degree, size=-4), antialiased=antialiased)
    compare(gpu, cpu, scene, LARGE, options)


def test_outlines_agree(gpu, cpu):
    scene, _, options = alone(cloud(2000), style="outlines")
    ours, cpus = gpu.render(scene, LARGE, options), cpu.render(scene, LARGE, options)
    assert np.mean(np.abs(ours.rgb - cpus.rgb).max(-1) < 1e-2) >= 0.99


def test_several_cameras_in_one_call(gpu):
    scene, _, options = several_layers()
    cameras = [shot(320, 200), shot(320, 200, eye=(3, 2, 1))]
    for frame, camera in zip(gpu.render_many(scene, cameras, options), cameras, strict=True):
        assert psnr(frame.rgb, gpu.render(scene, camera, options).rgb) >= 60


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
