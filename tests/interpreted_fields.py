"""Draws `FIELDS`, and encodes points and their gradients, with Triton's interpreter: `python interpreted_fields.py OUT.npz`.

A process of its own, because Triton decides when it is imported whether it interprets or compiles.
"""

from __future__ import annotations

import os
import sys

import numpy as np
from field_cases import DETAILS, FIELDS

SHAPES = {"four": (3, 4, 8), "two": (5, 2, 7)}  # levels, features, the logarithm of the entries


def points() -> np.ndarray:
    return np.random.default_rng(0).random((301, 3), np.float32)


def main(out: str) -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    import torch

    from splatview.fit import encoding_kernels
    from splatview.fit.encoding import Grid
    from splatview.ngp import level_shapes
    from splatview.render.field_cuda import FieldCuda

    renderer, found = FieldCuda("cpu"), {}
    for name, case in FIELDS.items():
        frame = renderer.render(*case(), detail=DETAILS.get(name, 1.0))
        found |= {f"{name}/{key}": getattr(frame, key).numpy() for key in ("rgb", "alpha", "distance", "samples")}
    for name, (levels, features, log2_size) in SHAPES.items():
        grid = Grid.of(level_shapes(levels, log2_size, 4, 1.8), features, torch.device("cpu"))
        rng = np.random.default_rng(1)
        table = torch.from_numpy(rng.normal(size=(grid.rows, features)).astype(np.float32))
        gradient = torch.from_numpy(rng.normal(size=(len(points()), levels * features)).astype(np.float32))
        unit = torch.from_numpy(points())
        found[f"{name}/features"] = encoding_kernels.forward(unit, table, grid).numpy()
        found[f"{name}/gradient"] = encoding_kernels.backward(unit, gradient, table.shape, grid).numpy()
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
