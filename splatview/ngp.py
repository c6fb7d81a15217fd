"""Instant-NGP's conventions: the frame and the box that it trains in, how its rays march, and how its levels grow."""

from __future__ import annotations

import math

import numpy as np

from splatview.arrays import Doubles
from splatview.geometry import Similarity
from splatview.hashgrid import Marching

SCALE, OFFSET = 0.33, (0.5, 0.5, 0.5)  # of the photos' world, where nothing else is said
CYCLE = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])  # of coordinates (x, y, z) those of the photos' world, still scaled and moved
EDGES = tuple(1 << power for power in range(8))  # that a box may have: aabb_scale
NEAR = 0.05
FINEST = 2048  # cells of the finest level along a box of edge 1, where nothing else is said
STEP = math.sqrt(3) / 1024


def field_from_world(scale: float, offset: tuple[float, float, float]) -> Similarity:
    """The frame of a field from the photos' world: scaled, moved, and its axes cycled."""
    turn = np.eye(4)
    turn[:3, :3] = CYCLE.T
    return Similarity.from_matrix(turn) @ Similarity(scale=scale, translation=offset)


def box(edge: int) -> Doubles:
    """[2, 3] low and high corner of what is trained: the unit cube, or one so many times as large about the same middle."""
    return np.array([[0.5 - edge / 2] * 3, [0.5 + edge / 2] * 3])


def marching(edge: int) -> Marching:
    """How rays march in a box: the longest step is the diagonal of the largest cell of its occupancy."""
    return Marching(STEP, 0.0 if edge == 1 else 1 / 256, 1024 * STEP, NEAR)


def growth(levels: int, coarsest: int, edge: int, finest: int = FINEST) -> float:
    """By how much each level has more cells than the one before, so that the last has `finest` for each unit of the box."""
    return 1.0 if levels == 1 else float(np.exp(np.log(finest * edge / coarsest) / (levels - 1)))


def level_shapes(count: int, log2_size: int, coarsest: int, growth: float) -> list[tuple[float, int, int]]:
    """Of each level its scale, the corners along an axis (0: it is hashed) and the entries of its table.

    `coarsest`: corners of the first level; `growth`: of the scale from one level to the next; tables have up to 2^`log2_size` entries.
    """
    found, rate = [], np.log2(np.float32(growth))
    for level in range(count):
        scale = float(np.exp2(np.float32(level) * rate) * np.float32(coarsest) - np.float32(1))  # in float32, as there
        corners = math.ceil(scale) + 1
        entries = min(-(-(corners**3) // 8) * 8, 1 << log2_size)
        found.append((scale, corners if corners**3 <= entries else 0, entries))
    return found
