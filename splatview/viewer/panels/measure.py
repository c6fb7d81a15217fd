"""Putting the scene right by points that are clicked on: a known length, a floor, and which way is up."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from splatview.arrays import Doubles
from splatview.edit.operations import PlaceAll
from splatview.edit.transform import align_plane, rescale_from, up_axis
from splatview.framing import UpAxis, axis_vector
from splatview.geometry import Similarity
from splatview.viewer.editor import Editor
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import lines, press, said
from splatview.viewer.session import Session
from splatview.viewer.studio import Studio

AXES = tuple(axis for axis in get_args(UpAxis) if axis != "auto")
COLOUR = (90, 220, 255)


class Measure:
    """The folder "Measure and align"."""

    def __init__(self, page: Page, session: Session, studio: Studio, editor: Editor) -> None:
        self._page, self._session, self._placing, self._editor = page, session, studio.placing, editor
        self._ends: tuple[Doubles, Doubles] | None = None  # of what was measured, in the world
        self._drawn: list[Any] = []
        self.up: UpAxis = max(AXES, key=lambda axis: float(axis_vector(axis) @ studio.placing.rotation[2]))  # of the page, in the world
        gui = page.gui
        with gui.add_folder("Measure and align", expand_by_default=False):
            measure = gui.add_button("Measure", hint="Click on two points")
            self._said = gui.add_html("")
            self._length = gui.add_number("Length", 1.0, min=1e-9, hint="What the measured distance really is")
            rescale = gui.add_button("Rescale the scene", hint="So that the measured distance has this length")
            floor = gui.add_button("Align the floor", hint="Click on three points of it: they will lie in the grid's plane")
            self._axis: Any = gui.add_dropdown("Up is", AXES, initial_value=self.up)
            turn = gui.add_button("Turn upright", hint="So that this axis of the scene points up")
        press(measure, self._begin)
        press(rescale, self._rescale)
        press(floor, lambda: editor.pick(3, "Click on three points of the floor", self._align))
        press(turn, lambda: self._do(up_axis(self._axis.value, self.up), f"Set {self._axis.value} up"))

    def _begin(self) -> None:
        self._ends = None
        self._show()
        self._editor.pick(2, "Click on two points", self._measured)

    def _measured(self, points: list[Doubles]) -> None:
        self._ends = points[0], points[1]
        self._show()

    def _show(self) -> None:
        """Draw the line that was measured, and say how long it is."""
        for handle in self._drawn:
            handle.remove()
        self._drawn = []
        if self._ends is None or not self._page.open:
            said(self._said, "")
            return
        ends = self._placing.apply(np.stack(self._ends))
        distance = float(np.linalg.norm(self._ends[1] - self._ends[0]))
        self._said.content = lines([f"{distance:.6g} scene units"])
        self._length.value = float(f"{distance:.6g}") or self._length.value
        scene = self._page.scene
        self._drawn = [
            scene.add_line_segments("/measured", ends[None].astype(np.float32), COLOUR, thickness=3.0, thickness_units="screen"),
            scene.add_label("/measured_length", f"{distance:.4g}", position=tuple(ends.mean(0).tolist()), anchor="bottom-center"),
        ]

    def _rescale(self) -> None:
        if self._ends is None:
            self._page.notify("Not done", "Measure a distance first: press Measure, then click on two points.")
            return
        try:
            transform = rescale_from(*self._ends, float(self._length.value))
        except ValueError as error:
            self._page.notify("Not done", str(error))
            return
        self._do(transform, "Rescale the scene")

    def _align(self, points: list[Doubles]) -> None:
        try:
            transform = align_plane(*points, up=axis_vector(self.up))
        except ValueError as error:
            self._page.notify("Not done", str(error))
            return
        self._do(transform, "Align the floor")

    def _do(self, transform: Similarity, why: str) -> None:
        def follow(done: Any) -> None:
            if self._ends is not None and not done.cancelled() and done.exception() is None:
                self._ends = transform.apply(self._ends[0]), transform.apply(self._ends[1])
                self._show()

        self._editor.do(PlaceAll(transform, why)).add_done_callback(follow)
