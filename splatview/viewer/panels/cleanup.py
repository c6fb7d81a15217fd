"""What most people want gone from a captured scene, shown before it goes; and fewer splats that look alike."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatview.camera import Camera
from splatview.edit.cleanup import FEW, NEEDLE, SAME_COLOUR, SAME_PLACE
from splatview.edit.operations import ALL, HERE, Delete, Select, Simplify
from splatview.edit.quality import orbit, psnr
from splatview.edit.select import AnyQuery, Broken, Duplicates, Faint, Floaters, Giant, Look, Needles, Selection
from splatview.edit.state import State
from splatview.frame import RenderOptions
from splatview.framing import frame_scene
from splatview.inspection import GIANT, INVISIBLE
from splatview.viewer.editor import Editor
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import hear, lines, pick, press, said, show_if, tell
from splatview.viewer.session import Session
from splatview.viewer.studio import Studio
from splatview.viewer.world import Cancelled

SIZE = (480, 320)  # of the pictures that are looked at
VIEWS = 12  # of an orbit
FROM: tuple[str, ...] = ("an orbit", "the saved views")


@dataclass(frozen=True)
class Parameter:
    """A number that a finder takes."""

    label: str
    value: float
    low: float
    high: float
    step: float
    hint: str = ""


@dataclass(frozen=True)
class Finder:
    """Something to look for: `query` makes it of the numbers, in order, and of what pictures are taken of."""

    what: str  # goes
    query: Callable[[list[float], Callable[[], tuple[Camera, ...]], Look], AnyQuery]
    parameters: tuple[Parameter, ...] = ()
    looks: bool = False  # at pictures


FINDERS: dict[str, Finder] = {
    "Floaters": Finder(
        "floaters",
        lambda n, cameras, look: Floaters(n[0] or None, round(n[1])),
        (
            Parameter("Lonely within", 0.0, 0.0, 1e9, 0.001, "Scene units; 0: four times the usual distance of neighbours"),
            Parameter("Neighbours", FEW, 1, 100, 1, "With fewer it is one"),
        ),
    ),
    "Giant": Finder(
        "giant splats",
        lambda n, cameras, look: Giant(n[0]),
        (Parameter("Largest share", GIANT, 0.001, 10, 0.001, "Of the scene's diagonal"),),
    ),
    "Needles": Finder(
        "needles",
        lambda n, cameras, look: Needles(n[0]),
        (Parameter("Longest ratio", NEEDLE, 1.5, 1e4, 0.5, "Of the longest axis to the middle one"),),
    ),
    "Low contribution": Finder(
        "splats that nobody sees",
        lambda n, cameras, look: Faint(cameras(), n[0] / 100, look),
        (Parameter("Least share (%)", round(100 * INVISIBLE, 2), 0.01, 100, 0.01, "Of a pixel, in any of the views"),),
        looks=True,
    ),
    "Duplicates": Finder(
        "duplicates",
        lambda n, cameras, look: Duplicates(place=n[0], colour=n[1]),
        (
            Parameter("Same place", SAME_PLACE, 0.0, 10, 0.001, "In standard deviations"),
            Parameter("Same colour", round(SAME_COLOUR, 3), 0.0, 1, 0.001, "Difference of a channel, 0 to 1"),
        ),
    ),
    "Broken": Finder("broken splats", lambda n, cameras, look: Broken()),
}


class Cleaning:
    """The folder "Clean-up"."""

    def __init__(self, page: Page, session: Session, studio: Studio, editor: Editor) -> None:
        self._page, self._session, self._studio, self._world, self._editor = page, session, studio, studio.world, editor
        self._previewed: tuple[AnyQuery, State] | None = None
        self._shown: State | None = None
        self._typed = False  # whether the person has said how many are to be left
        gui = page.gui
        with gui.add_folder("Clean-up", expand_by_default=False):
            self._kind: Any = gui.add_dropdown("Find", tuple(FINDERS))
            self._numbers: dict[str, list[Any]] = {
                kind: [gui.add_number(p.label, p.value, min=p.low, max=p.high, step=p.step, hint=p.hint) for p in finder.parameters]
                for kind, finder in FINDERS.items()
            }
            self._from: Any = gui.add_dropdown("Seen from", FROM, hint="Where the views are that are looked at")
            what = gui.add_button_group("What is found", ("Preview", "Delete"), hint="Preview selects it; Undo brings it back")
            self._said = gui.add_html("")
            with gui.add_folder("Simplify", expand_by_default=False):
                self._now = gui.add_html("")
                self._count = gui.add_number("Simplify to", 1, min=1, step=1, hint="Splats, of what is selected, or of all if nothing is")
                simplify = gui.add_button("Simplify", hint="Merges the least important; tells how the views differ")
                self._report = gui.add_html("")
        tell(self._kind, lambda _: self._show_numbers())
        pick(what, lambda which: self.preview() if which == "Preview" else self.delete())
        press(simplify, self.simplify)
        hear(self._count, lambda _: setattr(self, "_typed", True))
        self._show_numbers()
        self.show()

    def show(self) -> None:
        """Show how many there are to simplify."""
        state = self._world.edited
        if state is not self._shown:
            self._shown = state
            chosen = state.selected_count
            said(self._now, lines([f"Of {chosen:,} selected splats" if chosen else f"Of {state.living_count:,} splats"]))
            half = max(1, (chosen or state.living_count) // 2)
            if not self._typed and self._count.value != half:
                self._count.value = half

    @property
    def _finder(self) -> Finder:
        return FINDERS.get(self._kind.value) or FINDERS["Broken"]

    def _show_numbers(self) -> None:
        for kind, widgets in self._numbers.items():
            show_if(FINDERS[kind] is self._finder, *widgets)
        show_if(self._finder.looks, self._from)

    def query(self, state: State) -> AnyQuery:
        """What is to be found, as the widgets say. ValueError if they say nothing sensible, or there is no view to look from."""
        finder = self._finder
        [widgets] = [widgets for kind, widgets in self._numbers.items() if FINDERS[kind] is finder]
        return finder.query([float(widget.value) for widget in widgets], lambda: self.cameras(state), self._session.look)

    def cameras(self, state: State) -> tuple[Camera, ...]:
        """Where pictures are taken from. ValueError if that is nowhere."""
        if self._from.value == FROM[0]:
            return tuple(orbit(frame_scene(state.scene), VIEWS, *SIZE))
        saved = self._studio.remembered.memory.bookmarks
        if not saved:
            raise ValueError("no view is saved: save some (folder Saved views), or look from an orbit")
        return tuple(one.camera(*SIZE) for one in saved)

    def preview(self) -> None:
        """Select what would go."""
        what = self._finder.what
        asked: list[AnyQuery] = []

        def find(state: State) -> Select:
            asked.append(self.query(state))
            return Select(Selection(asked[0]))

        def found(state: State) -> None:
            self._previewed = asked[0], state
            share = state.selected_count / max(1, state.living_count)
            said(self._said, lines([f"{state.selected_count:,} {what} found ({share:.1%}); they are selected."]))

        said(self._said, lines(["Looking ..."]))
        self._then(self._editor.edit(find), found, lambda: said(self._said, ""))

    def delete(self) -> None:
        """Delete what is found; if it was previewed with these settings, that."""
        what = self._finder.what
        before: list[int] = []

        def remove(state: State) -> Delete:
            before.append(state.living_count)
            query, previewed = self.query(state), self._previewed
            if previewed is not None and _alike(previewed[0], query) and state.selected == previewed[1].selected:
                return Delete(Selection.kept(query, state.selected, state), f"Remove {what}")
            return Delete(Selection(query), f"Remove {what}")

        done = lambda state: said(self._said, lines([f"{before[0] - state.living_count:,} {what} deleted."]))
        self._then(self._editor.edit(remove), done, lambda: said(self._said, ""))

    def simplify(self) -> None:
        """Merge what is selected down to a count, and tell how much the views differ."""
        count, before = int(self._count.value), []

        def merge(state: State) -> Simplify:
            before.append(state)
            return Simplify(count, HERE if state.selected else ALL)

        def merged(state: State) -> None:
            text = f"{before[0].living_count:,} splats became {state.living_count:,}."
            said(self._report, lines([text, "Comparing the views ..."]))
            compared = self._world.call(lambda: self.differences(before[0], state), "Comparing the views")
            self._then(
                compared,
                lambda found: said(self._report, lines([text, summed_up(found)])),
                lambda: said(self._report, lines([text, "The views were not compared."])),
            )

        self._typed = False
        said(self._report, lines(["Merging ..."]))
        self._then(self._editor.edit(merge), merged, lambda: said(self._report, ""))

    def differences(self, before: State, after: State) -> list[float]:
        """The PSNR in dB of each view of two states; on the world's thread. ValueError if there is no view."""
        cameras, tools, near = self.cameras(before), self._world.tools, self._session.look.near

        def drawn(state: State, camera: Camera) -> NDArray:
            options = RenderOptions(near=near, hidden=state.undrawn, outputs=("rgb",))
            return tools.renderer().render(state.scene, camera, options).rgb

        found = []
        for number, camera in enumerate(cameras):
            tools.progress(number / len(cameras), f"view {number + 1} of {len(cameras)}")
            found.append(psnr(drawn(before, camera), drawn(after, camera)))
        return found

    def _then(self, future: Future[Any], done: Callable[[Any], None], failed: Callable[[], None]) -> None:
        """Do `done` with what a future gives, or `failed`; the editor has said why."""

        def ended(future: Future[Any]) -> None:
            if not self._page.open:
                return
            error = CancelledError() if future.cancelled() else future.exception()
            if error is None:
                done(future.result())
                return
            failed()
            if not isinstance(error, (ValueError, CancelledError, Cancelled)):
                raise error

        future.add_done_callback(ended)


def summed_up(found: list[float]) -> str:
    """What people are told of the PSNR of some views."""
    if not np.isfinite(found).any():
        return f"PSNR over {len(found)} views: they are the same."
    finite = [value for value in found if np.isfinite(value)]
    return f"PSNR over {len(found)} views: {np.mean(finite):.1f} dB on average, {min(finite):.1f} dB at worst."


def _alike(one: AnyQuery, other: AnyQuery) -> bool:
    """Whether both look for the same: cameras are compared by content."""
    return type(one) is type(other) and one == other
