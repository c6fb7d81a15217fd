"""Small frames for tests of stylizers."""

import numpy as np

from splatview.camera import Camera
from splatview.frame import Frame


def camera(width=64, height=36, eye=(0, -4, 1), target=(0, 0, 0), fov_y=0.9):
    return Camera.look_at(eye, target, (0, 0, 1), fov_y, width, height)


def frame(rgb8, depth=None, alpha=None, view=None):
    rgb8 = np.asarray(rgb8, np.uint8)
    images = {"rgb8": rgb8}
    if depth is not None:
        images["depth"] = np.broadcast_to(np.float32(depth), rgb8.shape[:2]).copy()
    if alpha is not None:
        images["alpha"] = np.broadcast_to(np.float32(alpha), rgb8.shape[:2]).copy()
    for image in images.values():
        image.flags.writeable = False
    return Frame(view or camera(rgb8.shape[1], rgb8.shape[0]), images)


def clouds(height, width, seed=0):
    """A picture with smooth forms and sharp edges."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(rng.uniform(3, 25) * (x * np.cos(a) + y * np.sin(a)) + rng.uniform(0, 6)) for a in rng.uniform(0, 3, 9)]
    picture = 128 + 40 * np.stack([sum(waves[:3]), sum(waves[3:6]), sum(waves[6:])], -1)
    picture[(x - 0.5) ** 2 + (y - 0.2) ** 2 < 0.02] = (220, 60, 30)
    return np.clip(picture, 0, 255).astype(np.uint8)


def plane_depth(view, normal, offset):
    """[H, W] depth of the plane normal . p = offset in the world, 0 where it is behind or not there."""
    x, y = (np.arange(view.width) + 0.5 - view.K[0, 2]) / view.K[0, 0], (np.arange(view.height) + 0.5 - view.K[1, 2]) / view.K[1, 1]
    rays = np.stack([*np.meshgrid(x, y), np.ones((view.height, view.width))], -1) @ view.camera_from_world[:3, :3]
    with np.errstate(divide="ignore"):
        depth = (offset - view.position @ normal) / (rays @ np.asarray(normal, float))
    return np.where((depth > 0) & np.isfinite(depth), depth, 0).astype(np.float32)
