"""The tensors of a PyTorch checkpoint (`.pt`, `.pth`, `.ckpt`), without PyTorch and without running what the file says.

Layout: a zip of `NAME/data.pkl` (a pickle of everything but the numbers), `NAME/data/KEY` (the numbers of one storage, stored plainly) and
`NAME/byteorder`. A tensor is a view of a storage by offset, shape and strides; it is read when it is asked for.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from splatview.formats import pickled
from splatview.formats.archive import MAGIC, Archive
from splatview.formats.files import FileBytes

Order = Literal["<", ">", "|", "="]  # of bytes, as numpy writes it

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the first bytes of the format before PyTorch 1.6
_BFLOAT16 = "bfloat16"
_TYPES = {  # by storage class; bool is kept as bytes, of which any but 0 is true
    "torch.DoubleStorage": "f8",
    "torch.FloatStorage": "f4",
    "torch.HalfStorage": "f2",
    "torch.BFloat16Storage": _BFLOAT16,
    "torch.LongStorage": "i8",
    "torch.IntStorage": "i4",
    "torch.ShortStorage": "i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?",
}
_SMALL = 1 << 20  # elements that a tensor may have beyond its storage's, by a stride of 0
_MOST_AXES = 32
_LONGEST_TEXT = 64  # of what is copied: a pickle may refer to the same text many times


@dataclass(frozen=True)
class Storage:
    """Numbers that lie in one entry of the file."""

    archive: Archive
    entry: str
    type: str
    order: Order
    count: int
    limit: int  # bytes, those of the file

    def read(self) -> NDArray:
        dtype = np.dtype({_BFLOAT16: "u2", "?": "u1"}.get(self.type, self.type)).newbyteorder(self.order)
        size = self.count * dtype.itemsize
        if size > self.limit:
            raise ValueError(f"checkpoint: expected {size:,} bytes in {self.entry!r}, which a file of {self.limit:,} bytes cannot hold")
        data = self.archive.read(self.entry, self.limit)
        if len(data) != size:
            raise ValueError(f"checkpoint: expected {size:,} bytes in {self.entry!r}, found {len(data):,}")
        values = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="), copy=False)
        if self.type == _BFLOAT16:  # the upper half of a float32
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values != 0 if self.type == "?" else values


@dataclass(frozen=True)
class Tensor:
    """A tensor that still lies in the file."""

    storage: Storage
    offset: int  # elements
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # elements

    def read(self) -> NDArray:
        """Its numbers [shape], bfloat16 as float32; ValueError if the file does not hold them."""
        values = self.storage.read()
        strides = tuple(step * values.itemsize for step in self.strides)
        if not prod(self.shape):  # a view of nothing may start and step anywhere
            return np.empty(self.shape, values.dtype)
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides, writeable=False)


def read(data: FileBytes) -> Any:
    """What was saved: dicts, lists, tuples and plain values, with a Tensor for every tensor. ValueError if it is no checkpoint."""
    head = bytes(data[:16])
    if head.startswith(LEGACY):
        raise ValueError(
            "checkpoint: expected the zip format of PyTorch 1.6 and later, found the older one: "
            "load it with a current PyTorch and save it again (torch.save(torch.load(old), new))"
        )
    if not head.startswith(MAGIC):
        raise ValueError("checkpoint: expected a zip file as torch.save writes it, found something else")
    archive = Archive(data)
    pickles = [name for name in archive.names if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise ValueError(f"checkpoint: expected one entry 'data.pkl' in the zip file, found {len(pickles)}")
    root = pickles[0].removesuffix("data.pkl")
    order = archive.read(root + "byteorder", 16) if root + "byteorder" in archive.names else b"little"
    if order not in (b"little", b"big"):
        raise ValueError(f"checkpoint: expected the byte order 'little' or 'big', found {order!r}")

    def storage(reference: Any) -> Storage:
        match reference:
            case ("storage", pickled.Name(kind), str(key), _, int(count)) if kind in _TYPES and count >= 0 and len(key) <= _LONGEST_TEXT:
                return Storage(archive, f"{root}data/{key}", _TYPES[kind], "<" if order == b"little" else ">", count, len(data))
            case ("storage", pickled.Name(kind), *_):
                raise ValueError(f"checkpoint: expected storages of real numbers, found {kind[:100]!r}")
        raise ValueError("checkpoint: damaged: a reference to something that is no storage")

    return pickled.parse(archive.read(pickles[0], pickled.MOST_BYTES), _KNOWN, storage)


def recognises(head: bytes) -> bool:
    """Whether these are the first bytes of a file that torch.save wrote; its pickle comes first."""
    if not head.startswith(MAGIC) or len(head) < 30:
        return head.startswith(LEGACY)
    (length,) = struct.unpack_from("<H", head, 26)
    return head[30 : 30 + length].rpartition(b"/")[2] == b"data.pkl"


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    view = [part for part in ((offset,), shape, strides) if isinstance(part, tuple) and len(part) <= _MOST_AXES]
    whole = len(view) == 3 and len(shape) == len(strides) and all(type(n) is int and n >= 0 for part in view for n in part)
    if not isinstance(storage, Storage) or not whole:
        raise ValueError("checkpoint: expected a tensor with offset, shape and strides of whole numbers from 0, found others")
    elements = prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if elements and last >= storage.count:
        raise ValueError(
            f"checkpoint: a tensor of shape {list(shape)} from element {offset} on goes beyond the {storage.count} in {storage.entry!r}"
        )
    if elements > max(storage.count, _SMALL):
        raise ValueError(f"checkpoint: expected at most {storage.count} elements in a tensor of {storage.entry!r}, found {elements}")
    return Tensor(storage, offset, shape, strides)


@dataclass(frozen=True)
class _NumpyType:
    """The type of a numpy scalar: optimisers and schedulers keep some."""

    code: str
    order: Order = "="

    def with_state(self, state: Any) -> _NumpyType:
        match state:
            case (_, ("<" | ">" | "|" | "=") as order, *_):
                return _NumpyType(self.code, order)
        raise ValueError("checkpoint: damaged: a numpy type with an unknown state")


def _numpy_type(code: Any, *_: Any) -> _NumpyType:
    if code not in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"):
        raise ValueError("checkpoint: expected numpy scalars of real numbers, found others")
    return _NumpyType(code)


def _numpy_scalar(kind: Any, data: Any) -> float | int | bool:
    dtype = np.dtype(kind.code).newbyteorder(kind.order) if isinstance(kind, _NumpyType) else None
    if dtype is None or not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise ValueError("checkpoint: damaged: a numpy scalar of another size than its type")
    return np.frombuffer(data, dtype)[0].item()


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT or encoding != "latin1":  # how protocol 2 writes bytes
        raise ValueError("checkpoint: expected a few bytes as latin1, found others")
    return text.encode("latin1")


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _dict(content: Any = None) -> dict[Any, Any]:
    if content is not None and not isinstance(content, dict):
        raise ValueError("checkpoint: expected a dict within a dict of another kind, found something else")
    return {} if content is None else content


def _tuple(content: Any) -> tuple[Any, ...]:
    if not isinstance(content, tuple):
        raise ValueError("checkpoint: expected a size as a tuple, found something else")
    return content


def _device(*_: Any) -> None:
    """Where a tensor was does not matter."""


_KNOWN = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "collections.OrderedDict": _dict,
    "collections.Counter": _dict,
    "torch.Size": _tuple,
    "torch.device": _device,
    "numpy.dtype": _numpy_type,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy._core.multiarray.scalar": _numpy_scalar,
    "_codecs.encode": _encoded,
}
