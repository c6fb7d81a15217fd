"""The scene that everybody looks at and edits: a document, its journal, and the thread on which operations run.

Nobody waits here: every change is handed to that thread, which tells everybody when it has happened and is on the disk. A preview (a gizmo
that is being dragged, a slider) is shown without being part of the document.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from splatview.edit.document import EMPTY, Amend, Change, Document, Entry, Source
from splatview.edit.editing import Editing
from splatview.edit.operations import AnyOperation, Select
from splatview.edit.select import AnyQuery, How, Selection, Tools
from splatview.edit.state import State
from splatview.frame import Masks
from splatview.hashgrid import HashGrid
from splatview.scene import Scene
from splatview.viewer.worker import Worker

T = TypeVar("T")

PATIENCE = 0.2  # seconds after which people are told that something is being worked at

log = logging.getLogger(__name__)


class Cancelled(Exception):
    """Somebody gave up an operation while it ran."""

    def __str__(self) -> str:
        return "Cancelled: nothing has changed."


@dataclass(frozen=True)
class Busy:
    """What is being worked at."""

    label: str
    fraction: float
    text: str


class World:
    """Holds the document, tells its listener when it changed, and undoes changes. Any thread may call it.

    Futures have the state after a change, or what is wrong; then nothing has changed. `changed` is called when another state is to be seen.
    """

    def __init__(
        self,
        scene: Scene,
        tools: Tools,
        changed: Callable[[], None] = lambda: None,
        document: Document = EMPTY,
        record: Callable[[Change, Document], None] = lambda change, document: None,
    ) -> None:
        self._changed = changed
        self.busy_changed: Callable[[], None] = lambda: None
        self.busy: Busy | None = None
        self.undone: tuple[str, str] = ("", "")  # who changed what of the history, last
        self._keep = record  # brings a change of a document to the disk
        self._opening = tools.progress  # told how far it is as long as nothing was asked for
        self._tools = replace(tools, progress=self._progress, stop=self._stop)
        self._worker = Worker("splatview-edit")
        self._lock, self._telling = threading.Lock(), threading.Lock()
        self._previews = 0
        self._preview: State | None = None
        self._gesture: tuple[object, str] | None = None  # and the entry that it made
        self._cancel = threading.Event()
        self._job = "", 0.0
        self._editing = Editing(State(scene), self._tools, document, self._record)
        self._worker.call(self._learn)

    @property
    def state(self) -> State:
        """What is to be seen: the state at the cursor, or a preview."""
        return self._preview or self._editing.state

    @property
    def edited(self) -> State:
        """The state at the cursor."""
        return self._editing.state

    @property
    def document(self) -> Document:
        return self._editing.document

    @property
    def scene(self) -> Scene:
        return self.state.scene

    @property
    def tools(self) -> Tools:
        """What operations are given; progress ends what takes long when it is cancelled."""
        return self._tools

    @property
    def hidden(self) -> Masks:
        """Gaussians [N] by layer that are not drawn."""
        return self.state.undrawn

    # Changes.

    def do(self, operation: AnyOperation, author: str = "", gesture: object = None) -> Future[State]:
        """Append an operation. Those that follow each other with the same `gesture` (typing, say) are one."""
        return self.edit(lambda state: operation, author, gesture)

    def edit(self, what: Callable[[State], AnyOperation | None], author: str = "", gesture: object = None) -> Future[State]:
        """Append the operation that `what` makes of the state then; None: do nothing."""

        def work() -> State:
            operation = what(self._editing.state)
            if operation is None:
                return self._editing.state
            document = self.document
            if gesture is not None and self._gesture is not None and self._gesture[0] is gesture:
                last = document.entries[document.cursor - 1].id if document.cursor else ""
                if last == self._gesture[1]:
                    return self._editing.change(Amend(last, operation))
            state = self._editing.do(operation, author)
            self._gesture = None if gesture is None else (gesture, self.document.entries[-1].id)
            return state

        return self._changing(work, "Working")

    def select(self, query: AnyQuery, how: How = "set", author: str = "") -> Future[State]:
        """Select what `query` finds, combined with what is selected then."""

        def work() -> State:
            return self._editing.select(query, how, author)

        return self._changing(work, "Selecting")

    def undo(self, author: str = "") -> Future[State]:
        """Take the last operation back, if there is one."""
        return self._changing(lambda: self._step(self._editing.undo, "undid", author), "Undoing")

    def redo(self, author: str = "") -> Future[State]:
        """Do the operation again that was undone last, if there is one."""
        return self._changing(lambda: self._step(self._editing.redo, "redid", author), "Redoing")

    def _step(self, way: Callable[[], Entry | None], did: str, author: str) -> State:
        entry = way()
        if entry is not None:
            by = f" of {entry.author}" if entry.author and entry.author != author else ""
            self.undone = author, f"{did} {entry.operation.label!r}{by}"
        return self._editing.state

    def jump(self, cursor: int, author: str = "") -> Future[State]:
        """Go to the state after the first `cursor` operations."""
        back = cursor < self.document.cursor
        did = f"went {'back' if back else 'on'} to {cursor}"
        return self._changing(lambda: self._done(self._editing.jump(cursor), author, did), "Going back" if back else "Going on")

    def switch(self, id: str, on: bool, author: str = "") -> Future[State]:
        """Switch an operation off or on."""
        did = f"switched {'on' if on else 'off'} "
        return self._changing(lambda: self._done(self._editing.switch(id, on), author, did, id), "Working")

    def amend(self, id: str, operation: AnyOperation, author: str = "") -> Future[State]:
        """Give an operation other numbers; its selection stays what it was if the new one has none."""
        change = lambda: self._editing.change(self._amended(id, operation))
        return self._changing(lambda: self._done(change(), author, "changed ", id), "Working")

    def _done(self, state: State, author: str, did: str, id: str | None = None) -> State:
        """Remember who changed what of the history."""
        label = "" if id is None else repr(self.document.entries[self.document.place(id)].operation.label)
        self.undone = author, did + label
        return state

    def _amended(self, id: str, operation: AnyOperation) -> Amend:
        old = self.document.entries[self.document.place(id)].operation
        mine, given = getattr(old, "selection", None), getattr(operation, "selection", None)
        keeps = isinstance(mine, Selection) and isinstance(given, Selection) and given.rows is None
        return Amend(id, replace(operation, selection=mine) if keeps else operation)

    def reorder(self, id: str, to: int, author: str = "") -> Future[State]:
        """Move an operation to another place of the history."""
        return self._changing(lambda: self._done(self._editing.reorder(id, to), author, "moved ", id), "Working")

    def show(self, scene: Scene) -> Future[State]:
        """Start again with another scene, without a way back; nothing more is journalled."""

        def work() -> State:
            self._keep = lambda change, document: None
            self._editing = Editing(State(scene), self._tools, Document(), self._record)
            return self._editing.state

        return self._changing(work, "Working")

    def restore(self, scene: Scene, document: Document) -> Future[State]:
        """Put another document, which begins with `scene`, in this one's place: one that was recovered."""
        return self.put(lambda: (scene, document))

    def put(self, what: Callable[[], tuple[Scene, Document]], taken: Callable[[Document], None] = lambda document: None) -> Future[State]:
        """As `restore`, with what `what` gives then, between two changes; `taken` is told before it counts."""

        def work() -> State:
            scene, document = what()
            editing = Editing(State(scene), self._tools, document, self._record)
            taken(document)
            self._editing = editing
            self.undone = "", ""
            return self._editing.state

        return self._changing(work, "Recovering")

    def renew(self, old: HashGrid, new: HashGrid) -> Future[None]:
        """Put `new` in the place of a field that is being trained: the same layers with other numbers, now and in all the history."""

        def work() -> None:
            self._editing.renew(old, new)
            with self._lock:
                self._preview = self._preview and self._preview.renewed(old, new)
            self._changed()

        return self._worker.call(work)

    def call(self, task: Callable[[], T], label: str = "Working") -> Future[T]:
        """Do `task` between two changes."""
        return self._worker.call(lambda: self._busy(task, label))

    def tell(self) -> None:
        """Let everybody look again at what they show of the document, though nothing of it has changed."""
        self._changed()

    # Previews.

    def preview(self, operation: AnyOperation, marked: bool = True) -> None:
        """Show the state after an operation until something is done; of several that come too fast, the newest is shown.

        Not `marked`: without what is selected, whose mark is in the way of colours.
        """
        self.preview_state(lambda: _marked(self._editing.preview(operation), marked))

    def preview_amended(self, id: str, operation: AnyOperation, marked: bool = True) -> None:
        """Show the state with other numbers of an operation, as `preview` does."""
        self.preview_state(lambda: _marked(self._editing.preview_change(self._amended(id, operation)), marked))

    def preview_state(self, state: Callable[[], State]) -> None:
        """Show what `state` gives, as `preview` does."""
        with self._lock:
            self._previews += 1
            number = self._previews

        def work() -> None:
            if number != self._previews:
                return
            try:
                shown = state()
            except (ValueError, Cancelled):
                return
            with self._lock:  # or one that has just been ended would be seen for ever
                if number != self._previews:
                    return
                self._preview = shown
            self._changed()

        self._worker.call(lambda: self._busy(work, "Previewing"))

    def end_preview(self) -> None:
        """Show the document again."""
        with self._lock:
            self._previews += 1
            was, self._preview = self._preview, None
        if was is not None:
            self._changed()

    # Work.

    def cancel(self) -> None:
        """Give up what is being worked at."""
        self._cancel.set()

    def close(self) -> None:
        """Give up what is being worked at, and what waits."""
        self._cancel.set()
        self._worker.close()

    def _changing(self, work: Callable[[], State], label: str) -> Future[State]:
        def run() -> State:
            try:
                return self._busy(work, label)
            finally:
                with self._lock:
                    self._previews += 1
                    self._preview = None
                try:
                    self._changed()
                except Exception:  # a page that cannot show it: it has happened, and is on the disk
                    log.exception("could not show the scene")

        with self._lock:
            self._previews += 1  # one that is being made would only be in the way
        return self._worker.call(run)

    def _busy(self, work: Callable[[], T], label: str) -> T:
        self._cancel.clear()
        self._job = job = label, time.monotonic()
        waiting = threading.Timer(PATIENCE, lambda: self._tell(Busy(label, 0.0, ""), job))
        waiting.daemon = True
        waiting.start()
        try:
            return work()
        finally:
            waiting.cancel()
            self._job = "", 0.0
            self._tell(None)

    def _stop(self) -> None:
        if self._cancel.is_set() or self._worker.closed:
            raise Cancelled

    def _progress(self, fraction: float, text: str) -> None:
        self._stop()
        label, began = job = self._job
        if not label:
            self._opening(fraction, text)
        news = self.busy is None or fraction - self.busy.fraction > 0.02 or text != self.busy.text
        if label and news and time.monotonic() - began > PATIENCE:
            self._tell(Busy(label, fraction, text), job)

    def _learn(self) -> None:
        """Look through the layers' numbers, so that the first selection need not."""
        for rows in self._editing.start.rows.values():
            if not self._worker.closed:
                rows.digest  # noqa: B018  it is kept

    def _tell(self, busy: Busy | None, job: tuple[str, float] | None = None) -> None:
        with self._telling:  # the timer has a thread of its own, which may come too late
            if busy is self.busy or (busy is not None and self._job is not job):
                return
            self.busy = busy
            try:
                self.busy_changed()
            except Exception:
                log.exception("could not show what is being worked at")

    def sourced(self) -> Document:
        """The document, its sources with the digests of what was in them."""
        rows = self._editing.start.rows

        def known(source: Source) -> Source:
            layers = [name for name in source.names if name in rows]
            return replace(source, digests=source.digests or tuple(rows[name].digest for name in layers))

        return replace(self.document, sources=tuple(map(known, self.document.sources)))

    def _record(self, change: Change) -> None:
        self._keep(change, self.sourced())


def selection_of(entry: Entry) -> Any:
    """The selection that an entry's operation owns, if any."""
    return None if isinstance(entry.operation, Select) else getattr(entry.operation, "selection", None)


def _marked(state: State, on: bool) -> State:
    return state if on else replace(state, selected=Masks())
