"""The GPU's kernels for fields, through Triton's interpreter: the specified picture, and the encoding of training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy_field
import pytest
import torch
from field_cases import DETAILS, FIELDS, field
from interpreted_fields import SHAPES, points
from render_cases import psnr

from splatview.fit.encoding import Grid, encoded
from splatview.ngp import level_shapes
from splatview.render.field_triton import TritonNetworks

pytestmark = pytest.mark.xdist_group("fields")  # one process draws the pictures for all


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    out = tmp_path_factory.mktemp("interpreted") / "fields.npz"
    subprocess.run([sys.executable, Path(__file__).with_name("interpreted_fields.py"), out], check=True)
    with np.load(out) as stored:
        return dict(stored)


@pytest.mark.parametrize("name", FIELDS)
def test_the_picture_is_the_specified_one(interpreted, name):
    layer, camera = FIELDS[name]()
    expected = numpy_field.render(layer, camera, detail=DETAILS.get(name, 1.0))
    assert (expected["alpha"].max() > 0.1) != (name == "looking away"), "the case shows what it should not"
    alpha = interpreted[f"{name}/alpha"]
    depth = layer.placement.scale * interpreted[f"{name}/distance"] / np.maximum(alpha, 1e-9)
    assert psnr(layer.field.developed(interpreted[f"{name}/rgb"], alpha, layer.exposure), expected["rgb"]) >= 55
    assert psnr(alpha, expected["alpha"]) >= 55
    assert psnr(np.where(expected["alpha"] > 0.01, depth, 0), np.where(expected["alpha"] > 0.01, expected["depth"], 0)) >= 45
    assert np.mean(interpreted[f"{name}/samples"] == expected["samples"]) >= 0.97


@pytest.mark.parametrize("name", SHAPES)
def test_the_encoding_and_its_gradient_are_those_of_readable_torch(interpreted, name):
    levels, features, log2_size = SHAPES[name]
    grid = Grid.of(level_shapes(levels, log2_size, 4, 1.8), features, torch.device("cpu"))
    rng = np.random.default_rng(1)
    table = torch.from_numpy(rng.normal(size=(grid.rows, features)).astype(np.float32)).requires_grad_()
    gradient = torch.from_numpy(rng.normal(size=(len(points()), levels * features)).astype(np.float32))
    found = encoded(torch.from_numpy(points()), table, grid)
    found.backward(gradient)
    assert table.grad is not None
    assert np.allclose(interpreted[f"{name}/features"], found.detach(), atol=1e-5)
    assert np.allclose(interpreted[f"{name}/gradient"], table.grad, atol=1e-4)


def test_what_the_kernels_cannot_draw_is_refused():
    from dataclasses import replace

    odd = field()
    levels = (*odd.levels[:-1], replace(odd.levels[-1], table=odd.levels[-1].table[:1000]))
    with pytest.raises(ValueError, match="backend cuda: expected hashed levels with a power of two entries, got 1000"):
        TritonNetworks(replace(odd, levels=levels), torch.device("cpu"))
    shallow = replace(odd.density, weights=(odd.density.weights[1] @ odd.density.weights[0],), biases=())
    with pytest.raises(ValueError, match="density network with a hidden layer"):
        TritonNetworks(replace(odd, density=shallow), torch.device("cpu"))
