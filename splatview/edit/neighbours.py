"""Selections by nearness: grow, shrink, and what hangs together.

Distances are between the centres of Gaussians, in the units of `Gaussians.means`: whoever has one in world units divides it by the
placement's scale. A Gaussian whose centre is not finite is near nobody.
"""

from __future__ import annotations

import os
import threading
import weakref

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Bools, Ints
from splatview.gaussians import Gaussians
from splatview.native import _points

SAMPLE = 20_000  # Gaussians whose nearest neighbour is looked up to know how dense a scene is
GROWTH = 2.0  # of a first step of grow and shrink, in spacings
GAP = 4.0  # between two things that are not one, in spacings
KEPT = 2  # trees; a tree takes about 25 bytes a Gaussian

_kept: list[tuple[weakref.ref[NDArray], _points.Points]] = []
_lock = threading.Lock()


def points_of(splats: Gaussians) -> _points.Points:
    """The tree over the centres of `splats`; the last two are kept, also for Gaussians that share the same centres."""
    with _lock:
        _kept[:] = [(means, points) for means, points in _kept if means() is not None]
        for means, points in _kept:
            if means() is splats.means:
                return points
    built = new_points(splats.means)
    with _lock:
        _kept.insert(0, (weakref.ref(splats.means), built))
        del _kept[KEPT:]
    return built


def new_points(means: NDArray) -> _points.Points:
    """A tree over `means` [N, 3], on as many threads as the renderer takes (`SPLATVIEW_THREADS`)."""
    asked = os.environ.get("SPLATVIEW_THREADS", "")
    threads = int(asked) if asked.isdecimal() and 1 <= int(asked) <= 1024 else len(os.sched_getaffinity(0))
    return _points.Points(np.ascontiguousarray(means, np.float32), threads)


def spacing(splats: Gaussians) -> float:
    """The median distance to the nearest neighbour, of a sample, leaving out what lies in one place; 0 if there is no such distance."""
    rows = np.flatnonzero(np.isfinite(splats.means).all(1)).astype(np.int32)
    some = rows[:: max(1, len(rows) // SAMPLE)]
    _, distances = points_of(splats).nearest(1, some)
    apart = distances[(distances > 0) & np.isfinite(distances)]
    return float(np.median(apart)) if apart.size else 0.0


def default_distance(splats: Gaussians) -> float:
    """A distance for a first `grow` or `shrink`: two spacings."""
    return GROWTH * spacing(splats)


def default_gap(splats: Gaussians) -> float:
    """A gap for a first `cluster`: four spacings, which holds a surface together and parts it from the next one."""
    return GAP * spacing(splats)


def grow(splats: Gaussians, which: Bools, distance: float) -> Bools:
    """[N] those of `which` [N], and all within `distance` of one of them."""
    _check("distance", distance)
    return points_of(splats).within(_mask(splats, which).view(np.uint8), distance).view(np.bool_)


def shrink(splats: Gaussians, which: Bools, distance: float) -> Bools:
    """[N] those of `which` [N] that are farther than `distance` from all others: the dual of `grow`."""
    return ~grow(splats, ~_mask(splats, which), distance)


def components(splats: Gaussians, gap: float) -> Ints:
    """[N] to which of the things that hang together by steps of at most `gap` a Gaussian belongs: 0 is the largest, -1: not finite."""
    _check("gap", gap)
    roots = points_of(splats).components(gap)
    names, labels, counts = np.unique(roots, return_inverse=True, return_counts=True)
    ranks = np.empty(len(names), np.int32)
    order = np.lexsort((names, -counts, names < 0))
    ranks[order] = np.arange(len(names))
    ranks[names < 0] = -1
    return ranks[labels.reshape(-1)]


def cluster(splats: Gaussians, seeds: Bools, gap: float) -> Bools:
    """[N] all that hangs together with one of `seeds` [N] by steps of at most `gap`; seeds that are not finite stay."""
    _check("gap", gap)
    chosen = _mask(splats, seeds)
    roots = points_of(splats).components(gap)
    held = np.zeros(len(splats), bool)
    held[roots[chosen & (roots >= 0)]] = True
    return chosen | (held[roots] & (roots >= 0)) if len(splats) else chosen


def _check(name: str, distance: float) -> None:
    if not (np.isfinite(distance) and distance >= 0):
        raise ValueError(f"{name}: expected a number of 0 or more, in scene units; got {distance}")


def _mask(splats: Gaussians, which: Bools) -> Bools:
    mask = np.ascontiguousarray(which, np.bool_)
    if mask.shape != (len(splats),):
        raise ValueError(f"selection: expected a mask of {len(splats)} entries, one for each Gaussian; got shape {list(mask.shape)}")
    return mask
