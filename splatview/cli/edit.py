"""`splatview edit`: a document's operations on a scene, without a browser."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from splatview.cli.faults import UserError, one_line, users_fault
from splatview.cli.flags import MaybeLevel, ScenePaths
from splatview.cli.loading import contents, load_scenes, renderer
from splatview.cli.waiting import waiting
from splatview.render import Backend
from splatview.scene import Scene

if TYPE_CHECKING:
    from splatview.edit.document import Document
    from splatview.edit.operations import AnyOperation
    from splatview.edit.select import Tools
    from splatview.edit.state import State


@dataclass(frozen=True)
class Command:
    """Edit a scene by a script: the operations of a document that was saved in the viewer, or ones written by hand.

    On the scene that a document was made from, its selections are the very ones that were made; on another they are made again.

    Example: splatview edit garden.ply --script edits.json -o clean.ply
    """

    scenes: ScenePaths
    """Scene files, as many as the document begins with."""
    script: Annotated[Path, arg(metavar="EDITS")]
    """A document (.splatview), or JSON: {"operations": [{"is": "Delete", "selection": "opacity < 0.1"}]}."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="TARGET")]
    """The file to write: .ply, .compressed.ply, .splat, .spz, .sog, .glb, .gltf, or .ingp for a field; replaced if it is there."""
    level: MaybeLevel = None
    """Level of detail of streamed scenes, 0 the finest. Default: the finest with at most 20 million Gaussians."""
    spz_version: Literal[3, 4] = 3
    """Version of a .spz: 3 is read everywhere; 4 is smaller and holds SH degree 4."""
    backend: Backend = "auto"
    """What selections that look at the picture are drawn with."""

    def run(self) -> None:
        from splatview.edit.select import Tools
        from splatview.edit.state import State
        from splatview.formats import save

        with ExitStack() as folders:
            document = script_of(self.script, folders)
            scene = begun(load_scenes(self.scenes, self.level), document)
            with waiting("editing") as progress:
                tools = Tools(cache(lambda: renderer(self.backend)), self._load, progress)
                state, told = replayed(document.counted, State(scene), tools, self.script)
        result = state.result()
        if not (result.count or result.visible_fields):
            raise UserError(f"{self.script}: nothing is left of the {scene.count:,} Gaussians")
        with users_fault(ValueError, OSError, ImportError), waiting(f"writing {self.output}") as progress:
            notes = save(result, self.output, spz_version=self.spz_version, progress=progress)
        print(f"{self.script}: {told}")
        for note in (*(note for layer in scene.layers.values() for note in layer.notes), *notes):
            print(f"note: {note}")
        removed = f" ({scene.count:,} before)" if result.count != scene.count else ""
        print(f"{self.output}: {contents(result)}{removed}, {self.output.stat().st_size / 1e6:,.1f} MB")

    def _load(self, path: str, level: int | None) -> Scene:
        from splatview.viewer.desk import read

        return read(str((self.script.parent / path).resolve()), level)


def script_of(path: Path, folders: ExitStack) -> Document:
    """The document in a file, or in a script written by hand; what is embedded is in a folder until `folders` ends. UserError if none."""
    from splatview.edit import archive
    from splatview.edit.document import decode

    with users_fault(ValueError, OSError):
        with path.open("rb") as file:
            data = file.read(archive.LARGEST_TEXT + 1)
        if data.startswith(b"PK"):
            document = archive.read(path)
            folder = folders.enter_context(tempfile.TemporaryDirectory(prefix="splatview-"))
            added = archive.extracted(path, replace(document, sources=()), Path(folder))  # the sources are given
            return replace(added, sources=document.sources)
        if len(data) > archive.LARGEST_TEXT:
            raise ValueError(f"{path}: expected at most {archive.LARGEST_TEXT:,} bytes")
        try:
            read = json.loads(data)
            return decode({"operations": read} if isinstance(read, list) else read)
        except RecursionError as error:
            raise ValueError(f"{path}: expected a document, found values inside each other without end") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def begun(scene: Scene, document: Document) -> Scene:
    """`scene` as the document began: its layers are called, and stand, as those that the document was made from. UserError if there are
    others in number."""
    names = [name for source in document.sources for name in source.names]
    places = [place for source in document.sources for place in source.placements]
    if not names:
        return scene
    if len(names) != len(scene.layers):
        count = f"{len(document.sources)} file{'s' if len(document.sources) != 1 else ''}"
        raise UserError(
            f"expected {len(names)} layers, found {len(scene.layers)}: the document begins with {', '.join(names)}, of {count} "
            "(splatview edit SCENE SCENE --script EDITS -o TARGET)"
        )
    scene = Scene(dict(zip(names, scene.layers.values(), strict=True)))
    if len(places) == len(names):
        for name, place in zip(names, places, strict=True):
            scene = scene.placed(name, place)
    return scene


def replayed(operations: tuple[AnyOperation, ...], state: State, tools: Tools, script: Path) -> tuple[State, str]:
    """The state after the operations, and what became of their selections, for people. UserError if one cannot be done."""
    same, again, tell = 0, 0, tools.progress
    for place, operation in enumerate(operations):
        selection = getattr(operation, "selection", None)
        if selection is not None and selection.rows is not None:
            fits = selection.fits(state)
            same, again = same + fits, again + (not fits)
        within = replace(tools, progress=lambda done, text, at=place: tell((at + done) / len(operations), text))
        tell(place / len(operations), operation.label)
        try:
            state = operation.apply(state, within)
        except (ValueError, OSError, ImportError) as error:
            raise UserError(f"{script}: operation {place + 1}, {operation.label}: {one_line(error)}") from error
    told = [f"{len(operations)} operation{'s' if len(operations) != 1 else ''}"]
    if same:
        told.append(f"{same} selection{'s' if same != 1 else ''} as made in the document: the scene is the same")
    if again:
        told.append(f"{again} selection{'s' if again != 1 else ''} made again: the scene is another")
    return state, "; ".join(told)
