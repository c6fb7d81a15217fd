"""The document's file: saving, and what an earlier viewer left unsaved."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from pathlib import Path

from splatview.edit.archive import SUFFIX
from splatview.edit.journal import Locked
from splatview.viewer.loading import fault_text
from splatview.viewer.page import Page
from splatview.viewer.panels.keys import on_key
from splatview.viewer.panels.widgets import Question, lines, press, said, show_if
from splatview.viewer.paths import to_write
from splatview.viewer.session import Session
from splatview.viewer.studio import Studio
from splatview.viewer.world import Cancelled

UNTITLED = "Untitled"


class DocumentFile:
    """The folder "Document"."""

    def __init__(self, page: Page, session: Session, studio: Studio) -> None:
        self._page, self._studio, self._world, self._desk = page, studio, studio.world, studio.desk
        gui, rooted = page.gui, studio.root is not None
        self._shown: tuple[object, ...] = ()
        with gui.add_folder("Document", expand_by_default=self._desk.recovered is not None):
            with gui.add_folder("Unsaved work was found", visible=False) as self._found:
                self._left = gui.add_html("")
                self._recover = gui.add_button("Recover", color="green")
                aside = gui.add_button("Put aside", color="gray", hint="It is not offered any more, and stays on the server's disk")
            self._title = gui.add_html("")
            self._save = gui.add_button("Save", hint="Key Ctrl+S")
            self._path = gui.add_text("Document file", self._named(), visible=rooted, hint=f"{SUFFIX}, below {studio.root}")
            as_other = gui.add_button("Save as", color="gray", visible=rooted)
            self._embed = gui.add_checkbox("Embed sources", False, hint="The file is all that is needed then, and as large as the scene")
            self._question = Question(gui, "Replace the document?", "Replace", "Keep")
        press(self._save, self.save)
        press(as_other, self.save_as)
        press(self._recover, self.recover)
        press(aside, self.put_aside)
        on_key(gui, "save", lambda: session.pressed("save") and self.save())
        self.show()
        if self._desk.recovered is not None:
            page.notify("Unsaved work was found", "See Document: it can be recovered, or put aside.")

    def show(self) -> None:
        """Show how the document stands."""
        document, path, left = self._world.document, self._desk.path, self._desk.recovered
        now = document, path, left is None, self._desk.saved
        if now == self._shown:
            return
        self._shown = now
        saved = self._desk.is_saved(document) or (path is None and not document.entries)
        state = "saved" if path is not None and saved else "nothing to save" if saved else "not saved"
        said(self._title, lines([f"{UNTITLED if path is None else path.name}{'' if saved else ' •'}   ({state})"]))
        show_if(left is not None, self._found)
        if left is not None:
            count, until = len(left.entries), self._desk.left_at()
            said(self._left, lines([f"A viewer ended with {count:,} operations that were not saved, the last one of {until}."]))
            label = f"Recover {count:,} operation{'' if count == 1 else 's'} (until {until[-5:]})"
            if self._recover.label != label:
                self._recover.label = label

    def save(self) -> None:
        """Save under the name that the document has; without one, under what was typed."""
        if self._desk.path is not None:
            self._write(self._desk.path)
        else:
            self.save_as()

    def save_as(self) -> None:
        """Save under the name that was typed; asks before another file is replaced."""
        self._question.forget()
        try:
            path = to_write(self._studio.root, self._path.value, SUFFIX)
        except ValueError as error:
            self._page.notify("Not saved", str(error))
            return
        if path.exists() and path != self._desk.path:
            self._question.ask(f"{path.name} is there already.", lambda: self._write(path))
        else:
            self._write(path)

    def recover(self) -> None:
        """Put what an earlier viewer left in the document's place."""
        self._told("Not recovered", self._world.put(self._desk.recover, self._desk.taken))

    def put_aside(self) -> None:
        """Do not offer it any more."""
        self._told("Not put aside", self._world.call(self._desk.dismiss))

    def _write(self, path: Path) -> None:
        everything = bool(self._embed.value)

        def write() -> None:
            try:
                self._desk.save(path, self._world.sourced(), everything, self._world.tools.progress)
            except Locked as error:
                raise ValueError(f"{path.name}: {error}") from error

        self._told("Not saved", self._world.call(write, f"Saving {path.name}"), f"{path.name} is saved.")

    def _told(self, failed: str, done: Future, text: str = "") -> None:
        """Say how it went, and let everybody see how the document stands now."""

        def tell(done: Future) -> None:
            error = CancelledError() if done.cancelled() else done.exception()
            if error is None:
                self._world.tell()
                if text:
                    self._page.notify("Saved", text)
            elif isinstance(error, Exception) and not isinstance(error, CancelledError):
                self._page.notify(failed, str(error) if isinstance(error, Cancelled) else fault_text(error))

        done.add_done_callback(tell)

    def _named(self) -> str:
        """The document's file as it is typed, or a name for the first one."""
        path, root = self._desk.path, self._studio.root
        if path is not None and root is not None and path.is_relative_to(root.resolve()):
            return str(path.relative_to(root.resolve()))
        return f"{next(iter(self._world.scene.layers), 'scene')}{SUFFIX}".replace("/", " ")
