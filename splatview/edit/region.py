"""What a person drew on a picture, as data, and the pixels that it covers.

Coordinates are fractions of the picture from its top left corner: x of the width, y of the height; they may lie outside, as a pointer does.
A pixel is covered if its centre is. The masks are exact (spans between crossings of a row, in float64): the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from splatview.arrays import Bools, Bytes, Doubles, Floats
from splatview.gaussians import Gaussians

MAX_POINTS = 20_000
REACH = 4.0  # pictures: farther outside a coordinate is clipped
SPANS = 1 << 18  # rows of segments that are worked on at once, which bounds the memory
NOTHING = 1 / 255  # an alpha below it: no surface to flood

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Rectangle:
    """A rectangle by two opposite corners, in any order."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        corners = _clipped("Rectangle", ((self.x0, self.y0), (self.x1, self.y1)), least=2)
        (x0, x1), (y0, y1) = (sorted(values) for values in zip(*corners, strict=True))
        for name, value in {"x0": x0, "y0": y0, "x1": x1, "y1": y1}.items():
            object.__setattr__(self, name, value)

    def mask(self, width: int, height: int) -> Bools:
        """The pixels [height, width] inside."""
        _check_size(width, height)
        mask = np.zeros((height, width), np.bool_)
        left, right = _first(np.array([self.x0 * width, self.x1 * width]), width)
        top, bottom = _first(np.array([self.y0 * height, self.y1 * height]), height)
        mask[top:bottom, left:right] = True
        return mask


@dataclass(frozen=True)
class _Outline:
    points: Points

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", _clipped(type(self).__name__, self.points, least=3))

    def mask(self, width: int, height: int) -> Bools:
        """The pixels [height, width] inside; where the outline crosses itself, those inside an odd number of times."""
        corners = np.asarray(self.points) * (width, height)
        mask, part, corners = _crop(corners, 0.0, width, height)
        rows, columns = part.shape
        (x0, y0), (x1, y1) = corners.T, np.roll(corners, -1, 0).T
        flips = np.zeros((rows, columns + 1), np.uint8)
        for edge, row in _rows(_first(np.minimum(y0, y1), rows), _first(np.maximum(y0, y1), rows)):
            crossing = x0[edge] + (row + 0.5 - y0[edge]) * ((x1[edge] - x0[edge]) / (y1[edge] - y0[edge]))
            np.add.at(flips.reshape(-1), row * (columns + 1) + _first(crossing, columns), np.uint8(1))
        part[...] = np.cumsum(flips[:, :columns], 1, np.uint8) & 1
        return mask


class Lasso(_Outline):
    """A closed outline drawn by hand."""


class Polygon(_Outline):
    """A closed outline of clicked corners."""


@dataclass(frozen=True)
class Stroke:
    """The path of a round brush: a disc at each point and the way between them; one point is a disc."""

    points: Points
    radius: float  # fraction of the picture's height, > 0 and at most 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", _clipped("Stroke", self.points, least=1))
        if not 0 < self.radius <= 1:
            raise ValueError(f"Stroke.radius: expected a fraction of the height in 0 to 1, got {self.radius}")

    def mask(self, width: int, height: int) -> Bools:
        """The pixels [height, width] at most `radius` from the path."""
        path, radius = np.asarray(self.points) * (width, height), self.radius * height
        mask, part, path = _crop(path, radius, width, height)
        rows, columns = part.shape
        starts, ends = (path[:-1], path[1:]) if len(path) > 1 else (path, path)
        tops, bottoms = np.minimum(starts[:, 1], ends[:, 1]) - radius, np.maximum(starts[:, 1], ends[:, 1]) + radius
        for segment, row in _rows(_first(tops, rows), _first(bottoms, rows)):
            left, right = _capsule_span(starts[segment], ends[segment], radius, row + 0.5)
            _cover(part, row, _first(left, columns), _first(right, columns))
        return mask


def flood(rgb8: Bytes, depth: Floats, alpha: Floats, x: int, y: int, colour_tolerance: float, depth_tolerance: float) -> Bools:
    """The surface [H, W] around the pixel in column `x`, row `y` of a frame: `rgb8` [H, W, 3], `depth` and `alpha` [H, W].

    What is connected to it (left, right, up, down), has its colour within `colour_tolerance` (0..1 on each channel), and is reached
    without a step in depth: from pixel to pixel at most the part `depth_tolerance` of the nearer one's depth. No surface there: nothing.
    """
    height, width = depth.shape
    if rgb8.shape != (height, width, 3) or alpha.shape != (height, width):
        raise ValueError(f"flood: expected rgb8, depth and alpha of one size, got {rgb8.shape}, {depth.shape} and {alpha.shape}")
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"flood: expected a pixel of the picture of {width} x {height}, got {x}, {y}")
    if not (0 <= colour_tolerance <= 1 and 0 <= depth_tolerance < np.inf):
        raise ValueError(
            f"flood: expected a colour tolerance in 0 to 1 and a depth tolerance >= 0, got {colour_tolerance} and {depth_tolerance}"
        )
    seed, reach = rgb8[y, x].astype(np.float64), colour_tolerance * 255
    low, high = np.maximum(np.ceil(seed - reach), 0), np.minimum(np.floor(seed + reach), 255)
    passable = cv2.inRange(np.ascontiguousarray(rgb8), low, high) > 0
    passable &= (alpha >= NOTHING) & (depth > 0) & (depth < np.inf)
    if not passable[y, x]:
        return np.zeros((height, width), np.bool_)
    surface = np.where(passable, depth, np.float32(0))
    # Pixels and the steps between them are the cells of one grid, so that a step can be closed between two pixels that are open.
    cells = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    cells[::2, ::2] = passable
    cells[::2, 1::2] = passable[:, 1:] & passable[:, :-1] & _near(surface[:, 1:], surface[:, :-1], depth_tolerance)
    cells[1::2, ::2] = passable[1:] & passable[:-1] & _near(surface[1:], surface[:-1], depth_tolerance)
    cv2.floodFill(cells, None, (2 * int(x), 2 * int(y)), 2, flags=4)
    return cells[::2, ::2] == 2


def colour_within(splats: Gaussians, colour: ArrayLike, tolerance: float) -> Bools:
    """Which splats [N] have a view-independent colour within `tolerance` of `colour` [3] (displayed, 0..1) on each channel."""
    wanted = np.asarray(colour, np.float32)
    if wanted.shape != (3,) or not np.isfinite(wanted).all():
        raise ValueError(f"colour: expected three finite numbers, got {colour}")
    if not tolerance >= 0:
        raise ValueError(f"colour tolerance: expected a number >= 0, got {tolerance}")
    near = np.abs(splats.colours - wanted) <= tolerance
    return near[:, 0] & near[:, 1] & near[:, 2]


def _near(a: Floats, b: Floats, tolerance: float) -> Bools:
    with np.errstate(over="ignore"):  # a tolerance of anything
        return np.abs(a - b) <= np.float32(min(tolerance, 1e30)) * np.minimum(a, b)


def _capsule_span(a: Doubles, b: Doubles, radius: float, y: Doubles) -> tuple[Doubles, Doubles]:
    """Where the rows at `y` [n] lie within `radius` of the segments `a` to `b` [n, 2]: from x [n] to x [n]; inf to -inf where nowhere.

    A capsule is convex: it covers one span of a row, from the leftmost to the rightmost of its two discs and the rectangle between them.
    """
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for centre in (a, b):
        square = radius**2 - (y - centre[:, 1]) ** 2
        half = np.where(square >= 0, np.sqrt(np.maximum(square, 0)), -np.inf)
        left, right = np.minimum(left, centre[:, 0] - half), np.maximum(right, centre[:, 0] + half)
    step = b - a
    length = np.hypot(step[:, 0], step[:, 1])
    dx, dy = (step / np.where(length > 0, length, 1)[:, None]).T
    below = y - a[:, 1]
    along = _between(dx, below * dy, np.zeros(1), length)
    across = _between(-dy, below * dx, np.array([-radius]), np.array([radius]))
    start, stop = np.maximum(along[0], across[0]), np.minimum(along[1], across[1])
    body = (start <= stop) & (length > 0)
    return np.where(body, np.minimum(left, a[:, 0] + start), left), np.where(body, np.maximum(right, a[:, 0] + stop), right)


def _between(slope: Doubles, offset: Doubles, low: Doubles, high: Doubles) -> tuple[Doubles, Doubles]:
    """From which t [n] to which t `low` <= slope t + offset <= `high`; a slope of nothing is taken as next to nothing."""
    steep = np.where(np.abs(slope) < 1e-12, 1e-12, slope)
    one, other = (low - offset) / steep, (high - offset) / steep
    return np.minimum(one, other), np.maximum(one, other)


def _rows(first: NDArray, stop: NDArray) -> Iterator[tuple[NDArray, NDArray]]:
    """Every row from `first` [n] to before `stop` [n], with the index of what it belongs to, some `SPANS` at a time."""
    counts = np.maximum(stop - first, 0)
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + SPANS, "right")))
        part = counts[begin:end]
        owner = np.repeat(np.arange(begin, end), part)
        yield owner, first[owner] + np.arange(len(owner)) - (ends[owner] - counts[owner] - done)
        begin = end


def _cover(mask: Bools, row: NDArray, first: NDArray, stop: NDArray) -> None:
    """Set the pixels of `mask` [H, W] in each `row` [n] from `first` [n] to before `stop` [n], if it is greater."""
    rows, columns = mask.shape
    some, place = stop > first, row * (columns + 1)
    spans = np.sort((place + first)[some] << 32 | (place + stop)[some])  # by their first pixels, one number each
    if not len(spans):
        return
    starts, stops = spans >> 32, np.maximum.accumulate(spans & 0xFFFFFFFF)
    apart = starts[1:] > stops[:-1]  # what overlaps is one span, so that a row is a running sum of ones and minus ones
    changes = np.zeros((rows, columns + 1), np.uint8)
    changes.reshape(-1)[starts[np.append(True, apart)]] = 1
    changes.reshape(-1)[stops[np.append(apart, True)]] = 255
    mask |= np.cumsum(changes, 1, np.uint8).view(np.bool_)[:, :columns]


def _crop(points: Doubles, reach: float, width: int, height: int) -> tuple[Bools, Bools, Doubles]:
    """An empty mask [height, width]; its part within `reach` of the box around `points` [n, 2]; the points in that part's pixels."""
    _check_size(width, height)
    mask = np.zeros((height, width), np.bool_)
    (x0, y0), (x1, y1) = points.min(0) - reach, points.max(0) + reach
    left, right = _first(np.array([x0, x1]), width)
    top, bottom = _first(np.array([y0, y1]), height)
    return mask, mask[top:bottom, left:right], points - (left, top)


def _first(edge: Doubles, count: int) -> NDArray:
    """The first of `count` pixels whose centre is at `edge` [n] or beyond it; `count` if there is none."""
    return np.clip(np.ceil(edge - 0.5), 0, count).astype(np.intp)


def _clipped(name: str, points: ArrayLike, least: int) -> Points:
    array = np.asarray(points, np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or not least <= len(array) <= MAX_POINTS:
        raise ValueError(f"{name}: expected {least} to {MAX_POINTS} points (x, y), got an array of shape {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite coordinates, got {array[~np.isfinite(array).all(1)][0].tolist()}")
    return tuple((x, y) for x, y in np.clip(array, -REACH, 1 + REACH).tolist())


def _check_size(width: int, height: int) -> None:
    if not (1 <= width <= 32768 and 1 <= height <= 32768):
        raise ValueError(f"mask: expected a size of 1 to 32768 pixels a side, got {width} x {height}")
