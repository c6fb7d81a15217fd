"""The `.spz` container: header and planes of bytes <-> file, with every size checked before memory is taken.

v1 to v3: gzip (or nothing) around a 16-byte header and the planes. v4: a plain 32-byte header, a table of
(compressed, plain) sizes, one zstd stream per plane.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
import zstandard

from splatview import harmonics
from splatview.arrays import Bytes
from splatview.formats.report import Report

MAGIC = b"NGSP"
GZIP = b"\x1f\x8b"
ANTIALIASED, EXTENDED = 1, 2  # flags
_HEADER = struct.Struct("<4sIIBBBB")
_TABLE = struct.Struct("<I12x")  # after the header, in v4
_PIECE = 1 << 20  # bytes handed to a codec at once
_SMALL, _RATIO = 1 << 26, 200  # what a file may expand to: 64 MiB, or this many times its size (real scenes: 1.2 to 5)


@dataclass(frozen=True)
class Header:
    version: int
    count: int
    degree: int
    fraction_bits: int
    flags: int

    def __post_init__(self) -> None:
        if not 1 <= self.version <= 4:
            raise ValueError(f"spz: expected version 1 to 4, got {self.version}")
        if self.count == 0:
            raise ValueError("spz: expected at least one Gaussian, found none")
        if self.degree > (4 if self.version == 4 else 3):
            raise ValueError(f"spz: expected spherical harmonics of degree 0 to {4 if self.version == 4 else 3}, got {self.degree}")
        if self.fraction_bits > 24:
            raise ValueError(f"spz: expected at most 24 fraction bits, got {self.fraction_bits}")

    @property
    def sizes(self) -> list[int]:
        """Bytes of each plane: positions, alphas, colours, scales, rotations, harmonics."""
        rest = 3 * (harmonics.coefficients(self.degree) - 1)
        widths = [6 if self.version == 1 else 9, 1, 3, 3, 4 if self.version >= 3 else 3, rest]
        return [self.count * width for width in widths]


def unpack(data: bytes | memoryview, report: Report) -> tuple[Header, list[Bytes]]:
    """The header and the six planes of a file; ValueError if anything does not fit."""
    if data[:4] == MAGIC:
        header, table = _header(data)
        if header.version == 4:
            return header, _zstd_planes(data, header, table, report)
        body = np.frombuffer(data, np.uint8)[_HEADER.size :]
        _expect(len(body), header)
        return header, _split(body, header, report)
    if data[:2] != GZIP:
        raise ValueError(f"spz: expected a file that starts with 'NGSP' or gzip, got {bytes(data[:4])!r}")
    return _gzip_planes(data, report)


def pack(header: Header, planes: list[Bytes], report: Report) -> bytes:
    """The file with these planes."""
    start = _HEADER.pack(MAGIC, header.version, header.count, header.degree, header.fraction_bits, header.flags, 0)
    total = sum(header.sizes)
    if header.version < 4:
        codec = zlib.compressobj(6, zlib.DEFLATED, 31)
        parts, done = [codec.compress(start)], 0
        for plane in planes:
            for at in range(0, len(plane), _PIECE):
                parts.append(codec.compress(plane[at : at + _PIECE].data))
                report.progress(0.3 + 0.7 * (done + at) / total, "compressing")
            done += len(plane)
        return b"".join([*parts, codec.flush()])
    codec = zstandard.ZstdCompressor(level=12, threads=-1, write_checksum=True)
    planes = [plane for plane in planes if len(plane)]
    streams, done = [], 0
    for plane in planes:
        streams.append(codec.compress(plane.data))
        done += len(plane)
        report.progress(0.3 + 0.7 * done / total, "compressing")
    table = [struct.pack("<QQ", len(stream), len(plane)) for stream, plane in zip(streams, planes, strict=True)]
    start = start[:-1] + bytes([len(planes)]) + _TABLE.pack(_HEADER.size + _TABLE.size)
    return b"".join([start, *table, *streams])


def _header(data: bytes | memoryview) -> tuple[Header, int]:
    """The header, and its last byte: the number of streams in v4."""
    if len(data) < _HEADER.size:
        raise ValueError(f"spz: expected a header of {_HEADER.size} bytes, but the file ends after {len(data)}")
    magic, version, count, degree, bits, flags, last = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise ValueError(f"spz: expected a header that starts with 'NGSP', got {magic!r}")
    return Header(version, count, degree, bits, flags), last


def _expect(found: int, header: Header) -> None:
    wanted = f"expected {sum(header.sizes)} bytes for {header.count} Gaussians of degree {header.degree}"
    if found < sum(header.sizes):
        raise ValueError(f"spz: {wanted}, but the file ends after {found}")
    if found > sum(header.sizes) and not header.flags & EXTENDED:
        raise ValueError(f"spz: {wanted}, but more follow")


def _split(body: Bytes, header: Header, report: Report) -> list[Bytes]:
    if header.flags & EXTENDED:
        report.note("spz: extensions of the file were dropped")
    ends = np.cumsum(header.sizes)
    return [body[end - size : end] for end, size in zip(ends, header.sizes, strict=True)]


def _allowed(wanted: int, packed: int) -> None:
    """ValueError if so many bytes are more than a scene of that file size could unpack to."""
    if wanted > max(_SMALL, _RATIO * packed):
        raise ValueError(f"spz: the header asks for {wanted} bytes, which {packed} compressed bytes cannot honestly hold")


def _gzip_planes(data: bytes | memoryview, report: Report) -> tuple[Header, list[Bytes]]:
    codec = zlib.decompressobj(31)
    header, body, filled = None, np.empty(0, np.uint8), 0
    try:
        for at in range(0, len(data), _PIECE):
            piece = data[at : at + _PIECE]
            if header is None:
                start = codec.decompress(piece, _HEADER.size)
                header, _ = _header(start)
                _allowed(sum(header.sizes), len(data))
                body, piece = np.empty(sum(header.sizes), np.uint8), codec.unconsumed_tail
            # One byte more than is wanted tells a file with too much in it; extensions are not unpacked at all.
            plain = codec.decompress(piece, len(body) - filled + 1)
            used = plain[: len(body) - filled]
            body[filled : filled + len(used)] = np.frombuffer(used, np.uint8)
            filled += len(used)
            report.progress(0.5 * at / len(data), "decompressing")
            if len(plain) > len(used):
                _expect(len(body) + 1, header)
                return header, _split(body, header, report)
    except zlib.error as error:
        raise ValueError(f"spz: the gzip data is damaged: {error}") from None
    if header is None:
        raise ValueError("spz: expected gzip data, got an empty file")
    _expect(filled, header)
    if not codec.eof:
        raise ValueError("spz: the gzip data is cut short")
    return header, _split(body, header, report)


def _zstd_planes(data: bytes | memoryview, header: Header, count: int, report: Report) -> list[Bytes]:
    fixed = _HEADER.size + _TABLE.size
    if len(data) < fixed:
        raise ValueError(f"spz: expected a header of {fixed} bytes, but the file ends after {len(data)}")
    (table,) = _TABLE.unpack_from(data, _HEADER.size)
    at = table + 16 * count
    if table < fixed or at > len(data):
        raise ValueError(f"spz: expected a table of {count} streams within the file, got one at byte {table} of {len(data)}")
    if header.flags & EXTENDED or table > fixed:
        report.note("spz: extensions of the file were dropped")
    wanted = header.sizes
    _allowed(sum(wanted), len(data))
    if not 6 - wanted.count(0) <= count:
        raise ValueError(f"spz: expected {6 - wanted.count(0)} streams, got {count}")
    sizes = list(struct.iter_unpack("<QQ", data[table:at]))
    codec, planes = zstandard.ZstdDecompressor(), []
    for index, size in enumerate(wanted):
        packed, plain = sizes[index] if index < count else (0, 0)
        if plain != size or packed > len(data) - at:
            raise ValueError(f"spz: expected {size} bytes in stream {index}, got {plain} from {packed} of {len(data) - at} that follow")
        planes.append(_zstd_plane(codec, data[at : at + packed], size, index) if size else np.empty(0, np.uint8))
        at += packed
        report.progress(0.5 * (index + 1) / len(wanted), "decompressing")
    return planes


def _zstd_plane(codec: zstandard.ZstdDecompressor, data: bytes | memoryview, size: int, index: int) -> Bytes:
    plane, filled = np.empty(size, np.uint8), 0
    try:
        with codec.stream_reader(data) as reader:
            while filled < size and (got := reader.readinto(plane[filled:].data)):
                filled += got
            more = reader.read(1)
    except zstandard.ZstdError as error:
        raise ValueError(f"spz: stream {index} is damaged: {error}") from None
    if filled < size or more:
        raise ValueError(f"spz: expected {size} bytes in stream {index}, got {'more' if more else filled}")
    return plane
