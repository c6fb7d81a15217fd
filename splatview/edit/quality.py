"""How much an edit changes the pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from splatview.camera import Camera
from splatview.edit.progress import Progress, silent
from splatview.framing import FOV_Y, Framing
from splatview.gaussians import Gaussians
from splatview.geometry import rotation_about

Render = Callable[[Gaussians, Camera], NDArray]  # a picture [H, W, 3] in 0..1


def orbit(framing: Framing, count: int = 12, width: int = 480, height: int = 320, fov_y: float = FOV_Y) -> list[Camera]:
    """`count` cameras around the framed part of a scene, one turn in even steps, each of which shows it whole; `fov_y` in radians."""
    if count < 1:
        raise ValueError(f"orbit: expected 1 camera or more, got {count}")
    start, centre = framing.camera(width, height, fov_y), np.asarray(framing.centre)
    cameras = []
    for step in range(count):
        turn = np.eye(4)
        turn[:3, :3] = rotation_about(framing.up, 2 * np.pi * step / count)
        turn[:3, 3] = centre - turn[:3, :3] @ centre
        cameras.append(Camera(start.K, start.camera_from_world @ np.linalg.inv(turn), width, height))
    return cameras


def psnr(one: NDArray, other: NDArray) -> float:
    """The peak signal-to-noise ratio in dB of two pictures [H, W, 3], clamped to 0..1; infinite if they are the same."""
    error = np.mean(np.square(np.clip(one, 0, 1).astype(np.float64) - np.clip(other, 0, 1)))
    return float(-10 * np.log10(error)) if error > 0 else np.inf


def psnr_over(
    before: Gaussians,
    after: Gaussians,
    cameras: Iterable[Camera],
    render: Render,
    progress: Progress = silent,
) -> list[float]:
    """The `psnr` in dB of what `before` and `after` look like from each of `cameras`."""
    views = list(cameras)
    found = []
    for index, camera in enumerate(views):
        progress(index / len(views), f"comparing view {index + 1} of {len(views)}")
        found.append(psnr(render(before, camera), render(after, camera)))
    return found
