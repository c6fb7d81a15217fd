"""The specification of how pictures are carried from one view to another, and averaged: float64, slow and readable on purpose.

Places are indices of pixels: centres are at whole numbers. Interpolation has exact weights, and the picture's edge goes on beyond it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from splatview.camera import Camera
from splatview.frame import Frame
from splatview.stylize.accumulate import ANOTHER, Accumulation, History, _detail
from splatview.stylize.carried import ALIKE, BLOCK, EACH, REACHES, TOLERANCE
from splatview.stylize.warp import SOLID

CUBIC = -0.5  # the a of Keys' cubic convolution (1981)


def nearness(frame: Frame) -> NDArray:
    """[H, W] 1 / depth; 0 where there is nothing."""
    depth = np.asarray(frame.images.get("depth", np.zeros(frame.rgb8.shape[:2])), np.float64)
    there = depth > 0
    if "alpha" in frame.images:
        there &= frame.alpha >= np.float32(SOLID)
    return np.where(there, 1 / np.where(there, depth, 1), 0)


def places(now: Camera, near: NDArray, before: Camera) -> tuple[NDArray, NDArray, NDArray]:
    """[H, W] where the pixels' surfaces were, not a number behind the camera, and the nearness that they had."""
    pixels = np.stack(np.meshgrid(np.arange(now.width) + 0.5, np.arange(now.height) + 0.5), -1)
    ahead = now.unproject(pixels, np.ones(near.shape)) - now.position  # points times their nearness, which is 0 for what is infinitely far
    points = np.concatenate([ahead + near[..., None] * now.position, near[..., None]], -1)
    x, y, z = np.moveaxis(points @ before.camera_from_world[:3].T, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(z > 0, z, np.nan)
        return (*(axis / z * before.K[i, i] + before.K[i, 2] - 0.5 for i, axis in enumerate((x, y))), near / z)


def taps(image: NDArray, x: NDArray, y: NDArray, weights: list) -> NDArray:
    """The sum over rows and columns from `first` on, each with its weight."""
    height, width = image.shape[:2]
    x, y = np.nan_to_num(x, nan=-9).clip(-9, width + 9), np.nan_to_num(y, nan=-9).clip(-9, height + 9)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    first = 1 - len(weights) // 2
    total = np.zeros((*x.shape, *image.shape[2:]))
    for j, of_row in enumerate(weights, first):
        for i, of_column in enumerate(weights, first):
            pixels = image[np.clip(top + j, 0, height - 1), np.clip(left + i, 0, width - 1)]
            total += pixels * (of_row(y - top) * of_column(x - left)).reshape(x.shape + (1,) * (image.ndim - 2))
    return total


def linear(image: NDArray, x: NDArray, y: NDArray) -> NDArray:
    return taps(image, x, y, [lambda t: 1 - t, lambda t: t])


def cubic(image: NDArray, x: NDArray, y: NDArray) -> NDArray:
    def inner(t):  # of a tap at a distance up to 1
        return (CUBIC + 2) * t**3 - (CUBIC + 3) * t**2 + 1

    def outer(t):  # up to 2
        return CUBIC * (t**3 - 5 * t**2 + 8 * t - 4)

    return taps(image, x, y, [lambda t: outer(1 + t), inner, lambda t: inner(1 - t), lambda t: outer(2 - t)])


def inside(x: NDArray, y: NDArray, height: int, width: int) -> NDArray:
    """Whether a place is on a pixel of the picture."""
    return (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)


def averaged(history: History, frame: Frame, picture: NDArray, rule: Accumulation) -> tuple[NDArray, NDArray, NDArray]:
    """The marks [H, W, 4], picture [H, W, 3] and count [H, W] of what `accumulate.renewed` gives."""
    finer = frame.camera.K[1, 1] / history.camera.K[1, 1]
    if finer * ANOTHER < 1:
        history = history.smaller(finer)
    near = nearness(frame)
    x, y, expected = places(frame.camera, near, history.camera)
    known, old = linear(history.marks.astype(float), x, y), cubic(history.picture.astype(float), x, y)
    if finer > ANOTHER:
        known[..., :3] += _detail(frame.rgb8, finer)
        old += _detail(picture, finer)
    height, width = history.count.shape
    on = inside(x, y, height, width)
    column, row = (np.clip(np.rint(np.where(on, at, 0)), 0, size - 1).astype(int) for at, size in ((x, width), (y, height)))
    same = on & (np.abs(expected - known[..., 3]) <= rule.tolerance * known[..., 3])
    difference = np.abs(known[..., :3] - frame.rgb8).max(-1)
    count = np.where(same, history.count[row, column], 0) * np.clip(1.5 - difference / rule.change, 0, 1)
    count = np.minimum(count + 1, 1 / rule.floor)
    share = 1 / count[..., None]
    marks = known[..., :3] + share * (frame.rgb8 - known[..., :3])
    average = np.clip(old + share * (picture - old), 0, 255)
    return np.concatenate([marks, near[..., None]], -1), average, np.maximum(count * min(1, finer**-2), 1)


def laid(picture: NDArray, of: Frame, to: Frame) -> tuple[NDArray, NDArray]:
    """`picture` [h, w, 3] of `of` as `to` sees it [H, W, 3], and where it does [H, W]."""
    x, y, expected = places(to.camera, nearness(to), of.camera)
    there = linear(nearness(of), x, y)
    return linear(picture.astype(float), x, y), inside(x, y, *picture.shape[:2]) & (np.abs(expected - there) <= TOLERANCE * there)


def filled(found: NDArray, rendered: NDArray, known: NDArray) -> NDArray:
    """`found` [H, W, 3] with what is not known made of what is rendered by the straight lines around it."""
    height, width = known.shape
    some = (slice(None, None, EACH),) * 2
    y, x = np.nonzero(known[some])
    size = known[some].shape
    rows, columns = (max(1, length // BLOCK) for length in size)
    of, style = rendered[some][y, x].astype(float), found[some][y, x].astype(float)
    sums = np.zeros((rows, columns, 13))
    terms = np.concatenate([np.ones((len(x), 1)), of, style, of * style, of * of], -1)
    np.add.at(sums, (y * rows // size[0], x * columns // size[1]), terms)
    around = sum(amount * cv2.blur(sums, (reach, reach), borderType=cv2.BORDER_CONSTANT) for reach, amount in REACHES)
    of, style, both, squares = np.split(around[..., 1:] / np.maximum(around[..., :1], 1e-30), 4, -1)
    slope = (both - of * style + ALIKE) / (squares - of * of + ALIKE)
    at_y, at_x = np.meshgrid(
        (np.arange(height) + 0.5) * rows / height - 0.5, (np.arange(width) + 0.5) * columns / width - 0.5, indexing="ij"
    )
    slope, shift = (linear(line, at_x, at_y) for line in (slope, style - slope * of))
    return np.where(known[..., None], found, np.clip(rendered * slope + shift, 0, 255))
