"""What the picture shows, and how."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

from splatview.framing import FOV_Y
from splatview.outputs.images import Colormap
from splatview.viewer.page import Page
from splatview.viewer.panels.keys import on_key
from splatview.viewer.panels.widgets import tell
from splatview.viewer.session import Session
from splatview.viewer.view import Shown, View
from splatview.viewer.world import World

NOTHING: Literal["nothing"] = "nothing"
ANTIALIASED = {"as trained": None, "on": True, "off": False}


class Look:
    """The folder "View"."""

    def __init__(self, page: Page, session: Session, world: World) -> None:
        gui, view = page.gui, View()
        self._session = session
        self.heard: Callable[[], None] = lambda: None  # something else is shown
        self._last: Shown = "depth"  # what stood beside the picture when it was last split
        degree = max((layer.splats.sh_degree for layer in world.scene.splat_layers.values()), default=0)
        with gui.add_folder("View"):
            self._shown = gui.add_dropdown("Show", get_args(Shown), initial_value=view.shown)
            self._colormap = gui.add_dropdown("Depth colours", get_args(Colormap), initial_value=view.colormap, visible=False)
            self._beside = gui.add_dropdown("Beside it", (NOTHING, *get_args(Shown)), initial_value=NOTHING, hint="Split screen: key C")
            fov = gui.add_slider("Field of view", 10, 120, 1, initial_value=round(math.degrees(FOV_Y)), hint="degrees, vertical")
            harmonics = gui.add_slider("SH degree", 0, max(degree, 1), 1, initial_value=degree, disabled=degree == 0)
            scale = gui.add_slider("Splat scale", 0.05, 2.0, 0.05, initial_value=view.splat_scale)
            smooth = gui.add_dropdown("Antialiasing", tuple(ANTIALIASED), initial_value="as trained")
            background = gui.add_rgb("Background", initial_value=(0, 0, 0))
        tell(self._shown, self._show)
        tell(self._beside, self._split)
        tell(self._colormap, lambda name: session.change(colormap=name))
        tell(fov, lambda degrees: session.set_fov(math.radians(degrees)))
        tell(harmonics, lambda value: session.change(sh_degree=None if value >= degree else int(value)))
        tell(scale, lambda value: session.change(splat_scale=float(value)))
        tell(smooth, lambda name: session.change(antialiased=ANTIALIASED[name]))
        tell(background, lambda rgb: session.change(background=tuple(channel / 255 for channel in rgb)))
        self.settings = (self._colormap, fov, harmonics, scale, smooth, background)  # what outlives the page
        for what in get_args(Shown):
            on_key(gui, f"show {what}", partial(self.choose, what))
        on_key(gui, "next mode", lambda: self.step(+1))
        on_key(gui, "last mode", lambda: self.step(-1))
        on_key(gui, "split", self.toggle_split)

    def choose(self, what: Shown) -> None:
        self._shown.value = what

    def put_beside(self, what: Shown | None) -> None:
        """Split the picture, with `what` on the right; None: join it."""
        self._beside.value = what or NOTHING

    def step(self, by: int) -> None:
        """Show what is so many places further on in the list."""
        modes = get_args(Shown)
        self.choose(modes[(modes.index(self._shown.value) + by) % len(modes)])

    def toggle_split(self) -> None:
        """Split the picture, or join it again."""
        if self._session.pressed("split"):
            beside = self._beside.value
            self._last, self._beside.value = (beside, NOTHING) if beside != NOTHING else (self._last, self._last)

    def _show(self, what: Shown) -> None:
        self._session.change(shown=what)
        self._show_colormap()
        self.heard()

    def _split(self, what: Shown | Literal["nothing"]) -> None:
        self._session.set_beside(None if what == NOTHING else what)
        self._show_colormap()
        self.heard()

    def _show_colormap(self) -> None:
        self._colormap.visible = "depth" in (self._shown.value, self._beside.value)
