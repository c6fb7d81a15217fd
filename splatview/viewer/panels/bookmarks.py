"""Views to come back to: everybody sees the same list, and it is there again at the next start."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

from splatview.formats.cameras import camera_entries
from splatview.scene import Scene
from splatview.viewer.page import Page
from splatview.viewer.panels.keys import VIEWS, on_key
from splatview.viewer.panels.widgets import pick, press
from splatview.viewer.remembered import LONGEST, Bookmark
from splatview.viewer.session import Session
from splatview.viewer.space import page_pose
from splatview.viewer.studio import Studio

SIZE = (1920, 1080)  # of the cameras in the file


class Bookmarks:
    """The folder "Saved views"."""

    def __init__(self, page: Page, session: Session, studio: Studio) -> None:
        self._page, self._session, self._studio = page, session, studio
        self._rows: dict[str, Any] = {}
        self._lock = threading.RLock()
        gui = page.gui
        with gui.add_folder("Saved views", expand_by_default=False):
            self._name = gui.add_text("View name", "", hint="Of the next one; View 1, View 2, ... if it is empty")
            save = gui.add_button("Save this view", hint="Key Shift+B")
            self._list = gui.add_folder(None)
            download = gui.add_button("Download cameras", color="gray", hint="For splatview render --camera")
        press(save, self.save)
        press(download, self.download)
        on_key(gui, "save view", lambda: session.pressed("save view") and self.save())
        for number in range(1, VIEWS + 1):
            on_key(gui, f"view {number}", lambda at=number - 1: self._go_to(at))
        self.show()

    @property
    def _all(self) -> tuple[Bookmark, ...]:
        return self._studio.remembered.memory.bookmarks

    def show(self) -> None:
        """Show the list as it is now; rows that did not change are left alone."""
        with self._lock:
            names = [bookmark.name for bookmark in self._all]
            for name in [name for name in self._rows if name not in names]:
                self._rows.pop(name).remove()
            for place, name in enumerate(names):
                if name not in self._rows:
                    with self._list:
                        self._rows[name] = row = self._page.gui.add_button_group(name, ("Go", "Update", "Remove"))
                    pick(row, lambda what, name=name: self._do(what, name))
                self._rows[name].order = float(place)

    def save(self) -> None:
        """Save the view of now under the name that was typed."""
        names = {bookmark.name: None for bookmark in self._all}
        given = self._name.value.strip()[:LONGEST]
        name = Scene.free_name(given, names) if given else next(free for n in range(1, 10**6) if (free := f"View {n}") not in names)
        try:
            self._studio.remembered.set_bookmarks((*self._all, self._now(name)))
        except ValueError as error:
            self._page.notify("Not saved", str(error))
        self._name.value = ""

    def download(self) -> None:
        """Hand all views to the browser as a camera file."""
        if not self._all:
            self._page.notify("Nothing to download", "Save a view first.")
            return
        cameras = [bookmark.camera(*SIZE) for bookmark in self._all]
        self._page.download("splatview_cameras.json", json.dumps(camera_entries(cameras), indent=1).encode())

    def _now(self, name: str) -> Bookmark:
        """The view of now; ValueError if the page's camera is none."""
        target = self._studio.placing.inverse().apply(self._page.pose.look_at)
        return Bookmark.of(name, self._session.camera(*SIZE), tuple(target.tolist()))

    def _do(self, what: str, name: str) -> None:
        try:
            at = [bookmark.name for bookmark in self._all].index(name)
            if what == "Go":
                self._go_to(at)
            elif what == "Update":
                self._studio.remembered.set_bookmarks(tuple(self._now(name) if one.name == name else one for one in self._all))
            else:
                self._studio.remembered.set_bookmarks(tuple(one for one in self._all if one.name != name))
        except ValueError:  # removed by somebody else in the meantime, or a camera that is none
            return

    def _go_to(self, at: int) -> None:
        if at < len(self._all):
            bookmark = self._all[at]
            pose = page_pose(bookmark.camera(*SIZE), self._studio.placing, bookmark.look_at)
            self._page.go(replace(pose, fov_y=bookmark.fov_y))
