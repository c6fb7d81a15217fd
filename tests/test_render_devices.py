"""Splats and fields in one picture, on a GPU that is not there (see pretend_gpu.py): where tensors are, and how often it is waited for.

gsplat's own functions are called, which check what they are given; what its kernels would answer has shapes, and no numbers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import gsplat.cuda._wrapper as gsplat
import numpy as np
import pytest
import torch
from pretend_gpu import PretendGpu
from pretend_launches import Launches
from render_cases import EVERYTHING, cloud, shot
from small_fields import ball, slab

from splatview import RenderOptions, Scene
from splatview.frame import Masks
from splatview.geometry import Similarity
from splatview.render.composite_cuda import CompositeCuda
from splatview.render.field_cuda import FieldCuda
from splatview.render.splats_cuda import CudaRenderer
from splatview.scene import Layer

HERE = Similarity(translation=(-0.5, -0.5, -0.5))
CLOUD, BALL, SLAB = Layer(cloud(60)), Layer(ball(density=6.0), HERE, exposure=0.5), Layer(slab(density=4.0), HERE)
SCENES = {
    "splats": {"cloud": CLOUD, "other": Layer(cloud(20))},
    "a field": {"ball": BALL},
    "both": {"cloud": CLOUD, "ball": BALL},
    "two fields": {"slab": SLAB, "cloud": CLOUD, "ball": BALL},
}
ALL = RenderOptions(outputs=(*EVERYTHING, "rgb8"), background=(0.2, 0.5, 0.7))
PAIRS = 500  # of a Gaussian and a tile


class Event:
    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        pass

    def elapsed_time(self, other):
        return 1.0


def kernels_of_gsplat(gpu):
    """By name; inputs as its C++ wants them: on the device, and contiguous."""

    def empty(*shape, dtype=torch.float32):
        return torch.empty(shape, dtype=dtype, device="cuda")

    def project(means, covars, quats, scales, opacities, poses, K, *_):
        shape = len(poses), len(means)
        real = (empty(*shape, *more) for more in ((2,), (), (3,), ()))
        return empty(*shape, 2, dtype=torch.int32), *real

    def intersect(means, radii, depths, *_):
        gpu._waited("pairs are counted")
        assert radii.dtype == torch.int32
        return torch.empty_like(depths, dtype=torch.int32), empty(PAIRS, dtype=torch.int64), empty(PAIRS, dtype=torch.int32)

    def blend(means, conics, colours, opacities, behind, masks, width, height, tile, offsets, members):
        shape = len(means), height, width
        return empty(*shape, colours.shape[-1]), empty(*shape, 1), empty(*shape, dtype=torch.int32)

    made = {
        "projection_ewa_3dgs_fused_fwd": project,
        "spherical_harmonics_fwd": lambda degree, along, coefficients, mask: torch.empty_like(along),
        "intersect_tile": intersect,
        "intersect_offset": lambda pairs, images, across, down: empty(images, down, across, dtype=torch.int32),
        "rasterize_to_pixels_3dgs_fwd": blend,
    }

    def named(name):
        def checked(*given):
            for one in given:
                assert not isinstance(one, torch.Tensor) or (one.is_cuda and one.is_contiguous()), name
            return made[name](*given)

        return checked

    return named


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    gpu = PretendGpu(finds=True)
    Launches(90, str(tmp_path), monkeypatch)
    monkeypatch.setattr(gsplat, "_make_lazy_cuda_func", kernels_of_gsplat(gpu))
    monkeypatch.setattr(gsplat, "_make_lazy_cuda_obj", lambda name: name)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "pretended")
    stream = SimpleNamespace(synchronize=lambda: gpu._waited("the end"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(CudaRenderer, "_draw_proof", lambda self: None)  # there are no numbers to look at
    with gpu:
        yield gpu


@pytest.fixture
def renderer(gpu):
    return CompositeCuda(CudaRenderer("cuda"), lambda: FieldCuda("cuda", "triton"))


def looks(name, detail=1):
    """What a picture waits for: the number of pairs, whether the rays of a part have ended, and the end."""
    splats, fields = "cloud" in SCENES[name], len(Scene(SCENES[name]).visible_fields)
    return ["pairs are counted"] * splats + ["__int__"] * fields * (2 if splats and detail == 1 else 1) + ["the end"]


@pytest.mark.parametrize("name", SCENES)
def test_a_picture_is_composed_on_the_device_and_waited_for_at_the_end(gpu, renderer, name):
    scene = Scene(SCENES[name])
    tinted = Masks({"cloud": np.arange(60) % 2 == 0}) if "cloud" in scene.layers else Masks()
    options = replace(ALL, tinted=tinted, hidden=tinted)
    renderer.render(scene, shot(), options)
    for detail, size in ((1, (45, 31)), (1, (640, 400)), (0.5, (64, 48))):
        with gpu.counted():
            frame = renderer.render(scene, shot(*size), replace(options, field_detail=detail))
        assert gpu.waits == looks(name, detail)
        assert all(image.shape[:2] == size[::-1] for image in frame.images.values()) and set(frame.images) >= set(options.outputs)
        types = {"ids": np.int32, "id_layers": np.int32, "overdraw": np.int32, "rgb8": np.uint8}
        assert all(image.dtype == types.get(output, np.float32) for output, image in frame.images.items())
    for output in EVERYTHING:
        with gpu.counted():
            renderer.render(scene, shot(), replace(options, outputs=(output,)))
        assert gpu.waits == looks(name)


def test_pictures_that_come_in_more_and_more_pixels_draw_splats_once(gpu, renderer):
    scene = Scene(SCENES["both"])
    renderer.render(scene, shot(), ALL)
    waits = []
    for share in (1 / 64, 1 / 4, 1 / 2, 1.0):
        with gpu.counted():
            renderer.render(scene, shot(48, 32), replace(ALL, field_share=share))
        assert gpu.waits[-1] == "the end"
        waits += gpu.waits
    lattices = 1 + 3 * 3  # a pixel of 8 x 8, then three parts in between, three times
    assert Counter(waits) == {"pairs are counted": 1, "__int__": 2 * lattices, "the end": 4}
