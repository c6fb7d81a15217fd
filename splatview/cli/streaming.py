"""A source, a style and a target joined into a chain of stages, and what is told about it while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from splatview.cli.faults import one_line
from splatview.cli.inputs import Source
from splatview.cli.redrawing import Redrawing, Styled
from splatview.cli.targets import Browser, Target
from splatview.stream.chain import Chain, Feed, Totals
from splatview.stream.stages import Stage
from splatview.stylize import Stylizer

STYLE = "style: "
IDLE = ("path", "list")  # feeds that only name what a stage draws


class Stream:
    """Runs until its source ends, or something fails that must not: of a file every frame counts, and a style that fails is the end.

    What is `live` goes on: a frame whose style failed is shown as it came, and `error` says why, until the style works again.
    """

    def __init__(
        self,
        source: Source,
        stylizer: Stylizer,
        target: Target,
        *,
        live: bool,
        forever: bool = False,
        similar: Callable[[Any], bool] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.error = ""  # of a live stream, as it is now
        self.broken: Exception | None = None  # the source broke off
        self.failed: Exception | None = None  # why it cannot go on
        self._source, self._target, self._live = source, target, live
        self._redrawing = Redrawing(stylizer, live, similar)
        show: Stage[Styled, Styled] = Stage(target.title, target.put, lambda _: None, every=target.every, clock=clock)
        style: Stage[Any, list[Styled]] = Stage(
            "style", self._style, lambda done: self._hand(show, done), every=not live, instead=self._redrawing.instead, clock=clock
        )
        stages, first, name = [style, show], style, "read"
        if source.draw is not None:
            first = Stage("draw" if source.scene else "read", source.draw, style.put, every=not live, clock=clock)
            first.failed = self._source_failed
            stages, name = [first, *stages], "path" if source.scene else "list"
        feed = Feed(name, source.values(forever), first.put, due=source.due if live and not source.live else None, clock=clock)
        feed.failed, style.failed, show.failed = self._source_failed, self._style_failed, self._target_failed
        self._show = show
        self._chain = Chain(feed, stages, style)
        self._began = clock()
        self._settled = False
        self._clock = clock

    def start(self) -> None:
        self._chain.start()

    @property
    def running(self) -> bool:
        """Whether there is more to come."""
        return self.failed is None and not self._chain.done

    def finish(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Let out the last pictures of a style whose pictures come late, when all else is done, unless somebody has `stopped` it."""
        if self.failed is None and not stopped():
            self._hand(self._show, self._redrawing.rest(stopped))
            while self.failed is None and not self._show.done:
                time.sleep(0.005)

    def settle(self) -> None:
        """Show what has come to rest, a picture for instance, at its best."""
        if not self._settled:
            self._settled = True
            try:
                self._hand(self._show, self._redrawing.settle())
            except Exception as error:
                self._style_failed(error)

    def close(self) -> None:
        self._chain.close()

    @property
    def totals(self) -> Totals:
        totals = self._chain.totals
        if isinstance(self._target, Browser):
            window = self._target.window
            return replace(totals, shown=window.shown, dropped=totals.dropped + window.dropped)
        return totals

    @property
    def seconds(self) -> float:
        return self._clock() - self._began

    @property
    def rate(self) -> float:
        """Pictures a second, lately."""
        return self._show.pace.fps

    @property
    def figures(self) -> dict[str, Any]:
        """For the page."""
        stages = [{"name": name, "p50": pace.p50_ms, "p95": pace.p95_ms} for name, pace in self._chain.paces.items() if name not in IDLE]
        return {"counts": asdict(self.totals), "stages": stages, "rate": self.rate, "error": self.error}

    @property
    def progress(self) -> tuple[float, str]:
        """How far it is, 0..1, and in words."""
        shown, count = self._chain.totals.shown, self._source.count
        if not count:
            return 0.0, f"{shown:,} frames, {self.rate:.1f} a second"
        left = self.seconds / shown * max(0, count - shown) if shown else 0.0
        clock = f"{int(left) // 60}:{int(left) % 60:02d}"
        return min(1.0, shown / count), f"{shown:,} of {count:,}, {self.rate:.1f} frames a second, {clock} left"

    @property
    def summary(self) -> str:
        """What became of the frames and how long they took, in one line."""
        counts = ", ".join(f"{name} {count:,}" for name, count in asdict(self.totals).items())
        paces = ", ".join(f"{name} {pace.p50_ms:.1f}/{pace.p95_ms:.1f}" for name, pace in self._chain.paces.items() if name not in IDLE)
        whole = self.totals.shown / self.seconds if self.seconds else 0.0
        return f"{counts}; {whole:.1f} a second; ms (median/95 %): {paces}"

    # What the threads of the stages do.

    def _style(self, shot: Any) -> list[Styled] | None:
        done = self._redrawing.work(shot)
        if self.error.startswith(STYLE):
            self.error = ""
        return done

    def _hand(self, show: Stage[Styled, Styled], done: list[Styled]) -> None:
        for styled in done:
            show.put(styled)

    def _source_failed(self, error: Exception) -> None:
        self.broken = self.broken or error
        self.error = one_line(error)

    def _style_failed(self, error: Exception) -> None:
        self.error = f"{STYLE}{type(error).__name__}: {one_line(error)}; the picture goes on unstylised"
        if not self._live:
            self.failed = self.failed or error

    def _target_failed(self, error: Exception) -> None:
        self.failed = self.failed or error
