"""The result as a file of another program: fetched by the browser, or written on the server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from splatview.edit.state import State
from splatview.viewer.exporting import WRITABLE, Export, Part, readable
from splatview.viewer.loading import FAULTS, fault_text
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import Question, lines, press, said, show_if, tell
from splatview.viewer.paths import to_write
from splatview.viewer.studio import Studio
from splatview.viewer.uploads import plain_name

log = logging.getLogger(__name__)

DEGREES: dict[str, int | None] = {"all": None, "3": 3, "2": 2, "1": 1, "0": 0}
FIRST = next(label for label, suffix in WRITABLE.items() if suffix == ".ply")


class Cancelled(Exception):
    """The person does not want the file any more."""


class Exporting:
    """The folder "Export"."""

    def __init__(self, page: Page, studio: Studio) -> None:
        self._page, self._studio, self._world = page, studio, studio.world
        self._cancel: threading.Event | None = None  # of the file that is being written
        self._shown: tuple[Export, State] | None = None
        gui = page.gui
        with gui.add_folder("Export", expand_by_default=False):
            self._format: Any = gui.add_dropdown("Format", tuple(WRITABLE), initial_value=FIRST)
            self._spz: Any = gui.add_dropdown("spz version", ("3", "4"), visible=False, hint="3 is read everywhere; 4 is newer and smaller")
            self._degree: Any = gui.add_dropdown("Max SH degree", tuple(DEGREES), hint="View-dependent colour; 0: none")
            self._part: Any = gui.add_dropdown("What", get_args(Part), hint="Deleted splats are left out, hidden ones are not")
            self._said = gui.add_html("")
            self._download = gui.add_button("Download")
            self._path = gui.add_text(
                "Path",
                plain_name(next(iter(self._world.scene.layers), "scene")),
                visible=studio.root is not None,
                hint=f"On the server, below {studio.root}",
            )
            self._write = gui.add_button("Write on the server", color="gray", visible=studio.root is not None)
            self._question = Question(gui, "Replace the file?", "Replace", "Keep")
            self._stop = gui.add_button("Cancel the export", color="red", visible=False)
        for choice in (self._format, self._spz, self._degree, self._part):
            tell(choice, lambda _: self.show())
        press(self._download, self.download)
        press(self._write, self.write)
        press(self._stop, self.cancel)
        self.show()

    @property
    def export(self) -> Export:
        """What is chosen."""
        suffix, degree = WRITABLE.get(self._format.value, ".ply"), DEGREES.get(self._degree.value)
        part: Part = "selection" if self._part.value == "selection" else "visible layers"
        return Export(suffix, degree, 4 if self._spz.value == "4" else 3, part)

    def show(self) -> None:
        """Say how much it would be now."""
        export, state = self.export, self._world.edited
        if (export, state) == self._shown:
            return
        self._shown = export, state
        show_if(export.suffix == ".spz", self._spz)
        count = export.count(state)
        said(self._said, lines([f"{count:,} splats, about {readable(export.size(state))}" if count else "Nothing to export."]))

    def download(self) -> None:
        """Write the file where the page may fetch it, and let it."""
        export, state = self.export, self._world.edited
        path = self._studio.desk.path
        name = plain_name(next(iter(state.scene.visible_layers), "scene") if path is None else path.stem)
        path = self._studio.downloads.place(name + export.suffix)

        def fetch() -> str:
            self._page.fetch(self._studio.downloads.offer(path))
            return ""

        self._start(path, fetch, lambda: self._studio.downloads.drop(path), fetched=True)

    def write(self) -> None:
        """Write the file on the server; asks before another one is replaced."""
        self._question.forget()
        try:
            path = to_write(self._studio.root, self._path.value, self.export.suffix)
        except ValueError as error:
            self._page.notify("Not exported", str(error))
            return
        if path.exists():
            self._question.ask(f"{path.name} is there already.", lambda: self._start(path, lambda: f"written to {path.name}"))
        else:
            self._start(path, lambda: f"written to {path.name}")

    def cancel(self) -> None:
        """Give the file up that is being written."""
        if self._cancel is not None:
            self._cancel.set()

    def _start(self, path: Path, done: Callable[[], str], failed: Callable[[], None] = lambda: None, fetched: bool = False) -> None:
        """Write the file on a thread of ours: then `done`, which has something to say, or `failed`. One that is fetched needs its page."""
        if self._cancel is not None:
            self._page.notify("Not exported", "Another file is being written: wait for it, or cancel it.")
            return
        export, state, cancel = self.export, self._world.edited, threading.Event()
        notice = self._page.notice(f"Exporting {path.name}")
        self._cancel = cancel
        self._stop.visible = True

        def progress(fraction: float, text: str) -> None:
            if cancel.is_set() or self._studio.exporting.closed or (fetched and not self._page.open):
                raise Cancelled
            notice.tell(fraction, text)

        def work() -> None:
            try:
                progress(0.0, "collecting")
                notes = export.write(state, path, progress)
                texts = [text for text in (done(), *notes) if text]
                notice.done()
                if texts and self._page.open:
                    self._page.notify(f"Exported {path.name}", "; ".join(texts))
            except Cancelled:
                notice.done()
                failed()
            except Exception as error:
                notice.failed(fault_text(error))
                failed()
                if not isinstance(error, FAULTS):
                    log.exception("could not export %s", path.name)
            finally:
                self._cancel = None
                if self._page.open:
                    self._stop.visible = False

        self._studio.exporting.call(work)
