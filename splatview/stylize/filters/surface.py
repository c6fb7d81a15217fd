"""Where in the scene every pixel lies, so that patterns stick to surfaces instead of the screen.

A pattern is laid onto the world's planes: at each pixel onto the one that the surface there faces most. So that it neither grows nor
shrinks without end, its period doubles with every doubling of the distance, and is blended from one to the next (Bénard, Bousseau and
Thollot, "Dynamic solid textures for real-time coherent stylization", I3D 2009). Distances are from the eye, so turning the camera changes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from splatview.arrays import Floats
from splatview.camera import Camera
from splatview.frame import Frame
from splatview.stylize.filters.tones import blurred, resized

STEP = 4  # directions are found on every fourth pixel: captured depth is rough
SAME_SURFACE = 0.08  # of the depth: how far what is smoothed may lie from what is seen
EDGE_ON = 0.08  # a cosine to the view
FAR = np.float32(2.0**40)  # scene units from the eye: where nothing is, so that wherever the eye goes there it stays in its direction
WHOLE = 25  # periods after which every pattern repeats: it may be turned by the angle of any Pythagorean triple of 25


class Chart(NamedTuple):
    """Where pixels lie on a pattern, [h, W] each."""

    u: Floats  # periods
    v: Floats
    blend: Floats  # at 0 the pattern is seen with half that period, towards 1 with this one
    pixels: float = np.inf  # that a period is seen long, about


@dataclass(frozen=True, eq=False)
class Surface:
    """What a picture shows, as places in the world."""

    camera: Camera
    rays: tuple[Floats, Floats]  # x / z [W] and y / z [H, 1] of the pixels' centres in the camera's space
    depth: Floats  # [H, W] as drawn
    inverse: Floats  # [H, W] one over a smoother depth
    faces_z: Floats  # [H, W] above 0 where it faces the z axis most
    faces_x: Floats  # [H, W] above 0 where it faces the x axis more than y
    reach: float  # the depth of what is farthest
    cosines: Floats  # [h, w] between normal and view

    @staticmethod
    def of(frame: Frame, height: int, width: int) -> Surface | None:
        """That of a frame, as if it were of this size; None if the frame has no depth."""
        if (depth := frame.images.get("depth")) is None:
            return None
        camera = frame.camera.resized(width, height)
        if depth.shape != (height, width):
            depth = resized(depth, height, width, cv2.INTER_NEAREST)
        coarse = camera.resized(-(-width // STEP), -(-height // STEP))
        inverse = resized(depth, coarse.height, coarse.width, cv2.INTER_NEAREST)
        inverse = np.asarray(cv2.medianBlur(np.divide(1, inverse, out=np.zeros_like(inverse), where=inverse > 0), 5), np.float32)
        normal, cosines = _directions(inverse, coarse)
        x, y, z = normal[..., 0], normal[..., 1], normal[..., 2]
        smooth, faces_z, faces_x = (resized(one, height, width) for one in (inverse, z - np.maximum(x, y), x - y))
        return Surface(camera, _rays(camera), depth, smooth, faces_z, faces_x, float(depth.max()), cosines)

    def chart(self, period: float, rows: slice = slice(None)) -> Chart:
        """Of some rows, for a pattern whose period is seen about `period` pixels long."""
        across, down = self.rays
        turn, eye = self.camera.camera_from_world[:3, :3].astype(np.float32), self.camera.position
        angle = float(period / self.camera.K[0, 0])
        farthest = max(self.reach, 1e-6) * float(np.sqrt(np.square(across).max() + np.square(down).max() + 1))
        down = down[rows]
        size = np.sqrt(across * across + (down * down + 1))
        z, faces_z, faces_x = self._z(rows, FAR / size), self.faces_z[rows], self.faces_x[rows]
        size *= z
        size *= angle  # of a period there, in scene units: 2^e (1 + blend)
        bits = size.view(np.int32)
        blend = (bits & 0x7FFFFF).astype(np.float32) * np.float32(2.0**-23)
        frequency = (np.int32(253 << 23) - (bits & 0x7F800000)).view(np.float32)  # 2^-(e + 1)
        # The eye is moved by whole periods: no pattern changes, and numbers stay small, and so exact, however far the origin is.
        whole = WHOLE * 2.0 ** (np.ceil(np.log2(farthest * angle)) + 1)
        eye = eye - whole * np.rint(eye / whole)
        x, y, w = ((across * turn[0, axis] + (down * turn[1, axis] + turn[2, axis])) * z + np.float32(eye[axis]) for axis in range(3))
        from_above = faces_z > 0
        np.copyto(w, y, where=from_above)
        np.copyto(x, y, where=(faces_x > 0) & ~from_above)
        x *= frequency
        w *= frequency
        return Chart(x, w, blend, period)

    @property
    def facing(self) -> Floats:
        """[H, W] the cosine between normal and view."""
        return resized(self.cosines, self.camera.height, self.camera.width)

    def _z(self, rows: slice, nothing: np.ndarray) -> Floats:
        """[h, W] the smoother depth, but where what is seen lies apart from it; `nothing` where nothing is."""
        seen, inverse = self.depth[rows], self.inverse[rows]
        z = seen.copy()
        cv2.copyTo(cv2.divide(1.0, inverse), cv2.inRange(seen * inverse, 1 / (1 + SAME_SURFACE), 1 / (1 - SAME_SURFACE)), z)
        np.copyto(z, nothing, where=seen <= 0)
        return z


def _rays(camera: Camera) -> tuple[Floats, Floats]:
    """As in Surface."""
    (fx, fy), (cx, cy) = camera.K[[0, 1], [0, 1]], camera.K[:2, 2]
    across, down = (np.arange(camera.width) + 0.5 - cx) / fx, (np.arange(camera.height) + 0.5 - cy) / fy
    return across.astype(np.float32), down[:, None].astype(np.float32)


def _directions(inverse: Floats, camera: Camera) -> tuple[Floats, Floats]:
    """The absolute normals [H, W, 3] in the world and their cosines [H, W] to the view, of a picture's 1 / depth.

    On a plane 1 / depth is linear in the pixel: a, b, c of the camera's rays give the normal (a, b, c).
    """
    across, down = _rays(camera)
    inverse = blurred(inverse, 1.5)
    a = cv2.Scharr(inverse, cv2.CV_32F, 1, 0, scale=camera.K[0, 0] / 32)
    b = cv2.Scharr(inverse, cv2.CV_32F, 0, 1, scale=camera.K[1, 1] / 32)
    c = inverse - across * a - down * b
    for part, ray in ((a, across), (b, down), (c, 1)):
        np.copyto(part, ray, where=inverse <= 0)  # where nothing is, it faces us
    length = np.sqrt(a * a + b * b + c * c)
    facing = np.abs(a * across + b * down + c) / (length * np.sqrt(across * across + (down * down + 1)))
    normal = cv2.merge([a / length, b / length, c / length])
    normal[facing < EDGE_ON] = (0, 0, 1)  # most often a step between two surfaces
    normal = cv2.transform(normal, camera.camera_from_world[:3, :3].T)
    return np.abs(np.asarray(normal, np.float32)), np.asarray(facing, np.float32)
