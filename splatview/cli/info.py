"""`splatview info`: what is in a scene file."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from splatview.cli.documents import SUFFIX
from splatview.cli.faults import users_fault
from splatview.cli.flags import MaybeLevel
from splatview.cli.loading import load_scene
from splatview.cli.waiting import waiting
from splatview.hashgrid import HashGrid
from splatview.scene import Layer


@dataclass(frozen=True)
class Command:
    """Tell what is in a scene file: how many Gaussians, how large, what kind, and what is wrong with them; or what a field is made of.

    Of a document (.splatview): the files that it was made from, and its operations.

    Bounds and scales are in scene units; "robust" bounds hold the middle 96 % along each axis.
    """

    file: Positional[Path]
    """A scene: .ply, compressed .ply, .splat, .spz, .ingp, ...; or a document, .splatview."""
    level: MaybeLevel = None
    """Level of detail of a streamed scene, 0 the finest. Default: the finest with at most 20 million Gaussians."""
    json: bool = False
    """Print JSON instead of text, for scripts."""

    def run(self) -> None:
        titled = self.file.suffix == SUFFIX
        facts = gather_document(self.file) if titled else gather(self.file, self.level)
        if self.json:
            print(json.dumps(facts, indent=2))
        elif titled:
            print_document(facts)
        else:
            print_facts(facts)


def gather_document(path: Path) -> dict[str, Any]:
    """The facts about a document, as JSON holds them."""
    from splatview.edit import archive
    from splatview.edit.document import asdict_of
    from splatview.edit.operations import AddLayers

    with users_fault(ValueError, OSError):
        document = archive.read(path)
    added = (entry.operation.path for entry in document.entries if isinstance(entry.operation, AddLayers))
    files = dict.fromkeys([*(source.path for source in document.sources), *added])
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sources": [asdict_of(source) for source in document.sources],
        "missing": [file for file in files if not file.startswith(archive.EMBEDDED) and not Path(file).exists()],
        "cursor": document.cursor,
        "operations": [
            {
                "is": type(entry.operation).__name__,
                "label": entry.operation.label,
                "author": entry.author,
                "at": entry.at,
                "on": entry.on,
                "selected": _selected(entry.operation),
            }
            for entry in document.entries
        ],
    }


def _selected(operation: Any) -> int | None:
    """How many Gaussians the operation is about; None: that is not in the document."""
    selection = getattr(operation, "selection", None)
    if selection is None or selection.rows is None:
        return None
    return sum(int(bits.mask.sum()) for bits in selection.masks.values())


def print_document(facts: dict[str, Any]) -> None:
    """Write `gather_document`'s facts for people."""
    done, count = facts["cursor"], len(facts["operations"])
    undone = f", of which the last {count - done:,} are undone" if done < count else ""
    print(f"{facts['file']}: {count:,} operations{undone}, {facts['bytes'] / 1e6:,.1f} MB")
    for source in facts["sources"]:
        print(f"  source {source['path']}: {', '.join(source['names']) or 'not read yet'}")
    for file in facts["missing"]:
        print(f"  problem: {file} is not there; bring it back, or name its folder (splatview view --sources FOLDER)")
    for place, operation in enumerate(facts["operations"], 1):
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(operation["at"])) if operation["at"] else ""
        about = "" if operation["selected"] is None else f"{operation['selected']:,} Gaussians"
        state = "undone" if place > done else "" if operation["on"] else "off"
        parts = ", ".join(part for part in (about, operation["author"], when, state) if part)
        print(f"  {place:>4}  {operation['label']}{f'  ({parts})' if parts else ''}")


def gather(path: Path, level: int | None = None) -> dict[str, Any]:
    """The facts about a scene file, as JSON holds them."""
    from splatview.formats import levels
    from splatview.framing import frame_scene

    scene = load_scene(path, level)
    with waiting(f"looking through {path}"):
        layers = {name: _gather_layer(layer) | {"notes": layer.notes} for name, layer in scene.layers.items()}
    return {
        "file": str(path),
        "bytes": path.stat().st_size if path.is_file() else None,
        "count": scene.count,
        "levels": levels(path),
        "up": frame_scene(scene).up_axis if scene.visible_layers or scene.visible_fields else None,
        "layers": layers,
    }


def _gather_layer(layer: Layer) -> dict[str, Any]:
    from splatview.cli.info_field import gather_field
    from splatview.inspection import inspect

    if isinstance(layer.content, HashGrid):
        return {"field": gather_field(layer)}
    return asdict(inspect(layer.content, layer.placement))


def print_facts(facts: dict[str, Any]) -> None:
    """Write `gather`'s facts for people."""
    from splatview.cli.info_field import print_field

    size = f", {facts['bytes'] / 1e6:,.1f} MB" if facts["bytes"] is not None else ""
    fields = sum("field" in layer for layer in facts["layers"].values())
    what = [f"{facts['count']:,} Gaussians"] if facts["count"] or not fields else []
    if fields:
        what.append(f"{fields} hash-grid field{'s' if fields > 1 else ''}")
    up = f", up axis {facts['up']} (a guess)" if facts["up"] else ""
    print(f"{facts['file']}: {' and '.join(what)}{size}{up}")
    for number, count in enumerate(facts["levels"]):
        print(f"  level {number}: {count:,} Gaussians")
    for name, layer in facts["layers"].items():
        if "field" in layer:
            print_field(name, layer["field"], layer["notes"])
            continue
        print(f"\nlayer {name!r}: {layer['count']:,} Gaussians, SH degree {layer['sh_degree']}, trained for {layer['kind']} drawing")
        for note in layer["notes"]:
            print(f"  note: {note}")
        for title, key in (("bounds", "bounds"), ("robust bounds", "robust_bounds")):
            if layer[key]:
                print(f"  {title:<14} {_corner(layer[key]['low'])}  to  {_corner(layer[key]['high'])}")
        print(f"\n  {'attribute':<22}{'min':>12}{'median':>12}{'max':>12}")
        for attribute, values in layer["ranges"].items():
            print(f"  {attribute:<22}{values['low']:>12.5g}{values['median']:>12.5g}{values['high']:>12.5g}")
        print()
        for problem in layer["problems"]:
            print(f"  problem: {problem['count']:,} x {problem['what']}; {problem['advice']}")
        if not layer["problems"]:
            print("  no problems found")


def _corner(point: list[float]) -> str:
    return f"({', '.join(f'{value:.4g}' for value in point)})"
