"""What pictures are made of, numpy's arrays or a device's tensors, for code that serves both: what the two do not call alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from splatview.arrays import Floats


@dataclass(frozen=True)
class Pixels:
    """One of the two libraries, in one place."""

    library: Any  # numpy, or torch: where, zeros_like, asarray, float32, ...
    zeros: Callable[..., Any]  # of a shape and a dtype, where the pictures are
    spread: Callable[[Any, Floats], Any]  # [H, W] or [H, W, C], summed around each pixel with weights [2 R + 1] along both sides
    host: Callable[[Any], np.ndarray]  # an image as numpy has it


def _spread(values: Floats, weights: Floats) -> Floats:
    return np.asarray(cv2.sepFilter2D(values, -1, weights, weights, borderType=cv2.BORDER_CONSTANT), np.float32)


HOST = Pixels(np, np.zeros, _spread, np.asarray)
