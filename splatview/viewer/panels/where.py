"""What of the picture is redrawn: everything, or a place; places may keep a style of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import floor, log10
from typing import Any

from splatview.frame import Output
from splatview.stylize import Stylizer
from splatview.stylize.masks import Background, DepthRange, Layers, Mask, Masked, Place, Selection
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import hear, lines, press, said, show_if
from splatview.viewer.session import Session
from splatview.viewer.space import RADIUS
from splatview.viewer.studio import Studio

EVERYWHERE, SELECTION, BACKGROUND, DEPTH = "everywhere", "the selection", "the background", "a range of depth"
LAYER = "layer "  # before a layer's name
ALL = DepthRange()

Action = Callable[[], None]


class Where:
    """Its widgets. `changed` is told when it is elsewhere, `keep` when the place is to keep what is drawn there, `forget` when none is."""

    def __init__(self, page: Page, session: Session, studio: Studio, changed: Action, keep: Action, forget: Action) -> None:
        gui = page.gui
        self._session, self._world, self._changed = session, studio.world, changed
        self._pinned: list[tuple[str, Mask, Stylizer, str]] = []  # where, exactly, what, and what it is called
        self._drawn: tuple[Layers | None, ...] = ()  # the layers that masks are of
        self._contents = self._layered()
        radius = RADIUS / studio.placing.scale
        step = 10.0 ** floor(log10(radius / 20))
        self._far_is_new = True
        self._where: Any = gui.add_dropdown("Where", self._places(), initial_value=EVERYWHERE)
        self._hint = gui.add_html(lines(["Nothing is selected: select something, with R, L, P or B."]), visible=False)
        self._near: Any = gui.add_number("From depth", 0.0, min=0.0, step=step, visible=False, hint="Scene units along the view axis")
        self._far: Any = gui.add_number("To depth", float(f"{radius:.3g}"), min=0.0, step=step, visible=False)
        self._feather: Any = gui.add_slider("Feather", 0, 100, 1, 0, visible=False, hint="Pixels of a picture 720 lines high")
        self._rest: Any = gui.add_checkbox("All but that", False, visible=False)
        self._pin = gui.add_button("Keep it there, and choose another", color="gray", visible=False)
        self._unpin = gui.add_button("Forget those kept", color="gray", visible=False)
        self._kept = gui.add_html("")
        hear(self._where, lambda _: self._chosen())
        for handle in (self._near, self._far, self._feather, self._rest):
            hear(handle, lambda _: changed())
        press(self._pin, keep)
        press(self._unpin, forget)

    @property
    def everywhere(self) -> bool:
        return self._place() is None

    def show(self) -> bool:
        """The scene is another one; whether other layers are redrawn now."""
        places, renamed = self._places(), self._renamed()
        self._pinned = [(renamed.get(where, where), mask, one, name) for where, mask, one, name in self._pinned]
        if self._where.options != places:
            chosen = renamed.get(self._where.value, self._where.value)
            self._where.options = places
            self._where.value = chosen if chosen in places else EVERYWHERE
        self.show_widgets()
        return self._layers() != self._drawn

    def show_widgets(self) -> None:
        """Those that the place has."""
        somewhere = not self.everywhere
        show_if(self._where.value == DEPTH, self._near, self._far)
        show_if(self._where.value == SELECTION and not self._world.state.selected, self._hint)
        show_if(somewhere, self._feather, self._rest, self._pin)
        show_if(bool(self._pinned), self._unpin)
        said(self._kept, lines([f"{'all but ' if mask.inverted else ''}{where}: {name}" for where, mask, _, name in self._pinned]))

    def of(self, stylizer: Stylizer) -> tuple[Stylizer, tuple[Output, ...]]:
        """What redraws the places, each in its style and the chosen one in that of `stylizer`, and what it needs of frames."""
        self._drawn = self._layers()
        place = self._place()
        if place is None and not self._pinned:
            return stylizer, ()
        there = self._places()  # a layer that has gone has no style, and one of another number is still the same
        pinned = [(replace(mask, place=self._layer(where) or mask.place), one) for where, mask, one, _ in self._pinned if where in there]
        now = self._mask(place), stylizer
        masked = Masked(*([now, *pinned] if place is None else [*pinned, now]))
        return masked, masked.needs

    def pin(self, stylizer: Stylizer, name: str) -> None:
        """Let the place keep `stylizer`, called `name`; what is chosen next is drawn elsewhere."""
        self._pinned.append((self._where.value, self._mask(self._place()), stylizer, name))
        self._where.value, self._rest.value = EVERYWHERE, False

    def unpin(self) -> list[Stylizer]:
        """Let no place keep a style; those that were kept."""
        pinned, self._pinned = self._pinned, []
        return [stylizer for _, _, stylizer, _ in pinned]

    def _chosen(self) -> None:
        if self._where.value == DEPTH and self._far_is_new and (middle := self._session.middle_depth) is not None:
            self._far.value = float(f"{middle:.3g}")  # so that it is seen what is meant
        self._far_is_new &= self._where.value != DEPTH
        self._changed()

    def _mask(self, place: Place | None) -> Mask:
        return Mask(ALL) if place is None else Mask(place, float(self._feather.value), bool(self._rest.value))

    def _place(self) -> Place | None:
        where = self._where.value
        if where == DEPTH:
            near = max(0.0, float(self._near.value))
            return DepthRange(near, max(float(self._far.value), near + 1e-3))
        return self._layer(where) or {SELECTION: Selection(), BACKGROUND: Background()}.get(where)

    def _layer(self, where: str) -> Layers | None:
        name = where.removeprefix(LAYER)
        return Layers.named(self._world.scene, [name]) if name != where and name in self._world.scene.layers else None

    def _layered(self) -> dict[str, object]:
        """What is in the layers, by place."""
        return {LAYER + name: layer.content for name, layer in self._world.scene.layers.items()}

    def _renamed(self) -> dict[str, str]:
        """The places of layers that have another name since this was asked before, and what they are by now."""
        before, now = self._contents, self._layered()
        self._contents = now
        gone, come = before.keys() - now.keys(), now.keys() - before.keys()
        return {old: new for old in gone for new in come if now[new] is before[old]}

    def _layers(self) -> tuple[Layers | None, ...]:
        return tuple(self._layer(where) for where in (self._where.value, *(one[0] for one in self._pinned)))

    def _places(self) -> tuple[str, ...]:
        return (EVERYWHERE, SELECTION, BACKGROUND, DEPTH, *(LAYER + name for name in self._world.scene.layers))
