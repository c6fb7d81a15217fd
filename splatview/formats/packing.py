"""What the packed formats share: alpha bytes, smallest-three quaternions, 11-10-11 words, Morton order.

Quantisers round to the nearest step and clamp; they want finite numbers (see `packable`) but take infinite
logits and log scales.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Bytes, Floats
from splatview.formats.report import Report
from splatview.gaussians import Gaussians
from splatview.geometry import normalised
from splatview.harmonics import C0

Words = NDArray[np.uint32]

BLOCK = 1 << 14  # rows worked on at once: what they need stays in the cache
SQRT2 = float(np.sqrt(2.0))

# Bytes 0 and 255 stand for a quarter of a step inside the ends: their logits are finite, and they come back as themselves.
_ALPHAS = np.clip(np.arange(256), 0.25, 254.75) / 255
LOGITS: Floats = np.log(_ALPHAS / (1 - _ALPHAS)).astype(np.float32)  # [256] opacity logit of an alpha byte


def quantised(values: NDArray, top: int) -> NDArray:
    """`values` rounded to whole numbers in 0..top (float64, ready for a cast)."""
    return np.clip(np.rint(values), 0, top)


def alpha_bytes(logits: Floats) -> Bytes:
    """Alpha bytes [N] of opacity logits [N]."""
    return quantised(127.5 * (1 + np.tanh(0.5 * logits.astype(np.float64))), 255).astype(np.uint8)


def dc_from_colours(colours: NDArray) -> Floats:
    """DC coefficients of display colours 0..1."""
    return ((colours - 0.5) / C0).astype(np.float32)


def packable(gaussians: Gaussians, report: Report) -> Gaussians:
    """The Gaussians that can be quantised: without those that hold NaN or infinity, which only a logit or log scale may be."""
    whole = [np.isfinite(gaussians.means).all(1), np.isfinite(gaussians.quats).all(1)]
    whole += [np.isfinite(gaussians.sh).all((1, 2)), ~np.isnan(gaussians.log_scales).any(1), ~np.isnan(gaussians.opacity_logits)]
    good = np.logical_and.reduce(whole)
    bad = int((~good).sum())
    if not bad:
        return gaussians
    if bad == len(gaussians):
        raise ValueError("expected Gaussians made of finite numbers, but every one of them holds NaN or infinity")
    report.note(f"{bad} Gaussians that hold NaN or infinity were left out")
    return gaussians.take(good)


def limit_degree(gaussians: Gaussians, degree: int, what: str, instead: str = "") -> None:
    """ValueError that names the option that helps if the harmonics go beyond what the format holds."""
    if gaussians.sh_degree > degree:
        raise ValueError(
            f"{what} holds spherical harmonics up to degree {degree}, and the scene has degree {gaussians.sh_degree}: "
            f"cut them with max_sh={degree} (--max-sh {degree}){instead}"
        )


_OTHERS = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])  # the components beside the largest, in order


def smallest_three(quats: NDArray) -> tuple[NDArray, NDArray]:
    """The index [N] of the largest component and the other three [N, 3], turned so that the largest is positive.

    `quats` [N, 4] of any length, in any component order; zero becomes (1, 0, 0, 0).
    """
    unit = normalised(quats.astype(np.float64))
    unit[~unit.any(1), 0] = 1
    largest = np.argmax(np.abs(unit), 1)
    sign = np.where(np.take_along_axis(unit, largest[:, None], 1) < 0, -1.0, 1.0)
    return largest, np.take_along_axis(unit, _OTHERS[largest], 1) * sign


def quats_from_smallest_three(largest: NDArray, others: NDArray) -> NDArray:
    """Unit quaternions [N, 4] (float32) from what `smallest_three` gives."""
    quats = np.empty((len(largest), 4), np.float32)
    np.put_along_axis(quats, _OTHERS[largest], others.astype(np.float32), 1)
    square = np.einsum("nc,nc->n", others, others)
    np.put_along_axis(quats, largest[:, None], np.sqrt(np.maximum(1 - square, 0)).astype(np.float32)[:, None], 1)
    return quats


def pack_11_10_11(unit: NDArray) -> Words:
    """Words [N] of three numbers 0..1 [N, 3]."""
    x, y, z = (quantised(unit[:, axis] * top, top).astype(np.uint32) for axis, top in enumerate((2047, 1023, 2047)))
    return (x << 21 | y << 11 | z).astype(np.uint32)


def unpack_11_10_11(words: Words) -> NDArray:
    """Three numbers 0..1 [N, 3] (float64) of words [N]."""
    return np.stack([(words >> 21) / 2047, (words >> 11 & 1023) / 1023, (words & 2047) / 2047], 1)


def morton_order(means: Floats) -> NDArray:
    """Indices [N] that sort `means` [N, 3] along a Z curve, 21 bits per axis."""
    low, high = means.min(0).astype(np.float64), means.max(0).astype(np.float64)
    cells = ((means - low) / np.where(high > low, high - low, 1) * (2**21 - 1)).astype(np.uint64)
    key = np.zeros(len(means), np.uint64)
    for axis in range(3):
        bits = cells[:, axis]
        for shift, mask in _SPREAD:
            bits = (bits | bits << shift) & mask
        key |= bits << np.uint64(axis)
    return np.argsort(key, kind="stable")


# Moves 21 bits two apart from each other, halving the runs each time.
_SPREAD = [
    (np.uint64(shift), np.uint64(mask))
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    )
]
