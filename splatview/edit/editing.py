"""A document that is being edited: its state at the cursor, kept at hand, and every change checked before it counts."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from splatview.edit.document import EMPTY, Amend, Change, Do, Document, Entry, Jump, Reorder, Switch
from splatview.edit.operations import AnyOperation, Select, bound
from splatview.edit.select import AnyQuery, How, Tools
from splatview.edit.state import State
from splatview.frame import Renderer
from splatview.scene import Scene

STATES = 200  # that are kept at hand
BYTES = 1 << 30  # of arrays that only they hold; the states next to the present one are kept whatever they hold

Key = int


class Editing:
    """Applies changes to a document, one at a time. Any thread may call it; a change that takes long keeps the others waiting.

    `record` is called with every change before it counts: what it raises keeps the change from happening.
    """

    def __init__(
        self, start: State, tools: Tools, document: Document = EMPTY, record: Callable[[Change], None] = lambda change: None
    ) -> None:
        self.tools = tools
        self._record = record
        self._lock = threading.RLock()
        # The states after the first operations; each holds its operations, so that no others take their identities.
        self._states: OrderedDict[Key, tuple[tuple[AnyOperation, ...], State]] = OrderedDict()
        self._start = start
        self._document = document
        self._state = self._play(document.counted)

    @property
    def start(self) -> State:
        """The state before the first operation."""
        return self._start

    @property
    def document(self) -> Document:
        return self._document

    @property
    def state(self) -> State:
        """The state at the cursor."""
        return self._state

    def change(self, change: Change) -> State:
        """Do `change`, and give the state after it. ValueError, or what the operation raises, if it cannot be: nothing has changed."""
        with self._lock:
            document = self._document.after(change)
            state = self._play(document.counted)
            self._record(change)
            self._document, self._state = document, state
            return state

    def do(self, operation: AnyOperation, author: str = "") -> State:
        """Apply an operation and append it; a selection that was not asked yet is asked now, and kept with its masks."""
        with self._lock:
            return self.change(Do(Entry.new(bound(operation, self._state, self.tools), author)))

    def select(self, query: AnyQuery, how: How = "set", author: str = "") -> State:
        """Select what `query` finds, combined with what is selected."""
        with self._lock:
            return self.do(Select.asked(query, self._state, self.tools, how), author)

    def preview(self, operation: AnyOperation) -> State:
        """The state after an operation, which is not kept."""
        return bound(operation, self._state, self.tools).apply(self._state, self.tools)

    def preview_change(self, change: Change) -> State:
        """The state after a change, which does not happen."""
        return self._play(self._document.after(change).counted, keep=False)

    def undo(self) -> Entry | None:
        """Take the last operation back; None if there is none."""
        return self._step(-1)

    def redo(self) -> Entry | None:
        """Do the operation again that was undone last; None if there is none."""
        return self._step(+1)

    def _step(self, way: int) -> Entry | None:
        with self._lock:
            cursor = self._document.cursor + way
            if not 0 <= cursor <= len(self._document.entries):
                return None
            entry = self._document.entries[min(cursor, self._document.cursor)]
            self.change(Jump(cursor))
            return entry

    def jump(self, cursor: int) -> State:
        return self.change(Jump(cursor))

    def switch(self, id: str, on: bool) -> State:
        return self.change(Switch(id, on))

    def amend(self, id: str, operation: AnyOperation) -> State:
        return self.change(Amend(id, operation))

    def reorder(self, id: str, to: int) -> State:
        return self.change(Reorder(id, to))

    def _play(self, operations: Sequence[AnyOperation], keep: bool = True) -> State:
        """The state that the operations make, from the nearest one at hand."""
        keys = _keys(operations)
        done = next((count for count in range(len(operations), 0, -1) if keys[count] in self._states), 0)
        state = self._states[keys[done]][1] if done else self._start
        for count in range(done + 1, len(operations) + 1):
            operation = operations[count - 1]
            try:
                state = operation.apply(state, self.tools)
            except ValueError as error:
                if count == len(operations):
                    raise
                raise ValueError(f"{operation.label}, further on, would no longer work: {error}") from error
            if keep:
                self._states[keys[count]] = tuple(operations[:count]), state
        if done:
            self._states.move_to_end(keys[done])
        if keep and operations:
            self._states.move_to_end(keys[-1])
            self._trim(state)
        return state

    def _trim(self, present: State) -> None:
        """Forget the states that were not needed for longest, beyond the limits."""
        held = set(_arrays(present)) | set(_arrays(self._start))
        size, kept = 0, 0
        for key in reversed(list(self._states)):
            fresh = {at: nbytes for at, nbytes in _arrays(self._states[key][1]).items() if at not in held}
            kept, size = kept + 1, size + sum(fresh.values())
            if kept > 2 and (kept > STATES or size > BYTES):
                del self._states[key]
                size -= sum(fresh.values())
            else:
                held |= set(fresh)


def _keys(operations: Sequence[AnyOperation]) -> list[Key]:
    """A key for each number of operations, made of their identities in order."""
    keys: list[Key] = [0]
    for operation in operations:
        keys.append(hash((keys[-1], id(operation))))
    return keys


def _arrays(state: State) -> dict[int, int]:
    """Bytes of the arrays and masks of a state, by identity."""
    found: dict[int, int] = {}
    for layer in state.scene.layers.values():
        content = layer.content
        for array in (content.means, content.quats, content.log_scales, content.opacity_logits, content.sh):
            found[id(array)] = array.nbytes
    for masks in (state.selected, state.hidden, state.locked, state.deleted, *state.sets.values()):
        found.update({id(mask): mask.nbytes for mask in masks.values()})
    return found


def edit(scene: Scene, renderer: Renderer, document: Document = EMPTY) -> Editing:
    """Edit a scene in memory, from Python.

    >>> import numpy as np
    >>> from splatview import Gaussians, Layer, Scene, open_renderer
    >>> from splatview.edit.editing import edit
    >>> from splatview.edit.operations import Delete
    >>> from splatview.edit.select import Matching
    >>> dots = Gaussians([[0, 0, 0], [1, 0, 0]], [[1, 0, 0, 0]] * 2, [[-3, -3, -3]] * 2, [3.0, -3.0], np.zeros((2, 1, 3)))
    >>> editing = edit(Scene({"dots": Layer(dots)}), open_renderer("cpu"))
    >>> editing.select(Matching("opacity < 0.5")).selected_count
    1
    >>> editing.do(Delete()).living_count
    1
    >>> editing.undo().operation.label, editing.state.living_count
    ('Delete', 2)
    """

    def load(path: str, level: int | None) -> Scene:
        raise ValueError(f"{path}: files cannot be added here")

    return Editing(State(scene), Tools(lambda: renderer, load), document)
