"""Draws `FUSED` over the reference of tiny-cuda-nn, with Triton's interpreter: `python interpreted_tcnn.py OUT.npz`.

A process of its own, because Triton decides when it is imported whether it interprets or compiles.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from field_cases import BOX, CUTS, STANDING, contracted, field, view
from small_fields import ball

from splatview import Camera
from splatview.frame import Interrupt, Interrupted
from splatview.geometry import Similarity
from splatview.hashgrid import HARMONICS, HashGrid, Level, Marching, Network
from splatview.ngp import level_shapes
from splatview.scene import Layer

FEW = 1 << 10  # samples at once


def network(rng: np.random.Generator, *widths: int) -> Network:
    return Network(tuple(rng.normal(0, 1.2 / before**0.5, (after, before)) for before, after in itertools.pairwise(widths)))


def fused(features: int, levels: int, width: int = 16, hidden: tuple[int, int] = (1, 2), log2_size: int = 8, **changes) -> HashGrid:
    """As `field_cases.field`, in tiny-cuda-nn's layout: the first level with an entry for each corner, the last hashed."""
    rng, outputs = np.random.default_rng(features), changes.pop("outputs", 16)
    shapes = level_shapes(levels, log2_size, 4, 1.7)
    assert shapes[0][1] > 0 == shapes[-1][1]
    tables = tuple(Level(rng.normal(size=(entries, features)), scale, corners) for scale, corners, entries in shapes)
    colour = network(rng, outputs - changes.get("geometry", 0) + HARMONICS, *[width] * hidden[1], 3)
    biases = rng.normal(0, 0.3, width), *(np.zeros(len(one)) for one in colour.weights[1:])  # of the first layer: there is a place for them
    density = network(rng, levels * features, *[width] * hidden[0], outputs)
    return replace(field(), levels=tables, density=density, colour=Network(colour.weights, biases), **changes)


def space(made: HashGrid) -> dict:
    """What of `made` is not of the grid and its networks."""
    names = "warp", "box", "occupancy", "marching", "geometry", "shifted_directions", "density_factor"
    return {name: getattr(made, name) for name in names}


FUSED = {
    "ball": lambda: (Layer(ball(), Similarity(translation=(-0.5, -0.5, -0.5))), view(16, 11, (0.3, -2, 0.4), (0, 0, 0))),
    "one feature": lambda: (Layer(fused(1, 5, 32), STANDING), view(16, 11)),
    "two features": lambda: (Layer(fused(2, 6)), view(16, 11)),
    "four features": lambda: (Layer(fused(4, 4, 64), STANDING), view(16, 11)),
    "eight features": lambda: (Layer(fused(8, 4, hidden=(2, 3)), STANDING), view(16, 11)),
    "ten outputs": lambda: (Layer(fused(2, 6, outputs=10, geometry=3), STANDING), view(16, 11)),
    "contracted space": lambda: (Layer(fused(2, 6, **space(contracted())), STANDING), view(16, 11)),
    "high dynamic range": lambda: (Layer(fused(2, 6, hdr=True), STANDING, exposure=-0.5), view(16, 11)),
    "cropped": lambda: (Layer(fused(2, 6, occupancy=None, marching=Marching(0.05)), STANDING, cuts=CUTS), view(16, 11)),
    "a draft": lambda: (Layer(fused(2, 6, box=BOX), STANDING), view(13, 9)),
}
DETAILS = {"a draft": 0.5}


def main(out: str) -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    found = importlib.util.spec_from_file_location("tinycudann", Path(__file__).with_name("tinycudann_reference.py"))
    assert found is not None and found.loader is not None
    sys.modules["tinycudann"] = reference = importlib.util.module_from_spec(found)
    found.loader.exec_module(reference)

    from splatview.render import field_tcnn, tiny_cuda_nn
    from splatview.render.field_cuda import FieldCuda

    field_tcnn.AT_ONCE = FEW
    renderer, images = FieldCuda("cpu"), {}
    for name, case in FUSED.items():
        layer, camera = case()
        frame = renderer.render(layer, camera, detail=DETAILS.get(name, 1.0))
        images |= {f"{name}/{key}": getattr(frame, key).numpy() for key in ("rgb", "alpha", "distance", "samples")}
        images[f"{name}/networks"] = type(renderer.prepare(layer.field).networks).__name__
    images["calls"], images["said"] = reference.calls, tiny_cuda_nn.find()[1]
    for wish, one in (("auto", field()), ("triton", ball())):
        images[f"{wish}/networks"] = type(FieldCuda("cpu", wish).prepare(one).networks).__name__
    images["interrupted"] = interrupted(renderer, *FUSED["ball"]())
    np.savez(out, **images)


def interrupted(renderer, layer: Layer, camera: Camera) -> bool:
    interrupt = Interrupt()
    interrupt.set()
    try:
        renderer.render(layer, camera, interrupt=interrupt)
    except Interrupted:
        return True
    return False


if __name__ == "__main__":
    main(*sys.argv[1:])
