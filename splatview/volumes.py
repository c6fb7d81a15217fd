"""Volumes with a soft edge: a sphere and a box, in the space of the points that they are asked about; and what they cut off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from splatview.arrays import Bools, Doubles, Floats
from splatview.geometry import Similarity, matrix_from_quat

BLOCK = 32768  # points: the columns of a block stay in the cache
MOST_CUTS = 64  # of a layer: every sample is asked about each
PACKED = 18  # numbers of a cut, as renderers read it

Triple = tuple[float, float, float]


class _Volume:
    """What sphere and box share: from the distance outside to membership and weights."""

    centre: Triple
    falloff: float

    def distance(self, points: ArrayLike) -> Doubles:
        """How far outside each of `points` [N, 3] lies [N], in their units: 0 inside, NaN for a broken point."""
        array = np.asarray(points)
        if array.ndim != 2 or array.shape[1] != 3:
            raise ValueError(f"points: expected an array of shape [N, 3], got {list(array.shape)}")
        result = np.empty(len(array))
        with np.errstate(invalid="ignore", over="ignore"):  # broken splats are in no volume
            for start in range(0, len(array), BLOCK):
                result[start : start + BLOCK] = self._distance(array[start : start + BLOCK].T.astype(np.float64))
        return result

    def contains(self, points: ArrayLike) -> Bools:
        """Which of `points` [N, 3] lie in the volume itself, its surface included and its falloff not."""
        return self.distance(points) <= 0

    def weights(self, points: ArrayLike) -> Floats:
        """The weight [N] of each of `points` [N, 3]: 1 inside, and smoothly down to 0 at `falloff` units outside."""
        outside = self.distance(points)
        if self.falloff == 0:
            return (outside <= 0).astype(np.float32)
        left = 1 - np.minimum(outside / self.falloff, 1)
        left[np.isnan(left)] = 0
        return (left * left * (3 - 2 * left)).astype(np.float32)

    @property
    def bounds(self) -> Doubles:
        """[2, 3] low and high corner of the box along the axes around all points that have a weight."""
        centre = np.asarray(self.centre)
        return np.stack([centre - self._reach, centre + self._reach])

    @property
    def _reach(self) -> Doubles:
        """[3] how far along each axis there are points with a weight."""
        raise NotImplementedError

    def _distance(self, columns: Doubles) -> Doubles:
        """The distance [N] of points in columns [3, N]."""
        raise NotImplementedError


@dataclass(frozen=True)
class Sphere(_Volume):
    """A ball, and a falloff around it."""

    centre: Triple
    radius: float  # > 0, units of the points
    falloff: float = 0.0  # units of the points, outside the radius

    def __post_init__(self) -> None:
        object.__setattr__(self, "centre", _finite("Sphere.centre", self.centre, 3))
        _positive("Sphere.radius", self.radius)
        _not_negative("Sphere.falloff", self.falloff)

    def moved(self, transform: Similarity) -> Sphere:
        """The same volume for points that were moved by `transform`."""
        return Sphere(_triple(transform.apply(self.centre)), self.radius * transform.scale, self.falloff * transform.scale)

    @property
    def _reach(self) -> Doubles:
        return np.full(3, self.radius + self.falloff)

    def _distance(self, columns: Doubles) -> Doubles:
        x, y, z = (column - middle for column, middle in zip(columns, self.centre, strict=True))
        return np.maximum(np.sqrt(x * x + y * y + z * z) - self.radius, 0)


@dataclass(frozen=True)
class Box(_Volume):
    """A turned box, and a falloff around it (so that the outermost surface has round edges)."""

    centre: Triple
    size: Triple  # > 0: from face to face along the box's own axes, units of the points
    quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)  # wxyz, world from box
    falloff: float = 0.0  # units of the points, outside the faces

    def __post_init__(self) -> None:
        object.__setattr__(self, "centre", _finite("Box.centre", self.centre, 3))
        object.__setattr__(self, "size", _finite("Box.size", self.size, 3))
        for side in self.size:
            _positive("Box.size", side)
        w, x, y, z = _finite("Box.quat", self.quat, 4)
        length = math.hypot(w, x, y, z)
        if not 0 < length < math.inf:
            raise ValueError(f"Box.quat: expected a quaternion wxyz that is not zero, got {self.quat}")
        if abs(length - 1) > 1e-12:  # a unit quaternion keeps its bits, so that a box read again is the same box
            w, x, y, z = w / length, x / length, y / length, z / length
        object.__setattr__(self, "quat", (w, x, y, z))
        _not_negative("Box.falloff", self.falloff)

    @property
    def rotation(self) -> Doubles:
        """The matrix [3, 3] whose columns are the box's axes in the world."""
        return matrix_from_quat(np.asarray(self.quat))

    def moved(self, transform: Similarity) -> Box:
        """The same volume for points that were moved by `transform`."""
        turned = transform @ Similarity(self.quat, self.centre)
        size = _triple(np.asarray(self.size) * transform.scale)
        return Box(turned.translation, size, turned.quat, self.falloff * transform.scale)

    @property
    def _reach(self) -> Doubles:
        return np.abs(self.rotation) @ np.asarray(self.size) / 2 + self.falloff

    def _distance(self, columns: Doubles) -> Doubles:
        x, y, z = (column - middle for column, middle in zip(columns, self.centre, strict=True))
        total = np.zeros(columns.shape[1])
        for axis, side in zip(self.rotation.T, self.size, strict=True):
            beyond = np.abs(axis[0] * x + axis[1] * y + axis[2] * z) - 0.5 * side
            total += np.square(np.maximum(beyond, 0))
        return np.sqrt(total)


Volume = Sphere | Box


@dataclass(frozen=True)
class Cut:
    """A volume that crops: what is in it stays, and what is in none such goes; or what is in it goes."""

    volume: Volume
    keeps: bool = True

    def moved(self, transform: Similarity) -> Cut:
        """The same cut for points that were moved by `transform`."""
        return replace(self, volume=self.volume.moved(transform))


def left_by(cuts: Sequence[Cut], points: ArrayLike) -> Floats:
    """How much [N] of what is at `points` [N, 3] the cuts leave, 0 to 1.

    That is the greatest weight of those that keep (1 if there are none) times what the greatest weight of those that remove leaves.
    """
    points = np.asarray(points)
    kept, gone = (
        [cut.volume.weights(points) for cut in cuts if cut.keeps == keeps] or [np.full(len(points), nothing, np.float32)]
        for keeps, nothing in ((True, 1), (False, 0))
    )
    return np.maximum.reduce(kept) * (1 - np.maximum.reduce(gone))


def reach_of(cuts: Sequence[Cut]) -> Doubles:
    """[2, 3] low and high corner of where the cuts leave anything: all space, if none of them keeps."""
    ends = [cut.volume.bounds for cut in cuts if cut.keeps]
    if not ends:
        return np.array([[-np.inf] * 3, [np.inf] * 3])
    return np.stack([np.min([low for low, _ in ends], axis=0), np.max([high for _, high in ends], axis=0)])


def packed(cuts: Sequence[Cut]) -> Doubles:
    """The cuts as what renderers read, [C, PACKED]: centre [3], axes [3, 3] by rows, half sizes [3], radius, falloff, 1 if it keeps.

    A point is outside by the length of what its coordinates along the axes exceed the half sizes by, less the radius.
    """
    rows = np.zeros((len(cuts), PACKED))
    for row, cut in zip(rows, cuts, strict=True):
        volume = cut.volume
        row[:3], row[16], row[17] = volume.centre, volume.falloff, cut.keeps
        if isinstance(volume, Sphere):
            row[3:12], row[15] = np.eye(3).reshape(-1), volume.radius
        else:
            row[3:12], row[12:15] = volume.rotation.T.reshape(-1), np.asarray(volume.size) / 2
    return rows


def _finite(name: str, values: ArrayLike, count: int) -> tuple[float, ...]:
    array = np.asarray(values, np.float64)
    if array.shape != (count,) or not np.isfinite(array).all():
        raise ValueError(f"{name}: expected {count} finite numbers, got {values}")
    return tuple(array.tolist())


def _triple(values: NDArray) -> Triple:
    x, y, z = values.tolist()
    return x, y, z


def _positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected a number > 0, got {value}")


def _not_negative(name: str, value: float) -> None:
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"{name}: expected a number >= 0, got {value}")
