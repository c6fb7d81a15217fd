"""The styles that are saved on this machine, which all pages show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from splatview.stylize.filters import FILTERS
from splatview.stylize.library import DIFFUSION, Library
from splatview.stylize.onnx_style import Redrawing
from splatview.viewer.remembered import state_folder

NETWORK = "onnx"
SAVED: dict[str, type] = {**FILTERS, NETWORK: Redrawing}  # and diffusion


def kind_of(controls: Any) -> str:
    """The kind that numbers are of."""
    return next((kind for kind, made in SAVED.items() if type(controls) is made), DIFFUSION)


def label_of(name: str, kind: str) -> str:
    """What lists and command lines call the style `name` of a `kind`."""
    return f"{name} ({kind})"


class Styles(Library):
    """Those of `styles_file`. Any thread may call it."""

    def __init__(self) -> None:
        super().__init__(styles_file(), SAVED)
        self.changed: Callable[[], None] = lambda: None  # there are others

    def save(self, name: str, controls: Any) -> None:
        super().save(name, controls)
        self.changed()

    def remove(self, name: str) -> None:
        super().remove(name)
        self.changed()


def styles_file() -> Path:
    """Where saved styles are kept, whatever the scene."""
    return state_folder().parent / "styles.json"
