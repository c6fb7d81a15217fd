"""mkkellogg's `.ksplat` (GaussianSplats3D), version 0.1, compression levels 0 to 2. Its numbers are those of a ply: no axis turns.

A header of 4096 bytes, `maxSectionCount` section headers of 1024, then the sections: sizes of the partly filled buckets, centres of
all buckets, records. Level 0 holds floats; 1 and 2 hold positions as 16-bit steps from the centre of their bucket, and halves; harmonics
above degree 0 are bytes in level 2. Scales are linear. Within a record the harmonics go degree by degree, and in each degree all
of red, then green, then blue. The header's scene centre says where the writer began to sort: positions are not relative to it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splatview import harmonics
from splatview.arrays import Floats
from splatview.formats.packing import BLOCK, LOGITS, dc_from_colours
from splatview.formats.report import Report
from splatview.gaussians import Gaussians, concatenate

Data = bytes | memoryview

_HEADER = struct.Struct("<BB2xIIIIH2x12xff")  # 44 bytes of 4096: version, sections (most, used), splats (most, used), level, SH range
_SECTION = struct.Struct("<IIIIfH2xI4xIIH")  # 42 bytes of 1024
_HEADER_BYTES, _SECTION_BYTES, _CENTRE_BYTES = 4096, 1024, 12
_SH_RANGE = 1.5  # where the header gives none
_STEPS = 32767  # of half a block, where the section gives none
_SMALLEST = np.float32(1e-30)  # stands for a scale of zero, whose logarithm is no number
MAX_DEGREE = 3


@dataclass(frozen=True)
class _Header:
    most_sections: int
    count: int
    level: int
    sh_range: tuple[float, float]  # of the bytes of level 2

    @staticmethod
    def of(data: Data) -> _Header:
        if len(data) < _HEADER_BYTES:
            raise ValueError(f"ksplat: expected a header of {_HEADER_BYTES} bytes, but the file has {len(data)}")
        major, minor, most_sections, _, _, count, level, low, high = _HEADER.unpack_from(data)
        if major != 0 or minor < 1:
            raise ValueError(f"ksplat: expected version 0.1, got {major}.{minor}: not a .ksplat file, or one of another version")
        if level > 2:
            raise ValueError(f"ksplat: expected compression level 0, 1 or 2, got {level}")
        if count == 0:
            raise ValueError("ksplat: expected at least one Gaussian, found none")
        if most_sections > (len(data) - _HEADER_BYTES) // _SECTION_BYTES:
            raise ValueError(f"ksplat: expected headers of {most_sections} sections, but the file ends before")
        low, high = low or -_SH_RANGE, high or _SH_RANGE
        if not (np.isfinite([low, high]).all() and low < high):
            raise ValueError(f"ksplat: expected a finite range of spherical harmonics, got {low} to {high}")
        return _Header(most_sections, count, level, (low, high))


@dataclass(frozen=True)
class _Section:
    count: int
    room: int  # records that the file has space for; only the first `count` are Gaussians
    capacity: int  # of a bucket
    buckets: int
    step: float  # of a position, scene units
    steps: int  # that stand for half a block: the 16-bit zero
    centre_bytes: int
    full: int  # buckets
    partial: int
    degree: int

    @staticmethod
    def of(data: Data, index: int) -> _Section:
        fields = _SECTION.unpack_from(data, _HEADER_BYTES + index * _SECTION_BYTES)
        count, room, capacity, buckets, block, centre_bytes, steps, full, partial, degree = fields
        steps = steps or _STEPS
        if count > room:
            raise ValueError(f"ksplat: expected at most {room} Gaussians in section {index}, got {count}")
        if degree > MAX_DEGREE:
            raise ValueError(f"ksplat: expected spherical harmonics of degree 0 to {MAX_DEGREE}, got {degree}")
        if not np.isfinite(block):
            raise ValueError(f"ksplat: expected a finite block size in section {index}, got {block}")
        return _Section(count, room, capacity, buckets, block / 2 / steps, steps, centre_bytes, full, partial, degree)


@np.errstate(all="ignore")  # numbers that are none are refused below
def decode(data: Data, report: Report | None = None) -> Gaussians:
    """Read a `.ksplat` file; ValueError if it is not one, or is damaged."""
    report = report or Report()
    header = _Header.of(data)
    at, parts = _HEADER_BYTES + header.most_sections * _SECTION_BYTES, []
    for index in range(header.most_sections):
        section = _Section.of(data, index)
        record = _record(header.level, section.degree)
        tables = 4 * section.partial + section.centre_bytes * section.buckets
        end = at + tables + section.room * record.itemsize
        if end > len(data):
            raise ValueError(f"ksplat: expected section {index} to end at byte {end}, but the file has {len(data)}")
        if section.count:
            records = np.frombuffer(data, record, section.count, at + tables)
            centres = _centres(data, at, section) if header.level else None
            parts.append(_gaussians(records, section, centres, header, report))
        at = end
    found = sum(len(part) for part in parts)
    if found != header.count:
        raise ValueError(f"ksplat: expected {header.count} Gaussians in the sections, found {found}")
    return parts[0] if len(parts) == 1 else concatenate(parts)


def _record(level: int, degree: int) -> np.dtype:
    place, value, harmonic = (("<f4", "<f4", "<f4"), ("<u2", "<f2", "<f2"), ("<u2", "<f2", "u1"))[level]
    rest = 3 * (harmonics.coefficients(degree) - 1)
    start = [("mean", place, 3), ("scale", value, 3), ("quat", value, 4), ("rgb", "u1", 3), ("alpha", "u1")]
    return np.dtype([*start, ("sh", harmonic, (rest,))])


def _centres(data: Data, at: int, section: _Section) -> Floats:
    """The bucket's centre [count, 3] for each record: full buckets come first, then those with a size of their own."""
    if section.centre_bytes != _CENTRE_BYTES or section.full + section.partial > section.buckets:
        raise ValueError(
            f"ksplat: expected {_CENTRE_BYTES} bytes for each of {section.full + section.partial} buckets, "
            f"got {section.centre_bytes} for each of {section.buckets}"
        )
    partial = np.frombuffer(data, "<u4", section.partial, at).astype(np.uint64)
    full = np.full(section.full, section.capacity, np.uint64)
    ends = np.cumsum(np.concatenate([full, partial]))
    if not len(ends) or ends[-1] < section.count:
        raise ValueError(f"ksplat: expected buckets for {section.count} Gaussians, got buckets for {ends[-1] if len(ends) else 0}")
    centres = np.frombuffer(data, "<f4", 3 * section.buckets, at + 4 * section.partial).reshape(-1, 3)
    return centres[np.searchsorted(ends, np.arange(section.count, dtype=np.uint64), "right")]


def _gaussians(records: NDArray, section: _Section, centres: Floats | None, header: _Header, report: Report) -> Gaussians:
    count, size = len(records), harmonics.coefficients(section.degree)
    means, quats, log_scales = np.empty((count, 3), np.float32), np.empty((count, 4), np.float32), np.empty((count, 3), np.float32)
    logits, sh, order = np.empty(count, np.float32), np.empty((count, size, 3), np.float32), _order(section.degree)
    low, high = header.sh_range
    for start in range(0, count, BLOCK):
        rows = slice(start, min(start + BLOCK, count))
        block = records[rows]
        means[rows] = block["mean"] if centres is None else (block["mean"] - float(section.steps)) * section.step + centres[rows]
        quats[rows] = block["quat"]
        log_scales[rows] = np.log(np.maximum(block["scale"].astype(np.float32), _SMALLEST))
        logits[rows] = LOGITS[block["alpha"]]
        sh[rows, 0] = dc_from_colours(block["rgb"] / 255)
        rest = block["sh"] if header.level < 2 else low + block["sh"] * ((high - low) / 255)
        sh[rows, 1:] = rest[:, order].reshape(len(block), size - 1, 3)
        report.progress(start / count, "unpacking Gaussians")
    if not all(np.isfinite(part).all() for part in (means, quats, log_scales, sh)):
        raise ValueError("ksplat: expected finite numbers, found NaN or infinity: the file is damaged")
    return Gaussians(means, quats, log_scales, logits, sh)


def _order(degree: int) -> NDArray:
    """Where in a record each number of Gaussians.sh[1:] stands: coefficient by coefficient, red green blue."""
    order, before = [], 0
    for l in range(1, degree + 1):
        width = 2 * l + 1
        order += [before + channel * width + k for k in range(width) for channel in range(3)]
        before += 3 * width
    return np.array(order, np.intp)
