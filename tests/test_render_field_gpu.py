"""On a GPU: fields against the specification and the CPU renderer, and the encoding of training against readable torch."""

from __future__ import annotations

import numpy as np
import numpy_field
import pytest
from field_cases import DETAILS, FIELDS, field, view
from render_cases import psnr

from splatview.render.field_cpu import FieldCpu
from splatview.scene import Layer

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def gpu():
    from splatview.render.field_cuda import FieldCuda

    return FieldCuda()


def shown(gpu, layer, camera, detail=1.0):
    frame = gpu.render(layer, camera, detail=detail)
    rgb, alpha = frame.rgb.cpu().numpy(), frame.alpha.cpu().numpy()
    depth = layer.placement.scale * frame.distance.cpu().numpy() / np.maximum(alpha, 1e-9)
    return {
        "rgb": layer.field.developed(rgb, alpha, layer.exposure),
        "alpha": alpha,
        "depth": depth,
        "samples": frame.samples.cpu().numpy(),
    }


@pytest.mark.parametrize("name", FIELDS)
def test_the_picture_is_the_specified_one(gpu, name):
    layer, camera = FIELDS[name]()
    detail = DETAILS.get(name, 1.0)
    got, expected = shown(gpu, layer, camera, detail), numpy_field.render(layer, camera, detail=detail)
    seen = expected["alpha"] > 0.01
    assert psnr(got["rgb"], expected["rgb"]) >= 50 and psnr(got["alpha"], expected["alpha"]) >= 50
    assert psnr(np.where(seen, got["depth"], 0), np.where(seen, expected["depth"], 0)) >= 45
    assert np.mean(got["samples"] == expected["samples"]) >= 0.95


@pytest.mark.parametrize("features", [2, 4])
def test_both_backends_draw_the_same_picture(gpu, features):
    layer, camera = Layer(field(features, 16 // features * 2, width=64)), view(640, 400)
    got, cpu = shown(gpu, layer, camera), FieldCpu().render(layer, camera)
    assert cpu.alpha.max() > 0.5
    assert psnr(got["rgb"], cpu.rgb) >= 45 and psnr(got["alpha"], cpu.alpha) >= 45


def test_a_picture_is_the_same_again(gpu):
    layer, camera = Layer(field(4, 8, width=64)), view(640, 400)
    first, second = (shown(gpu, layer, camera) for _ in range(2))
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_the_encoding_and_its_gradient_are_those_of_readable_torch():
    import torch

    from splatview.fit import encoding_kernels
    from splatview.fit.encoding import Grid, encoded
    from splatview.ngp import level_shapes

    device = torch.device("cuda")
    grid = Grid.of(level_shapes(8, 15, 16, 1.6), 4, device)
    table = torch.randn(grid.rows, 4, device=device, requires_grad=True)
    unit, gradient = torch.rand(20_001, 3, device=device), torch.randn(20_001, 32, device=device)
    found = encoded(unit, table, grid)
    found.backward(gradient)
    assert table.grad is not None
    assert torch.allclose(encoding_kernels.forward(unit, table.detach(), grid), found, atol=1e-3)
    assert torch.allclose(encoding_kernels.backward(unit, gradient, table.shape, grid), table.grad, atol=1e-2)
