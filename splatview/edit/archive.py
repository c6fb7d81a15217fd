"""`NAME.splatview`: a document as one file, a zip of `document.json`, `masks/*` and, if they are embedded, `sources/*`.

Paths of sources are relative to the file's folder where that can be. A source that is embedded has the path `embedded:NAME`.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from splatview.edit.document import Document, Source, decode, encode
from splatview.edit.journal import sync_folder

SUFFIX = ".splatview"
EMBEDDED = "embedded:"
LARGEST_TEXT = 256 << 20  # bytes of document.json
LARGEST_MASK = 300 << 20  # compressed bytes of a mask
LARGEST_SOURCE = 32 << 30


def write(path: Path, document: Document, embedded: Mapping[str, bytes] | None = None) -> None:
    """Put `document`, whose sources have absolute paths, into the file at once; `embedded`: files by name, that sources name."""
    masks: dict[str, bytes] = {}

    def keep(data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()[:32]
        masks[name] = data
        return name

    folder = path.resolve().parent
    sources = tuple(replace(source, path=_relative(source.path, folder)) for source in document.sources)
    text = json.dumps(encode(replace(document, sources=sources), keep), allow_nan=False, indent=1)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{path.name}.", suffix=".part", delete=False) as file:
        try:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("document.json", text)
                for name, data in masks.items():
                    archive.writestr(zipfile.ZipInfo(f"masks/{name}"), data)  # compressed already
                for name, data in (embedded or {}).items():
                    archive.writestr(f"sources/{name}", data)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    sync_folder(folder)


def read(path: Path) -> Document:
    """The document in the file, its sources with absolute paths (embedded ones: `embedded:NAME`); ValueError if it is none."""
    try:
        with zipfile.ZipFile(path) as archive:

            def fetch(name: str) -> bytes:
                return _entry(archive, f"masks/{name}", LARGEST_MASK)

            document = decode(json.loads(_entry(archive, "document.json", LARGEST_TEXT)), fetch)
    except (zipfile.BadZipFile, NotImplementedError, RecursionError, EOFError, RuntimeError) as error:
        raise ValueError(f"{path}: expected a splatview document, a zip file with document.json in it ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    folder = path.resolve().parent
    return replace(document, sources=tuple(replace(source, path=_absolute(source.path, folder)) for source in document.sources))


def extract(path: Path, source: Source, folder: Path) -> Path:
    """An embedded source as a file in `folder`; ValueError if it is not in there."""
    name = Path(source.path.removeprefix(EMBEDDED)).name
    with zipfile.ZipFile(path) as archive:
        to = folder / (name or "source")
        to.write_bytes(_entry(archive, f"sources/{name}", LARGEST_SOURCE))
    return to


def _entry(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise ValueError(f"expected an entry {name}, found none") from None
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
