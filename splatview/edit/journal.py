"""The journal of a document: every change is on the disk before anybody is told that it happened.

A file of records, each `length, crc32 (4 bytes each, little-endian), JSON`: first the document as it was, then one record a change.
Reading stops at the first record that is not whole; what follows it was never confirmed. A lock beside the file says that somebody writes
it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from splatview.edit.document import Change, Document, decode, decode_change, encode, encode_change

HEAD = b"splatview journal 1\n"
RECORD = struct.Struct("<II")
ASIDE = 20  # journals of a document that are kept under other names: the oldest go


class Locked(Exception):
    """Another program writes the document."""


class Journal:
    """Holds the lock until it is closed, or its process ends however it does. Locked: somebody else has it. One thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(path.with_name(path.name + ".lock"))
        try:
            self.document, self._end = _read(path)
        except BaseException:
            self._lock.close()
            raise
        self._file: BinaryIO | None = None

    def begin(self, document: Document) -> None:
        """Start again from `document`, in the old file's place. OSError if that cannot be: then the old one is still there."""
        self._close_file()
        self._check_open()
        part = self.path.with_name(self.path.name + ".part")
        try:
            with part.open("wb") as file:
                file.write(HEAD)
                file.write(_record(encode(document)))
                _sync(file)
            part.replace(self.path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(self.path.parent)
        self.document, self._end = document, self.path.stat().st_size

    def record(self, change: Change) -> None:
        """Append a change; it is on the disk when this returns. OSError if it cannot be: then it is not in the journal."""
        self._check_open()
        if self._file is None:
            self._file = self.path.open("r+b")
            self._file.truncate(self._end)  # what was torn
            self._file.seek(self._end)
        try:
            self._file.write(_record(encode_change(change)))
            _sync(self._file)
        except BaseException:
            self._close_file()
            with contextlib.suppress(OSError):  # or else the next one cuts off what was written of this one
                os.truncate(self.path, self._end)
            raise
        self._end = self._file.tell()

    def set_aside(self) -> Path | None:
        """Keep the file under another name; the newest such file, or None if there is nothing to keep."""
        self._close_file()
        self._check_open()
        if not self.path.exists():
            return None
        before = sorted(self.path.parent.glob(f"{self.path.stem}.kept-*"), key=lambda path: path.stat().st_mtime)
        kept = next(path for n in range(1, 10**6) if not (path := self.path.with_suffix(f".kept-{n}")).exists())
        self.path.replace(kept)
        for old in before[: max(0, len(before) + 1 - ASIDE)]:
            old.unlink(missing_ok=True)
        sync_folder(self.path.parent)
        self.document, self._end = None, 0
        return kept

    def forget(self) -> None:
        """Remove the file: nothing of it is wanted any more."""
        self._close_file()
        self._check_open()
        self.path.unlink(missing_ok=True)
        self.document, self._end = None, 0

    def close(self) -> None:
        """Let others write the document."""
        self._close_file()
        self._lock.close()

    def _check_open(self) -> None:
        if self._lock.closed:  # an operation that ended late: somebody else may write the document by now
            raise OSError(f"{self.path}: the journal was closed")

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # a full disk: what could not be written was not confirmed
                file.close()


def _lock(path: Path) -> BinaryIO:
    file = path.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read(40).decode("ascii", "replace").strip()
        file.close()
        raise Locked(f"it is being edited by another splatview{f' (process {owner})' if owner.isdecimal() else ''}") from error
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file


def _record(data: Any) -> bytes:
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).encode()
    return RECORD.pack(len(text), zlib.crc32(text)) + text


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Bring a folder's names to the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _records(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The whole records, each with the place where it ends."""
    size = os.fstat(file.fileno()).st_size
    if file.read(len(HEAD)) != HEAD:
        return
    while len(head := file.read(RECORD.size)) == RECORD.size:
        length, crc = RECORD.unpack(head)
        if length > size - file.tell():
            return
        text = file.read(length)
        if zlib.crc32(text) != crc:
            return
        yield text, file.tell()


def _read(path: Path) -> tuple[Document | None, int]:
    """The document that a journal tells of, and where its whole records end; None if it tells of none."""
    document, end = None, 0
    if not path.exists():
        return document, end
    with path.open("rb") as file:
        for text, after in _records(file):
            try:
                data = json.loads(text)
                document = decode(data) if document is None else document.after(decode_change(data))
            except (ValueError, RecursionError):  # of another version, or not ours: nothing behind it can be applied
                break
            end = after
    return document, end
