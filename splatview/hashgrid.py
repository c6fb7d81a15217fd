"""The HashGrid value: a radiance field in a multiresolution hash encoding and two small networks (Müller et al. 2022).

One value holds what instant-ngp and nerfstudio train. Its conventions are instant-ngp's; readers of other kinds bring what they find into
them: the order of the colour network's inputs, the signs of the harmonics, inputs that are the same everywhere (which go into a bias).

A picture of it, by whatever renderer: along a ray o + t d (|d| = 1, in the field's frame) that is in `HashGrid.bounds` from t_in (at least
`Marching.near`) to t_out, the samples are at t_k = distance(count(t_in) + 1/2 + k), k = 0, 1, ..., as long as t_k < t_out; those in
`Occupancy` count. One of density s covers a = 1 - exp(-s (distance(x + 1/2) - distance(x - 1/2))) of what is behind it, if a is
`Marching.least_alpha` or more, and is blended with the weight T a, front to back, T being the transmittance so far. One that would leave
less of it than LAST_TRANSMITTANCE has all there is, and the ray ends: that is nearer to what lies behind it than nothing is. The picture
is the sum of the weights times colours, see `HashGrid.developed`; its depth is that of the samples along the view axis. Where there are
cuts (`volumes.Cut`) the ray is followed in `reach_of` them, too, a sample's density is times what they leave there, and one of which they
leave nothing does not count.

A draft, of a detail q below 1, has samples at distance(count(t_in) + (1/2 + k) / q), each of which stands for 1/q steps, half of them
before it: a picture is as bright as in full. A ray ends at `last_transmittance`, sooner.

`HashGrid.specified` is the field itself, in numpy. What answers `HashGrid.query` and draws is native, see `splatview.native`.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike

from splatview.arrays import Bools, Doubles, Floats, frozen

if TYPE_CHECKING:
    from splatview.native import _fields

PRIMES = 1, 2654435761, 805459861  # of the spatial hash (Teschner et al. 2003)
BLOCK = 1 << 14  # points that are asked about at once
HARMONICS = 16  # of degree 3, by which the colour network sees where it is looked from
LAST_TRANSMITTANCE = 1e-2  # instant-ngp's own: a sample that leaves less of the light is opaque
LAST_OF_DRAFTS = 3e-2  # the same, of drafts
FAR = 1000.0  # where rays end in a field that has no end
MOST_LEVELS = 32

Warp = Literal["box", "contraction"]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Level:
    """One grid of the encoding: features at its corners, all of them or hashed."""

    table: Floats  # [T, F]
    scale: float  # cells along an axis of the unit cube
    resolution: int = 0  # corners along an axis where the table has one entry for each, x fastest; 0: hashed

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", frozen("Level.table", self.table, np.float32, None, None))
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"Level.scale: expected a number > 0, got {self.scale}")
        if not 1 <= len(self.table) <= 1 << 32 or self.table.shape[1] not in (1, 2, 4, 8):
            raise ValueError(f"Level.table: expected 1 to 2^32 entries of 1, 2, 4 or 8 features, got {list(self.table.shape)}")
        if not (self.resolution == 0 or 0 < self.resolution**3 <= len(self.table)):
            raise ValueError(f"Level.resolution: expected 0, or a grid of at most {len(self.table)} corners, got {self.resolution}^3")


def last_transmittance(detail: float) -> float:
    """What a sample leaves at least if it is not opaque, in a picture with this detail (0..1)."""
    return min(LAST_OF_DRAFTS, LAST_TRANSMITTANCE / detail**3)


@dataclass(frozen=True, eq=False)
class Network:
    """A multilayer perceptron: linear layers with max(0, x) in between."""

    weights: tuple[Floats, ...]  # [out, in] each
    biases: tuple[Floats, ...] = ()  # [out] each; none: zero

    def __post_init__(self) -> None:
        weights = tuple(frozen("Network.weights", one, np.float32, None, None) for one in self.weights)
        if not weights or any(before.shape[0] != after.shape[1] for before, after in itertools.pairwise(weights)):
            raise ValueError(f"Network.weights: expected layers that fit each other, got {[list(one.shape) for one in weights]}")
        biases = self.biases or tuple(np.zeros(len(one), np.float32) for one in weights)
        if len(biases) != len(weights):
            raise ValueError(f"Network.biases: expected one for each of {len(weights)} layers, got {len(biases)}")
        pairs = zip(biases, weights, strict=True)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "biases", tuple(frozen("Network.biases", one, np.float32, len(layer)) for one, layer in pairs))

    @property
    def inputs(self) -> int:
        return self.weights[0].shape[1]

    @property
    def outputs(self) -> int:
        return self.weights[-1].shape[0]

    def __call__(self, values: Floats) -> Floats:
        """[N, outputs] of `values` [N, inputs]."""
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = (np.maximum(values, 0) if place else values) @ weight.T + bias
        return values


@dataclass(frozen=True, eq=False)
class Occupancy:
    """Where there is something: nested grids of boxes, which a ray skips where they are empty."""

    cells: Bools  # [C, X, Y, Z]
    boxes: Doubles  # [C, 2, 3] low and high corner of each grid, each inside the next

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", frozen("Occupancy.cells", self.cells, np.bool_, None, None, None, None))
        object.__setattr__(self, "boxes", frozen("Occupancy.boxes", self.boxes, np.float64, len(self.cells), 2, 3))
        if not (np.isfinite(self.boxes).all() and (self.boxes[:, 0] < self.boxes[:, 1]).all()):
            raise ValueError("Occupancy.boxes: expected boxes whose low corner is below the high one")
        if not self.cells.size:
            raise ValueError(f"Occupancy.cells: expected one cell or more, got {list(self.cells.shape)}")

    def at(self, points: ArrayLike) -> Bools:
        """[...] whether there may be something at `points` [..., 3]: what the first grid says whose box holds them, low sides included."""
        points = np.asarray(points, np.float32)
        found, known = np.zeros(points.shape[:-1], np.bool_), np.zeros(points.shape[:-1], np.bool_)
        size = np.array(self.cells.shape[1:])
        for cells, (low, high) in zip(self.cells, self.boxes.astype(np.float32), strict=True):
            unit = (points - low) / (high - low)
            here = ((unit >= 0) & (unit < 1)).all(-1) & ~known
            x, y, z = np.minimum((unit[here] * size).astype(np.int64), size - 1).T
            found[here], known[here] = cells[x, y, z], True
        return found


@dataclass(frozen=True)
class Marching:
    """How far apart the samples of a ray are, in the units of the field."""

    step: float  # the least
    cone: float = 0.0  # what a step grows by for each unit of distance
    longest: float = np.inf
    near: float = 0.0
    least_alpha: float = 0.0  # of a sample that counts

    def __post_init__(self) -> None:
        if not (0 < self.step <= self.longest and np.isfinite(self.step)):
            raise ValueError(f"Marching: expected 0 < step <= longest, got {self.step} and {self.longest}")
        if not (0 <= self.cone < 1 and 0 <= self.near < np.inf and 0 <= self.least_alpha < 1):
            raise ValueError(f"Marching: expected cone and least_alpha from 0 to 1, and near >= 0, got {self}")

    @property
    def turns(self) -> tuple[float, float, float]:
        """The logarithm by which steps grow, and from which distance to which they do."""
        rate = float(np.log1p(self.cone))
        return rate, self.step / rate, self.longest / rate

    def count(self, distance: ArrayLike) -> Doubles:
        """How many steps lead to a distance: even ones at first, then growing ones, then even ones of the greatest length.

        Counted from where they begin to grow, if they do; a real number, with `step` <= d distance / d count <= `longest`.
        """
        t = np.asarray(distance, np.float64)
        if not self.cone:
            return t / self.step
        rate, first, last = self.turns
        growing = np.log(np.clip(t, first, last) / first) / rate
        return growing + np.minimum(t - first, 0) / self.step + np.maximum(t - last, 0) / self.longest

    def distance(self, count: ArrayLike) -> Doubles:
        """The distance to which so many steps lead: the inverse of `count`."""
        x = np.asarray(count, np.float64)
        if not self.cone:
            return x * self.step
        rate, first, last = self.turns
        end = np.log(last / first) / rate
        beyond = np.maximum(x - end, 0) * self.longest if np.isfinite(end) else 0.0
        return first * np.exp(rate * np.clip(x, 0, end)) + np.minimum(x, 0) * self.step + beyond


@dataclass(frozen=True, eq=False)
class HashGrid:
    """A trained field, compared by identity: density and colour at a point, seen along a direction."""

    levels: tuple[Level, ...]
    density: Network  # from the features; output 0 is the log of the density
    colour: Network  # from the density network's outputs from `geometry` on, then the harmonics; its first three outputs are r, g, b
    box: Doubles  # [2, 3] low and high corner of what was trained, in the units of the field
    marching: Marching
    occupancy: Occupancy | None = None  # None: everywhere
    warp: Warp = (
        "box"  # how points get into the unit cube: the box is it, or all space is contracted into it (Barron et al. 2022, L-infinity)
    )
    offset: float = 0.5  # of the grids' corners, in cells
    geometry: int = 0  # the first output of the density network that the colour network sees
    density_factor: float = 1.0
    shifted_directions: bool = False  # the harmonics are taken at (d + 1) / 2, as nerfstudio's own do
    hdr: bool = False  # colours are exp of the network's output rather than its sigmoid

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", frozen("HashGrid.box", self.box, np.float64, 2, 3))
        if not (np.isfinite(self.box).all() and (self.box[0] < self.box[1]).all()):
            raise ValueError(f"HashGrid.box: expected a low corner below the high one, got {self.box.tolist()}")
        if not 1 <= len(self.levels) <= MOST_LEVELS:
            raise ValueError(f"HashGrid.levels: expected 1 to {MOST_LEVELS}, got {len(self.levels)}")
        if self.warp not in get_args(Warp):
            raise ValueError(f"HashGrid.warp: expected one of {get_args(Warp)}, got {self.warp!r}")
        features = sum(level.table.shape[1] for level in self.levels)
        if self.density.inputs != features:
            raise ValueError(f"HashGrid.density: expected {features} inputs, the features of all levels, got {self.density.inputs}")
        seen = self.density.outputs - self.geometry + HARMONICS
        if not 0 <= self.geometry < self.density.outputs or self.colour.inputs != seen or self.colour.outputs < 3:
            raise ValueError(
                f"HashGrid.colour: expected {seen} inputs and 3 outputs or more, got {self.colour.inputs} and {self.colour.outputs}"
            )

    @property
    def parameters(self) -> int:
        """Numbers that were trained."""
        tables = sum(level.table.size for level in self.levels)
        return tables + sum(one.size for network in (self.density, self.colour) for one in (*network.weights, *network.biases))

    @property
    def bounds(self) -> Doubles:
        """[2, 3] low and high corner of where there may be something."""
        if self.warp == "box":
            return self.box
        return np.array([[-FAR] * 3, [FAR] * 3]) if self.occupancy is None else self.occupancy.boxes[-1]

    def developed(self, colour: T, alpha: Any, exposure: float = 0.0, library: Any = np) -> T:
        """What a pixel shows, [..., 3] in sRGB and still times alpha, of blended `colour` [..., 3] and `alpha` [...].

        `exposure`: in stops. `library`: numpy, or torch if both are tensors.
        """
        if not self.hdr and not exposure:
            return colour
        covered = alpha.clip(1e-6)[..., None]
        linear: Any = colour / covered
        if not self.hdr:
            linear = library.where(linear <= 0.04045, linear / 12.92, ((linear.clip(0) + 0.055) / 1.055) ** 2.4)
        linear = linear * float(2.0**exposure)
        return covered * library.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clip(1e-9) ** (1 / 2.4) - 0.055)

    @functools.cached_property
    def prepared(self) -> _fields.Field:
        """The field in the native module's own layout, with tables in half precision; made when it is first asked for."""
        from splatview.native import _fields

        return _fields.Field(self)

    def query(self, positions: ArrayLike, directions: ArrayLike) -> tuple[Floats, Floats]:
        """Density [N] (per unit) and rgb [N, 3] at `positions` [N, 3] seen along `directions` [N, 3] (any length), in the field's frame.

        Nothing has a density outside of what was trained. ValueError for other shapes.
        """
        from splatview.native import field_workers

        return field_workers().query(self.prepared, *_points(positions, directions))

    def specified(self, positions: ArrayLike, directions: ArrayLike) -> tuple[Floats, Floats]:
        """What `query` answers, in numpy and single precision: the specification."""
        at, along = _points(positions, directions)
        density, rgb = np.empty(len(at), np.float32), np.empty((len(at), 3), np.float32)
        for start in range(0, len(at), BLOCK):
            part = slice(start, start + BLOCK)
            density[part], rgb[part] = self._specified(at[part], along[part])
        return density, rgb

    def _specified(self, positions: Floats, directions: Floats) -> tuple[Floats, Floats]:
        unit = self.warped(positions)
        inside: Bools = np.all((unit > 0) & (unit < 1), axis=1)  # a NaN is nowhere
        unit = np.where(inside[:, None], unit, np.float32(0))
        raw = self.density(np.concatenate([self._features(level, unit) for level in self.levels], axis=1))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            density = np.where(inside, np.float32(self.density_factor) * np.exp(raw[:, 0]), np.float32(0))
            along = directions / np.linalg.norm(directions, axis=1, keepdims=True)
            seen = harmonics_of((along + 1) / 2 if self.shifted_directions else along)
            colour = self.colour(np.concatenate([raw[:, self.geometry :], seen], axis=1))[:, :3]
            rgb = np.exp(np.clip(colour, -10, 10)) if self.hdr else 1 / (1 + np.exp(-colour))
        return density.astype(np.float32), rgb.astype(np.float32)

    def warped(self, positions: Floats) -> Floats:
        """`positions` [N, 3] in the unit cube, or beyond it where nothing was trained."""
        if self.warp == "box":
            low, high = self.box.astype(np.float32)
            return ((positions - low) / (high - low)).astype(np.float32)
        size = np.maximum(np.abs(positions).max(axis=1, keepdims=True), 1)
        with np.errstate(invalid="ignore"):
            contracted = (2 - 1 / size) * (positions / size)
        return ((contracted + 2) / 4).astype(np.float32)

    def _features(self, level: Level, unit: Floats) -> Floats:
        """The features [N, F] at points of the unit cube [N, 3], trilinear between the eight corners around."""
        scaled = unit * np.float32(level.scale) + np.float32(self.offset)
        low = np.floor(scaled)
        share = scaled - low
        corner = low.astype(np.uint32)
        found = np.zeros((len(unit), level.table.shape[1]), np.float32)
        for number in range(8):
            bits = np.array([number & 1, number >> 1 & 1, number >> 2 & 1], np.uint32)
            weight = np.where(bits == 1, share, 1 - share).prod(axis=1)
            found += weight[:, None] * level.table[_entry(level, corner + bits)]
        return found


def _points(positions: ArrayLike, directions: ArrayLike) -> tuple[Floats, Floats]:
    at, along = (np.ascontiguousarray(values, np.float32) for values in (positions, directions))
    if at.ndim != 2 or at.shape[1] != 3 or along.shape != at.shape:
        raise ValueError(f"query: expected positions and directions of shape [N, 3], got {list(at.shape)} and {list(along.shape)}")
    return at, along


def _entry(level: Level, corners: np.ndarray) -> np.ndarray:
    """The rows [N] of a level's table for its `corners` [N, 3] (uint32)."""
    if level.resolution:
        factors = np.array([1, level.resolution, level.resolution**2], np.uint32)
        place = (corners * factors).sum(axis=1, dtype=np.uint32)
    else:
        x, y, z = (corners * np.array(PRIMES, np.uint32)).T
        place = x ^ y ^ z
    return place % np.uint32(len(level.table)) if len(level.table) < 1 << 32 else place


def harmonics_of(vectors: Floats) -> Floats:
    """The sixteen functions [N, 16] up to degree 3 at `vectors` [N, 3] of any length (Sloan 2013, with Condon-Shortley signs).

    On the sphere they are `harmonics.basis`; off it, as polynomials, they differ.
    """
    return np.stack(harmonic_columns(*vectors.T), axis=1)


def harmonic_columns(x: Any, y: Any, z: Any) -> list[Any]:
    """Each of them, of the coordinates as arrays of any library."""
    xx, yy, zz = x * x, y * y, z * z
    return [
        0 * x + 0.28209479177387814,
        -0.48860251190291987 * y,
        0.48860251190291987 * z,
        -0.48860251190291987 * x,
        1.0925484305920792 * x * y,
        -1.0925484305920792 * y * z,
        0.94617469575755997 * zz - 0.31539156525251999,
        -1.0925484305920792 * x * z,
        0.54627421529603959 * (xx - yy),
        0.59004358992664352 * y * (yy - 3 * xx),
        2.8906114426405538 * x * y * z,
        0.45704579946446572 * y * (1 - 5 * zz),
        0.37317633259011546 * z * (5 * zz - 3),
        0.45704579946446572 * x * (1 - 5 * zz),
        1.4453057213202769 * z * (xx - yy),
        0.59004358992664352 * x * (3 * yy - xx),
    ]
