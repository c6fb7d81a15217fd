"""Draws splats and a field with the CUDA backend's code and Triton's interpreter: `python interpreted_composites.py OUT.npz`.

A process of its own, because Triton decides when it is imported whether it interprets or compiles.
"""

from __future__ import annotations

import os
import sys

import numpy as np
from render_cases import cloud
from small_fields import ball

from splatview import Camera, RenderOptions, Scene
from splatview.geometry import Similarity
from splatview.scene import Layer


def case() -> tuple[Scene, Camera, RenderOptions]:
    """In a size that takes the interpreter seconds."""
    placement = Similarity((0.9, 0.1, 0.2, 0.1), (-1.0, -0.8, -0.9), 1.8)
    scene = Scene({"cloud": Layer(cloud(60)), "ball": Layer(ball(density=6.0), placement, exposure=0.5)})
    return scene, Camera.look_at((0.5, -4, 1), (0, 0, 0), (0, 0, 1), 0.6, 24, 16), RenderOptions(background=(0.1, 0.2, 0.3))


def main(out: str) -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    from torch_ops import TORCH_OPS

    from splatview.render.composite_cuda import CompositeCuda
    from splatview.render.field_cuda import FieldCuda
    from splatview.render.splats_cuda import CudaRenderer

    renderer = CompositeCuda(CudaRenderer("cpu", TORCH_OPS), lambda: FieldCuda("cpu"))
    np.savez(out, **renderer.render(*case()).images)


if __name__ == "__main__":
    main(*sys.argv[1:])
