"""Redrawing in a style: which, with what numbers, where, and how fast it is."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from splatview.frame import Output
from splatview.stylize import Stylizer
from splatview.stylize.accumulate import Accumulation
from splatview.stylize.controls import shuffled
from splatview.stylize.filters import FILTERS
from splatview.stylize.masks import Background, DepthRange, Layers, Mask, Masked, Place, Selection
from splatview.stylize.temporal import Steady
from splatview.viewer.page import Page
from splatview.viewer.panels.controls import Controls
from splatview.viewer.panels.diffuse import Diffuser
from splatview.viewer.panels.keys import on_key
from splatview.viewer.panels.look import Look
from splatview.viewer.panels.network import Networks
from splatview.viewer.panels.saved import NETWORK, SAVED, SavedStyles
from splatview.viewer.panels.widgets import hear, lines, press, said, show_if, table
from splatview.viewer.session import Session
from splatview.viewer.space import RADIUS
from splatview.viewer.studio import Studio

EVERYWHERE, SELECTION, BACKGROUND, DEPTH = "everywhere", "the selection", "the background", "a range of depth"
DIFFUSION = "diffusion"
ALL = DepthRange()
LAYER = "layer "  # before a layer's name


class Style:
    """The folder "Style"."""

    def __init__(self, page: Page, session: Session, studio: Studio, look: Look) -> None:
        gui = page.gui
        self._pinned: list[tuple[str, Mask, Stylizer]] = []  # places that have styles of their own
        self._current: tuple[Mask, Stylizer] | None = None
        self._page, self._session, self._world, self._look = page, session, studio.world, look
        self._kinds: dict[str, Any] = {name: kind() for name, kind in FILTERS.items()}  # with their numbers as they were last
        with gui.add_folder("Style", expand_by_default=False) as self.folder:
            self._on: Any = gui.add_checkbox("Stylise", False, hint="Key Y")
            self._beside = gui.add_button("Original beside it", color="gray", hint="Split screen: drag the line; key Shift+Y")
            self._kind: Any = gui.add_dropdown("Kind", (*self._kinds, NETWORK, DIFFUSION), initial_value=next(iter(self._kinds)))
            with gui.add_folder(None) as self._own:
                self._controls = Controls(gui, self._own, self._turned)
            self._networks = Networks(page, studio.root, self._use)
            self._diffuser = Diffuser(page, self._use)
            self._random = gui.add_button("Surprise me", color="gray", hint="Numbers of this style at random")
            self._where: Any = gui.add_dropdown("Where", self._places(), initial_value=EVERYWHERE)
            self._near: Any = gui.add_number("From depth", 0.0, min=0.0, step=0.05, visible=False, hint="Scene units along the view axis")
            self._far: Any = gui.add_number("To depth", round(RADIUS / studio.placing.scale, 3), min=0.0, step=0.05, visible=False)
            self._feather: Any = gui.add_slider("Feather", 0, 100, 1, 0, visible=False, hint="Pixels of a picture 720 lines high")
            self._rest: Any = gui.add_checkbox("All but that", False, visible=False)
            self._pin = gui.add_button("Keep it there, and choose another", color="gray", visible=False)
            self._unpin = gui.add_button("Forget those kept", color="gray", visible=False)
            self._kept = gui.add_html("")
            self._steady: Any = gui.add_checkbox("Steady", False, hint="Average along the surfaces of the scene: takes out flicker")
            self._floor: Any = gui.add_slider(
                "Newest counts", 0.02, 1, 0.01, Accumulation.floor, visible=False, hint="At least, of the average"
            )
            self._figures = gui.add_html("")
            SavedStyles(page, lambda: self._now, self._take)
        hear(self._on, lambda on: look.choose("style" if on else "colour"))
        hear(self._kind, lambda _: self._choose())
        for handle in (self._where, self._near, self._far, self._feather, self._rest, self._steady, self._floor):
            hear(handle, lambda _: self._use())
        press(self._beside, self.toggle_beside)
        press(self._random, self._surprise)
        press(self._pin, self._keep)
        press(self._unpin, self._forget)
        on_key(gui, "style", self.toggle)
        on_key(gui, "style beside", self.toggle_beside)
        look.heard = self._looked
        self._choose()

    @property
    def _value(self) -> Any:
        return self._kinds[self._kind.value]

    @property
    def _now(self) -> Any:
        """The numbers of the chosen kind."""
        if self._kind.value == NETWORK:
            return self._networks.controls
        return self._diffuser.controls if self._kind.value == DIFFUSION else self._value

    @property
    def _stylizer(self) -> Stylizer | None:
        """None: it is being opened."""
        if self._kind.value == NETWORK:
            return self._networks.stylizer
        return self._diffuser.stylizer if self._kind.value == DIFFUSION else self._value

    def toggle(self) -> None:
        """The style, or the colours as they are."""
        if self._session.pressed("style"):
            self._look.choose("colour" if self._session.view.shown == "style" else "style")

    def toggle_beside(self) -> None:
        """The original on the left of the split and the style on the right, or the style alone."""
        if self._session.pressed("style beside"):
            if self._session.view.beside == "style":
                self._look.put_beside(None)
                self._look.choose("style")
            else:
                self._look.choose("colour")
                self._look.put_beside("style")

    def show(self) -> None:
        """The layers are others."""
        places = self._places()
        if self._where.options != places:
            chosen = self._where.value
            self._where.options = places
            if chosen not in places:
                self._where.value = EVERYWHERE
        if any(where.startswith(LAYER) for where in (self._where.value, *(one[0] for one in self._pinned))):  # it may have another number
            self._use()

    def show_figures(self) -> None:
        """Tell how fast it is."""
        if not self._page.open or self._session.styling is None or "style" not in (self._session.view.shown, self._session.view.beside):
            return
        counts, pace, shown = self._session.styling.figures
        rows = {
            "styles per second": f"{pace.fps:.0f}",
            "latency ms (median, 95 %)": f"{pace.p50_ms:.0f}, {pace.p95_ms:.0f}",
            "frames captured": f"{counts.captured:,}",
            "styled, shown": f"{counts.processed:,}, {shown:,}",
            "dropped, skipped, failed": f"{counts.dropped:,}, {counts.skipped:,}, {counts.failed:,}",
        }
        self._figures.content = table(rows)
        self._diffuser.show_figures()

    def _looked(self) -> None:
        """The view shows something else."""
        view = self._session.view
        on = "style" in (view.shown, view.beside)
        if self._on.value != on:
            self._on.value = on

    def close(self) -> None:
        """The page has gone."""
        self._let_go()
        self._diffuser.close()
        self._networks.close()

    def _choose(self) -> None:
        kind = self._kind.value
        for shown, folder in (
            (kind in self._kinds, self._own),
            (kind == NETWORK, self._networks.folder),
            (kind == DIFFUSION, self._diffuser.folder),
        ):
            show_if(shown, folder)
        if kind in self._kinds:
            self._controls.show(self._value)
        else:
            self._steady.value = True  # they flicker
            (self._networks if kind == NETWORK else self._diffuser).open()
        self._use()
        if kind != NETWORK:
            self._networks.rest()

    def _surprise(self) -> None:
        if self._kind.value == DIFFUSION:
            self._diffuser.surprise()
        elif self._kind.value == NETWORK:
            self._networks.show(shuffled(self._networks.controls, random.Random()))
        else:
            self._turned(shuffled(self._value, random.Random()), show=True)

    def _take(self, found: Any) -> None:
        """Draw with saved numbers, of whatever kind."""
        self._kind.value = next((kind for kind, made in SAVED.items() if type(found) is made), DIFFUSION)
        if self._kind.value == NETWORK:
            self._networks.show(found)
        elif self._kind.value == DIFFUSION:
            self._diffuser.show(replace(found, size=self._diffuser.controls.size))
        else:
            self._kinds[self._kind.value] = found
        self._choose()
        self._look.choose("style")

    def _turned(self, value: Any, show: bool = False) -> None:
        self._kinds[self._kind.value] = value
        if show:
            self._controls.show(value)
        self._use()

    def _use(self) -> None:
        """Redraw as the widgets say."""
        stylizer = self._stylizer
        if stylizer is None:  # what is shown goes on meanwhile
            return
        show_if(self._steady.value, self._floor)
        if self._steady.value:
            stylizer = Steady(stylizer, Accumulation(floor=float(self._floor.value)))
        place = self._place()
        show_if(self._where.value == DEPTH, self._near, self._far)
        show_if(place is not None, self._feather, self._rest, self._pin)
        show_if(bool(self._pinned), self._unpin)
        self._current = Mask(place or ALL, float(self._feather.value), bool(self._rest.value)), stylizer
        needs: tuple[Output, ...] = ()
        if place is not None or self._pinned:
            there = self._places()  # a layer that has gone has no style, and one of another number is still the same
            pinned = [(replace(mask, place=self._layer(where) or mask.place), one) for where, mask, one in self._pinned if where in there]
            masked = Masked(*([self._current, *pinned] if place is None else [*pinned, self._current]))
            stylizer, needs = masked, masked.needs
        self._session.set_style(stylizer, needs)

    def _keep(self) -> None:
        """What is drawn there now goes on being drawn there; what is chosen next is drawn elsewhere."""
        if self._current is None:
            return
        self._pinned.append((self._where.value, *self._current))
        kept = f"{'all but ' if self._rest.value else ''}{self._where.value}: {self._kind.value}"
        said(self._kept, self._kept.content + lines([kept]))
        if self._kind.value == DIFFUSION:
            self._diffuser.leave()  # with its own prompt; the next one has another
        elif self._kind.value == NETWORK:
            self._networks.leave()
        self._where.value, self._rest.value = EVERYWHERE, False
        self._choose()

    def _forget(self) -> None:
        """All of the picture is drawn as the widgets say."""
        self._let_go()
        said(self._kept, "")
        self._use()

    def _let_go(self) -> None:
        for _, _, stylizer in self._pinned:
            close = getattr(stylizer.stylizer if isinstance(stylizer, Steady) else stylizer, "close", None)
            if close is not None:
                close()
        self._pinned = []

    def _place(self) -> Place | None:
        where = self._where.value
        if where == DEPTH:
            near = float(self._near.value)
            return DepthRange(near, max(float(self._far.value), near + 1e-3))
        return self._layer(where) or {SELECTION: Selection(), BACKGROUND: Background()}.get(where)

    def _layer(self, where: str) -> Layers | None:
        name = where.removeprefix(LAYER)
        return Layers.named(self._world.scene, [name]) if name != where and name in self._world.scene.layers else None

    def _places(self) -> tuple[str, ...]:
        return (EVERYWHERE, SELECTION, BACKGROUND, DEPTH, *(LAYER + name for name in self._world.scene.layers))
