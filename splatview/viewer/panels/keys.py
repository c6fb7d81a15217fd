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
    key: Any  # one of viser's names of keys
    modifier: Any = None  # "cmd/ctrl", "shift", "cmd/ctrl+shift", ...
    row: str = ""  # of the help, where several keys share one

    @property
    def text(self) -> str:
        """As people write it: `Ctrl+Shift+Z`."""
        held = [part for part, name in (("Ctrl+", "ctrl"), ("Alt+", "alt"), ("Shift+", "shift")) if self.modifier and name in self.modifier]
        return "".join(held) + self.key


VIEWS = 9  # bookmarks with a key

KEYS: dict[str, Key] = {
    "save": Key("Save the document", "S", "cmd/ctrl", row="Save"),
    "home": Key("Home", "H"),
    "focus": Key("Focus on a point", "F", row="Focus on what is clicked next"),
    "fly": Key("Orbit or fly", "V"),
    **{
        f"show {what}": Key(f"Show {what}", str(number), row=f"Show {', '.join(get_args(Shown))}")
        for number, what in enumerate(get_args(Shown), 1)
    },
    "split": Key("Split screen", "C"),
    "grid": Key("Grid", "G"),
    "axes": Key("Axes", "X"),
    "gizmo": Key("Move the layer", "T", row="Move the chosen layer"),
    "undo": Key("Undo", "Z", "cmd/ctrl"),
    "redo": Key("Redo", "Z", "cmd/ctrl+shift"),
    "save view": Key("Save this view", "B", "shift"),
    **{f"view {number}": Key(f"Go to view {number}", str(number), "shift", row="Go to a saved view") for number in range(1, VIEWS + 1)},
    "screenshot": Key("Screenshot", "P", row="Save a screenshot"),
}

BUILT_IN = {  # viser's own; they cannot be given to anything else
    "orbit (fly: turn)": "drag",
    "pan": "right drag",
    "nearer, farther": "wheel",
    "move": "W A S D Q E",
    "turn": "arrows",
    "all commands": "Ctrl+K",
}


def help_rows() -> dict[str, str]:
    """What each key does, one row for keys that belong together."""
    rows: dict[str, list[str]] = {}
    for key in KEYS.values():
        rows.setdefault(key.row or key.what, []).append(key.text)
    return {what: texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}" for what, texts in rows.items()} | BUILT_IN


def on_key(gui: Any, name: str, what: Callable[[], object]) -> None:
    """Call `what` when the key called `name` is pressed, or its command is chosen."""
    key = KEYS[name]
    press(gui.add_command(key.what, hotkey=key.key, modifier=key.modifier), what)
