"""Boxes and spheres in the scene: they select, crop, fade grades, and have names that expressions know. Everybody has their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splatview.arrays import Doubles
from splatview.edit.select import How, Inside
from splatview.viewer.editor import Editor
from splatview.viewer.page import Page
from splatview.viewer.panels.shape import Colour, Labels, ShapeControls, Wires, near_sized, new_volume
from splatview.viewer.panels.widgets import hear, pick, press
from splatview.viewer.session import Session
from splatview.viewer.studio import Studio
from splatview.volumes import Volume

HOWS: Mapping[str, How] = {"Set": "set", "Add": "add", "Remove": "remove", "Intersect": "intersect"}
NONE = "no volume"
CHOSEN: Colour = (255, 190, 60)
OTHER: Colour = (150, 150, 150)
LABELS = Labels("Volume gizmo", "Volume middle", "Box size", "Box rotation", "Sphere radius", "Falloff")


class Volumes:
    """The folder "Box and sphere"."""

    def __init__(self, page: Page, session: Session, studio: Studio, editor: Editor) -> None:
        self._page, self._session, self._placing, self._editor = page, session, studio.placing, editor
        self._wires = Wires(page, studio.placing)
        gui = page.gui
        with gui.add_folder("Box and sphere", expand_by_default=False):
            new = gui.add_button_group("New", ("Box", "Sphere"))
            self._choice: Any = gui.add_dropdown("Volume", (NONE,), initial_value=NONE)
            why = "Over which a grade and the crop of a field fade out, in scene units"
            self._shape = ShapeControls(page, studio.placing, LABELS, "volume", why, lambda volume, how: self._change(volume))
            inside = gui.add_button_group("Inside", tuple(HOWS))
            remove = gui.add_button("Remove volume", color="gray")
        pick(new, self.add)
        hear(self._choice, self._choose)
        pick(inside, lambda how: self._chosen is not None and editor.select(Inside(self._chosen), HOWS[how]))
        press(remove, self._remove)
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
        volumes = self._editor.volumes
        name = next(name for number in range(1, len(volumes) + 2) if (name := f"{kind.lower()}{number}") not in volumes)
        self._put(name, new_volume(kind, middle, near_sized(self._placing)))

    def _put(self, name: str, volume: Volume) -> None:
        self._editor.volumes[name] = volume
        self._editor.volume = name
        self.show()

    def _change(self, volume: Volume) -> None:
        if self._editor.volume is not None:
            self._put(self._editor.volume, volume)

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
        volumes, name = self._editor.volumes, self._editor.volume
        names = tuple(volumes) or (NONE,)
        if self._choice.options != names:
            self._choice.options = names
        if self._choice.value != (name or NONE):
            self._choice.value = name or NONE
        self._shape.show(self._chosen)
        self._wires.show({one: (volume, CHOSEN if one == name else OTHER) for one, volume in volumes.items()})
