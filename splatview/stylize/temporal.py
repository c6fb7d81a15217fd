"""Steady: any stylizer, averaged over frames along the surfaces of the scene."""

from __future__ import annotations

import numpy as np

from splatview.arrays import Bytes
from splatview.frame import Frame
from splatview.stylize import Stylizer
from splatview.stylize.accumulate import Accumulation, History, renewed


class Steady:
    """A stylizer that takes the flicker out of another one's pictures.

    The picture before is carried into the view of now by depth and averaged with the new one. A pixel starts anew where its surface was
    hidden or out of the picture, and where what was rendered there is another colour. Frames may change their size. Of frames without
    depth, such as a video's, what stands still is averaged.
    """

    def __init__(self, stylizer: Stylizer, rule: Accumulation = Accumulation()) -> None:
        self._stylizer = stylizer
        self.rule = rule
        self._history: History | None = None
        self._spare: History | None = None  # its memory is that of the next

    @property
    def stylizer(self) -> Stylizer:
        return self._stylizer

    @stylizer.setter
    def stylizer(self, stylizer: Stylizer) -> None:
        """Another one begins anew, an equal one goes on."""
        if stylizer != self._stylizer:
            self.forget()
        self._stylizer = stylizer

    def forget(self) -> None:
        """Begin anew with the next frame: for stylizers that changed without becoming another one."""
        self._history = None

    def style(self, frame: Frame) -> Bytes:
        """The average, rounded; [H, W, 3] sRGB."""
        history = renewed(self._history, frame, self._stylizer.style(frame), self.rule, self._spare)
        self._spare, self._history = self._history, history
        return (history.picture + np.float32(0.5)).astype(np.uint8)
