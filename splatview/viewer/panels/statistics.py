"""Where the time goes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from splatview.arrays import Doubles
from splatview.stream.stats import Snapshot
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import table, tell
from splatview.viewer.picture import Picture

POINTS = 60  # of a curve; one comes every half second while pictures flow
PLOT_EVERY = 1.0  # seconds: each redraw costs the page, and it is the page that should show pictures
COLOURS = ("#5b8ff9", "#61d9a7", "#f6bd16", "#e8684a", "#9270ca", "#6dc8ec", "#ff99c3", "#a0a0a0")


def stacked(samples: Sequence[Mapping[str, float]], names: Sequence[str]) -> list[Doubles]:
    """The values of `names` over the samples [P], each on top of those before it; the highest first: lower ones are drawn over it."""
    values = np.array([[sample.get(name, 0.0) for name in names] for sample in samples], np.float64).reshape(len(samples), len(names))
    return list(np.cumsum(values, axis=1).T[::-1])


class Statistics:
    """The folder "Statistics"."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._samples: deque[tuple[float, Mapping[str, float], int, float]] = deque(maxlen=POINTS)  # when, ms, rows, bytes/s
        self._plots: list[Any] = []
        self._names: tuple[str, ...] = ()
        self._plotted_at = -1e9
        self._lock = threading.Lock()  # pictures are told of by the drawing thread, the checkbox by the page's
        with page.gui.add_folder("Statistics", expand_by_default=False) as self._folder:
            self.on = page.gui.add_checkbox("Curves", initial_value=False, hint="They cost the page some time")
            self._figures = page.gui.add_html("")
        tell(self.on, lambda on: self._switch())

    def show(self, snapshot: Snapshot, picture: Picture) -> None:
        """Put the newest figures into the panel."""
        if not self._page.open:
            return
        rows = {
            "frames per second": "at rest" if picture.still else f"{snapshot.fps:.0f}",
            "size": f"{picture.camera.width} × {picture.camera.height}",
            "splats drawn": f"{picture.counts.get('drawn', 0):,}",
            **{f"{stage} ms": f"{value:.1f}" for stage, value in picture.timings.items()},
            **({"overdraw guard": f"nearest {picture.saved.limit:,} per tile"} if picture.saved.limit else {}),
            **({"detail of fields": f"{picture.saved.detail:.2f}"} if picture.saved.detail < 1 else {}),
            **({"pixels of fields": f"{picture.saved.share:.0%}"} if picture.saved.share < 1 else {}),
            "kilobytes": f"{(len(picture.jpeg) + len(picture.depth_png)) / 1e3:.0f}",
            "megabytes per second": f"{snapshot.bytes_per_second / 1e6:.2f}",
            "shown after ms": f"{snapshot.ack_ms:.0f}",
            "requests dropped": f"{snapshot.dropped:,}",
            "pictures lost": f"{snapshot.lost:,}",
        }
        self._figures.content = table(rows)
        with self._lock:
            self._samples.append((snapshot.at, picture.timings, picture.camera.height, snapshot.bytes_per_second))
            if self.on.value and snapshot.at - self._plotted_at >= PLOT_EVERY:
                self._plot()

    def _switch(self) -> None:
        with self._lock:
            self._plot()

    def _plot(self) -> None:
        """Bring the curves up to date, or take them away."""
        if not self.on.value or len(self._samples) < 2:
            while self._plots:
                self._plots.pop().remove()
            return
        times, stages, rows, rates = zip(*self._samples, strict=True)
        self._plotted_at = times[-1]
        names = tuple(dict.fromkeys(name for sample in stages for name in sample))
        seconds = np.array(times) - times[-1]
        curves = [
            (seconds, *stacked(stages, names)),
            (seconds, np.array(rows, np.float64)),
            (seconds, np.array(rates) / 1e6),
        ]
        if names != self._names:
            while self._plots:
                self._plots.pop().remove()
        if self._plots:
            for plot, data in zip(self._plots, curves, strict=True):
                plot.data = data
        else:
            self._names = names
            titles = ("milliseconds per stage", "height of the picture, pixels", "megabytes per second")
            with self._folder:
                self._plots = [self._add(title, data, names) for title, data in zip(titles, curves, strict=True)]

    def _add(self, title: str, data: tuple[Doubles, ...], names: Sequence[str]) -> Any:
        """A small plot of `data`: of one curve, or of as many stacked areas as there are `names`, with a legend."""
        names = names if len(data) > 2 else ()
        series: list[Any] = [{"label": "seconds"}]
        for number, name in enumerate(reversed(names or (title,))):
            colour = COLOURS[max(0, len(names) - 1 - number) % len(COLOURS)]
            series.append({"label": name, "stroke": colour, "fill": colour if names else None, "width": 1, "points": {"show": False}})
        return self._page.gui.add_uplot(
            data,
            tuple(series),
            title=title,
            scales={"x": {"time": False}, "y": {"range": (0.0, None)}},
            axes=({"show": False}, {"size": 44}),
            legend={"show": bool(names), "live": False},
            cursor={"show": False},
            height=150 if names else 90,
            padding=(6, 8, 6, 0),
        )
