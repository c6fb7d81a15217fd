"""What a tab does with the tools that draw on the picture. Beside `page.py` a user of viser's private parts.

Private parts in use: messages of its own, `_websock_connection`, and what tools.js needs of the page: the canvas, and that viser's
hotkeys listen at the root element but its camera at the document.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, get_args

from viser import _messages

from splatview.viewer.page import Page

Tool = Literal["none", "point", "rectangle", "lasso", "polygon", "brush", "paint", "flood", "eyedropper", "pick"]
Phase = Literal["start", "move", "end", "cancel"]
Modifier = Literal["shift", "ctrl", "alt"]

DRAWING: tuple[Tool, ...] = get_args(Tool)[1:]
NUMBERS = 1 << 14  # the most of one message
SAMPLES = 1 << 18  # the most of a stroke: minutes of the fastest mouse
FAR = 100.0  # canvases away from the canvas, or larger than it: no pointer is
SCRIPT = files("splatview.viewer").joinpath("tools.js").read_text("utf-8")


# The fields of what a page sends may be anything: viser would close the connection over one of the wrong kind.
@dataclasses.dataclass
class ToolStroke(_messages.Message, include_in_scene_serialization=False):
    """A piece of a stroke."""

    tool: Any = None
    phase: Any = None
    points: Any = None
    modifiers: Any = None
    radius: Any = None
    number: Any = None


@dataclasses.dataclass
class ToolRadius(_messages.Message, include_in_scene_serialization=False):
    """The person made the brush larger or smaller."""

    radius: Any = None


@dataclasses.dataclass
class ToolLeft(_messages.Message, include_in_scene_serialization=False):
    """The person ended the tool with Escape: the page has none now."""


@dataclass(frozen=True)
class Drawn:
    """A piece of a stroke: its start, one of its moves, or its end or cancellation. Its points are those of all pieces in order.

    A rectangle reaches from its first point to its last. A click (point, flood, eyedropper, pick) has one point. A polygon has none
    until its end, which brings all its corners.
    """

    tool: Tool
    phase: Phase
    points: tuple[float, ...]  # x, y, x, y, ...: new since the last piece; fractions of the canvas from its top left, beyond it too
    modifiers: frozenset[Modifier]  # held when it began; Cmd is "ctrl"
    radius: float  # of the brush, as a fraction of the canvas's height
    number: int  # of the picture that the person saw when it began (a polygon: when its last corner was set); 0: none yet


class ToolPage:
    """The tools of one browser tab. What it tells is told on viser's event loop, in order."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._tell: Callable[[Drawn], None] = lambda drawn: None
        self._tell_radius: Callable[[float], None] = lambda radius: None
        self._tell_left: Callable[[], None] = lambda: None
        self._stroke: Drawn | None = None  # its first piece, while it is under way
        self._samples = 0
        connection = page.client._websock_connection
        connection.register_handler(ToolStroke, lambda _, message: self._heard(message))
        connection.register_handler(ToolRadius, lambda _, message: self._heard_radius(message.radius))
        connection.register_handler(ToolLeft, lambda _, message: self._tell_left())
        page.run(SCRIPT)

    def on_stroke(self, tell: Callable[[Drawn], None]) -> None:
        """Tell every piece of every stroke. Each start is followed by moves and exactly one end or cancel."""
        self._tell = tell

    def on_radius(self, tell: Callable[[float], None]) -> None:
        """Tell the brush's radius, as a fraction of the canvas's height, when the person has changed it."""
        self._tell_radius = tell

    def on_left(self, tell: Callable[[], None]) -> None:
        """Tell that the person has ended the tool."""
        self._tell_left = tell

    def use(self, tool: Tool, radius: float | None = None, hint: str | None = None) -> None:
        """Let the left button draw with `tool`; "none": it orbits.

        `radius` is a fraction of the canvas's height, None leaves it (40 pixels at first). `hint` stands in the line at the canvas's
        bottom instead of the tool's own ("Lasso: drag"). A stroke of another tool is cancelled.
        """
        self._page.run(f"__splatviewTools.use({json.dumps(tool)}, {json.dumps(radius)}, {json.dumps(hint)})")

    def radius(self, fraction_of_height: float) -> None:
        """Give the brush this radius; the page keeps it within 1 to 500 of its pixels.

        Half a second after the person has changed it, it is theirs: an echo, rounded by a slider, say, may come late and does nothing.
        """
        self._page.run(f"__splatviewTools.size({json.dumps(float(fraction_of_height))})")

    def cancel(self) -> None:
        """Give up the stroke that is under way, if one is. Call it when the tab has gone: nobody else will say so."""
        self._page.run("__splatviewTools.cancel()")
        self._abandon()

    def _heard(self, message: ToolStroke) -> None:
        drawn = _drawn(message)
        if drawn is None:
            return
        if drawn.phase == "start":
            self._abandon()
            self._stroke, self._samples = drawn, 0
        elif self._stroke is None or drawn.tool != self._stroke.tool:
            return
        self._samples += len(drawn.points) // 2
        if self._samples > SAMPLES:
            self._abandon()
            return
        if drawn.phase in ("end", "cancel"):
            self._stroke = None
        self._tell(drawn)

    def _abandon(self) -> None:
        stroke, self._stroke = self._stroke, None
        if stroke is not None:
            self._tell(dataclasses.replace(stroke, phase="cancel", points=()))

    def _heard_radius(self, radius: Any) -> None:
        if number(radius) and 0 < radius < FAR:
            self._tell_radius(float(radius))


def _drawn(message: ToolStroke) -> Drawn | None:
    """What a page says, which may be anything; None if it is no piece of a stroke."""
    points, modifiers = message.points, held(message.modifiers)
    if message.tool not in DRAWING or message.phase not in get_args(Phase) or modifiers is None:
        return None
    if not isinstance(points, list) or len(points) > NUMBERS or len(points) % 2:
        return None
    if not all(number(value) and abs(value) <= FAR for value in points) or not (number(message.radius) and 0 < message.radius < FAR):
        return None
    if type(message.number) is not int or not 0 <= message.number < 1 << 53:
        return None
    return Drawn(message.tool, message.phase, tuple(map(float, points)), modifiers, float(message.radius), message.number)


def held(value: Any) -> frozenset[Modifier] | None:
    """The modifiers that a page names; None if it names anything else."""
    known = get_args(Modifier)
    if not isinstance(value, list) or len(value) > len(known) or not all(isinstance(one, str) and one in known for one in value):
        return None
    return frozenset(value)


def number(value: Any) -> bool:
    """Whether `value` is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
