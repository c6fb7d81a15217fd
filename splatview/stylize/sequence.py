"""Whole videos through a stylizer, each picture with its own frame, however late the stylizer is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from splatview.arrays import Bytes
from splatview.frame import Frame
from splatview.stylize import Stylizer, settled, shown_by

MOST = 100  # times that the last frame is given again, for a stylizer that never settles


def in_order(stylizer: Stylizer, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Bytes]]:
    """Each of `frames`, in order, with its last picture: of a stylizer that is late (it says so by `shown`) the one after all steps."""
    waiting: deque[Frame] = deque()
    shown, picture = None, None
    for frame in _until_settled(stylizer, frames):
        if not waiting or waiting[-1] is not frame:
            waiting.append(frame)
        now = stylizer.style(frame)
        of = shown_by(stylizer, frame)
        of = of if any(of is one for one in waiting) else frame  # or it is a picture of an equal frame, from before
        if picture is not None and of is not shown:
            while waiting[0] is not of:
                yield waiting.popleft(), picture
        shown, picture = of, now
    if picture is not None:
        yield from ((frame, picture) for frame in waiting)


def _until_settled(stylizer: Stylizer, frames: Iterable[Frame]) -> Iterator[Frame]:
    """`frames`, the last of them again until the stylizer is done with it."""
    frame = None
    for frame in frames:
        yield frame
    for _ in range(MOST):
        if frame is None or settled(stylizer):
            return
        yield frame
