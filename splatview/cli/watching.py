"""`splatview fit --watch`: a field is looked at while it is trained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from splatview.cli.faults import users_fault
from splatview.hashgrid import HashGrid, Occupancy
from splatview.scene import Layer, Scene
from splatview.viewer import Viewer, ViewerSettings, serve
from splatview.viewer.live import Moment

if TYPE_CHECKING:
    from splatview.cli.fit import Standing
    from splatview.fit.training import Training

FIRST = 3.0  # seconds from the start to the first field that is shown
EVERY = {"cpu": 10.0, "cuda": 2.0}  # seconds between two of them at least
SLOWER = 0.05  # of the time so far, at least: the longer a field is trained, the less it changes
DRAWING = 0.2  # of the time at most is spent on pictures for pages where nobody moves: they keep the training waiting
TELL_EVERY = 2.0


class Watching:
    """A viewer of what is being trained. Everything is called by the thread that trains."""

    def __init__(self, training: Training, name: str, settings: ViewerSettings) -> None:
        capture, value = training.capture, training.value()
        if value.occupancy is not None:  # of what has learned nothing yet, nothing is worth a look
            nothing = np.zeros_like(value.occupancy.cells)
            value = replace(value, occupancy=Occupancy(nothing, value.occupancy.boxes))
        layer = Layer(value, capture.field_from_world.inverse(), viewpoints=capture.viewpoints)
        self._training, self._shown = training, value
        with users_fault(OSError):  # a busy port, an address that is not ours
            self._viewer: Viewer = serve(Scene({name: layer}), settings, block=False)
        self._live = self._viewer.studio.live
        self._begun = self._told = self._shown_at = time.monotonic()
        self._pause, self._drawn = FIRST, 0.0
        self._live.tell({"step": "0"})

    @property
    def stopping(self) -> bool:
        """Whether somebody wants the training to end."""
        return self._live.stopping

    def step(self, standing: Standing) -> None:
        """Show how it stands, and from time to time the field."""
        now = time.monotonic()
        if now - self._told > TELL_EVERY:
            self._told = now
            self._live.tell(self._rows(standing), Moment((now - self._begun) / 60, standing.loss, standing.psnr))
        drawing = self._drawing
        if now - self._shown_at >= max(self._pause, (drawing - self._drawn) / DRAWING):
            self._show(self._training.value())
            self._shown_at, self._drawn = now, drawing
            self._pause = max(EVERY[self._training.device.type], SLOWER * (now - self._begun))

    @property
    def _drawing(self) -> float:
        """Seconds that pictures at rest have taken, on all pages that there are."""
        return sum(one.resting_seconds for one in self._viewer.sessions)

    def _rows(self, standing: Standing) -> Mapping[str, str]:
        quality = {} if standing.psnr is None else {"PSNR of a photo held out": f"{standing.psnr:.1f} dB"}
        return {
            "step": f"{standing.steps:,}",
            "loss": f"{standing.loss:.5f}",
            **quality,
            "done": f"{standing.fraction:.0%}",
            "minutes left": f"{standing.minutes_left:.1f}",
        }

    def _show(self, field: HashGrid) -> None:
        self._viewer.world.renew(self._shown, field)
        self._shown = field

    def over(self, text: str) -> None:
        """Show the field as it became, and what became of it, until Ctrl+C."""
        self._show(self._training.value())
        self._live.tell({"step": f"{self._training.steps:,}", "": text}, over=True)
        print(f"{text}; the page shows it until Ctrl+C", flush=True)
        self._viewer.wait()

    def close(self) -> None:
        self._viewer.close()
