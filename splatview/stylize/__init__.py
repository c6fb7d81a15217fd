"""Frame -> picture: what redraws rendered frames in a style."""

from __future__ import annotations

from typing import Protocol

from splatview.arrays import Bytes
from splatview.frame import Frame


class Stylizer(Protocol):
    """Redraws frames, one after another, on one thread. Its controls are values: it is given others between two frames.

    One that works on several frames at once also has `shown`, the frame that its last picture is of, which is an earlier one than it was
    given; and one whose picture of the same frame still changes has `settled`, whether it would not any more.
    """

    def style(self, frame: Frame) -> Bytes:
        """[H, W, 3] sRGB: `frame`'s picture in the style, at its own size, whatever that is.

        Of `frame`, rgb or rgb8 are there always; alpha, depth (of scenes, not of videos) and coverage are used where they are.
        """
        ...


def shown_by(stylizer: Stylizer, given: Frame) -> Frame:
    """What the last picture of `stylizer` is of, when it was `given` that frame."""
    return getattr(stylizer, "shown", None) or given


def settled(stylizer: Stylizer) -> bool:
    """Whether the last frame, given again, would give the same picture again."""
    return getattr(stylizer, "settled", True)
