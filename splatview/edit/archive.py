"""`NAME.splatview`: a document as one file, a zip of `document.json`, `masks/*` and, if they are embedded, `sources/*`.

Paths of sources, and of files that operations add, are relative to the file's folder where that can be. What is embedded has the path
`embedded:NAME`: the entries `sources/NAME/1.ply`, `sources/NAME/2.ply` ... are its layers (a field is a `1.ingp`), and
`sources/NAME/level-L-1.ply` those of its other levels of detail.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import IO

from splatview.edit.document import Document, Entry, decode, encode
from splatview.edit.journal import sync_folder
from splatview.edit.operations import AddLayers

SUFFIX = ".splatview"
EMBEDDED = "embedded:"
LARGEST_TEXT = 256 << 20  # bytes of document.json
LARGEST_MASK = 300 << 20  # compressed bytes of a mask
LARGEST_SOURCE = 32 << 30
FOLDER_SUFFIX = ".embedded"  # of what an embedded source becomes when it is opened
NAME, PART = re.compile(r"[\w-][\w .-]{0,99}"), re.compile(r"(level-\d{1,4}-)?\d{1,6}\.(ply|ingp)")
PIECE = 1 << 24


def write(path: Path, document: Document, embedded: Mapping[str, bytes | memoryview] | None = None) -> None:
    """Put `document`, whose sources have absolute paths, into the file at once; `embedded`: entries below `sources/`."""
    masks: dict[str, bytes] = {}

    def keep(data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()[:32]
        masks[name] = data
        return name

    folder = path.resolve().parent
    text = json.dumps(encode(with_paths(document, lambda path: _relative(path, folder)), keep), allow_nan=False, indent=1)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{path.name}.", suffix=".part", delete=False) as file:
        try:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("document.json", text)
                for name, data in masks.items():
                    archive.writestr(zipfile.ZipInfo(f"masks/{name}"), data)  # compressed already
                for name in embedded or {}:
                    with archive.open(zipfile.ZipInfo(f"sources/{name}"), "w", force_zip64=True) as entry:
                        entry.write((embedded or {})[name])  # floats, which deflate makes little of
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    sync_folder(folder)


BROKEN = zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RecursionError, EOFError, RuntimeError, OSError


def read(path: Path) -> Document:
    """The document in the file, its sources with absolute paths (embedded ones: `embedded:NAME`); ValueError if it is none."""
    with path.open("rb") as file:
        try:
            document = _read(file)
        except (
            zipfile.BadZipFile,
            zlib.error,
            struct.error,
            NotImplementedError,
            RecursionError,
            EOFError,
            RuntimeError,
            OSError,
        ) as error:
            raise ValueError(f"{path}: expected a splatview document, a zip file with document.json in it ({error})") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    folder = path.resolve().parent
    return with_paths(document, lambda path: _absolute(path, folder))


def _read(file: IO[bytes]) -> Document:
    with zipfile.ZipFile(file) as archive:

        @cache  # operations share their masks, in memory as in the file
        def fetch(name: str) -> bytes:
            return _entry(archive, f"masks/{name}", LARGEST_MASK)

        return decode(json.loads(_entry(archive, "document.json", LARGEST_TEXT)), fetch)


def extracted(path: Path, document: Document, folder: Path) -> Document:
    """The document from the file `path` with what is embedded in it as folders in `folder`; ValueError if something is not in there.

    A folder that is there already is not written again: its name tells what is in it.
    """
    found: dict[str, str] = {}

    def where(named: str) -> str:
        if named.startswith(EMBEDDED) and named not in found:
            found[named] = str(_extract(path, named.removeprefix(EMBEDDED), folder))
        return found.get(named, named)

    return with_paths(document, where)


def _extract(path: Path, name: str, folder: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        prefix = f"sources/{name}/"
        parts = [info for info in archive.infolist() if info.filename.startswith(prefix)]
        parts = [info for info in parts if PART.fullmatch(info.filename.removeprefix(prefix))]
        if not NAME.fullmatch(name) or not parts:
            raise ValueError(f"{path}: expected the embedded source {name!r}, found none")
        digest = hashlib.sha256("\n".join(f"{info.filename} {info.CRC} {info.file_size}" for info in parts).encode()).hexdigest()[:16]
        to = folder / f"{name}-{digest}{FOLDER_SUFFIX}"
        if to.is_dir():
            return to
        part = Path(tempfile.mkdtemp(dir=folder, prefix=".", suffix=".part"))
        try:
            for info in parts:
                with archive.open(info) as entry, (part / info.filename.removeprefix(prefix)).open("wb") as file:
                    _copy(entry, file, info)
            with contextlib.suppress(OSError) if to.is_dir() else contextlib.nullcontext():  # somebody was faster
                part.replace(to)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return to


def _copy(entry: IO[bytes], file: IO[bytes], info: zipfile.ZipInfo) -> None:
    if info.file_size > LARGEST_SOURCE or info.file_size > 1032 * info.compress_size + 64:
        raise ValueError(f"{info.filename}: expected at most {LARGEST_SOURCE} bytes, and says that it has {info.file_size}")
    left = info.file_size
    while piece := entry.read(min(PIECE, left + 1)):
        left -= len(piece)
        if left < 0:
            break
        file.write(piece)
    if left:
        raise ValueError(f"{info.filename}: expected {info.file_size} bytes, found another number")


def with_paths(document: Document, where: Callable[[str], str]) -> Document:
    """The document with other paths of its sources and of the files that its operations add."""

    def moved(entry: Entry) -> Entry:
        operation = entry.operation
        if not isinstance(operation, AddLayers) or where(operation.path) == operation.path:
            return entry
        return replace(entry, operation=replace(operation, path=where(operation.path)))

    sources = tuple(replace(source, path=where(source.path)) for source in document.sources)
    return replace(document, sources=sources, entries=tuple(map(moved, document.entries)))


def _entry(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise ValueError(f"expected an entry {name}, found none") from None
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name}: expected an entry that is stored or deflated")
    if info.file_size > limit or info.file_size > 1032 * info.compress_size + 64:  # deflate does no better
        raise ValueError(f"{name}: expected at most {limit} bytes, and says that it has {info.file_size}")
    with archive.open(info) as file:
        data = file.read(limit + 1)
    if len(data) != info.file_size:
        raise ValueError(f"{name}: expected {info.file_size} bytes, found {len(data)}")
    return data


def _relative(path: str, folder: Path) -> str:
    if path.startswith(EMBEDDED):
        return path
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return path


def _absolute(path: str, folder: Path) -> str:
    return path if path.startswith(EMBEDDED) else str((folder / path).resolve())


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
