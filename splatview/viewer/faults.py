"""Errors of the drawing, said once."""

from __future__ import annotations

import logging
import traceback

from splatview.stream.pacing import Turn
from splatview.viewer.facts import size_of
from splatview.viewer.view import Request

log = logging.getLogger(__name__)


class Faults:
    """What keeps one person's picture from being drawn."""

    def __init__(self) -> None:
        self.now: str | None = None  # for the page
        self._kind: object = None
        self._logged: set[object] = set()

    def note(self, error: Exception, turn: Turn[Request]) -> bool:
        """Take `error` down; True if the page does not say so yet. An error of a kind and place that is new goes to the log."""
        camera, layers = turn.request.camera, turn.request.scene.layers
        where = traceback.extract_tb(error.__traceback__)[-1]
        kind = type(error), where.filename, where.lineno
        if kind not in self._logged:
            self._logged.add(kind)
            what = ", ".join(f"{name} ({size_of(layer.content)}{'' if layer.visible else ', hidden'})" for name, layer in layers.items())
            log.error(
                "could not draw a picture: %d x %d at scale %.2f%s; %s; layers: %s; camera_from_world: %s",
                *(camera.width, camera.height, turn.scale, ", at rest" if turn.still else "", turn.request.view, what or "none"),
                camera.camera_from_world.tolist(),
                exc_info=error,
            )
        if kind == self._kind:
            return False
        said = f"{type(error).__name__}: {error}".rstrip(": .")
        self._kind, self.now = kind, f"{said}. It is tried again at the next change; the server's log says more."
        return True

    def clear(self) -> bool:
        """A picture was drawn; True if there was a fault before."""
        was, self._kind, self.now = self._kind, None, None
        return was is not None
