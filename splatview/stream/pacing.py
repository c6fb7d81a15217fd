"""When a client gets its next picture, and of what size: a state machine without threads, sockets or a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

from splatview.latest import Latest
from splatview.stream.resolution import LEAST, Worth, draft, next_link_scale, next_quality, next_scale, rest_scale, rest_share
from splatview.stream.stats import Stats

R = TypeVar("R")
Draws = Literal["always", "at rest", "never"]

SETTLE = (0.08, 0.25)  # seconds without a new request after which the view is at rest: two and a half usual gaps, within these
SETTLE_HELD = 0.5  # the same while a button or a key is held: a slow page says little in between
PATIENCE = 2.0  # seconds after which a picture that was not acknowledged is given up
LOST_IN_ROW = 3  # given up so often, the client is asleep (a hidden tab): nothing is drawn for it until it says something
ACK_MS = 75.0  # how soon a picture should be shown; a link or page that takes longer is given smaller ones


@dataclass(frozen=True)
class Turn(Generic[R]):
    """One picture to draw."""

    request: R
    scale: float  # of the full width and height
    quality: int  # JPEG, 1..100; of no meaning at rest
    still: bool  # at rest: full quality, and full size, if need be after one of half the size
    smallest: bool = False  # no smaller picture of splats is to be had
    detail: float = 1.0  # of fields, in motion
    share: float = 1.0  # of the pixels for which fields have been asked, at rest
    effort: float = 1.0  # the scale at which a whole picture takes as long
    again: bool = False  # it was drawn before, and something was added to it

    @property
    def whole(self) -> bool:
        """Whether nothing better is to come of this view."""
        return self.still and self.scale == self.share == 1


class Pacer(Generic[R]):
    """One client's side of the stream. Times are seconds, and come in from outside."""

    def __init__(self, budget_ms: float = 33.0, quality: int = 75) -> None:
        self.budget_ms = budget_ms
        self.best_quality = quality
        self.held = False  # whether the person holds a button or key that moves the camera
        self.fields_ms = 0.0  # of what the last picture took
        self.stats = Stats()
        self._draws: Draws = "always"
        self._fields = False
        self._inbox: Latest[R] = Latest()
        self._newest: R | None = None
        self._changed_at = -1e9
        self._gap = 0.03
        self._shown: Turn[R] | None = None
        self._draw_ms = 0.0
        self._full_ms = 0.0  # what a picture at rest takes, judged by the last picture
        self._worth = Worth()
        self._scale = 0.5
        self._link_scale = 1.0
        self._quality = float(quality)
        self._flying: tuple[int, float, bool] | None = None  # number, when, at rest
        self._renewed = False
        self._lost_in_row = 0

    @property
    def dropped(self) -> int:
        return self._inbox.dropped

    @property
    def scale(self) -> float:
        """The size of moving pictures now."""
        return draft(self._effort)[0] if self._fields else self._effort

    @property
    def _effort(self) -> float:
        return min(self._scale, self._link_scale)

    @property
    def fields(self) -> bool:
        """Whether fields are in the pictures: those may be drafts in motion, and come in more and more pixels at rest."""
        return self._fields

    @fields.setter
    def fields(self, there: bool) -> None:
        if there != self._fields:
            self._fields, self._worth = there, Worth()
            self._scale = min(self._scale, LEAST) if there else max(self._scale, LEAST)  # small as long as nobody knows what it costs

    @property
    def draws(self) -> Draws:
        """When pictures are drawn; a change draws what is wanted anew."""
        return self._draws

    @draws.setter
    def draws(self, when: Draws) -> None:
        if when != self._draws:
            self._draws, self._shown = when, None

    def ask(self, request: R, now: float) -> bool:
        """Want `request` from now on; False if it is wanted already."""
        if request == self._newest:
            return False
        if now - self._changed_at < 0.5:
            self._gap = 0.8 * self._gap + 0.2 * (now - self._changed_at)
        self._newest, self._changed_at = request, now
        if self._draws == "always":  # otherwise nothing is lost when it is replaced
            self._inbox.put(request)
        return True

    def renew(self) -> None:
        """There is something new to be seen in the picture at rest, though nobody wants another one: draw it again."""
        self._renewed = True

    @property
    def _rest_at(self) -> float:
        return self._changed_at + (SETTLE_HELD if self.held else min(SETTLE[1], max(SETTLE[0], 2.5 * self._gap)))

    @property
    def _draw_at(self) -> float:
        """When to begin a moving picture so that it is ready as the one before it is acknowledged."""
        if self._flying is None:
            return -1e9
        if not self.stats.ack_ms:
            return self._flying[1] + PATIENCE
        return self._flying[1] + min(PATIENCE, max(0.0, self.stats.ack_ms - self._draw_ms) / 1e3)

    def turn(self, now: float) -> Turn[R] | None:
        """What to draw now, if anything."""
        self._give_up(now)
        if self._newest is None or self.asleep or self._draws == "never":
            return None
        still = now >= self._rest_at
        if not still and self._draws == "at rest":
            return None
        if self._shown is not None and self._shown.request == self._newest and (self._complete or not still):
            return None
        if not still and now < self._draw_at:
            return None
        self._inbox.take(0)
        quality, shown = round(self._quality), self._shown if self._shown is not None and self._shown.request == self._newest else None
        if still:
            self._renewed = False
            if shown is not None and shown.whole:
                return replace(shown, again=True)
        if still and self._fields:
            before = shown.share if shown is not None and shown.still else 0.0
            share = rest_share(self._full_ms, before)
            return Turn(self._newest, 1.0, quality, True, share=share, effort=(share - before) ** 0.5)
        if still:
            scale = rest_scale(self._full_ms, 0.0 if shown is None else shown.scale)
            return Turn(self._newest, scale, quality, True, effort=scale)
        scale, detail = draft(self._effort) if self._fields else (self._effort, 1.0)
        smallest = self._scale <= self._worth.least(self.budget_ms)
        return Turn(self._newest, scale, quality, False, smallest, detail, effort=self._effort)

    def due(self) -> float | None:
        """From when on `turn` will have something if nothing else happens; None: never."""
        if self._newest is None or self.asleep or self._draws == "never":
            return None
        if self._shown is None or self._shown.request != self._newest:
            return self._rest_at if self._draws == "at rest" else min(self._draw_at, self._rest_at)
        return None if self._complete else self._rest_at

    @property
    def _complete(self) -> bool:
        return self._shown is not None and self._shown.whole and not self._renewed

    @property
    def patience_ends(self) -> float | None:
        """When the picture under way is given up; None: there is none."""
        return None if self._flying is None else self._flying[1] + PATIENCE

    def drawn(self, turn: Turn[R], milliseconds: float) -> None:
        """`turn` was drawn and encoded in so many milliseconds."""
        self._shown = turn
        if turn.again:
            return
        self._worth.observe(turn.effort, milliseconds, self.fields_ms)
        full_ms = milliseconds / turn.effort**2
        self._full_ms = full_ms if self._fields else min(full_ms, self._worth.full_ms)
        scale = next_scale(turn.effort, milliseconds, self.budget_ms, self._worth.least(self.budget_ms, self._fields))
        self._scale = min(scale, self._scale) if turn.still and self._fields else scale  # drafts tell better what a draft takes
        if not turn.still:
            self._draw_ms = milliseconds

    def failed(self, turn: Turn[R]) -> None:
        """`turn` cannot be drawn: it is not tried again."""
        self._shown = turn

    def may_send(self, now: float) -> bool:
        """Whether the client has no picture under way."""
        self._give_up(now)
        return self._flying is None

    def sending(self, turn: Turn[R], now: float) -> int:
        """A picture of `turn` leaves now; returns the number by which it is acknowledged."""
        self.stats.picture(now)
        self._flying = (self.stats.sent, now, turn.still)
        return self.stats.sent

    def acknowledged(self, number: int, now: float) -> None:
        """The page shows picture `number`; an answer to one given up before only shows that the page is alive."""
        self.awake()
        if self._flying is None or number != self._flying[0]:
            return
        _, sent_at, still = self._flying
        self._flying = None
        if still:  # larger than what the pace is made for
            return
        milliseconds = 1e3 * (now - sent_at)
        self.stats.acknowledged(milliseconds)
        self._link_scale = next_link_scale(self._link_scale, self.stats.ack_ms, max(ACK_MS, 2 * self.budget_ms))
        self._quality = next_quality(self._quality, milliseconds, self.best_quality)

    @property
    def asleep(self) -> bool:
        return self._lost_in_row >= LOST_IN_ROW

    def awake(self) -> None:
        """The client was heard of."""
        self._lost_in_row = 0

    def _give_up(self, now: float) -> None:
        if self._flying is not None and now - self._flying[1] >= PATIENCE:
            self._flying = None
            self._lost_in_row += 1
            self.stats.lost += 1
