"""How a camera's glass bends rays: OpenCV's models, and the way back from a pixel to its ray."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Doubles, Floats

MOST_PIXELS = 1 << 28
ROUNDS = 15


@dataclass(frozen=True)
class Lens:
    """Intrinsics in pixels, the centre of the first pixel at (0.5, 0.5); distortion as OpenCV numbers it, or its fisheye model's."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()  # k1 k2 p1 p2 k3 k4 k5 k6; fisheye: k1 k2 k3 k4
    fisheye: bool = False

    def __post_init__(self) -> None:
        numbers = self.fx, self.fy, self.cx, self.cy, *self.distortion
        if not (min(self.width, self.height) > 0 and self.width * self.height <= MOST_PIXELS):
            raise ValueError(f"expected a picture of up to {MOST_PIXELS:,} pixels, got {self.width} x {self.height}")
        if not (np.isfinite(numbers).all() and self.fx > 0 and self.fy > 0):
            raise ValueError(f"expected finite intrinsics and focal lengths > 0, got {numbers}")

    def sized(self, width: int, height: int) -> Lens:
        """The same lens before another number of pixels."""
        across, down = width / self.width, height / self.height
        return replace(self, width=width, height=height, fx=self.fx * across, cx=self.cx * across, fy=self.fy * down, cy=self.cy * down)

    def rays(self) -> Floats:
        """x / z and y / z [H, W, 2] of the ray through each pixel's centre, in the camera's frame (x right, y down)."""
        u, v = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        return self.through(np.stack([u, v], -1).reshape(-1, 2)).reshape(self.height, self.width, 2)

    @property
    def reach(self) -> Floats:
        """The largest |x / z| and |y / z| [2] on the picture's border."""
        u, v = np.linspace(0, self.width, 33), np.linspace(0, self.height, 33)
        sides = [np.stack(np.broadcast_arrays(x, y), -1) for x, y in ((u, 0.0), (u, self.height), (0.0, v), (self.width, v))]
        return np.abs(self.through(np.concatenate(sides))).max(0)

    def through(self, pixels: NDArray) -> Floats:
        """x / z and y / z [N, 2] of the rays through points [N, 2] of the picture."""
        seen = (pixels - [self.cx, self.cy]) / [self.fx, self.fy]
        if self.fisheye:
            K = np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]])
            seen = cv2.fisheye.undistortPoints(pixels[:, None], K, np.array([*self.distortion, 0, 0, 0, 0][:4]))[:, 0]
        elif any(self.distortion):
            seen = self._straight(seen)
        return seen.astype(np.float32)

    def _straight(self, seen: Doubles) -> Doubles:
        """Points [N, 2] of the undistorted plane z = 1 whose images are at `seen`: what the lens adds there is taken off, again and again.

        OpenCV's does the same five times, which is too few for strong lenses.
        """
        k1, k2, p1, p2, k3, k4, k5, k6 = (*self.distortion, *[0.0] * 8)[:8]
        points = seen
        for _ in range(ROUNDS):
            x, y = points.T
            rr = x * x + y * y
            radial = (1 + rr * (k1 + rr * (k2 + rr * k3))) / (1 + rr * (k4 + rr * (k5 + rr * k6)))
            shift = np.stack([2 * p1 * x * y + p2 * (rr + 2 * x * x), p1 * (rr + 2 * y * y) + 2 * p2 * x * y], -1)
            points = (seen - shift) / np.where(np.abs(radial) > 1e-3, radial, 1e-3)[:, None]
        return points
