"""The page's own space: the world turned so that up is +z and scaled so that viser's fixed speed and depth range suit the scene.

viser moves at 2 units per second and stores depths up to 167 units, whatever the scene; so the scene comes to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from splatview.arrays import Bytes, Doubles, Floats
from splatview.camera import Camera
from splatview.framing import Framing
from splatview.geometry import Similarity, matrix_from_quat, quat_from_matrix

RADIUS = 3.0  # page units of a scene's radius: crossed in three seconds, and seen from 50 radii away
NEAR = 0.02  # page units
DEPTH_STEP = 1e-5  # page units: viser's fixed point
DEPTH_END = 2**24 - 1  # in steps: as far as it goes


@dataclass(frozen=True)
class Pose:
    """A viser camera: position, orientation (world from camera, wxyz) and what it turns about, all in page units."""

    position: tuple[float, float, float]
    wxyz: tuple[float, float, float, float]
    look_at: tuple[float, float, float]
    fov_y: float  # radians


def page_from_world(framing: Framing) -> Similarity:
    """The similarity that puts the scene's middle at the origin of the page, upright, seen from -y."""
    up, front = framing.up, framing.front
    rotation = np.stack([np.cross(up, front), -front, up])
    scale = RADIUS / framing.radius
    translation = -scale * rotation @ np.asarray(framing.centre)
    return Similarity(tuple(quat_from_matrix(rotation).tolist()), tuple(translation.tolist()), scale)


def world_camera(pose: Pose, page: Similarity, width: int, height: int) -> Camera:
    """The camera of a page's `pose` in the world, drawn at `width` x `height`; ValueError if the pose is not finite."""
    if not np.isfinite([*pose.position, *pose.wxyz, *pose.look_at, pose.fov_y]).all() or not 0 < pose.fov_y < np.pi:
        raise ValueError(f"camera: expected finite numbers and a field of view between 0 and pi, got {pose}")
    rotation = matrix_from_quat(np.asarray(pose.wxyz)).T @ page.rotation
    position = page.inverse().apply(pose.position)
    return Camera.from_pose(rotation, -rotation @ position, pose.fov_y, width, height)


def page_pose(camera: Camera, page: Similarity, look_at: ArrayLike) -> Pose:
    """`camera` as the page's pose, turning about the world point `look_at` [3]."""
    rotation = page.rotation @ camera.camera_from_world[:3, :3].T
    position, target = page.apply(camera.position), page.apply(look_at)
    return Pose(tuple(position.tolist()), tuple(quat_from_matrix(rotation).tolist()), tuple(target.tolist()), camera.fov_y)


def nearest(image: NDArray, width: int, height: int) -> NDArray:
    """`image` [H, W, ...] at `width` x `height`, taken at the nearest pixels; never larger than it is."""
    rows, columns = image.shape[:2]
    width, height = min(width, columns), min(height, rows)
    y = ((np.arange(height) + 0.5) * rows / height).astype(np.intp)
    x = ((np.arange(width) + 0.5) * columns / width).astype(np.intp)
    return image[y[:, None], x]


def packed_depth(depth: Floats, scale: float) -> Bytes:
    """`depth` [H, W] (world units, 0: nothing) as viser's colours [H, W, 3]: 24 bits of `scale` times depth, high byte first."""
    steps = np.where(depth > 0, np.minimum(depth * (scale / DEPTH_STEP), DEPTH_END), DEPTH_END).astype(np.uint32)
    return np.stack([steps >> 16, steps >> 8 & 255, steps & 255], -1).astype(np.uint8)


def point_under(x: float, y: float, depth: Floats, camera: Camera) -> Doubles | None:
    """The world point [3] at the fractions `x`, `y` of the picture (0..1, from the top left), by the nearest depth within a few pixels."""
    rows, columns = depth.shape
    column, row = min(int(x * columns), columns - 1), min(int(y * rows), rows - 1)
    reach = max(2, columns // 100)
    top, left = max(0, row - reach), max(0, column - reach)
    near = depth[top : row + reach + 1, left : column + reach + 1]
    there = np.argwhere(near > 0)
    if not len(there):
        return None
    best = there[np.argmin(np.abs(there + np.array([top - row, left - column])).sum(1))]
    return camera.unproject([x * camera.width, y * camera.height], near[tuple(best)])
