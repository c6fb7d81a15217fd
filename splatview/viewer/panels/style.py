"""Redrawing in a style: which, with what numbers, where, and how fast it is."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from splatview.stylize import Stylizer
from splatview.stylize.accumulate import Accumulation
from splatview.stylize.filters import FILTERS
from splatview.stylize.temporal import Steady
from splatview.viewer.page import Page
from splatview.viewer.panels.diffuse import Diffuser, end
from splatview.viewer.panels.filtering import Filtering
from splatview.viewer.panels.keys import on_key
from splatview.viewer.panels.look import Look
from splatview.viewer.panels.network import Networks
from splatview.viewer.panels.saved import LastStyle, SavedStyles
from splatview.viewer.panels.where import Where
from splatview.viewer.panels.widgets import hear, press, said, show_if, table
from splatview.viewer.session import Session
from splatview.viewer.studio import Studio
from splatview.viewer.styles import DIFFUSION, NETWORK, kind_of

KINDS = (*FILTERS, NETWORK, DIFFUSION)


class Style:
    """The folder "Style"."""

    def __init__(self, page: Page, session: Session, studio: Studio, look: Look) -> None:
        gui = page.gui
        self._page, self._session, self._look = page, session, look
        self._lock = threading.RLock()  # of what is drawn: people, the scene and models that were opened change it, each on a thread
        self._drawn: Stylizer | None = None  # of the chosen kind, as it is drawn; None: it is being opened
        self._steadied = {NETWORK: True, DIFFUSION: True}  # kinds that flicker; the others as people left them
        self._explained = self._seen = False
        self._last = LastStyle(studio.remembered, studio.styles)
        with gui.add_folder("Style", expand_by_default=False) as self.folder:
            self._on: Any = gui.add_checkbox("Stylise", False, hint="Key Y")
            self._beside = gui.add_button("Original beside it", color="gray", hint="Split screen: drag the line; key Shift+Y")
            self._kind: Any = gui.add_dropdown("Kind", KINDS, initial_value=KINDS[0])
            self._filters = Filtering(gui, self._use)
            self._networks = Networks(page, studio.root, self._use, self._lock)
            self._diffuser = Diffuser(page, self._use, self._lock)
            self._random = gui.add_button("Surprise me", color="gray", hint="Numbers of this style at random")
            self._where = Where(page, session, studio, self._use, self._keep, self._forget)
            self._steady: Any = gui.add_checkbox("Steady", False, hint="Average along the surfaces of the scene: takes out flicker")
            self._floor: Any = gui.add_slider(
                "Newest counts", 0.02, 1, 0.01, Accumulation.floor, visible=False, hint="At least so much of the average: less is steadier"
            )
            self.saved = SavedStyles(page, studio.styles, lambda: self._chosen.controls, self._take)
            self._figures = gui.add_html("")
        hear(self._on, lambda on: self._look.choose("style") if on else self._off())
        hear(self._kind, lambda _: self._choose())
        hear(self._steady, self._steady_turned)
        hear(self._floor, lambda _: self._use())
        press(self._beside, self.toggle_beside)
        press(self._random, lambda: self._chosen.surprise())
        on_key(gui, "style", self.toggle)
        on_key(gui, "style beside", self.toggle_beside)
        look.heard = self._looked
        self._restore()

    @property
    def _chosen(self) -> Any:
        """Of the chosen kind: its widgets, numbers (`controls`) and `stylizer`."""
        return {NETWORK: self._networks, DIFFUSION: self._diffuser}.get(self._kind.value, self._filters)

    def toggle(self) -> None:
        """The style, or the colours as they are."""
        if not self._session.pressed("style"):
            return
        if self._session.view.styles:
            self._off()
        else:
            self._look.choose("style")
            self._explain()

    def toggle_beside(self) -> None:
        """The original on the left of the split and the style on the right, or the style alone."""
        if not self._session.pressed("style beside"):
            return
        if self._session.view.beside == "style":
            self._look.put_beside(None)
            self._look.choose("style")
        else:
            self._look.choose("colour")
            self._look.put_beside("style")
            self._explain()

    def draw_with(self, network: Path) -> None:
        """Draw with the network of a file."""
        self._take(replace(self._networks.controls, file=str(network)))

    def show(self) -> None:
        """The scene is another one."""
        with self._lock:
            if self._where.show():
                self._use()

    def show_figures(self) -> None:
        """Tell how fast it is."""
        if not self._page.open:
            return
        if self._session.styling is not None and self._session.view.styles:
            counts, pace, shown = self._session.styling.figures
            rows = {
                "styles per second": f"{pace.fps:.0f}",
                "milliseconds (median, 95 %)": f"{pace.p50_ms:.0f}, {pace.p95_ms:.0f}",
                "frames given, styled": f"{counts.captured:,}, {counts.processed:,}",
                "dropped, failed": f"{counts.dropped:,}, {counts.failed:,}",
                "pictures in a style": f"{shown:,}",
            }
            said(self._figures, table(rows))
        if self._kind.value == DIFFUSION:
            self._diffuser.show_figures()

    def close(self) -> None:
        """The page has gone."""
        with self._lock:
            self._end(self._where.unpin())
            self._diffuser.close()
            self._networks.close()

    def _looked(self) -> None:
        """The view shows something else."""
        on = self._session.view.styles
        if self._on.value != on:
            self._on.value = on
        if on and not self._seen:
            self._chosen.open()  # what was remembered is not yet
        elif not on:
            said(self._figures, "")
        self._seen = on

    def _off(self) -> None:
        if self._session.view.beside == "style":
            self._look.put_beside(None)
        if self._session.view.shown == "style":
            self._look.choose("colour")

    def _explain(self) -> None:
        """Say once what the key did."""
        if not self._explained:
            text = "The folder Style has the others, and their numbers. Y turns it off and on, Shift+Y puts the original beside it."
            self._page.notify(f"Style: {self._kind.value}", text)
        self._explained = True

    def _restore(self) -> None:
        """Begin with the style that was drawn last. What has to be opened is when it is turned on."""
        if self._last.found is None:
            self._choose()
        else:
            found, steady = self._last.found
            self._steadied[kind_of(found)] = steady
            self._put(found, opens=False)

    def _choose(self, opens: bool = True) -> None:
        kind = self._kind.value
        for one in (self._filters, self._networks, self._diffuser):
            show_if(one is self._chosen, one.folder)
        if kind in FILTERS:
            self._filters.choose(kind)
        self._steady.value = self._steadied.get(kind, False)
        if opens:
            self._chosen.open()
        self._use()
        if kind != NETWORK:
            self._networks.rest()

    def _take(self, found: Any) -> None:
        """Draw with saved numbers, of whatever kind."""
        self._put(found)
        self._look.choose("style")

    def _put(self, found: Any, opens: bool = True) -> None:
        """Choose the kind that `found` is of, with its numbers."""
        with self._lock:
            self._kind.value = kind_of(found)
            if self._kind.value in FILTERS:
                self._filters.choose(self._kind.value)
            (self._chosen.show if opens else self._chosen.put)(found)
            self._choose(opens)

    def _steady_turned(self, on: bool) -> None:
        self._steadied[self._kind.value] = on
        self._use()

    def _use(self) -> None:
        """Redraw as the widgets say."""
        with self._lock:
            show_if(self._steady.value, self._floor)
            self._where.show_widgets()
            stylizer = self._chosen.stylizer
            if stylizer is not None and self._steady.value:
                stylizer = Steady(stylizer, Accumulation(floor=float(self._floor.value)))
            self._drawn = stylizer
            if stylizer is not None:  # until it is there, what is shown goes on
                self._session.set_style(*self._where.of(stylizer))
                self._last.note(self._chosen.controls, bool(self._steady.value))

    def _keep(self) -> None:
        """What is drawn there now goes on being drawn there; what is chosen next is drawn elsewhere."""
        with self._lock:
            if self._drawn is None:
                self._page.notify("Not kept", "There is no such style yet: wait until it is opened.")
                return
            self._where.pin(self._drawn, self._kind.value)
            if self._kind.value == DIFFUSION:
                self._diffuser.leave()  # with its own prompt; the next one has another
            elif self._kind.value == NETWORK:
                self._networks.leave()
            self._choose()

    def _forget(self) -> None:
        """All of the picture is drawn as the widgets say."""
        with self._lock:
            pinned = self._where.unpin()
            self._use()
            self._end(pinned)

    @staticmethod
    def _end(stylizers: list[Stylizer]) -> None:
        for one in stylizers:
            end(one.stylizer if isinstance(one, Steady) else one)
