"""One person's style: their frames are redrawn beside the drawing of the scene, which goes on at its own rate.

The stylizer works on the newest frame, on a thread of its own. What is shown of a frame is its own style if that is there in no time, and
otherwise the newest style there is, laid onto the surfaces that the frame shows.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from splatview.arrays import Bytes
from splatview.frame import Frame, Interrupted
from splatview.stream.stages import Counts, Pace, Stage
from splatview.stylize import Stylizer, settled, shown_by
from splatview.stylize.carried import Carrier

MOST_CALLS = 64  # for one picture: no stylizer needs as many
NICE = 5  # how far the stylizer's thread stands behind the others
PROMPT_MS = 12.0  # a stylizer that mostly takes no longer is waited for, up to twice as long


@dataclass(frozen=True, eq=False)
class Styled:
    """A frame in a style."""

    frame: Frame  # that the picture is of
    picture: Bytes
    given: Frame  # that made the stylizer give it
    settled: bool

    @cached_property
    def carrier(self) -> Carrier:
        """Of many frames that show it, the first makes it."""
        return Carrier(self.picture, self.frame)


class Styling:
    """Redraws frames. `show` is called by the drawing thread, the others by any."""

    def __init__(self, stylizer: Stylizer) -> None:
        self.changed: Callable[[], None] = lambda: None  # the frame that was shown last has a style, or a better one, by now
        self.failed: Callable[[Exception | None], None] = lambda error: None  # None: it works again
        self._stylizer = stylizer
        self._stage: Stage[Frame, Styled] = Stage("style", self._style, self._styled)
        self._stage.failed = self._broke
        self._told = threading.Condition()
        self._using = threading.Lock()
        self._asked: Frame | None = None  # what the stage is to redraw
        self._newest: Styled | None = None
        self._broken = False
        self._waited_for = False
        self._shown = 0
        self._started = False
        self._behind = False

    @property
    def stylizer(self) -> Stylizer:
        return self._stylizer

    def use(self, stylizer: Stylizer) -> None:
        """Take another one from the next frame on; a picture at rest is redrawn."""
        with self._told:
            self._stylizer, self._asked = stylizer, None
        self._stage.forget_times()
        self.changed()

    def show(self, frame: Frame) -> Bytes:
        """[H, W, 3] what is to be seen of `frame` now; the frame itself as long as there is no style at all."""
        with self._told:
            if not self._started:
                self._started = True
                self._stage.start()
            if self._asked is not frame:
                self._asked = frame
                self._stage.put(frame)
            pace = self._stage.pace
            if 0 < pace.p50_ms <= PROMPT_MS:
                self._waited_for = True
                self._told.wait_for(lambda: self._broken or self._is_of(frame), 2e-3 * PROMPT_MS)
                self._waited_for = False
            newest = self._newest
            self._shown += newest is not None
        if newest is None:
            return frame.rgb8
        return newest.picture if newest.frame is frame else newest.carrier.onto(frame)

    def exactly(self, frame: Frame) -> Bytes:
        """[H, W, 3] the style of `frame`, however long it takes."""
        with self._using:
            picture = self._stylizer.style(frame)
            for _ in range(MOST_CALLS):
                if settled(self._stylizer):
                    break
                picture = self._stylizer.style(frame)
            return picture

    @property
    def figures(self) -> tuple[Counts, Pace, int]:
        """What became of the frames, how fast, and how many pictures showed a style."""
        return self._stage.counts, self._stage.pace, self._shown

    def close(self) -> None:
        self._stage.close()

    # What its own thread does.

    def _style(self, frame: Frame) -> Styled | None:
        if not self._behind:
            self._behind = True
            step_behind()
        with self._using, suppress(Interrupted):  # it was told to end, and another one comes, or none
            picture = self._stylizer.style(frame)
            return Styled(shown_by(self._stylizer, frame), picture, frame, settled(self._stylizer))
        return None

    def _styled(self, styled: Styled) -> None:
        with self._told:
            mended, self._broken = self._broken, False
            self._newest = styled
            now = self._asked is styled.given
            unseen = now and not (self._waited_for and styled.frame is styled.given)
            self._told.notify_all()
        if mended:
            self.failed(None)
        if now and not styled.settled:
            self._stage.put(styled.given)
        if unseen:
            self.changed()

    def _broke(self, error: Exception) -> None:
        with self._told:
            told, self._newest, self._broken = self._broken, None, True
            self._told.notify_all()
        if not told:
            self.failed(error)

    def _is_of(self, frame: Frame) -> bool:
        return self._newest is not None and self._newest.frame is frame


def step_behind() -> None:
    """Let other threads go first where cores are few: the drawing's above all. Threads that this one starts do the same."""
    with suppress(AttributeError, OSError):  # not where threads have no numbers of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
