"""Frames of flat things with smooth textures, drawn ray by ray in float64: what every pixel shows, and how far it is, is exact."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from splatview.camera import Camera
from splatview.frame import Frame


@dataclass(frozen=True)
class Card:
    """A rectangle that faces along z, `half` its sizes, its texture moved by `phase`."""

    centre: tuple[float, float, float]
    half: tuple[float, float] = (np.inf, np.inf)
    phase: float = 0.0
    tilt: float = 0.0  # how much deeper it is for each unit to the right

    def hit(self, eye, directions):
        """How far along `directions` [..., 3] from `eye` it is met, infinite where it is not; and the points."""
        normal = np.array([-self.tilt, 0, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            along = (np.subtract(self.centre, eye) @ normal) / (directions @ normal)
            points = eye + along[..., None] * directions
        inside = (np.abs(points[..., :2] - self.centre[:2]) <= self.half).all(-1) & (along > 1e-9)
        return np.where(inside, along, np.inf), points


def texture(points, phase=0.0):
    """[..., 3] smooth colours, 0..1, of points or directions [..., 3]."""
    x, y, z = (7 * points[..., axis] + phase for axis in range(3))
    return 0.5 + 0.4 * np.stack([np.sin(x) * np.cos(y), np.sin(x + 1.3 * y + z), np.cos(y - 0.7 * x)], -1)


def rays(camera):
    """The eye, and a direction [H, W, 3] for each pixel with a depth of 1."""
    pixels = np.stack(np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5), -1)
    return camera.position, camera.unproject(pixels, np.ones(pixels.shape[:2])) - camera.position


def drawn(camera: Camera, cards: Sequence[Card], sky: bool = True) -> Frame:
    """What `camera` sees of `cards`, a sky of another texture behind them."""
    eye, directions = rays(camera)
    nearest = np.full(directions.shape[:2], np.inf)
    rgb = texture(directions / np.linalg.norm(directions, axis=-1, keepdims=True), 2.0) if sky else np.zeros(directions.shape)
    for card in cards:
        along, points = card.hit(eye, directions)
        front = along < nearest
        rgb[front], nearest[front] = texture(points[front], card.phase), along[front]
    there = np.isfinite(nearest)
    images = {"rgb8": (rgb * 255 + 0.5).astype(np.uint8), "alpha": there, "depth": np.where(there, nearest, 0)}
    return Frame(camera, {name: image if name == "rgb8" else image.astype(np.float32) for name, image in images.items()})


def looking(eye, target=(0, 0, 2), width=96, height=64, fov=0.9, offset=(0.0, 0.0)):
    """A camera with its principal point off the middle by `offset` pixels."""
    camera = Camera.look_at(eye, target, (0, -1, 0), fov, width, height)
    K = camera.K.copy()
    K[:2, 2] += offset
    return Camera(K, camera.camera_from_world, width, height)
