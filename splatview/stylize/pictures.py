"""Pictures on their way to a model and back: sizes, bytes and floats. Bytes lie in memory as frames have them, pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from splatview.arrays import Bytes
from splatview.frame import Frame
from splatview.stylize.parts import FACTOR

LEAST = 8  # latents along a side


def fitting(height: int, width: int, size: int) -> tuple[int, int]:
    """The height and width at which a picture is drawn: about size^2 pixels in its shape, multiples of 8.

    No side is less than 64; what is so thin that this made it more than four times as large is drawn shorter.
    """
    scale, most = size / (height * width) ** 0.5, 4 * size**2 // (LEAST * FACTOR**2)
    snapped = lambda side: min(most, max(LEAST, round(side * scale / FACTOR))) * FACTOR
    return snapped(height), snapped(width)


def sized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Bytes [1, 3, H, W] at another size."""
    if picture.shape[-2:] == size:
        return picture
    mode = "bilinear" if size[0] < picture.shape[-2] else "bicubic"
    if picture.is_cuda:  # which knows it of floats alone
        return functional.interpolate(picture.float(), size, mode=mode, antialias=True).round().clamp(0, 255).to(torch.uint8)
    return functional.interpolate(picture, size, mode=mode, antialias=True)  # on bytes, ten times as fast


def floats(picture: Tensor) -> Tensor:
    """Bytes as 0..1."""
    return picture.float() / 255


def rounded(picture: Tensor) -> Tensor:
    """0..1 as bytes; what is beyond is brought there."""
    return (picture * 255).round().clamp(0, 255).to(torch.uint8).contiguous(memory_format=torch.channels_last)


def blended(picture: Bytes, style: Bytes, mix: float) -> Bytes:
    """`mix` of `style` [H, W, 3] with `picture`, which may be of another size."""
    height, width = style.shape[:2]
    if picture.shape != style.shape:
        picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.addWeighted(picture, 1 - mix, style, mix, 0), np.uint8)


def alike(one: Frame, other: Frame) -> bool:
    """Whether two frames are the same view with the same pictures."""
    if one is other:
        return True
    if one.camera != other.camera or one.images.keys() != other.images.keys():
        return False
    return all(np.array_equal(image, other.images[name]) for name, image in one.images.items())
