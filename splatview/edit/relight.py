"""Light on a captured scene: simple, and honest about it.

A Gaussian's normal is its shortest axis. Sides are made to agree along the nearest neighbours (Hoppe et al., "Surface Reconstruction from
Unorganized Points", SIGGRAPH 1992), then normals are averaged over neighbours. The lights multiply what the capture shows: shadows and
highlights that are in it stay, and nothing casts a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from splatview import harmonics
from splatview.arrays import Bools, Floats, frozen
from splatview.edit.neighbours import points_of
from splatview.edit.progress import Progress, silent
from splatview.gaussians import Gaussians
from splatview.geometry import Similarity, matrix_from_quat, normalised
from splatview.inspection import finite_mask
from splatview.native import _points

Triple = tuple[float, float, float]

NEIGHBOURS = 8  # that normals are compared and averaged with
SMOOTHING = 2  # rounds of averaging
CHUNK = 1 << 17  # rows at once
WHITE: Triple = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Directional:
    """Light from infinitely far away, as the sun's."""

    direction: Triple  # in which it travels, in the world; any length but 0
    colour: Triple = WHITE
    strength: float = 1.0  # the factor on a surface that faces it

    def __post_init__(self) -> None:
        _check_light(self.colour, self.strength)
        _check("direction", self.direction)
        if not np.any(self.direction):
            raise ValueError("light: expected a direction that is not zero")


@dataclass(frozen=True)
class Point:
    """Light from a point, which fades as (1 - (distance / radius)^2)^2 and ends at the radius."""

    position: Triple  # in the world
    colour: Triple = WHITE
    strength: float = 1.0  # the factor on a surface that faces it from close by
    radius: float = 1.0  # world units

    def __post_init__(self) -> None:
        _check_light(self.colour, self.strength)
        _check("position", self.position)
        if not (np.isfinite(self.radius) and self.radius > 0):
            raise ValueError(f"light: expected a radius above 0, got {self.radius}")


Light = Directional | Point


def relit(
    splats: Gaussians,
    placement: Similarity = Similarity(),
    lights: Sequence[Light] = (),
    ambient: Triple = WHITE,
    smoothing: int = SMOOTHING,
    towards: ArrayLike | None = None,
) -> Floats:
    """The harmonics [N, K, 3] of `splats` in this light, which may replace `splats.sh`; ambient (1, 1, 1) alone changes nothing.

    `smoothing` and `towards` (a point [3] in the world that sees the surface, as the eye of a camera) are those of `normals`. Whoever moves
    a light keeps the normals and calls `lit`.
    """
    if not lights:
        return lit(splats, np.zeros((len(splats), 3), np.float32), placement, lights, ambient)
    seen_from = None if towards is None else placement.inverse().apply(np.asarray(towards, np.float64))
    return lit(splats, normals(splats, smoothing, seen_from), placement, lights, ambient)


def lit(splats: Gaussians, facing: Floats, placement: Similarity, lights: Sequence[Light], ambient: Triple = WHITE) -> Floats:
    """The harmonics [N, K, 3] of `splats` with normals `facing` [N, 3] (of the content, as `normals` gives them) in this light."""
    _check("ambient", ambient)
    if not lights and tuple(ambient) == WHITE:
        return splats.sh
    factor = np.empty((len(splats), 3), np.float32)
    with np.errstate(all="ignore"):  # of broken Gaussians
        for begin in range(0, len(splats), CHUNK):
            piece = slice(begin, begin + CHUNK)
            factor[piece] = _light(splats.means[piece], facing[piece], placement, lights, ambient)
        sh = splats.sh * factor[:, None, :]
        sh[:, 0] += (factor - 1) * np.float32(0.5 / harmonics.C0)  # what is displayed is 0.5 + C0 dc + ...: all of it is multiplied
    return frozen("relit sh", sh, np.float32, *sh.shape)


def normals(splats: Gaussians, smoothing: int = SMOOTHING, towards: ArrayLike | None = None, progress: Progress = silent) -> Floats:
    """Unit normals [N, 3] in the frame of `splats`; 0 where a Gaussian is broken.

    Of the two sides it is the one that faces `towards` [3] or, with None, outwards, decided for each connected sheet as a whole.
    `smoothing`: how often each is averaged with its nearest neighbours.
    """
    if not 0 <= smoothing <= 100:
        raise ValueError(f"smoothing: expected 0 to 100 rounds, got {smoothing}")
    progress(0, "finding normals")
    good = finite_mask(splats)
    axes, weights = _shortest_axes(splats, good)
    progress(0.15, "finding neighbours")
    if len(splats) < 2:
        rows = np.full((len(splats), 1), -1, np.int32)
    else:
        rows, _ = points_of(splats).nearest(min(NEIGHBOURS, len(splats) - 1))
    rows = np.where(good[rows] & (rows >= 0) & good[:, None], rows, -1) if len(splats) else rows
    progress(0.4, "making sides agree")
    axes = _agreeing(splats, axes, weights, rows, towards)
    for step in range(smoothing):
        progress(0.7 + 0.3 * step / smoothing, "smoothing normals")
        axes = _averaged(axes, weights, rows)
    return axes


def _check_light(colour: Triple, strength: float) -> None:
    _check("colour", colour)
    if not (np.isfinite(strength) and strength >= 0):
        raise ValueError(f"light: expected a strength of 0 or more, got {strength}")


def _check(name: str, triple: Triple) -> None:
    if len(triple) != 3 or not np.isfinite(triple).all():
        raise ValueError(f"light: expected a {name} of three finite numbers, got {triple}")


def _light(means: Floats, facing: Floats, placement: Similarity, lights: Sequence[Light], ambient: Triple) -> NDArray:
    """The factors [M, 3] on the colours."""
    turned = facing @ placement.rotation.T.astype(np.float32)
    factor = np.tile(np.asarray(ambient, np.float64), (len(means), 1))
    for light in lights:
        if isinstance(light, Directional):
            amount = np.maximum(turned @ -normalised(np.asarray(light.direction, np.float64)), 0)
        else:
            offsets = np.asarray(light.position) - placement.apply(means.astype(np.float64))
            distances = np.linalg.norm(offsets, axis=1)
            facing_it = np.maximum(np.einsum("ni,ni->n", turned, normalised(offsets)), 0)
            amount = facing_it * np.square(np.maximum(1 - np.square(distances / light.radius), 0))
        factor += np.where(np.isfinite(amount), amount, 0)[:, None] * (light.strength * np.asarray(light.colour))
    return factor


def _shortest_axes(splats: Gaussians, good: Bools) -> tuple[Floats, Floats]:
    """Unit axes [N, 3] of either sign, and how much each says about a surface [N]: flat and opaque is much, round is nothing."""
    axes, weights = np.zeros((len(splats), 3), np.float32), np.zeros(len(splats), np.float32)
    for begin in range(0, len(splats), CHUNK):
        piece = slice(begin, begin + CHUNK)
        with np.errstate(all="ignore"):
            turns = matrix_from_quat(splats.quats[piece])
            logs = splats.log_scales[piece]
            ordered = np.sort(logs, axis=1)
            flatness = -np.expm1(ordered[:, 0] - ordered[:, 1])
            shortest = np.take_along_axis(turns, np.argmin(logs, axis=1)[:, None, None], 2)[..., 0]
            axes[piece] = np.where(good[piece, None], shortest, 0)
            weights[piece] = np.where(good[piece], flatness * splats.opacities[piece], 0)
    return np.where(np.isfinite(axes).all(axis=1, keepdims=True), axes, 0), weights


def _agreeing(splats: Gaussians, axes: Floats, weights: Floats, rows: NDArray, towards: ArrayLike | None) -> Floats:
    """The axes [N, 3] with signs that agree along a minimum spanning tree of neighbours [N, k], whose edges join what is most parallel."""
    first = np.repeat(np.arange(len(rows), dtype=np.int32), rows.shape[1])
    second = rows.reshape(-1).astype(np.int32)
    real = second >= 0
    first, second = first[real], second[real]
    likeness = np.empty(len(first), np.float32)
    for begin in range(0, len(first), CHUNK):
        piece = slice(begin, begin + CHUNK)
        likeness[piece] = np.einsum("ni,ni->n", axes[first[piece]], axes[second[piece]])
    trust = np.minimum(weights[first], weights[second])
    order = np.argsort(-np.abs(likeness) * trust, kind="stable")
    first, second = np.ascontiguousarray(first[order]), np.ascontiguousarray(second[order])
    roots, flipped = _points.join(first, second, np.ascontiguousarray(likeness[order] < 0, np.uint8), len(rows))
    signed = np.where(flipped[:, None] > 0, -axes, axes)
    means = np.where(np.isfinite(splats.means).all(axis=1, keepdims=True), splats.means, 0).astype(np.float64)
    if towards is None:  # from the middle of its sheet: for a closed one the sum is its volume, wherever the middle is
        count = np.maximum(np.bincount(roots, weights, len(rows)), 1e-30)
        middles = np.stack([np.bincount(roots, weights * axis, len(rows)) for axis in means.T], axis=1) / count[:, None]
        wanted = means - middles[roots] if len(rows) else means
    else:
        wanted = normalised(np.asarray(towards, np.float64) - means)
    votes = np.bincount(roots, weights * np.einsum("ni,ni->n", signed, wanted), len(rows))
    return np.where(votes[roots][:, None] < 0, -signed, signed).astype(np.float32) if len(rows) else signed


def _averaged(axes: Floats, weights: Floats, rows: NDArray) -> Floats:
    """Each axis [N, 3] averaged with those of its neighbours [N, k], by weight; itself where they cancel out."""
    result = np.empty_like(axes)
    heavy = np.append(weights[:, None] * axes, np.zeros((1, 3), np.float32), axis=0)  # the last for row -1
    for begin in range(0, len(axes), CHUNK):
        piece = slice(begin, begin + CHUNK)
        total = heavy[:-1][piece] + heavy[rows[piece]].sum(axis=1)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        result[piece] = np.where(length > 1e-6, total / np.where(length > 1e-6, length, 1), axes[piece])
    return np.where(axes.any(axis=1, keepdims=True), result, 0).astype(np.float32)
