"""Styles by name: saved, and chosen again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from splatview.stylize.filters import FILTERS
from splatview.stylize.library import Library
from splatview.stylize.onnx_style import Redrawing
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import hear, press
from splatview.viewer.remembered import state_folder

NETWORK = "onnx"
SAVED: dict[str, type] = {**FILTERS, NETWORK: Redrawing}  # and diffusion
CHOOSE = "choose"


class SavedStyles:
    """Its widgets. `now` gives the numbers to save; `take` is told those that were chosen."""

    def __init__(self, page: Page, now: Callable[[], Any], take: Callable[[Any], object]) -> None:
        gui = page.gui
        self._page, self._now, self._take = page, now, take
        self._library = Library(styles_file(), SAVED)
        self._saved: Any = gui.add_dropdown("Saved styles", (CHOOSE, *self._names()), initial_value=CHOOSE)
        self._name: Any = gui.add_text("Style name", "", hint="To save it as")
        save = gui.add_button("Save this style", color="gray")
        hear(self._saved, self._load)
        press(save, self._save)

    def _names(self) -> list[str]:
        try:
            return self._library.names()
        except (ValueError, OSError):  # it is told when a style is saved
            return []

    def _load(self, name: str) -> None:
        if name == CHOOSE:
            return
        try:
            found = self._library.load(name)
        except (KeyError, ValueError, OSError) as error:
            self._page.notify("No such style", str(error))
            return
        self._take(found)

    def _save(self) -> None:
        name = str(self._name.value).strip()
        if not name:
            self._page.notify("Not saved", "Give the style a name first.")
            return
        try:
            self._library.save(name, self._now())
            self._saved.options = (CHOOSE, *self._library.names())
        except (ValueError, OSError) as error:
            self._page.notify("Not saved", str(error))


def styles_file() -> Path:
    """Where saved styles are kept, whatever the scene."""
    return state_folder().parent / "styles.json"
