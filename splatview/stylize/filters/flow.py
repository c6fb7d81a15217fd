"""Along the forms of a picture: where edges run, and smearing along them.

After Kang, Lee and Chui, "Flow-based image abstraction" (TVCG 2009), with the structure tensor of Kyprianidis and Döllner,
"Image abstraction by structure adaptive filtering" (TPCG 2008).
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from splatview.arrays import Bytes
from splatview.stylize.filters.bands import banded
from splatview.stylize.filters.tones import blurred

SHORTEST_STEP, LONGEST_STEP = 1.7, 4.0  # pixels: a longer one leaves a curved edge
_COSINES, _SINES = (turn(np.arange(256) * (np.pi / 256)).astype(np.float32) for turn in (np.cos, np.sin))


def flow(tone: Bytes, sigma: float) -> Bytes:
    """The angle [H, W] of the edges of `tone` [H, W], blurred by `sigma` pixels; where it is flat, of those that are nearest.

    In 256ths of half a turn, from right to down: what it is in between is not to be interpolated.
    """
    reach = round(7 * sigma) + 1
    return banded(lambda rows: _flow(rows, sigma, reach), reach + 1, tone)


def _flow(tone: Bytes, sigma: float, reach: int) -> Bytes:
    across, down = (cv2.Scharr(tone, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    double = cv2.merge([down * down - across * across, -2 * across * down])  # twice the angle along the edge, as long as it is strong
    double = cv2.addWeighted(blurred(double, sigma), 1, cv2.blur(double, (2 * reach + 1,) * 2), 0.2, 0)
    angle = cv2.phase(double[..., 0], double[..., 1])
    return np.asarray(cv2.convertScaleAbs(angle, alpha=256 / (2 * np.pi)), np.uint8)  # a whole turn is rounded to 255: one off


def smeared(image: np.ndarray, along: Bytes, sigma: float) -> np.ndarray:
    """`image` [H, W(, C)] blurred by about `sigma` pixels along the angles [H, W] and not across them."""
    steps = []
    while (variance := sigma * sigma - sum(step * step for step in steps) * 2 / 3) > 0.1 * sigma * sigma:
        steps.append(min(SHORTEST_STEP * 2 ** len(steps), LONGEST_STEP, 1.23 * math.sqrt(variance)))
    return banded(lambda rows, angles: _stepped(rows, angles, steps), math.ceil(sum(steps)) + 1, image, along)


def _stepped(image: np.ndarray, along: Bytes, steps: list[float]) -> np.ndarray:
    x, y = (cv2.LUT(along, table) for table in (_COSINES, _SINES))
    across, down = np.arange(along.shape[1], dtype=np.float32), np.arange(along.shape[0], dtype=np.float32)[:, None]
    for step in steps:
        ends = [
            cv2.remap(image, across + side * x, down + side * y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
            for side in (step, -step)
        ]
        image = cv2.addWeighted(cv2.addWeighted(ends[0], 0.5, ends[1], 0.5, 0), 2 / 3, image, 1 / 3, 0)
    return image
