"""The fly-through that stylizers are measured on, and what truly moves in it.

Nothing here is the stylizers' own: what was hidden is told from rendered depth, in float64, for each pixel by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from splatview.arrays import Bools, Bytes, Doubles
from splatview.camera import Camera
from splatview.cli.sizes import Size
from splatview.frame import Frame, RenderOptions

FRAMES, SIZE = 24, Size(640, 360)
DRAWN = RenderOptions(outputs=("rgb8", "alpha", "depth"))
SAME, HIDDEN = 0.02, 0.05  # relative differences of depth: up to the one it is the same surface, from the other on another
SOLID = 0.5  # alpha


def fly_through(frames: int, size: Size) -> Iterator[Camera]:
    """Across the bundled stage, past the cinema camera and behind the monitors and the chair: things hide others, and let them be seen."""
    for t in np.linspace(0, 1, frames):
        eye = (3.4 - 5.2 * t, -6.4 + 0.9 * np.sin(np.pi * t), 1.5 - 0.5 * t + 0.2 * np.sin(2 * np.pi * t))
        yield Camera.look_at(eye, (0.4 - 0.5 * t, 0.3, 1.05), (0, 0, 1), np.radians(46), size.width, size.height)


@dataclass(frozen=True, eq=False)
class Motion:
    """Where the pixels [H, W] of a frame were in the one before."""

    x: Doubles  # as indices of its pixels
    y: Doubles
    visible: Bools  # seen in both
    hidden: Bools  # something was in front of it

    @property
    def pixels(self) -> float:
        """How far what is seen in both moved, on average."""
        rows, columns = np.indices(self.x.shape)
        return float(np.hypot(self.x - columns, self.y - rows)[self.visible].mean())

    def of(self, image: np.ndarray) -> Doubles:
        """[H, W, ...] of the picture before, as this frame sees it, linear between pixels; of use where it is `visible`."""
        left, top = self._corner(image.shape)
        right, down = (self.x - left)[..., None], (self.y - top)[..., None]
        above, below = (image[top + row, left] * (1 - right) + image[top + row, left + 1] * right for row in (0, 1))
        return above * (1 - down) + below * down

    def _corner(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        left, top = (np.clip(np.floor(at), 0, size - 2).astype(np.intp) for at, size in ((self.x, shape[1]), (self.y, shape[0])))
        return left, top

    @staticmethod
    def between(now: Frame, before: Frame) -> Motion:
        """By the depth of both."""
        camera, old = now.camera, before.camera
        pixels = np.stack(np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5), -1)
        points = camera.unproject(pixels, now.depth)
        local = points @ old.camera_from_world[:3, :3].T + old.camera_from_world[:3, 3]
        depth = local[..., 2]
        ahead = depth > 0
        x, y = (local[..., axis] / np.where(ahead, depth, 1) * old.K[axis, axis] + old.K[axis, 2] - 0.5 for axis in (0, 1))
        inside = ahead & (x >= 0) & (x <= old.width - 1) & (y >= 0) & (y <= old.height - 1) & _solid(now)
        found = np.where(_solid(before), before.depth, np.inf).astype(np.float64)
        motion = Motion(x, y, inside, inside)
        left, top = motion._corner(found.shape)
        around = np.stack([found[top + row, left + column] for row in (0, 1) for column in (0, 1)])
        visible = inside & (np.abs(around - depth) < SAME * depth).all(0)
        return Motion(x, y, visible, inside & (around < (1 - HIDDEN) * depth).all(0))


def consensus(frames: Sequence[Frame], pictures: Sequence[Bytes], tell: Callable[[float], None]) -> list[Doubles]:
    """[H, W, 3] for each frame: at each pixel the mean of all `pictures` that see its surface, of frames before and after.

    Of all pictures that do not flicker it is the nearest to these, as a mean is what has the least squared distance.
    """
    means = []
    for number, (now, picture) in enumerate(zip(frames, pictures, strict=True)):
        tell(number / len(frames))
        total, count = picture.astype(np.float64), np.ones(picture.shape[:2])
        for other, seen in zip(frames, pictures, strict=True):
            if other is not now:
                motion = Motion.between(now, other)
                total[motion.visible] += motion.of(seen)[motion.visible]
                count += motion.visible
        means.append(total / count[..., None])
    return means


def _solid(frame: Frame) -> Bools:
    return (frame.alpha >= SOLID) & (frame.depth > 0)
