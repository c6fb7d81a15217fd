"""The average of a stylizer's pictures over frames, along the surfaces of the scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from splatview.arrays import Bytes, Floats
from splatview.camera import Camera
from splatview.frame import Frame
from splatview.native import warper
from splatview.stylize.controls import check, slider
from splatview.stylize.warp import between, nearness

ANOTHER = 1.2  # ratio of sizes from which on pictures differ in detail


@dataclass(frozen=True)
class Accumulation:
    """How a pixel is averaged over frames: the n-th since it came into sight counts 1/n, and at least `floor`."""

    floor: float = slider(0.1, 0.02, 1, 0.01, "least share of the new picture")
    tolerance: float = slider(0.05, 0.005, 0.5, 0.005, "relative difference of depth that is another surface")
    change: float = slider(20, 4, 255, 1, "difference of what is rendered, 0..255, that forgets")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, eq=False)
class History:
    """The average so far."""

    camera: Camera
    marks: Floats  # [H, W, 4] red, green, blue 0..255 as rendered, averaged as the style is; and the last frame's nearness
    average: Floats  # [H, W, 4] 0..255 the style, not rounded: an average in steps of 1 stops short of its end; and frames in it, from 1 on
    rounded: Bytes  # [H, W, 3] the style

    @property
    def picture(self) -> Floats:
        return self.average[..., :3]

    @property
    def count(self) -> Floats:
        return self.average[..., 3]

    def shown(self) -> Bytes:
        """[H, W, 3] rounded."""
        return self.rounded

    def smaller(self, scale: float) -> History:
        camera = self.camera.resized(max(1, round(scale * self.camera.width)), max(1, round(scale * self.camera.height)))
        size = camera.width, camera.height
        marks, average, rounded = (
            cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (self.marks, self.average, self.rounded)
        )
        return History(camera, np.asarray(marks, np.float32), np.asarray(average, np.float32), np.asarray(rounded, np.uint8))


def renewed(history: History | None, frame: Frame, picture: Bytes, rule: Accumulation, spare: History | None = None) -> History:
    """`picture` [H, W, 3], the style of `frame`, averaged with what `history` has of it. `spare`: one whose memory may be used."""
    rendered = frame.rgb8
    marks, average = _room(frame.camera, spare)
    if history is None:
        marks[..., :3], marks[..., 3], average[..., :3], average[..., 3] = rendered, nearness(frame), picture, 1
        return History(frame.camera, marks, average, picture.copy())
    finer = float(frame.camera.K[1, 1] / history.camera.K[1, 1])
    if finer * ANOTHER < 1:
        history = history.smaller(finer)
    # What the history is too small to have is the new picture's own; and of its frames, as much counts as of this one's.
    details = (_detail(rendered, finer), _detail(picture, finer)) if finer > ANOTHER else (None, None)
    rounded = warper().average(
        between(frame.camera, history.camera), frame.images.get("depth"), frame.images.get("alpha"), rendered, picture, *details,
        history.marks, history.average, rule.tolerance, rule.change, 1 / rule.floor, min(1, finer**-2), marks, average,
    )  # fmt: skip
    return History(frame.camera, marks, average, rounded)


def _room(camera: Camera, spare: History | None) -> tuple[Floats, Floats]:
    """For marks and an average of `camera`'s picture; in the memory of `spare` if that fits."""
    shape = camera.height, camera.width, 4
    if spare is not None and spare.marks.shape == shape:
        return spare.marks, spare.average
    return np.empty(shape, np.float32), np.empty(shape, np.float32)


def _detail(image: Bytes, times: float) -> Floats:
    """What `image` has that one `times` smaller cannot have."""
    height, width = image.shape[:2]
    small = max(1, round(width / times)), max(1, round(height / times))
    coarse = cv2.resize(image, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(image - cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
