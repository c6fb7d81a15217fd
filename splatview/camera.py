"""The Camera value: a pinhole camera with a free principal point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from splatview.arrays import Bools, Doubles, frozen
from splatview.geometry import normalised


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera, OpenCV axes (x right, y down, z forward); the centre of the first pixel is at (0.5, 0.5). Compared by content.

    >>> import numpy as np
    >>> from splatview import Camera
    >>> camera = Camera.look_at(eye=(0, -3, 1), target=(0, 0, 0), up=(0, 0, 1), fov_y=0.8, width=640, height=360)
    >>> np.allclose(camera.position, [0, -3, 1])
    True
    """

    K: Doubles  # [3, 3] pixels
    camera_from_world: Doubles  # [4, 4] rigid
    width: int
    height: int

    def __post_init__(self) -> None:
        # Copied: a camera is compared by content, so its arrays must be nobody else's.
        K = frozen("Camera.K", np.array(self.K, np.float64), np.float64, 3, 3)
        pose = frozen("Camera.camera_from_world", np.array(self.camera_from_world, np.float64), np.float64, 4, 4)
        if not (np.isfinite(K).all() and K[0, 0] > 0 and K[1, 1] > 0 and K[0, 1] == K[1, 0] == 0 and (K[2] == [0, 0, 1]).all()):
            raise ValueError(f"Camera.K: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0, got {K.tolist()}")
        rotation = pose[:3, :3]
        rigid = np.isfinite(pose).all() and np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4) and np.linalg.det(rotation) > 0
        if not (rigid and np.allclose(pose[3], [0, 0, 0, 1])):
            raise ValueError("Camera.camera_from_world: expected a rotation and a translation, got a matrix that is not rigid")
        if not (1 <= self.width <= 32768 and 1 <= self.height <= 32768):
            raise ValueError(f"Camera: expected a size of 1 to 32768 pixels a side, got {self.width} x {self.height}")
        object.__setattr__(self, "K", K)
        object.__setattr__(self, "camera_from_world", pose)
        object.__setattr__(self, "width", int(self.width))
        object.__setattr__(self, "height", int(self.height))

    @staticmethod
    def look_at(eye: ArrayLike, target: ArrayLike, up: ArrayLike, fov_y: float, width: int, height: int) -> Camera:
        """A camera at `eye` that looks at `target`, `up` towards the top of the picture; `fov_y`: vertical field of view in radians."""
        if not 0 < fov_y < np.pi:
            raise ValueError(f"Camera.look_at: expected fov_y between 0 and pi radians, got {fov_y}")
        position = np.asarray(eye, np.float64)
        forward = normalised(np.asarray(target, np.float64) - position)
        sideways = np.cross(forward, normalised(np.asarray(up, np.float64)))
        if not np.linalg.norm(sideways) > 1e-9:
            raise ValueError("Camera.look_at: expected eye and target apart, and up not along the view; got a view without a direction")
        right = normalised(sideways)
        rotation = np.stack([right, np.cross(forward, right), forward])
        return Camera.from_pose(rotation, -rotation @ position, fov_y, width, height)

    @staticmethod
    def from_pose(rotation: ArrayLike, translation: ArrayLike, fov_y: float, width: int, height: int) -> Camera:
        """A camera with a central principal point; `rotation` [3, 3], `translation` [3]: camera from world."""
        focal = 0.5 * height / np.tan(0.5 * fov_y)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, translation
        return Camera(np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]), pose, width, height)

    @property
    def world_from_camera(self) -> Doubles:
        """The inverse pose [4, 4]."""
        pose = np.eye(4)
        pose[:3, :3] = self.camera_from_world[:3, :3].T
        pose[:3, 3] = self.position
        return pose

    @property
    def position(self) -> Doubles:
        """The eye [3] in the world."""
        return -self.camera_from_world[:3, :3].T @ self.camera_from_world[:3, 3]

    @property
    def forward(self) -> Doubles:
        """The view direction [3] in the world."""
        return self.camera_from_world[2, :3]

    @property
    def fov_y(self) -> float:
        """The vertical field of view in radians, top edge to bottom edge."""
        cy, fy = self.K[1, 2], self.K[1, 1]
        return float(np.arctan(cy / fy) + np.arctan((self.height - cy) / fy))

    def resized(self, width: int, height: int) -> Camera:
        """The same view drawn at another size; the picture is stretched if the aspect differs."""
        scale = np.diag([width / self.width, height / self.height, 1.0])
        return Camera(scale @ self.K, self.camera_from_world, width, height)

    def thinned(self, step: int, left: int = 0, top: int = 0) -> Camera:
        """The camera whose pixels are every `step`-th of this one's in both directions, from pixel (`left`, `top`) on."""
        K = self.K.copy()
        K[:2, 2] -= np.array([left, top]) + 0.5
        K[:2] /= step
        K[:2, 2] += 0.5
        return Camera(K, self.camera_from_world, -((left - self.width) // step), -((top - self.height) // step))

    def region(self, mask: ArrayLike) -> Bools:
        """`mask` [H, W] as one of this camera's pixels; ValueError if its picture has another size."""
        return frozen("a region of a picture", np.array(mask, np.bool_), np.bool_, self.height, self.width)

    def unproject(self, pixels: ArrayLike, depths: ArrayLike) -> Doubles:
        """World points [..., 3] of `pixels` [..., 2] (x, y; centres at +0.5) at `depths` [...] along the view axis."""
        uv, z = np.asarray(pixels, np.float64), np.asarray(depths, np.float64)[..., None]
        ones = np.ones((*uv.shape[:-1], 1))
        local = np.concatenate([uv, ones], -1) @ np.linalg.inv(self.K).T * z
        return local @ self.camera_from_world[:3, :3] + self.position

    def _content(self) -> tuple[bytes, bytes, int, int]:
        return self.K.tobytes(), self.camera_from_world.tobytes(), self.width, self.height

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Camera) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())
