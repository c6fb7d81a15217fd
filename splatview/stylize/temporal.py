"""Steady: any stylizer, averaged over frames along the surfaces of the scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from splatview.arrays import Bytes
from splatview.frame import Frame
from splatview.stylize import Stylizer, settled, shown_by
from splatview.stylize.accumulate import Accumulation, renewed

LEFT = 0.1  # of what a still frame's picture was before, when it has settled


class Steady:
    """A stylizer that takes the flicker out of another one's pictures.

    The picture before is carried into the view of now by depth and averaged with the new one. A pixel starts anew where its surface was
    hidden or out of the picture, and where what was rendered there is another colour. Frames may change their size. Of frames without
    depth, such as a video's, what stands still is averaged.

    A stylizer whose pictures come late says by its `shown` which frame the last one is of. Then so is ours.
    """

    def __init__(self, stylizer: Stylizer, rule: Accumulation = Accumulation(), device: str | None = None) -> None:
        """`device`: one of PyTorch's where the average is kept and taken, "cuda" for instance; None: the processor, without PyTorch."""
        self._stylizer = stylizer
        self.rule = rule
        self._renewed = renewed if device is None else _on(device)
        self._history: Any = None
        self._spare: Any = None  # its memory is that of the next
        self._shown: Frame | None = None
        self._picture: Bytes | None = None
        self._given: Bytes | None = None  # that it was made of
        self._repeated = 0  # how often in a row a picture was of the same frame
        self._unchanged = False  # the last one

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
        self._history = self._given = None

    @property
    def shown(self) -> Frame | None:
        """The frame that the last picture is of."""
        return self._shown

    @property
    def settled(self) -> bool:
        """Whether the last frame, given again, would hardly change the picture any more."""
        return settled(self._stylizer) and (self._unchanged or (1 - self.rule.floor) ** self._repeated < LEFT)

    def style(self, frame: Frame) -> Bytes:
        """The average, rounded; [H, W, 3] sRGB."""
        picture = self._stylizer.style(frame)
        shown = shown_by(self._stylizer, frame)
        if self._picture is not None and picture is self._given and shown is self._shown and not settled(self._stylizer):
            return self._picture  # others are waited for: it counts once
        self._given = picture
        self._repeated = self._repeated + 1 if shown is self._shown else 0
        history = self._renewed(self._history, shown, _sized(picture, shown), self.rule, self._spare)
        self._spare, self._history, self._shown = self._history, history, shown
        average = _sized(history.shown(), frame)
        self._unchanged = self._repeated > 0 and self._picture is not None and np.array_equal(average, self._picture)
        self._picture = average
        return average


def _sized(picture: Bytes, frame: Frame) -> Bytes:
    """`picture` at the size of `frame`."""
    size = frame.camera.width, frame.camera.height
    return picture if picture.shape[1::-1] == size else np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _on(device: str) -> Callable[..., Any]:
    """`renewed` on a device, which has memory of its own to spare."""
    try:
        import torch

        from splatview.stylize import accumulate_torch
    except ImportError as error:
        raise ImportError(f"Steady on {device!r} needs PyTorch: pip install 'splatview[stylize]'") from error
    place = torch.device(device)
    return lambda history, frame, picture, rule, spare: accumulate_torch.renewed(history, frame, picture, rule, place)
