"""Samples along rays, packed: those of one ray after those of another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from splatview.fit.encoding import native
from splatview.fit.occupancy import OccupancyGrid
from splatview.hashgrid import Marching
from splatview.native import _fields

ROWS = 1 << 25  # places that are looked at at once
MOST = 1 << 30  # samples


@dataclass(frozen=True, eq=False)
class Samples:
    """S places on R rays."""

    ray: Tensor  # [S] int64, ascending
    distance: Tensor  # [S] along the ray
    length: Tensor  # [S] of the piece that it stands for
    first: Tensor  # [R] where the samples of a ray begin
    last: Tensor  # [R] and where they end


def count(distance: Tensor, marching: Marching) -> Tensor:
    """`Marching.count`."""
    if not marching.cone:
        return distance / marching.step
    rate, first, last = marching.turns
    growing = torch.log(distance.clamp(first, min(last, 3e38)) / first) / rate
    return growing + (distance - first).clamp_max(0) / marching.step + (distance - last).clamp_min(0) / marching.longest


def distance(steps: Tensor, marching: Marching) -> Tensor:
    """`Marching.distance`."""
    if not marching.cone:
        return steps * marching.step
    rate, first, last = marching.turns
    end = math.log(last / first) / rate
    return (
        first * torch.exp(rate * steps.clamp(0, end)) + steps.clamp_max(0) * marching.step + (steps - end).clamp_min(0) * marching.longest
    )


def span(origins: Tensor, directions: Tensor, low: float, high: float, near: float) -> tuple[Tensor, Tensor]:
    """Where rays [R, 3] enter and leave the cube from `low` to `high`; they miss it where the first is not below the second."""
    inverse = 1 / torch.where(directions.abs() < 1e-12, torch.full_like(directions, 1e-12), directions)
    one, other = (low - origins) * inverse, (high - origins) * inverse
    return torch.minimum(one, other).amax(-1).clamp_min(near), torch.maximum(one, other).amin(-1)


def march(origins: Tensor, directions: Tensor, shift: Tensor, grid: OccupancyGrid, marching: Marching, low: float, high: float) -> Samples:
    """The occupied places of rays [R, 3] (unit directions), at steps k + `shift` [R] from where they enter the cube."""
    if not origins.is_cuda:
        bounds = np.array([[low] * 3, [high] * 3])
        steps = _fields.Steps(marching.step, marching.cone, marching.longest, marching.near)
        start, along, by = (one.contiguous().numpy() for one in (origins, directions, shift))
        ray, at, length = map(torch.from_numpy, native().march(start, along, by, grid.native(), bounds, steps, MOST))
    else:
        ray, at, length = _lattice(origins, directions, shift, grid, marching, low, high)
    return packed(ray, at, length, len(origins))


def packed(ray: Tensor, at: Tensor, length: Tensor, rays: int) -> Samples:
    """Samples in the order of their rays."""
    ray = ray.long()
    ends = torch.searchsorted(ray, torch.arange(rays + 1, device=ray.device))
    return Samples(ray, at, length, ends[:-1], ends[1:])


def _lattice(
    origins: Tensor, directions: Tensor, shift: Tensor, grid: OccupancyGrid, marching: Marching, low: float, high: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Ray, distance and length of each sample: every place of every ray is looked at, many rays at once."""
    enter, leave = span(origins, directions, low, high, marching.near)
    start = count(torch.minimum(enter, leave.clamp_min(0)), marching) + shift
    longest = int((count(leave.clamp_min(1e-6), marching) - start).amax().clamp_min(0).ceil()) + 1
    at_once = max(1, ROWS // longest)
    parts = []
    for begin in range(0, len(origins), at_once):
        part = slice(begin, begin + at_once)
        steps = start[part, None] + torch.arange(longest, device=origins.device)
        t = distance(steps, marching)
        there = (t < leave[part, None]) & (enter[part, None] < leave[part, None])
        ray, place = torch.nonzero(there, as_tuple=True)
        t, steps = t[ray, place], steps[ray, place]
        occupied = grid.at(origins[part][ray] + t[:, None] * directions[part][ray])
        ray, t, steps = ray[occupied] + begin, t[occupied], steps[occupied]
        parts.append((ray, t, distance(steps + 0.5, marching) - distance(steps - 0.5, marching)))
    ray, t, length = (torch.cat(part) for part in zip(*parts, strict=True))
    return ray, t, length


def light_at(thickness: Tensor, samples: Samples) -> Tensor:
    """[S] the transmittance before each sample, of their optical `thickness` [S]."""
    return torch.exp(-_before(thickness, samples))


def weights(density: Tensor, samples: Samples) -> Tensor:
    """[S] how much each sample adds to its ray's pixel: what it covers of what those before it left."""
    return _Weights.apply(density * samples.length, samples)  # pyright: ignore[reportReturnType]


def _before(values: Tensor, samples: Samples) -> Tensor:
    """[S] the sum of the `values` [S] of a ray's samples before each."""
    through = torch.cumsum(values.double(), 0)  # over all rays: too large for a float
    before = through - values
    start = torch.cat([before, before.new_zeros(1)])[samples.first.clamp_max(len(before))]
    return (before - start[samples.ray]).float()


class _Weights(torch.autograd.Function):
    """w_i = T_i (1 - exp(-x_i)); a thicker sample i shows more of itself, and less of all behind it: T_i exp(-x_i) and -sum_j>i w_j."""

    @staticmethod
    def forward(ctx, thickness: Tensor, samples: Samples) -> Tensor:
        light = light_at(thickness, samples)
        left = light * torch.exp(-thickness)
        ctx.samples = samples
        ctx.save_for_backward(left, light - left)
        return light - left

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        (left, weight), (gradient,) = ctx.saved_tensors, gradients
        shown = gradient * weight
        sums = torch.zeros(len(ctx.samples.first), device=shown.device).index_add(0, ctx.samples.ray, shown)
        behind = sums[ctx.samples.ray] - _before(shown, ctx.samples) - shown
        return gradient * left - behind, None
