"""Lights on the captured scene: ambient, a sun, and lamps. What they do is an operation, and switched off it leaves no trace."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np

from splatview.arrays import Doubles
from splatview.edit.document import Entry
from splatview.edit.operations import ALL, Relight
from splatview.edit.relight import Directional, Light, Point
from splatview.edit.select import Current, Selection
from splatview.edit.state import State
from splatview.geometry import Similarity
from splatview.viewer.editor import Editor
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import hear, lines, pick, press, said, show_if
from splatview.viewer.space import RADIUS
from splatview.viewer.studio import Studio

NO_LAMP = "no lamp"
MOST = 50  # lamps
OFF_SURFACE = 0.15  # page units that a lamp is put in front of what was clicked on


def sun(azimuth: float, elevation: float, placing: Similarity) -> tuple[float, float, float]:
    """The direction [3] in the world in which light travels that comes from `azimuth` and `elevation` (degrees) of the page (up: z)."""
    if not np.isfinite([azimuth, elevation]).all():
        raise ValueError(f"sun: expected two finite angles, got {azimuth} and {elevation}")
    turn, height = np.radians([azimuth, elevation])
    comes_from = np.array([np.cos(height) * np.cos(turn), np.cos(height) * np.sin(turn), np.sin(height)])
    x, y, z = (-(placing.rotation.T @ comes_from)).tolist()
    return x, y, z


def angles(direction: Any, placing: Similarity) -> tuple[float, float]:
    """The azimuth and elevation in degrees that `sun` makes this direction of."""
    x, y, z = -(placing.rotation @ np.asarray(direction, np.float64)) / np.linalg.norm(direction)
    return float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arcsin(np.clip(z, -1, 1))))


class Lights:
    """The folder "Relight"."""

    def __init__(self, page: Page, studio: Studio, editor: Editor) -> None:
        self._page, self._world, self._editor, self._placing = page, studio.world, editor, studio.placing
        self._lamps: list[Point] = []
        self._amended: Entry | None = None  # the operation that gets other numbers
        self.previewing = False
        gui, radius = page.gui, RADIUS / studio.placing.scale
        self._radius = float(f"{radius:.2g}")  # of a new lamp
        step = float(10.0 ** np.floor(np.log10(radius / 100)))
        with gui.add_folder("Relight", expand_by_default=False):
            self._said = gui.add_html("")
            self._ambient = gui.add_rgb("Ambient", (120, 120, 130), hint="White, and no light: nothing changes")
            self._sun_on = gui.add_checkbox("Sun", True)
            self._azimuth = gui.add_slider("Azimuth", -180.0, 180.0, 1.0, -45.0)
            self._elevation = gui.add_slider("Elevation", -90.0, 90.0, 1.0, 45.0)
            self._colour = gui.add_rgb("Sun colour", (255, 244, 224))
            self._strength = gui.add_slider("Sun strength", 0.0, 4.0, 0.05, 1.0)
            self._lamp: Any = gui.add_dropdown("Lamp", (NO_LAMP,))
            lamp = gui.add_button_group("Lamps", ("Place", "Remove"), hint="Place: click where a new lamp is")
            self._position = gui.add_vector3("Lamp position", (0.0, 0.0, 0.0), step=step)
            self._lamp_colour = gui.add_rgb("Lamp colour", (255, 214, 170))
            self._lamp_strength = gui.add_slider("Lamp strength", 0.0, 8.0, 0.05, 2.0)
            self._reach = gui.add_number("Lamp reach", self._radius, min=1e-9, step=step, hint="Where its light ends, in scene units")
            see = gui.add_button("Preview lights", color="gray", hint="Normals take a moment")
            self._apply = gui.add_button("Add lights", hint="An operation: the History switches it off, and changes it")
            reset = gui.add_button("Forget lights", color="gray")
        pick(lamp, lambda what: self._place() if what == "Place" else self._remove())
        for widget in (self._sun_on, self._lamp):
            hear(widget, lambda _: self.show())
        for widget in (self._position, self._lamp_colour, self._lamp_strength, self._reach):
            hear(widget, lambda _: self._type())
        press(see, self.preview)
        press(self._apply, self.apply)
        press(reset, self.reset)
        self.show()

    @property
    def lights(self) -> tuple[Light, ...]:
        """All that shine. ValueError if a page said something that is no light."""
        sunlight = Directional(
            sun(float(self._azimuth.value), float(self._elevation.value), self._placing), _unit(self._colour), float(self._strength.value)
        )
        return (*([sunlight] if self._sun_on.value else []), *self._lamps)

    def operation(self, state: State) -> Relight:
        """The light on what is selected; where nothing is, on everything."""
        if self._amended is not None and isinstance(self._amended.operation, Relight):
            return replace(self._amended.operation, lights=self.lights, ambient=_unit(self._ambient))
        return Relight(self.lights, _unit(self._ambient), selection=Selection(Current()) if state.selected else ALL)

    def show(self) -> None:
        """Show what would be lit, and the lamp that is chosen."""
        if self._amended is not None and not any(one.id == self._amended.id for one in self._world.document.entries):
            self._amended = None
        count = self._world.edited.selected_count
        text = f"Lights the {count:,} selected splats." if count else "Lights everything: nothing is selected."
        said(self._said, lines([text if self._amended is None else "Changes lights that are there."]))
        label = "Add lights" if self._amended is None else "Change the lights"
        if self._apply.label != label:
            self._apply.label = label
        names = tuple(f"Lamp {number}" for number in range(1, len(self._lamps) + 1)) or (NO_LAMP,)
        if self._lamp.options != names:
            at = self._lamp.value
            self._lamp.options = names
            self._lamp.value = at if at in names else names[-1]
        show_if(bool(self._sun_on.value), self._azimuth, self._elevation, self._colour, self._strength)
        show_if(bool(self._lamps), self._lamp, self._position, self._lamp_colour, self._lamp_strength, self._reach)
        chosen = self._chosen
        if chosen is not None and self._typed != chosen:
            self._position.value, self._lamp_strength.value, self._reach.value = chosen.position, chosen.strength, chosen.radius
            self._lamp_colour.value = _bytes(chosen.colour)

    def preview(self) -> None:
        """Show the scene in this light."""
        self._try(self._show)

    def apply(self) -> None:
        """Make an operation of it, or give the one that is changed these lights."""
        self._try(lambda operation: self._do(operation).add_done_callback(self._applied))

    def reset(self) -> None:
        """Without lamps, and without an operation that is changed."""
        self._amended, self._lamps, self.previewing = None, [], False
        self._world.end_preview()
        self.show()

    def load(self, entry: Entry) -> None:
        """Take the lights of an operation, which is changed from now on."""
        assert isinstance(entry.operation, Relight)
        self._amended, self._lamps = entry, [light for light in entry.operation.lights if isinstance(light, Point)]
        self._ambient.value = _bytes(entry.operation.ambient)
        suns = [light for light in entry.operation.lights if isinstance(light, Directional)]
        self._sun_on.value = bool(suns)
        if suns:
            self._azimuth.value, self._elevation.value = angles(suns[0].direction, self._placing)
            self._colour.value, self._strength.value = _bytes(suns[0].colour), suns[0].strength
        self.show()

    def _try(self, what: Any) -> None:
        try:
            operation = self.operation(self._world.edited)
        except ValueError as error:
            self._page.notify("No light", str(error))
            return
        what(operation)

    def _show(self, operation: Relight) -> None:
        self.previewing = True
        if self._amended is not None:
            self._world.preview_amended(self._amended.id, operation, marked=False)
        else:
            self._world.preview(operation, marked=False)

    def _do(self, operation: Relight) -> Future[State]:
        if self._amended is not None:
            return self._editor.told(self._world.amend(self._amended.id, operation, self._editor.author))
        return self._editor.do(operation)

    def _applied(self, done: Future[State]) -> None:
        if not done.cancelled() and done.exception() is None and self._page.open:
            self._amended, self.previewing = None, False
            self.show()

    # Lamps.

    @property
    def _chosen(self) -> Point | None:
        names = [f"Lamp {number}" for number in range(1, len(self._lamps) + 1)]
        return self._lamps[names.index(self._lamp.value)] if self._lamp.value in names else None

    @property
    def _typed(self) -> Point | None:
        """What the numbers of a lamp say; None if that is no lamp."""
        try:
            x, y, z = map(float, self._position.value)
            return Point((x, y, z), _unit(self._lamp_colour), float(self._lamp_strength.value), float(self._reach.value))
        except ValueError:
            return None

    def _type(self) -> None:
        lamp, chosen = self._typed, self._chosen
        if lamp is not None and chosen is not None:
            self._lamps[self._lamps.index(chosen)] = lamp

    def _place(self) -> None:
        if len(self._lamps) >= MOST:
            self._page.notify("No more lamps", f"There are {MOST} of them.")
            return
        self._editor.pick(1, "Click where the lamp is", lambda points: self._put(points[0]))

    def _put(self, point: Doubles) -> None:
        """A new lamp a little in front of a point of the world."""
        eye = self._placing.inverse().apply(np.asarray(self._page.pose.position))
        way = eye - np.asarray(point)
        x, y, z = (np.asarray(point) + way / max(float(np.linalg.norm(way)), 1e-12) * OFF_SURFACE / self._placing.scale).tolist()
        self._lamps.append(Point((x, y, z), _unit(self._lamp_colour), float(self._lamp_strength.value), self._radius))
        self.show()
        self._lamp.value = f"Lamp {len(self._lamps)}"
        self.show()

    def _remove(self) -> None:
        chosen = self._chosen
        if chosen is not None:
            self._lamps.remove(chosen)
            self.show()


def _unit(handle: Any) -> tuple[float, float, float]:
    red, green, blue = (min(255, max(0, int(channel))) / 255 for channel in handle.value)
    return red, green, blue


def _bytes(colour: tuple[float, float, float]) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, round(255 * channel))) for channel in colour)
    return red, green, blue
