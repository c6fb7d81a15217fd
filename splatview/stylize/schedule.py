"""How noisy a picture is at a timestep, and which timesteps are taken.

Latents z of a picture are seen at timestep t as x = signal z + noise n, where n is Gaussian and signal^2 + noise^2 = 1: signal^2 is the
table alpha bar that a model was trained with (Ho et al. 2020). t falls from T - 1, where hardly anything of the picture is left, to 0.

Between steps, noise is put on again. That of consistency models is fresh. Turbo goes on as its own scheduler does: with the noise that the
network just saw, which is Euler's way; or, ancestral, with s of now / s of before of it, where s is noise / signal, and the rest fresh
(Karras et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from splatview.arrays import Floats, Ints, frozen

Family = Literal["lcm", "turbo"]

GRID = 50  # timesteps that consistency models are distilled on (Luo et al. 2023)
LAST = 45  # the index in the grid at which steps end, where a strength leaves room for that
STEEPNESS, DEVIATION = 10.0, 0.5  # of the boundary condition of consistency models


@dataclass(frozen=True, eq=False)
class Schedule:
    """The steps of one frame, the noisiest first."""

    timesteps: Ints  # [S]
    signal: Floats  # [S] sqrt(alpha bar)
    noise: Floats  # [S] sqrt(1 - alpha bar)
    skip: Floats  # [S] how much of its input a step's result is,
    out: Floats  # [S] and how much of what the network says: the boundary condition
    carried: Floats  # [S] how much of the noise that is put on before a step is what the network saw in the step before;
    fresh: Floats  # [S] and how much is fresh: the squares are 1 together

    def __len__(self) -> int:
        return len(self.timesteps)


def schedule(table: ArrayLike, family: Family, timesteps: Sequence[int], ancestral: bool = False) -> Schedule:
    """The schedule of `timesteps`, of a model with alpha bar `table` [T]; ValueError for timesteps that are none, or rise.

    `ancestral`: of Turbo, some of the noise between steps is fresh.
    """
    alphas, steps = np.asarray(table, np.float64), np.asarray(timesteps, np.int64)
    if not len(steps) or (np.diff(steps) > 0).any() or steps[0] >= len(alphas) or steps[-1] < 0:
        raise ValueError(f"timesteps: expected numbers from {len(alphas) - 1} to 0 that fall, got {list(timesteps)}")
    if not (alphas[steps] > 0).all():
        raise ValueError("this model's noise leaves nothing of a picture at its last timestep; splatview needs alpha bar over 0")
    scaled = steps * STEEPNESS if family == "lcm" else np.full(len(steps), np.inf)
    skip = DEVIATION**2 / (scaled**2 + DEVIATION**2)
    signal, noise = np.sqrt(alphas[steps]), np.sqrt(1 - alphas[steps])
    carried = np.zeros(len(steps))  # at first all is fresh
    if family == "turbo":
        spread = noise / signal
        carried[1:] = spread[1:] / spread[:-1] if ancestral else 1
    parts = (signal, noise, skip, np.sqrt(1 - skip), carried, np.sqrt(1 - carried**2))
    return Schedule(frozen("timesteps", steps, np.int32, None), *(frozen("a schedule", part, np.float32, None) for part in parts))


def grid(length: int = 1000) -> Ints:
    """The timesteps [GRID] of a consistency model that was trained with `length`: 999, 979 ... 19."""
    return (np.arange(GRID, 0, -1) * (length // GRID) - 1).astype(np.int32)


def at_indices(indices: Sequence[int], length: int = 1000) -> tuple[int, ...]:
    """The timesteps at rising `indices` of the grid, 0 to 49: a list such as [32, 45], as other tools have them."""
    if not indices or list(indices) != sorted(set(indices)) or indices[0] < 0 or indices[-1] >= GRID:
        raise ValueError(f"indices of timesteps: expected rising numbers from 0 to {GRID - 1}, got {list(indices)}")
    return tuple(grid(length)[list(indices)].tolist())


def indices(strength: float, steps: int) -> tuple[int, ...]:
    """Rising indices of the grid for a strength over 0 and up to 1: 0 is the noisiest."""
    first = min(round((GRID - 1) * (1 - strength)), GRID - steps)
    last = max(LAST, first + steps - 1)
    return tuple(math.floor(index + 0.5) for index in np.linspace(first, last, steps).tolist()) if steps > 1 else (first,)


def timesteps(family: Family, strength: float, steps: int, length: int = 1000) -> tuple[int, ...]:
    """The timesteps of a strength from 0 (nothing is changed, no timesteps) to 1 (only the prompt counts).

    Of Turbo they are those of its own image-to-image ("trailing") with as many steps in that part of it: round(T strength) - 1, if one.
    """
    if not (0 <= strength <= 1 and 1 <= steps <= GRID):
        raise ValueError(f"expected a strength of 0 to 1 and 1 to {GRID} steps, got {strength} and {steps}")
    if round(length * strength) < 1:
        return ()
    if family == "lcm":
        return at_indices(indices(strength, steps), length)
    return tuple(max(0, round(length * strength * (steps - step) / steps) - 1) for step in range(steps))
