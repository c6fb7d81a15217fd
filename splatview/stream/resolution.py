"""How large and how good a moving picture may be: policies, called once per picture."""

from __future__ import annotations

from itertools import pairwise

LEAST = 0.25
STEPS = 32  # sizes are whole steps, so that a renderer meets few different ones
SLOW, HALF = 1000.0, 0.5  # milliseconds from which on a picture at rest comes in two sizes; the scale of the first
EASE = 0.85  # of the budget is aimed at: above it, a picture is late at once
# What is drawn of fields below LEAST: the scale of a whole picture that would take as long, the scale, and the detail.
DRAFTS = ((10 / 128, 1 / 8, 1 / 4), (13 / 128, 1 / 8, 1 / 2), (26 / 128, LEAST, 1 / 2), (LEAST, LEAST, 1.0))
SHARES = (1 / 64, 1 / 16, 1 / 4, 1 / 2, 3 / 4, 1.0)  # of the pixels at rest for which fields have been asked
FIRST_MS, NEXT_MS = 200.0, 700.0  # which a picture at rest may take, the first of a view and those that refine it


def next_scale(scale: float, frame_ms: float, budget_ms: float, least: float = LEAST) -> float:
    """The render scale (`least`..1 of full width) that should fit the next frame into the budget.

    The cost of a frame is taken to grow with its pixels. Too slow shrinks at once; fast enough grows in small steps,
    and only where the larger size is expected to fit, so that the size does not swing.
    """
    fitting = scale * (EASE * budget_ms / max(frame_ms, 1e-3)) ** 0.5
    if frame_ms > budget_ms:
        wanted = fitting
    elif fitting > scale:
        wanted = min(fitting, scale * 1.15 + 1 / STEPS)
    else:
        wanted = scale  # between the aim and the budget: leave it
    steps = STEPS if wanted >= LEAST else 4 * STEPS
    return min(1.0, max(least, int(wanted * steps + 1e-6) / steps))


def draft(effort: float) -> tuple[float, float]:
    """The scale and the detail at which fields take about as long as in full at the scale `effort`.

    Measured: a smaller picture and one of half the detail lose equally for what they save, a quarter of it loses more.
    """
    for (low, *below), (high, *above) in pairwise(DRAFTS):
        if effort <= high:
            share = max(0.0, (effort - low) / (high - low))
            scale, detail = (a + share * (b - a) for a, b in zip(below, above, strict=True))
            return scale, detail
    return effort, 1.0


def rest_share(full_ms: float, shown: float) -> float:
    """The share of the pixels for which fields are to have been asked in the next picture at rest, after `shown` (0: none of this view).

    As many more as fit into the time that a person should wait for the next picture, if all of them take `full_ms`.
    """
    better = [share for share in SHARES if share > shown]
    limit = NEXT_MS if shown else FIRST_MS
    return max((share for share in better if (share - shown) * full_ms <= limit), default=better[0])


def rest_scale(full_ms: float, shown: float) -> float:
    """The scale of the next picture at rest, after one of this view at the scale `shown` (0: none): half first, where the whole is slow."""
    return HALF if full_ms > SLOW and shown < HALF else 1.0


class Guard:
    """The overdraw guard: how many Gaussians per tile, the nearest, a moving picture may blend, so that a scene whose splats lie
    thousands deep stays in motion."""

    LIMITS = (None, 2048, 1024, 512, 256, 128)  # None: all
    SHARE = 0.6  # of the frame's time that blending has to take for a limit to help

    def __init__(self) -> None:
        self._step = 0

    @property
    def limit(self) -> int | None:
        return self.LIMITS[self._step]

    def observe(self, frame_ms: float, blending_ms: float, budget_ms: float, smallest: bool) -> None:
        """A moving frame took so long; `smallest`: no smaller picture is to be had."""
        if smallest and frame_ms > 1.25 * budget_ms and blending_ms > self.SHARE * frame_ms:
            self._step = min(self._step + 1, len(self.LIMITS) - 1)
        elif frame_ms < 0.4 * budget_ms:
            self._step = max(self._step - 1, 0)


class Worth:
    """Tells below which scale smaller pictures are hardly faster: most of a huge scene's time is spent whatever the size.

    A line through the latest frames' times over their pixels gives the time that the pixels of a full-size frame cost.
    """

    FORGET, SPREAD = 0.95, 0.0025  # weight of a frame in the next one; variance of the sizes (squared) below which they tell nothing
    SHARE, MOST = 0.15, 0.6  # of the budget that pixels may cost in any case; no scale above this is defended

    def __init__(self) -> None:
        self.full_ms = self._slope = 1e9  # what the pixels of a full-size frame cost, as far as is known
        self._fields_ms = 1e-3  # those of fields
        self._count = self._x = self._y = self._xx = self._xy = 0.0

    def observe(self, scale: float, frame_ms: float, fields_ms: float = 0.0) -> None:
        """A frame of `scale` took so long, `fields_ms` of it for the pixels of fields."""
        x = scale * scale
        self._fields_ms = max(1e-3, fields_ms / x)
        self._count = self.FORGET * self._count + 1
        self._x = self.FORGET * self._x + x
        self._y = self.FORGET * self._y + frame_ms
        self._xx = self.FORGET * self._xx + x * x
        self._xy = self.FORGET * self._xy + x * frame_ms
        spread = self._count * self._xx - self._x**2
        if spread > self.SPREAD * self._count**2:
            self._slope = max(1e-3, (self._count * self._xy - self._x * self._y) / spread)
        self.full_ms = max(self._slope, self._fields_ms)

    def least(self, budget_ms: float, drafts: bool = False) -> float:
        """The scale below which pictures are not worth their loss; below LEAST only if `drafts` of fields are to be had, and help."""
        scale, of_fields = ((self.SHARE * budget_ms / cost) ** 0.5 for cost in (self.full_ms, self._fields_ms))
        least = max(LEAST, int(min(self.MOST, scale) * STEPS) / STEPS)
        return min(least, max(DRAFTS[0][0], of_fields)) if drafts else least


def next_link_scale(scale: float, ack_ms: float, wanted_ms: float) -> float:
    """The largest scale (0.5..1) that the link and the page should be given, from how long they took to show pictures lately.

    Three steps, far apart: a page that draws in software stalls when the size changes.
    """
    if ack_ms > wanted_ms:
        return max(0.5, scale / 2**0.5)
    return min(1.0, scale * 2**0.5) if ack_ms < wanted_ms / 3 else scale


def next_quality(quality: float, ack_ms: float, best: int) -> float:
    """The JPEG quality (40..`best`) for the next moving picture, from how long the last one took to arrive and be shown."""
    if ack_ms > 150:
        quality -= 5
    elif ack_ms < 100:
        quality += 2
    return min(float(best), max(min(40.0, best), quality))
