"""The files that a document was made from: found again, read, and known by what was in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from splatview.edit.document import Document, Entry
from splatview.edit.operations import AddLayers
from splatview.edit.state import digest_of
from splatview.scene import Scene

Load = Callable[[str, int | None], Scene]
Changed = Literal["refuse", "rerun"]


def opened(document: Document, load: Load, changed: Changed = "refuse", folder: Path | None = None) -> tuple[Document, Scene]:
    """The scene that a document begins with, and the document with its sources as they are now.

    A source that is not where it was is looked for in `folder`. ValueError: one is missing, or holds something else than it did and
    `changed` is "refuse"; with "rerun", selections are made again on what it holds now.
    """
    scene, sources = Scene(), []
    for source in document.sources:
        found = _found(source.path, folder)
        part = load(found, source.level)
        now = replace(source, path=found, digests=tuple(digest_of(layer.content) for layer in part.layers.values()))
        if source.digests and now.digests != source.digests and changed == "refuse":
            raise _other(found)
        if source.names and len(source.names) != len(part.layers):
            raise ValueError(f"{found}: expected {len(source.names)} layers, found {len(part.layers)}")
        if source.names:
            part = Scene(dict(zip(source.names, part.layers.values(), strict=True)))
        for name, placement in zip(part.layers, source.placements, strict=False):
            part = part.placed(name, placement)
        before = set(scene.layers)
        scene = scene.joined(part)
        sources.append(replace(now, names=tuple(name for name in scene.layers if name not in before)))
    entries = tuple(_checked(entry, load, changed, folder) for entry in document.entries)
    return replace(document, sources=tuple(sources), entries=entries), scene


def _checked(entry: Entry, load: Load, changed: Changed, folder: Path | None) -> Entry:
    """An operation that adds a file with that file where it is now; one that is switched off may miss its file."""
    add = entry.operation
    if not isinstance(add, AddLayers):
        return entry
    try:
        found = _found(add.path, folder)
    except ValueError:
        if entry.on:
            raise
        return entry
    if add.digests and changed == "refuse" and entry.on:
        now = tuple(digest_of(layer.content) for layer in load(found, add.level).layers.values())
        if now != add.digests:
            raise _other(found)
    return entry if found == add.path else replace(entry, operation=replace(add, path=found))


def _other(found: str) -> ValueError:
    return ValueError(
        f"{found}: this is not the scene that the document was made from: bring that one back "
        "(--sources FOLDER looks for it there), or let the selections be made again on this one (--changed rerun)"
    )


def _found(named: str, folder: Path | None) -> str:
    path = Path(named)
    if path.exists():
        return str(path)
    if folder is not None and (folder / path.name).exists():
        return str(folder / path.name)
    raise ValueError(
        f"{path}: this file, which the document was made from, is not there: put it back, "
        "or name the folder that it is in (--sources FOLDER)"
    )
