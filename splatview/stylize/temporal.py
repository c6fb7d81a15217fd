"""Steady: any stylizer, averaged over frames along the surfaces of the scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from splatview.arrays import Bytes
from splatview.frame import Frame
from splatview.stylize import Stylizer
from splatview.stylize.accumulate import Accumulation, renewed


class Steady:
    """A stylizer that takes the flicker out of another one's pictures.

    The picture before is carried into the view of now by depth and averaged with the new one. A pixel starts anew where its surface was
    hidden or out of the picture, and where what was rendered there is another colour. Frames may change their size. Of frames without
    depth, such as a video's, what stands still is averaged.
    """

    def __init__(self, stylizer: Stylizer, rule: Accumulation = Accumulation(), device: str | None = None) -> None:
        """`device`: one of PyTorch's where the average is kept and taken, "cuda" for instance; None: the processor, without PyTorch."""
        self._stylizer = stylizer
        self.rule = rule
        self._renewed = renewed if device is None else _on(device)
        self._history: Any = None
        self._spare: Any = None  # its memory is that of the next

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
        history = self._renewed(self._history, frame, self._stylizer.style(frame), self.rule, self._spare)
        self._spare, self._history = self._history, history
        return history.shown()


def _on(device: str) -> Callable[..., Any]:
    """`renewed` on a device, which has memory of its own to spare."""
    try:
        import torch

        from splatview.stylize import accumulate_torch
    except ImportError as error:
        raise ImportError(f"Steady on {device!r} needs PyTorch: pip install 'splatview[stylize]'") from error
    place = torch.device(device)
    return lambda history, frame, picture, rule, spare: accumulate_torch.renewed(history, frame, picture, rule, place)
