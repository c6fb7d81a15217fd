"""Buffers that are embedded in the JSON of a `.gltf`: taken out of it before it is parsed, and decoded when they are asked for."""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence

MOST_JSON = 1 << 23  # bytes, embedded buffers aside: in Python each may become twenty
MOST_BUFFERS = 1000
_PIECE = 1 << 16  # bytes that are looked through at once
_START = re.compile(rb'"data:')
_NUMBER = re.compile(r"data:#([0-9]{1,9})")  # what stands for an embedded buffer in the JSON
_QUOTE, _BACKSLASH = b'"'[0], b"\\"[0]


def without_embedded(data: memoryview) -> tuple[bytes, tuple[memoryview, ...]]:
    """The JSON of a .gltf with a number instead of each data URI, and the URIs: they are most of the file, and stay as they are."""
    parts, uris, at, kept = [], [], 0, 0
    found = _START.search(data)
    while found and kept + found.start() - at <= MOST_JSON:
        start, end = found.start(), _end(data, found.end())
        if end < len(data) and data[end] == _QUOTE and not (start and data[start - 1] == _BACKSLASH):
            if len(uris) == MOST_BUFFERS:
                raise ValueError(f"glTF: expected at most {MOST_BUFFERS} embedded buffers and pictures, found more")
            parts += [data[at:start], b'"data:#%d"' % len(uris)]
            kept += start - at
            uris.append(data[start + 1 : end])
            at = end + 1
        found = _START.search(data, end + 1)
    if kept + len(data) - at > MOST_JSON:
        raise ValueError(f"glTF: expected at most {MOST_JSON} bytes of JSON beside embedded buffers, found more")
    return b"".join([*parts, data[at:]]), tuple(uris)


def _end(data: memoryview, at: int) -> int:
    """Where the first quote or backslash from `at` on stands; the end if there is none. A hundred times faster than an expression."""
    size = 64
    while at < len(data):
        piece = bytes(data[at : at + size])
        if ends := [place for place in (piece.find(b'"'), piece.find(b"\\")) if place >= 0]:
            return at + min(ends)
        at, size = at + len(piece), min(2 * size, _PIECE)
    return len(data)


def decoded(uri: str, embedded: Sequence[memoryview]) -> memoryview:
    """The bytes of a data URI, or of the one in `embedded` whose number it is; ValueError if it is not base64."""
    number = _NUMBER.fullmatch(uri)
    known = number and int(number[1]) < len(embedded)
    whole = embedded[int(number[1])] if number and known else memoryview(uri.encode())
    head, comma, _ = bytes(whole[:200]).partition(b",")
    if not comma or not head.endswith(b";base64"):
        raise ValueError(f"glTF: expected a data URI in base64, found {bytes(whole[:40])!r}")
    try:
        return memoryview(binascii.a2b_base64(whole[len(head) + 1 :], strict_mode=True))
    except binascii.Error as error:
        raise ValueError(f"glTF: an embedded buffer is not base64 ({error})") from None
