"""The scene's layers."""

from __future__ import annotations

from typing import Any

from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import press, tell
from splatview.viewer.world import World


class Layers:
    """The folder "Layers"."""

    def __init__(self, page: Page, world: World) -> None:
        self._gui, self._world = page.gui, world
        self._widgets: list[Any] = []
        self._folder = self._gui.add_folder("Layers")
        self.show()

    def show(self) -> None:
        """Rebuild the list."""
        for widget in self._widgets:
            widget.remove()
        self._widgets.clear()
        with self._folder:
            for name, layer in self._world.scene.layers.items():
                shown = self._gui.add_checkbox(name, initial_value=layer.visible, hint=f"{len(layer.content):,} splats")
                remove = self._gui.add_button(f"Remove {name}", color="gray")
                self._widgets += [shown, remove]
                tell(shown, lambda on, name=name: self._world.change(lambda scene: scene.shown(name, on)))
                press(remove, lambda name=name: self._world.change(lambda scene: scene.without(name)))
