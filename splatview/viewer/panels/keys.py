"""Every key of the page, in one table: the panel registers its commands from it and shows it as help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from splatview.viewer.panels.widgets import press
from splatview.viewer.view import Shown


@dataclass(frozen=True)
class Key:
    """A command of the palette and its key."""

    what: str
    key: Any = None  # one of viser's names of keys; None: the palette alone has it
    modifier: Any = None  # "cmd/ctrl", "shift", "cmd/ctrl+shift", ...
    row: str = ""  # of the help, where several keys share one

    @property
    def text(self) -> str:
        """As people write it: `Ctrl+Shift+Z`."""
        if self.key is None:
            return ""
        held = [part for part, name in (("Ctrl+", "ctrl"), ("Alt+", "alt"), ("Shift+", "shift")) if self.modifier and name in self.modifier]
        return "".join(held) + self.key.capitalize()


VIEWS = 9  # bookmarks with a key

KEYS: dict[str, Key] = {
    "rectangle": Key("Select with a rectangle", "R"),
    "lasso": Key("Select with a lasso", "L"),
    "polygon": Key("Select with a polygon", "P"),
    "brush": Key("Select with a brush", "B"),
    "flood": Key("Select by flooding", "O"),
    "eyedropper": Key("Select by colour", "E", "cmd/ctrl"),
    "all": Key("Select all", "A", "cmd/ctrl"),
    "none": Key("Select none", "A", "cmd/ctrl+shift"),
    "invert": Key("Invert the selection", "I", "cmd/ctrl"),
    "reach": Key("Select the surface or all behind it", "M"),
    "delete": Key("Delete the selection", "delete", row="Delete"),
    "delete too": Key("Delete", "backspace", row="Delete"),
    "hide": Key("Hide the selection", "H"),
    "unhide": Key("Show what is hidden", "H", "shift"),
    "move": Key("Move the selection", "1", row="Move, rotate, scale the selection"),
    "rotate": Key("Rotate the selection", "2", row="Move, rotate, scale the selection"),
    "scale": Key("Scale the selection", "3", row="Move, rotate, scale the selection"),
    "undo": Key("Undo", "Z", "cmd/ctrl"),
    "redo": Key("Redo", "Z", "cmd/ctrl+shift"),
    "save": Key("Save the document", "S", "cmd/ctrl", row="Save"),
    "home": Key("Home", "home"),
    "focus": Key("Focus on a point", "F", row="Focus on what is clicked next"),
    "fly": Key("Orbit or fly", "V"),
    "next mode": Key("Show what comes next", "N", row="Show colour, depth, alpha, ..."),
    "last mode": Key("Show what came before", "N", "shift", row="Show colour, depth, alpha, ..."),
    **{f"show {what}": Key(f"Show {what}") for what in get_args(Shown)},
    "split": Key("Split screen", "C"),
    "style": Key("Style on or off", "Y", row="Style, style beside the original"),
    "style beside": Key("Style beside the original", "Y", "shift", row="Style, style beside the original"),
    "grid": Key("Grid", "G"),
    "axes": Key("Axes", "X"),
    "gizmo": Key("Move the layer", "T", row="Move the chosen layer"),
    "save view": Key("Save this view", "B", "shift"),
    **{f"view {number}": Key(f"Go to view {number}", str(number), "shift", row="Go to a saved view") for number in range(1, VIEWS + 1)},
    "screenshot": Key("Screenshot", "P", "shift", row="Save a screenshot"),
}

BUILT_IN = {  # viser's own and those of a tool; they cannot be given to anything else
    "orbit (fly: turn)": "drag",
    "pan": "right drag",
    "nearer, farther": "wheel",
    "move": "W A S D Q E",
    "turn": "arrows",
    "size of the brush": "[ ]",
    "put the tool down": "Esc",
    "add, remove, intersect": "Shift, Ctrl, both",
    "all commands": "Ctrl+K",
}


def help_rows() -> dict[str, str]:
    """What each key does, one row for keys that belong together."""
    rows: dict[str, list[str]] = {}
    for key in KEYS.values():
        if key.text:
            rows.setdefault(key.row or key.what, []).append(key.text)
    said = {2: "{0}, {1}", 3: "{0}, {1}, {2}"}
    return {
        what: texts[0] if len(texts) == 1 else said.get(len(texts), "{0} to {last}").format(*texts, last=texts[-1])
        for what, texts in rows.items()
    } | BUILT_IN


def on_key(gui: Any, name: str, what: Callable[[], object]) -> None:
    """Call `what` when the key called `name` is pressed, or its command is chosen."""
    key = KEYS[name]
    press(gui.add_command(key.what, hotkey=key.key, modifier=key.modifier), what)
