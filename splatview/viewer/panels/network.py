"""The style that a small network draws, from an ONNX file on the server."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from splatview.extras import MissingExtra
from splatview.stylize import hub
from splatview.stylize.controls import shuffled
from splatview.stylize.onnx_style import SMALL, Channels, Declared, OnnxStyle, Redrawing, Values, open_onnx
from splatview.viewer.page import Page
from splatview.viewer.panels.controls import Controls
from splatview.viewer.panels.widgets import Typed, hear, lines, said, show_if
from splatview.viewer.paths import below

OTHER = "another file"  # that is named by its path

log = logging.getLogger(__name__)


class Networks:
    """Its widgets, in a folder that is there while this is the chosen kind. `changed` is told when there is another stylizer.

    Networks are opened on threads of their own; the one that was asked for last stays. `lock` is whoever's that is told.
    """

    def __init__(self, page: Page, root: Path | None, changed: Callable[[], None], lock: threading.RLock) -> None:
        gui = page.gui
        self._page, self._root, self._changed, self._lock = page, root, changed, lock
        self._opened: OnnxStyle | None = None
        self._redrawing = SMALL
        self._asked = 0
        self._opening = False
        self._files: dict[str, Path] = {}  # by their entries in the list
        with gui.add_folder(None, visible=False) as self.folder:
            self._choice: Any = gui.add_dropdown("Network", (OTHER,), initial_value=OTHER, hint=f"Those in {hub.home()}")
            self._path: Any = gui.add_text("ONNX file", "", hint=f"Path on the server, below --root or {hub.home()}")
            self._state = gui.add_html("")
            self._channels: Any = gui.add_dropdown("Channels", get_args(Channels), initial_value="auto", hint="What the network wants")
            self._values: Any = gui.add_dropdown("Values", get_args(Values), initial_value="auto")
            with gui.add_folder(None) as numbers:
                self._numbers = Controls(gui, numbers, self._turned)
        self._find()
        self._choice.value = next(iter(self._files), OTHER)
        Typed(self._path, lambda: None, lambda _, text: self.open(again=True))
        for handle in (self._choice, self._channels, self._values):
            hear(handle, lambda _: self.open(again=True))
        self._numbers.show(self._redrawing)

    @property
    def controls(self) -> Redrawing:
        """The numbers as they are now, and which network is open."""
        return self._redrawing if self._opened is None else replace(self._redrawing, file=self._opened.controls.file)

    @property
    def stylizer(self) -> OnnxStyle | None:
        """With the numbers as they are now; None: there is no network."""
        return None if self._opened is None else OnnxStyle(self._opened.network, self.controls)

    def open(self, again: bool = False) -> None:
        """Have a network, or another one."""
        self._find()
        show_if(self._choice.value == OTHER, self._path)
        if not again and (self._opening or self._opened is not None):
            return
        self._asked += 1
        named = str(self._files.get(self._choice.value, str(self._path.value).strip()))
        if not named:
            said(self._state, lines([f"Give the path of an image-to-image network, or put one into {hub.home()}"]))
            return
        self._opening = True
        said(self._state, lines([f"Opening {Path(named).name} …"]))
        declared = Declared(self._channels.value, self._values.value)
        threading.Thread(target=self._open, args=(self._asked, named, declared), name="splatview-model", daemon=True).start()

    def leave(self) -> None:
        """Let somebody else have the stylizer, who closes it; the next one is of the same network."""
        if self._opened is not None:
            self._opened = OnnxStyle(self._opened.network.again(), self._opened.controls)

    def rest(self) -> None:
        """Nobody wants what stylizers of it are in the middle of."""
        before = self._opened
        self.leave()
        if before is not None:
            before.close()

    def close(self) -> None:
        """The page has gone."""
        self._asked += 1  # one that is being opened comes too late
        if self._opened is not None:
            self._opened.close()

    def put(self, controls: Redrawing) -> bool:
        """Put `controls` into the widgets; whether they name another network."""
        self._numbers.show(controls)
        self._redrawing = replace(controls, file="")
        if not controls.file or (self._opened is not None and controls.file == self._opened.controls.file):
            return False
        self._find()
        known = next((entry for entry, path in self._files.items() if str(path) == controls.file), OTHER)
        self._choice.value = known
        if known == OTHER:
            self._path.value = controls.file
        return True

    def show(self, controls: Redrawing) -> None:
        """Put `controls` into the widgets, and draw with them; with their own network, if they name one."""
        if self.put(controls):
            self.open(again=True)
        else:
            self._turned(controls)

    def surprise(self) -> None:
        """Other numbers; the width stays, as it is what a frame costs."""
        self.show(replace(shuffled(self.controls, random.Random()), width=self.controls.width))

    def _find(self) -> None:
        """Bring the list up to date with what there is."""
        home = hub.home()
        self._files = {str(path.relative_to(home)): path for path in ([] if hub.fault() else sorted(home.rglob("*.onnx")))}
        options = (*self._files, OTHER)
        if self._choice.options != options:
            self._choice.options = options

    def _open(self, asked: int, named: str, declared: Declared) -> None:
        opened: OnnxStyle | None = None
        try:
            path = self._found(named)
            opened = open_onnx(path, declared, Redrawing(file=str(path)))
            text = f"{path.name}: {', '.join(opened.network.about)}"
        except Exception as error:
            text = str(error) or type(error).__name__
            if not isinstance(error, (MissingExtra, OSError, ValueError)):
                log.exception("could not open %s", named)
        with self._page.perhaps_gone(), self._lock:
            if asked != self._asked:
                return
            self._opening = False
            said(self._state, lines([text]))
            if opened is None:
                self._page.notify("No network", text)
                return
            before, self._opened = self._opened, opened
            try:
                self._changed()
            finally:
                if before is not None:
                    before.close()

    def _found(self, named: str) -> Path:
        """ValueError if it is not a file that a page may name."""
        inside = Path(named).is_absolute() and Path(named).is_relative_to(hub.home())
        path = below(hub.home() if inside else self._root, named)
        if not path.is_file():
            raise ValueError(f"expected an ONNX file, got a folder: {named}")
        return path

    def _turned(self, controls: Redrawing) -> None:
        self._redrawing = replace(controls, file="")
        if self._opened is not None:
            self._changed()
