"""The multiresolution hash encoding with its gradient: native on a CPU, Triton on a GPU, and in readable torch, which both are held to."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from splatview.hashgrid import PRIMES
from splatview.native import _fields, field_workers

OFFSET = 0.5  # of the grids' corners, in cells
WRAP = 0xFFFFFFFF  # the hash is of 32 bits


@dataclass(frozen=True, eq=False)
class Grid:
    """Levels whose tables lie one after another in one array [rows, F]."""

    levels: tuple[tuple[float, int, int], ...]  # scale, corners along an axis (0: hashed), entries
    firsts: tuple[int, ...]  # row where each level's table begins
    features: int
    scales: Tensor  # [L] float32; these four on the device
    corners: Tensor  # [L] int32
    entries: Tensor  # [L] int32
    begins: Tensor  # [L] int32
    rows_of: NDArray[np.float64]  # [L, 4] scale, corners, entries, first row: what the native module wants

    @staticmethod
    def of(levels: Sequence[tuple[float, int, int]], features: int, device: torch.device) -> Grid:
        scales, corners, entries = zip(*levels, strict=True)
        firsts = [sum(entries[:place]) for place in range(len(levels))]
        placed = torch.tensor([corners, entries, firsts], dtype=torch.int32, device=device)
        described = np.array([(*level, first) for level, first in zip(levels, firsts, strict=True)], np.float64)
        scale = torch.tensor(scales, dtype=torch.float32, device=device)
        return Grid(tuple(levels), tuple(firsts), features, scale, placed[0], placed[1], placed[2], described)

    @property
    def rows(self) -> int:
        return self.firsts[-1] + self.levels[-1][2]


def encode(unit: Tensor, table: Tensor, grid: Grid) -> Tensor:
    """Features [N, L F] at points [N, 3] of the unit cube, levels side by side; its gradient reaches the `table` [rows, F] alone."""
    return _Encoding.apply(unit, table, grid)  # pyright: ignore[reportReturnType]


class _Encoding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, unit: Tensor, table: Tensor, grid: Grid) -> Tensor:
        ctx.save_for_backward(unit)
        ctx.grid, ctx.shape = grid, table.shape
        if unit.is_cuda:
            from splatview.fit import encoding_kernels

            return encoding_kernels.forward(unit.contiguous(), table, grid)
        return torch.from_numpy(native().encode(unit.contiguous().numpy(), table.detach().numpy(), grid.rows_of, OFFSET))

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[None, Tensor, None]:
        (unit,), (gradient,) = ctx.saved_tensors, gradients
        if unit.is_cuda:
            from splatview.fit import encoding_kernels

            return None, encoding_kernels.backward(unit.contiguous(), gradient.contiguous(), ctx.shape, ctx.grid), None
        table = torch.zeros(ctx.shape)
        native().encode_backward(unit.contiguous().numpy(), gradient.contiguous().numpy(), ctx.grid.rows_of, OFFSET, table.numpy())
        return None, table, None


@functools.cache
def native() -> _fields.Workers:
    """The native module's threads."""
    return field_workers()


def encoded(unit: Tensor, table: Tensor, grid: Grid) -> Tensor:
    """The same, level by level and corner by corner."""
    found = []
    for (scale, corners, entries), first in zip(grid.levels, grid.firsts, strict=True):
        scaled = unit * scale + OFFSET
        low = scaled.floor()
        share, corner = scaled - low, low.long()
        features = torch.zeros(len(unit), table.shape[1], device=unit.device)
        for number in range(8):
            bits = torch.tensor([number & 1, number >> 1 & 1, number >> 2 & 1], device=unit.device)
            weight = torch.where(bits == 1, share, 1 - share).prod(-1)
            x, y, z = (corner + bits).unbind(-1)
            dense, hashed = x + y * corners + z * corners**2, x * PRIMES[0] & WRAP ^ y * PRIMES[1] & WRAP ^ z * PRIMES[2] & WRAP
            place = dense if corners else hashed
            features = features + weight[:, None] * table[first + place % entries]
        found.append(features)
    return torch.cat(found, -1)
