"""The PLY container: bytes <-> named tables, through plyfile (GPL-3.0-or-later, imported in this file alone).

plyfile reads the header and writes; the rows of a binary file are taken as they lie, without a copy, and those of
an ascii file are read by numpy, since plyfile reads row by row.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement, PlyListProperty, PlyParseError

from splatview.formats.files import FileBytes

Data = bytes | memoryview | FileBytes

MAX_HEADER = 1 << 20  # bytes; a file of degree 4 needs 2 KiB
_END = re.compile(rb"(?:\r\n|\r|\n)end_header(\r\n|\r|\n)")
_ELEMENT = re.compile(r"^([ \t]*element[ \t]+\S+[ \t]+)(\S+)", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Rows:
    """A structured array [N] that lies in a file: a slice of it is read when it is asked for."""

    data: FileBytes
    dtype: np.dtype
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, part: slice) -> NDArray:
        start, stop, _ = part.indices(self.count)
        size = self.dtype.itemsize
        return np.frombuffer(self.data[start * size : stop * size].read(), self.dtype)


@dataclass(frozen=True, eq=False)
class Ply:
    """What a PLY file holds."""

    tables: Mapping[str, NDArray | Rows]  # structured arrays [N] by element name
    comments: tuple[str, ...]
    unread: tuple[str, ...] = ()  # elements behind the vertices that hold lists (the faces of a mesh), or follow one that does


def read(data: Data) -> Ply:
    """The tables of a PLY file, binary ones as views of `data`; ValueError if it is not one or is cut short."""
    head = bytes(data[:MAX_HEADER])
    end = _END.search(head)
    if not head.startswith(b"ply") or end is None:
        raise ValueError("ply: expected a header that starts with 'ply' and ends with 'end_header', found none")
    # Comments may hold anything, while plyfile wants ascii and one kind of line end.
    text = "\n".join(head[: end.end()].decode("ascii", "replace").replace("\ufffd", "?").splitlines()) + "\n"
    # Without rows plyfile reads the header and stops there: no count is believed before it is held against the file.
    counts = [_count(found) for _, found in _ELEMENT.findall(text)]
    try:
        header = PlyData.read(io.BytesIO(_ELEMENT.sub(r"\g<1>0", text).encode()))
    except (PlyParseError, ValueError) as error:
        raise ValueError(f"ply: bad header: {error}") from None
    take = _ascii_table if header.text else _binary_table
    tables, rest = {}, data[end.end() :]
    for element, count in zip(header.elements, counts, strict=True):
        if any(isinstance(entry, PlyListProperty) for entry in element.properties):
            if "vertex" in tables:
                break
            raise ValueError(f"ply: expected a table of numbers, but element '{element.name}' has lists: a mesh, not a Gaussian scene")
        tables[element.name], rest = take(element.name, element.dtype(header.byte_order), count, rest)
    comments = [*header.comments, *(comment for element in header.elements for comment in element.comments)]
    return Ply(tables, tuple(comments), tuple(element.name for element in header.elements[len(tables) :]))


def write(tables: Mapping[str, NDArray], comments: tuple[str, ...] = ()) -> memoryview:
    """A binary little-endian PLY file with these structured arrays."""
    stream = io.BytesIO()
    elements = [PlyElement.describe(table, name) for name, table in tables.items()]
    PlyData(elements, byte_order="<", comments=list(comments)).write(stream)
    return stream.getbuffer()


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise ValueError(f"ply: expected a number of rows in the header, got '{text[:40]}'")
    return int(text)


def _binary_table(name: str, dtype: np.dtype, count: int, data: Data) -> tuple[NDArray | Rows, Data]:
    size = count * dtype.itemsize
    if size > len(data):
        raise ValueError(f"ply: expected {count} rows of {dtype.itemsize} bytes in element '{name}', but only {len(data)} bytes follow")
    if isinstance(data, FileBytes):
        return Rows(data[:size], dtype, count), data[size:]
    return np.frombuffer(data, dtype, count), data[size:]


def _ascii_table(name: str, dtype: np.dtype, count: int, data: Data) -> tuple[NDArray, Data]:
    if count == 0 or not dtype.names:
        return np.empty(0, dtype), data
    whole = bytes(data)
    stream = io.BytesIO(whole)
    lines = itertools.islice((line for line in stream if line.decode("latin-1").strip()), count)
    try:
        with np.errstate(all="ignore"):
            first = next(lines, None)  # numpy warns of no rows at all
            table = np.empty(0, dtype) if first is None else np.loadtxt(itertools.chain([first], lines), dtype, comments=None, ndmin=1)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"ply: bad row in element '{name}': {error}") from None
    if len(table) < count:
        raise ValueError(f"ply: expected {count} rows in element '{name}', but the file ends after {len(table)}")
    return table, whole[stream.tell() :]


def recognises(data: bytes | memoryview) -> bool:
    """Whether these are the first bytes of a PLY file."""
    return bytes(data[:4]) in (b"ply\n", b"ply\r")
