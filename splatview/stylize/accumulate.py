"""The average of a stylizer's pictures over frames, along the surfaces of the scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from splatview.arrays import Bytes, Floats
from splatview.camera import Camera
from splatview.frame import Frame
from splatview.stylize.controls import check, slider
from splatview.stylize.warp import between, nearness, places

ANOTHER = 1.2  # ratio of sizes from which on pictures differ in detail
AT_ONCE = 1 << 15  # pixels: what is worked on stays in the cache


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
    picture: Floats  # [H, W, 3] 0..255 the style, not rounded: an average in steps of 1 stops short of its end
    count: Floats  # [H, W] frames in it, from 1 on

    @staticmethod
    def room(camera: Camera, spare: History | None) -> History:
        """Of the size of `camera`'s picture, to be written; in the memory of `spare` if that fits."""
        shape = camera.height, camera.width
        if spare is not None and spare.count.shape == shape:
            return History(camera, spare.marks, spare.picture, spare.count)
        return History(camera, *(np.empty((*shape, *rest), np.float32) for rest in ((4,), (3,), ())))

    def shown(self) -> Bytes:
        """[H, W, 3] rounded."""
        return (self.picture + np.float32(0.5)).astype(np.uint8)

    def smaller(self, scale: float) -> History:
        camera = self.camera.resized(max(1, round(scale * self.camera.width)), max(1, round(scale * self.camera.height)))
        size = camera.width, camera.height
        images = (
            np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)
            for image in (self.marks, self.picture, self.count)
        )
        return History(camera, *images)


def renewed(history: History | None, frame: Frame, picture: Bytes, rule: Accumulation, spare: History | None = None) -> History:
    """`picture` [H, W, 3], the style of `frame`, averaged with what `history` has of it. `spare`: one whose memory may be used."""
    after = History.room(frame.camera, spare)
    if history is None:
        after.marks[:], after.picture[:], after.count[:] = _marks(frame.rgb8, nearness(frame)), picture, 1
        return after
    step = _Step(history, frame, picture, rule)
    height = max(1, AT_ONCE // frame.camera.width)
    for top in range(0, frame.camera.height, height):
        step.write(after, slice(top, top + height))
    return after


class _Step:
    """From one history to the next."""

    def __init__(self, history: History, frame: Frame, picture: Bytes, rule: Accumulation) -> None:
        finer = float(frame.camera.K[1, 1] / history.camera.K[1, 1])
        self._history = history if finer * ANOTHER >= 1 else history.smaller(finer)
        self._frame, self._rendered, self._picture, self._rule = frame, frame.rgb8, picture, rule
        self._matrix = between(frame.camera, self._history.camera)
        # What the history is too small to have is the new picture's own; and of its frames, as much counts as of this one's.
        self._detail = (_detail(self._rendered, finer), _detail(picture, finer)) if finer > ANOTHER else None
        self._weight = np.float32(min(1, finer**-2))

    def write(self, after: History, rows: slice) -> None:
        """`rows` of it."""
        history, rule = self._history, self._rule
        marks = _marks(self._rendered[rows], nearness(self._frame, rows))
        at = places(self._matrix, np.ascontiguousarray(marks[..., 3]), rows.start)
        known = cv2.remap(history.marks, at.x, at.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        old = cv2.remap(history.picture, at.x, at.y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        if self._detail is not None:
            rendered, style = self._detail
            known[..., :3] += rendered[rows]
            old += style[rows]
        there = np.ascontiguousarray(known[..., 3])
        red, green, blue, _ = cv2.split(cv2.absdiff(known, marks))
        difference = cv2.max(cv2.max(red, green), blue)
        count = cv2.remap(history.count, at.x, at.y, cv2.INTER_NEAREST)  # 0 out of its picture
        count *= np.clip(1.5 - difference / np.float32(rule.change), 0, 1)  # by degrees, or it would flicker itself
        count *= np.abs(at.nearness - there) <= np.float32(rule.tolerance) * there
        count = np.minimum(count + 1, np.float32(1 / rule.floor))
        share = 1 / count
        average = _mixed(old, self._picture[rows].astype(np.float32), cv2.cvtColor(share, cv2.COLOR_GRAY2RGB))
        np.clip(average, 0, 255, out=after.picture[rows])
        after.marks[rows] = _mixed(known, marks, cv2.merge([share, share, share, np.ones_like(share)]))
        np.maximum(count * self._weight, 1, out=after.count[rows])


def _marks(rendered: Bytes, near: Floats) -> Floats:
    marks = cv2.cvtColor(rendered, cv2.COLOR_RGB2RGBA).astype(np.float32)
    marks[..., 3] = near
    return marks


def _mixed(old: np.ndarray, new: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`old` with `share` of `new`; one that is all of it gives `new` itself, up to rounding."""
    difference = cv2.subtract(new, old)
    difference *= share
    difference += old
    return difference


def _detail(image: Bytes, times: float) -> Floats:
    """What `image` has that one `times` smaller cannot have."""
    height, width = image.shape[:2]
    small = max(1, round(width / times)), max(1, round(height / times))
    coarse = cv2.resize(image, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(image - cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
