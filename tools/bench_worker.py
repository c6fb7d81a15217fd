"""One process's share of `bench.py`: draws a scene at some sizes and prints what that took, as one line of JSON.

Its own process, because the peak of a process's memory is kept for as long as it lives.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import numpy as np

from splatview import Camera, Gaussians, RenderOptions, Scene, load, open_renderer
from splatview.arrays import Floats
from splatview.cli.measuring import measure
from splatview.cli.sizes import Size
from splatview.formats import load_cameras
from splatview.frame import Output
from splatview.scene import Layer


def valley(count: int) -> Gaussians:
    """`count` splats with SH degree 3 on rolling hills, lying flat on the ground; their sizes do not depend on `count`."""

    def stored(values: np.ndarray) -> Floats:
        return values.astype(np.float32)

    rng = np.random.default_rng(0)
    x, y = rng.uniform(-10, 10, (2, count)).astype(np.float32)
    height = np.sin(0.7 * x) * np.cos(0.5 * y) + 0.2 * np.sin(2.1 * x + 1.3 * y)
    means = np.stack([x, y, height + rng.normal(0, 0.02, count)], -1)
    log_scales = rng.normal(-4.6, 0.6, (count, 3)) - [0, 0, 1.5]
    quats = np.concatenate([np.ones((count, 1)), rng.normal(0, 0.3, (count, 3))], -1)
    sh = 0.05 * rng.standard_normal((count, 16, 3), np.float32)
    sh[:, 0] += np.stack([0.3 * np.sin(x), 0.8 + 0.4 * height, 0.2 * np.cos(y)], -1)
    return Gaussians(stored(means), stored(quats), stored(log_scales), stored(rng.normal(0.5, 2, count)), sh)


def overlook(width: int, height: int) -> Camera:
    """A view over the whole valley from above its edge."""
    return Camera.look_at((0, -13, 6), (0, 0, 0), (0, 0, 1), 0.8, width, height)


def memory(name: str) -> int:
    """Bytes of this process's VmRSS or VmHWM (the peak), as Linux counts them."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--count", type=int, help="draw a valley of so many Gaussians")
    parser.add_argument("--sizes", type=Size.parse, nargs="*", default=[])
    parser.add_argument("--scene", type=Path, help="draw this file instead")
    parser.add_argument("--camera", type=Path, help="from the first camera of this file")
    parser.add_argument("--frames", type=int, default=15)
    parser.add_argument("--everything", action="store_true", help="ask for every output, not for the 8-bit picture alone")
    given = parser.parse_args()

    scene = load(given.scene) if given.scene else Scene({"valley": Layer(valley(given.count))})
    views = load_cameras(given.camera)[:1] if given.camera else [overlook(size.width, size.height) for size in given.sizes]
    renderer = open_renderer(given.device)
    options = RenderOptions(outputs=get_args(Output) if given.everything else ("rgb8",))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = memory("VmRSS")
    rows = [asdict(measure(renderer, scene, view, given.frames, options)) for view in views]
    arrays = sum(layer.splats.nbytes for layer in scene.layers.values())
    print(json.dumps({"renderer": renderer.name, "count": scene.count, "arrays": arrays, "extra": memory("VmHWM") - before, "rows": rows}))


if __name__ == "__main__":
    main()
