"""Widgets whose callbacks are one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any


def tell(handle: Any, what: Callable[[Any], object]) -> None:
    """Call `what` with the widget's new value, in order with everything else that the page says."""

    async def changed(event: Any) -> None:
        what(event.target.value)

    handle.on_update(changed)


def press(handle: Any, what: Callable[[], object]) -> None:
    """Call `what` when the button is pressed, or the command is triggered."""

    async def pressed(_: Any) -> None:
        what()

    (handle.on_trigger if hasattr(handle, "on_trigger") else handle.on_click)(pressed)


def table(rows: Mapping[str, str]) -> str:
    """HTML with a row for each entry."""
    cells = "".join(
        f"<tr><td style='opacity:.6'>{escape(name)}</td><td style='text-align:right'>{escape(value)}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table style='width:100%;font-size:.8em;padding:0 .8em'>{cells}</table>"
