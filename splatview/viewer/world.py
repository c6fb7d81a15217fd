"""The scene that everybody looks at, and the way back to what it was."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from numpy.typing import NDArray

from splatview.arrays import Bools
from splatview.frame import Masks
from splatview.gaussians import Gaussians
from splatview.scene import Scene

STEPS = 50  # that can be undone
HISTORY_BYTES = 2 << 30  # of Gaussians that only the history holds; the newest step is kept whatever it holds


@dataclass(frozen=True)
class State:
    """A scene, and which of its Gaussians are not drawn."""

    scene: Scene
    hidden: Masks = Masks()  # [N] by layer

    def with_scene(self, scene: Scene) -> State:
        """`scene` in the old one's place: a mask follows its Gaussians, also to a new name, and goes when they go."""
        masks = {}
        for name, mask in self.hidden.items():
            content = self.scene.layers[name].content
            names = [new for new, layer in scene.layers.items() if layer.content is content]
            if name in names:
                masks[name] = mask
            elif names:
                masks[names[0]] = mask
        return State(scene, Masks(masks))

    def hiding(self, name: str, which: Bools, hide: bool = True) -> State:
        """The Gaussians `which` [N] of a layer not drawn, or drawn again."""
        old = self.hidden.get(name)
        mask = (which if old is None else old | which) if hide else (None if old is None else old & ~which)
        masks = {key: kept for key, kept in self.hidden.items() if key != name}
        return State(self.scene, Masks(masks if mask is None or not mask.any() else {**masks, name: mask}))

    def keeping(self, name: str, which: NDArray) -> State:
        """Only the Gaussians `which` (a mask [N] or indices) of a layer; what was hidden of them stays hidden."""
        content = self.scene.layers[name].content.take(which)
        mask = self.hidden.get(name)
        return self._with_content(name, content, None if mask is None else mask[which])

    def with_content(self, name: str, content: Gaussians) -> State:
        """A layer's Gaussians replaced by as many others, which stay hidden where they were."""
        return self._with_content(name, content, self.hidden.get(name))

    def _with_content(self, name: str, content: Gaussians, mask: Bools | None) -> State:
        masks = {key: kept for key, kept in self.hidden.items() if key != name}
        scene = self.scene.with_layer(name, replace(self.scene.layers[name], content=content))
        return State(scene, Masks(masks if mask is None else {**masks, name: mask}))


def renamed(scene: Scene, old: str, new: str) -> Scene:
    """`scene` with a layer called `new`, or what of it is free, in its old place; unchanged if there is no `old` or `new` is blank."""
    others = {name: layer for name, layer in scene.layers.items() if name != old}
    if old not in scene.layers or not new.strip():
        return scene
    free = Scene.free_name(new.strip(), others)
    return Scene({free if name == old else name: layer for name, layer in scene.layers.items()})


class World:
    """Holds the scene, tells its listener when it changed, and undoes changes. Any thread may change it."""

    def __init__(self, scene: Scene, changed: Callable[[], None] = lambda: None) -> None:
        self._state = State(scene)
        self._changed = changed
        self._lock = threading.Lock()
        self._forget()

    @property
    def state(self) -> State:
        """The scene and what is hidden of it, at one moment."""
        return self._state

    @property
    def scene(self) -> Scene:
        return self._state.scene

    @property
    def hidden(self) -> Masks:
        """Gaussians [N] by layer that are not drawn."""
        return self._state.hidden

    def edit(self, what: Callable[[State], State], gesture: object = None) -> None:
        """Put `what(state)` in the state's place; what it raises is passed on, and nothing has changed.

        Changes that follow each other with the same `gesture` (a drag, say) are one step of the history.
        """
        with self._lock:
            state = what(self._state)
            if state == self._state:
                return
            if gesture is None or gesture is not self._gesture:
                self._past.append(self._state)
            self._future.clear()
            self._gesture = gesture
            self._state = state
            self._trim()
        self._changed()

    def change(self, what: Callable[[Scene], Scene], gesture: object = None) -> None:
        """Put `what(scene)` in the scene's place, as `edit` does."""
        self.edit(lambda state: state.with_scene(what(state.scene)), gesture)

    def hide(self, hidden: Masks) -> None:
        """Do not draw these Gaussians from now on, and draw all others."""
        self.edit(lambda state: replace(state, hidden=hidden))

    def show(self, scene: Scene) -> None:
        """Start again with another scene: there is no way back."""
        with self._lock:
            self._state = State(scene)
            self._forget()
        self._changed()

    def undo(self) -> bool:
        """Take the last change back; False if there is none."""
        return self._step(self._past, self._future)

    def redo(self) -> bool:
        """Make the change again that was undone last; False if there is none."""
        return self._step(self._future, self._past)

    def _step(self, source: list[State], target: list[State]) -> bool:
        with self._lock:
            if not source:
                return False
            target.append(self._state)
            self._state = source.pop()
            self._gesture = None
        self._changed()
        return True

    def _forget(self) -> None:
        self._past: list[State] = []
        self._future: list[State] = []
        self._gesture: object = None

    def _trim(self) -> None:
        """Forget the oldest steps beyond the limits."""
        del self._past[:-STEPS]
        held = {id(layer.content) for layer in self._state.scene.layers.values()}
        size = 0
        for back, state in enumerate(reversed(self._past), 1):
            for layer in state.scene.layers.values():
                if id(layer.content) not in held:
                    held.add(id(layer.content))
                    size += layer.content.nbytes
            if size > HISTORY_BYTES and back > 1:
                del self._past[: len(self._past) - back + 1]
                return
