"""Numbers that every Gaussian has, as a histogram that a range can be dragged on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Bools, Doubles, Floats
from splatview.camera import Camera
from splatview.edit.attributes import ATTRIBUTES, column, histogram
from splatview.edit.select import Range
from splatview.edit.state import State
from splatview.scene import Scene
from splatview.viewer.editor import Editor, how_of
from splatview.viewer.histogram import HistogramPage, RangeDragged, svg
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import lines, said, table, tell
from splatview.viewer.session import Session
from splatview.viewer.studio import Studio

log = logging.getLogger(__name__)

NOTHING = "nothing"
BINS = 128
ENDS = 0.1, 99.9  # percentiles between which the bins lie; what lies beyond is in the first and the last one
FARTHEST = float(np.finfo(np.float32).max)
ID = "data"


@dataclass(frozen=True, eq=False)
class Counted:
    """A histogram: of all that is looked at, and of what is selected of it."""

    every: NDArray[np.int64]  # [BINS]
    chosen: NDArray[np.int64]  # [BINS]
    edges: Doubles  # [BINS + 1]
    low: float  # of all of them, also of what lies beyond the edges
    high: float
    median: float
    broken: int  # that have no number

    def stretched(self, low: float, high: float) -> tuple[float, float]:
        """A range that was dragged from edge to edge, with all that was counted in its bins."""
        low = min(low, self.low) if low <= self.edges[0] else low
        return low, max(high, self.high) if high >= self.edges[-1] else high


def columns(attribute: str, scene: Scene, camera: Camera | None) -> dict[str, Floats]:
    """The numbers [N] of the visible layers."""
    needed = camera if ATTRIBUTES[attribute].needs_camera or attribute == "distance" else None
    return {name: column(attribute, layer.splats, layer.placement, needed) for name, layer in scene.visible_layers.items()}


def counted(values: dict[str, Floats], state: State, shown_only: bool, chosen_only: bool) -> Counted | None:
    """The histogram of what is not deleted; None if there is nothing to count."""
    every, chosen = [], []
    for name, numbers in values.items():
        keep = _kept(name, state, len(numbers), shown_only)
        mark = state.selected.get(name, np.zeros(len(numbers), np.bool_))
        keep = keep & mark if chosen_only else keep
        every.append(numbers[keep])
        chosen.append(mark[keep])
    numbers = np.concatenate(every) if every else np.zeros(0, np.float32)
    marks = np.concatenate(chosen) if chosen else np.zeros(0, np.bool_)
    good = np.isfinite(numbers)
    some, marks = numbers[good].astype(np.float64), marks[good]
    if not len(some):
        return None
    low, median, high = np.percentile(some, (ENDS[0], 50, ENDS[1]))
    if not high > low:  # nearly all the same
        low, high = some.min(), some.max()
    if not high - low > 1e-9 * max(abs(low), abs(high)):
        low, high = low - 1e-6 * max(abs(low), 1.0), high + 1e-6 * max(abs(high), 1.0)
    within = np.clip(some, low, high)
    counts, edges = histogram(within, bins=BINS, span=(float(low), float(high)))
    picked, _ = histogram(within, marks, BINS, span=(float(low), float(high)))
    return Counted(counts, picked, edges, float(some.min()), float(some.max()), float(median), int(np.count_nonzero(~good)))


def _kept(name: str, state: State, count: int, shown_only: bool) -> Bools:
    gone = (state.undrawn if shown_only else state.deleted).get(name)
    return np.ones(count, np.bool_) if gone is None else ~gone


class Data:
    """The folder "Data"."""

    def __init__(self, page: Page, session: Session, studio: Studio, editor: Editor) -> None:
        self._page, self._session, self._world, self._editor = page, session, studio.world, editor
        self._examine: Callable[[Callable[[], None]], Any] = studio.examining.call
        self._lock = threading.Lock()
        self._waiting = False
        self._key: tuple[Any, ...] = ()  # of the columns that are at hand
        self._columns: dict[str, Floats] = {}
        self._last: tuple[Any, ...] = ()  # what the histogram shows
        self._counted: Counted | None = None
        self._camera: Camera | None = None  # that depths are measured from
        gui = page.gui
        self._names = {NOTHING: "", **{attribute.label: name for name, attribute in ATTRIBUTES.items()}}
        with gui.add_folder("Data", expand_by_default=False):
            self._choice: Any = gui.add_dropdown("Histogram of", tuple(self._names), initial_value=NOTHING)
            self._plot = gui.add_html(lines(["Choose what is counted; then drag over the bars to select."]))
            self._log = gui.add_checkbox("Logarithmic", True, hint="Heights of the bars")
            self._shown = gui.add_checkbox("Shown only", True, hint="Or also what is hidden")
            self._chosen = gui.add_checkbox("Selected only", False)
        tell(self._choice, lambda _: self._choose())
        for box in (self._log, self._shown, self._chosen):
            tell(box, lambda _: self.show())
        HistogramPage(page).on_range(self.select)

    def show(self) -> None:
        """Count again, on a thread of ours, if something is counted at all; never twice at once."""
        with self._lock:
            if self._waiting or not self._names.get(self._choice.value):
                return
            self._waiting = True
        self._examine(self._count)

    def select(self, dragged: RangeDragged) -> None:
        """Select what was dragged over: all that was counted in those bins, whatever the bars leave out."""
        attribute, shown = self._names.get(self._choice.value), self._counted
        if dragged.id == ID and attribute and shown is not None and self._key[:1] == (attribute,):
            low, high = shown.stretched(dragged.low, dragged.high)
            camera = self._camera if ATTRIBUTES[attribute].needs_camera or attribute == "distance" else None
            self._editor.select(Range(attribute, max(low, -FARTHEST), min(high, FARTHEST), camera), how_of(dragged.modifiers))

    def _choose(self) -> None:
        if not self._names.get(self._choice.value):
            with self._lock:  # nothing that is being counted comes after it
                said(self._plot, "")
                self._last, self._key, self._columns = (), (), {}
            return
        try:
            self._camera = self._session.camera(640, 360)
        except ValueError:  # a page may send anything
            self._camera = None
        self._last = ()
        self.show()

    def _count(self) -> None:
        with self._lock:
            self._waiting = False
        attribute, state = self._names.get(self._choice.value), self._world.edited
        if not attribute or not self._page.open:
            return
        layers = tuple((name, layer.content, layer.placement) for name, layer in state.scene.visible_layers.items())
        looks = bool(self._log.value), bool(self._shown.value), bool(self._chosen.value)
        now = (attribute, self._camera, layers, state.deleted, state.hidden, state.selected, looks)
        if now == self._last:
            return
        key: tuple[Any, ...] = now[:3]
        values = self._columns
        try:
            values = values if key == self._key else columns(attribute, state.scene, self._camera)
            found = counted(values, state, looks[1], looks[2])
            text = shown_as(found, attribute, looks[0]) if found else lines(["There is nothing to count."])
        except Exception as error:
            if not isinstance(error, ValueError):
                log.exception("could not count %s", attribute)
            key, values, found, text = (), {}, None, lines([f"This cannot be counted: {error}"])
        with self._lock:
            if self._names.get(self._choice.value) == attribute:  # the person has chosen nothing else in the meantime
                self._key, self._columns, self._last, self._counted = key, values, now, found
                said(self._plot, text)


def shown_as(found: Counted, attribute: str, log_heights: bool) -> str:
    """HTML of the histogram, with what it counts."""
    unit = ATTRIBUTES[attribute].unit
    total, chosen = int(found.every.sum()), int(found.chosen.sum())
    rows = {
        "splats": f"{total:,}" + (f", {found.broken:,} without a number" if found.broken else ""),
        "selected": f"{chosen:,} ({chosen / total:.1%})",
        "lowest, median, highest": f"{found.low:.4g}, {found.median:.4g}, {found.high:.4g} {unit}".strip(),
    }
    if ATTRIBUTES[attribute].needs_camera or attribute == "distance":
        rows["measured"] = "from where you stood when you chose it"
    return svg(found.every, found.edges, log_heights, found.chosen, ID) + table(rows)
