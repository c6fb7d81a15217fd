"""A picture of one frame, as it is seen from where another one is."""

from __future__ import annotations

import cv2
import numpy as np

from splatview.arrays import Bytes
from splatview.frame import Frame
from splatview.native import warper
from splatview.stylize import Stylizer, shown_by
from splatview.stylize.warp import between, nearness

TOLERANCE = 0.05  # relative difference of depth that is another surface
EACH = 4  # pixels from one that tells of the change to the next
BLOCK = 4  # of these a side that have one mean
ALIKE = 100.0  # variance of colours, 0..255, that tells nothing of what the style does with them
REACHES = ((3, 1.0), (9, 1e-3), (31, 1e-6), (127, 1e-9))  # blocks, and what they count: what is far away counts where nothing is near


def styled(stylizer: Stylizer, frame: Frame) -> Bytes:
    """[H, W, 3] the newest picture of `stylizer`, which is given `frame`, laid onto it if it is of another."""
    picture = stylizer.style(frame)
    of = shown_by(stylizer, frame)
    return picture if of is frame else carried(picture, of, frame)


def carried(picture: Bytes, of: Frame, to: Frame) -> Bytes:
    """`picture`, the style of `of`, as `Carrier.onto` lays it onto what `to` shows."""
    return Carrier(picture, of).onto(to)


class Carrier:
    """A picture of one frame, ready to be laid onto many."""

    def __init__(self, picture: Bytes, of: Frame) -> None:
        """`picture` [H, W, 3]: the style of `of`; one of another size is brought to that of `of` first."""
        size = of.camera.width, of.camera.height
        self._picture = picture if picture.shape[1::-1] == size else np.asarray(cv2.resize(picture, size), np.uint8)
        self._camera, self._near = of.camera, nearness(of)

    def onto(self, to: Frame) -> Bytes:
        """[H, W, 3] the picture, laid onto what `to` shows.

        What its own frame did not see is as `to` has it, changed as the style changes colours around there. A frame without depth is taken
        to be all infinitely far.
        """
        found, known, whole = warper().lay(
            between(to.camera, self._camera), to.images.get("depth"), to.images.get("alpha"), self._picture, self._near, TOLERANCE,
            to.camera.width, to.camera.height,
        )  # fmt: skip
        if not whole:
            _fill(found, to.rgb8, known)
        return found


def _fill(found: Bytes, rendered: Bytes, known: Bytes) -> None:
    """Where `found` is not `known`, write what `rendered` becomes there by the straight line, a channel each, between the two around it.

    The line is that of least squares, drawn to slope 1 where colours hardly differ: the guided filter's (He, Sun, Tang 2010).
    """
    rows, columns = (max(1, -(-size // EACH) // BLOCK) for size in known.shape)
    sums = warper().sums(rendered, found, known, EACH, columns, rows)
    around = np.zeros_like(sums)
    for reach, amount in REACHES:
        around += np.float32(amount) * cv2.blur(sums, (reach, reach), borderType=cv2.BORDER_CONSTANT)
    count = around[..., :1]
    of, style, both, squares = np.split(np.divide(around[..., 1:], count, out=np.zeros_like(around[..., 1:]), where=count > 0), 4, -1)
    slope = (both - of * style + ALIKE) / (squares - of * of + ALIKE)
    warper().fill(rendered, found, known, np.concatenate([slope, style - slope * of], -1, dtype=np.float32))
