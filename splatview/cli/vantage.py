"""Where to stand to photograph a scene: around it, looking in, and within it, looking about, wherever there is room for a camera."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Literal

import numpy as np

from splatview.arrays import Doubles
from splatview.camera import Camera
from splatview.frame import Frame
from splatview.framing import Framing

Stand = Literal["around", "within", "both"]

WITHIN: dict[Stand, float] = {"around": 0.0, "within": 1.0, "both": 1 / 3}  # of the views
FRONTAL = 0.5  # twice as many stand in front as would if they stood evenly, and a third fewer at the back
HIGHEST = np.radians(60.0)  # above the horizon, of those around
NEAREST, FARTHEST = 0.5, 1.15  # of the distance from which the scene is seen whole
REACH = 0.8  # of the radius, of those within
LOWEST, TALLEST = 0.1, 0.6  # of the height of the scene
ASIDE = 0.4  # of the way from the middle to something else, of where those around look
STEEPEST = 0.95  # sine of the angle to the horizon
CLOSE = 0.2  # of the radius: nearer things fill the picture, and training (fit) learns nothing of them
FEW, MOST = 0.02, 0.01  # of the picture: what must be seen at least, and what may be that close
TRIES = 20  # for each view
SMALL = 80  # pixels of the larger side of a picture that only tells whether there is room


def views(
    framing: Framing, size: tuple[int, int], fov_y: float, draw: Callable[[Camera], Frame], stand: Stand = "both"
) -> Iterator[Camera]:
    """Views of a scene without end, the same ones every time, evenly spread; ends where there is no room for more of them.

    `draw` gives alpha and depth, for small pictures; `fov_y` in radians.
    """
    width, height = size
    scale = SMALL / max(size)
    small = max(1, round(scale * width)), max(1, round(scale * height))
    refused = 0
    for number in count():
        if refused > TRIES:
            return
        camera = _candidate(framing, number, size, fov_y, WITHIN[stand])
        good = camera is not None and _has_room(draw(camera.resized(*small)), CLOSE * framing.radius)
        refused = 0 if good else refused + 1
        if camera is not None and good:
            yield camera


def _candidate(framing: Framing, number: int, size: tuple[int, int], fov_y: float, within: float) -> Camera | None:
    """None if it would look straight up or down."""
    turn, rise, far, aim, kind = _spread(number, 5)
    middle, up, around = np.asarray(framing.centre), framing.up, _horizontal(framing, 2 * np.pi * turn - FRONTAL * np.sin(2 * np.pi * turn))
    points = framing.points if len(framing.points) else middle[None]
    towards = points[int(aim * len(points))] - middle
    if kind < within:
        low, high = np.quantile((points - middle) @ up, [0.02, 0.98])
        eye = REACH * framing.radius * rise**0.5 * around + (low + (LOWEST + (TALLEST - LOWEST) * far) * (high - low)) * up
    else:
        whole = np.linalg.norm(framing.camera(*size, fov_y).position - middle)
        elevation = HIGHEST * rise**1.5  # most of them as people stand
        eye = whole * (NEAREST + (FARTHEST - NEAREST) * far) * (np.cos(elevation) * around + np.sin(elevation) * up)
        towards = ASIDE * towards
    way = towards - eye
    if not abs(way @ up) < STEEPEST * np.linalg.norm(way):
        return None
    return Camera.look_at(middle + eye, middle + towards, up, fov_y, *size)


def _spread(number: int, dimensions: int) -> Doubles:
    """The place [dimensions] in the unit cube of one of a sequence that fills it evenly (Roberts 2018, R_d)."""
    ratio = 2.0
    for _ in range(40):
        ratio = (1 + ratio) ** (1 / (dimensions + 1))
    return (0.5 + (number + 1) * ratio ** -np.arange(1.0, dimensions + 1)) % 1


def _horizontal(framing: Framing, turn: float) -> Doubles:
    return np.cos(turn) * framing.front + np.sin(turn) * np.cross(framing.up, framing.front)


def _has_room(frame: Frame, close: float) -> bool:
    """Whether something is seen, and not in front of one's nose."""
    solid = frame.alpha > 0.5
    return bool(solid.mean() >= FEW and (solid & (frame.depth < close)).mean() <= MOST)
