"""How the camera moves, and what helps to find one's way."""

from __future__ import annotations

from typing import Any

from splatview.geometry import Similarity
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import press, table, tell
from splatview.viewer.session import Session

KEYS = {
    "home": "H",
    "focus on a point": "F, then click",
    "orbit or fly": "V",
    "colour, depth, alpha": "1 2 3",
    "grid, axes": "G, X",
    "screenshot": "P",
    "move": "W A S D Q E",
    "turn": "arrows, drag",
}


class Move:
    """The folder "Move"."""

    def __init__(self, page: Page, session: Session, placing: Similarity) -> None:
        gui = page.gui
        self._session = session
        with gui.add_folder("Move", expand_by_default=False):
            self._mode = gui.add_dropdown("Drag to", ("orbit", "fly"))
            home = gui.add_button("Home", hint="Key H")
            focus = gui.add_button("Focus on a point", hint="Key F, then click on the scene")
            self._grid = gui.add_checkbox("Grid", initial_value=False)
            self._axes = gui.add_checkbox("Axes", initial_value=False)
            gui.add_html(table(KEYS))
        self._add_helpers(page, placing)
        tell(self._mode, lambda mode: session.set_flying(mode == "fly"))
        press(home, session.home)
        press(focus, session.pick_focus)
        press(gui.add_command("Home", hotkey="H"), session.home)
        press(gui.add_command("Focus on a point", hotkey="F"), session.pick_focus)
        press(gui.add_command("Orbit or fly", hotkey="V"), self.toggle_flying)
        press(gui.add_command("Grid", hotkey="G"), lambda: self.toggle(self._grid))
        press(gui.add_command("Axes", hotkey="X"), lambda: self.toggle(self._axes))

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
