"""Along the forms of a picture: where edges run, and smearing along them.

After Kang, Lee and Chui, "Flow-based image abstraction" (TVCG 2009), with the structure tensor of Kyprianidis and Döllner,
"Image abstraction by structure adaptive filtering" (TPCG 2008).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from splatview.arrays import Bytes, Floats
from splatview.stylize.filters.tones import blurred, pixels, resized

LONGEST_STEP = 4.0  # pixels: a longer one leaves a curved edge


class Flow(NamedTuple):
    """The unit vector along the edge at every pixel, [H, W] each; of either sign."""

    x: Floats
    y: Floats

    def resized(self, height: int, width: int) -> Flow:
        """The same of a picture of another size."""
        if self.x.shape == (height, width):
            return self
        # The sign may change from one pixel to the next, so what is interpolated is the angle's double.
        double = cv2.merge([self.x * self.x - self.y * self.y, 2 * self.x * self.y])
        return _along(resized(double, height, width))


def flow(tone: Bytes, sigma: float) -> Flow:
    """Along the edges of `tone` [H, W], blurred by `sigma` pixels; where it is flat, along those that are nearest."""
    across, down = (cv2.Scharr(tone, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    double = cv2.merge([down * down - across * across, -2 * across * down])  # of the angle along the edge, as long as it is strong
    side = 2 * round(7 * sigma) + 1
    return _along(np.asarray(cv2.addWeighted(blurred(double, sigma), 1, cv2.blur(double, (side, side)), 0.2, 0), np.float32))


def smeared(image: np.ndarray, along: Flow, sigma: float) -> np.ndarray:
    """`image` [H, W(, C)] blurred by about `sigma` pixels along the flow and not across it."""
    across, down = pixels(*image.shape[:2])
    variance, step = 0.0, min(1.0, sigma)
    while variance < sigma * sigma * 0.99:
        step = min(step, 1.23 * (sigma * sigma - variance) ** 0.5)
        ends = [
            cv2.remap(image, across + side * along.x, down + side * along.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
            for side in (step, -step)
        ]
        image = cv2.addWeighted(cv2.addWeighted(ends[0], 0.5, ends[1], 0.5, 0), 2 / 3, image, 1 / 3, 0)
        variance += step * step * 2 / 3
        step = min(2 * step, LONGEST_STEP)
    return image


def _along(double: Floats) -> Flow:
    """The unit vectors with half the angle of `double` [H, W, 2]."""
    angle = 0.5 * np.asarray(cv2.phase(double[..., 0], double[..., 1]), np.float32)
    return Flow(np.cos(angle), np.sin(angle))
