"""Choosing what is edited: tools that draw on the picture, how deep they reach, and what else selects."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import numpy as np

from splatview.edit.grade import Painting
from splatview.edit.operations import DropSet, SaveSet, Select
from splatview.edit.region import Rectangle
from splatview.edit.select import Connected, Current, Drawn, Everything, Grown, Matching, Not, Nothing, Saved, Selection, Shrunk
from splatview.viewer.editor import Editor, Reach
from splatview.viewer.page import Page
from splatview.viewer.panels.keys import on_key
from splatview.viewer.panels.volumes import HOWS, Volumes
from splatview.viewer.panels.widgets import hear, lines, pick, press, said, show_if, tell
from splatview.viewer.session import Session
from splatview.viewer.space import RADIUS
from splatview.viewer.studio import Studio
from splatview.viewer.tools import Tool, ToolPage
from splatview.viewer.view import Marked

TOOLS: dict[str, Tool] = {
    "none": "none", "click": "point", "rectangle": "rectangle", "lasso": "lasso", "polygon": "polygon", "brush": "brush",
    "flood": "flood", "eyedropper": "eyedropper", "paint": "paint",
}  # fmt: skip
KEYED: tuple[Tool, ...] = ("rectangle", "lasso", "polygon", "brush", "flood", "eyedropper")
NO_SET = "none yet"
PREVIEW = 2.0  # seconds that a slab is shown after it was changed


class Selecting:
    """The folder "Select"."""

    def __init__(self, page: Page, session: Session, studio: Studio, editor: Editor, hand: ToolPage) -> None:
        self._page, self._session, self._world, self._editor, self._hand = page, session, studio.world, editor, hand
        self._slab_ends: asyncio.TimerHandle | None = None
        gui, radius = page.gui, RADIUS / studio.placing.scale
        step = float(10.0 ** np.floor(np.log10(radius / 100)))
        with gui.add_folder("Select"):
            self._count = gui.add_html("")
            self._tool: Any = gui.add_dropdown("Tool", tuple(TOOLS), initial_value="none", hint="R, L, P, B, O, Ctrl+E; Esc puts it down")
            self._brush = gui.add_slider("Brush size", 0.1, 70.0, 0.1, initial_value=5.5, hint="% of the picture's height; [ and ]")
            self._flood_colour = gui.add_slider("Flood colours", 0.0, 1.0, 0.01, initial_value=0.1, hint="How far a colour may be off")
            self._flood_depth = gui.add_slider("Flood steps", 0.001, 0.2, 0.001, initial_value=0.02, hint="Share of the depth")
            self._likeness = gui.add_slider("Likeness", 0.0, 1.0, 0.01, initial_value=0.2, hint="How far a colour may be off")
            self._paint = gui.add_rgb("Paint colour", initial_value=(255, 0, 0))
            self._amount = gui.add_slider("Paint amount", 0.0, 1.0, 0.01, initial_value=1.0)
            self._cover = gui.add_checkbox("Paint opacity", initial_value=False)
            self._opacity = gui.add_slider("Painted opacity", 0.0, 1.0, 0.01, initial_value=1.0)
            self._reach: Any = gui.add_dropdown("Reach", get_args(Reach), initial_value="surface", hint="Key M: only what is seen, or all")
            self._least = gui.add_slider("Least share", 0.01, 1.0, 0.01, initial_value=0.1, hint="Of a pixel, to count as seen")
            self._slab = gui.add_multi_slider("Near and far", 0.0, 10 * radius, step, (0.0, 3 * radius), hint="Depth in scene units")
            self._footprint = gui.add_dropdown("Inside has to be", ("centre", "ellipse"), initial_value="centre")
            self._marked = gui.add_dropdown("Shown as", get_args(Marked), initial_value="tint")
            whole = gui.add_button_group("Whole", ("All", "None", "Invert"), hint="Ctrl+A, Ctrl+Shift+A, Ctrl+I")
            near = gui.add_button_group("Nearby", ("Grow", "Shrink", "Connected"))
            with gui.add_folder("Where an expression holds", expand_by_default=False):
                self._text = gui.add_text("Expression", "", hint="scale_max > p99 and opacity < 0.2 and within(box1)")
                where = gui.add_button_group("Where it holds", tuple(HOWS))
                self._wrong = gui.add_html("")
            self.volumes = Volumes(page, session, studio, editor)
            with gui.add_folder("Saved selections", expand_by_default=False):
                self._name = gui.add_text("Selection name", "", hint="Letters, digits and _; set1, set2, ... if it is empty")
                save = gui.add_button("Save selection")
                self._sets: Any = gui.add_dropdown("Saved selection", (NO_SET,), initial_value=NO_SET)
                use = gui.add_button_group("Use it", tuple(HOWS))
                forget = gui.add_button("Forget it", color="gray")
        self.settings = (
            self._brush, self._flood_colour, self._flood_depth, self._likeness, self._paint, self._amount, self._reach, self._least,
            self._footprint, self._marked,
        )  # fmt: skip
        hear(self._tool, lambda name: editor.use(TOOLS[name]))
        tell(self._brush, lambda percent: editor.set_radius(percent / 100))
        for setting in (self._flood_colour, self._flood_depth, self._likeness, self._reach, self._least, self._footprint):
            tell(setting, lambda _: self._set())
        for setting in (self._paint, self._amount, self._cover, self._opacity):
            tell(setting, lambda _: self._set())
        tell(self._slab, lambda _: self._set_slab())
        tell(self._marked, lambda how: session.change(selection=how))
        pick(whole, self._whole)
        pick(near, self._nearby)
        pick(where, self._where)
        press(save, self._save)
        pick(use, lambda how: self._sets.value != NO_SET and editor.select(Saved(self._sets.value), HOWS[how]))
        press(forget, lambda: self._sets.value != NO_SET and editor.do(DropSet(self._sets.value)))
        hand.on_stroke(editor.drawn)
        hand.on_radius(lambda fraction: setattr(self._brush, "value", round(min(70.0, max(0.1, 100 * fraction)), 1)))
        hand.on_left(editor.left)
        editor.tool_changed = self._show_tool
        for tool in KEYED:
            on_key(gui, tool, lambda tool=tool: session.pressed(tool) and editor.toggle(tool))
        on_key(gui, "all", lambda: self._whole("All"))
        on_key(gui, "none", lambda: self._whole("None"))
        on_key(gui, "invert", lambda: session.pressed("invert") and self._whole("Invert"))
        on_key(gui, "reach", self._toggle_reach)
        self._set()
        self.show()

    def show(self) -> None:
        """Show the selection as it is now."""
        state = self._world.state
        chosen, living = state.selected_count, state.living_count
        text = f"{chosen:,} splats, {100 * chosen / living:.1f} %" if chosen else "Nothing is selected."
        said(self._count, lines([text]))
        names = tuple(self._world.edited.sets) or (NO_SET,)
        if self._sets.options != names:
            self._sets.options = names

    def _show_tool(self) -> None:
        tool, reach = self._editor.tool, self._editor.picking.reach
        name = next((name for name, one in TOOLS.items() if one == tool), None)
        if name is not None and self._tool.value != name:
            self._tool.value = name
        show_if(tool in ("brush", "paint"), self._brush)
        show_if(tool == "flood", self._flood_colour, self._flood_depth)
        show_if(tool == "eyedropper", self._likeness)
        show_if(tool == "paint", self._paint, self._amount, self._cover)
        show_if(tool == "paint" and bool(self._cover.value), self._opacity)
        show_if(reach == "surface", self._least)
        show_if(reach == "slab", self._slab)
        show_if(reach != "surface", self._footprint)

    def _set(self) -> None:
        near, far = self._slab.value
        red, green, blue = (channel / 255 for channel in self._paint.value)
        self._editor.change(
            reach=self._reach.value,
            least=float(self._least.value),
            near=float(near),
            far=float(far),
            footprint=self._footprint.value,
            flood_colour=float(self._flood_colour.value),
            flood_depth=float(self._flood_depth.value),
            likeness=float(self._likeness.value),
            painting=Painting((red, green, blue), float(self._amount.value), float(self._opacity.value) if self._cover.value else None),
        )
        self._show_tool()

    def _set_slab(self) -> None:
        """Show for a moment what lies in the slab, all over the picture."""
        self._set()
        picking, session = self._editor.picking, self._session
        try:
            query = Drawn(Rectangle(0, 0, 1, 1), session.camera_of(0), picking.depth, picking.footprint, session.look)
        except ValueError:  # a page may send anything
            return
        self._world.preview(Select(Selection(query)))
        if self._slab_ends is not None:
            self._slab_ends.cancel()
        self._slab_ends = asyncio.get_running_loop().call_later(PREVIEW, self._world.end_preview)

    def _toggle_reach(self) -> None:
        if self._session.pressed("reach"):
            self._reach.value = "through" if self._reach.value == "surface" else "surface"

    def _whole(self, what: str) -> None:
        self._editor.select({"All": Everything(), "None": Nothing(), "Invert": Not(Current())}[what])

    def _nearby(self, what: str) -> None:
        self._editor.select({"Grow": Grown, "Shrink": Shrunk, "Connected": Connected}[what](Current()))

    def _where(self, how: str) -> None:
        try:
            camera = self._session.camera_of(0)
            query = Matching(self._text.value, self._editor.volumes, camera)
        except ValueError as error:
            self._say(str(error))
            return
        done = self._world.select(query, HOWS[how], self._editor.author)
        done.add_done_callback(lambda done: done.cancelled() or self._say(str(done.exception() or "")))

    def _say(self, wrong: str) -> None:
        if self._page.open:
            self._wrong.content = lines([" ".join(wrong.split())]) if wrong else ""

    def _save(self) -> None:
        sets = self._world.edited.sets
        name = self._name.value.strip() or next(name for number in range(1, len(sets) + 2) if (name := f"set{number}") not in sets)
        try:
            self._editor.do(SaveSet(name))
        except ValueError as error:
            self._page.notify("Not saved", str(error))
