"""Where a layer stands: a gizmo in the picture, and the same in numbers."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np

from splatview.arrays import Doubles
from splatview.edit.operations import Place
from splatview.edit.state import State
from splatview.framing import solid
from splatview.gaussians import Gaussians
from splatview.geometry import Similarity, matrix_from_quat, multiply_quats
from splatview.hashgrid import HashGrid
from splatview.scene import Layer
from splatview.viewer.editor import Editor
from splatview.viewer.page import Page
from splatview.viewer.panels.keys import on_key
from splatview.viewer.panels.widgets import hear, press, tell
from splatview.viewer.session import Session
from splatview.viewer.studio import Studio

SAMPLE = 100_000  # splats that the middle of a layer is found from
TYPING = 1.0  # seconds between two changes of the numbers that are one step of the history
GIZMO = 1.2  # page units; a scene's radius is 3

_middles: weakref.WeakKeyDictionary[Gaussians | HashGrid, Doubles] = weakref.WeakKeyDictionary()


def middle_of(content: Gaussians | HashGrid) -> Doubles:
    """The median [3] of the finite means, or of where a field is solid: what a layer is turned about."""
    if content not in _middles:
        if isinstance(content, HashGrid):
            some, _ = solid(content)
        else:
            some = content.means[:: max(1, len(content) // SAMPLE)].astype(np.float64)
        some = some[np.isfinite(some).all(axis=1)]
        _middles[content] = np.median(some, axis=0) if len(some) else np.zeros(3)
    return _middles[content]


def gizmo_pose(layer: Layer, page: Similarity) -> Similarity:
    """Where the gizmo of a layer stands in the page: at its middle, turned as it is; the scale is that of page from content."""
    whole = page @ layer.placement
    return replace(whole, translation=tuple(whole.apply(middle_of(layer.content)).tolist()))


def dragged(layer: Layer, page: Similarity, quat: Any, position: Any) -> Similarity:
    """The placement of a layer whose gizmo was brought to `quat` (wxyz) and `position` of the page; ValueError if they are not finite."""
    scale = page.scale * layer.placement.scale
    turned = Similarity(tuple(quat), tuple(position), scale)
    offset = scale * matrix_from_quat(np.asarray(turned.quat)) @ middle_of(layer.content)
    placed = page.inverse() @ replace(turned, translation=tuple((np.asarray(position) - offset).tolist()))
    return replace(placed, scale=layer.placement.scale)  # not rounded on the way


def quat_from_degrees(angles: Any) -> tuple[float, float, float, float]:
    """The rotation about x, then y, then z (axes that stay) by `angles` [3] in degrees."""
    halves = np.radians(np.asarray(angles, np.float64)) / 2
    x, y, z = ([np.cos(half), *(np.sin(half) * axis)] for half, axis in zip(halves, np.eye(3), strict=True))
    return tuple(multiply_quats(z, multiply_quats(y, x)).tolist())


def degrees_from_quat(quat: Any) -> tuple[float, float, float]:
    """Angles in degrees that `quat_from_degrees` makes the same rotation of."""
    m = matrix_from_quat(np.asarray(quat, np.float64))
    y = np.arctan2(-m[2, 0], np.hypot(m[0, 0], m[1, 0]))
    if np.hypot(m[0, 0], m[1, 0]) > 1e-7:
        x, z = np.arctan2(m[2, 1], m[2, 2]), np.arctan2(m[1, 0], m[0, 0])
    else:  # x and z turn about the same axis
        x, z = np.arctan2(-m[1, 2], m[1, 1]), 0.0
    return tuple((np.degrees([x, y, z]).round(9) + 0.0).tolist())  # + 0.0: never -0


class Placement:
    """The widgets of one layer at a time; `chosen` says which."""

    def __init__(self, page: Page, session: Session, studio: Studio, editor: Editor, chosen: Callable[[], str | None]) -> None:
        self._page, self._world, self._placing, self._editor, self._chosen = page, studio.world, studio.placing, editor, chosen
        self._gesture: object = None  # of the drag under way
        self._typed_at, self._typing = -1e9, object()
        self._told: tuple[str, Similarity] | None = None  # what the numbers show, or what was typed last
        self._asked: tuple[str, Future[State]] | None = None  # what was typed last, on its way
        gui, step = page.gui, 10.0 ** np.floor(np.log10(0.01 * 3 / studio.placing.scale))
        self._gizmo_on = gui.add_checkbox("Gizmo", initial_value=False, hint="Drag the layer in the picture (key T)")
        self._position = gui.add_vector3("Position", (0.0, 0.0, 0.0), step=step, hint="Of the file's origin, in the world")
        self._degrees = gui.add_vector3("Rotation", (0.0, 0.0, 0.0), step=1.0, hint="Degrees about x, then y, then z")
        self._scale = gui.add_number("Scale", 1.0, min=1e-6, max=1e6, step=0.001)
        reset = gui.add_button("Reset placement", color="gray")
        self._gizmo = page.scene.add_transform_controls("/layer", scale=GIZMO, depth_test=False, visible=False)
        tell(self._gizmo_on, lambda on: self.show())
        for number in (self._position, self._degrees, self._scale):
            hear(number, lambda _: self._type())
        press(reset, lambda: self._place(lambda layer: Similarity()))
        on_key(gui, "gizmo", lambda: session.pressed("gizmo") and setattr(self._gizmo_on, "value", not self._gizmo_on.value))
        self._gizmo.on_update(self._drag)

    def show(self) -> None:
        """Show where the layer stands now; what the person is dragging or typing is left alone."""
        name = self._chosen()
        layer = None if name is None else self._world.scene.layers.get(name)
        self._gizmo.visible = bool(self._gizmo_on.value and layer is not None and not layer.empty)
        if name is None or layer is None:
            return
        if self._gizmo.visible and self._gesture is None:
            pose = gizmo_pose(layer, self._placing)
            with self._page.client.atomic():
                self._gizmo.wxyz, self._gizmo.position = pose.quat, pose.translation
        told = name, layer.placement
        if told == self._told or (self._asked is not None and self._asked[0] == name and not self._asked[1].done()):
            return  # what was typed before the last number must not come back over it
        self._told = told
        if not _close(self._typed(), layer.placement):
            self._position.value = layer.placement.translation
            self._degrees.value = degrees_from_quat(layer.placement.quat)
            self._scale.value = layer.placement.scale

    def _typed(self) -> Similarity | None:
        """What the numbers say; None if it is no placement."""
        try:
            x, y, z = self._position.value
            return Similarity(quat_from_degrees(self._degrees.value), (x, y, z), self._scale.value)
        except ValueError:
            return None

    def _type(self) -> None:
        now = time.monotonic()
        if now - self._typed_at > TYPING:
            self._typing = object()
        self._typed_at = now
        typed, name = self._typed(), self._chosen()
        if typed is None or name is None:
            self._told = None  # whatever it says now, it is not that
            return
        asked = self._place(lambda layer: typed, self._typing)
        if asked is not None:
            self._told, self._asked = (name, typed), (name, asked)
            asked.add_done_callback(lambda _: self._settle())

    def _settle(self) -> None:
        """Show what became of what was typed."""
        if self._page.open:
            with self._page.perhaps_gone():
                self.show()

    async def _drag(self, event: Any) -> None:
        if event.phase == "start":
            self._gesture = object()
            return
        if event.phase == "end":
            self._gesture = None
        name = self._chosen()
        layer = None if name is None else self._world.edited.scene.layers.get(name)
        if name is None or layer is None:
            return
        try:
            placement = dragged(layer, self._placing, self._gizmo.wxyz, self._gizmo.position)
        except ValueError:  # a page may send anything
            return
        if event.phase == "end":
            self._place(lambda layer: placement)
        else:
            self._world.preview(Place(name, placement))

    def _place(self, where: Callable[[Layer], Similarity], gesture: object = None) -> Future[State] | None:
        name = self._chosen()
        if name is None or name not in self._world.scene.layers:
            return None
        return self._editor.edit(lambda state: self._placed(state, name, where), gesture)

    def _placed(self, state: State, name: str, where: Callable[[Layer], Similarity]) -> Place | None:
        layer = state.scene.layers.get(name)
        placement = None if layer is None else where(layer)
        return None if layer is None or placement is None or placement == layer.placement else Place(name, placement)


def _close(one: Similarity | None, other: Similarity) -> bool:
    """Whether both put a point to the same place, but for rounding."""
    return one is not None and np.allclose(one.matrix, other.matrix, rtol=1e-9, atol=1e-9 * other.scale)
