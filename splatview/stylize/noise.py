"""Noise for diffusion that stays on the surfaces of a scene instead of on the screen.

Both kinds give [C, h, w] independent values of a standard normal distribution, one for each latent pixel of a frame, whatever the frame.
They never mix values: an average of two has less than their variance, and after a few frames there would be none left.
A frame without depth, such as a video's, and what is seen past everything, has its noise from where the camera looks.

CarriedNoise   remembers where each value lies, and takes new ones for what comes into sight: sticks best
HashedNoise    works each value out of its place in the world: the same from everywhere and at any time, but less steady in motion
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Doubles, Floats
from splatview.camera import Camera
from splatview.frame import Frame
from splatview.stylize.warp import nearness

Shape = tuple[int, int, int]  # channels, height, width of the latent picture, which shows the whole frame
Bits = NDArray[np.uint64]

TOLERANCE = 0.05  # relative difference of depth that is another surface
SHIFT = np.array([0.371, 0.618, 0.239])  # of the cubes: planes through the origin, such as floors, are not between two layers of them


class Noise(Protocol):
    """What an engine asks for its noise."""

    def __call__(self, frame: Frame, shape: Shape) -> Floats:
        """[C, h, w] for `frame`."""
        ...


class CarriedNoise:
    """Values that lie on surfaces: each is that of the latent pixel in which it is seen, one for a pixel; the other pixels get new ones."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._anchors = np.empty((0, 4))  # homogeneous: [x, y, z, 1] in the world, or a direction and 0
        self._values = np.empty((0, 0), np.float32)  # [N, C]

    def __call__(self, frame: Frame, shape: Shape) -> Floats:
        channels, height, width = shape
        if self._values.shape[1] != channels:
            self._anchors, self._values = np.empty((0, 4)), np.empty((0, channels), np.float32)
        camera, near = frame.camera.resized(width, height), nearness(frame)
        number = _seen(self._anchors, camera, near)
        old, anchors = number >= 0, _anchors(camera, near)
        anchors[old] = self._anchors[number[old]]
        values = np.empty((len(anchors), channels), np.float32)
        values[old] = self._values[number[old]]
        values[~old] = self._random.standard_normal((np.count_nonzero(~old), channels), np.float32)
        self._anchors, self._values = anchors, values
        return np.ascontiguousarray(values.T.reshape(shape))


@dataclass(frozen=True)
class HashedNoise:
    """Values by place: space is cut into cubes as wide as one or two latent pixels where they are seen, by depth in powers of two.

    Of pixels in one cube, the one nearest to its middle has the cube's value, the others have values of their own.
    """

    seed: int = 0

    def __call__(self, frame: Frame, shape: Shape) -> Floats:
        channels, height, width = shape
        camera, near = frame.camera.resized(width, height), nearness(frame)
        anchors = _anchors(camera, near)
        solid = anchors[:, 3] > 0
        ahead = (anchors[:, :3] - camera.position) @ camera.camera_from_world[2, :3]
        size = np.where(solid, ahead, 1) / np.sqrt(camera.K[0, 0] * camera.K[1, 1])  # directions lie on a sphere of radius 1
        level = np.ceil(np.log2(size)).astype(np.int64)
        places = anchors[:, :3] / np.exp2(level)[:, None] + SHIFT
        cubes = np.floor(places).astype(np.int64)
        keys = np.column_stack([cubes, level, solid.astype(np.int64)])
        away = np.linalg.norm(places - cubes - 0.5, axis=1)
        bits = np.full(len(keys), self.seed, np.uint64)
        for column in (*keys.T, _rank(keys, away)):
            bits = _mix(bits ^ _mix(column.astype(np.uint64)))
        return _normal(_mix(bits + _mix(np.arange(1, channels + 1, dtype=np.uint64))[:, None])).reshape(shape)


def _anchors(camera: Camera, near: Floats) -> Doubles:
    """[h w, 4] homogeneous: what the pixels of `camera` show, of a frame with nearness `near` [H, W]; unit directions at infinity."""
    rows, columns = (
        (np.arange(size) * 2 + 1) * whole // (2 * size) for size, whole in zip((camera.height, camera.width), near.shape, strict=True)
    )
    inverse = near[rows[:, None], columns].astype(np.float64)
    solid = inverse > 0
    pixels = np.stack(np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5), -1)
    points = camera.unproject(pixels, 1 / np.where(solid, inverse, 1))
    away = points - camera.position
    points = np.where(solid[..., None], points, away / np.linalg.norm(away, axis=-1, keepdims=True))
    return np.concatenate([points, solid[..., None].astype(np.float64)], -1).reshape(-1, 4)


def _seen(anchors: Doubles, camera: Camera, near: Floats) -> NDArray[np.intp]:
    """[h w] for each pixel of `camera`, one of `anchors` [N, 4] that is seen in it, by number; -1: there is none."""
    local = anchors @ camera.camera_from_world[:3].T
    number = np.flatnonzero(local[:, 2] > 1e-9 * np.abs(local).max(1, initial=0))
    x, y, depth = local[number].T
    x, y = x / depth * camera.K[0, 0] + camera.K[0, 2], y / depth * camera.K[1, 1] + camera.K[1, 2]
    inside = (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
    number, x, y, depth = number[inside], x[inside], y[inside], depth[inside]
    there = _sampled(near, x * (near.shape[1] / camera.width), y * (near.shape[0] / camera.height))
    visible = np.abs(anchors[number, 3] / depth - there) <= TOLERANCE * there
    seen = np.full(camera.width * camera.height, -1, np.intp)
    seen[y[visible].astype(np.intp) * camera.width + x[visible].astype(np.intp)] = number[visible]
    return seen


def _sampled(near: Floats, x: Doubles, y: Doubles) -> Floats:
    """`near` [H, W] between its pixels, at places [N] of a camera of its size."""
    side = int(np.ceil(np.sqrt(len(x)))) or 1  # in a square: OpenCV's rows are not that long
    columns, rows = (np.resize((at - 0.5).astype(np.float32), (side, side)) for at in (x, y))
    return np.asarray(cv2.remap(near, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32).ravel()[: len(x)]


def _rank(keys: NDArray[np.int64], away: Doubles) -> NDArray[np.int64]:
    """[N] how many with the same row of `keys` are less `away`."""
    order = np.lexsort((away, *keys.T))
    starts = np.append(True, (keys[order][1:] != keys[order][:-1]).any(1))
    count = np.arange(len(keys))
    rank = np.empty_like(count)
    rank[order] = count - np.maximum.accumulate(np.where(starts, count, 0))
    return rank


def _mix(bits: Bits) -> Bits:
    """Every bit made to depend on all: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _normal(bits: Bits) -> Floats:
    """A standard normal value of each 64 bits (Box and Muller 1958)."""
    one, two = (bits >> np.uint64(32)).astype(np.float64), (bits & np.uint64(0xFFFFFFFF)).astype(np.float64)
    return (np.sqrt(-2 * np.log((one + 0.5) / 2**32)) * np.cos(2 * np.pi / 2**32 * two)).astype(np.float32)
