"""Every kernel is compiled for GPUs, which takes none, as the launches ask; what they do Triton's interpreter tells."""

from __future__ import annotations

import numpy as np
import pytest
import tinycudann_reference
import torch
from field_cases import CUTS, DETAILS, FIELDS, STANDING, field, view
from interpreted_tcnn import FUSED
from pretend_gpu import PretendGpu
from pretend_launches import Launches, kernels_of

from splatview.fit import encoding_kernels
from splatview.fit.encoding import Grid, encode
from splatview.frame import Interrupted
from splatview.ngp import level_shapes
from splatview.render import contributions, field_kernels, field_tcnn_kernels, field_triton_kernels
from splatview.render.field_cuda import FieldCuda
from splatview.render.field_tcnn import TinyCudaNetworks
from splatview.scene import Layer

SMALLEST = 99 << 10  # bytes of shared memory that a program may have, on any GPU since 2020
TESTED = [80, 90]


@pytest.fixture(params=TESTED, ids=lambda capability: f"sm_{capability}")
def launches(request, tmp_path, monkeypatch):
    return Launches(request.param, str(tmp_path), monkeypatch)


def check(launches, names):
    assert set(launches.kernels) == names
    for compiled in (one for many in launches.kernels.values() for one in many):
        assert f".target sm_{launches.get_current_target().arch}" in compiled.asm["ptx"] and len(compiled.asm["cubin"]) > 1000
        assert compiled.metadata.shared <= SMALLEST


# Between them every flag, either way, and every number of features.
SHOWN = "one feature", "four features", "eight features", "deep networks", "even steps", "cut and contracted", "high dynamic range"


def test_those_of_fields(launches):
    with PretendGpu():
        renderer = FieldCuda("cuda", "triton")
        for name in SHOWN:
            layer, camera = FIELDS[name]()
            frame = renderer.render(layer, camera, detail=DETAILS.get(name, 1.0))
            assert frame.rgb.shape == (camera.height, camera.width, 3) and frame.rgb.is_cuda and frame.behind is None
        place = torch.zeros(camera.height, camera.width, device="cuda")
        assert renderer.render(layer, camera, divide=place).behind.samples.dtype == torch.int32
    check(launches, kernels_of(field_kernels) | kernels_of(field_triton_kernels))


def test_a_view_compiles_nothing_anew(launches):
    """Of another size, detail, reach, with other cuts, at another time: whatever Python's type of a number is."""
    with PretendGpu():
        renderer, made = FieldCuda("cuda", "triton"), field()
        for many in (0, 1):
            renderer.render(Layer(made, STANDING, cuts=CUTS[:many]), view())
        before = {name: len(many) for name, many in launches.kernels.items()}
        for size, near, far, detail in (
            ((64, 16), 1, 9, 1),
            ((33, 1), 0.5, np.float32(7), 0.5),
            ((2048, 1024), np.float64(0.1), 8.0, 0.25),
        ):
            for many in range(len(CUTS) + 1):
                renderer.render(Layer(made, cuts=CUTS[:many]), view(*size), near, far, detail)
    assert before == {name: len(many) for name, many in launches.kernels.items()} and len(launches.launched) > 100


class Fused(tinycudann_reference.NetworkWithInputEncoding):
    """Which has the reference's parameters, and answers with rows of sixteens, as tiny-cuda-nn does."""

    def forward(self, values):
        assert values.is_cuda and values.is_contiguous() and values.dtype == torch.float32 and len(values) % 256 == 0
        assert values.shape[1] == self.n_input_dims and self.params.is_cuda and self.params.dtype == torch.half
        outputs = -(-self.n_output_dims // 16) * 16
        return torch.empty(len(values), outputs, dtype=torch.half, device=values.device)[:, : self.n_output_dims]


class After:
    """An interrupt that comes while a field is drawn."""

    def __init__(self, looks):
        self._looks = looks

    @property
    def is_set(self):
        self._looks -= 1
        return self._looks < 0


@pytest.mark.parametrize("name", ["two features", "contracted space", "high dynamic range", "cropped"])
def test_those_around_tiny_cuda_nn(launches, name, monkeypatch):
    module = type("Module", (), {"NetworkWithInputEncoding": Fused})
    with PretendGpu(number=1, finds=True) as gpu:
        monkeypatch.setattr("splatview.render.tiny_cuda_nn.find", lambda wish: (module, ""))
        renderer, (layer, camera) = FieldCuda("cuda"), FUSED[name]()
        assert isinstance(renderer.prepare(layer.field).networks, TinyCudaNetworks)
        with gpu.counted(), pytest.raises(Interrupted):
            renderer.render(layer, camera, interrupt=After(3))
        assert gpu.waits == ["item", "item", "places are counted"] * 3 + ["__int__"], "of a list there each number counts"
    assert launches.launched.count("cover") == 3
    check(launches, kernels_of(field_kernels) - {"finish"} | kernels_of(field_tcnn_kernels))


@pytest.mark.parametrize("features", [1, 2, 4, 8])
def test_those_of_training(launches, features):
    with PretendGpu():
        grid = Grid.of(level_shapes(4, 8, 4, 1.8), features, torch.device("cuda"))
        table = torch.zeros(grid.rows, features, device="cuda")
        for count in (1, 300, 4096):
            unit = torch.zeros(count, 3, device="cuda")
            found = encode(unit, table, grid)
            assert found.shape == (count, 4 * features)
            assert encoding_kernels.backward(unit, found, table.shape, grid).shape == table.shape
    check(launches, kernels_of(encoding_kernels))
    assert [len(many) for many in launches.kernels.values()] == [1, 1]


def test_those_of_splats(launches):
    def numbers(*shape, dtype=torch.float32):
        return torch.zeros(*shape, dtype=dtype, device="cuda")

    with PretendGpu():
        for width, height in ((16, 1), (37, 25), (1920, 1080)):
            offsets = numbers(2, -(-height // 16), -(-width // 16), dtype=torch.int32)
            members, of_splats = numbers(width, dtype=torch.int32), (numbers(2, 9, 2), numbers(2, 9, 3), numbers(2, 9))
            for outlined in (False, True):
                for channels in (None, 1, 4):
                    features = None if channels is None else numbers(2, 9, channels)
                    tinted = numbers(2, 9, dtype=torch.uint8) if outlined else None
                    found = contributions.contributions(
                        *of_splats, numbers(2, 9), features, (width, height), 16, offsets, members, outlined=outlined, tinted=tinted
                    )
                    assert found.ids.shape == (2, height, width) and (found.blended is None) == (features is None)
                region, one = numbers(height, width, dtype=torch.uint8), [tensor[0].contiguous() for tensor in of_splats]
                assert contributions.seen_in(*one, region, 0.05, 16, offsets[0], members, outlined=outlined).shape == (9,)
    check(launches, kernels_of(contributions))
    assert [len(launches.kernels[name]) for name in ("walk_tiles", "search_tiles")] == [6, 2]
