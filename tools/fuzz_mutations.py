"""Damage for files: anywhere, or within what a container holds, with the container put together again so that the damage gets through.

Everything is drawn from the random generator that is given: the same generator damages the same file in the same way.
"""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import zstandard

Parts = dict[str, bytes]

NUMBERS = [0, 1, 2, -1, 127, 128, 255, 256, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**63 - 1, 2**64 - 1]
FLOATS = [0.0, -0.0, 1e-45, 1e30, -1e30, 3.4e38, float("inf"), float("-inf"), float("nan")]
TEXTS = ["", "0", "-1", "1e999", "nan", "4294967296", "9" * 30, "../../../etc/passwd", "/dev/zero", "\0", "x" * 300, "data:,", "\u2028"]
_DIGITS = re.compile(rb"-?\d+(?:\.\d+)?")
_ENDS = re.compile(rb"end_header\r?\n")
_LARGEST = 1 << 20  # bytes of a damaged file


def damaged(data: bytes, rng: Random) -> bytes:
    """`data` with a little damage, deep within or at its surface."""
    for container in CONTAINERS:
        if container.holds(data) and rng.random() < 0.8:
            try:
                parts = container.opened(data)
            except Exception:  # damaged before: zipfile alone fails in a dozen ways
                continue
            return container.closed(_damaged_parts(parts, rng), rng)[:_LARGEST]
    if data[:1] in (b"{", b"[") and rng.random() < 0.9:
        try:
            return json.dumps(_damaged_tree(json.loads(data), rng)).encode()[:_LARGEST]
        except (ValueError, RecursionError):
            pass
    readable = bool(data) and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in data[:200])
    return rng.choice(_ON_TEXT if readable and rng.random() < 0.8 else _ON_BYTES)(data, rng)[:_LARGEST]


def _damaged_parts(parts: Parts, rng: Random) -> Parts:
    if not parts:
        return parts
    name = rng.choice(list(parts))
    match rng.randrange(16):
        case 0:
            return {key: part for key, part in parts.items() if key != name}
        case 1:
            return {**parts, name: parts[rng.choice(list(parts))]}
        case 2:
            return {**parts, name: b""}
        case _:
            return {**parts, name: damaged(parts[name], rng)}


# --- bytes ----------------------------------------------------------------------------------------------------


def _flip(data: bytes, rng: Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _number(data: bytes, rng: Random) -> bytes:
    """An integer or float somewhere, most likely in its head, becomes an extreme one."""
    layout = rng.choice(("<B", "<H", "<I", "<I", "<Q", ">I", "<f", "<f", "<d"))
    size = struct.calcsize(layout)
    if len(data) < size:
        return data + bytes(size)
    reach = min(len(data), rng.choice((32, 64, 256, len(data)))) - size
    at = rng.randint(0, max(reach, 0))
    at -= at % size * rng.randrange(2)
    if layout[1] in "fd":
        value = struct.pack(layout, rng.choice(FLOATS[:5] + FLOATS[6:] if layout[1] == "f" else FLOATS))
    else:
        value = struct.pack(layout, (rng.choice(NUMBERS) + rng.choice((0, 0, -1, 1))) % 256**size)
    return data[:at] + value + data[at + size :]


def _nudge(data: bytes, rng: Random) -> bytes:
    """A byte one or a few higher or lower: counts that are off by one."""
    at = rng.randrange(max(len(data), 1))
    return data[:at] + bytes([(sum(data[at : at + 1]) + rng.choice((-2, -1, 1, 2, 16))) % 256]) + data[at + 1 :]


def _cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randint(0, len(data))]


def _drop(data: bytes, rng: Random) -> bytes:
    start, stop = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    return data[:start] + data[rng.choice((stop, min(stop, start + 8), start + 1)) :]


def _repeat(data: bytes, rng: Random) -> bytes:
    start, stop = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    return data[:stop] + data[start:stop] * rng.choice((1, 1, 2, 20)) + data[stop:]


def _move(data: bytes, rng: Random) -> bytes:
    """A stretch copied over another place."""
    length = min(rng.choice((1, 2, 4, 8, 16, 64)), len(data))
    source, target = rng.randint(0, len(data) - length), rng.randint(0, len(data) - length)
    return data[:target] + data[source : source + length] + data[target + length :]


def _fill(data: bytes, rng: Random) -> bytes:
    start, length = rng.randint(0, len(data)), rng.choice((1, 4, 16, 64))
    junk = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return data[:start] + junk + data[start + rng.choice((0, length)) :]


_ON_BYTES = (_flip, _flip, _number, _number, _number, _nudge, _cut, _drop, _repeat, _move, _fill)

# --- text -----------------------------------------------------------------------------------------------------


def _number_in_text(data: bytes, rng: Random) -> bytes:
    found = list(_DIGITS.finditer(data))
    if not found:
        return _word(data, rng)
    part = rng.choice(found)
    value = rng.choice((*TEXTS[:7], str(rng.choice(NUMBERS)), str(int(float(part[0])) + rng.choice((-1, 1)))))
    return data[: part.start()] + value.encode() + data[part.end() :]


def _word(data: bytes, rng: Random) -> bytes:
    words = data.split(b" ")
    words[rng.randrange(len(words))] = rng.choice((rng.choice(words), rng.choice(TEXTS).encode()))
    return b" ".join(words)


def _line(data: bytes, rng: Random) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    match rng.randrange(4):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, rng.choice(lines))
        case 2:
            lines[at] = rng.choice(lines)
        case _:
            lines[at] = damaged_line(lines[at], rng)
    return b"\n".join(lines)


def damaged_line(line: bytes, rng: Random) -> bytes:
    return rng.choice((_word, _number_in_text, _flip))(line, rng)


_ON_TEXT = (_number_in_text, _number_in_text, _word, _line, _line, _flip, _cut)

# --- JSON -----------------------------------------------------------------------------------------------------


def _damaged_tree(tree: Any, rng: Random) -> Any:
    """A value somewhere in it becomes another, vanishes, or changes places."""
    places, seen = [], [tree]
    while seen:
        part = seen.pop()
        for key in list(part) if isinstance(part, dict) else range(len(part)):
            places.append((part, key))
            if isinstance(part[key], dict | list):
                seen.append(part[key])
    if not places:
        return rng.choice(([], {}, 0, None))
    part, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del part[key]
        case 1:
            source, name = rng.choice(places)
            part[key] = json.loads(json.dumps(source[name]))
        case 2 if isinstance(part, list):
            part.extend(part[key : key + 1] * rng.choice((1, 300)))
        case 3:
            part[key] = rng.choice((None, True, [], {}, [part[key]], {"a": part[key]}, *TEXTS))
        case _:
            part[key] = _damaged_value(part[key], rng)
    return tree


def _damaged_value(value: Any, rng: Random) -> Any:
    if isinstance(value, str):
        start, comma, content = value.partition("base64,")
        if comma:
            try:
                return start + comma + base64.b64encode(damaged(base64.b64decode(content), rng)).decode()
            except ValueError:
                return value[:-3]
        return rng.choice((damaged_line(value.encode(), rng).decode("utf-8", "replace"), rng.choice(TEXTS)))
    if isinstance(value, int | float) and rng.random() < 0.5:
        return rng.choice((value + 1, value - 1, -value, value * 2, value + 0.5))
    return rng.choice((*NUMBERS, *FLOATS, *(-number for number in NUMBERS)))


# --- containers -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Container:
    """Files within a file."""

    holds: Callable[[bytes], bool]
    opened: Callable[[bytes], Parts]
    closed: Callable[[Parts, Random], bytes]  # with the right sums and sizes


def _unzipped(data: bytes) -> Parts:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def _zipped(parts: Parts, rng: Random) -> bytes:
    stream, method = io.BytesIO(), rng.choice((zipfile.ZIP_STORED,) * 4 + (zipfile.ZIP_DEFLATED,))
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, part in parts.items():
            entry = zipfile.ZipInfo(name)  # of 1980, and so the same each time
            entry.compress_type = method
            archive.writestr(entry, part)
    return stream.getvalue()


def _gzipped(parts: Parts, rng: Random) -> bytes:
    codec = zlib.compressobj(1, zlib.DEFLATED, 31)
    return codec.compress(parts.get("", b"")) + codec.flush()


def _spz_streams(data: bytes) -> Parts:
    """An spz of version 4: its header, and its streams unpacked."""
    count, (table,) = data[15], struct.unpack_from("<I", data, 16)
    at, parts = table + 16 * count, {"header": data[:table]}
    for index in range(count):
        packed, _ = struct.unpack_from("<QQ", data, table + 16 * index)
        parts[str(index)] = zstandard.ZstdDecompressor().decompress(data[at : at + packed], max_output_size=_LARGEST)
        at += packed
    return parts


def _spz_file(parts: Parts, rng: Random) -> bytes:
    streams = [part for name, part in parts.items() if name != "header"]
    packed = [zstandard.ZstdCompressor(1).compress(stream) for stream in streams]
    table = b"".join(struct.pack("<QQ", len(small), len(large)) for small, large in zip(packed, streams, strict=True))
    return parts.get("header", b"") + table + b"".join(packed)


def _glb_chunks(data: bytes) -> Parts:
    parts, at = {}, 12
    while at + 8 <= len(data):
        size, kind = struct.unpack_from("<I4s", data, at)
        parts[kind.decode("latin1")] = data[at + 8 : at + 8 + size].rstrip(b" ") if kind == b"JSON" else data[at + 8 : at + 8 + size]
        at += 8 + size
    return parts


def _glb_file(parts: Parts, rng: Random) -> bytes:
    chunks = b""
    for kind, part in parts.items():
        part += (b" " if kind == "JSON" else b"\0") * (-len(part) % 4)
        chunks += struct.pack("<I4s", len(part), kind.encode("latin1")) + part
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _ply_parts(data: bytes) -> Parts:
    end = _ENDS.search(data)
    at = end.end() if end else len(data)
    return {"header": data[:at], "rows": data[at:]}


def _ksplat_parts(data: bytes) -> Parts:
    """The used part of its header, of its first section's header, and the section."""
    return {"0": data[:44], "1": data[44:4096], "2": data[4096:4138], "3": data[4138:5120], "4": data[5120:]}


def _joined(parts: Parts, rng: Random) -> bytes:
    return b"".join(parts.values())


CONTAINERS = (
    Container(lambda data: data.startswith(b"PK\x03\x04"), _unzipped, _zipped),
    Container(lambda data: data.startswith(b"\x1f\x8b"), lambda data: {"": zlib.decompressobj(31).decompress(data, _LARGEST)}, _gzipped),
    Container(lambda data: data.startswith(b"NGSP\x04"), _spz_streams, _spz_file),
    Container(lambda data: data.startswith(b"glTF"), _glb_chunks, _glb_file),
    Container(lambda data: data.startswith(b"ply"), _ply_parts, _joined),
    Container(lambda data: len(data) > 5120 and data.startswith(b"\0\1"), _ksplat_parts, _joined),
)
