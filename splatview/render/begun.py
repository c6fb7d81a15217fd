"""A picture that is on its way: what is there of it, and what it took."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from splatview.camera import Camera
from splatview.frame import RenderOptions
from splatview.render.pixels import Pixels
from splatview.render.refined import Refined
from splatview.scene import Scene


@dataclass(frozen=True, eq=False)
class Drawn:
    """The splats of a picture, where they were drawn."""

    images: Mapping[str, Any]  # by output
    counts: Mapping[str, Any]


class Clock:
    """Milliseconds per stage."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self._at = time.perf_counter()

    def lap(self, stage: str) -> None:
        """What was done since the last lap was `stage`."""
        before, self._at = self._at, time.perf_counter()
        self.timings[stage] = 1e3 * (self._at - before)

    def took(self, timings: Mapping[str, float]) -> None:
        """What was done since the last lap is known."""
        self._at = time.perf_counter()
        self.timings.update(timings)


@dataclass(frozen=True, eq=False)
class Begun:
    """A view that comes in more and more pixels: what is not drawn again for the next of its pictures."""

    scene: Scene
    camera: Camera
    options: RenderOptions  # as far as fields heed them
    fields: dict[str, Refined]  # by layer
    splats: dict[RenderOptions, Drawn]

    @staticmethod
    def of(scene: Scene, camera: Camera, options: RenderOptions, pixels: Pixels) -> Begun:
        """A view of which there is nothing yet."""
        return Begun(scene, camera, options, {name: Refined(camera, pixels) for name in scene.visible_fields}, {})
