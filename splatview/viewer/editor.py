"""What one person does to the document: strokes become queries, buttons operations, and what cannot be done is said in their page."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np

from splatview.arrays import Doubles
from splatview.camera import Camera
from splatview.edit.grade import Painting
from splatview.edit.operations import AnyOperation, Paint, Select
from splatview.edit.patience import apart
from splatview.edit.region import MAX_POINTS, Lasso, Polygon, Rectangle, Stroke
from splatview.edit.select import (
    AnyQuery,
    ColourLike,
    Depth,
    Drawn,
    Flooded,
    How,
    Look,
    Nothing,
    Selection,
    Shape,
    Slab,
    Surface,
    Through,
    Tools,
    Under,
    Volume,
    front,
)  # fmt: skip
from splatview.edit.state import State
from splatview.viewer import tools as hands
from splatview.viewer.world import World

BETWEEN = 0.12  # seconds between two looks at what a brush has reached: each costs as much as a picture
STILL = 0.006  # of the picture's height: a drag that is shorter is a click

Reach = Literal["surface", "through", "slab"]


class PageLike(Protocol):
    def notify(self, title: str, text: str) -> None: ...


class SessionLike(Protocol):
    """What an editor needs of a visit."""

    @property
    def look(self) -> Look: ...
    def camera_of(self, number: int) -> Camera: ...
    def point_at(self, number: int, x: float, y: float) -> Future[Doubles | None]: ...


class HandLike(Protocol):
    """What an editor needs of the tools in a page."""

    def use(self, tool: hands.Tool, radius: float | None = None, hint: str | None = None) -> None: ...
    def radius(self, fraction_of_height: float) -> None: ...


@dataclass(frozen=True)
class Picking:
    """How strokes are understood: the settings of one person's panel."""

    reach: Reach = "surface"
    least: float = 0.1  # share of a pixel, for the surface
    near: float = 0.0  # scene units, of the slab
    far: float = 10.0
    footprint: Literal["centre", "ellipse"] = "centre"
    flood_colour: float = 0.1  # per channel, 0..1
    flood_depth: float = 0.02  # share of the depth
    likeness: float = 0.2  # of the eyedropper, per channel
    painting: Painting = field(default_factory=lambda: Painting((1.0, 0.0, 0.0)))

    @property
    def depth(self) -> Depth:
        if self.reach == "slab":
            return Slab(self.near, max(self.far, self.near + 1e-6))
        return Surface(self.least) if self.reach == "surface" else Through()


def how_of(modifiers: frozenset[hands.Modifier]) -> How:
    """Shift adds, Ctrl removes, both intersect."""
    if "ctrl" in modifiers:
        return "intersect" if "shift" in modifiers else "remove"
    return "add" if "shift" in modifiers else "set"


def shape_of(tool: hands.Tool, points: Doubles, radius: float) -> Shape | None:
    """What was drawn along `points` [n, 2]; None if that has no area."""
    if len(points) > MAX_POINTS:
        points = points[np.linspace(0, len(points) - 1, MAX_POINTS).astype(np.intp)]
    path: Any = tuple(map(tuple, points.tolist()))
    if tool in ("brush", "paint"):
        return Stroke(path, min(radius, 1.0))
    if len(points) < 2 or (np.ptp(points, axis=0) == 0).any():
        return None
    if tool == "rectangle":
        return Rectangle(*path[0], *path[-1])
    if len(points) < 3:
        return None
    return Lasso(path) if tool == "lasso" else Polygon(path)


def query_of(tool: hands.Tool, points: Doubles, radius: float, camera: Camera, picking: Picking, look: Look) -> AnyQuery | None:
    """What a stroke of `tool` along `points` [n, 2] (fractions of the picture) asks for; None: nothing, like a lasso without an area."""
    if not len(points):
        return None
    x, y = points[0].tolist()
    if tool == "flood":
        return Flooded(camera, x, y, picking.flood_colour, picking.flood_depth, Surface(picking.least), look)
    reach = np.ptp(points * (camera.width / camera.height, 1.0), axis=0).max()
    if tool == "point" or (tool in ("rectangle", "lasso") and reach < STILL):  # a click is a click, whatever is held
        return Under(camera, x, y, look)
    shape = shape_of(tool, points, radius)
    return None if shape is None else Drawn(shape, camera, picking.depth, picking.footprint, look)


@dataclass
class Waiting:
    """Somebody wants points that the person clicks on."""

    count: int
    hint: str
    then: Callable[[list[Doubles]], object]
    before: hands.Tool  # the tool to go back to
    points: list[Doubles] = field(default_factory=list)


class Editor:
    """One person's hands on the world. Callbacks call it and never wait; the futures tell how it went."""

    def __init__(self, page: PageLike, hand: HandLike, session: SessionLike, world: World, tools: Tools, author: str) -> None:
        self.author = author
        self.picking = Picking()
        self.tool: hands.Tool = "none"
        self.volumes: dict[str, Volume] = {}  # of this person, by the names that expressions know
        self.volume: str | None = None  # the chosen one
        self.tool_changed: Callable[[], None] = lambda: None  # set by the panel
        self._page = page
        self._hand = hand
        self._session = session
        self._world = world
        self._tools = tools
        self._points: list[float] = []  # of the stroke under way
        self._looked_at = -1e9  # when it was last shown what it has reached
        self._waiting: Waiting | None = None

    @property
    def chosen_volume(self) -> Volume | None:
        """The volume that crops, and fades grades."""
        return None if self.volume is None else self.volumes.get(self.volume)

    # Operations.

    def do(self, operation: AnyOperation, gesture: object = None) -> Future[State]:
        """Append an operation."""
        return self._told(self._world.do(operation, self.author, gesture))

    def edit(self, what: Callable[[State], AnyOperation | None], gesture: object = None) -> Future[State]:
        """Append the operation that `what` makes of the state then; None: do nothing."""
        return self._told(self._world.edit(what, self.author, gesture))

    def select(self, query: AnyQuery, how: How = "set") -> Future[State]:
        """Select what `query` finds."""
        return self._told(self._world.select(query, how, self.author))

    def undo(self) -> Future[State]:
        return self._told(self._world.undo(self.author))

    def redo(self) -> Future[State]:
        return self._told(self._world.redo(self.author))

    def told(self, done: Future[State]) -> Future[State]:
        """Say in the page what is wrong, should `done` fail."""
        return self._told(done)

    def _told(self, done: Future[State]) -> Future[State]:
        done.add_done_callback(self._say)
        return done

    def _say(self, done: Future[State]) -> None:
        error = CancelledError() if done.cancelled() else done.exception()
        if error is not None and not isinstance(error, CancelledError):
            self._page.notify("Not done", str(error) or type(error).__name__)

    # Tools that draw on the picture.

    def change(self, **settings: Any) -> None:
        """Change how the next strokes are understood."""
        self.picking = replace(self.picking, **settings)

    def use(self, tool: hands.Tool, hint: str | None = None) -> None:
        """Draw with `tool` from now on."""
        self._waiting = None
        self._take(tool, hint)

    def toggle(self, tool: hands.Tool) -> None:
        """Take `tool`, or put it down again."""
        self.use("none" if self.tool == tool else tool)

    def left(self) -> None:
        """The person has put the tool down in the page. It is told so once more: another tool may have been on its way to it."""
        self.use("none")

    def set_radius(self, fraction_of_height: float) -> None:
        self._hand.radius(fraction_of_height)

    def pick(self, count: int, hint: str, then: Callable[[list[Doubles]], object]) -> None:
        """Call `then` with the `count` points [3] of the world that the person clicks on next."""
        before = self.tool if self._waiting is None else self._waiting.before
        self._waiting = Waiting(count, hint, then, before)
        self._ask()

    def _ask(self) -> None:
        waiting = self._waiting
        if waiting is not None:
            at = f" ({len(waiting.points) + 1} of {waiting.count})" if waiting.count > 1 else ""
            self._take("pick", waiting.hint + at)

    def _take(self, tool: hands.Tool, hint: str | None) -> None:
        self.tool = tool
        self._hand.use(tool, None, hint)
        self.tool_changed()

    def drawn(self, piece: hands.Drawn) -> None:
        """A piece of a stroke: at its end it selects, and a brush shows at once what it has reached."""
        if piece.phase == "start":
            self._points = []
        self._points += piece.points
        if piece.phase == "cancel":
            self._points = []
            if piece.tool == "brush":
                self._world.end_preview()
            return
        try:
            if piece.phase == "end":
                self._finish(piece)
            elif piece.tool == "brush" and time.monotonic() - self._looked_at > BETWEEN:
                self._looked_at = time.monotonic()
                query = self._query(piece)
                if query is not None:
                    self._world.preview(Select(Selection(query), how_of(piece.modifiers)))
        except ValueError as error:  # a page may send anything
            self._page.notify("Not done", str(error))

    def _query(self, piece: hands.Drawn) -> AnyQuery | None:
        points = np.array(self._points).reshape(-1, 2)
        camera = self._session.camera_of(piece.number)
        return query_of(piece.tool, points, piece.radius, camera, self.picking, self._session.look)

    def _finish(self, piece: hands.Drawn) -> None:
        how = how_of(piece.modifiers)
        if piece.tool == "pick":
            self._pick(piece.number, *self._points[:2])
        elif piece.tool == "eyedropper":
            x, y = self._points[:2]
            camera, look, likeness = self._session.camera_of(piece.number), self._session.look, self.picking.likeness
            self.edit(lambda state: Select(Selection(self._likeness(state, camera, x, y, look, likeness)), how))
        elif (query := self._query(piece)) is None:
            self._page.notify("Nothing drawn", "The shape has no area: drag further.")
        elif piece.tool == "paint":
            painting = self.picking.painting
            self.edit(lambda state: self._painted(state, query, painting))
        else:
            self.select(query, how)

    def _likeness(self, state: State, camera: Camera, x: float, y: float, look: Look, tolerance: float) -> AnyQuery:
        """Whatever has the own colour of the Gaussian under a click."""
        found = front(state, self._tools, camera, x, y, look)
        if found is None:
            return Nothing()
        name, index = found
        red, green, blue = state.scene.layers[name].splats.take([index]).colours[0].tolist()
        return ColourLike((red, green, blue), tolerance)

    def _painted(self, state: State, query: AnyQuery, painting: Painting) -> Paint | None:
        selection = apart(lambda tools: Selection.asked(query, state, tools), self._world.tools)
        return Paint(painting, selection) if selection.masks else None

    def _pick(self, number: int, x: float, y: float) -> None:
        waiting = self._waiting
        if waiting is None:
            return

        def found(done: Future[Doubles | None]) -> None:
            if done.cancelled() or waiting is not self._waiting:
                return
            point = None if done.exception() else done.result()
            if point is None:
                self._page.notify("Nothing there", "The click met no splat.")
                return
            waiting.points.append(point)
            if len(waiting.points) < waiting.count:
                self._ask()
            else:
                self.use(waiting.before)
                waiting.then(waiting.points)

        self._session.point_at(number, x, y).add_done_callback(found)
