"""Lines: where a picture has edges, however dark it is, and where the scene has them."""

from __future__ import annotations

import cv2
import numpy as np

from splatview.arrays import Bytes
from splatview.frame import Frame
from splatview.stylize.filters.bands import banded
from splatview.stylize.filters.flow import flow, smeared
from splatview.stylize.filters.tones import blurred, resized

_WIDER = 1.6  # between the two Gaussians, as in Marr and Hildreth, "Theory of edge detection" (1980)
_LOG = np.log(np.arange(256) + 12).astype(np.float32)  # so that an edge is a ratio, but for black, which is noise
_SCALE = 1200.0  # of differences of logarithms in bytes


def drawn_lines(tone: Bytes, width: float, detail: float) -> Bytes:
    """How much line there is [H, W], 0 to 255, on the darker side of the edges of `tone` [H, W]; `width` in pixels, `detail` 0 to 1."""
    return _threshold(_edges(tone, width), detail)


def both_lines(tone: Bytes, width: float, detail: float) -> tuple[Bytes, Bytes]:
    """The same, and how much line there is on the lighter side."""
    edges = _edges(tone, width)
    return _threshold(edges, detail), _threshold(255 - edges, detail)


def _edges(tone: Bytes, width: float) -> Bytes:
    """The difference of Gaussians of the logarithm of `tone`, smeared along the edges: above 128 on their darker side."""
    sigma = 0.6 * max(width, 0.5)
    along = flow(resized(tone, (tone.shape[0] + 1) // 2, (tone.shape[1] + 1) // 2, cv2.INTER_AREA), 1.2 * sigma)
    edges = banded(lambda rows: _difference(rows, sigma), round(2.5 * _WIDER * sigma) + 1, tone)
    return smeared(edges, resized(along, tone.shape[0], tone.shape[1], cv2.INTER_NEAREST), 2.6 * sigma)


def _difference(tone: Bytes, sigma: float) -> Bytes:
    logarithm = cv2.LUT(tone, _LOG)
    difference = cv2.subtract(blurred(logarithm, _WIDER * sigma), blurred(logarithm, sigma))
    return np.asarray(cv2.convertScaleAbs(np.maximum(difference, -128 / _SCALE), alpha=_SCALE, beta=128), np.uint8)


def _threshold(edges: Bytes, detail: float) -> Bytes:
    low = 128 + _SCALE * 0.05 * 0.06**detail
    ramp = np.clip((np.arange(256) - low) * (255 / 30), 0, 255)
    return np.asarray(cv2.LUT(edges, ramp.astype(np.uint8)), np.uint8)


def form_lines(frame: Frame, width: float, detail: float) -> Bytes:
    """How much line there is [H, W], 0 to 255, where the depth steps, on the nearer side, and on ridges; none in a frame without depth.

    1 / depth is linear on planes however they lie, so its difference of Gaussians is theirs alone where they end.
    """
    if (depth := frame.images.get("depth")) is None:
        return np.zeros(frame.rgb8.shape[:2], np.uint8)
    sigma = 0.5 * max(width, 0.5)
    low, margin = 0.02 * 0.06**detail, round(2.5 * _WIDER * sigma) + 3
    images = [depth] if (alpha := frame.images.get("alpha")) is None else [depth, alpha]

    def band(depth: np.ndarray, alpha: np.ndarray | float = 1.0) -> Bytes:
        solid = np.clip(4 * alpha - np.float32(0.5), 0, 1)  # the fringes of a captured thing are no thing
        near = np.divide(solid, depth, out=np.zeros_like(depth), where=depth > 0)
        near = cv2.medianBlur(np.pad(near, margin, "reflect", reflect_type="odd"), 5)  # planes go on, where a mirror would fold them
        mean, wide = (blurred(near, size)[margin:-margin, margin:-margin] for size in (sigma, _WIDER * sigma))
        step = (mean - wide) / np.maximum(mean, np.float32(1e-12))
        return np.asarray(cv2.convertScaleAbs(np.maximum(step - np.float32(low), 0), alpha=255 / (2 * low)), np.uint8)

    return banded(band, margin + 2, *images)
