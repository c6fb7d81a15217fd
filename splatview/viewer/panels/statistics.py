"""Where the time goes."""

from __future__ import annotations

from splatview.stream.stats import Snapshot
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import table
from splatview.viewer.picture import Picture


class Statistics:
    """The folder "Statistics"."""

    def __init__(self, page: Page) -> None:
        self._page = page
        with page.gui.add_folder("Statistics"):
            self._figures = page.gui.add_html("")

    def show(self, snapshot: Snapshot, picture: Picture) -> None:
        """Put the newest figures into the panel."""
        if not self._page.open:
            return
        rows = {
            "frames per second": "at rest" if picture.still else f"{snapshot.fps:.0f}",
            "size": f"{picture.camera.width} × {picture.camera.height}",
            "splats drawn": f"{picture.counts.get('drawn', 0):,}",
            **{f"{stage} ms": f"{value:.1f}" for stage, value in picture.timings.items()},
            "kilobytes": f"{(len(picture.jpeg) + len(picture.depth_png)) / 1e3:.0f}",
            "shown after ms": f"{snapshot.ack_ms:.0f}",
            "requests dropped": f"{snapshot.dropped:,}",
            "pictures lost": f"{snapshot.lost:,}",
        }
        self._figures.content = table(rows)
