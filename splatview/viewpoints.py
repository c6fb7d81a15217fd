"""The Viewpoints value: where the photographs were taken from that content was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from splatview.arrays import Doubles, frozen

MOST = 10_000  # photographs
SOME = 500  # of them, that the others are compared with
TOWARDS, AGREED = np.tan(np.radians(30)), 0.75  # how near the middle of its picture most photographs have what they are of


@dataclass(frozen=True, eq=False)
class Viewpoints:
    """Photographs in the frame of the content that was made of them, so that a layer's placement moves them with it."""

    poses: Doubles  # [N, 4, 4] content from camera, rigid, OpenCV axes
    lenses: Doubles  # [N, 6] width, height, fx, fy, cx, cy, in pixels; without what the glass bends

    def __post_init__(self) -> None:
        poses = frozen("Viewpoints.poses", self.poses, np.float64, None, 4, 4)
        lenses = frozen("Viewpoints.lenses", self.lenses, np.float64, len(poses), 6)
        if not 1 <= len(poses) <= MOST:
            raise ValueError(f"Viewpoints: expected 1 to {MOST:,} photographs, got {len(poses):,}")
        if not (np.isfinite(poses).all() and np.isfinite(lenses).all() and (lenses[:, :4] > 0).all()):
            raise ValueError("Viewpoints: expected finite poses and lenses, and sizes and focal lengths > 0")
        rotations = poses[:, :3, :3]
        rigid = np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3), atol=1e-4) and (np.linalg.det(rotations) > 0).all()
        if not (rigid and np.allclose(poses[:, 3], [0, 0, 0, 1])):
            raise ValueError("Viewpoints.poses: expected rotations and translations, got a matrix that is not rigid")
        object.__setattr__(self, "poses", poses)
        object.__setattr__(self, "lenses", lenses)

    def __len__(self) -> int:
        return len(self.poses)

    @property
    def places(self) -> Doubles:
        """[N, 3]."""
        return self.poses[:, :3, 3]

    @property
    def axes(self) -> Doubles:
        """[N, 3] where each looks."""
        return self.poses[:, :3, 2]

    @cached_property
    def subject(self) -> Doubles | None:
        """The point [3] that they look at; None if most do not look at one, as those of a room, or of a wall, do not."""
        point = meeting_point(self.places, self.axes)
        away = point - self.places
        depth = (away * self.axes).sum(1)
        aside = np.linalg.norm(away - depth[:, None] * self.axes, axis=1)
        return point if np.mean((depth > 0) & (aside <= TOWARDS * depth)) >= AGREED else None

    @cached_property
    def opening(self) -> int:
        """The photograph to begin with: of the quarter that stands the most in the midst of all, the one that looks the straightest."""
        others = self.places[:: -(-len(self) // SOME)]
        apart = sum(np.linalg.norm(self.places - other, axis=1) for other in others)
        central = np.argsort(apart, kind="stable")[: -(-len(self) // 4)]
        towards = self.axes.mean(0) if self.subject is None else self.subject - self.places[central]
        straight = (self.axes[central] * towards).sum(1) / np.maximum(np.linalg.norm(np.atleast_2d(towards), axis=1), 1e-300)
        return int(central[np.argmax(straight.round(3))])  # of those that look about as straight, the most central


def meeting_point(origins: Doubles, directions: Doubles) -> Doubles:
    """The point [3] with the least squared distance from lines [N, 3] along unit `directions` [N, 3]; the nearest to the middle of
    `origins`, where they are parallel."""
    middle = origins.mean(0)
    across = np.eye(3) - directions[:, :, None] * directions[:, None, :]  # sum (I - d d^T) (x - o) = 0
    return middle + np.linalg.lstsq(across.sum(0), np.einsum("nij,nj->i", across, origins - middle), rcond=1e-3)[0]
