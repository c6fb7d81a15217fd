"""A streamed SOG: `lod-meta.json` with a tree whose leaves say which part of which SOG they show at each level of detail."""

from __future__ import annotations

import itertools
import posixpath
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from splatview.formats import sog, sog_files, sog_meta
from splatview.formats.files import Source
from splatview.formats.report import Report
from splatview.gaussians import Gaussians, concatenate
from splatview.scene import Layer, Scene

META = "lod-meta.json"
ENVIRONMENT = "environment"
_LIMIT = 1 << 26  # bytes of a lod-meta.json
_MOST_LEVELS = 64
_COMFORTABLE = 20_000_000  # Gaussians in the level that is read unless another is asked for

Parts = Mapping[str, list[range]]  # the Gaussians of a level: which of each SOG, by its name


def levels(source: Source) -> tuple[int, ...]:
    """How many Gaussians each level has, the finest first; ValueError if it is no `lod-meta.json`."""
    return tuple(_count(parts) for parts in _levels(_content(source)))


def read(source: Source, report: Report) -> Scene:
    """The level that `source` asks for, by default the finest of at most 20 million Gaussians, and the environment as a second layer.

    ValueError: there is no such level, or the files are damaged.
    """
    content = _content(source)
    all_parts = _levels(content)
    counts = [_count(parts) for parts in all_parts]
    level = _chosen(counts, source.level)
    chosen = all_parts[level]
    surroundings = content.get("environment") or None
    if surroundings is not None and not isinstance(surroundings, str):
        raise ValueError(f"sog: expected the name of a file as 'environment' in {META}")
    _bounded(source, [*chosen, *([surroundings] if surroundings else [])])
    start, end = report.span
    total, pieces = len(chosen) + (surroundings is not None), []
    for index, (name, parts) in enumerate(chosen.items()):
        report.span = (start + (end - start) * index / total, start + (end - start) * (index + 1) / total)
        pieces.append(_piece(source, name, parts, report))
    report.span = (end - (end - start) / total, end)
    layers = {source.path.resolve().parent.name or source.path.name: Layer(concatenate(pieces))}
    if surroundings is not None:
        with sog_files.named(source, surroundings) as place:
            layers[Scene.free_name(ENVIRONMENT, layers)] = Layer(sog.decode(place, report))
    report.note(f"level {level} of {len(counts)} ({counts[level]:,} Gaussians)")
    return Scene(layers)


def _content(source: Source) -> Mapping[str, Any]:
    content = sog_meta.parsed(sog_files.limited(source.data, source.path.name, _LIMIT), META)
    if content.get("version") not in (None, 1):
        raise ValueError(f"sog: expected version 1 of {META}, found {content.get('version')!r:.60}")
    return content


def _levels(content: Mapping[str, Any]) -> list[Parts]:
    """What the tree says of each level; ValueError if it makes no sense."""
    number = sog_meta.whole(content.get("lodLevels"), "'lodLevels'", 1, _MOST_LEVELS)
    names = content.get("filenames")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"sog: expected a list of names as 'filenames' in {META}")
    if len({posixpath.normpath(name) for name in names}) < len(names):
        raise ValueError(f"sog: expected every file once in 'filenames' of {META}")
    result: list[dict[str, list[range]]] = [defaultdict(list) for _ in range(number)]
    waiting = [content.get("tree")]
    while waiting:
        node = waiting.pop()
        children, leaves = (node.get("children") or [], node.get("lods") or {}) if isinstance(node, dict) else (None, None)
        if not isinstance(children, list) or not isinstance(leaves, dict):
            raise ValueError(f"sog: expected a tree of nodes with 'children' or 'lods' in {META}, found another node")
        waiting += reversed(children)
        for level, leaf in leaves.items():
            if not isinstance(leaf, dict) or not (level.isascii() and level.isdigit() and len(level) < 4 and int(level) < number):
                raise ValueError(f"sog: expected levels 0 to {number - 1} in the tree of {META}, found {level[:20]!r}")
            file = sog_meta.whole(leaf.get("file"), "the index of a file", 0, len(names) - 1)
            count = sog_meta.whole(leaf.get("count"), "the count of a leaf", 0, sog_meta.MOST)
            if count:
                offset = sog_meta.whole(leaf.get("offset"), "the offset of a leaf", 0, sog_meta.MOST - count)
                result[int(level)][names[file]].append(range(offset, offset + count))
    for parts in result:
        for part in parts.values():
            part.sort(key=lambda rows: rows.start)
            if any(before.stop > after.start for before, after in itertools.pairwise(part)):
                raise ValueError(f"sog: expected leaves that share no Gaussians in {META}, found two that do")
    return [*result]


def _count(parts: Parts) -> int:
    return sum(len(rows) for part in parts.values() for rows in part)


def _chosen(counts: list[int], wanted: int | None) -> int:
    """The level `wanted`, or the finest that is not too large; ValueError if there is none."""
    there = [level for level, count in enumerate(counts) if count]
    if not there:
        raise ValueError(f"sog: expected a level with Gaussians in {META}, found none")
    if wanted is None:
        return next((level for level in there if counts[level] <= _COMFORTABLE), there[-1])
    if wanted not in there:
        found = ", ".join(f"{level} ({counts[level]:,} Gaussians)" for level in there)
        raise ValueError(f"expected one of the levels of detail {found}; there is no level {wanted}")
    return wanted


def _bounded(source: Source, names: list[str]) -> None:
    """ValueError if some SOGs together would unpack to more than their files, of which they may share some, could hold."""
    nbytes, sizes = 0, {}
    for name in names:
        with sog_files.named(source, name) as place:
            meta = sog_meta.read(place.meta, Report())
            nbytes += meta.nbytes
            sizes.update(place.sizes(meta.files))
    sog.allowed(nbytes, sum(sizes.values()))


def _piece(source: Source, name: str, parts: list[range], report: Report) -> Gaussians:
    """The Gaussians of some parts of a SOG."""
    with sog_files.named(source, name) as place:
        splats = sog.decode(place, report)
    if parts[-1].stop > len(splats):
        raise ValueError(f"sog: {META} asks for {parts[-1].stop:,} Gaussians of {name[:200]!r}, which has {len(splats):,}")
    if sum(map(len, parts)) == len(splats):
        return splats
    return splats.take(np.concatenate([np.arange(rows.start, rows.stop) for rows in parts]))
