"""What all visitors of a viewer share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from splatview.geometry import Similarity
from splatview.viewer.desk import Desk
from splatview.viewer.downloads import Downloads
from splatview.viewer.live import Live
from splatview.viewer.loading import Loading
from splatview.viewer.remembered import Remembered
from splatview.viewer.styles import Styles
from splatview.viewer.worker import Worker
from splatview.viewer.world import World


@dataclass(frozen=True)
class Studio:
    """The scene, where it stands in the page, its files, and what is kept of it."""

    world: World
    desk: Desk
    placing: Similarity  # page from world
    loading: Loading
    remembered: Remembered
    examining: Worker
    root: Path | None = None  # files named in a page lie below
    uploads: bool = True  # whether pages may send files
    downloads: Downloads = field(default_factory=Downloads)
    live: Live = field(default_factory=Live)
    styles: Styles = field(default_factory=Styles)
    exporting: Worker = field(default_factory=lambda: Worker("splatview-export"))

    def close(self) -> None:
        """Write what is remembered; give up what is being read, examined or exported."""
        self.remembered.close()
        self.loading.close()
        self.examining.close()
        self.exporting.close()
        self.world.close()
        self.desk.close()
        self.downloads.close()
