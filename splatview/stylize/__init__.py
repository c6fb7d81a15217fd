"""Frame -> picture: what redraws rendered frames in a style."""

from __future__ import annotations

from typing import Protocol

from splatview.arrays import Bytes
from splatview.frame import Frame


class Stylizer(Protocol):
    """Redraws frames, one after another, on one thread. Its controls are values: it is given others between two frames."""

    def style(self, frame: Frame) -> Bytes:
        """[H, W, 3] sRGB: `frame`'s picture in the style, at its own size, whatever that is.

        Of `frame`, rgb or rgb8 are there always; alpha, depth (of scenes, not of videos) and coverage are used where they are.
        """
        ...
