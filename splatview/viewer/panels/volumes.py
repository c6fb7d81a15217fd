"""Boxes and spheres in the scene: they select, crop, fade grades, and have names that expressions know. Everybody has their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from splatview.arrays import Doubles
from splatview.edit.select import How, Inside, Volume
from splatview.geometry import Similarity
from splatview.viewer.editor import Editor
from splatview.viewer.page import Page
from splatview.viewer.panels.placement import degrees_from_quat, quat_from_degrees
from splatview.viewer.panels.widgets import hear, pick, press, show_if
from splatview.viewer.session import Session
from splatview.viewer.space import RADIUS
from splatview.viewer.studio import Studio
from splatview.viewer.wireframes import box_lines, sphere_lines
from splatview.volumes import Box, Sphere

HOWS: Mapping[str, How] = {"Set": "set", "Add": "add", "Remove": "remove", "Intersect": "intersect"}
NONE = "no volume"
CHOSEN, OTHER, FADED = (255, 190, 60), (150, 150, 150), (140, 110, 60)


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


class Volumes:
    """The folder "Box and sphere"."""

    def __init__(self, page: Page, session: Session, studio: Studio, editor: Editor) -> None:
        self._page, self._session, self._placing, self._editor = page, session, studio.placing, editor
        self._wires: dict[str, tuple[Any, Any, Any]] = {}  # of each volume and of its falloff, and the colour
        self._dragging = False
        gui, radius = page.gui, RADIUS / studio.placing.scale
        self._size = float(f"{0.5 * radius:.2g}")  # of a new one
        step = float(10.0 ** np.floor(np.log10(radius / 100)))
        with gui.add_folder("Box and sphere", expand_by_default=False):
            new = gui.add_button_group("New", ("Box", "Sphere"))
            self._choice: Any = gui.add_dropdown("Volume", (NONE,), initial_value=NONE)
            self._gizmo_on = gui.add_checkbox("Volume gizmo", initial_value=True)
            self._middle = gui.add_vector3("Volume middle", (0.0, 0.0, 0.0), step=step)
            self._sides = gui.add_vector3("Box size", (1.0, 1.0, 1.0), step=step)
            self._degrees = gui.add_vector3("Box rotation", (0.0, 0.0, 0.0), step=1.0, hint="Degrees about x, then y, then z")
            self._radius = gui.add_number("Sphere radius", 1.0, min=1e-9, step=step)
            self._falloff = gui.add_number("Falloff", 0.0, min=0.0, step=step, hint="Over which a grade fades out, in scene units")
            inside = gui.add_button_group("Inside", tuple(HOWS))
            remove = gui.add_button("Remove volume", color="gray")
        self._gizmo = page.scene.add_transform_controls("/volume", scale=1.0, depth_test=False, visible=False)
        pick(new, self.add)
        hear(self._choice, self._choose)
        hear(self._gizmo_on, lambda _: self.show())
        for number in (self._middle, self._sides, self._degrees, self._radius, self._falloff):
            hear(number, lambda _: self._type())
        pick(inside, lambda how: self._chosen is not None and editor.select(Inside(self._chosen), HOWS[how]))
        press(remove, self._remove)
        self._gizmo.on_update(self._drag)
        self.show()

    @property
    def _chosen(self) -> Volume | None:
        return self._editor.chosen_volume

    def add(self, kind: str) -> None:
        """A new volume where the picture's middle is, chosen at once."""
        found = self._session.point_at(0, 0.5, 0.5)
        found.add_done_callback(lambda done: done.cancelled() or self._add(kind, None if done.exception() else done.result()))

    def _add(self, kind: str, middle: Doubles | None) -> None:
        if not self._page.open:
            return
        if middle is None:
            middle = self._placing.inverse().apply(self._page.pose.look_at)
        x, y, z = np.asarray(middle).tolist()
        volumes = self._editor.volumes
        name = next(name for number in range(1, len(volumes) + 2) if (name := f"{kind.lower()}{number}") not in volumes)
        sides = (self._size, self._size, self._size)
        self._put(name, Box((x, y, z), sides) if kind == "Box" else Sphere((x, y, z), self._size / 2))

    def _put(self, name: str, volume: Volume) -> None:
        self._editor.volumes[name] = volume
        self._editor.volume = name
        self.show()

    def _remove(self) -> None:
        name = self._editor.volume
        if name is not None:
            self._editor.volumes.pop(name, None)
            self._editor.volume = next(reversed(self._editor.volumes), None)
            self.show()

    def _choose(self, name: str) -> None:
        self._editor.volume = name if name in self._editor.volumes else None
        self.show()

    def show(self) -> None:
        """Show the volumes as they are now."""
        volumes, name, volume = self._editor.volumes, self._editor.volume, self._chosen
        names = tuple(volumes) or (NONE,)
        if self._choice.options != names:
            self._choice.options = names
        if self._choice.value != (name or NONE):
            self._choice.value = name or NONE
        self._show_numbers(volume)
        self._show_gizmo(volume)
        for gone in [one for one in self._wires if one not in volumes]:
            self._erase(gone)
        for one, each in volumes.items():
            self._draw(one, each, CHOSEN if one == name else OTHER)

    def _show_numbers(self, volume: Volume | None) -> None:
        show_if(volume is not None, self._middle, self._falloff)
        show_if(isinstance(volume, Box), self._sides, self._degrees)
        show_if(isinstance(volume, Sphere), self._radius)
        if volume is None or volume == self._typed(volume):
            return
        self._middle.value, self._falloff.value = volume.centre, volume.falloff
        if isinstance(volume, Box):
            self._sides.value, self._degrees.value = volume.size, degrees_from_quat(volume.quat)
        else:
            self._radius.value = volume.radius

    def _show_gizmo(self, volume: Volume | None) -> None:
        self._gizmo.visible = volume is not None and bool(self._gizmo_on.value)
        if volume is not None and not self._dragging:
            at, size = placed(volume, self._placing)
            with self._page.client.atomic():
                self._gizmo.position, self._gizmo.wxyz = at.translation, at.quat
                self._gizmo.disable_rotations = isinstance(volume, Sphere)
                self._gizmo.scale = max(0.3, 0.7 * max(size))

    def _draw(self, name: str, volume: Volume, colour: tuple[int, int, int]) -> None:
        lines = box_lines() if isinstance(volume, Box) else sphere_lines()
        if name in self._wires and self._wires[name][2] != colour:
            self._erase(name)
        if name not in self._wires:
            scene = self._page.scene
            self._wires[name] = (
                scene.add_line_segments(f"/{name}", lines, colour, thickness=2.0, thickness_units="screen"),
                scene.add_line_segments(f"/{name}_falloff", lines, FADED, thickness=1.0, thickness_units="screen"),
                colour,
            )
        wire, faded, _ = self._wires[name]
        at, size = placed(volume, self._placing)
        _, wider = placed(volume, self._placing, falloff=True)
        with self._page.client.atomic():
            for handle, values in (
                (wire, {"scale": size}),
                (faded, {"scale": wider, "visible": volume.falloff > 0}),
            ):
                for what, value in {"position": at.translation, "wxyz": at.quat, **values}.items():
                    if not np.array_equal(getattr(handle, what), value):
                        setattr(handle, what, value)

    def _erase(self, name: str) -> None:
        wire, faded, _ = self._wires.pop(name)
        wire.remove()
        faded.remove()

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
        volume, name = self._chosen, self._editor.volume
        typed = None if volume is None else self._typed(volume)
        if typed is not None and name is not None:
            self._put(name, typed)

    async def _drag(self, event: Any) -> None:
        self._dragging = event.phase not in ("end",)
        volume, name = self._chosen, self._editor.volume
        if event.phase == "start" or volume is None or name is None:
            return
        try:
            at = self._placing.inverse() @ Similarity(tuple(self._gizmo.wxyz), tuple(self._gizmo.position), self._placing.scale)
            turned = {} if isinstance(volume, Sphere) else {"quat": at.quat}
            moved = replace(volume, centre=at.translation, **turned)
        except ValueError:  # a page may send anything
            return
        self._put(name, moved)
