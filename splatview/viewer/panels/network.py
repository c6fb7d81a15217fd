"""The style that a small network draws, from an ONNX file on the server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from splatview.extras import MissingExtra
from splatview.stylize import hub
from splatview.stylize.onnx_style import SMALL, Channels, Declared, OnnxStyle, Redrawing, Values, open_onnx
from splatview.viewer.page import Page
from splatview.viewer.panels.controls import Controls
from splatview.viewer.panels.widgets import Typed, hear, lines, said
from splatview.viewer.paths import below


class Networks:
    """Its widgets, in a folder that is there while this is the chosen kind. `changed` is told when there is another stylizer."""

    def __init__(self, page: Page, root: Path | None, changed: Callable[[], None]) -> None:
        gui = page.gui
        self._page, self._root, self._changed = page, root, changed
        self._opened: OnnxStyle | None = None
        self.controls = SMALL
        self._asked = 0
        found = sorted(hub.home().rglob("*.onnx"))
        with gui.add_folder(None, visible=False) as self.folder:
            where = f"Path on the server, below --root or {hub.home()}"
            self._path: Any = gui.add_text("ONNX file", str(found[0]) if found else "", hint=where)
            self._state = gui.add_html("")
            self._channels: Any = gui.add_dropdown("Channels", get_args(Channels), initial_value="auto", hint="What the network wants")
            self._values: Any = gui.add_dropdown("Values", get_args(Values), initial_value="auto")
            with gui.add_folder(None) as numbers:
                self._numbers = Controls(gui, numbers, self._turned)
        Typed(self._path, lambda: None, lambda _, text: self.open(again=True))
        for handle in (self._channels, self._values):
            hear(handle, lambda _: self.open(again=True))
        self._numbers.show(self.controls)

    @property
    def stylizer(self) -> OnnxStyle | None:
        """With the numbers as they are now; None: there is no network."""
        return None if self._opened is None else OnnxStyle(self._opened.network, self.controls)

    def open(self, again: bool = False) -> None:
        """Have a network, or another one; that takes its time, on a thread of its own. The one that was asked for last stays."""
        if self._opened is not None and not again:
            return
        self._asked += 1
        named = str(self._path.value).strip()
        if not named:
            said(self._state, lines([f"Give the path of an image-to-image network, or put one into {hub.home()}"]))
            return
        said(self._state, lines([f"Opening {Path(named).name} …"]))
        declared = Declared(self._channels.value, self._values.value)
        threading.Thread(target=self._open, args=(self._asked, named, declared), name="splatview-model", daemon=True).start()

    def leave(self) -> None:
        """Let somebody else have the stylizer, who closes it; the next one is of the same network."""
        if self._opened is not None:
            self._opened = OnnxStyle(self._opened.network.again())

    def rest(self) -> None:
        """Nobody wants what stylizers of it are in the middle of."""
        before = self._opened
        self.leave()
        if before is not None:
            before.close()

    def close(self) -> None:
        self._asked += 1  # one that is being opened comes too late
        if self._opened is not None:
            self._opened.close()

    def show(self, controls: Redrawing) -> None:
        """Put `controls` into the widgets, and draw with them."""
        self._numbers.show(controls)
        self._turned(controls)

    def _open(self, asked: int, named: str, declared: Declared) -> None:
        try:
            opened = open_onnx(self._found(named), declared)
            text = f"{Path(named).name}: {', '.join(opened.network.about)}"
        except (MissingExtra, OSError, ValueError) as error:
            opened, text = None, str(error)
        with self._page.perhaps_gone():
            if asked != self._asked:
                return
            said(self._state, lines([text]))
            if opened is None:
                self._page.notify("No network", text)
            else:
                before, self._opened = self._opened, opened
                try:
                    self._changed()
                finally:
                    if before is not None:
                        before.close()

    def _found(self, named: str) -> Path:
        """ValueError if it is not a file that a page may name."""
        if Path(named).is_absolute() and Path(named).is_relative_to(hub.home()):
            return below(hub.home(), named)
        return below(self._root, named)

    def _turned(self, controls: Redrawing) -> None:
        self.controls = replace(controls)
        if self._opened is not None:
            self._changed()
