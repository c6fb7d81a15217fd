"""What is in a set of Gaussians, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Bools
from splatview.gaussians import Gaussians, Kind
from splatview.geometry import Similarity, normalised

INVISIBLE = 1 / 255  # opacities below are never drawn
GIANT = 0.5  # standard deviations over this part of the robust box's diagonal are giant
STRAY = 10.0  # robust boxes away from the middle
ROBUST = (2, 98)  # percentiles
LARGEST_LOG = 600.0  # of a scale; beyond it float64 overflows once squared
UNIT = 1e-3  # how far from 1 the length of a normalised quaternion may be

ProblemKind = Literal["empty", "broken", "unturned", "giant", "stray", "invisible"]


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
    kind: ProblemKind


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
    measures = _measured(splats, finite, placement)
    whole, means, scales, bounds, robust = measures
    return Report(
        count=len(splats),
        sh_degree=splats.sh_degree,
        kind=splats.kind,
        bounds=bounds,
        robust_bounds=robust,
        ranges={name: _range(values) for name, values in _attributes(whole, means, scales) if values.size},
        problems=tuple(problem for problem, _ in _problems(splats, finite, measures)),
    )


def problems(splats: Gaussians, placement: Similarity = Similarity()) -> list[tuple[Problem, Bools]]:
    """What is wrong with `splats` as they stand in the world, each with a mask [N] of those that it is wrong with."""
    finite = finite_mask(splats)
    return _problems(splats, finite, _measured(splats, finite, placement))


def odd_quats(splats: Gaussians) -> Bools:
    """[N] whose finite quaternions are not of length 1. Renderers normalise them: this is no problem, but may be tidied up."""
    finite = _finite_rows(splats.quats)
    length = np.linalg.norm(np.where(finite[:, None], splats.quats, 0).astype(np.float64), axis=1)
    return finite & (np.abs(length - 1) > UNIT)


def with_unit_quats(splats: Gaussians) -> Gaussians:
    """The same Gaussians, drawn the same, with all finite quaternions of length 1; zero ones are (1, 0, 0, 0), as they are drawn."""
    odd = odd_quats(splats)
    quats = splats.quats.copy()
    unit = normalised(quats[odd].astype(np.float64))
    quats[odd] = np.where(_any(unit)[:, None], unit, [1, 0, 0, 0])
    return replace(splats, quats=quats)


def finite_mask(splats: Gaussians) -> Bools:
    """[N] whether every number of a Gaussian is finite."""
    parts = (splats.means, splats.quats, splats.log_scales, splats.opacity_logits, splats.sh)
    return np.logical_and.reduce([_finite_rows(part) for part in parts])


def _finite_rows(values: NDArray) -> Bools:
    """[N] whether all numbers of a row of `values` [N, ...] are finite."""
    return np.logical_and.reduce(np.isfinite(values), axis=tuple(range(1, values.ndim)))


def _any(values: NDArray) -> Bools:
    """[N] whether a row of `values` [N, D] holds anything but zeros."""
    return np.logical_or.reduce(values != 0, axis=1)


def _box(low: NDArray, high: NDArray) -> Box:
    return Box(tuple(low.tolist()), tuple(high.tolist()))


def _range(values: NDArray) -> Range:
    middle = [(values.size - 1) // 2, values.size // 2]
    both = np.partition(values, middle, axis=None)[middle]
    return Range(float(values.min()), float(np.mean(both, dtype=np.float64)), float(values.max()))  # in single precision two may overflow


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


Measures = tuple[Gaussians, NDArray, NDArray, Box | None, Box | None]


def _measured(splats: Gaussians, finite: Bools, placement: Similarity) -> Measures:
    """The finite ones of `splats`, their means [F, 3] and sorted scales [F, 3] in the world, their bounds and robust bounds there."""
    whole = splats if finite.all() else splats.take(finite)
    means = placement.apply(whole.means.astype(np.float64))
    scales = placement.scale * np.exp(np.clip(np.sort(whole.log_scales.astype(np.float64), axis=1), -LARGEST_LOG, LARGEST_LOG))
    if not len(means):
        return whole, means, scales, None, None
    return whole, means, scales, _box(means.min(0), means.max(0)), _box(*np.percentile(means, ROBUST, axis=0))


def _problems(splats: Gaussians, finite: Bools, measures: Measures) -> list[tuple[Problem, Bools]]:
    if not len(splats):
        return [(Problem("no Gaussians", 1, "check the program that wrote the file", "empty"), finite)]
    return [(problem, mask) for problem, mask in _found(splats, finite, *measures) if problem.count]


def _found(
    splats: Gaussians, finite: Bools, whole: Gaussians, means: NDArray, scales: NDArray, _: Box | None, robust: Box | None
) -> Iterator[tuple[Problem, Bools]]:
    """Every kind of problem that is looked for, with its count, which may be 0, and its mask [N]."""

    def problem(kind: ProblemKind, what: str, which: Bools, advice: str) -> tuple[Problem, Bools]:
        mask = which
        if len(which) != len(splats):  # of the finite ones only
            mask = np.zeros(len(splats), bool)
            mask[finite] = which
        return Problem(what, int(mask.sum()), advice, kind), mask

    for name, part in (
        ("position", splats.means),
        ("quaternion", splats.quats),
        ("scale", splats.log_scales),
        ("opacity", splats.opacity_logits),
        ("colour", splats.sh),
    ):
        yield problem("broken", f"{name} is NaN or infinite", ~_finite_rows(part), "remove them: convert --drop-broken")
    if robust is None:
        return
    no_direction = ~_any(whole.quats)
    yield problem("unturned", "quaternion is zero", no_direction, "they are drawn unrotated; remove them: convert --drop-broken")
    low, high = np.array(robust.low), np.array(robust.high)
    diagonal = float(np.linalg.norm(high - low))
    if diagonal > 0:
        limit, reach = GIANT * diagonal, STRAY * diagonal
        giant = scales[:, 2] > limit
        yield problem("giant", f"giant: a scale over {limit:.3g}", giant, f"remove them: convert --max-scale {limit:.3g}")
        stray = _any(np.abs(means - (low + high) / 2) > reach)
        yield problem("stray", f"stray: over {reach:.3g} from the middle", stray, "remove them: convert --crop-box")
    unseen = whole.opacities < INVISIBLE
    yield problem("invisible", "invisible: opacity under 1/255", unseen, "they cost time; remove them: convert --min-opacity 0.004")
