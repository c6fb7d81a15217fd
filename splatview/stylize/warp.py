"""Where a pixel's surface was in a picture of before: reprojection by depth.

Depth is used as nearness, 1 / z: it is 0 at infinity, where only the camera's turn counts, and linear across the picture of a plane, so
interpolating it is exact there. Places are in pixel indices as `cv2.remap` has them: centres at whole numbers, half a pixel less than
those of cameras.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from splatview.arrays import Doubles, Floats
from splatview.camera import Camera
from splatview.frame import Frame

SOLID = 0.05  # alpha from which a pixel is of what was drawn: a faint rim, too, moves with the thing that it belongs to
CENTRE = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # camera's pixels from pixel indices


class Places(NamedTuple):
    """For each pixel of now, where its surface is in the picture of before."""

    x: Floats  # [H, W]
    y: Floats
    nearness: Floats  # [H, W] that the surface has from there


def nearness(frame: Frame) -> Floats:
    """[H, W] 1 / depth, 0 where only the background is seen; all 0 for a frame without depth, such as a video's."""
    if "depth" not in frame.images:
        return np.zeros((frame.camera.height, frame.camera.width), np.float32)
    depth = frame.depth
    there = depth > 0
    if "alpha" in frame.images:
        there &= frame.alpha >= SOLID
    with np.errstate(over="ignore"):
        return np.divide(np.float32(1), depth, out=np.zeros_like(depth), where=there)


def between(now: Camera, before: Camera) -> Doubles:
    """[3, 4] that maps (x, y, 1, nearness) of a pixel of `now` to `before`, homogeneous; the third is the ratio of depths."""
    motion = before.camera_from_world @ now.world_from_camera
    to, back = np.linalg.inv(CENTRE) @ before.K, np.linalg.inv(now.K) @ CENTRE
    return np.concatenate([to @ motion[:3, :3] @ back, to @ motion[:3, 3:]], 1)


def places(matrix: Doubles, near: Floats) -> Places:
    """Where pixels with nearness `near` [H, W] are by `between`'s `matrix`.

    What is behind the camera of before is far out of its picture.
    """
    rows, columns = (np.arange(size, dtype=np.float32) for size in near.shape)
    rows = rows[:, None]
    x, y, ratio = (near * along for along in matrix[:, 3].astype(np.float32))
    for one, (right, down, start) in zip((x, y, ratio), matrix[:, :3].astype(np.float32), strict=True):
        one += right * columns
        one += down * rows + start
    if ratio.min() <= 0:
        behind = ratio <= 0
        x[behind], ratio[behind] = -1e6, 1
    inverse = 1 / ratio
    return Places(x * inverse, y * inverse, near * inverse)
