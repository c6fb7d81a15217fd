"""A picture of one frame, as it is seen from where another one is."""

from __future__ import annotations

import cv2
import numpy as np

from splatview.arrays import Bools, Bytes, Floats
from splatview.frame import Frame
from splatview.stylize import Stylizer, shown_by
from splatview.stylize.warp import between, nearness, places

TOLERANCE = 0.05  # relative difference of depth that is another surface
AT_ONCE = 1 << 15  # pixels: what is worked on stays in the cache
EACH = 4  # pixels from one that tells of the change to the next
BLOCK = 4  # of these a side that have one mean
ALIKE = 100.0  # variance of colours, 0..255, that tells nothing of what the style does with them
MOST_IN_A_MAP = 1 << 14  # rows: OpenCV takes less than 2^15
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
        matrix = between(to.camera, self._camera)
        found, known = np.empty_like(to.rgb8), np.empty((to.camera.height, to.camera.width), np.bool_)
        each = max(1, AT_ONCE // to.camera.width)
        for top in range(0, to.camera.height, each):
            rows = slice(top, top + each)
            at = places(matrix, nearness(to, rows), top)
            found[rows] = cv2.remap(self._picture, at.x, at.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            there = cv2.remap(
                self._near, at.x, at.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(-1.0,)
            )  # past its edges
            known[rows] = np.abs(at.nearness - there) <= np.float32(TOLERANCE) * there
        if not known.all():
            _fill(found, to.rgb8, known)
        return found


def _fill(found: Bytes, rendered: Bytes, known: Bools) -> None:
    """Where `found` is not `known`, write what `rendered` becomes there by the straight line, a channel each, between the two around it.

    The line is that of least squares, drawn to slope 1 where colours hardly differ: the guided filter's (He, Sun, Tang 2010).
    """
    some = (slice(None, None, EACH),) * 2
    share, of, style = known[some].astype(np.float32)[..., None], rendered[some].astype(np.float32), found[some].astype(np.float32)
    rows, columns = share.shape[:2]
    small = max(1, columns // BLOCK), max(1, rows // BLOCK)

    def around(values: Floats) -> Floats:
        """[h, w, 3] the mean around each block."""
        sums = cv2.resize(values * share, small, interpolation=cv2.INTER_AREA).reshape(*small[::-1], -1)
        total = np.zeros(sums.shape, np.float32)
        for reach, amount in REACHES:
            total += np.float32(amount) * cv2.blur(sums, (reach, reach), borderType=cv2.BORDER_CONSTANT).reshape(sums.shape)
        return total

    whole = around(np.ones_like(share))
    of, style, both, squares = (
        np.divide(total, whole, out=np.zeros_like(total), where=whole > 0) for total in map(around, (of, style, of * style, of * of))
    )
    slope = (both - of * style + ALIKE) / (squares - of * of + ALIKE)
    lines = np.concatenate([slope, style - slope * of], -1)
    rows, columns = (at.astype(np.float32) for at in np.nonzero(~known))
    height, width = known.shape
    x, y = (columns + 0.5) * (small[0] / width) - 0.5, (rows + 0.5) * (small[1] / height) - 0.5
    for part in range(0, len(x), MOST_IN_A_MAP):
        chosen = slice(part, part + MOST_IN_A_MAP)
        at = rows[chosen].astype(np.intp), columns[chosen].astype(np.intp)
        slope, shift = (
            cv2.remap(np.ascontiguousarray(of_line), x[chosen, None], y[chosen, None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[
                :, 0
            ]
            for of_line in np.split(lines, 2, -1)
        )
        found[at] = np.clip(rendered[at] * slope + shift + np.float32(0.5), 0, 255)
