"""Measures how fast fields are drawn on the CPU, for tools/bench.py: samples a second, and pictures a second."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

from splatview import Camera
from splatview.hashgrid import LAST_TRANSMITTANCE, HashGrid, Level, Marching, Network, Occupancy
from splatview.render.field_cpu import FieldCpu
from splatview.scene import Layer

TURNS = 5
FRAMES = 3  # of a turn, at each size
SIZES = (400, 800)


def random_field(seed: int = 0, log2_size: int = 19) -> HashGrid:
    """A field of the usual shape with random numbers: 16 levels of 2 features, 32-64-16 and 32-64-64-3, occupied in a spherical shell."""
    rng = np.random.default_rng(seed)

    def network(*widths: int) -> Network:
        pairs = itertools.pairwise(widths)
        return Network(tuple(rng.normal(0, np.sqrt(2 / before), (after, before)).astype(np.float32) for before, after in pairs))

    levels = []
    for scale in np.geomspace(16, 2048, 16) - 1:
        corners = int(np.ceil(scale)) + 1
        entries = min(corners**3, 1 << log2_size)
        table = rng.normal(0, 0.3, (entries, 2)).astype(np.float32)
        levels.append(Level(table, float(scale), corners if corners**3 <= entries else 0))
    centres = (np.arange(128) + 0.5) / 128 - 0.5
    distance = np.sqrt((np.stack(np.meshgrid(centres, centres, centres)) ** 2).sum(0))
    occupancy = Occupancy((np.abs(distance - 0.35) < 0.04)[None], np.array([[[0, 0, 0], [1, 1, 1]]]))
    box, marching = np.array([[0, 0, 0], [1, 1, 1]]), Marching(3**0.5 / 1024)
    return HashGrid(tuple(levels), network(32, 64, 16), network(32, 64, 64, 3), box, marching, occupancy, density_factor=80.0)


def measured(renderer: FieldCpu, field: HashGrid, size: int) -> tuple[float, int, float]:
    """Median seconds of a picture, its samples, and those of a ray that has any."""
    camera = Camera.look_at((1.6, -0.6, 0.9), (0.5, 0.5, 0.5), (0, 0, 1), 0.6, size, size)
    seconds, samples = [], np.zeros(1)
    for _ in range(FRAMES):
        start = time.perf_counter()
        samples = renderer.render(Layer(field), camera).samples
        seconds.append(time.perf_counter() - start)
    return median(seconds), int(samples.sum()), float(samples[samples > 0].mean())


def table(timer: Path | None) -> str:
    """The section for BENCHMARKS.md. TIMER, called as `TIMER hashgrid`, prints JSON with its million samples a second."""
    field, renderer = random_field(), FieldCpu()
    field.query(np.zeros((1, 3)), np.ones((1, 3)))  # prepared before anything is timed
    lines, ratios, each = [], [], 0.0
    for turn in range(TURNS):
        theirs = None
        if timer:
            command = [sys.executable] if timer.suffix == ".py" else []
            done = subprocess.run([*command, timer, "hashgrid"], stdout=subprocess.PIPE, check=True)
            theirs = float(json.loads(done.stdout)["msamples_per_s"])
        found = [measured(renderer, field, size) for size in SIZES]
        seconds, samples, each = found[0]
        rate = samples / seconds / 1e6
        ratios += [rate / theirs] if theirs else []
        cells = [
            f"{rate:.1f}",
            *(f"{1 / one[0]:.1f}" for one in found),
            *([f"{theirs:.1f}", f"{ratios[-1]:.2f}"] if theirs else []),
        ]
        lines.append(f"| {' | '.join(cells)} |")
        print(f"turn {turn + 1}: {lines[-1]}", file=sys.stderr)
    titles = ["million samples/s", *(f"pictures/s at {size} x {size}" for size in SIZES), *(["reference", "ratio"] if timer else [])]
    text = "A random field: 16 levels of 2 features, 2^19 entries, networks 32-64-16 and 32-64-64-3, occupied in a spherical shell that\n"
    text += f"half of the rays meet; {each:.0f} samples for each of them; a ray ends at a transmittance of {LAST_TRANSMITTANCE:g}.\n"
    text += f"Marching and blending included. Renderer: {renderer.name}."
    if ratios:
        text += f"\nThe reference evaluates the same networks at given points, no more; median of the ratios: {median(ratios):.2f}."
    return "\n".join([text, "", f"| {' | '.join(titles)} |", f"|{' ---: |' * len(titles)}", *lines])
