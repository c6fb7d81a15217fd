"""The style that a diffusion model draws: which model, what it is told, and its numbers."""

from __future__ import annotations

import logging
import textwrap
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from splatview.extras import MissingExtra
from splatview.stylize import hub
from splatview.stylize.catalogue import DEFAULT, KNOWN, Choice
from splatview.stylize.diffusing import Diffusing, followed, phrases_of, text_of
from splatview.stylize.library import looked, randomised
from splatview.stylize.noise import CarriedNoise, HashedNoise
from splatview.stylize.opening import open_diffusion
from splatview.viewer.page import Page
from splatview.viewer.panels.controls import Controls
from splatview.viewer.panels.widgets import Typed, hear, lines, said, show_if

if TYPE_CHECKING:
    from splatview.stylize.diffusion import Diffusion

Grain = Literal["surfaces", "places in the world", "the screen"]
Asked = tuple[str, Grain, str]  # a model, what its noise sticks to, and how it is run
WAYS = ("auto", "eager", "compile", "graphs", "tensorrt")  # `acceleration.Accelerator`, which needs PyTorch to be imported
GRAINS: tuple[Grain, ...] = ("surfaces", "places in the world", "the screen")
LONGEST = 160  # characters of what is told of a model: what a long prompt loses may be as long
FIRST = ("strength", "steps", "seed")  # what is turned most

log = logging.getLogger(__name__)


class Diffuser:
    """Its widgets, in a folder that is there while this is the chosen kind. `changed` is told when there is another stylizer.

    Models are opened on a thread, one at a time. `lock` is whoever's that is told: between the two nobody takes the stylizer of before.
    """

    def __init__(self, page: Page, changed: Callable[[], None], lock: threading.RLock) -> None:
        gui = page.gui
        self._page, self._changed, self._lock = page, changed, lock
        self.stylizer: Diffusion | None = None
        self.controls = Diffusing()
        self._usual: Diffusing | None = self.controls  # what suits the model; None: the numbers were saved, whatever suits it
        self._opening: Asked | None = None
        self._hints: frozenset[str] = frozenset()  # of the ControlNets that go with the model
        self._closed = False
        with gui.add_folder(None, visible=False) as self.folder:
            self._models: Any = gui.add_dropdown("Model", (DEFAULT,), initial_value=DEFAULT, hint="Those that are on the server")
            self._state = gui.add_html("")
            self._prompt: Any = gui.add_text(
                "Prompt", text_of(self.controls.prompt), multiline=True, hint="a | b: 0.5 blends two, by weight"
            )
            self._negative: Any = gui.add_text("Not", self.controls.negative, visible=False, hint="What shall not be seen")
            with gui.add_folder(None) as first:
                self._first = Controls(gui, first, self._turned, lambda name: name in FIRST)
            with gui.add_folder("More numbers", expand_by_default=False):
                with gui.add_folder(None) as more:
                    self._more = Controls(gui, more, self._turned, lambda name: name not in (*FIRST, "negative"))
                self._grain: Any = gui.add_dropdown("Grain sticks to", GRAINS, initial_value=GRAINS[0])
                self._way: Any = gui.add_dropdown("Run by", WAYS, initial_value=WAYS[0], hint="A way that does not work here is left out")
        Typed(self._prompt, lambda: None, lambda _, text: self._turned(replace(self.controls, prompt=phrases_of(text))))
        Typed(self._negative, lambda: None, lambda _, text: self._turned(replace(self.controls, negative=text.strip())))
        for handle in (self._models, self._grain, self._way):
            hear(handle, lambda _: self.open(again=True))
        self._show_numbers()

    @property
    def _asked(self) -> Asked:
        return str(self._models.value), self._grain.value, str(self._way.value)

    def open(self, again: bool = False) -> None:
        """Have a stylizer, or another one; it takes its time."""
        with self._lock:
            if self._closed or self._opening is not None or (self.stylizer is not None and not again):
                return
            self._opening = self._asked
            said(self._state, lines(["Looking for models …"]))
            threading.Thread(target=self._open, name="splatview-model", daemon=True).start()

    def leave(self) -> None:
        """Let somebody else have the stylizer; another one of the same model is opened."""
        with self._lock:
            self.stylizer = None
            self.open()

    def surprise(self) -> None:
        """Another look."""
        self._put(randomised(self.controls, np.random.default_rng()))
        self._turned(self.controls)

    def show_figures(self) -> None:
        """Tell where the model is."""
        if self.stylizer is not None and self._opening is None:
            said(self._state, lines([textwrap.shorten(text, LONGEST, placeholder=" …") for text in self.stylizer.about]))

    def close(self) -> None:
        """The page has gone."""
        with self._lock:
            self._closed = True
            end(self.stylizer)

    def put(self, controls: Diffusing) -> None:
        """Put what was saved into the widgets; the size stays, as it is what a frame costs."""
        found = looked(self.controls, controls)
        if found is controls:
            self._usual = None
        self._put(replace(found, size=self.controls.size))

    def show(self, controls: Diffusing) -> None:
        """Put what was saved into the widgets, and draw with it."""
        self.put(controls)
        self._turned(self.controls)

    def _put(self, controls: Diffusing) -> None:
        self.controls = controls
        for handle, text in ((self._prompt, text_of(controls.prompt)), (self._negative, controls.negative)):
            if handle.value != text:
                handle.value = text
        self._show_numbers()

    # What the thread does that opens models.

    def _open(self) -> None:
        stylizer: Diffusion | None = None
        text, asked = "", self._asked
        try:
            asked = self._found()
            if asked[0] not in self._models.options:  # a page may send what is not in its list, a folder for instance
                raise ValueError(f"there is no model {asked[0]!r:.100} on this server")
            nets = hub.controlnets(asked[0])
            stylizer = open_diffusion(Choice(asked[0], controlnets=nets), self.controls, self._around(asked))
            self._hints = frozenset(KNOWN[net].hint for net in nets)
        except Exception as error:
            text = str(error) or type(error).__name__
            if not isinstance(error, (MissingExtra, OSError, ValueError)):
                log.exception("could not open %s", asked[0])
        with self._page.perhaps_gone(), self._lock:
            self._opening = None
            if self._closed or stylizer is None:
                end(stylizer)
            else:
                before, self.stylizer = self.stylizer, stylizer
                if self._usual is not None:
                    self.controls = followed(self.controls, self._usual, stylizer.usual)
                self._usual = stylizer.usual
                stylizer.take(self.controls)  # they may be others by now
                self.show_figures()
                self._show_numbers()
                self._changed()
                end(before)
            if asked != self._asked:  # they were changed meanwhile
                self.open(again=True)
            elif text:
                said(self._state, lines([text]))
                self._page.notify("No diffusion", text)

    def _found(self) -> Asked:
        """What is asked for, the list of models being that of now: the usual one first."""
        here = tuple(sorted(hub.pipelines(), key=lambda name: name != DEFAULT)) or (DEFAULT,)
        with self._page.perhaps_gone(), self._lock:
            if self._models.options != here:
                chosen = self._models.value
                self._models.options = here
                self._models.value = chosen if chosen in here else here[0]
            self._opening = self._asked
            said(self._state, lines([f"Opening {self._opening[0]} …"]))
            return self._opening

    def _around(self, asked: Asked) -> Any:
        """What the stylizer is given beside the model: where its noise comes from."""
        try:
            from splatview.stylize.diffusion import Around
        except ImportError:  # what is missing is told when the model is opened
            return None
        _, grain, way = asked
        accelerator: Any = way
        if grain == "the screen":
            return Around(accelerator=accelerator)
        return Around(HashedNoise if grain == "places in the world" else CarriedNoise, accelerator=accelerator)

    def _turned(self, controls: Diffusing) -> None:
        self.controls = controls
        self._show_numbers()
        if self.stylizer is not None:
            self.stylizer.take(controls)
            self._changed()

    def _show_numbers(self) -> None:
        """Those that change something."""
        told = self.stylizer is not None and self.stylizer.told_guidance  # then it is of one kind
        guidance = "none" if told else self.controls.guidance
        idle = {"depth", "edges"} - self._hints
        idle |= {"delta"} if guidance not in ("self", "initialize") else set()
        idle |= {"guidance"} if told else {"scale"} if guidance == "none" else set()
        show_if(guidance in ("full", "initialize"), self._negative)
        self._first.show(self.controls)
        self._more.show(self.controls, idle)


def end(stylizer: Any) -> None:
    """Close a stylizer, if it is one that has to be closed, on a thread of its own: it waits for what it is encoding or compiling."""
    if (close := getattr(stylizer, "close", None)) is not None:
        threading.Thread(target=close, name="splatview-end", daemon=True).start()
