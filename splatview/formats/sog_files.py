"""Where the files of a SOG lie: together in a zip (`.sog`), or beside the `meta.json` that names them."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from splatview.formats.archive import MAGIC, Archive
from splatview.formats.files import FileBytes, Source

META = "meta.json"
META_LIMIT = 1 << 20  # bytes; three codebooks take 20 thousand


@dataclass(frozen=True)
class Place:
    """A SOG's files; every call raises ValueError for a file that is not there, is damaged, or is elsewhere."""

    meta: bytes
    read: Callable[[str, int], bytes]  # the bytes of a file, of which there may be so many
    sizes: Callable[[Iterable[str]], Mapping[str, int]]  # bytes on the disk, by path, of some files; of a bundle all of it


def bundle(data: FileBytes, path: str = "") -> Place:
    """A zip, which lies at `path`; its folder, if it has one, is that of its `meta.json`."""
    archive = Archive(data)
    names = [name for name in archive.names if posixpath.basename(name) == META]
    first = min(names, key=len, default=META)
    folder = posixpath.dirname(first)

    def read(name: str, limit: int) -> bytes:
        return archive.read(posixpath.join(folder, name), limit)

    return Place(archive.read(first, META_LIMIT), read, lambda names: {path: len(data)})


def loose(source: Source, meta: bytes, folder: str = "") -> Place:
    """The files in a folder below that of `source`."""

    def read(name: str, limit: int) -> bytes:
        with _beside(source, posixpath.join(folder, name)) as data:
            return limited(data, name, limit)

    def sizes(names: Iterable[str]) -> dict[str, int]:
        result = {}
        for path in {posixpath.normpath(posixpath.join(folder, name)) for name in names}:
            with _beside(source, path) as data:
                result[path] = len(data)
        return result

    return Place(meta, read, sizes)


@contextlib.contextmanager
def named(source: Source, name: str) -> Iterator[Place]:
    """The SOG, a bundle or a `meta.json`, that `source` calls `name`."""
    with _beside(source, name) as data:
        if bytes(data[: len(MAGIC)]) == MAGIC:
            yield bundle(data, posixpath.normpath(name))
        else:
            yield loose(source, limited(data, name, META_LIMIT), posixpath.dirname(name))


def limited(data: FileBytes, name: str, limit: int) -> bytes:
    """All of a file; ValueError if that is more than `limit` bytes."""
    if len(data) > limit:
        raise ValueError(f"sog: expected at most {limit:,} bytes in {name!r}, found {len(data):,}")
    return bytes(data)


@contextlib.contextmanager
def _beside(source: Source, name: str) -> Iterator[FileBytes]:
    """An open file beside `source`; ValueError if it cannot be read."""
    with contextlib.ExitStack() as stack:
        try:
            data = stack.enter_context(source.beside(name))
        except (OSError, ValueError) as error:
            raise ValueError(f"sog: the file {name[:200]!r} that it names cannot be read: {error}") from error
        yield data
