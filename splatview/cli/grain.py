"""Measuring how much a diffusion stylizer's pictures flicker by its own noise, where that lies, and what steadying makes of them.

What a picture is held against is the mean of the stylizer's pictures over many noises, which are others than those that are measured, and
over all frames that see a surface: what is there whatever the noise, and does not flicker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from statistics import median

import numpy as np

from splatview.arrays import Bytes, Floats
from splatview.cli.flicker import WAYS, Figures, figures, steadied
from splatview.cli.flight import Motion, consensus
from splatview.cli.inputs import Shot
from splatview.cli.redrawing import Redrawing
from splatview.frame import Frame
from splatview.stylize import Stylizer
from splatview.stylize.noise import CarriedNoise, HashedNoise, Noise, Shape

NOISES = 16  # of the mean
OTHERS = 1000  # seeds of its noises begin here

EXPLAINED = """\
Levels of 0..255. Warp error: to the picture before, moved as the scene does; it is low for ghosts, too.
Error: to the mean over {noises} other noises and all pictures that see a surface. Uncovered: the same, of what something hid before.
Noise that stays where it is has an error that no average takes away. ms: of the style, or of what is done with its pictures."""


class Fresh:
    """Other noise for each frame."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)

    def __call__(self, frame: Frame, shape: Shape) -> Floats:
        return self._random.standard_normal(shape, np.float32)


class OnScreen:
    """The same for all frames."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def __call__(self, frame: Frame, shape: Shape) -> Floats:
        return np.random.default_rng(self._seed).standard_normal(shape, np.float32)


GRAINS: dict[str, Callable[[int], Noise]] = {
    "fresh": Fresh,
    "on the screen": OnScreen,
    "on surfaces": CarriedNoise,
    "in the world": HashedNoise,
}


class Switched:
    """Noise that may become another between two frames."""

    def __init__(self) -> None:
        self.noise: Noise = Fresh()

    def __call__(self, frame: Frame, shape: Shape) -> Floats:
        return self.noise(frame, shape)


def measure(
    frames: Sequence[Frame], motions: Sequence[Motion], style: Stylizer, noise: Switched, noises: int, tell: Callable[[float, str], None]
) -> list[Figures]:
    """Each kind of noise for `style`, which asks `noise` for its own, and what steadying makes of it; first the mean over noises."""
    redrawing = Redrawing(style, live=False)

    def pictures(kind: Callable[[int], Noise], seed: int, at: int, what: str) -> tuple[list[Bytes], float]:
        """The style of all frames, and how long it took for one."""
        noise.noise, done, spent = kind(seed), [], []
        for number, frame in enumerate(frames):
            tell((at + number / len(frames)) / (noises + 1 + len(GRAINS)), what)
            started = time.perf_counter()
            done += redrawing.work(Shot(frame, Fraction(number), "")) or []
            spent.append(1000 * (time.perf_counter() - started))
        return [one.picture for one in [*done, *redrawing.rest()]], median(spent[1:])

    sums = [np.zeros(frame.rgb8.shape, np.float64) for frame in frames]
    for number in range(noises):
        for total, picture in zip(sums, pictures(Fresh, OTHERS + number, number, "the mean")[0], strict=True):
            total += picture
    mean = [(total / noises + 0.5).astype(np.uint8) for total in sums]
    reference = consensus(frames, mean, lambda done: tell((noises + done) / (noises + 1 + len(GRAINS)), "what the pictures have in common"))
    rows = [figures("mean", mean, reference, motions, 0.0)]
    for number, (name, kind) in enumerate(GRAINS.items()):
        found, spent = pictures(kind, 0, noises + 1 + number, f"noise {name}")
        rows.append(figures(f"noise {name}", found, reference, motions, spent))
        ways = WAYS if name == "fresh" else {"ours": WAYS["ours"]}
        rows += [steadied(f"  {title}", way, frames, motions, found, reference) for title, way in ways.items() if title != "raw"]
    return rows
