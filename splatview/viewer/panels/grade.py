"""Colour and opacity of what is selected: sliders that are seen at once, and applied when they are right."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from splatview.edit.document import Entry
from splatview.edit.grade import Grading
from splatview.edit.operations import ALL, HERE, Grade
from splatview.edit.select import Volume
from splatview.edit.state import State
from splatview.viewer.editor import Editor
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import hear, lines, press, said
from splatview.viewer.studio import Studio

NEUTRAL = Grading()
NO_VOLUME = "everywhere"
AS_IT_WAS = "as it was"  # the volume of an operation that is changed, which is nobody's any more


class Grader:
    """The folder "Grade"."""

    def __init__(self, page: Page, studio: Studio, editor: Editor) -> None:
        self._page, self._world, self._editor = page, studio.world, editor
        self._amended: Entry | None = None  # the operation that gets other numbers
        self.previewing = False
        self._volume: Volume | None = None  # its own
        gui = page.gui
        with gui.add_folder("Grade", expand_by_default=False):
            self._said = gui.add_html("")
            self._exposure = gui.add_slider("Exposure", -4.0, 4.0, 0.05, 0.0, hint="Stops")
            self._temperature = gui.add_slider("Temperature", -1.0, 1.0, 0.01, 0.0, hint="Blue to orange")
            self._saturation = gui.add_slider("Saturation", 0.0, 3.0, 0.01, 1.0)
            self._contrast = gui.add_slider("Contrast", 0.0, 3.0, 0.01, 1.0, hint="About mid grey")
            self._ends: Any = gui.add_multi_slider("Black and white", -0.5, 1.5, 0.01, (0.0, 1.0), min_range=0.01, hint="Shown as 0 and 1")
            self._hue = gui.add_slider("Hue shift", -180.0, 180.0, 1.0, 0.0, hint="Degrees")
            self._tint = gui.add_vector3("Tint", (1.0, 1.0, 1.0), min=(0.0, 0.0, 0.0), max=(10.0, 10.0, 10.0), step=0.01)
            self._opacity = gui.add_slider("Opacity", 0.0, 3.0, 0.01, 1.0, hint="Times the opacity")
            self._where: Any = gui.add_dropdown("Within", (NO_VOLUME,), hint="A volume of the folder Select; its falloff fades the grade")
            self._apply = gui.add_button("Apply grade")
            reset = gui.add_button("Reset grade", color="gray")
        self._sliders = {
            "exposure": self._exposure, "temperature": self._temperature, "saturation": self._saturation, "contrast": self._contrast,
            "hue_shift": self._hue, "tint": self._tint, "opacity": self._opacity,
        }  # fmt: skip
        for widget in (*self._sliders.values(), self._ends, self._where):
            hear(widget, lambda _: self.preview())
        press(self._apply, self.apply)
        press(reset, self.reset)
        self.show()

    @property
    def grading(self) -> Grading:
        """What the sliders say; ValueError if a page said something else."""
        values = {name: tuple(map(float, w.value)) if name == "tint" else float(w.value) for name, w in self._sliders.items()}
        black, white = map(float, self._ends.value)
        return Grading(**values, black_point=black, white_point=white)  # type: ignore[arg-type]

    def operation(self, state: State) -> Grade:
        """The grade of what is selected; where nothing is, of everything."""
        return Grade(self.grading, HERE if state.selected else ALL, self._volume_of(self._where.value))

    def show(self) -> None:
        """Show what would be graded, and the volumes that there are."""
        volumes = (NO_VOLUME, *self._editor.volumes, *([AS_IT_WAS] if self._volume is not None else []))
        if self._where.options != volumes:
            chosen = self._where.value if self._where.value in volumes else NO_VOLUME
            self._where.options = volumes
            self._where.value = chosen
        entry = self._amended
        if entry is not None and not any(one.id == entry.id for one in self._world.document.entries):
            self._amended = entry = None  # undone, and something else done instead
        count = self._world.edited.selected_count
        text = f"Grades the {count:,} selected splats." if count else "Grades everything: nothing is selected."
        if entry is not None:
            text = f"Changes the grade that {entry.author or 'somebody'} made."
        said(self._said, lines([text]))
        label = "Apply grade" if entry is None else "Change the grade"
        if self._apply.label != label:
            self._apply.label = label

    def preview(self) -> None:
        """Show the scene as the sliders would have it."""
        try:
            grading = self.grading
        except ValueError as error:
            self._page.notify("No grade", str(error))
            return
        self.previewing = self._amended is not None or not grading.is_identity
        if self._amended is not None:
            self._world.preview_amended(self._amended.id, self._other(self._amended), marked=False)
        elif grading.is_identity:
            self._world.end_preview()
        else:
            self._world.preview(self.operation(self._world.edited), marked=False)

    def apply(self) -> None:
        """Make an operation of it, or give the one that is changed these numbers."""
        try:
            grading, entry = self.grading, self._amended
        except ValueError as error:
            self._page.notify("No grade", str(error))
            return
        if entry is not None:
            done = self._editor.told(self._world.amend(entry.id, self._other(entry), self._editor.author))
        elif not grading.is_identity:
            done = self._editor.edit(self.operation)
        else:
            self._page.notify("Nothing to grade", "Move a slider first.")
            return
        done.add_done_callback(self._applied)

    def reset(self) -> None:
        """Put the sliders back, and leave the operation alone that was being changed."""
        self._amended, self._volume, self.previewing = None, None, False
        self._put(NEUTRAL)
        self._world.end_preview()
        self.show()

    def load(self, entry: Entry) -> None:
        """Take the numbers of a grade, which is changed from now on."""
        assert isinstance(entry.operation, Grade)
        self._amended, self._volume = entry, entry.operation.volume
        self._put(entry.operation.grading)
        self.show()
        self._where.value = AS_IT_WAS if self._volume is not None else NO_VOLUME

    def _other(self, entry: Entry) -> Grade:
        """The grade of an entry with the sliders' numbers."""
        assert isinstance(entry.operation, Grade)
        return Grade(self.grading, entry.operation.selection, self._volume_of(self._where.value))

    def _volume_of(self, name: str) -> Volume | None:
        return self._volume if name == AS_IT_WAS else self._editor.volumes.get(name)

    def _put(self, grading: Grading) -> None:
        for name, widget in self._sliders.items():
            if widget.value != getattr(grading, name):
                widget.value = getattr(grading, name)
        self._ends.value = grading.black_point, grading.white_point

    def _applied(self, done: Future[State]) -> None:
        if not done.cancelled() and done.exception() is None and self._page.open:
            self._amended, self._volume, self.previewing = None, None, False
            self._put(NEUTRAL)
            self.show()
