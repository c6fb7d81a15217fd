"""How close two pictures are."""

from __future__ import annotations

import cv2
import numpy as np

from splatview.arrays import Floats

WINDOW, SIGMA = 11, 1.5  # pixels
FIRST, SECOND = 0.01**2, 0.03**2  # of the range 1


def psnr(picture: Floats, truth: Floats) -> float:
    """Decibels, of pictures [H, W, 3] with values 0..1."""
    return float(-10 * np.log10(max(1e-12, np.mean((picture.astype(np.float64) - truth) ** 2))))


def ssim(picture: Floats, truth: Floats) -> float:
    """Structural similarity (Wang et al. 2004, with its Gaussian window), the mean over pixels and channels; 1: the same."""

    def smooth(values: Floats) -> Floats:
        return np.asarray(cv2.GaussianBlur(values, (WINDOW, WINDOW), SIGMA), np.float32)

    one, other = picture.astype(np.float32), truth.astype(np.float32)
    mean_one, mean_other = smooth(one), smooth(other)
    spread_one, spread_other = smooth(one * one) - mean_one**2, smooth(other * other) - mean_other**2
    together = smooth(one * other) - mean_one * mean_other
    likeness = (2 * mean_one * mean_other + FIRST) * (2 * together + SECOND)
    return float((likeness / ((mean_one**2 + mean_other**2 + FIRST) * (spread_one + spread_other + SECOND))).mean())
