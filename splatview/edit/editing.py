"""A document that is being edited: its state at the cursor, kept at hand, and every change checked before it counts."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from splatview.edit.document import EMPTY, Amend, Change, Do, Document, Entry, Jump, Reorder, Switch
from splatview.edit.operations import AnyOperation, Select, bound
from splatview.edit.patience import apart
from splatview.edit.select import AnyQuery, How, Tools
from splatview.edit.state import State, arrays_of
from splatview.frame import Renderer
from splatview.hashgrid import HashGrid
from splatview.scene import Scene

STATES = 200  # that are kept at hand
BYTES = 1 << 30  # of arrays that they hold and the first one does not; the present one and the one before are kept whatever they hold

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
        self._start, self._shelf = start, Shelf(start)
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
            return self.change(Do(Entry.new(self._bound(operation), author)))

    def select(self, query: AnyQuery, how: How = "set", author: str = "") -> State:
        """Select what `query` finds, combined with what is selected."""
        with self._lock:
            state = self._state
            return self.do(apart(lambda tools: Select.asked(query, state, tools, how), self.tools), author)

    def preview(self, operation: AnyOperation) -> State:
        """The state after an operation, which is not kept."""
        state = self._state
        return apart(lambda tools: bound(operation, state, tools).apply(state, tools), self.tools)

    def preview_change(self, change: Change) -> State:
        """The state after a change, which does not happen."""
        return self._play(self._document.after(change).counted, keep=False)

    def renew(self, old: HashGrid, new: HashGrid) -> State:
        """Put a field in another's place, as if it had been there from the start: no change of the document, and nothing to undo."""
        with self._lock:
            self._start = self._start.renewed(old, new)
            self._shelf = self._shelf.renewed(self._start, lambda state: state.renewed(old, new))
            self._state = self._state.renewed(old, new)
            return self._state

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

    def _bound(self, operation: AnyOperation) -> AnyOperation:
        state = self._state
        return apart(lambda tools: bound(operation, state, tools), self.tools)

    def _applied(self, operation: AnyOperation, state: State) -> State:
        return apart(lambda tools: operation.apply(state, tools), self.tools)

    def _play(self, operations: Sequence[AnyOperation], keep: bool = True) -> State:
        """The state that the operations make, from the nearest one at hand."""
        keys = _keys(operations)
        done = next((count for count in range(len(operations), 0, -1) if keys[count] in self._shelf), 0)
        state = self._shelf.take(keys[done]) if done else self._start
        for count in range(done + 1, len(operations) + 1):
            operation = operations[count - 1]
            if len(operations) - done > 1:
                self.tools.progress((count - 1 - done) / (len(operations) - done), operation.label)
            try:
                state = self._applied(operation, state)
            except ValueError as error:
                if count == len(operations):
                    raise
                raise ValueError(f"{operation.label}, further on, would no longer work: {error}") from error
            if keep:
                self._shelf.put(keys[: count + 1], tuple(operations[:count]), state)
        return state


@dataclass(frozen=True, eq=False)
class Kept:
    """A state, with the operations that made it, so that no others take their identities, and its arrays."""

    operations: tuple[AnyOperation, ...]
    state: State
    arrays: Mapping[int, int]  # bytes by identity


class Shelf:
    """The states that are at hand, within `STATES` and `BYTES`.

    Of the way to the present one the farther back the fewer are kept: to go back by n operations takes doing about n of them again.
    """

    def __init__(self, start: State) -> None:
        self._kept: OrderedDict[Key, Kept] = OrderedDict()  # those that were needed last at the end
        self._uses = Counter(_arrays(start).keys())
        self.bytes = 0

    def renewed(self, start: State, what: Callable[[State], State]) -> Shelf:
        """What `what` makes of the states, for another `start`."""
        shelf = Shelf(start)
        for key, kept in self._kept.items():
            shelf.put([key], kept.operations, what(kept.state))
        return shelf

    def __contains__(self, key: Key) -> bool:
        return key in self._kept

    @property
    def states(self) -> list[State]:
        return [kept.state for kept in self._kept.values()]

    def take(self, key: Key) -> State:
        """A state that is there."""
        self._kept.move_to_end(key)
        return self._kept[key].state

    def put(self, way: Sequence[Key], operations: tuple[AnyOperation, ...], state: State) -> None:
        """Keep `state`, the last one of the `way` of keys to it; it is the present one now."""
        self._drop(way[-1])
        kept = self._kept[way[-1]] = Kept(operations, state, _arrays(state))
        for at, nbytes in kept.arrays.items():
            self.bytes += 0 if self._uses[at] else nbytes
            self._uses[at] += 1
        places = {key: place for place, key in enumerate(way)} if self._is_full else {}
        while self._is_full and (key := self._least(places)) is not None:
            self._drop(key)

    @property
    def _is_full(self) -> bool:
        return len(self._kept) > STATES or self.bytes > BYTES

    def _least(self, places: Mapping[Key, int]) -> Key | None:
        """What is missed least: what is on no way to the present state, else what leaves the smallest gap for how far back it is."""
        aside = next((key for key in self._kept if key not in places), None)
        if aside is not None:
            return aside
        present = len(places) - 1
        keys = sorted(self._kept, key=places.__getitem__)
        at = [0, *(places[key] for key in keys)]
        gaps = [((at[i + 1] - at[i - 1]) / (present - at[i]), keys[i - 1]) for i in range(1, len(at) - 1) if at[i] < present - 1]
        return min(gaps)[1] if gaps else None

    def _drop(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        for at, nbytes in kept.arrays.items() if kept is not None else ():
            self._uses[at] -= 1
            if not self._uses[at]:
                del self._uses[at]
                self.bytes -= nbytes


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
        for array in arrays_of(layer.content):
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
