"""Shots in, pictures out: the work of the stage that is all about style."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from splatview.arrays import Bytes
from splatview.cli.inputs import Shot
from splatview.frame import Frame
from splatview.stylize import Stylizer, settled, shown_by

MOST_CALLS = 40  # in which the last frame's picture is finished
KEPT = 40  # shots of which a picture may still come


@dataclass(frozen=True, eq=False)
class Styled:
    """A shot in a style."""

    shot: Shot
    picture: Bytes  # [H, W, 3]


class Redrawing:
    """Redraws shots. A stylizer may give the picture of an earlier one, and `similar` may say that a shot need not be redrawn.

    Of what is `live` the newest picture is given, of whatever shot; and a shot that fails goes on as it came. Otherwise every shot gets a
    picture of its own, in their order, and the last ones come by `rest`.
    """

    def __init__(self, stylizer: Stylizer, live: bool, similar: Callable[[Bytes], bool] | None = None) -> None:
        self._stylizer, self._live, self._similar = stylizer, live, similar
        self._recent: deque[Shot] = deque(maxlen=KEPT)
        self._waiting: deque[list[Shot]] = deque()  # each with those that look like it
        self._picture: Bytes | None = None  # of the first of these, as it is by now
        self._last: Frame | None = None
        self._over: Frame | None = None  # that had its picture in the end of what was of another size
        self._given = 0  # of this size

    def work(self, shot: Shot) -> list[Styled] | None:
        """What has got a picture now; None: it need not be redrawn."""
        resized = self._last is not None and self._last.rgb8.shape != shot.frame.rgb8.shape
        if self._similar is not None and self._similar(shot.frame.rgb8) and not resized:
            return None
        self._last = shot.frame
        if not self._live:
            done = self.rest() if resized else []  # pictures have the size of what is given, not of what they are of
            self._given = 1 if resized else self._given + 1
            self._waiting.append([shot])
            return done + self._each(shot.frame)
        self._recent.append(shot)
        picture = self._stylizer.style(shot.frame)
        shown = shown_by(self._stylizer, shot.frame)
        return [Styled(next((one for one in self._recent if one.frame is shown), shot), picture)]

    def instead(self, shot: Shot, error: Exception | None) -> list[Styled] | None:
        """What goes on of a shot that failed, or need not be redrawn."""
        if self._live:
            return None if error is None else [Styled(shot, shot.frame.rgb8)]
        if error is None:
            self._waiting[-1].append(shot)
        return None

    def rest(self, stopped: Callable[[], bool] = lambda: False) -> list[Styled]:
        """The last pictures: the last frame is given again until its own has come, or somebody has `stopped` it."""
        done: list[Styled] = []
        if not self._waiting:
            return done
        last = self._waiting[-1][0].frame
        for _ in range(MOST_CALLS):
            if stopped() or settled(self._stylizer) or (self._given > 1 and shown_by(self._stylizer, last) is last):
                break
            done += self._each(last)
        while self._waiting:
            done += self._first()
        self._over = shown_by(self._stylizer, last)
        return done

    def settle(self) -> list[Styled]:
        """Of what is live and has stopped: the last shot, given again until its picture changes no more."""
        done: list[Styled] = []
        for _ in range(MOST_CALLS if self._recent else 0):
            shot = self._recent[-1]
            if shown_by(self._stylizer, shot.frame) is shot.frame and settled(self._stylizer):
                break
            done = [Styled(shot, self._stylizer.style(shot.frame))]
        return done

    def _each(self, frame: Frame) -> list[Styled]:
        picture = self._stylizer.style(frame)
        shown = shown_by(self._stylizer, frame)
        done: list[Styled] = []
        if shown is self._over:  # what came before these still comes out
            return done
        self._over = None
        while len(self._waiting) > 1 and self._waiting[0][0].frame is not shown:
            done += self._first()
        while len(self._waiting) > KEPT:  # nothing changes, and so their picture is the one before's
            done += self._first()
        self._picture = picture
        return done

    def _first(self) -> list[Styled]:
        assert self._picture is not None
        return [Styled(shot, self._picture) for shot in self._waiting.popleft()]
