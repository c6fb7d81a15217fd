"""Buttons within HTML of the panel, and the bar that says what is being worked at. Beside `page.py` a user of viser's private parts: a
message of its own, and `_websock_connection`.

A list of buttons in one piece of HTML costs the page one widget, however long it is.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from html import escape
from importlib.resources import files
from typing import Any

from viser import _messages

from splatview.viewer.page import Page

SCRIPT = files("splatview.viewer").joinpath("buttons.js").read_text("utf-8")
LONGEST = 200  # characters of what a page may say


@dataclasses.dataclass
class ButtonPressed(_messages.Message, include_in_scene_serialization=False):
    """A button of ours was pressed; viser would close the connection over a field of the wrong kind."""

    name: Any = None
    value: Any = None


class Buttons:
    """The buttons of one browser tab."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._tell: dict[str, Callable[[str], object]] = {}
        page.client._websock_connection.register_handler(ButtonPressed, lambda _, message: self._heard(message))
        page.run(SCRIPT)

    def on_press(self, name: str, tell: Callable[[str], object]) -> None:
        """Call `tell` with the value of each button called `name` that is pressed, on viser's event loop."""
        self._tell[name] = tell

    def busy(self, text: str | None, fraction: float = 0.0) -> None:
        """Say what is being worked at, with a button called "cancel"; None: nothing."""
        self._page.run(f"window.__splatviewButtons?.busy({json.dumps(text)}, {fraction:.3f})")

    def _heard(self, message: ButtonPressed) -> None:
        name, value = message.name, message.value
        if isinstance(name, str) and isinstance(value, str) and len(value) <= LONGEST and name in self._tell:
            self._tell[name](value)


def button(name: str, value: str, content: str, kind: str = "", hint: str = "", disabled: bool = False) -> str:
    """HTML of a button of the class `kind`, within `styled`; `content` is HTML."""
    data = escape(json.dumps([name, value], separators=(",", ":")))
    rest = (f' class="{kind}"' if kind else "") + (f' title="{escape(hint)}"' if hint else "") + (" disabled" if disabled else "")
    return f'<button data-splatview-press="{data}"{rest}>{content}</button>'


def styled(kind: str, rules: str, content: str) -> str:
    """HTML of a part of the panel of the class `kind` that has its own CSS; buttons look like text."""
    plain = f".{kind} button{{border:0;background:none;color:inherit;font:inherit;cursor:pointer;padding:0}}"
    return f'<style>{plain}.{kind} button:disabled{{opacity:.25;cursor:default}}{rules}</style><div class="{kind}">{content}</div>'
