"""What ControlNets are shown of a frame, so that its layout stays (Zhang et al. 2023). No network guesses: our own depth is exact."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from splatview.frame import Frame
from splatview.stylize.catalogue import KNOWN

ENDS = (2.0, 98.0)  # percentiles of 1 / depth that become black and white
LOW, HIGH = 100, 200  # of Canny's edges, on 0..255, as such ControlNets were trained with


class Hint(Protocol):
    """A picture of something that a frame knows."""

    def fits(self, frame: Frame) -> bool:
        """Whether the frame knows it."""
        ...

    def __call__(self, frame: Frame, height: int, width: int) -> Tensor:
        """[1, 1, height, width], 0..1: ControlNets are shown it as all three colours."""
        ...


class Depth:
    """Near is white, far is black, what is empty is black, too: 1 / depth between its ends, as MiDaS tells it."""

    def fits(self, frame: Frame) -> bool:
        return "depth" in frame.images

    def __call__(self, frame: Frame, height: int, width: int) -> Tensor:
        small = cv2.resize(frame.depth, (width, height), interpolation=cv2.INTER_NEAREST)
        there = small > 0
        inverse = np.divide(1, small, out=np.zeros_like(small, np.float32), where=there)
        if there.any():
            far, near = np.percentile(inverse[there], ENDS)
            inverse = np.where(there, np.clip((inverse - far) / max(near - far, 1e-12), 0, 1), 0) if near > far else there
        return _grey(inverse.astype(np.float32))


class Edges:
    """Canny's edges, white on black."""

    def fits(self, frame: Frame) -> bool:
        return True

    def __call__(self, frame: Frame, height: int, width: int) -> Tensor:
        small = cv2.resize(frame.rgb8, (width, height), interpolation=cv2.INTER_AREA)
        return _grey(cv2.Canny(small, LOW, HIGH).astype(np.float32) / 255)


def _grey(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture)[None, None]


HINTS: dict[str, Hint] = {"depth": Depth(), "edges": Edges()}


def hinted(text: str) -> tuple[str, str]:
    """The hint that a ControlNet is shown, and its name; ValueError: it cannot be told."""
    hint, given, name = text.rpartition("=")
    if not given and name in KNOWN and KNOWN[name].hint:
        return KNOWN[name].hint, name
    if hint not in HINTS:
        known = ", ".join(name for name in KNOWN if KNOWN[name].hint)
        raise ValueError(f"ControlNet {text!r:.100}: expected one of {known}, or HINT=MODEL with a HINT of {' or '.join(HINTS)}")
    return hint, name
