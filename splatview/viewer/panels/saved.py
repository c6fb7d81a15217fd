"""Styles that are kept: by name, saved, chosen again, and forgotten; and the one that was drawn last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import Question, hear, lines, press, said, show_if
from splatview.viewer.remembered import Remembered
from splatview.viewer.styles import Styles, label_of

CHOOSE = "choose"
LABEL = "Style"  # of what is remembered


class SavedStyles:
    """Its widgets. `now` gives the numbers to save; `take` is told those that were chosen."""

    def __init__(self, page: Page, styles: Styles, now: Callable[[], Any], take: Callable[[Any], object]) -> None:
        gui = page.gui
        self._page, self._styles, self._now, self._take = page, styles, now, take
        self._named: dict[str, str] = {}  # styles by their entries in the list
        self._own: frozenset[str] = frozenset()  # names that people saved
        self._saved: Any = gui.add_dropdown("Saved styles", (CHOOSE,), initial_value=CHOOSE, hint="Choosing one draws with it")
        self._fault = gui.add_html("")
        self._name: Any = gui.add_text("Style name", "", hint="To save it as, for splatview stylize --style, too")
        save = gui.add_button("Save this style", color="gray")
        self._remove = gui.add_button("Forget the style of that name", color="gray", visible=False)
        self._question = Question(gui, "Forget the style?", "Forget", "Keep")
        hear(self._saved, self._load)
        hear(self._name, lambda _: self._show_remove())
        press(save, self._save)
        press(self._remove, self._ask)
        self.show()

    def show(self) -> None:
        """The styles are others."""
        try:
            kinds, self._own, text = self._styles.kinds(), self._styles.own(), ""
        except (ValueError, OSError) as error:
            kinds, self._own, text = {}, frozenset(), lines([str(error)])
        self._named = {label_of(name, kind): name for name, kind in kinds.items()}
        options = (CHOOSE, *self._named)
        if self._saved.options != options:
            self._saved.options = options
        said(self._fault, text)
        self._show_remove()

    def _show_remove(self) -> None:
        show_if(str(self._name.value).strip() in self._own, self._remove)
        self._question.forget()

    def _load(self, label: str) -> None:
        name = self._named.get(label, "")
        self._saved.value = CHOOSE  # so that it can be chosen again
        try:
            found = self._styles.load(name)
        except (KeyError, ValueError, OSError) as error:
            self._page.notify("No such style", str(error))
            return
        self._name.value = name
        self._show_remove()
        self._take(found)

    def _save(self) -> None:
        name = str(self._name.value).strip()
        if not name:
            self._page.notify("Not saved", "Give the style a name first.")
            return
        try:
            self._styles.save(name, self._now())
        except (ValueError, OSError) as error:
            self._page.notify("Not saved", str(error))
        else:
            self._page.notify("Saved", f"{name} is among the saved styles.")

    def _ask(self) -> None:
        name = str(self._name.value).strip()
        self._question.ask(f"{name} will be gone for everybody.", lambda: self._forget(name))

    def _forget(self, name: str) -> None:
        try:
            self._styles.remove(name)
        except (KeyError, ValueError, OSError) as error:
            self._page.notify("Not forgotten", str(error))


class LastStyle:
    """The style that was drawn last, and whether it was steadied: what the next page of the scene begins with."""

    def __init__(self, remembered: Remembered, styles: Styles) -> None:
        self._remembered, self._styles = remembered, styles
        self._entry: dict[str, Any] | None = None  # what is drawn

    @property
    def found(self) -> tuple[Any, bool] | None:
        """None: none is remembered, or it is of another version."""
        kept = self._remembered.memory.settings.get(LABEL)
        try:
            return self._styles.controls(kept), kept is not None and kept.get("steady") is True
        except ValueError:
            return None

    def note(self, controls: Any, steady: bool) -> None:
        """This is drawn now. What a page begins with is remembered already, or nobody chose it."""
        before, self._entry = self._entry, {**self._styles.entry(controls), "steady": steady}
        if before not in (None, self._entry):
            self._remembered.set(LABEL, self._entry)
