"""Tones and colours that filters share. Lengths of controls are pixels of a picture of 1280 x 720: other sizes look alike."""

from __future__ import annotations

import math

import cv2
import numpy as np

from splatview.arrays import Bytes, Floats
from splatview.frame import Frame

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def scale(height: int, width: int) -> float:
    """How many pixels of this picture are one of 1280 x 720."""
    return math.sqrt(height * width / (1280 * 720))


def resized(image: np.ndarray, height: int, width: int, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """`image` [H, W(, C)] at that size."""
    return cv2.resize(image, (width, height), interpolation=interpolation)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """`image` of any type under a Gaussian of that many pixels."""
    side = 2 * max(1, round(2.5 * sigma)) + 1
    return cv2.GaussianBlur(image, (side, side), max(sigma, 0.1))


def grey(rgb8: Bytes) -> Bytes:
    """The luma [H, W] of a picture."""
    return np.asarray(cv2.cvtColor(rgb8, cv2.COLOR_RGB2GRAY), np.uint8)


def vivid(rgb8: Bytes, colour: float) -> Bytes:
    """The picture with that many times its colour: 0 is grey, 1 leaves it as it is."""
    if colour == 1:
        return rgb8
    mixture = colour * np.eye(3, dtype=np.float32) + (1 - colour) * _LUMA
    return np.asarray(cv2.transform(rgb8, mixture), np.uint8)


def lit(rgb8: Bytes, light: Floats) -> Bytes:
    """The picture [H, W, 3] times `light` [H, W]."""
    return np.asarray(cv2.multiply(rgb8, cv2.cvtColor(light, cv2.COLOR_GRAY2RGB), dtype=cv2.CV_8U), np.uint8)


def spread(tone: Bytes, strength: float) -> Bytes:
    """`tone` [H, W] with the contrast of every place stretched (CLAHE), so that dark scenes keep their forms; by `strength`, 0 to 1."""
    if strength == 0:
        return tone
    stretched = cv2.createCLAHE(2.5, (8, 8)).apply(tone)
    return np.asarray(cv2.addWeighted(stretched, strength, tone, 1 - strength, 0), np.uint8)


def on_paper(picture: Bytes, frame: Frame) -> Bytes:
    """`picture` [H, W(, 3)] of the frame with white where there is nothing in the frame."""
    if (alpha := frame.images.get("alpha")) is None:
        return picture
    white = cv2.convertScaleAbs(alpha, alpha=-255, beta=255)
    return np.asarray(cv2.add(picture, white if picture.ndim == 2 else cv2.cvtColor(white, cv2.COLOR_GRAY2RGB)), np.uint8)
