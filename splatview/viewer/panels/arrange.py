"""Changing what is selected: delete, hide, lock, move, copy, crop; and what concerns whole layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np

from splatview.arrays import Doubles
from splatview.edit.operations import (
    AnyOperation,
    Bake,
    CapDegree,
    Crop,
    Delete,
    Hide,
    Lock,
    Merge,
    Move,
    Place,
    Restore,
    Separate,
    ShowHidden,
    Unlock,
)  # fmt: skip
from splatview.edit.select import Inside, Not, Selection
from splatview.edit.state import State
from splatview.edit.transform import about
from splatview.geometry import Similarity
from splatview.scene import Scene
from splatview.viewer.editor import Editor
from splatview.viewer.lifting import Lifted, Motion, middle_of_selection, motion
from splatview.viewer.page import Page
from splatview.viewer.panels.keys import on_key
from splatview.viewer.panels.measure import Measure
from splatview.viewer.panels.placement import GIZMO, middle_of, quat_from_degrees
from splatview.viewer.panels.widgets import hear, pick, press
from splatview.viewer.session import Session
from splatview.viewer.space import RADIUS
from splatview.viewer.studio import Studio
from splatview.volumes import Cut, Volume

Held = Literal["nothing", "move", "rotate", "scale"]
STEPS = {"-10%": 1 / 1.1, "-1%": 1 / 1.01, "+1%": 1.01, "+10%": 1.1}


class Arrange:
    """The folder "Edit". `layer` says which layer is chosen: it is what the gizmo moves when nothing is selected."""

    def __init__(self, page: Page, session: Session, studio: Studio, editor: Editor, layer: Callable[[], str | None]) -> None:
        self._page, self._world, self._placing, self._editor, self._layer = page, studio.world, studio.placing, editor, layer
        self._session = session
        self._held: Held = "nothing"
        self._pivot: Doubles | None = None  # that was set by hand
        self._selected: object = None  # the masks that the pivot was set for
        self._middle: tuple[object, Doubles | None] = None, None
        self._lifted: Lifted | None = None
        self._start: Doubles | None = None  # where the gizmo stood when the drag began; None: there is none
        gui, step = page.gui, float(10.0 ** np.floor(np.log10(0.01 * RADIUS / studio.placing.scale)))
        with gui.add_folder("Edit", expand_by_default=False):
            away = gui.add_button_group("Selected", ("Delete", "Hide", "Lock"), hint="Del, H")
            back = gui.add_button_group("Bring back", ("Deleted", "Hidden", "Locked"), hint="Shift+H shows what is hidden")
            copy = gui.add_button_group("To a layer", ("Duplicate", "Separate"))
            crop = gui.add_button_group("Crop to volume", ("Keep inside", "Keep outside"), hint="The chosen box or sphere of Select")
            self._grip: Any = gui.add_dropdown("Gizmo does", get_args(Held), initial_value="nothing", hint="Keys 1, 2, 3")
            with gui.add_folder("Move by numbers", expand_by_default=False):
                self._by = gui.add_vector3("Move by", (0.0, 0.0, 0.0), step=step, hint="Scene units")
                self._degrees = gui.add_vector3("Rotate by", (0.0, 0.0, 0.0), step=1.0, hint="Degrees about x, then y, then z")
                self._times = gui.add_number("Scale by", 1.0, min=1e-6, max=1e6, step=0.01)
                apply = gui.add_button("Apply")
                resize = gui.add_button_group("Resize", tuple(STEPS))
                self._about = gui.add_vector3("Pivot", (0.0, 0.0, 0.0), step=step, hint="What is turned and scaled about")
                pivot = gui.add_button_group("Put the pivot", ("By a click", "In the middle"))
            self.measure = Measure(page, session, studio, editor)
            with gui.add_folder("Whole layers", expand_by_default=False):
                self._name = gui.add_text("Merged name", "merged")
                merge = gui.add_button("Merge visible layers")
                self._degree: Any = gui.add_dropdown("Degree", ("0", "1", "2", "3"), initial_value="0")
                cap = gui.add_button("Cap SH degree", hint="Of all layers")
                bake = gui.add_button("Bake", color="gray", hint="Write everything into the splats; deleted ones go for good")
        self._gizmo = page.scene.add_transform_controls("/selection", scale=GIZMO, depth_test=False, visible=False)
        deeds: dict[str, Callable[[], AnyOperation]] = {"Delete": Delete, "Hide": Hide, "Lock": Lock}
        returns: dict[str, Callable[[], AnyOperation]] = {"Deleted": Restore, "Hidden": ShowHidden, "Locked": Unlock}
        pick(away, lambda what: editor.do(deeds[what]()))
        pick(back, lambda what: editor.do(returns[what]()))
        pick(copy, lambda what: editor.edit(lambda state: separation(state, keep=what == "Duplicate")))
        pick(crop, lambda what: self._crop(inside=what == "Keep inside"))
        hear(self._grip, self.hold)
        press(apply, self._apply)
        pick(resize, lambda what: self._move(lambda pivot: about(Similarity(scale=STEPS[what]), pivot)))
        hear(self._about, lambda point: self._set_pivot(np.asarray(point, np.float64)))
        pick(pivot, self._put_pivot)
        press(merge, lambda: editor.edit(self._merged))
        press(cap, lambda: editor.do(CapDegree(int(self._degree.value))))
        press(bake, lambda: editor.do(Bake()))
        self._gizmo.on_update(self._drag)
        for key, operation in (("delete", Delete), ("delete too", Delete), ("hide", Hide), ("unhide", ShowHidden)):
            on_key(gui, key, lambda key=key, operation=operation: session.pressed(key) and editor.do(operation()))
        for grip in get_args(Motion):
            on_key(gui, grip, lambda grip=grip: session.pressed(grip) and self.hold("nothing" if self._held == grip else grip))
        self.show()

    # What stands where.

    @property
    def pivot(self) -> Doubles | None:
        """The point [3] that is turned about: set by hand, or the middle of what is selected or of the chosen layer."""
        state = self._world.edited
        if self._pivot is not None and self._selected == state.selected:
            return self._pivot
        self._pivot = None
        if state.selected:
            if self._middle[0] is not state:
                self._middle = state, middle_of_selection(state)
            return self._middle[1]
        name = self._layer()
        layer = None if name is None else state.scene.layers.get(name)
        return None if layer is None or layer.empty else layer.placement.apply(middle_of(layer.content))

    def show(self) -> None:
        """Show the gizmo and the pivot where they are now; what the person is dragging is left alone."""
        if self._start is not None:
            return
        wanted = self._held != "nothing"
        pivot = self.pivot if wanted or self._world.edited.selected else None
        on = wanted and pivot is not None
        if self._gizmo.visible != on:
            self._gizmo.visible = on
        if pivot is None:
            return
        point = tuple(pivot.tolist())
        if not np.allclose(self._about.value, point, rtol=1e-9, atol=0):
            self._about.value = point
        if on:
            with self._page.client.atomic():
                self._gizmo.position, self._gizmo.wxyz = tuple(self._placing.apply(pivot).tolist()), self._placing.quat

    def hold(self, grip: Held) -> None:
        """Let the gizmo do this."""
        self._held = grip
        if self._grip.value != grip:
            self._grip.value = grip
        gizmo = self._gizmo
        gizmo.disable_rotations, gizmo.disable_axes, gizmo.disable_sliders = grip != "rotate", grip == "rotate", grip != "move"
        gizmo.active_axes = (True, False, False) if grip == "scale" else (True, True, True)
        self.show()

    def _set_pivot(self, point: Doubles) -> None:
        self._pivot, self._selected = point, self._world.edited.selected
        self.show()

    def _put_pivot(self, how: str) -> None:
        if how == "By a click":
            self._editor.pick(1, "Click where the pivot is to be", lambda points: self._set_pivot(points[0]))
        else:
            self._pivot = None
            self.show()

    # Moving.

    async def _drag(self, event: Any) -> None:
        if event.phase == "start":
            self._start, self._lifted = self.pivot, None
            return
        pivot, held = self._start, self._held
        if event.phase == "end":
            self._start = None
        if pivot is None or held == "nothing":
            return
        try:
            transform = motion(held, pivot, self._placing, self._gizmo.wxyz, self._gizmo.position)
        except ValueError:  # a page may send anything
            return
        if event.phase == "end":
            self._do(transform)
        elif self._world.edited.selected:
            self._world.preview_state(lambda: self._lift().moved(transform))
        elif (place := self._placed(self._world.edited, transform)) is not None:
            self._world.preview(place)

    def _lift(self) -> Lifted:
        """What is selected, taken out once for a drag."""
        state = self._world.edited
        if self._lifted is None or self._lifted.base is not state:
            self._lifted = Lifted(state)
        return self._lifted

    def _do(self, transform: Similarity) -> None:
        """Move what is selected, or the chosen layer."""
        pivot, self._lifted = self._pivot, None
        if transform.is_identity:
            self._world.end_preview()
            self.show()
            return

        def operation(state: State) -> AnyOperation | None:
            return Move(transform) if state.selected else self._placed(state, transform)

        def carry(done: Any) -> None:  # a pivot that was set goes with what it was set for
            if pivot is not None and not done.cancelled() and done.exception() is None:
                self._set_pivot(transform.apply(pivot))

        self._editor.edit(operation).add_done_callback(carry)

    def _placed(self, state: State, transform: Similarity) -> Place | None:
        name = self._layer()
        layer = None if name is None else state.scene.layers.get(name)
        return None if name is None or layer is None else Place(name, transform @ layer.placement)

    def _move(self, what: Callable[[Doubles], Similarity]) -> None:
        pivot = self.pivot
        if pivot is None:
            self._page.notify("Not done", "There is nothing to move.")
        else:
            self._do(what(pivot))

    def _apply(self) -> None:
        try:
            x, y, z = self._by.value
            typed = Similarity(quat_from_degrees(self._degrees.value), (x, y, z), self._times.value)
        except ValueError as error:  # a page may send anything
            self._page.notify("Not done", str(error))
            return
        self._move(lambda pivot: about(typed, pivot))
        self._by.value, self._degrees.value, self._times.value = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 1.0

    # The rest.

    def _crop(self, inside: bool) -> None:
        volume, name = self._editor.chosen_volume, self._editor.volume
        if volume is None:
            self._page.notify("Not done", "Crop to what? Make a box or a sphere in Select first.")
            return
        within, scene = Inside(volume), self._world.edited.scene
        for field in scene.visible_fields:
            self._editor.edit(lambda state, field=field: cropped(state, field, volume, inside))
        if scene.visible_layers or not scene.visible_fields:
            self._editor.do(Delete(Selection(Not(within) if inside else within), f"Crop to {name}" if inside else f"Cut out {name}"))

    def _merged(self, state: State) -> AnyOperation:
        layers = tuple(state.scene.visible_layers)
        others = {name: layer for name, layer in state.scene.layers.items() if name not in layers}
        return Merge(layers, Scene.free_name(self._name.value.strip() or "merged", others))


def cropped(state: State, name: str, volume: Volume, inside: bool) -> Crop | None:
    """A field with nothing but what is in `volume` (of the world), whatever else was kept; or without that."""
    layer = state.scene.layers.get(name)
    if layer is None:
        return None
    cut = Cut(volume.moved(layer.placement.inverse()), keeps=inside)
    return Crop(name, (*(one for one in layer.cuts if not (inside and one.keeps)), cut))


def separation(state: State, keep: bool) -> Separate:
    """What is selected in a layer of its own, which is called after where it comes from."""
    name = next(iter(state.selected), "layer")
    return Separate(Scene.free_name(f"{name} {'copy' if keep else 'part'}", state.scene.layers), keep)
