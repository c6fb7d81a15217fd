"""The style that a diffusion model draws: which model, what it is told, and its numbers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from splatview.extras import MissingExtra
from splatview.frame import Frame
from splatview.stylize import hub
from splatview.stylize.catalogue import DEFAULT, Choice
from splatview.stylize.diffusing import Diffusing, phrases_of, text_of
from splatview.stylize.library import randomised
from splatview.stylize.noise import CarriedNoise, HashedNoise
from splatview.stylize.opening import open_diffusion
from splatview.viewer.page import Page
from splatview.viewer.panels.controls import Controls
from splatview.viewer.panels.widgets import Typed, hear, lines, said

if TYPE_CHECKING:
    from splatview.stylize.diffusion import Diffusion

Grain = Literal["surfaces", "places in the world", "the screen"]
WAYS = ("auto", "eager", "compile", "graphs", "tensorrt")  # `acceleration.Accelerator`, which needs PyTorch to be imported
GRAINS: tuple[Grain, ...] = ("surfaces", "places in the world", "the screen")


class Diffuser:
    """Its widgets, in a folder that is there while this is the chosen kind. `changed` is told when there is another stylizer."""

    def __init__(self, page: Page, changed: Callable[[], None]) -> None:
        gui = page.gui
        self._page, self._gui, self._changed = page, gui, changed
        self.stylizer: Diffusion | None = None
        self.controls = Diffusing()
        self._opening: tuple[str, Grain, str] | None = None
        self._closed = False
        with gui.add_folder(None, visible=False) as self.folder:
            self._models: Any = gui.add_dropdown("Model", self._here(), initial_value=self._here()[0], hint="Those that are on the server")
            self._state = gui.add_html("")
            self._prompt: Any = gui.add_text(
                "Prompt", text_of(self.controls.prompt), multiline=True, hint="a | b: 0.5 blends two, by weight"
            )
            self._negative: Any = gui.add_text("Not", self.controls.negative, hint="Negative prompt, for guidance full and initialize")
            with gui.add_folder("Numbers of the model", expand_by_default=False) as numbers:
                self._numbers = Controls(gui, numbers, self._turned)
                self._way: Any = gui.add_dropdown("Run by", WAYS, initial_value=WAYS[0], hint="A way that does not work here is left out")
                self._grain: Any = gui.add_dropdown("Grain sticks to", GRAINS, initial_value=GRAINS[0])
        Typed(self._prompt, lambda: None, lambda _, text: self._turned(replace(self.controls, prompt=phrases_of(text))))
        Typed(self._negative, lambda: None, lambda _, text: self._turned(replace(self.controls, negative=text.strip())))
        hear(self._models, lambda _: self.open(again=True))
        for handle in (self._grain, self._way):
            hear(handle, lambda _: self.open(again=True))
        self._numbers.show(self.controls)

    def open(self, again: bool = False) -> None:
        """Have a stylizer, or another one; it takes its time, on a thread of its own, and one at a time."""
        if self._opening is not None or (self.stylizer is not None and not again):
            return
        self._opening = asked = str(self._models.value), self._grain.value, str(self._way.value)
        self._state.content = lines([f"Opening {asked[0]} …"])
        threading.Thread(target=self._open, args=asked, name="splatview-model", daemon=True).start()

    def leave(self) -> None:
        """Let somebody else have the stylizer; another one of the same model is opened."""
        self.stylizer = None
        self.open()

    def surprise(self) -> None:
        """Another look."""
        self.show(randomised(self.controls, np.random.default_rng()))

    def show_figures(self) -> None:
        """Tell where the model is."""
        if self.stylizer is not None and self._opening is None:
            said(self._state, lines(list(self.stylizer.about)))

    def close(self) -> None:
        self._closed = True
        if self.stylizer is not None:
            self.stylizer.close()

    def _open(self, model: str, grain: Grain, accelerator: str) -> None:
        try:
            if model not in self._here():  # a page may send what is not in its list, a folder for instance
                raise ValueError(f"there is no model {model!r:.100} on this server")
            stylizer = open_diffusion(Choice(model, controlnets=hub.controlnets(model)), self.controls, self._around(grain, accelerator))
        except (MissingExtra, OSError, ValueError) as error:
            self._opening = None
            with self._page.perhaps_gone():
                self._state.content = lines([str(error)])
                self._page.notify("No diffusion", str(error))
            return
        old, opened, self.stylizer, self._opening = self.stylizer, self._opening, stylizer, None
        if old is not None:
            old.close()
        if self._closed:
            stylizer.close()
            return
        stylizer.take(self.controls)  # they may be others by now
        with self._page.perhaps_gone():
            self.show_figures()
            self._changed()
            if opened != (str(self._models.value), self._grain.value, str(self._way.value)):  # they were changed meanwhile
                self.open(again=True)

    def _around(self, grain: Grain, accelerator: Any) -> Any:
        """What the stylizer is given beside the model: where its noise comes from."""
        try:
            from splatview.stylize.diffusion import Around
        except ImportError:  # what is missing is told when the model is opened
            return None
        if grain == "the screen":
            return Around(accelerator=accelerator)
        noise = Seeded(HashedNoise if grain == "places in the world" else CarriedNoise, lambda: self.controls.seed)
        return Around(noise, accelerator=accelerator)

    def _turned(self, controls: Diffusing) -> None:
        self.controls = controls
        if self.stylizer is not None:
            self.stylizer.take(controls)
            self._changed()

    def show(self, controls: Diffusing) -> None:
        """Put `controls` into the widgets, and draw with them."""
        self.controls = controls
        self._numbers.show(controls)
        for handle, text in ((self._prompt, text_of(controls.prompt)), (self._negative, controls.negative)):
            if handle.value != text:
                handle.value = text
        self._turned(controls)

    @staticmethod
    def _here() -> tuple[str, ...]:
        """Models that can be opened, the usual one first or in their place."""
        return tuple(sorted(hub.pipelines(), key=lambda name: name != DEFAULT)) or (DEFAULT,)


class Seeded:
    """Noise of a seed that may change: then it begins anew."""

    def __init__(self, kind: Callable[[int], Any], seed: Callable[[], int]) -> None:
        self._kind, self._seed = kind, seed
        self._made: tuple[int, Any] | None = None

    def __call__(self, frame: Frame, shape: tuple[int, int, int]) -> Any:
        seed = self._seed()
        if self._made is None or self._made[0] != seed:
            self._made = seed, self._kind(seed)
        return self._made[1](frame, shape)
