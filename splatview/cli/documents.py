"""Documents where scenes are drawn: what they begin with, and what their operations have made of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from splatview.cli.faults import UserError, users_fault
from splatview.cli.loading import load_scenes, renderer
from splatview.cli.waiting import waiting
from splatview.edit.state import State
from splatview.render import Backend
from splatview.scene import Scene

if TYPE_CHECKING:
    from splatview.edit.select import Tools

SUFFIX = ".splatview"  # as archive has it, whose import takes a moment


@dataclass(frozen=True)
class DocumentFlags:
    """Of documents."""

    changed: Literal["refuse", "rerun"] = "refuse"
    """What to do with a document whose sources are not what they were: nothing, or make its selections again on them."""
    sources: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Where a document's sources are looked for if they are not where they were."""

    def state(self, paths: Sequence[Path], level: int | None, backend: Backend) -> State:
        """The scenes in files as they were read, or what the operations of a document have made; `backend`: what draws for them.

        UserError if something is missing, broken, unknown, or not to be done.
        """
        path = document_among(paths, level)
        return State(load_scenes(paths, level)) if path is None else self._opened(path, backend)

    def _opened(self, path: Path, backend: Backend) -> State:
        from splatview.cli.edit import replayed
        from splatview.edit import archive
        from splatview.edit.sources import opened

        with tempfile.TemporaryDirectory(prefix="splatview-") as folder, waiting(f"reading {path}") as progress:
            with users_fault(ValueError, OSError, ImportError):
                document = archive.extracted(path, archive.read(path), Path(folder))
                document, scene = opened(document, _read, self.changed, self.sources)
            return replayed(document.counted, State(scene), tools_of(backend, progress), path)[0]


def tools_of(backend: Backend, progress: Callable[[float, str], None] = lambda fraction, text: None) -> Tools:
    """What operations and queries need beside a scene."""
    from splatview.edit.select import Tools

    return Tools(cache(lambda: renderer(backend)), _read, progress)


def _read(path: str, level: int | None) -> Scene:
    from splatview.viewer.desk import read

    return read(path, level)


def document_among(paths: Sequence[Path], level: int | None) -> Path | None:
    """The document that is to be opened; None: scene files are. UserError if there is more than one, or a `level`."""
    if not any(path.suffix == SUFFIX for path in paths):
        return None
    if len(paths) > 1 or level is not None:
        raise UserError(
            f"expected one document and nothing else, or scene files; got {', '.join(map(str, paths))}"
            f"{'' if level is None else ' and --level, which a document knows itself'}"
        )
    return paths[0]
