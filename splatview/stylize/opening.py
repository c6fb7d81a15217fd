"""Opening a diffusion stylizer: the one door to what needs torch and diffusers, so that all else works without them."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING

from splatview.extras import need
from splatview.stylize.catalogue import Choice
from splatview.stylize.diffusing import Diffusing

if TYPE_CHECKING:
    from splatview.stylize.diffusion import Around, Diffusion
    from splatview.stylize.parts import Model

PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors")


def open_diffusion(choice: Choice, controls: Diffusing | None = None, around: Around | None = None) -> Diffusion:
    """The model of `choice` as a stylizer that begins with `controls` (None: what suits the model).

    MissingExtra: its packages are not installed. NotHere (a FileNotFoundError): the model is not on this machine. ValueError: it is broken.
    """
    need("the diffusion stylizer", "stylize", *PACKAGES)
    from splatview.stylize.diffusion import Diffusion

    with _opening:
        return Diffusion(_loaded(choice), controls, around)


_opening = threading.Lock()  # several people want the same model


@functools.lru_cache(maxsize=1)
def _loaded(choice: Choice) -> Model:
    from splatview.stylize.models import load

    return load(choice)
