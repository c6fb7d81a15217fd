"""How the camera moves, and what helps to find one's way."""

from __future__ import annotations

from typing import Any

from splatview.geometry import Similarity
from splatview.viewer.page import Page
from splatview.viewer.panels.keys import help_rows, on_key
from splatview.viewer.panels.widgets import press, table, tell
from splatview.viewer.session import Session


class Move:
    """The folder "Move"."""

    def __init__(self, page: Page, session: Session, placing: Similarity) -> None:
        gui = page.gui
        self._session = session
        with gui.add_folder("Move", expand_by_default=False):
            self._mode = gui.add_dropdown("Drag to", ("orbit", "fly"))
            home = gui.add_button("Home", hint="Key Home")
            focus = gui.add_button("Focus on a point", hint="Key F, then click on the scene")
            self._grid = gui.add_checkbox("Grid", initial_value=False)
            self._axes = gui.add_checkbox("Axes", initial_value=False)
            with gui.add_folder("Keys", expand_by_default=False):
                gui.add_html(table(help_rows()))
        self.settings = (self._mode, self._grid, self._axes)
        self._add_helpers(page, placing)
        tell(self._mode, lambda mode: session.set_flying(mode == "fly"))
        press(home, session.home)
        press(focus, session.pick_focus)
        on_key(gui, "home", session.home)
        on_key(gui, "focus", session.pick_focus)
        on_key(gui, "fly", self.toggle_flying)
        on_key(gui, "grid", lambda: self.toggle(self._grid))
        on_key(gui, "axes", lambda: self.toggle(self._axes))

    def _add_helpers(self, page: Page, placing: Similarity) -> None:
        """The world's axes, and a grid in its ground plane."""
        place, scene = placing.translation, page.scene
        axes = scene.add_frame("/axes", axes_length=1.0, axes_radius=0.015, wxyz=placing.quat, position=place, visible=False)
        grid = scene.add_grid("/grid", width=12.0, height=12.0, cell_size=0.5, section_size=3.0, position=place, visible=False)
        tell(self._grid, lambda on: setattr(grid, "visible", on))
        tell(self._axes, lambda on: setattr(axes, "visible", on))

    def toggle(self, checkbox: Any) -> None:
        if self._session.pressed(checkbox.label):
            checkbox.value = not checkbox.value

    def toggle_flying(self) -> None:
        if self._session.pressed("fly"):
            self._mode.value = "orbit" if self._session.flying else "fly"
