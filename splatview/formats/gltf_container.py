"""The glTF 2.0 container: `.glb` and `.gltf` <-> a JSON document and the numbers that its accessors name.

A `.glb` is a JSON chunk and one binary chunk; a `.gltf` is the JSON, its buffers base64 within or files beside it. Numbers are read
from the file when they are asked for. Nothing that the JSON says is believed: every count, offset and index is held against the bytes.
"""

from __future__ import annotations

import contextlib
import re
import struct
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from splatview.arrays import Floats
from splatview.formats.files import FileBytes, Source
from splatview.formats.gltf_embedded import MOST_BUFFERS, MOST_JSON, decoded, without_embedded
from splatview.formats.gltf_json import Json, entry, mapping, parsed, shown, whole

Data = memoryview | FileBytes

MAGIC = b"glTF"
HEADER, CHUNK = struct.Struct("<4sII"), struct.Struct("<I4s")
JSON_CHUNK, BIN_CHUNK = b"JSON", b"BIN\0"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


@dataclass(frozen=True, eq=False)
class Accessor:
    """A table of numbers [count, width] in a buffer, made float when it is read."""

    data: Data  # from the first number on
    dtype: np.dtype
    count: int
    width: int
    stride: int  # bytes from row to row
    normalised: bool  # whole numbers stand for 0..1, or -1..1

    def rows(self, part: slice) -> Floats:
        """Some rows [n, width]."""
        start, stop, _ = part.indices(self.count)
        end = (stop - 1) * self.stride + self.width * self.dtype.itemsize
        content = in_memory(self.data[start * self.stride : end])
        table = np.ndarray((stop - start, self.width), self.dtype, content, strides=(self.stride, self.dtype.itemsize))
        if not self.normalised:
            return table.astype(np.float32)
        values = table / np.float32(np.iinfo(self.dtype).max)
        return np.maximum(values, -1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Document:
    """A glTF file that is open."""

    json: Json
    binary: Data | None  # the chunk of a .glb
    embedded: tuple[memoryview, ...]  # data URIs of a .gltf, as they stand there; its JSON has their numbers instead
    source: Source
    open_files: contextlib.ExitStack
    _buffers: dict[str, Data] = field(default_factory=dict)  # by URI

    def view(self, index: object) -> tuple[Data, int]:
        """The bytes of buffer view `index`, and how far apart rows lie in it (0: as they come)."""
        view = entry(self.json, "bufferViews", index)
        if found := [name for name in mapping(view, "extensions") if "compression" in name]:
            raise ValueError(f"glTF: expected plain buffers, found {shown(found[0])}: export without compression")
        buffer = self._buffer(whole(view, "buffer"))
        start, length = whole(view, "byteOffset", 0), whole(view, "byteLength")
        if start + length > len(buffer):
            raise ValueError(f"glTF: expected buffer view {index} to end at byte {start + length}, but its buffer has {len(buffer)}")
        return buffer[start : start + length], whole(view, "byteStride", 0, 252)

    def accessor(self, index: object, what: str, *types: str) -> Accessor:
        """Accessor `index`, which must have one of `types`; `what` it is for goes into messages."""
        accessor = entry(self.json, "accessors", index)
        kind, component, normalised = accessor.get("type"), accessor.get("componentType"), accessor.get("normalized", False)
        if kind not in types:
            raise ValueError(f"glTF: expected {' or '.join(types)} for {what}, found {shown(kind)}")
        if type(component) is not int or component not in _COMPONENTS or not isinstance(normalised, bool):
            raise ValueError(f"glTF: expected a known component type for {what}, found {shown(component)}")
        if "sparse" in accessor or "bufferView" not in accessor:
            raise ValueError(f"glTF: expected the numbers of {what} in a buffer view; sparse and empty accessors are not read")
        data, stride = self.view(accessor["bufferView"])
        dtype, width, count = np.dtype(_COMPONENTS[component]), _WIDTHS[kind], whole(accessor, "count")
        start, size = whole(accessor, "byteOffset", 0), width * dtype.itemsize
        if stride and stride < size:
            raise ValueError(f"glTF: expected rows of {size} bytes for {what}, found rows {stride} bytes apart")
        stride = stride or size
        if count == 0 or start + (count - 1) * stride + size > len(data):
            raise ValueError(f"glTF: expected {count} rows of {size} bytes for {what}, at least one; its buffer view has {len(data)} bytes")
        return Accessor(data[start:], dtype, count, width, stride, normalised and dtype.kind != "f")

    @property
    def size(self) -> int:
        """Bytes of all buffers that were opened."""
        return sum(len(buffer) for buffer in self._buffers.values())

    def _buffer(self, index: int) -> Data:
        buffer = entry(self.json, "buffers", index)
        uri = buffer.get("uri", "")
        if not isinstance(uri, str):
            raise ValueError(f"glTF: expected an address as 'uri' of buffer {index}, found {shown(uri)}")
        if uri not in self._buffers:
            if len(self._buffers) == MOST_BUFFERS:
                raise ValueError(f"glTF: expected at most {MOST_BUFFERS} buffers, found more")
            self._buffers[uri] = self._opened(uri)
        content, length = self._buffers[uri], whole(buffer, "byteLength")
        if length > len(content):
            raise ValueError(f"glTF: expected {length} bytes in buffer {index}, found {len(content)}")
        return content[:length]

    def _opened(self, uri: str) -> Data:
        if not uri:
            if self.binary is None:
                raise ValueError("glTF: expected a binary chunk for a buffer without 'uri', found none")
            return self.binary
        if uri.startswith("data:"):
            return decoded(uri, self.embedded)
        if _SCHEME.match(uri):
            raise ValueError(f"glTF: expected a buffer within the file or a file beside it, found the address {shown(uri)}")
        try:
            return self.open_files.enter_context(self.source.beside(urllib.parse.unquote(uri)))
        except (OSError, RuntimeError, UnicodeError) as error:
            raise ValueError(f"glTF: cannot open the buffer {shown(uri)}, which belongs beside the file ({type(error).__name__})") from None


@contextlib.contextmanager
def opened(source: Source) -> Iterator[Document]:
    """The document in a `.glb` or `.gltf`; ValueError if it is neither, or does not hold together."""
    binary, embedded = None, ()
    if recognises(bytes(source.data[:4])):
        text, binary = _chunks(source.data)
    else:
        text, embedded = without_embedded(source.data.read())
    document = parsed(text)
    version = mapping(document, "asset").get("version")
    if not isinstance(version, str) or not version.startswith("2."):
        raise ValueError(f"glTF: expected a file of version 2, found version {shown(version)}")
    with contextlib.ExitStack() as open_files:
        yield Document(document, binary, embedded, source, open_files)


def recognises(data: bytes) -> bool:
    """Whether these are the first bytes of a .glb."""
    return data[:4] == MAGIC


def _chunks(data: FileBytes) -> tuple[bytes, FileBytes | None]:
    """The JSON and the binary chunk of a .glb."""
    start = bytes(data[: HEADER.size + CHUNK.size])
    if len(start) < HEADER.size + CHUNK.size:
        raise ValueError(f"glb: expected a header of {HEADER.size + CHUNK.size} bytes, found {len(start)}")
    _, version, length = HEADER.unpack_from(start)
    size, kind = CHUNK.unpack_from(start, HEADER.size)
    if version != 2:
        raise ValueError(f"glb: expected version 2, found version {version}")
    if length > len(data):
        raise ValueError(f"glb: expected {length} bytes, but the file has {len(data)}")
    if kind != JSON_CHUNK or size > min(MOST_JSON, length - len(start)):
        raise ValueError(f"glb: expected a JSON chunk of at most {MOST_JSON} bytes within the file, found {size} bytes of {kind!r}")
    rest = data[len(start) + size : length]
    if len(rest) < CHUNK.size:
        return bytes(data[len(start) : len(start) + size]), None
    bin_size, kind = CHUNK.unpack(bytes(rest[: CHUNK.size]))
    if bin_size > len(rest) - CHUNK.size:
        raise ValueError(f"glb: expected a chunk of {bin_size} bytes, but the file ends after {len(rest) - CHUNK.size}")
    return bytes(data[len(start) : len(start) + size]), rest[CHUNK.size : CHUNK.size + bin_size] if kind == BIN_CHUNK else None


def in_memory(data: Data) -> memoryview:
    """The bytes of a piece of a buffer."""
    return data.read() if isinstance(data, FileBytes) else data
