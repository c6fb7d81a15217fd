"""Files that people open from the page: read in a thread of ours, one at a time, while everybody goes on looking."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol, TypeVar

from splatview.edit.operations import AddLayers, SwapLevel
from splatview.edit.state import State, digest_of
from splatview.formats import levels, load
from splatview.scene import Scene
from splatview.viewer.desk import Desk
from splatview.viewer.worker import Worker
from splatview.viewer.world import World

T = TypeVar("T")

log = logging.getLogger(__name__)

FAULTS = (ValueError, OSError, ImportError, MemoryError)  # of the file or of this machine; anything else is ours


class Notice(Protocol):
    """A message in a page about something that takes a while."""

    def tell(self, fraction: float, text: str) -> None: ...
    def done(self) -> None: ...
    def failed(self, text: str) -> None: ...


class Loading:
    """Adds layers from files, and other levels of detail of them. `changed` is called when more is known of a file."""

    def __init__(self, world: World, desk: Desk, changed: Callable[[], None] = lambda: None) -> None:
        self._world = world
        self._desk = desk
        self._changed = changed
        self._worker = Worker("splatview-loading")
        self._levels: dict[str, tuple[int, ...]] = {}

    def levels(self, source: str | None) -> tuple[int, ...]:
        """Gaussians in each level of detail of a file, the finest first; () if it has one only, or if that is not known (yet)."""
        return self._levels.get(source or "", ())

    def learn(self, scene: Scene) -> None:
        """Look at the files that the layers were read from for other levels of detail."""
        for source in {layer.source for layer in scene.layers.values() if layer.source}:
            self._worker.call(lambda source=source: self._learn(source))

    def add(self, path: Path, notice: Notice | None = None, *, stays: bool = True, author: str = "") -> Future[str]:
        """Add the layers of a file; the future has their names, or what is wrong. A file that does not stay is taken over."""
        return self._worker.call(lambda: self._told(notice, path.name, lambda: self._add(path, notice, stays, author)))

    def swap(self, name: str, level: int, notice: Notice | None = None, author: str = "") -> Future[None]:
        """Put another level of detail into a layer; its name, its place and whether it is shown stay."""
        return self._worker.call(lambda: self._told(notice, name, lambda: self._swap(name, level, notice, author)))

    def close(self) -> None:
        """Forget what waits, and give up what is being read at its next step."""
        self._worker.close()

    # On the thread.

    def _told(self, notice: Notice | None, name: str, work: Callable[[], T]) -> T:
        try:
            result = work()
        except Exception as error:
            if notice is not None:
                notice.failed(fault_text(error))
            if not isinstance(error, (*FAULTS, _Closed)):
                log.exception("could not read %s", name)
            raise
        if notice is not None:
            notice.done()
        return result

    def _progress(self, notice: Notice | None) -> Callable[[float, str], None]:
        def tell(fraction: float, text: str) -> None:
            if self._worker.closed:
                raise _Closed
            if notice is not None:
                notice.tell(fraction, text)

        return tell

    def _add(self, path: Path, notice: Notice | None, stays: bool, author: str) -> str:
        found = load(path, self._progress(notice))
        if not stays:
            path = self._taken(path)
        where = str(path.resolve())
        found = found.read_from(where)
        self._desk.remember(where, None, found)
        self._learn(where)
        digests = tuple(digest_of(layer.content) for layer in found.layers.values())
        names: list[str] = []

        def added(state: State) -> AddLayers:
            both = state.scene.joined(found)
            names[:] = [name for name in both.layers if name not in state.scene.layers]
            return AddLayers(where, tuple(names), digests)

        self._world.edit(added, author).result()
        return ", ".join(names)

    def _taken(self, path: Path) -> Path:
        """A file that was sent, where it stays as long as the document needs it."""
        folder = Path(tempfile.mkdtemp(dir=self._desk.uploads, prefix=""))
        return Path(shutil.move(path, folder / path.name))

    def _swap(self, name: str, level: int, notice: Notice | None, author: str) -> None:
        layer = self._world.scene.layers.get(name)
        if layer is None or layer.source is None:
            raise ValueError(f"{name}: this layer was not read from a file that is still there")
        if len(layer.splats) not in self.levels(layer.source):
            raise ValueError(f"{name}: this layer is not one of its file's levels of detail")
        self._desk.remember(layer.source, level, load(layer.source, self._progress(notice), level=level).read_from(layer.source))

        def swapped(state: State) -> SwapLevel | None:
            now = state.scene.layers.get(name)
            return None if now is None or now.source != layer.source else SwapLevel(name, level)  # or removed in the meantime

        self._world.edit(swapped, author).result()

    def _learn(self, source: str) -> None:
        if source not in self._levels:
            try:
                self._levels[source] = levels(source)
            except FAULTS:  # it is what reading it says
                self._levels[source] = ()
            if self._levels[source]:
                self._changed()


class _Closed(Exception):
    """The viewer was closed while a file was being read."""

    def __str__(self) -> str:
        return "The viewer was closed."


def fault_text(error: Exception) -> str:
    """What a person is told."""
    if isinstance(error, MemoryError):
        return "There is not enough memory for this file."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or ''}: {error.strerror}".strip(": ")
    return str(error) if isinstance(error, (*FAULTS, _Closed)) else f"{type(error).__name__}: {error}. The server's log says more."
