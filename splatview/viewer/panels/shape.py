"""A box or a sphere in the picture: its lines, a gizmo, and the same in numbers. All in the world's units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from splatview.geometry import Similarity
from splatview.viewer.page import Page
from splatview.viewer.panels.placement import degrees_from_quat, quat_from_degrees
from splatview.viewer.panels.widgets import hear, show_if
from splatview.viewer.space import RADIUS
from splatview.viewer.wireframes import box_lines, sphere_lines
from splatview.volumes import Box, Cut, Sphere, Volume, packed

Colour = tuple[int, int, int]
Change = Literal["typed", "dragging", "dragged"]
FADED: Colour = (140, 110, 60)


def placed(volume: Volume, page: Similarity, falloff: bool = False) -> tuple[Similarity, tuple[float, float, float]]:
    """Where the page has `volume`, and its size there by which the lines of `wireframes` are scaled; with its falloff around it."""
    more = volume.falloff if falloff else 0.0
    if isinstance(volume, Sphere):
        size = np.full(3, volume.radius + more)
        at = page @ Similarity(translation=volume.centre)
    else:
        size = np.asarray(volume.size) + 2 * more
        at = page @ Similarity(volume.quat, volume.centre)
    x, y, z = (page.scale * size).tolist()
    return at, (x, y, z)


def near_sized(placing: Similarity) -> float:
    """How large a new volume is, in scene units."""
    return float(f"{0.5 * RADIUS / placing.scale:.2g}")


def new_volume(kind: str, middle: Any, size: float) -> Volume:
    """A "Box" with sides, or a "Sphere" with a diameter, of `size` about `middle` [3]."""
    x, y, z = np.asarray(middle).tolist()
    return Box((x, y, z), (size, size, size)) if kind == "Box" else Sphere((x, y, z), size / 2)


def close(one: Volume, other: Volume) -> bool:
    """Whether two volumes are the same but for rounding."""
    numbers, others = packed([Cut(one)]), packed([Cut(other)])
    return type(one) is type(other) and np.allclose(numbers, others, rtol=1e-9, atol=1e-9)


@dataclass(frozen=True)
class Labels:
    """How the widgets are called."""

    gizmo: str
    middle: str
    size: str
    rotation: str
    radius: str
    falloff: str


class ShapeControls:
    """The gizmo and the numbers of one volume at a time; `changed` is told of the one that a person makes of it, and how."""

    def __init__(
        self, page: Page, placing: Similarity, labels: Labels, name: str, why: str, changed: Callable[[Volume, Change], object]
    ) -> None:
        self._page, self._placing, self._changed = page, placing, changed
        self._volume: Volume | None = None
        self._dragging = False
        gui, step = page.gui, float(10.0 ** np.floor(np.log10(RADIUS / placing.scale / 100)))
        self._gizmo_on = gui.add_checkbox(labels.gizmo, initial_value=True)
        self._middle = gui.add_vector3(labels.middle, (0.0, 0.0, 0.0), step=step)
        self._sides = gui.add_vector3(labels.size, (1.0, 1.0, 1.0), step=step)
        self._degrees = gui.add_vector3(labels.rotation, (0.0, 0.0, 0.0), step=1.0, hint="Degrees about x, then y, then z")
        self._radius = gui.add_number(labels.radius, 1.0, min=1e-9, step=step)
        self._falloff = gui.add_number(labels.falloff, 0.0, min=0.0, step=step, hint=why)
        self._gizmo = page.scene.add_transform_controls(f"/{name}", scale=1.0, depth_test=False, visible=False)
        hear(self._gizmo_on, lambda _: self._show_gizmo())
        for number in (self._middle, self._sides, self._degrees, self._radius, self._falloff):
            hear(number, lambda _: self._type())
        self._gizmo.on_update(self._drag)

    def show(self, volume: Volume | None) -> None:
        """Show this volume; numbers that say so already are left alone."""
        self._volume = volume
        show_if(volume is not None, self._gizmo_on, self._middle, self._falloff)
        show_if(isinstance(volume, Box), self._sides, self._degrees)
        show_if(isinstance(volume, Sphere), self._radius)
        self._show_gizmo()
        typed = None if volume is None else self._typed(volume)
        if volume is None or (typed is not None and close(volume, typed)):
            return
        self._middle.value, self._falloff.value = volume.centre, volume.falloff
        if isinstance(volume, Box):
            self._sides.value, self._degrees.value = volume.size, degrees_from_quat(volume.quat)
        else:
            self._radius.value = volume.radius

    def _show_gizmo(self) -> None:
        volume = self._volume
        show_if(volume is not None and bool(self._gizmo_on.value), self._gizmo)
        if volume is not None and not self._dragging:
            at, size = placed(volume, self._placing)
            with self._page.client.atomic():
                self._gizmo.position, self._gizmo.wxyz = at.translation, at.quat
                self._gizmo.disable_rotations = isinstance(volume, Sphere)
                self._gizmo.scale = max(0.3, 0.7 * max(size))

    def _typed(self, volume: Volume) -> Volume | None:
        """What the numbers say; None if that is no volume."""
        try:
            x, y, z = self._middle.value
            if isinstance(volume, Sphere):
                return Sphere((x, y, z), self._radius.value, self._falloff.value)
            quat = quat_from_degrees(self._degrees.value)
            if np.allclose(degrees_from_quat(volume.quat), self._degrees.value, atol=1e-7):
                quat = volume.quat
            return Box((x, y, z), self._sides.value, quat, self._falloff.value)
        except ValueError:
            return None

    def _type(self) -> None:
        typed = None if self._volume is None else self._typed(self._volume)
        if typed is not None:
            self._changed(typed, "typed")

    async def _drag(self, event: Any) -> None:
        self._dragging = event.phase != "end"
        volume = self._volume
        if event.phase == "start" or volume is None:
            return
        try:
            at = self._placing.inverse() @ Similarity(tuple(self._gizmo.wxyz), tuple(self._gizmo.position), self._placing.scale)
            turned = {} if isinstance(volume, Sphere) else {"quat": at.quat}
            moved = replace(volume, centre=at.translation, **turned)
        except ValueError:  # a page may send anything
            return
        self._changed(moved, "dragged" if event.phase == "end" else "dragging")


class Wires:
    """The lines of some volumes, and of their falloff."""

    def __init__(self, page: Page, placing: Similarity) -> None:
        self._page, self._placing = page, placing
        self._drawn: dict[str, tuple[Any, Any, tuple[type, Colour]]] = {}

    def show(self, volumes: Mapping[str, tuple[Volume, Colour]]) -> None:
        """Show these, by name, and no others."""
        for name, (volume, colour) in volumes.items():
            if name in self._drawn and self._drawn[name][2] != (type(volume), colour):
                self._erase(name)
            if name not in self._drawn:
                self._drawn[name] = self._lines(name, volume, colour)
            self._place(name, volume)
        for name in [one for one in self._drawn if one not in volumes]:
            self._erase(name)

    def _lines(self, name: str, volume: Volume, colour: Colour) -> tuple[Any, Any, tuple[type, Colour]]:
        lines, scene = box_lines() if isinstance(volume, Box) else sphere_lines(), self._page.scene
        return (
            scene.add_line_segments(f"/{name}", lines, colour, thickness=2.0, thickness_units="screen"),
            scene.add_line_segments(f"/{name}_falloff", lines, FADED, thickness=1.0, thickness_units="screen"),
            (type(volume), colour),
        )

    def _place(self, name: str, volume: Volume) -> None:
        wire, faded, _ = self._drawn[name]
        at, size = placed(volume, self._placing)
        _, wider = placed(volume, self._placing, falloff=True)
        with self._page.client.atomic():
            for handle, values in ((wire, {"scale": size}), (faded, {"scale": wider, "visible": volume.falloff > 0})):
                for what, value in {"position": at.translation, "wxyz": at.quat, **values}.items():
                    if not np.array_equal(getattr(handle, what), value):
                        setattr(handle, what, value)

    def _erase(self, name: str) -> None:
        wire, faded, _ = self._drawn.pop(name)
        wire.remove()
        faded.remove()
