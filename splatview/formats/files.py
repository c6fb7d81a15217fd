"""Files: read piece by piece, replaced only when complete."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Buffer

from splatview.formats.report import Report

_PIECE = 1 << 26  # bytes


class FileBytes:
    """The bytes of an open file from `start` to `stop`, read when they are asked for; a slice is another view of them.

    Not memory-mapped: a mapped file that somebody rewrites would kill the process.
    """

    def __init__(self, stream: io.FileIO, start: int, stop: int) -> None:
        self._stream, self._start, self._stop = stream, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, part: slice) -> FileBytes:
        start, stop, _ = part.indices(len(self))
        return FileBytes(self._stream, self._start + start, self._start + max(start, stop))

    def __bytes__(self) -> bytes:
        return bytes(self.read())

    def stream(self) -> io.BufferedReader:
        """They as a seekable file, for readers that want one."""
        return io.BufferedReader(_Window(self))

    def read(self, report: Report | None = None) -> memoryview:
        """All of them; ValueError if the file has become shorter."""
        data, filled = np.empty(len(self), np.uint8).data, 0
        self._stream.seek(self._start)
        while filled < len(data):
            got = self._stream.readinto(data[filled : filled + _PIECE])
            if not got:
                raise ValueError(f"expected {len(self)} bytes, but the file became shorter while it was read")
            filled += got
            if report is not None:
                report.progress(filled / len(data), "reading file")
        return data


class _Window(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, data: FileBytes) -> None:
        self._data, self._at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence])
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        target = memoryview(buffer).cast("B")
        piece = self._data[self._at : self._at + len(target)].read()
        target[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


@dataclass(frozen=True)
class Source:
    """A scene file that is being read, with what may lie beside it."""

    path: Path
    data: FileBytes
    level: int | None = None  # of detail, 0 the finest, in formats that hold several; None: the reader's choice

    @contextlib.contextmanager
    def beside(self, name: str) -> Iterator[FileBytes]:
        """The bytes of the file that this one calls `name`: in its folder or below; ValueError if it names a place elsewhere."""
        folder = self.path.parent.resolve()
        path = (folder / name.replace("\0", "")).resolve()
        if not name or "\0" in name or not path.is_relative_to(folder):
            raise ValueError(f"expected the name of a file in {folder}, found {name[:200]!r}")
        with open_file(path) as data:
            yield data


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[FileBytes]:
    """The bytes of a file; FileNotFoundError or ValueError if there is none."""
    if path.is_dir():
        raise ValueError(f"{path}: expected a file, this is a folder")
    try:
        stream = io.FileIO(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    with stream:
        yield FileBytes(stream, 0, os.fstat(stream.fileno()).st_size)


def write_file(path: Path, data: bytes | memoryview, report: Report) -> None:
    """Put `data` under `path`; until all of it is on the disk, what was there stays."""
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {target.parent}")
    partial = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with partial.open("wb", buffering=0) as stream:
            for at in range(0, len(data), _PIECE):
                piece = memoryview(data)[at : at + _PIECE]
                while len(piece):
                    piece = piece[stream.write(piece) :]
                report.progress(at / len(data), "writing file")
            os.fsync(stream.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    report.progress(1.0, "saved")
