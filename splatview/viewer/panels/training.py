"""How a training goes, of a field that is looked at meanwhile."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from splatview.arrays import Doubles
from splatview.viewer.live import Live
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import press, table

PLOT_EVERY = 4.0  # seconds: each redraw costs the page


class TrainingFolder:
    """The folder "Training", above all others."""

    def __init__(self, page: Page, live: Live) -> None:
        self._page, self._live = page, live
        self._plots: dict[str, Any] = {}
        self._plotted_at = -1e9
        self._lock = threading.Lock()
        with page.gui.add_folder("Training", order=-1.0) as self._folder:
            self._figures = page.gui.add_html("")
            self._stop = page.gui.add_button("Stop and save", hint="End the training now, and write the field")
        press(self._stop, live.stop)
        self.show()

    def show(self) -> None:
        """Show how it stands now."""
        with self._lock:
            self._figures.content = table(self._live.rows)
            self._stop.disabled = self._live.over or self._live.stopping
            now = time.monotonic()
            if self._live.over or now - self._plotted_at > PLOT_EVERY:
                self._plotted_at = now
                moments = self._live.moments
                self._plot("loss", np.array([(one.minutes, one.loss) for one in moments]))
                self._plot("PSNR, dB", np.array([(one.minutes, one.psnr) for one in moments if one.psnr is not None]))

    def _plot(self, title: str, points: Doubles) -> None:
        """Bring a curve up to date."""
        if len(points) < 2:
            return
        data = points[:, 0].copy(), points[:, 1].copy()
        if title in self._plots:
            self._plots[title].data = data
            return
        with self._folder:
            self._plots[title] = self._page.gui.add_uplot(
                data,
                ({"label": "minutes"}, {"label": title, "stroke": "#5b8ff9", "width": 1, "points": {"show": False}}),
                title=f"{title} over minutes",
                scales={"x": {"time": False}},
                axes=({"size": 28}, {"size": 48}),
                legend={"show": False},
                cursor={"show": False},
                height=120,
                padding=(6, 8, 0, 0),
            )
