"""One person's style: their frames are redrawn beside the drawing of the scene, which goes on at its own rate.

The stylizer works on the newest frame, on a thread of its own. What is shown of a frame is its own style if that is there in no time, and
otherwise the newest style there is, laid onto the surfaces that the frame shows.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from splatview.arrays import Bytes
from splatview.frame import Frame, Interrupted, Output
from splatview.stream.stages import Counts, Pace, Stage
from splatview.stylize import Stylizer, settled, shown_by
from splatview.stylize.carried import Carrier

MOST_CALLS = 64  # for one picture: no stylizer needs as many
NICE, LEAST = 5, 19  # how far the stylizer's thread stands behind the others; as far as it goes
AGAIN = 1 / 60  # seconds from one time that a frame is redrawn to the next
PROMPT_MS = 12.0  # a stylizer that mostly takes no longer is waited for, up to twice as long


@dataclass(frozen=True, eq=False)
class Styled:
    """A frame in a style."""

    frame: Frame  # that the picture is of
    picture: Bytes
    given: Frame  # that made the stylizer give it
    settled: bool
    by: Stylizer

    @cached_property
    def carrier(self) -> Carrier:
        """Of many frames that show it, the first makes it."""
        return Carrier(self.picture, self.frame)


class Styling:
    """Redraws frames. `show` and `pause` are called by the drawing thread, the others by any."""

    def __init__(self, stylizer: Stylizer, needs: tuple[Output, ...] = ()) -> None:
        """`needs`: what the stylizer wants of frames, beside what all have."""
        self.changed: Callable[[], None] = lambda: None  # the frame that was shown last has a style, or a better one, by now
        self.failed: Callable[[Exception | None], None] = lambda error: None  # None: it works again, or nobody wants it to; must not wait
        self._stylizer, self._needs = stylizer, needs
        self._stage: Stage[Frame, Styled] = Stage("style", self._style, self._styled)
        self._stage.failed = self._broke
        self._told = threading.Condition()
        self._using = threading.Lock()
        self._asked: Frame | None = None  # what the stage is to redraw
        self._still = False  # it is of a view at rest
        self._newest: Styled | None = None
        self._fault: str | None = None  # what it fails with
        self._waited_for = False
        self._again_at = 0.0  # from when on the frame of now may be redrawn once more
        self._shown = 0
        self._started = False
        self._behind = False

    @property
    def stylizer(self) -> Stylizer:
        return self._stylizer

    def use(self, stylizer: Stylizer, needs: tuple[Output, ...] = ()) -> None:
        """Take another one from the next frame on; the frame that is shown is redrawn, if it has what is needed."""
        with self._told:
            self._stylizer, self._needs = stylizer, needs
            self._stage.forget_times()
            if self._asked is not None and self._has_all(self._asked):
                self._stage.put(self._asked)
            else:
                self._asked = None

    def show(self, frame: Frame, still: bool = True) -> Bytes:
        """[H, W, 3] what is to be seen of `frame` now; the frame itself as long as there is no style at all.

        `still`: of a view at rest, which is redrawn until the stylizer has settled. In motion another frame follows.
        """
        with self._told:
            if not self._started:
                self._started = True
                self._stage.start()
            newest, comes_to_rest, self._still = self._newest, still and not self._still, still
            unsettled = newest is not None and newest.given is frame and not newest.settled
            if self._asked is not frame or (comes_to_rest and unsettled):
                self._asked = frame
                self._stage.put(frame)
                self._told.notify_all()
            if 0 < self._stage.pace.p50_ms <= PROMPT_MS:
                self._waited_for = True
                self._told.wait_for(lambda: self._fault is not None or self._is_given(frame), 2e-3 * PROMPT_MS)
                self._waited_for = False
            newest = self._newest
            self._shown += newest is not None
        if newest is None:
            return frame.rgb8
        return newest.picture if newest.frame is frame else newest.carrier.onto(frame)

    def pause(self) -> None:
        """No picture shows a style: what is under way is finished, and that is all. The newest style stays, for when it is turned on."""
        with self._told:
            self._asked = None
            fault, self._fault = self._fault, None
            if fault is not None:
                self.failed(None)

    def exactly(self, frame: Frame) -> Bytes:
        """[H, W, 3] the style of `frame`, however long it takes."""
        stylizer = self._stylizer
        with self._using:
            picture = stylizer.style(frame)
            for _ in range(MOST_CALLS):
                if settled(stylizer):
                    break
                picture = stylizer.style(frame)
            return picture

    @property
    def figures(self) -> tuple[Counts, Pace, int]:
        """What became of the frames, how fast, and how many pictures showed a style."""
        return self._stage.counts, self._stage.pace, self._shown

    def close(self) -> None:
        self._stage.stop()  # without waiting: it is called where everybody's messages come in

    # What its own thread does.

    def _style(self, frame: Frame) -> Styled | None:
        if not self._behind:
            self._behind = True
            step_behind()
        self._again_at = time.monotonic() + AGAIN
        with self._told:
            stylizer, fits = self._stylizer, self._has_all(frame)
        if not fits:  # it was drawn for the stylizer before; one for this comes
            return None
        with self._using, suppress(Interrupted):  # it was told to end, and another one comes, or none
            picture = stylizer.style(frame)
            return Styled(shown_by(stylizer, frame), picture, frame, settled(stylizer), stylizer)
        return None

    def _styled(self, styled: Styled) -> None:
        with self._told:
            mended, self._fault = self._fault is not None, None
            self._newest = styled
            now = self._asked is styled.given
            again = now and self._still and not styled.settled and styled.by is self._stylizer  # another one was given it by `use`
            unseen = now and not self._waited_for
            self._told.notify_all()
            if mended:
                self.failed(None)
        if unseen:
            self.changed()
        if again:
            with self._told:  # not at once: a stylizer that waits for something itself, such as a text that is encoded, takes no time
                other = self._told.wait_for(lambda: self._asked is not styled.given, max(0.0, self._again_at - time.monotonic()))
                if not other:
                    self._stage.put(styled.given)

    def _broke(self, error: Exception) -> None:
        with self._told:
            fault = repr(error)
            told = fault == self._fault or self._asked is None  # the latter: nobody wants it any more
            self._newest = None
            if self._asked is not None:
                self._fault = fault
            self._told.notify_all()
            if not told:
                self.failed(error)
        if not told:
            self.changed()

    def _has_all(self, frame: Frame) -> bool:
        return all(output in frame.images for output in self._needs)

    def _is_given(self, frame: Frame) -> bool:
        """Whether the newest style is what the stylizer made when it was given `frame`."""
        return self._newest is not None and self._newest.given is frame and self._newest.by is self._stylizer


def step_behind() -> None:
    """Let other threads go first where cores are few: the drawing's above all. Threads that this one starts do the same."""
    with suppress(AttributeError, OSError):  # not where threads have no numbers of their own
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(os.getpriority(os.PRIO_PROCESS, thread) + NICE, LEAST))
