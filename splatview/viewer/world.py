"""The scene that everybody looks at."""

from __future__ import annotations

import threading
from collections.abc import Callable

from splatview.frame import Masks
from splatview.scene import Scene


class World:
    """Holds the scene, and tells its listener when it changed. Any thread may change it."""

    def __init__(self, scene: Scene, changed: Callable[[], None] = lambda: None) -> None:
        self._scene = scene
        self._hidden = Masks()
        self._changed = changed
        self._lock = threading.Lock()

    @property
    def scene(self) -> Scene:
        return self._scene

    @property
    def hidden(self) -> Masks:
        """Gaussians [N] by layer that are not drawn."""
        return self._hidden

    def change(self, what: Callable[[Scene], Scene]) -> None:
        """Put `what(scene)` in the scene's place; what it raises is passed on, and nothing has changed."""
        with self._lock:
            self._scene = what(self._scene)
        self._changed()

    def hide(self, hidden: Masks) -> None:
        """Do not draw these Gaussians from now on, and draw all others."""
        with self._lock:
            self._hidden = hidden
        self._changed()
