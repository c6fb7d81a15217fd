"""Other colours for paint that is there."""

from __future__ import annotations

from dataclasses import replace

from splatview.edit.document import Entry
from splatview.edit.grade import Painting
from splatview.edit.operations import Paint
from splatview.viewer.editor import Editor
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import hear, pick, show_if
from splatview.viewer.studio import Studio


class Repaint:
    """The folder "Change the paint", which is there while an operation is changed. What is painted stays."""

    def __init__(self, page: Page, studio: Studio, editor: Editor) -> None:
        self._page, self._world, self._editor = page, studio.world, editor
        self._amended: Entry | None = None
        self.previewing = False
        gui = page.gui
        with gui.add_folder("Change the paint", visible=False) as self._folder:
            self._colour = gui.add_rgb("New paint", (255, 0, 0))
            self._amount = gui.add_slider("New amount", 0.0, 1.0, 0.01, 1.0)
            self._cover = gui.add_checkbox("Paints opacity", False)
            self._opacity = gui.add_slider("New opacity", 0.0, 1.0, 0.01, 1.0, visible=False)
            answer = gui.add_button_group("This paint", ("Change", "Leave"))
        for widget in (self._colour, self._amount, self._cover, self._opacity):
            hear(widget, lambda _: self.preview())
        pick(answer, lambda what: self.apply() if what == "Change" else self.leave())

    def load(self, entry: Entry) -> None:
        """Take the numbers of an operation, which is changed from now on."""
        assert isinstance(entry.operation, Paint)
        self._amended, painting = entry, entry.operation.painting
        red, green, blue = (round(255 * channel) for channel in painting.colour)
        self._colour.value, self._amount.value = (red, green, blue), painting.amount
        self._cover.value, self._opacity.value = painting.opacity is not None, 1.0 if painting.opacity is None else painting.opacity
        show_if(painting.opacity is not None, self._opacity)
        show_if(True, self._folder)

    def show(self) -> None:
        """An operation that is no longer there is not changed."""
        if self._amended is not None and not any(one.id == self._amended.id for one in self._world.document.entries):
            self._amended = None
            show_if(False, self._folder)

    def preview(self) -> None:
        """Show the scene as it would be."""
        show_if(bool(self._cover.value), self._opacity)
        operation = self._operation()
        if self._amended is not None and operation is not None:
            self.previewing = True
            self._world.preview_amended(self._amended.id, operation, marked=False)

    def apply(self) -> None:
        """Give the operation these numbers."""
        operation, entry = self._operation(), self._amended
        if entry is not None and operation is not None:
            self._editor.told(self._world.amend(entry.id, operation, self._editor.author))
            self._close()

    def leave(self) -> None:
        """Leave the operation as it was."""
        self._world.end_preview()
        self._close()

    def _close(self) -> None:
        self._amended, self.previewing = None, False
        show_if(False, self._folder)

    def _operation(self) -> Paint | None:
        if self._amended is None or not isinstance(self._amended.operation, Paint):
            return None
        try:
            red, green, blue = (int(channel) / 255 for channel in self._colour.value)
            painting = Painting((red, green, blue), float(self._amount.value), float(self._opacity.value) if self._cover.value else None)
        except ValueError as error:  # a page may send anything
            self._page.notify("No paint", str(error))
            return None
        return replace(self._amended.operation, painting=painting)
