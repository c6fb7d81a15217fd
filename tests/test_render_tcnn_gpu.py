"""On a GPU where tiny-cuda-nn is installed: its pictures of fields against the native renderer's and those of our own kernels."""

from __future__ import annotations

import numpy as np
import pytest
from field_cases import view
from interpreted_tcnn import DETAILS, FUSED, fused
from render_cases import psnr

from splatview import RenderOptions
from splatview.render import tiny_cuda_nn
from splatview.render.field_cpu import FieldCpu
from splatview.scene import Layer

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def renderers():
    """tiny-cuda-nn's, and ours."""
    from splatview.render.field_cuda import FieldCuda

    if tiny_cuda_nn.find("auto")[0] is None:
        pytest.skip(f"tiny-cuda-nn: {tiny_cuda_nn.find('auto')[1]}")
    return FieldCuda(networks="tiny-cuda-nn"), FieldCuda(networks="triton")


def shown(renderer, layer, camera, detail=1.0):
    frame = renderer.render(layer, camera, detail=detail)
    alpha = frame.alpha.cpu().numpy()
    return layer.field.developed(frame.rgb.cpu().numpy(), alpha, layer.exposure), alpha, frame.samples.cpu().numpy()


@pytest.mark.parametrize("name", FUSED)
def test_the_picture_is_the_native_renderers(renderers, name):
    layer, camera = FUSED[name]()
    detail = DETAILS.get(name, 1.0)
    theirs, _ = renderers
    rgb, alpha, _ = shown(theirs, layer, camera, detail)
    expected = FieldCpu().render(layer, camera, RenderOptions(near=1e-9, field_detail=detail))
    assert type(theirs.prepare(layer.field).networks).__name__ == "TinyCudaNetworks"
    assert psnr(rgb, expected.rgb) >= 50 and psnr(alpha, expected.alpha) >= 50


@pytest.mark.parametrize("features", [2, 4])
def test_large_pictures_are_those_of_our_own_kernels(renderers, features):
    layer, camera = Layer(fused(features, 16 // features, 64)), view(640, 400)
    theirs, ours = (shown(renderer, layer, camera) for renderer in renderers)
    assert psnr(theirs[0], ours[0]) >= 45 and psnr(theirs[1], ours[1]) >= 45 and ours[1].max() > 0.5
    assert np.mean(theirs[2] == ours[2]) >= 0.99


def test_a_picture_is_the_same_again(renderers):
    layer, camera = Layer(fused(2, 8, 64)), view(640, 400)
    first, second = (shown(renderers[0], layer, camera) for _ in range(2))
    assert all(map(np.array_equal, first, second))
