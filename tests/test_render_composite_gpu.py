"""On a GPU: splats and fields in one picture, against the CPU renderer."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from field_cases import field
from render_cases import EVERYTHING, cloud, psnr
from small_fields import ball, slab

from splatview import Camera, RenderOptions, Scene, open_renderer
from splatview.frame import Masks
from splatview.geometry import Similarity
from splatview.scene import Layer

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]
ALL = RenderOptions(outputs=(*EVERYTHING, "rgb8"), background=(0.2, 0.5, 0.7))
HERE = Similarity(translation=(-0.5, -0.5, -0.5))
TURNED = Similarity((0.9, 0.1, 0.2, 0.1), (-1.0, -0.8, -0.9), 1.8)
SCENES = {
    "both": {"cloud": Layer(cloud(2000)), "ball": Layer(ball(density=6.0), TURNED)},
    "two fields": {"slab": Layer(slab(density=4.0), HERE), "cloud": Layer(cloud(2000)), "ball": Layer(ball(density=9.0), TURNED)},
    "a field alone": {"ball": Layer(ball(density=6.0), TURNED, background=(0.9, 0.8, 0.1))},
    "exposed": {"cloud": Layer(cloud(2000)), "ball": Layer(ball(density=6.0), TURNED, exposure=0.8)},
    "high dynamic range": {"cloud": Layer(cloud(2000)), "field": Layer(field(hdr=True), TURNED, exposure=-0.5)},
}


@pytest.fixture(scope="module")
def gpu():
    return open_renderer("cuda")


@pytest.fixture(scope="module")
def cpu():
    return open_renderer("cpu")


def shot(width=640, height=400):
    return Camera.look_at((0.4, -3, 0.6), (0, 0, 0), (0, 0, 1), 0.7, width, height)


def alike(ours, cpus):
    assert set(ours.images) == set(cpus.images) and cpus.alpha.max() > 0.9
    assert all(ours.images[name].dtype == image.dtype for name, image in cpus.images.items())
    assert psnr(ours.rgb, cpus.rgb) >= 40 and psnr(ours.alpha, cpus.alpha) >= 40 and psnr(ours.coverage, cpus.coverage) >= 40
    both = (ours.alpha > 0.01) & (cpus.alpha > 0.01)
    assert psnr(ours.depth[both], cpus.depth[both]) >= 40
    assert np.mean(ours.ids == cpus.ids) >= 0.99 and np.mean(ours.id_layers == cpus.id_layers) >= 0.99
    assert np.mean(np.isclose(ours.median_depth, cpus.median_depth, rtol=1e-2)) >= 0.99


@pytest.mark.parametrize("name", SCENES)
def test_both_backends_draw_the_same_picture(gpu, cpu, name):
    scene, options = Scene(SCENES[name]), replace(ALL, tinted=Masks({"cloud": np.arange(2000) % 2 == 0}))
    ours = gpu.render(scene, shot(), options)
    alike(ours, cpu.render(scene, shot(), options))
    assert {"fields", "compose", "copy"} <= set(ours.timings) and ours.counts["samples"] > 0


def test_pictures_that_come_in_more_and_more_pixels(gpu, cpu):
    scene = Scene(SCENES["two fields"])
    for share in (1 / 64, 1 / 16, 1 / 4, 1 / 2, 1.0):
        options = replace(ALL, field_share=share)
        ours = gpu.render(scene, shot(), options)
        alike(ours, cpu.render(scene, shot(), options))
    again = gpu.render(Scene(dict(scene.layers)), shot(), ALL)
    assert psnr(again.rgb, ours.rgb) >= 60, "drawn at once"


def test_a_frame_is_not_drawn_over(gpu):
    scene = Scene(SCENES["both"])
    first = gpu.render(scene, shot(), ALL)
    kept = {name: image.copy() for name, image in first.images.items()}
    for background in ((0, 0, 0), (1, 1, 1)):
        gpu.render(scene, shot(), replace(ALL, background=background))
    assert all(np.array_equal(first.images[name], image) for name, image in kept.items())


def test_who_is_seen_behind_fields(gpu, cpu):
    far = Similarity(translation=(0.0, 1.5, 0.0), scale=0.4)
    scene, region = Scene({"cloud": Layer(cloud(2000), far), "ball": Layer(ball(), HERE)}), np.ones((400, 640), bool)
    ours, cpus = (each.contributors(scene, shot(), region, 0.05)["cloud"] for each in (gpu, cpu))
    assert cpus.any() and not cpus.all() and np.mean(ours != cpus) <= 0.01


def test_its_jpeg_is_the_picture_with_fields(gpu):
    frame = gpu.render(Scene(SCENES["both"]), shot(), RenderOptions(outputs=("rgb8", "depth")))
    data = gpu.encode_jpeg(frame, 95)
    if data is None:
        pytest.skip("torchvision, which encodes on the GPU, is not installed")
    picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert cv2.PSNR(picture, frame.rgb8) > 35
