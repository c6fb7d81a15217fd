"""The panel beside the picture: a module for each of its folders. Callbacks are one line that calls the session or the world."""

from __future__ import annotations

from splatview.geometry import Similarity
from splatview.viewer.page import Page
from splatview.viewer.panels.drawing import Drawing
from splatview.viewer.panels.layers import Layers
from splatview.viewer.panels.look import Look
from splatview.viewer.panels.move import Move
from splatview.viewer.panels.statistics import Statistics
from splatview.viewer.session import Session
from splatview.viewer.world import World


class Panel:
    """One person's widgets."""

    def __init__(self, page: Page, session: Session, world: World, placing: Similarity) -> None:
        self.page = page
        self.look = Look(page, session, world)
        self.move = Move(page, session, placing)
        self.layers = Layers(page, world)
        self.drawing = Drawing(page, session)
        self.statistics = Statistics(page)
        session.report = self.statistics.show

    def world_changed(self) -> None:
        """Show the scene as it is now."""
        self.layers.show()
