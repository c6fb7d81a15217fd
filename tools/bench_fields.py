"""Measures how fast fields are drawn, for tools/bench.py: samples a second, and pictures a second.

On a GPU by our own kernels, and beside them by tiny-cuda-nn where it is installed.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from splatview import Camera
from splatview.hashgrid import LAST_TRANSMITTANCE, HashGrid, Level, Marching, Network, Occupancy
from splatview.ngp import growth, level_shapes
from splatview.render import tiny_cuda_nn
from splatview.render.field_cpu import FieldCpu
from splatview.scene import Layer

TURNS = 5
FRAMES = 3  # of a turn, at each size
SIZES = {"cpu": (400, 800), "cuda": (800, 1600)}

Draw = Callable[[Layer, Camera], np.ndarray]  # a picture: the samples of each pixel


def random_field(seed: int = 0, log2_size: int = 19) -> HashGrid:
    """A field of the usual shape with random numbers: 16 levels of 2 features, 32-64-16 and 32-64-64-3, occupied in a spherical shell."""
    rng = np.random.default_rng(seed)

    def network(*widths: int) -> Network:
        pairs = itertools.pairwise(widths)
        return Network(tuple(rng.normal(0, np.sqrt(2 / before), (after, before)).astype(np.float32) for before, after in pairs))

    shapes = level_shapes(16, log2_size, 16, growth(16, 16, 1))
    levels = [Level(rng.normal(0, 0.3, (entries, 2)).astype(np.float32), scale, corners) for scale, corners, entries in shapes]
    centres = (np.arange(128) + 0.5) / 128 - 0.5
    distance = np.sqrt((np.stack(np.meshgrid(centres, centres, centres)) ** 2).sum(0))
    occupancy = Occupancy((np.abs(distance - 0.35) < 0.04)[None], np.array([[[0, 0, 0], [1, 1, 1]]]))
    box, marching = np.array([[0, 0, 0], [1, 1, 1]]), Marching(3**0.5 / 1024)
    return HashGrid(tuple(levels), network(32, 64, 16), network(32, 64, 64, 3), box, marching, occupancy, density_factor=80.0)


def renderers(device: str) -> dict[str, Draw]:
    """By name, those that are measured."""
    if device == "cpu":
        cpu = FieldCpu()
        return {cpu.name: lambda layer, camera: cpu.render(layer, camera).samples}
    from splatview.render.field_cuda import FieldCuda

    module, said = tiny_cuda_nn.find("auto")
    print(f"tiny-cuda-nn: {said}", file=sys.stderr)

    def drawn(renderer: FieldCuda) -> Draw:
        return lambda layer, camera: renderer.render(layer, camera).samples.cpu().numpy()  # waits for it

    names = ("triton",) if module is None else ("triton", "tiny-cuda-nn")
    return {name: drawn(FieldCuda(networks=name)) for name in names}


def measured(draw: Draw, field: HashGrid, size: int) -> tuple[float, int, float]:
    """Median seconds of a picture, its samples, and those of a ray that has any."""
    camera = Camera.look_at((1.6, -0.6, 0.9), (0.5, 0.5, 0.5), (0, 0, 1), 0.6, size, size)
    seconds, samples = [], np.zeros(1)
    for _ in range(FRAMES):
        start = time.perf_counter()
        samples = draw(Layer(field), camera)
        seconds.append(time.perf_counter() - start)
    return median(seconds), int(samples.sum()), float(samples[samples > 0].mean())


def table(timer: Path | None, device: str = "cpu") -> str:
    """The section for BENCHMARKS.md. TIMER, called as `TIMER hashgrid`, prints JSON with its million samples a second."""
    field, drawing, sizes = random_field(), renderers(device), SIZES[device]
    for draw in drawing.values():  # prepared, and compiled, before anything is timed
        measured(draw, field, sizes[0])
    lines, ratios, each = [], [], 0.0
    for turn in range(TURNS):
        theirs = None
        if timer:
            command = [sys.executable] if timer.suffix == ".py" else []
            done = subprocess.run([*command, timer, "hashgrid"], stdout=subprocess.PIPE, check=True)
            theirs = float(json.loads(done.stdout)["msamples_per_s"])
        for name, draw in drawing.items():
            found = [measured(draw, field, size) for size in sizes]
            seconds, samples, each = found[0]
            rate = samples / seconds / 1e6
            ratios += [rate / theirs] if theirs else []
            cells = [
                name,
                f"{rate:.1f}",
                *(f"{1 / one[0]:.1f}" for one in found),
                *([f"{theirs:.1f}", f"{ratios[-1]:.2f}"] if theirs else []),
            ]
            lines.append(f"| {' | '.join(cells)} |")
            print(f"turn {turn + 1}: {lines[-1]}", file=sys.stderr)
    rates = [f"pictures/s at {size} x {size}" for size in sizes]
    titles = ["renderer", "million samples/s", *rates, *(["reference", "ratio"] if timer else [])]
    text = "A random field: 16 levels of 2 features, 2^19 entries, networks 32-64-16 and 32-64-64-3, occupied in a spherical shell that\n"
    text += f"half of the rays meet; {each:.0f} samples for each of them; a ray ends at a transmittance of {LAST_TRANSMITTANCE:g}.\n"
    text += "Marching and blending included."
    if ratios:
        text += f"\nThe reference evaluates the same networks at given points, no more; median of the ratios: {median(ratios):.2f}."
    return "\n".join([text, "", f"| {' | '.join(titles)} |", f"| --- |{' ---: |' * (len(titles) - 1)}", *lines])
