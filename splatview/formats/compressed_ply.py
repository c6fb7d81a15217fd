"""PlayCanvas `compressed.ply`: four 32-bit words per Gaussian, quantised within chunks of 256 neighbours, and harmonics of 8 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Floats
from splatview.formats import inria, ply
from splatview.formats.packing import (
    BLOCK,
    LOGITS,
    SQRT2,
    alpha_bytes,
    dc_from_colours,
    limit_degree,
    morton_order,
    pack_11_10_11,
    packable,
    quantised,
    quats_from_smallest_three,
    smallest_three,
    unpack_11_10_11,
)
from splatview.formats.report import Report
from splatview.gaussians import Gaussians

CHUNK = 256  # Gaussians
MAX_LOG_SCALE = 20.0
_RANGES = [  # what a chunk keeps the range of, and the names of its axes
    [f"{end}_{axis}" for end in ("min", "max") for axis in axes]
    for axes in (("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b"))
]
_WORDS = ["packed_position", "packed_rotation", "packed_scale", "packed_color"]
# A harmonic byte stands for the middle of its step, but the outermost two for the ends of -4..4.
_SH_VALUES: Floats = (8 * (np.array([0, *(np.arange(1, 255) + 0.5) / 256, 1]) - 0.5)).astype(np.float32)


def decode(data: bytes | memoryview, report: Report | None = None) -> Gaussians:
    """Read a compressed `.ply`; ValueError if it is not one."""
    report = report or Report()
    content = ply.read(data)
    tables = {name: table[:] for name, table in content.tables.items()}
    chunks, vertex, sh = (tables.get(name) for name in ("chunk", "vertex", "sh"))
    if chunks is None or vertex is None or len(vertex) == 0:
        raise ValueError("compressed ply: expected the elements 'chunk' and 'vertex' with rows, found none")
    count = len(vertex)
    if len(chunks) != -(-count // CHUNK):
        raise ValueError(f"compressed ply: expected {-(-count // CHUNK)} chunks for {count} Gaussians, found {len(chunks)}")
    coloured = "min_r" in (chunks.dtype.names or ())
    ranges = [_columns(chunks, names, "<f4", "chunk") for names in _RANGES[: 3 if coloured else 2]]
    if not all((np.abs(array) < 1e30).all() for array in ranges):  # also NaN
        raise ValueError("compressed ply: expected finite ranges in every chunk, found NaN or numbers beyond 1e30")
    words = _columns(vertex, _WORDS, "<u4", "vertex")
    coefficients = _harmonics(sh, count)

    means, quats, log_scales = np.empty((count, 3), np.float32), np.empty((count, 4), np.float32), np.empty((count, 3), np.float32)
    logits, colours = np.empty(count, np.float32), np.empty((count, 1 + coefficients.shape[1], 3), np.float32)
    for start in range(0, count, BLOCK):
        rows = slice(start, min(start + BLOCK, count))
        position, rotation, scale, colour = words[rows].T
        chunk = np.arange(rows.start, rows.stop) // CHUNK
        means[rows] = _within(ranges[0][chunk], unpack_11_10_11(position))
        log_scales[rows] = _within(ranges[1][chunk], unpack_11_10_11(scale))
        others = np.stack([rotation >> 20 & 1023, rotation >> 10 & 1023, rotation & 1023], 1)
        quats[rows] = quats_from_smallest_three(rotation >> 30, (others / 1023 - 0.5) * SQRT2)
        rgb = np.stack([colour >> 24, colour >> 16 & 255, colour >> 8 & 255], 1) / 255
        colours[rows, 0] = dc_from_colours(_within(ranges[2][chunk], rgb) if coloured else rgb)
        colours[rows, 1:] = _SH_VALUES[coefficients[rows]]
        logits[rows] = LOGITS[colour & 255]
        report.progress(start / count, "unpacking Gaussians")
    return Gaussians(means, quats, log_scales, logits, colours, inria.kind_of(content.comments))


@np.errstate(over="ignore")  # what overflows is clamped
def encode(gaussians: Gaussians, report: Report | None = None) -> memoryview:
    """A compressed `.ply`, the Gaussians in Morton order; ValueError for harmonics above degree 3."""
    limit_degree(gaussians, 3, "compressed ply")
    report = report or Report()
    gaussians = packable(gaussians, report)
    order, count, rest = morton_order(gaussians.means), len(gaussians), gaussians.sh.shape[1] - 1
    chunks = np.empty((-(-count // CHUNK), 18), "<f4")
    words, sh = np.empty((count, 4), "<u4"), np.empty((count, 3, rest), np.uint8)  # sh is channel-major in the file
    for start in range(0, count, BLOCK):
        part = gaussians.take(order[start : start + BLOCK])
        rows = slice(start, start + len(part))
        parameters = [part.means, np.clip(part.log_scales, -MAX_LOG_SCALE, MAX_LOG_SCALE), part.colours]
        ranges, units = zip(*(_fitted(array.astype(np.float64)) for array in parameters), strict=True)
        chunks[start // CHUNK : start // CHUNK + len(ranges[0])] = np.concatenate(ranges, 1)
        largest, others = smallest_three(part.quats)
        a, b, c = quantised((others / SQRT2 + 0.5) * 1023, 1023).astype(np.uint32).T
        red, green, blue = quantised(units[2] * 255, 255).astype(np.uint32).T
        words[rows, 0] = pack_11_10_11(units[0])
        words[rows, 1] = largest.astype(np.uint32) << 30 | a << 20 | b << 10 | c
        words[rows, 2] = pack_11_10_11(units[1])
        words[rows, 3] = red << 24 | green << 16 | blue << 8 | alpha_bytes(part.opacity_logits)
        sh[rows] = np.clip(np.floor((part.sh[:, 1:].transpose(0, 2, 1) / 8 + np.float32(0.5)) * 256), 0, 255)
        report.progress(start / count, "packing Gaussians")
    tables = {"chunk": _table(chunks, [name for part in _RANGES for name in part]), "vertex": _table(words, _WORDS)}
    if rest:
        tables["sh"] = _table(sh.reshape(count, -1), [f"f_rest_{i}" for i in range(3 * rest)])
    return ply.write(tables, inria.TAGS[gaussians.kind])


def _columns(table: NDArray, names: list[str], dtype: str, element: str) -> NDArray:
    """The columns [N, len(names)] of a structured array; ValueError if one is missing or of another type."""
    for name in names:
        if name not in (table.dtype.names or ()):
            raise ValueError(f"compressed ply: expected a column '{name}' in element '{element}', found none")
        if table.dtype[name].newbyteorder("<") != np.dtype(dtype):
            raise ValueError(f"compressed ply: expected '{name}' of type {np.dtype(dtype).name}, found {table.dtype[name].name}")
    return np.stack([table[name] for name in names], 1)


def _harmonics(sh: NDArray | None, count: int) -> NDArray:
    """The bytes [N, K - 1, 3] of the harmonics above degree 0."""
    if sh is None:
        return np.empty((count, 0, 3), np.uint8)
    names = [f"f_rest_{i}" for i in range(len(sh.dtype.names or ()))]
    if len(names) not in (9, 24, 45):
        raise ValueError(f"compressed ply: expected 9, 24 or 45 columns in element 'sh', found {len(names)}")
    if len(sh) != count:
        raise ValueError(f"compressed ply: expected {count} rows in element 'sh', found {len(sh)}")
    return _columns(sh, names, "u1", "sh").reshape(count, 3, -1).transpose(0, 2, 1)


def _within(ranges: NDArray, unit: NDArray) -> NDArray:
    """Numbers [N, 3] at `unit` 0..1 between the ends that `ranges` [N, 6] gives."""
    low, high = ranges[:, :3], ranges[:, 3:]
    return low * (1 - unit) + high * unit


def _fitted(values: NDArray) -> tuple[NDArray, NDArray]:
    """For each chunk its range [C, 6] (lows, then highs), and `values` [N, 3] as 0..1 within it."""
    starts = np.arange(0, len(values), CHUNK)
    ranges = np.stack([np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)], 1).astype(np.float32)
    low, high = ranges.astype(np.float64)[np.arange(len(values)) // CHUNK].transpose(1, 0, 2)
    return ranges.reshape(-1, 6), (values - low) / np.where(high > low, high - low, 1)


def _table(columns: NDArray, names: list[str]) -> NDArray:
    return columns.view([(name, columns.dtype) for name in names])[:, 0]


def recognises(data: bytes | memoryview) -> bool:
    """Whether these are the first bytes of a compressed ply."""
    return ply.recognises(data) and b"packed_position" in bytes(data[: 1 << 14]).partition(b"end_header")[0]
