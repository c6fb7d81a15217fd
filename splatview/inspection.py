"""What is in a set of Gaussians, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Bools
from splatview.gaussians import Gaussians, Kind
from splatview.geometry import Similarity

INVISIBLE = 1 / 255  # opacities below are never drawn
GIANT = 0.5  # standard deviations over this part of the robust box's diagonal are giant
STRAY = 10.0  # robust boxes away from the middle
ROBUST = (2, 98)  # percentiles
LARGEST_LOG = 600.0  # of a scale; beyond it float64 overflows once squared


@dataclass(frozen=True)
class Range:
    """The finite values of one attribute."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Box:
    """An axis-aligned box in the world, scene units."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with `count` Gaussians."""

    what: str
    count: int
    advice: str


@dataclass(frozen=True)
class Report:
    """What `inspect` found."""

    count: int
    sh_degree: int
    kind: Kind
    bounds: Box | None  # of all finite means; None if there is none
    robust_bounds: Box | None  # of the middle 96 % along each axis
    ranges: dict[str, Range]  # by attribute
    problems: tuple[Problem, ...]


def inspect(splats: Gaussians, placement: Similarity = Similarity()) -> Report:
    """A report on `splats` as they stand in the world: bounds, the range of each attribute, and problems."""
    finite = finite_mask(splats)
    whole = splats if finite.all() else splats.take(finite)
    means = placement.apply(whole.means.astype(np.float64))
    scales = placement.scale * np.exp(np.clip(np.sort(whole.log_scales.astype(np.float64), axis=1), -LARGEST_LOG, LARGEST_LOG))
    bounds = robust = None
    if len(means):
        bounds = _box(means.min(0), means.max(0))
        robust = _box(*np.percentile(means, ROBUST, axis=0))
    return Report(
        count=len(splats),
        sh_degree=splats.sh_degree,
        kind=splats.kind,
        bounds=bounds,
        robust_bounds=robust,
        ranges={name: _range(values) for name, values in _attributes(whole, means, scales) if values.size},
        problems=tuple(problem for problem in _problems(splats, whole, means, scales, robust) if problem.count),
    )


def finite_mask(splats: Gaussians) -> Bools:
    """[N] whether every number of a Gaussian is finite."""
    parts = (splats.means, splats.quats, splats.log_scales, splats.opacity_logits, splats.sh)
    return np.logical_and.reduce([_finite_rows(part) for part in parts])


def _finite_rows(values: NDArray) -> Bools:
    """[N] whether all numbers of a row of `values` [N, ...] are finite."""
    return np.logical_and.reduce(np.isfinite(values), axis=tuple(range(1, values.ndim)))


def _box(low: NDArray, high: NDArray) -> Box:
    return Box(tuple(low.tolist()), tuple(high.tolist()))


def _range(values: NDArray) -> Range:
    return Range(float(values.min()), float(np.median(values)), float(values.max()))


def _attributes(splats: Gaussians, means: NDArray, scales: NDArray) -> Iterator[tuple[str, NDArray]]:
    """Names and values; `scales` [N, 3] sorted, in the world."""
    yield from zip("xyz", means.T, strict=True)
    yield "smallest scale", scales[:, 0]
    yield "largest scale", scales[:, 2]
    yield "opacity", splats.opacities
    yield "quaternion length", np.linalg.norm(splats.quats.astype(np.float64), axis=1)
    yield from zip(("red", "green", "blue"), splats.colours.T, strict=True)
    if splats.sh_degree:
        yield "view-dependent colour", splats.sh[:, 1:]


def _problems(splats: Gaussians, whole: Gaussians, means: NDArray, scales: NDArray, robust: Box | None) -> Iterator[Problem]:
    """Every kind of problem that is looked for, with its count, which may be 0."""
    if not len(splats):
        yield Problem("no Gaussians", 1, "check the program that wrote the file")
    for name, part in (
        ("position", splats.means),
        ("quaternion", splats.quats),
        ("scale", splats.log_scales),
        ("opacity", splats.opacity_logits),
        ("colour", splats.sh),
    ):
        bad = ~_finite_rows(part)
        yield Problem(f"{name} is NaN or infinite", int(bad.sum()), "remove them: convert --drop-broken")
    if robust is None:
        return
    no_direction = ~whole.quats.any(axis=1)
    yield Problem("quaternion is zero", int(no_direction.sum()), "they are drawn unrotated; remove them: convert --drop-broken")
    low, high = np.array(robust.low), np.array(robust.high)
    diagonal = float(np.linalg.norm(high - low))
    if diagonal > 0:
        giant = scales[:, 2] > GIANT * diagonal
        yield Problem(
            f"giant: a scale over {GIANT * diagonal:.3g}", int(giant.sum()), f"remove them: convert --max-scale {GIANT * diagonal:.3g}"
        )
        stray = (np.abs(means - (low + high) / 2) > STRAY * diagonal).any(axis=1)
        yield Problem(f"stray: over {STRAY * diagonal:.3g} from the middle", int(stray.sum()), "remove them: convert --crop-box")
    unseen = whole.opacities < INVISIBLE
    yield Problem("invisible: opacity under 1/255", int(unseen.sum()), "they cost time; remove them: convert --min-opacity 0.004")
