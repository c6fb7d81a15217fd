"""The styles that need nothing but OpenCV: sliders for each."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from splatview.stylize.controls import shuffled
from splatview.stylize.filters import FILTERS
from splatview.viewer.panels.controls import Controls


class Filtering:
    """Its widgets, in a folder that is there while a filter is the chosen kind. `changed` is told when there is another stylizer."""

    def __init__(self, gui: Any, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._values: dict[str, Any] = {name: kind() for name, kind in FILTERS.items()}  # with their numbers as they were last
        self._name = next(iter(self._values))
        with gui.add_folder(None) as self.folder:
            self._widgets = Controls(gui, self.folder, self._turned)

    @property
    def controls(self) -> Any:
        """Of the chosen filter; they are the stylizer themselves."""
        return self._values[self._name]

    stylizer = controls

    def choose(self, name: str) -> None:
        """Show the widgets of the filter."""
        self._name = name
        self._widgets.show(self.controls)

    def open(self) -> None:
        """It is always there."""

    def put(self, controls: Any) -> None:
        """Put `controls` into the widgets."""
        self._values[self._name] = controls
        self._widgets.show(controls)

    def show(self, controls: Any) -> None:
        """Put `controls` into the widgets, and draw with them."""
        self.put(controls)
        self._changed()

    def surprise(self) -> None:
        """Other numbers."""
        self.show(shuffled(self.controls, random.Random()))

    def _turned(self, controls: Any) -> None:
        self._values[self._name] = controls
        self._changed()
