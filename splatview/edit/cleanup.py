"""What most people want gone from a captured scene: finders, each a mask [N] of the Gaussians to show and then to delete.

Nothing here deletes. Lengths that are parameters are in the units of `Gaussians.means`; by default they follow from the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from splatview.arrays import Bools
from splatview.camera import Camera
from splatview.edit.neighbours import new_points, points_of, spacing
from splatview.gaussians import Gaussians
from splatview.inspection import GIANT, INVISIBLE, ROBUST, finite_mask

NEEDLE = 20.0  # how many times longer than its middle axis a Gaussian may be
LONELY = 4.0  # spacings within which a Gaussian has neighbours
FEW = 4  # neighbours
CLOSEST = 8  # neighbours that one Gaussian is compared with at once, to find its duplicates
LARGEST = 80.0  # log scale whose exponent is a float32
SAME_PLACE, SAME_SIZE, SAME_COLOUR = 1e-3, 0.05, 1 / 255  # in its own largest scales; as a share; of 0..1

Finder = Callable[[Gaussians], Bools]


def broken(splats: Gaussians) -> Bools:
    """[N] where a number is NaN or infinite, or the quaternion is zero."""
    return ~finite_mask(splats) | ~splats.quats.any(axis=1)


def invisible(splats: Gaussians, least: float = INVISIBLE) -> Bools:
    """[N] with an opacity under `least`: renderers leave out those under 1/255."""
    return splats.opacities < least


def giant(splats: Gaussians, share: float = GIANT) -> Bools:
    """[N] with a standard deviation over `share` of the diagonal of the box that holds the middle 96 % of the scene along each axis."""
    _positive("share", share)
    means = splats.means[np.isfinite(splats.means).all(axis=1)]
    if not len(means):
        return np.zeros(len(splats), bool)
    low, high = np.percentile(means, ROBUST, axis=0).astype(np.float64)
    diagonal = float(np.linalg.norm(high - low))
    return splats.log_scales.max(axis=1) > np.log(share * diagonal) if diagonal > 0 else np.zeros(len(splats), bool)


def needles(splats: Gaussians, ratio: float = NEEDLE) -> Bools:
    """[N] more than `ratio` times longer than along the middle axis; flat ones, which surfaces are made of, are none."""
    _positive("ratio", ratio)
    ordered = np.sort(splats.log_scales, axis=1)
    with np.errstate(invalid="ignore"):
        return ordered[:, 2] - ordered[:, 1] > np.log(ratio)


def floaters(splats: Gaussians, radius: float | None = None, neighbours: int = FEW) -> Bools:
    """[N] with fewer than `neighbours` others within `radius` (None: four spacings of the scene); what is not finite is none."""
    if radius is not None:
        _positive("radius", radius)
    if neighbours < 1:
        raise ValueError(f"neighbours: expected 1 or more, got {neighbours}")
    reach = LONELY * spacing(splats) if radius is None else radius
    finite = np.isfinite(splats.means).all(axis=1)
    if not reach > 0:  # all in one place
        return np.zeros(len(splats), bool)
    return (points_of(splats).counts(reach, neighbours) < neighbours) & finite


def low_contribution(
    splats: Gaussians, cameras: Iterable[Camera], contributors: Callable[[Camera, float], Bools], least: float = INVISIBLE
) -> Bools:
    """[N] that give no pixel of any of `cameras` a weight of `least` or more.

    `contributors(camera, least)` says [N] who does, in one picture: the renderer's own blending weights, alpha times transmittance.
    """
    _positive("least", least)
    seen = np.zeros(len(splats), bool)
    looked = False
    for camera in cameras:
        looked = True
        seen |= contributors(camera, least)
    if not looked:
        raise ValueError("low contribution: expected at least one camera, got none")
    return ~seen


def duplicates(splats: Gaussians, place: float = SAME_PLACE, size: float = SAME_SIZE, colour: float = SAME_COLOUR) -> Bools:
    """[N] that are as good as an earlier one that stays: the first of each kind is kept.

    `place`: how far apart the centres may be, in largest standard deviations; `size`: the share by which the three sorted ones may
    differ; `colour`: how much the DC colour's channels and the opacity may. Orientation and view dependence are not compared.
    """
    for name, tolerance in (("place", place), ("size", size), ("colour", colour)):
        if not (np.isfinite(tolerance) and tolerance >= 0):
            raise ValueError(f"{name}: expected a number of 0 or more, got {tolerance}")
    gone = np.zeros(len(splats), bool)
    rows = np.flatnonzero(~broken(splats))
    while len(rows) > 1:  # again among those that stay: a heap in one place has more pairs than are looked at in one go
        some = splats.with_max_degree(0).take(rows)
        dropped = _later_of_pairs(len(rows), *_alike(some, place, size, colour))
        if not dropped.any():
            break
        gone[rows[dropped]] = True
        rows = rows[~dropped]
    return gone


def _alike(splats: Gaussians, place: float, size: float, colour: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows, the earlier and the later, of close neighbours that are alike."""
    found, distances = new_points(splats.means).nearest(min(CLOSEST, len(splats) - 1))
    reach = place * np.exp(np.minimum(splats.log_scales.max(axis=1), LARGEST))
    close = (found >= 0) & (distances <= reach[:, None])
    first = np.broadcast_to(np.arange(len(splats))[:, None], found.shape)[close]
    second = found[close]
    first, second = np.minimum(first, second), np.maximum(first, second)
    sizes = np.sort(splats.log_scales, axis=1)
    looks = np.concatenate([splats.colours, splats.opacities[:, None]], axis=1)
    same = (np.abs(sizes[first] - sizes[second]) <= np.log1p(size)).all(axis=1)
    same &= (np.abs(looks[first] - looks[second]) <= colour).all(axis=1)
    return first[same], second[same]


def _later_of_pairs(count: int, first: np.ndarray, second: np.ndarray) -> Bools:
    """[count] rows to drop so that none is left that is paired with an earlier one that stays, and each dropped one is."""
    undecided, dropped = np.ones(count, bool), np.zeros(count, bool)
    while len(first):
        later = np.zeros(count, bool)
        later[second] = True
        stays = undecided & ~later
        dropped[second[stays[first]]] = True
        undecided &= ~(stays | dropped)
        live = undecided[first] & undecided[second]
        first, second = first[live], second[live]
    return dropped


FINDERS: dict[str, Finder] = {
    "broken": broken,
    "invisible": invisible,
    "giant": giant,
    "needles": needles,
    "floaters": floaters,
    "duplicates": duplicates,
}


def found(splats: Gaussians, finders: Mapping[str, Finder] = FINDERS) -> dict[str, Bools]:
    """What each of `finders` finds, by its name."""
    return {name: finder(splats) for name, finder in finders.items()}


def counts(masks: Mapping[str, Bools]) -> dict[str, int]:
    """How many each mask of `found` holds, and `any`: how many are in at least one."""
    each = {name: int(mask.sum()) for name, mask in masks.items()}
    return each | {"any": int(np.logical_or.reduce(list(masks.values())).sum()) if masks else 0}


def _positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected a number above 0, got {value}")
