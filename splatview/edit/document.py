"""The Document value: sources, operations and a cursor, and the changes that make one document out of another.

Everything that can happen to a document is a `Change`, a value that a journal can hold; `after` is a pure function.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from splatview.edit import codec
from splatview.edit.codec import Fetch, Keep
from splatview.edit.operations import AnyOperation, Select
from splatview.geometry import Similarity

VERSION = 1
MOST = 100_000  # operations of a document


@dataclass(frozen=True)
class Source:
    """A file that a document began with, and what was in it."""

    path: str
    digests: tuple[str, ...] = ()  # of its layers; (): not known yet
    names: tuple[str, ...] = ()  # what its layers are called in the document
    placements: tuple[Similarity, ...] = ()  # where they stand at the beginning; (): where the file puts them
    level: int | None = None


@dataclass(frozen=True, eq=False)
class Entry:
    """An operation in a document."""

    operation: AnyOperation
    author: str = ""
    at: float = 0.0  # seconds since 1970
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    on: bool = True

    @staticmethod
    def new(operation: AnyOperation, author: str = "") -> Entry:
        return Entry(operation, author, round(time.time(), 3))


@dataclass(frozen=True)
class Do:
    """Append an operation; what was undone is forgotten."""

    entry: Entry


@dataclass(frozen=True)
class Jump:
    """Move the cursor: so many operations count."""

    cursor: int


@dataclass(frozen=True)
class Switch:
    """Switch an operation off or on."""

    id: str
    on: bool


@dataclass(frozen=True)
class Amend:
    """Put another operation in an entry's place: other numbers for a grade."""

    id: str
    operation: AnyOperation


@dataclass(frozen=True)
class Reorder:
    """Move an entry to the place `to`."""

    id: str
    to: int


Change = Do | Jump | Switch | Amend | Reorder


@dataclass(frozen=True, eq=False)
class Document:
    """Sources, entries and the cursor: the first `cursor` entries count."""

    sources: tuple[Source, ...] = ()
    entries: tuple[Entry, ...] = ()
    cursor: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.cursor <= len(self.entries) <= MOST:
            raise ValueError(f"document: expected a cursor of 0 to {len(self.entries)}, of at most {MOST} operations; got {self.cursor}")
        if len({entry.id for entry in self.entries}) != len(self.entries):
            raise ValueError("document: expected every operation once")

    @property
    def counted(self) -> tuple[AnyOperation, ...]:
        """The operations that make the state: before the cursor, and switched on."""
        return tuple(entry.operation for entry in self.entries[: self.cursor] if entry.on)

    def place(self, id: str) -> int:
        """Where the entry is; ValueError if there is none."""
        for place, entry in enumerate(self.entries):
            if entry.id == id:
                return place
        raise ValueError("that operation is no longer there")

    def after(self, change: Change) -> Document:
        """The document after `change`; ValueError if it does not fit."""
        entries = list(self.entries)
        match change:
            case Do(entry):
                return replace(self, entries=(*entries[: self.cursor], entry), cursor=self.cursor + 1)
            case Jump(cursor):
                if not 0 <= cursor <= len(entries):
                    raise ValueError(f"expected a place of 0 to {len(entries)}, got {cursor}")
                return replace(self, cursor=cursor)
            case Switch(id, on):
                place = self.place(id)
                entries[place] = replace(entries[place], on=on)
            case Amend(id, operation):
                place = self.place(id)
                if isinstance(entries[place].operation, Select) != isinstance(operation, Select):
                    raise ValueError("expected an operation of the same kind")
                entries[place] = replace(entries[place], operation=operation)
            case Reorder(id, to):
                if not 0 <= to < len(entries):
                    raise ValueError(f"expected a place of 0 to {len(entries) - 1}, got {to}")
                entries.insert(to, entries.pop(self.place(id)))
        return replace(self, entries=tuple(entries))


EMPTY = Document()


# JSON.


def encode(document: Document, keep: Keep = codec.to_base64) -> dict[str, Any]:
    """A document as what `json.dumps` takes."""
    sources = [{key: value for key, value in asdict_of(one).items() if value not in (None, [])} for one in document.sources]
    entries = [encode_entry(entry, keep) for entry in document.entries]
    return {"splatview": "document", "version": VERSION, "sources": sources, "operations": entries, "cursor": document.cursor}


def asdict_of(source: Source) -> dict[str, Any]:
    return {field.name: codec.encode(getattr(source, field.name)) for field in fields(source)}


def encode_entry(entry: Entry, keep: Keep = codec.to_base64) -> dict[str, Any]:
    known = {"author": entry.author, "at": entry.at, "id": entry.id, "on": entry.on}
    return {**known, "operation": codec.encode(entry.operation, keep)}


def decode(data: Any, fetch: Fetch = codec.from_base64) -> Document:
    """The document that `data` (from `json.loads`) stands for; ValueError if it is none.

    A script that was written by hand may leave out everything but "operations", and give these without their wrapping.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("operations"), list):
        raise ValueError('expected an object with a list of "operations"')
    version = data.get("version", VERSION)
    if version != VERSION:
        raise ValueError(f"expected a document of version {VERSION}, found {version!r}: a newer splatview wrote it")
    operations = data["operations"]
    if len(operations) > MOST:
        raise ValueError(f"expected at most {MOST} operations, found {len(operations)}")
    entries = tuple(decode_entry(one, fetch, f"operations[{i}]") for i, one in enumerate(operations))
    cursor = data.get("cursor", len(entries))
    if not isinstance(cursor, int) or isinstance(cursor, bool):
        raise ValueError(f"cursor: expected a whole number, found {cursor!r}")
    sources = data.get("sources", [])
    if not isinstance(sources, list):
        raise ValueError("sources: expected a list")
    return Document(tuple(_source(one, f"sources[{i}]") for i, one in enumerate(sources)), entries, cursor)


def decode_entry(data: Any, fetch: Fetch = codec.from_base64, at: str = "operation") -> Entry:
    if isinstance(data, Mapping) and "is" in data:  # without its wrapping
        data = {"operation": data}
    if not isinstance(data, Mapping):
        raise ValueError(f"{at}: expected an object")
    operation = codec.decoded(data.get("operation"), AnyOperation, fetch, at, 0)
    known = {
        name: codec.decode(data[name], kind) for name, kind in (("author", str), ("at", float), ("id", str), ("on", bool)) if name in data
    }
    return Entry(operation, **known)


def _source(data: Any, at: str) -> Source:
    if not isinstance(data, Mapping) or not isinstance(data.get("path"), str):
        raise ValueError(f"{at}: expected an object with a path")
    kinds = {"digests": tuple[str, ...], "names": tuple[str, ...], "placements": tuple[Similarity, ...], "level": int}
    known = {key: codec.decoded(data[key], kind, codec.from_base64, f"{at}.{key}", 0) for key, kind in kinds.items() if key in data}
    return Source(data["path"], **known)


def encode_change(change: Change) -> dict[str, Any]:
    """A change as what `json.dumps` takes, masks within."""
    match change:
        case Do(entry):
            return {"do": encode_entry(entry)}
        case Jump(cursor):
            return {"jump": cursor}
        case Switch(id, on):
            return {"switch": id, "on": on}
        case Amend(id, operation):
            return {"amend": id, "operation": codec.encode(operation)}
        case Reorder(id, to):
            return {"reorder": id, "to": to}


def decode_change(data: Any) -> Change:
    """The change that `data` stands for; ValueError if it is none."""
    if not isinstance(data, Mapping):
        raise ValueError("change: expected an object")
    if "do" in data:
        return Do(decode_entry(data["do"]))
    if "jump" in data:
        return Jump(codec.decode(data["jump"], int))
    if "switch" in data:
        return Switch(codec.decode(data["switch"], str), codec.decode(data.get("on"), bool))
    if "amend" in data:
        return Amend(codec.decode(data["amend"], str), codec.decode(data.get("operation")))
    if "reorder" in data:
        return Reorder(codec.decode(data["reorder"], str), codec.decode(data.get("to"), int))
    raise ValueError(f"change: expected do, jump, switch, amend or reorder; found {', '.join(map(str, data))[:60]}")
