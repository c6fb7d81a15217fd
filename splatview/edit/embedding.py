"""Sources within a document's file: every layer as lossless bytes, a field as its own file, so that the document is all that is needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from splatview.edit.archive import EMBEDDED, FOLDER_SUFFIX, NAME
from splatview.edit.document import Document
from splatview.edit.operations import AddLayers, SwapLevel
from splatview.edit.sources import Load
from splatview.edit.state import digest_of
from splatview.gaussians import Gaussians
from splatview.hashgrid import HashGrid
from splatview.scene import Scene

Encode = Callable[[Gaussians], bytes | memoryview]


class Entries(Mapping[str, bytes | memoryview]):
    """What goes into the archive, by its name there; bytes are made when they are asked for, one entry at a time."""

    def __init__(self, made: Mapping[str, Callable[[], bytes | memoryview]]) -> None:
        self._made = made

    def __getitem__(self, name: str) -> bytes | memoryview:
        return self._made[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


def embedded(document: Document, load: Load, encode: Encode, wanted: Callable[[str], bool] = lambda path: True) -> tuple[Document, Entries]:
    """The document with the sources that are `wanted` (by path) within its file, and what `archive.write` puts there.

    ValueError or OSError if a source cannot be read any more.
    """
    names: dict[tuple[str, int | None], str] = {}
    made: dict[str, Callable[[], bytes | memoryview]] = {}
    levels = {entry.operation.level for entry in document.entries if isinstance(entry.operation, SwapLevel)}

    def put(path: str, level: int | None, digests: tuple[str, ...]) -> Scene:
        scene = load(path, level)
        if digests and tuple(digest_of(layer.content) for layer in scene.layers.values()) != digests:
            raise ValueError(f"{path}: this file has changed since it was opened, and cannot be put into the document as it was")
        if (path, level) not in names:
            name = names[path, level] = _free(path, set(names.values()))
            _add(made, name, "", path, scene, encode)
            for other in sorted(levels):
                try:
                    _add(made, name, f"level-{other}-", path, load(path, other), encode)
                except ValueError:  # it is another file that has this level
                    continue
        return scene

    sources = []
    for source in document.sources:
        if wanted(source.path):
            scene = put(source.path, source.level, source.digests)
            places = source.placements or tuple(layer.placement for layer in scene.layers.values())
            named = source.names or tuple(scene.layers)
            source = replace(source, path=EMBEDDED + names[source.path, source.level], level=None, placements=places, names=named)
        sources.append(source)
    entries = []
    for entry in document.entries:
        add = entry.operation
        if isinstance(add, AddLayers) and wanted(add.path):
            scene = put(add.path, add.level, add.digests)
            places = add.placements or tuple(layer.placement for layer in scene.layers.values())
            path, named = EMBEDDED + names[add.path, add.level], add.names or tuple(scene.layers)
            entry = replace(entry, operation=replace(add, path=path, level=None, placements=places, names=named))
        entries.append(entry)
    return replace(document, sources=tuple(sources), entries=tuple(entries)), Entries(made)


def parts_of(folder: Path, level: int | None) -> list[Path]:
    """The files of the layers in what `archive.extracted` made, in order; ValueError if that level of detail is not in there."""
    prefix = "" if level is None else f"level-{level}-"
    pattern = re.compile(rf"{prefix}(\d+)\.(?:ply|ingp)")
    found = {int(match[1]): path for path in folder.iterdir() if (match := pattern.fullmatch(path.name))}
    if not found:
        raise ValueError(f"{folder}: expected the level of detail {level} in it, found none")
    return [found[number] for number in sorted(found)]


def _add(made: dict[str, Callable[[], bytes | memoryview]], name: str, prefix: str, path: str, scene: Scene, encode: Encode) -> None:
    for number, layer in enumerate(scene.layers.values(), 1):
        if isinstance(layer.content, HashGrid):
            file = Path(path) / f"{number}.ingp" if path.endswith(FOLDER_SUFFIX) else Path(path)
            if file.suffix.lower() not in (".ingp", ".msgpack"):
                raise ValueError(f"{path}: this field cannot be put into a document: write it as .ingp first (splatview convert)")
            made[f"{name}/{prefix}{number}.ingp"] = file.read_bytes
        else:
            made[f"{name}/{prefix}{number}.ply"] = lambda content=layer.splats: encode(content)


def _free(path: str, taken: set[str]) -> str:
    """A name for what is in `path` that is not taken, and may be one of an entry."""
    stem = re.sub(rf"-[0-9a-f]{{16}}{re.escape(FOLDER_SUFFIX)}$", "", Path(path).name)
    plain = re.sub(r"[^\w .-]", "_", stem)[:80].strip(" .") or "source"
    name = Scene.free_name(plain, dict.fromkeys(taken))
    assert NAME.fullmatch(name)
    return name
