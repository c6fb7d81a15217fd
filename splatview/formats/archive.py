"""Zip files, read with bounds: nothing is unpacked that was not asked for, and never more than was allowed."""

from __future__ import annotations

import zipfile
import zlib

from splatview.formats.files import FileBytes

MAGIC = b"PK\x03\x04"
MOST_ENTRIES = 100_000
_TROUBLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, UnicodeDecodeError, OverflowError)


class Archive:
    """The entries of a zip file, by name. ValueError if it is not one, or is damaged."""

    def __init__(self, data: FileBytes) -> None:
        try:
            self._zip = zipfile.ZipFile(data.stream())
        except (*_TROUBLE, ValueError) as error:
            raise ValueError(f"zip: expected a zip file, found one that cannot be read ({error})") from None
        entries = self._zip.infolist()
        if len(entries) > MOST_ENTRIES:
            raise ValueError(f"zip: expected at most {MOST_ENTRIES:,} entries, found {len(entries):,}")
        self._entries = {entry.filename: entry for entry in entries if not entry.is_dir()}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def read(self, name: str, limit: int) -> bytes:
        """The bytes of an entry; ValueError if there is none, it is damaged, or it is larger than `limit`."""
        if name not in self._entries:
            raise ValueError(f"zip: expected an entry {name!r}, found {', '.join(map(repr, self.names[:8])) or 'none'}")
        entry = self._entries[name]
        if entry.file_size > limit:
            raise ValueError(f"zip: expected at most {limit:,} bytes in {name!r}, found {entry.file_size:,}")
        try:
            with self._zip.open(entry) as stream:
                data = stream.read(limit + 1)
        except (*_TROUBLE, ValueError) as error:
            raise ValueError(f"zip: entry {name!r} is damaged ({error})") from None
        if len(data) > limit:  # it lied about its size
            raise ValueError(f"zip: expected at most {limit:,} bytes in {name!r}, found more")
        return data
