"""Draws `SMALL` cases with the CUDA backend's code and Triton's interpreter: `python interpreted_frames.py OUT.npz`.

A process of its own, because Triton decides when it is imported whether it interprets or compiles.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import numpy as np
from render_cases import Case, alone, cloud, masked, several_layers, shot, with_logits

from splatview import Camera


def small(case: Case, width: int = 37, height: int = 25) -> tuple[Case, list[Camera]]:
    """`case` before two cameras, in a size that takes the interpreter seconds."""
    cameras = [shot(width, height), shot(width, height, eye=(3, 2, 1))]
    return case, cameras


SMALL = {
    "classic": small(alone(cloud(120, degree=2))),
    "layers": small(several_layers(), 24, 16),
    "tinted": small(masked(tinted="a", hidden="b"), 24, 16),
    "opaque": small(alone(with_logits(8, 40).take(range(150)))),
    "larger than the picture": small(alone(cloud(40, size=1.0))),
    "outlines": small(alone(cloud(80), style="outlines", background=(0.2, 0.5, 0.9))),
    "outlines, antialiased": small(alone(cloud(80, size=-4, kind="antialiased"), style="outlines")),
    "nothing in view": small(alone(cloud(20), near=100, far=200)),
}


LEAST = 0.05


def spot(camera: Camera) -> np.ndarray:
    """A region [H, W]: a disc across four tiles."""
    y, x = np.mgrid[: camera.height, : camera.width]
    return np.hypot(x - 15, y - 14) < 7


def main(out: str) -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    from torch_ops import TORCH_OPS

    from splatview.render.contributions import contributions, seen_in
    from splatview.render.splats_cuda import CudaRenderer

    renderer = CudaRenderer("cpu", replace(TORCH_OPS, contributions=contributions, seen_in=seen_in))
    pictures = {}
    for name, ((scene, _, options), cameras) in SMALL.items():
        for number, frame in enumerate(renderer.render_many(scene, cameras, options)):
            pictures |= {f"{name}/{number}/{output}": image for output, image in frame.images.items()}
            found = renderer.contributors(scene, cameras[number], spot(cameras[number]), LEAST, options)
            pictures |= {f"{name}/{number}/seen/{layer}": mask for layer, mask in found.items()}
    np.savez(out, **pictures)


if __name__ == "__main__":
    main(*sys.argv[1:])
