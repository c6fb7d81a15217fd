"""The panel beside the picture: a module for each of its folders. Callbacks are one line that calls the session or the world."""

from __future__ import annotations

import logging
from pathlib import Path

from splatview.edit.document import Entry
from splatview.edit.operations import Grade, Paint, Relight
from splatview.stream.stats import Snapshot
from splatview.viewer.buttons import Buttons
from splatview.viewer.editor import Editor
from splatview.viewer.page import Page
from splatview.viewer.panels.arrange import Arrange
from splatview.viewer.panels.bookmarks import Bookmarks
from splatview.viewer.panels.cleanup import Cleaning
from splatview.viewer.panels.data import Data
from splatview.viewer.panels.doctor import Doctor
from splatview.viewer.panels.document import DocumentFile
from splatview.viewer.panels.drawing import Drawing
from splatview.viewer.panels.export import Exporting
from splatview.viewer.panels.grade import Grader
from splatview.viewer.panels.history import History
from splatview.viewer.panels.layers import Layers
from splatview.viewer.panels.look import Look
from splatview.viewer.panels.move import Move
from splatview.viewer.panels.preview import Drawer
from splatview.viewer.panels.relight import Lights
from splatview.viewer.panels.repaint import Repaint
from splatview.viewer.panels.select import Selecting
from splatview.viewer.panels.statistics import Statistics
from splatview.viewer.panels.style import Style
from splatview.viewer.panels.training import TrainingFolder
from splatview.viewer.panels.widgets import Kept
from splatview.viewer.picture import Picture
from splatview.viewer.preview import Preview
from splatview.viewer.session import Session
from splatview.viewer.settings import Draw
from splatview.viewer.studio import Studio
from splatview.viewer.tools import ToolPage

log = logging.getLogger(__name__)


class Panel:
    """One person's widgets."""

    def __init__(self, page: Page, session: Session, studio: Studio, editor: Editor, hand: ToolPage) -> None:
        self.page, self._hand, self._world, self._live = page, hand, studio.world, studio.live
        kept = Kept(studio.remembered)
        self.look = Look(page, session, studio.world)
        self.style = Style(page, session, studio, self.look)
        self.layers = Layers(page, session, studio, editor)
        self.select = Selecting(page, session, studio, editor, hand)
        self.arrange = Arrange(page, session, studio, editor, self.layers.chosen)
        self.grade = Grader(page, studio, editor)
        self.lights = Lights(page, studio, editor)
        self.cleaning = Cleaning(page, session, studio, editor)
        self.data = Data(page, session, studio, editor)
        self.history = History(page, studio, editor, Buttons(page), self._load)
        with self.history.folder:
            self.repaint = Repaint(page, studio, editor)
        self.document = DocumentFile(page, session, studio)
        self.exporting = Exporting(page, studio)
        self.bookmarks = Bookmarks(page, session, studio)
        self.move = Move(page, session, studio.placing)
        self.drawing = Drawing(page, session, kept.reset)
        self.doctor = Doctor(page, studio, editor)
        self.statistics = Statistics(page)
        self.training = TrainingFolder(page, studio.live) if studio.live.rows else None
        session.report = self._report
        kept.keep(*self.look.settings, *self.select.settings, *self.move.settings, *self.drawing.settings, self.statistics.on)

    def _report(self, snapshot: Snapshot, picture: Picture) -> None:
        self.statistics.show(snapshot, picture)
        self.style.show_figures()

    def _load(self, entry: Entry) -> None:
        """Take an operation's numbers into its folder, where they can be changed."""
        if isinstance(entry.operation, Grade):
            self.grade.load(entry)
        elif isinstance(entry.operation, Relight):
            self.lights.load(entry)
        elif isinstance(entry.operation, Paint):
            self.repaint.load(entry)

    def add_drawer(self, preview: Preview, draw: Draw) -> None:
        """Let the person choose who draws; `draw` at first."""
        with self.drawing.folder:
            self.drawer = Drawer(self.page, preview, draw)

    def world_changed(self) -> None:
        """Show the scene as it is now. A folder that cannot, whatever its page has said, is in nobody else's way."""
        parts = (
            self.layers, self.select, self.arrange, self.grade, self.lights, self.cleaning, self.data, self.history, self.repaint,
            self.document, self.exporting, self.style,
        )  # fmt: skip
        with self.page.perhaps_gone():
            for show in (*(part.show for part in parts), self.doctor.world_changed):
                try:
                    show()
                except Exception:
                    log.exception("could not show the scene in a panel")

    def close(self) -> None:
        """The page has gone: a stroke that is under way is given up, and what it showed to everybody."""
        self._hand.cancel()
        self.style.close()
        if self.grade.previewing or self.lights.previewing or self.repaint.previewing:
            self._world.end_preview()

    def busy_changed(self) -> None:
        """Say what is being worked at."""
        with self.page.perhaps_gone():
            self.history.busy_changed()

    def training_changed(self) -> None:
        """Say how the training stands."""
        with self.page.perhaps_gone():
            if self.training is None:
                self.training = TrainingFolder(self.page, self._live)
            else:
                self.training.show()

    def network_arrived(self, path: Path) -> None:
        """Draw with a network that the person has sent."""
        with self.page.perhaps_gone():
            self.style.draw_with(path)

    def styles_changed(self) -> None:
        """Show the saved styles as they are now."""
        with self.page.perhaps_gone():
            self.style.saved.show()

    def bookmarks_changed(self) -> None:
        """Show the saved views as they are now."""
        with self.page.perhaps_gone():
            self.bookmarks.show()
