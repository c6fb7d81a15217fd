"""Fewer Gaussians that look alike: the least important of close neighbours are merged, the cheapest pairs first.

A Gaussian's importance is the mass of its shadow: opacity times the mean area that it covers, over all directions. What a merge costs is
Runnalls' bound on what a mixture loses ("Kullback-Leibler Approach to Gaussian Mixture Reduction", 2007), with importance for weights,
and the spread of colour that the average wipes out. Pairs come from nearest neighbours, round after round, until the count is met.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from splatview import harmonics
from splatview.arrays import Bools, Doubles, Ints
from splatview.edit.attributes import surface
from splatview.edit.neighbours import new_points
from splatview.edit.progress import Progress, rising, silent
from splatview.gaussians import Gaussians
from splatview.geometry import matrix_from_quat, normalised, quat_from_matrix
from splatview.inspection import INVISIBLE, finite_mask
from splatview.native import _points

NEIGHBOURS = 6  # that a Gaussian may be merged with
ROUND = 0.25  # of the Gaussians go in one round at most: merged ones find new neighbours in the next
COLOUR = 8.0  # what a spread of colour costs, against one of shape
THIN = 0.3  # of the middle scale: surfaces are no less alike for being thinner than that
FARTHEST, LARGEST, SMALLEST = 1e15, 30.0, -40.0  # of a mean, and of log scales, that can be reckoned with
CHUNK = 1 << 17  # rows or pairs at once


def simplified(splats: Gaussians, count: int, which: Bools | None = None, progress: Progress = silent) -> Gaussians:
    """`splats` with the rows `which` [N] (None: all) merged down to `count` of them; all others stay as they are, and the order stays.

    The same every time. Rows that are broken, or never drawn, go first. ValueError if `count` is below 1.
    """
    return merged(splats, groups(splats, count, which, progress), progress)


def groups(splats: Gaussians, count: int, which: Bools | None = None, progress: Progress = silent) -> Ints:
    """[N] the row that each is to be merged into, the first of its group: itself where nothing changes; -1: dropped."""
    if count < 1:
        raise ValueError(f"simplify: expected a count of 1 or more, got {count}")
    into = np.arange(len(splats), dtype=np.int32)
    touched = np.ones(len(splats), bool) if which is None else np.asarray(which, np.bool_)
    if touched.shape != (len(splats),):
        raise ValueError(f"simplify: expected a mask of {len(splats)} entries, got shape {list(touched.shape)}")
    surplus = int(touched.sum()) - count
    if surplus <= 0:
        return into
    good = _usable(splats)
    drawn = good & (splats.opacities >= INVISIBLE)
    dropped = np.concatenate([np.flatnonzero(touched & ~good), np.flatnonzero(touched & good & ~drawn)])[:surplus]
    into[dropped] = -1
    surplus -= len(dropped)
    if surplus == 0:
        return into
    rows = np.flatnonzero(touched & drawn).astype(np.int32)
    pool = _Pool.of(splats, rows)
    first, total, tell_share = len(rows), surplus, rising(progress)
    while surplus > 0:
        most = min(surplus, max(1, int(ROUND * len(pool.rows))))
        tell = _part_of(tell_share, 0.9 * (1 - surplus / total), 0.9 * most / total, f"merging {first:,} into {first - total:,}")
        kept, gone = pool.cheapest(most, tell)
        if not len(kept):  # nobody has a neighbour within reach of float32
            lonely = np.argsort(pool.weights, kind="stable")[:surplus]
            into[pool.rows[lonely]] = -1
            break
        into[pool.rows[gone]] = pool.rows[kept]
        pool = pool.after(kept, gone)
        surplus -= len(gone)
    while (into >= 0).any() and not np.array_equal(onward := np.where(into >= 0, into[into], -1), into):
        into = onward
    return into


def merged(splats: Gaussians, into: Ints, progress: Progress = silent) -> Gaussians:
    """One Gaussian for each group that `groups` made, in the first one's place; those that are alone stay as they are, bit for bit.

    Means, covariances and colours are averaged by importance (matching the first two moments), and the opacity is such that the shadow's
    mass stays, but no more than that of the group's members one behind the other.
    """
    sizes = np.bincount(into[into >= 0], minlength=len(splats))
    firsts = np.flatnonzero(sizes)
    place = np.cumsum(sizes > 0) - 1
    members = np.flatnonzero((into >= 0) & (sizes[into] > 1))
    members = members[np.argsort(into[members], kind="stable")]
    result = splats.take(firsts)
    arrays = {name: getattr(result, name).copy() for name in ("means", "quats", "log_scales", "opacity_logits", "sh")}
    starts = np.flatnonzero(np.diff(into[members], prepend=-1))
    for begin in range(0, len(starts), CHUNK):
        progress(0.9 + 0.1 * begin / len(starts), "averaging what is merged")
        bounds = starts[begin : begin + CHUNK + 1]
        end = bounds[CHUNK] if len(bounds) > CHUNK else len(members)
        some = members[bounds[0] : end]
        averages = _averaged(splats.take(some), bounds[:CHUNK] - bounds[0])
        at = place[into[members[bounds[:CHUNK]]]]
        for name, values in averages.items():
            arrays[name][at] = values
    return Gaussians(**arrays, kind=splats.kind)


class _Pool:
    """What is still there to be merged: rows of the scene, and what their pairs cost."""

    def __init__(self, rows: Ints, means: Doubles, shapes: Doubles, weights: Doubles, colours: Doubles) -> None:
        self.rows = rows  # [M]
        self.means = means  # [M, 3]
        self.shapes = shapes  # [M, 6] covariances: xx yy zz xy xz yz
        self.weights = weights  # [M] importance
        self.colours = colours  # [M, 3]

    @staticmethod
    def of(splats: Gaussians, rows: Ints) -> _Pool:
        shapes, weights = np.empty((len(rows), 6)), np.empty(len(rows))
        for begin in range(0, len(rows), CHUNK):
            some = splats.with_max_degree(0).take(rows[begin : begin + CHUNK])
            scales = _scales(some)
            weights[begin : begin + CHUNK] = _mass(some, scales)
            middle = np.sort(scales, axis=1)[:, 1:2]
            shapes[begin : begin + CHUNK] = _packed(_covariances(some, np.maximum(scales, THIN * middle)))
        colours = splats.sh[rows, 0] * np.float32(harmonics.C0)
        return _Pool(rows, splats.means[rows].astype(np.float64), shapes, weights, colours.astype(np.float64))

    def cheapest(self, most: int, tell: Callable[[float], None]) -> tuple[NDArray, NDArray]:
        """Up to `most` pairs of rows of the pool without a common end, the cheapest first: those that stay, and those that join them.

        `tell` hears how far this is, 0..1.
        """
        tell(0)
        count = len(self.rows)
        found, distances = new_points(self.means).nearest(min(NEIGHBOURS, max(count - 1, 1)))
        own = np.broadcast_to(np.arange(count, dtype=np.int32)[:, None], found.shape)
        # Each pair once: by its first end, or by the other where the first one's list did not reach it.
        once = (found >= 0) & ((own < found) | (distances > distances[found, -1]))
        first, second = np.minimum(own, found)[once], np.maximum(own, found)[once]
        costs = np.empty(len(first))
        for begin in range(0, len(first), CHUNK):
            tell(0.3 + 0.6 * begin / len(first))
            piece = slice(begin, begin + CHUNK)
            costs[piece] = self.costs(first[piece], second[piece])
        tell(0.9)
        order = np.argsort(costs, kind="stable")
        first, second = np.ascontiguousarray(first[order]), np.ascontiguousarray(second[order])
        taken = _points.match(first, second, count, most).view(np.bool_)
        return first[taken], second[taken]

    def costs(self, first: NDArray, second: NDArray) -> Doubles:
        """What merging rows `first` [P] with `second` [P] loses."""
        a, b = self.weights[first], self.weights[second]
        _, share, shapes = self.together(first, second)
        spread = np.square(self.colours[first] - self.colours[second]).sum(axis=1)
        bound = 0.5 * ((a + b) * _log_det(shapes) - a * _log_det(self.shapes[first]) - b * _log_det(self.shapes[second]))
        return bound + COLOUR * a * (1 - share) * spread

    def together(self, first: NDArray, second: NDArray) -> tuple[Doubles, Doubles, Doubles]:
        """Means [P, 3], the share [P] of the first in the weight, and covariances [P, 6] of pairs."""
        a, b = self.weights[first], self.weights[second]
        share = np.where(a + b > 0, a / np.where(a + b > 0, a + b, 1), 0.5)
        p, q = share[:, None], 1 - share[:, None]
        apart = self.means[first] - self.means[second]
        shapes = p * self.shapes[first] + q * self.shapes[second] + p * q * _products(apart)
        return self.means[second] + p * apart, share, shapes

    def after(self, kept: NDArray, gone: NDArray) -> _Pool:
        """The pool when `gone` [P] are merged into `kept` [P]."""
        means, share, shapes = self.together(kept, gone)
        colours = share[:, None] * self.colours[kept] + (1 - share[:, None]) * self.colours[gone]
        arrays = [self.means.copy(), self.shapes.copy(), self.weights.copy(), self.colours.copy()]
        for array, values in zip(arrays, (means, shapes, self.weights[kept] + self.weights[gone], colours), strict=True):
            array[kept] = values
        left = np.ones(len(self.rows), bool)
        left[gone] = False
        return _Pool(self.rows[left], *(array[left] for array in arrays))


def _part_of(progress: Progress, begin: float, size: float, text: str) -> Callable[[float], None]:
    """Takes the share 0..1 of a part of the work that is `size` of all of it."""
    return lambda share: progress(begin + size * share, text)


def _usable(splats: Gaussians) -> Bools:
    """[N] whether there is anything to average."""
    within = (np.abs(splats.means) < FARTHEST).all(axis=1) & (splats.log_scales < LARGEST).all(axis=1)
    return finite_mask(splats) & splats.quats.any(axis=1) & within


def _scales(splats: Gaussians) -> Doubles:
    return np.exp(np.maximum(splats.log_scales.astype(np.float64), SMALLEST))


def _mass(splats: Gaussians, scales: Doubles) -> Doubles:
    """[N] the importance: what is never drawn has none."""
    opacities = splats.opacities.astype(np.float64)
    return np.where(opacities < INVISIBLE, 0, opacities) * surface(scales) / 4


def _covariances(splats: Gaussians, scales: Doubles) -> Doubles:
    """[N, 3, 3]"""
    half = matrix_from_quat(splats.quats.astype(np.float64)) * scales[:, None, :]
    return half @ half.transpose(0, 2, 1)


def _packed(matrices: Doubles) -> Doubles:
    """xx yy zz xy xz yz [N, 6] of symmetric matrices [N, 3, 3]."""
    return matrices[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]


def _products(vectors: Doubles) -> Doubles:
    """The outer products [N, 6] of `vectors` [N, 3] with themselves, packed."""
    x, y, z = vectors.T
    return np.stack([x * x, y * y, z * z, x * y, x * z, y * z], axis=1)


def _log_det(shapes: Doubles) -> Doubles:
    xx, yy, zz, xy, xz, yz = shapes.T
    det = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    return np.log(np.maximum(det, 1e-300))


def _averaged(splats: Gaussians, starts: NDArray) -> dict[str, NDArray]:
    """One Gaussian, as arrays, for each group of consecutive rows; a group begins at each of `starts` [G]."""
    sizes = np.diff(starts, append=len(splats))
    scales = _scales(splats)
    mass = _mass(splats, scales)
    weights = np.where(np.repeat(np.add.reduceat(mass, starts), sizes) > 0, mass, 1)
    weights = weights / np.repeat(np.add.reduceat(weights, starts), sizes)

    def average(values: NDArray) -> NDArray:
        factors = weights.astype(values.dtype).reshape(-1, *[1] * (values.ndim - 1))
        return np.add.reduceat(factors * values, starts, axis=0)

    means = splats.means.astype(np.float64)
    centres = average(means)
    apart = means - np.repeat(centres, sizes, axis=0)
    covariances = average(_covariances(splats, scales) + apart[:, :, None] * apart[:, None, :])
    squares, axes = np.linalg.eigh(covariances)
    axes[np.linalg.det(axes) < 0] *= -1
    together = np.sqrt(np.maximum(squares, 1e-16 * squares[:, 2:]))
    opacities = np.minimum(splats.opacities.astype(np.float64), 1 - 1e-7)
    behind = 1 - np.exp(np.add.reduceat(np.log1p(-opacities), starts))
    shadow = np.add.reduceat(opacities * surface(scales) / 4, starts) / (surface(together) / 4)
    opacity = np.clip(np.minimum(shadow, behind), 1e-9, 1 - 1e-7)
    return {
        "means": centres,
        "quats": normalised(quat_from_matrix(axes)),
        "log_scales": np.log(together),
        "opacity_logits": np.log(opacity) - np.log1p(-opacity),
        "sh": average(splats.sh),
    }
