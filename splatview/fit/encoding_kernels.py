"""`encoding.encoded` and its gradient on a GPU. Imports Triton, so it is imported only by who is about to use it."""

# pyright: reportGeneralTypeIssues=false
# (what Triton iterates over and returns is no Python to a checker)

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import triton
import triton.language as tl

if TYPE_CHECKING:
    from torch import Tensor

    from splatview.fit.encoding import Grid

BLOCK = 256  # points
SECOND, THIRD = tl.constexpr(2654435761), tl.constexpr(805459861)  # primes of the hash


def forward(unit: Tensor, table: Tensor, grid: Grid) -> Tensor:
    """Features [N, L F] at contiguous points [N, 3]."""
    count, levels = len(unit), len(grid.levels)
    features = table.new_empty(count, levels * grid.features)
    if count:
        launch: Any = gather[(triton.cdiv(count, BLOCK), levels)]
        numbers = grid.scales, grid.corners, grid.entries, grid.begins
        launch(unit, table, features, *numbers, count, levels * grid.features, grid.features, BLOCK, num_warps=4)
    return features


def backward(unit: Tensor, gradient: Tensor, shape: tuple[int, int], grid: Grid) -> Tensor:
    """The table's gradient of `shape` from that of the features [N, L F]."""
    count, levels = len(unit), len(grid.levels)
    table = gradient.new_zeros(shape)
    if count:
        launch: Any = scatter[(triton.cdiv(count, BLOCK), levels)]
        numbers = grid.scales, grid.corners, grid.entries, grid.begins
        launch(unit, gradient, table, *numbers, count, levels * grid.features, grid.features, BLOCK, num_warps=4)
    return table


@triton.jit
def cells_of(unit, point, inside, scale):
    """The low corners (int32) of the cells that hold points [BLOCK] of the unit cube, and how far into them they are, by axis."""
    x = tl.load(unit + 3 * point, mask=inside, other=0.0) * scale + 0.5
    y = tl.load(unit + 3 * point + 1, mask=inside, other=0.0) * scale + 0.5
    z = tl.load(unit + 3 * point + 2, mask=inside, other=0.0) * scale + 0.5
    low_x, low_y, low_z = tl.floor(x), tl.floor(y), tl.floor(z)
    return low_x.to(tl.int32), low_y.to(tl.int32), low_z.to(tl.int32), x - low_x, y - low_y, z - low_z


@triton.jit
def corner_of(low_x, low_y, low_z, x, y, z, corners, entries, number: tl.constexpr):
    """Of a corner of each cell, its row [BLOCK] in the level's table, and its weight."""
    dx, dy, dz = number & 1, number >> 1 & 1, number >> 2 & 1
    weight = (x if dx else 1 - x) * (y if dy else 1 - y) * (z if dz else 1 - z)
    at_x, at_y, at_z = (low_x + dx).to(tl.uint32), (low_y + dy).to(tl.uint32), (low_z + dz).to(tl.uint32)
    dense = at_x + at_y * corners + at_z * corners * corners
    hashed = at_x ^ (at_y * SECOND) ^ (at_z * THIRD)
    return (tl.where(corners > 0, dense, hashed) % entries).to(tl.int64), weight


@triton.jit(do_not_specialize=["count"])
def gather(unit, table, features, scales, corners_of, entries_of, begins, count, row, FEATURES: tl.constexpr, BLOCK: tl.constexpr):
    point, column, level = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, FEATURES), tl.program_id(1)
    inside, begin = point < count, tl.load(begins + level)
    corners, entries = tl.load(corners_of + level).to(tl.uint32), tl.load(entries_of + level).to(tl.uint32)
    low_x, low_y, low_z, x, y, z = cells_of(unit, point, inside, tl.load(scales + level))
    total = tl.zeros([BLOCK, FEATURES], tl.float32)
    for number in tl.static_range(8):
        entry, weight = corner_of(low_x, low_y, low_z, x, y, z, corners, entries, number)
        place = (begin + entry) * FEATURES
        total += weight[:, None] * tl.load(table + place[:, None] + column[None, :], mask=inside[:, None], other=0.0)
    target = point.to(tl.int64) * row + level * FEATURES
    tl.store(features + target[:, None] + column[None, :], total, mask=inside[:, None])


@triton.jit(do_not_specialize=["count"])
def scatter(unit, gradient, table, scales, corners_of, entries_of, begins, count, row, FEATURES: tl.constexpr, BLOCK: tl.constexpr):
    point, column, level = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, FEATURES), tl.program_id(1)
    inside, begin = point < count, tl.load(begins + level)
    corners, entries = tl.load(corners_of + level).to(tl.uint32), tl.load(entries_of + level).to(tl.uint32)
    low_x, low_y, low_z, x, y, z = cells_of(unit, point, inside, tl.load(scales + level))
    source = point.to(tl.int64) * row + level * FEATURES
    given = tl.load(gradient + source[:, None] + column[None, :], mask=inside[:, None], other=0.0)
    for number in tl.static_range(8):
        entry, weight = corner_of(low_x, low_y, low_z, x, y, z, corners, entries, number)
        place = (begin + entry) * FEATURES
        tl.atomic_add(table + place[:, None] + column[None, :], weight[:, None] * given, mask=inside[:, None], sem="relaxed")
