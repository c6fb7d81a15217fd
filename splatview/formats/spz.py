"""Niantic's `.spz`: planes of quantised parameters, gzip (v1 to v3) or zstd streams (v4). Its numbers are those of a ply: no axis turns.

Planes, in order: positions (three float16 in v1, then 24-bit fixed point), alphas, colours, log scales, rotations
(three bytes, from v3 a smallest-three word), harmonics above degree 0 (byte per coefficient and channel).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from splatview import harmonics
from splatview.arrays import Bytes, Floats
from splatview.formats import spz_container
from splatview.formats.packing import (
    BLOCK,
    LOGITS,
    SQRT2,
    alpha_bytes,
    limit_degree,
    packable,
    quantised,
    quats_from_smallest_three,
    smallest_three,
)
from splatview.formats.report import Report
from splatview.formats.spz_container import ANTIALIASED, Header
from splatview.gaussians import Gaussians

Version = Literal[3, 4]
FRACTION_BITS = 12  # of a position that is written: 1/4096 of a scene unit, up to 2048 of them
COLOUR_GAIN = 0.15
_TOP = 511  # of a 9-bit magnitude
_DC: Floats = ((np.arange(256) / 255 - 0.5) / COLOUR_GAIN).astype(np.float32)
_LOG_SCALES: Floats = (np.arange(256) / 16 - 10).astype(np.float32)
_SH: Floats = ((np.arange(256) - 128) / 128).astype(np.float32)


def decode(data: bytes | memoryview, report: Report | None = None) -> Gaussians:
    """Read an `.spz` of version 1 to 4; ValueError if it is not one, or is damaged."""
    report = report or Report()
    header, planes = spz_container.unpack(data, report)
    count, size = header.count, harmonics.coefficients(header.degree)
    means, quats, log_scales = np.empty((count, 3), np.float32), np.empty((count, 4), np.float32), np.empty((count, 3), np.float32)
    logits, sh = np.empty(count, np.float32), np.empty((count, size, 3), np.float32)
    positions, alphas, colours, scales, rotations, rest = (plane.reshape(count, len(plane) // count) for plane in planes)
    turn = _rotations_of_words if header.version >= 3 else _rotations_of_bytes
    for start in range(0, count, BLOCK):
        rows = slice(start, min(start + BLOCK, count))
        means[rows] = _positions(positions[rows], header)
        logits[rows] = LOGITS[alphas[rows, 0]]
        log_scales[rows] = _LOG_SCALES[scales[rows]]
        quats[rows] = turn(rotations[rows])
        sh[rows, 0] = _DC[colours[rows]]
        sh[rows, 1:] = _SH[rest[rows]].reshape(rows.stop - start, size - 1, 3)
        report.progress(0.5 + 0.5 * start / count, "unpacking Gaussians")
    if not np.isfinite(means).all():
        raise ValueError("spz: expected finite positions, found NaN or infinity: the file is damaged")
    return Gaussians(means, quats, log_scales, logits, sh, "antialiased" if header.flags & ANTIALIASED else "classic")


@np.errstate(over="ignore")  # what overflows is clamped
def encode(gaussians: Gaussians, version: Version = 3, report: Report | None = None) -> bytes:
    """An `.spz` file; ValueError for harmonics above degree 3 (v3) or positions beyond what 24 bits hold."""
    report = report or Report()
    if version == 3:
        limit_degree(gaussians, 3, "spz version 3", " or write version 4 with spz_version=4 (--spz-version 4)")
    gaussians = packable(gaussians, report)
    bits = _fraction_bits(gaussians.means)
    if bits < FRACTION_BITS:
        report.note(f"spz: the scene is so large that positions were rounded to 1/{2**bits} of a unit instead of 1/{2**FRACTION_BITS}")
    if gaussians.kind == "2dgs":
        report.note("spz cannot say that the model is 2DGS: it was written as flat 3D Gaussians")
    flags = ANTIALIASED if gaussians.kind == "antialiased" else 0
    header = Header(version, len(gaussians), gaussians.sh_degree, bits, flags)
    planes = [np.empty(size, np.uint8) for size in header.sizes]
    tables = [plane.reshape(len(gaussians), len(plane) // len(gaussians)) for plane in planes]
    for start in range(0, len(gaussians), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(gaussians)))
        for table, packed in zip(tables, _packed(gaussians.take(rows), bits), strict=True):
            table[rows] = packed.reshape(len(packed), table.shape[1])
        report.progress(0.3 * start / len(gaussians), "packing Gaussians")
    return spz_container.pack(header, planes, report)


def _packed(gaussians: Gaussians, bits: int) -> list[NDArray]:
    """The rows of the six planes, each [N, ...] of whole numbers 0..255."""
    fixed = np.rint(gaussians.means.astype(np.float64) * 2.0**bits).astype("<i4")
    return [
        fixed.view(np.uint8).reshape(-1, 3, 4)[..., :3],
        alpha_bytes(gaussians.opacity_logits),
        quantised((gaussians.sh[:, 0] * COLOUR_GAIN + 0.5) * 255, 255),
        quantised((gaussians.log_scales + np.float32(10)) * 16, 255),
        _words_of_rotations(gaussians.quats).view(np.uint8).reshape(-1, 4),
        _harmonic_bytes(gaussians.sh),
    ]


def _positions(rows: Bytes, header: Header) -> Floats:
    """Positions [N, 3] of bytes [N, 6] (v1) or [N, 9]."""
    if header.version == 1:
        return rows.view("<f2").astype(np.float32)
    wide = np.zeros((len(rows), 3, 4), np.uint8)
    wide[..., 1:] = rows.reshape(-1, 3, 3)  # the top three bytes, so that the shift below keeps the sign
    return (wide.view("<i4")[..., 0] >> 8) * np.float32(2.0**-header.fraction_bits)


def _fraction_bits(means: Floats) -> int:
    """The number of fraction bits, 12 or fewer, with which every position fits 24 bits."""
    largest = float(np.abs(means).max())
    for bits in range(FRACTION_BITS, -1, -1):
        if np.rint(largest * 2.0**bits) < 1 << 23:
            return bits
    raise ValueError(f"spz holds positions up to {1 << 23} units, and the scene reaches {largest:.3g}: scale or crop it first")


def _rotations_of_bytes(rows: Bytes) -> Floats:
    xyz = rows.astype(np.float32) / np.float32(127.5) - 1
    w = np.sqrt(np.maximum(1 - (xyz * xyz).sum(1, keepdims=True), 0))
    return np.concatenate([w, xyz], 1)


def _rotations_of_words(rows: Bytes) -> Floats:
    """Two bits say which of x y z w is the largest; then the others in order, a sign and a 9-bit magnitude each."""
    words = rows.view("<u4")[:, 0]
    fields = np.stack([words >> 20, words >> 10, words], 1) & 1023
    others = np.where(fields > _TOP, -1, 1) * (fields & _TOP) / np.float32(_TOP * SQRT2)
    return np.roll(quats_from_smallest_three(words >> 30, others), 1, 1)


def _words_of_rotations(quats: Floats) -> NDArray:
    largest, others = smallest_three(np.roll(quats, -1, 1))
    fields = quantised(np.abs(others) * (_TOP * SQRT2), _TOP).astype(np.uint32) | np.signbit(others).astype(np.uint32) << 9
    return (largest.astype(np.uint32) << 30 | fields[:, 0] << 20 | fields[:, 1] << 10 | fields[:, 2]).astype("<u4")


def _harmonic_bytes(sh: Floats) -> Bytes:
    """Bytes [N, K - 1, 3], rounded to 5 bits in degree 1 and to 4 above, as the format's own writer does: they compress better."""
    result = np.empty((len(sh), sh.shape[1] - 1, 3), np.uint8)
    for part, step in ((slice(0, 3), 8), (slice(3, None), 16)):
        result[:, part] = np.clip(np.rint((sh[:, 1:][:, part] * np.float32(128) + 128) / step) * step, 0, 255)
    return result


def recognises(data: bytes | memoryview) -> bool:
    """Whether these are the first bytes of an spz file (any gzip file could be one)."""
    return bytes(data[:4]) == spz_container.MAGIC or bytes(data[:2]) == spz_container.GZIP
