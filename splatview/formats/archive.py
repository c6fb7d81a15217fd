"""Zip files, read with bounds: nothing is unpacked that was not asked for, and never more than was allowed."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from splatview.formats.files import FileBytes

MAGIC = b"PK\x03\x04"
MOST_ENTRIES = 100_000
_MOST_DIRECTORY = 1 << 24  # bytes of the list of entries, each of which becomes half a kilobyte at least
# How zipfile fails on damaged files.
_TROUBLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, ArithmeticError, RuntimeError, OSError, ValueError)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of bzip2 and lzma zipfile unpacks all at once, whatever the size


class _Stream(io.BufferedReader):
    """A file of which zipfile reads no more at once than it is allowed."""

    most = _MOST_DIRECTORY

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > self.most:
            raise ValueError(f"a list of entries of {size:,} bytes")
        return super().read(size)


class Archive:
    """The entries of a zip file, by name. ValueError if it is not one, or is damaged."""

    def __init__(self, data: FileBytes) -> None:
        try:
            stream = _Stream(data.stream().detach())
            self._zip = zipfile.ZipFile(stream)
            stream.most = len(data)
            entries = self._zip.infolist()
            self._entries = {entry.filename: entry for entry in entries if entry.filename and not entry.is_dir()}
        except _TROUBLE as error:
            raise ValueError(f"zip: expected a zip file, found one that cannot be read ({error})") from None
        if len(entries) > MOST_ENTRIES:
            raise ValueError(f"zip: expected at most {MOST_ENTRIES:,} entries, found {len(entries):,}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def read(self, name: str, limit: int) -> bytes:
        """The bytes of an entry; ValueError if there is none, it is damaged, or it is larger than `limit`."""
        if name not in self._entries:
            raise ValueError(f"zip: expected an entry {name!r}, found {', '.join(map(repr, self.names[:8])) or 'none'}")
        entry = self._entries[name]
        if entry.compress_type not in _METHODS:
            raise ValueError(f"zip: expected {name!r} as it is or deflated, found compression method {entry.compress_type}")
        if entry.file_size > limit:
            raise ValueError(f"zip: expected at most {limit:,} bytes in {name!r}, found {entry.file_size:,}")
        try:
            with self._zip.open(entry) as stream:
                data = stream.read(limit + 1)
        except _TROUBLE as error:
            raise ValueError(f"zip: entry {name!r} is damaged ({error})") from None
        if len(data) > limit:  # it lied about its size
            raise ValueError(f"zip: expected at most {limit:,} bytes in {name!r}, found more")
        return data
