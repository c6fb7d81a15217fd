"""Widgets whose callbacks are one line."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from splatview.viewer.remembered import Remembered

PAUSE = 0.6  # seconds without a keystroke after which a text is taken


def tell(handle: Any, what: Callable[[Any], object]) -> None:
    """Call `what` with the widget's new value, in order with everything else that the page says."""

    async def changed(event: Any) -> None:
        what(event.target.value)

    handle.on_update(changed)


def hear(handle: Any, what: Callable[[Any], object]) -> None:
    """Call `what` with a value that the person gave the widget, not with one that we gave it."""

    async def changed(event: Any) -> None:
        if event.client is not None:
            what(event.target.value)

    handle.on_update(changed)


class Typed:
    """Takes a text once the person stops typing: `what` is called with it and with what `about` said at the first keystroke."""

    def __init__(self, handle: Any, about: Callable[[], Any], what: Callable[[Any, str], object]) -> None:
        self._about, self._what = about, what
        self._waiting: asyncio.TimerHandle | None = None
        self._of: Any = None
        hear(handle, self._keystroke)

    @property
    def under_way(self) -> bool:
        return self._waiting is not None

    def _keystroke(self, text: str) -> None:
        if self._waiting is None:
            self._of = self._about()
        else:
            self._waiting.cancel()
        self._waiting = asyncio.get_running_loop().call_later(PAUSE, self._take, text)

    def _take(self, text: str) -> None:
        self._waiting = None
        self._what(self._of, text)


def press(handle: Any, what: Callable[[], object]) -> None:
    """Call `what` when the button is pressed, or the command is triggered."""

    async def pressed(_: Any) -> None:
        what()

    (handle.on_trigger if hasattr(handle, "on_trigger") else handle.on_click)(pressed)


class Kept:
    """Widgets whose values outlive the page; they are known by their labels."""

    def __init__(self, remembered: Remembered) -> None:
        self._remembered = remembered
        self._widgets: list[tuple[Any, Any]] = []  # with their values at the start

    def keep(self, *handles: Any) -> None:
        """Give the widgets the values that are remembered, and remember the next ones."""
        for handle in handles:
            self._widgets.append((handle, handle.value))
            value = fitting(handle, self._remembered.memory.settings.get(handle.label))
            if value is not None:
                handle.value = value
            tell(handle, lambda value, label=handle.label: self._remembered.set(label, value))

    def reset(self) -> None:
        """Put the values back that the widgets had at the start."""
        for handle, value in self._widgets:
            handle.value = value


def fitting(handle: Any, value: Any) -> Any:
    """`value`, which may be anything, as one that the widget takes; None if it is none."""
    now = handle.value
    if hasattr(handle, "options"):
        return value if value in handle.options else None
    if isinstance(now, bool):
        return value if isinstance(value, bool) else None
    if isinstance(now, (int, float)):
        return _number(value, type(now), getattr(handle, "min", None), getattr(handle, "max", None))
    if isinstance(now, tuple) and isinstance(value, (list, tuple)) and len(value) == len(now):
        colour = not hasattr(handle, "min")
        lows, highs = ((0,) * len(now), (255,) * len(now)) if colour else (handle.min or [None] * len(now), handle.max or [None] * len(now))
        numbers = tuple(_number(one, type(old), low, high) for one, old, low, high in zip(value, now, lows, highs, strict=True))
        return None if None in numbers else numbers
    return None


def _number(value: Any, kind: type, low: float | None, high: float | None) -> Any:
    """`value` as an int or a float within the limits; None if it is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    bounded = max(value, -math.inf if low is None else low)
    return kind(min(bounded, math.inf if high is None else high))


def pick(handle: Any, what: Callable[[str], object]) -> None:
    """Call `what` with the name of the button of a group that was pressed."""

    async def pressed(event: Any) -> None:
        what(event.target.value)

    handle.on_click(pressed)


def table(rows: Mapping[str, str]) -> str:
    """HTML with a row for each entry."""
    cells = "".join(
        f"<tr><td style='opacity:.6'>{escape(name)}</td><td style='text-align:right'>{escape(value)}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table style='width:100%;font-size:.8em;padding:0 .8em'>{cells}</table>"


def lines(texts: list[str]) -> str:
    """HTML with a paragraph for each text."""
    return "".join(f"<div style='font-size:.8em;padding:.1em 1em;overflow-wrap:anywhere'>{escape(text)}</div>" for text in texts)


class Question:
    """Asks before something is done that cannot be taken back: two buttons that are there until one is pressed."""

    def __init__(self, gui: Any, label: str, yes: str, no: str) -> None:
        with gui.add_folder(None, visible=False) as self._folder:
            self._text = gui.add_html("")
            self._answers = gui.add_button_group(label, (yes, no))
        self._yes = yes
        self._what: Callable[[], object] = lambda: None
        pick(self._answers, self._answered)

    def ask(self, text: str, what: Callable[[], object]) -> None:
        """Do `what` once the person says yes to `text`; a question that stands is forgotten."""
        self._what = what
        self._text.content = lines([text])
        show_if(True, self._folder)

    def forget(self) -> None:
        """Do not ask any more."""
        self._what = lambda: None
        show_if(False, self._folder)

    def _answered(self, answer: str) -> None:
        what = self._what
        self.forget()
        if answer == self._yes:
            what()


def show_if(on: bool, *handles: Any) -> None:
    """Show the widgets, or do not; those that are as they should be are left alone."""
    for handle in handles:
        if handle.visible != on:
            handle.visible = on


def shown(handle: Any, on: bool) -> None:
    """Show a widget, or do not."""
    show_if(on, handle)


def said(handle: Any, content: str) -> None:
    """Put HTML into a widget; nothing is sent if it is there already."""
    if handle.content != content:
        handle.content = content
