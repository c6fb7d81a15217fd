"""Measures the diffusion stylizer on this machine, at the true size of SD-Turbo with a small autoencoder, and with random weights.

    python tools/bench_diffusion.py --sizes 256 512 --steps 1 4 --together 1 4 --accelerators eager graphs

Weights change nothing about the time, so no model need be fetched. Each row is the median over frames that all differ; of those that enter
together, over as many.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from dataclasses import replace

import numpy as np
import torch

from splatview import Camera
from splatview.frame import Frame
from splatview.stylize.diffusing import Diffusing
from splatview.stylize.diffusion import Around, Diffusion
from splatview.stylize.untrained import SHAPES, untrained

PIXELS = (720, 1280)


def frames(count: int) -> list[Frame]:
    height, width = PIXELS
    camera = Camera.look_at((0, -3, 1), (0, 0, 0), (0, 0, 1), 0.8, width, height)
    rng = np.random.default_rng(0)
    return [Frame(camera, {"rgb8": rng.integers(0, 256, (height, width, 3), np.uint8)}) for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--steps", type=int, nargs="+", default=[1])
    parser.add_argument("--together", type=int, nargs="+", default=[1])
    parser.add_argument("--accelerators", nargs="+", default=["eager"])
    parser.add_argument("--frames", type=int, default=10)
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    warm = 1 + max(chosen.together)
    model, shown = untrained(SHAPES["sd-turbo"], chosen.device), frames(chosen.frames * max(chosen.together) + warm)
    print(f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'}, frames of {PIXELS[1]} x {PIXELS[0]}")
    print(f"{'accelerator':<14}{'size':>6}{'steps':>7}{'together':>10}{'ms':>9}{'per second':>12}")
    for accelerator in chosen.accelerators:
        stylizer = Diffusion(model, around=Around(accelerator=accelerator))
        for size, steps, together in itertools.product(chosen.sizes, chosen.steps, chosen.together):
            stylizer.take(replace(Diffusing(), size=size, steps=steps, buffer=together))
            for frame in shown[:warm]:
                stylizer.style(frame)
            stylizer._acceleration.settle()
            times = []
            for first in range(warm, warm + chosen.frames * together, together):
                began = time.perf_counter()
                for frame in shown[first : first + together]:
                    stylizer.style(frame)
                times.append(1000 * (time.perf_counter() - began) / together)
            middle, way = statistics.median(times), stylizer.in_use.partition(";")[0]
            print(f"{way:<14}{size:>6}{steps:>7}{together:>10}{middle:>9.1f}{1000 / middle:>12.1f}", flush=True)
        stylizer.close()


if __name__ == "__main__":
    main()
