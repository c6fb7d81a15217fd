"""tiny-cuda-nn in the CUDA backend, over a reference of what it does: the native renderer's picture, of parameters that we lay out."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy_field
import pytest
import tinycudann_reference
import torch
from field_cases import field
from interpreted_tcnn import DETAILS, FEW, FUSED, fused
from render_cases import psnr

from splatview import RenderOptions, tcnn
from splatview.hashgrid import Network
from splatview.render import tiny_cuda_nn
from splatview.render.field_cpu import FieldCpu
from splatview.render.field_tcnn import GRANULARITY, TinyCudaNetworks

pytestmark = pytest.mark.xdist_group("tcnn")  # one process draws the pictures for all


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    out = tmp_path_factory.mktemp("interpreted") / "tcnn.npz"
    subprocess.run([sys.executable, Path(__file__).with_name("interpreted_tcnn.py"), out], check=True)
    with np.load(out) as stored:
        return dict(stored)


@pytest.mark.parametrize("name", FUSED)
def test_the_picture_is_the_native_renderers(interpreted, name):
    layer, camera = FUSED[name]()
    detail = DETAILS.get(name, 1.0)
    alpha = interpreted[f"{name}/alpha"]
    rgb = layer.field.developed(interpreted[f"{name}/rgb"], alpha, layer.exposure)
    depth = layer.placement.scale * interpreted[f"{name}/distance"] / np.maximum(alpha, 1e-9)
    expected = FieldCpu().render(layer, camera, RenderOptions(near=1e-9, field_detail=detail))
    seen = expected.alpha > 0.01
    assert interpreted[f"{name}/networks"] == "TinyCudaNetworks" and expected.alpha.max() > 0.5
    assert psnr(rgb, expected.rgb) >= 55 and psnr(alpha, expected.alpha) >= 55
    assert psnr(np.where(seen, depth, 0), np.where(seen, expected.depth, 0)) >= 60
    specified = numpy_field.render(layer, camera, detail=detail)
    assert psnr(rgb, specified["rgb"]) >= 70 and np.mean(interpreted[f"{name}/samples"] == specified["samples"]) >= 0.99


def test_batches_are_of_the_size_that_it_takes(interpreted):
    calls = interpreted["calls"]
    assert (calls % GRANULARITY == 0).all() and calls.max() == FEW and (calls < FEW).any() and len(calls) % 2 == 0


def test_what_it_cannot_hold_our_own_kernels_have(interpreted):
    assert interpreted["auto/networks"] == "TritonNetworks" == interpreted["triton/networks"]
    assert "in use" in str(interpreted["said"])


def test_an_interrupt_is_heard_while_a_field_is_drawn(interpreted):
    assert interpreted["interrupted"]


def networks(made, module=tinycudann_reference):
    return TinyCudaNetworks(made, torch.device("cpu"), module)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (lambda made: replace(made, offset=0.0), "grids with an offset of 0.5 cells"),
        (lambda made: replace(made, density=field(2, 6).density), "density network without biases"),
        (lambda made: replace(made, levels=field(2, 6).levels), "levels that grow by one factor"),
        (lambda made: fused(2, 6, 48), "hidden layers that run in one kernel, found a width of 48"),
        (lambda made: fused(2, 6, 24), "a multiple of 16, found [24]"),
        (lambda made: replace(made, density=Network(made.density.weights[:1])), "hidden layers of one width"),
        (lambda made: replace(made, density=Network(tuple(1e6 * one for one in made.density.weights))), "parameters of up to 65504"),
    ],
)
def test_a_field_that_does_not_fit_is_refused_with_a_reason(changed, why):
    made = fused(2, 6)
    networks(made)
    with pytest.raises(ValueError, match=re.escape(why)):
        networks(changed(made))


def test_a_tiny_cuda_nn_of_another_mind_is_refused():
    """As one without half precision is, whose networks are filled up otherwise, or one that was built without this width."""

    class Other(tinycudann_reference.NetworkWithInputEncoding):
        def __init__(self, *configured):
            super().__init__(*configured)
            self.params = torch.nn.Parameter(self.params[8:].detach())

    class Failing:
        def __init__(self, *configured):
            raise RuntimeError("fully_fused_mlp.cu:1\ncheck failed")

    for kind, why in ((Other, r"tiny-cuda-nn: expected [\d,]+ parameters, it has [\d,]+$"), (Failing, "tiny-cuda-nn: .*check failed")):
        module = type("Module", (), {"NetworkWithInputEncoding": kind})
        with pytest.raises(ValueError, match=why) as error:
            networks(fused(2, 6), module)
        assert "\n" not in str(error.value)


def test_what_is_laid_out_is_read_again():
    made = fused(4, 4, 32, hidden=(2, 2), geometry=1)
    laid = tcnn.laid_out(made)
    grid = (laid.grid[name] for name in ("n_levels", "n_features_per_level", "log2_hashmap_size", "base_resolution", "per_level_scale"))
    levels = tcnn.levels(laid.grid_parameters, *grid)
    density = tcnn.network(laid.density_parameters, 16, 32, 2, laid.outputs, filled=0)
    colour = tcnn.network(laid.colour_parameters, laid.outputs + 16, 32, 2, 3)
    again = replace(made, levels=levels, density=density, colour=colour, geometry=0)
    points, along = np.random.default_rng(0).uniform(-1, 1, (2, 100, 3))
    for found, expected in zip(again.specified(points, along), made.specified(points, along), strict=True):
        assert np.allclose(found, expected, rtol=1e-4, atol=1e-5) and np.ptp(expected) > 0.1


def test_who_has_the_networks_is_said_and_can_be_chosen(monkeypatch):
    monkeypatch.delenv(tiny_cuda_nn.VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "tinycudann", None)
    monkeypatch.setattr(tiny_cuda_nn, "find_spec", lambda name: None)
    module, found = tiny_cuda_nn.find()
    assert module is None and "not installed" in found and "Triton" in found and "pip install" in found
    monkeypatch.setattr(tiny_cuda_nn, "find_spec", lambda name: name)
    module, found = tiny_cuda_nn.find()  # there, and its import fails
    assert module is None and "does not start" in found and "Triton" in found
    monkeypatch.setenv(tiny_cuda_nn.VARIABLE, "tiny-cuda-nn")
    with pytest.raises(ValueError, match=r"^SPLATVIEW_NETWORKS=tiny-cuda-nn: .* does not start .*pip install"):
        tiny_cuda_nn.find()
    monkeypatch.setitem(sys.modules, "tinycudann", tinycudann_reference)
    module, found = tiny_cuda_nn.find()
    assert module is tinycudann_reference and "in use" in found
    monkeypatch.setenv(tiny_cuda_nn.VARIABLE, "triton")
    assert tiny_cuda_nn.find()[0] is None and tiny_cuda_nn.find("auto")[0] is tinycudann_reference
    monkeypatch.setenv(tiny_cuda_nn.VARIABLE, "cuda")
    with pytest.raises(ValueError, match="SPLATVIEW_NETWORKS: expected auto, tiny-cuda-nn or triton, got 'cuda'"):
        tiny_cuda_nn.find()
