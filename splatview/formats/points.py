"""Plain point clouds as small round splats: their size follows the local spacing of the points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Floats
from splatview.formats.packing import BLOCK, dc_from_colours, morton_order
from splatview.formats.ply import Rows
from splatview.formats.report import Report
from splatview.gaussians import Gaussians
from splatview.geometry import matrix_from_quat

OPACITY_LOGIT = 4.6  # 99 %
_WIDTH = 0.5  # standard deviation of a splat, in spacings: neighbours just close up
_NEAREST = 3  # neighbours that make the spacing
_REACH = 6  # places along a curve, on both sides, where they are looked for
_LIMITS = (0.02, 20.0)  # of a spacing, in medians: coincident and stray points
# Neighbours in space may lie far apart on one Z curve; on curves through turned copies of the cloud they rarely all do.
_TURNS = matrix_from_quat(np.array([[0.90, 0.23, 0.31, 0.19], [0.34, 0.57, -0.65, 0.37], [-0.12, 0.74, 0.29, 0.60]])).astype(np.float32)
_COLOURS = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
_PARAMETERS = ("f_dc_", "f_rest_", "opacity", "scale_", "rot_", "packed_")  # how a Gaussian's columns begin


def colour_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Which columns of a point cloud hold red, green and blue; () if none do."""
    return next((columns for columns in _COLOURS if set(columns) <= set(names)), ())


def recognises(names: Sequence[str]) -> bool:
    """Whether a table with these columns is a point cloud: it has positions, and no parameter of a Gaussian."""
    return {"x", "y", "z"} <= set(names) and not any(name.startswith(_PARAMETERS) for name in names)


@np.errstate(over="ignore", invalid="ignore")  # a double beyond float32 becomes infinite, and is left out
def from_table(table: NDArray | Rows, report: Report) -> Gaussians:
    """The splats of a point cloud's rows [N], which are read block by block; see `splats`."""
    count, channels = len(table), colour_columns(table.dtype.names or ())
    means = np.empty((count, 3), np.float32)
    values = np.empty((count, 3), np.result_type(*(table.dtype[name] for name in channels)) if channels else np.uint8)
    for start in range(0, count, BLOCK):
        rows, block = slice(start, start + BLOCK), table[start : start + BLOCK]
        for column, name in enumerate("xyz"):
            means[rows, column] = block[name]
        for column, name in enumerate(channels):
            values[rows, column] = block[name]
        report.progress(0.3 * start / count, "reading points")
    return splats(means, _colours(values) if channels else None, report)


def _colours(values: NDArray) -> Floats:
    """Colours 0..1 [N, 3] of whole numbers (0 to their type's largest) or of floats (0..1, or 0..255 if one is larger than 1)."""
    if values.dtype.kind in "ui":
        return np.clip(values / np.float32(np.iinfo(values.dtype).max), 0, 1).astype(np.float32)
    colours = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    return np.clip(colours / np.float32(255) if colours.max() > 1 else colours, 0, 1)


def splats(means: Floats, colours: Floats | None, report: Report) -> Gaussians:
    """Round splats at `means` [N, 3], of display `colours` 0..1 [N, 3] (None: grey); ValueError if no position is finite.

    What is not finite is left out; notes say this, and that these are points.
    """
    finite = np.isfinite(means).all(1)
    if not finite.any():
        raise ValueError("points: expected at least one with finite coordinates, found none")
    if not finite.all():
        report.note(f"{int((~finite).sum())} points whose coordinates are NaN or infinite were left out")
        means, colours = means[finite], None if colours is None else colours[finite]
    look = "small round splat" if colours is not None else "small grey splat"
    report.note(f"a plain point cloud, not a trained scene: each point is drawn as a {look}")
    count = len(means)
    sizes = np.log(spacing(means, report) * np.float32(_WIDTH))
    return Gaussians(
        means=means,
        quats=np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        log_scales=np.broadcast_to(sizes[:, None], (count, 3)),
        opacity_logits=np.full(count, OPACITY_LOGIT, np.float32),
        sh=np.zeros((count, 1, 3), np.float32) if colours is None else dc_from_colours(colours)[:, None],
    )


@np.errstate(over="ignore", invalid="ignore")  # clouds as large as floats go
def spacing(means: Floats, report: Report | None = None) -> Floats:
    """About the mean distance [N] from each of the finite `means` [N, 3] to its three nearest others; positive, without extremes.

    Neighbours are looked for nearby on three Z curves, so the time is that of three sorts, whatever the cloud looks like.
    """
    report, count = report or Report(), len(means)
    nearest = np.full(count, np.inf, np.float32)
    centred = means - np.median(means, axis=0)
    for done, turn in enumerate(_TURNS if count > 1 else ()):
        order = morton_order(_within_reach(centred @ turn.T))
        edge = np.full((_REACH, 3), np.inf, np.float32)
        row = np.concatenate([edge, centred[order], edge])
        for start in range(0, count, BLOCK):
            stop = min(start + BLOCK, count)
            found = np.sort(_gaps(row[start : stop + 2 * _REACH]), 1)[:, : min(_NEAREST, count - 1)].mean(1)
            at = order[start:stop]
            nearest[at] = np.minimum(nearest[at], found)
            report.progress(0.3 + 0.7 * (done + start / count) / len(_TURNS), "measuring the spacing of points")
    positive = nearest[np.isfinite(nearest) & (nearest > 0)]
    if not len(positive):  # one point, or many in one place
        return np.full(count, max(1e-2, 1e-3 * float(np.abs(means).max())), np.float32)
    low, high = np.median(positive) * np.array(_LIMITS)
    return np.clip(nearest, max(low, np.finfo(np.float32).tiny), min(high, np.finfo(np.float32).max)).astype(np.float32)


def _gaps(row: Floats) -> Floats:
    """Distances [N, 2 reach] from each point of a curve to those before and after it; `row` has `reach` more on both ends."""
    count = len(row) - 2 * _REACH
    middle = row[_REACH : _REACH + count]
    steps = [step for step in range(-_REACH, _REACH + 1) if step]
    squares = [np.square(row[_REACH + step : _REACH + step + count] - middle).sum(1) for step in steps]
    return np.sqrt(np.stack(squares, 1))


def _within_reach(points: Floats) -> Floats:
    """`points` without infinity, which an overflow has made."""
    largest = float(np.finfo(np.float32).max) / 4
    return np.clip(np.nan_to_num(points, nan=0.0), -largest, largest)
