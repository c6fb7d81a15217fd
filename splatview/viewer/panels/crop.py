"""What a field shows of itself: boxes and spheres that crop it, its exposure and its background. All of it is undone as operations are."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from splatview.arrays import Doubles
from splatview.edit.operations import AnyOperation, Crop, Expose, SetBackground
from splatview.edit.state import State
from splatview.hashgrid import HashGrid
from splatview.scene import Layer
from splatview.viewer.editor import Editor
from splatview.viewer.page import Page
from splatview.viewer.panels.placement import TYPING
from splatview.viewer.panels.shape import Change, Colour, Labels, ShapeControls, Wires, near_sized, new_volume
from splatview.viewer.panels.widgets import hear, pick, press, show_if
from splatview.viewer.session import Session
from splatview.viewer.studio import Studio
from splatview.volumes import Cut, Volume

NONE = "nothing crops it"
MODES = {"Keep inside": True, "Cut out": False}
KEPT: Colour = (110, 210, 120)
GONE: Colour = (230, 100, 90)
LABELS = Labels("Crop gizmo", "Crop middle", "Crop size", "Crop rotation", "Crop radius", "Soft edge")
BRIGHTEST = 6.0  # stops that the slider reaches


class FieldView:
    """The folder "Field" of one layer at a time; `chosen` says which. It is there for fields alone."""

    def __init__(self, page: Page, session: Session, studio: Studio, editor: Editor, chosen: Callable[[], str | None]) -> None:
        self._page, self._session, self._world, self._placing = page, session, studio.world, studio.placing
        self._editor, self._chosen = editor, chosen
        self._wires = Wires(page, studio.placing)
        self._typed: tuple[str, object, float] = ("", object(), -1e9)  # what is being changed, its gesture, and when it was last
        self._asked: Future[State] | None = None  # what was asked for last
        gui = page.gui
        with gui.add_folder("Field", expand_by_default=True, visible=False) as self._folder:
            new = gui.add_button_group("Crop with a", ("Box", "Sphere"))
            self._choice: Any = gui.add_dropdown("Crop", (NONE,), initial_value=NONE)
            self._mode: Any = gui.add_dropdown("What it does", tuple(MODES), initial_value="Keep inside")
            why = "Over which the crop fades out, in scene units"
            self._shape = ShapeControls(page, studio.placing, LABELS, "crop", why, self._change)
            self._remove = gui.add_button("Remove this crop", color="gray")
            self._exposure: Any = gui.add_slider("Field exposure", -BRIGHTEST, BRIGHTEST, 0.1, 0.0, hint="Stops, of the field alone")
            self._own: Any = gui.add_checkbox("Own background", False, hint="Behind everything, as long as the field is shown")
            self._colour: Any = gui.add_rgb("Background of the field", (0, 0, 0), visible=False)
        pick(new, self._add)
        hear(self._choice, lambda _: self.show())
        hear(self._mode, lambda mode: self._edit_cut(lambda cut: replace(cut, keeps=MODES[mode])))
        press(self._remove, lambda: self._edit_cut(lambda cut: None))
        hear(self._exposure, lambda stops: self._do(lambda layer, name: Expose(name, float(stops)), self._typing("exposure")))
        for handle in (self._own, self._colour):
            hear(handle, lambda _: self._set_background())
        self.show()

    @property
    def _layer(self) -> Layer | None:
        """The chosen layer as it is seen, if it is a field."""
        layer = self._world.scene.layers.get(self._chosen() or "")
        return layer if layer is not None and isinstance(layer.content, HashGrid) else None

    @property
    def _number(self) -> int:
        """Of the chosen cut; -1: none."""
        return int(number) - 1 if (number := str(self._choice.value).partition(":")[0]).isdecimal() else -1

    def show(self) -> None:
        """Show the chosen layer's crop and looks as they are now; what is on its way to the world is not put back."""
        layer = self._layer
        show_if(layer is not None, self._folder)
        if layer is None or (self._asked is not None and not self._asked.done()):
            if layer is None:
                self._wires.show({})
                self._shape.show(None)
            return
        volumes = [cut.volume.moved(layer.placement) for cut in layer.cuts]
        names = tuple(_name(number, cut) for number, cut in enumerate(layer.cuts)) or (NONE,)
        number = min(max(self._number, 0), len(layer.cuts) - 1)
        if self._choice.options != names:
            self._choice.options = names
        if self._choice.value != names[max(number, 0)]:
            self._choice.value = names[max(number, 0)]
        show_if(number >= 0, self._mode, self._remove)
        self._shape.show(volumes[number] if number >= 0 else None)
        self._wires.show({f"crop_{place}": (volume, KEPT if layer.cuts[place].keeps else GONE) for place, volume in enumerate(volumes)})
        colour = None if layer.background is None else tuple(round(255 * value) for value in layer.background)
        for handle, value in (
            (self._mode, "Keep inside" if number < 0 or layer.cuts[number].keeps else "Cut out"),
            (self._exposure, min(BRIGHTEST, max(-BRIGHTEST, layer.exposure))),
            (self._own, colour is not None),
            (self._colour, colour or self._colour.value),
        ):
            if handle.value != value:
                handle.value = value
        show_if(colour is not None, self._colour)

    # What the person does.

    def _add(self, kind: str) -> None:
        found = self._session.point_at(0, 0.5, 0.5)
        found.add_done_callback(lambda done: done.cancelled() or self._put(kind, None if done.exception() else done.result()))

    def _put(self, kind: str, middle: Doubles | None) -> None:
        if middle is None:
            middle = self._placing.inverse().apply(self._page.pose.look_at)
        volume = new_volume(kind, middle, near_sized(self._placing))

        def crop(layer: Layer, name: str) -> Crop:
            return Crop(name, (*layer.cuts, Cut(volume.moved(layer.placement.inverse()), MODES[self._mode.value])))

        asked = self._do(crop)
        if asked is not None:
            asked.add_done_callback(lambda done: done.cancelled() or done.exception() or self._choose_last())

    def _choose_last(self) -> None:
        with self._page.perhaps_gone():
            layer = self._layer
            if layer is not None and layer.cuts:
                names = tuple(_name(number, cut) for number, cut in enumerate(layer.cuts))
                self._choice.options = names
                self._choice.value = names[-1]
                self.show()

    def _change(self, volume: Volume, how: Change) -> None:
        name, number = self._chosen(), self._number
        if how != "dragging":
            self._edit_cut(lambda cut: cut, volume, self._typing(f"crop {number}") if how == "typed" else None)
            return
        layer = self._world.edited.scene.layers.get(name or "")
        if name is not None and layer is not None and 0 <= number < len(layer.cuts):
            self._world.preview(_with(layer, name, number, replace(layer.cuts[number], volume=volume.moved(layer.placement.inverse()))))

    def _edit_cut(self, what: Callable[[Cut], Cut | None], volume: Volume | None = None, gesture: object = None) -> None:
        """Make another of the chosen cut, None: none; with another `volume`, of the world."""
        number = self._number

        def crop(layer: Layer, name: str) -> Crop | None:
            if not 0 <= number < len(layer.cuts):
                return None
            cut = layer.cuts[number]
            return _with(layer, name, number, what(cut if volume is None else replace(cut, volume=volume.moved(layer.placement.inverse()))))

        self._do(crop, gesture)

    def _set_background(self) -> None:
        red, green, blue = (value / 255 for value in self._colour.value)
        colour = (red, green, blue) if self._own.value else None
        self._do(lambda layer, name: None if layer.background == colour else SetBackground(name, colour), self._typing("background"))

    def _typing(self, what: str) -> object:
        """The gesture of a change: several of the same thing in quick succession are one step of the history."""
        what, (before, gesture, at) = f"{what} of {self._chosen()}", self._typed
        if what != before or time.monotonic() - at > TYPING:
            gesture = object()
        self._typed = what, gesture, time.monotonic()
        return gesture

    def _do(self, what: Callable[[Layer, str], AnyOperation | None], gesture: object = None) -> Future[State] | None:
        name = self._chosen()
        if name is None:
            return None

        def operation(state: State) -> AnyOperation | None:
            layer = state.scene.layers.get(name)
            return None if layer is None or not isinstance(layer.content, HashGrid) else what(layer, name)

        self._asked = asked = self._editor.edit(operation, gesture)
        asked.add_done_callback(lambda _: self._settle())
        return asked

    def _settle(self) -> None:
        if self._page.open:
            with self._page.perhaps_gone():
                self.show()


def _name(number: int, cut: Cut) -> str:
    return f"{number + 1}: {'keep' if cut.keeps else 'cut out'} a {type(cut.volume).__name__.lower()}"


def _with(layer: Layer, name: str, number: int, cut: Cut | None) -> Crop:
    """The crop of a layer with another cut in a place, or none there."""
    return Crop(name, (*layer.cuts[:number], *(() if cut is None else (cut,)), *layer.cuts[number + 1 :]))
