"""Volumes as lines, in their own units: a sphere of radius 1, a box of side 1. What places and scales them is given to the page."""

from __future__ import annotations

from itertools import product

import numpy as np

from splatview.arrays import Floats

AROUND = 48  # pieces of a circle


def box_lines() -> Floats:
    """The edges [12, 2, 3] of the box from -0.5 to 0.5."""
    edges = []
    for axis in range(3):
        for one, other in product((-0.5, 0.5), repeat=2):
            ends = np.zeros((2, 3), np.float32)
            ends[:, axis] = -0.5, 0.5
            ends[:, (axis + 1) % 3], ends[:, (axis + 2) % 3] = one, other
            edges.append(ends)
    return np.stack(edges)


def sphere_lines() -> Floats:
    """Three great circles [3 * AROUND, 2, 3] of the sphere of radius 1."""
    turn = np.linspace(0, 2 * np.pi, AROUND + 1)
    circle = np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], -1)
    pieces = np.stack([circle[:-1], circle[1:]], 1)
    return np.concatenate([np.roll(pieces, axis, axis=-1) for axis in range(3)]).astype(np.float32)
