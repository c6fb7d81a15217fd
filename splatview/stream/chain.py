"""Stages in a row with what feeds them: what came of it all, and one end for all."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from splatview.stream.stages import PATIENCE, Pace, Stage, Times

A = TypeVar("A")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Totals:
    """What became of all that went into a chain."""

    captured: int = 0
    processed: int = 0  # in its main stage
    shown: int = 0  # written, or seen by somebody
    dropped: int = 0  # anywhere on the way: a newer one came before they were taken
    skipped: int = 0
    failed: int = 0


class Feed(Generic[A]):
    """Hands on what an iterator gives, one after another, on a thread of its own. `step` is all that the thread does.

    `due` says how many seconds after the first a value may go, so that a file plays by the clock; one that is late goes at once. What the
    iterator raises goes to `failed`, and is the end.
    """

    def __init__(
        self,
        name: str,
        values: Iterable[A],
        give: Callable[[A], None],
        *,
        due: Callable[[A], float] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self.name = name
        self.failed: Callable[[Exception], None] = lambda error: log.error("%s failed", name, exc_info=error)
        self.captured = 0
        self.ended = False
        self._values = iter(values)
        self._give = give
        self._due = due
        self._began: float | None = None
        self._times = Times(clock)
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._thread: threading.Thread | None = None

    @property
    def pace(self) -> Pace:
        return self._times.pace

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"splatview-{self.name}", daemon=True)
        self._thread.start()

    def step(self) -> bool:
        """Take a value, and hand it on when it is due; False at the end."""
        began = self._times.clock()
        try:
            value = next(self._values)
        except StopIteration:
            self.ended = True
            return False
        except Exception as error:
            self.failed(error)
            self.ended = True
            return False
        now = self._times.clock()
        self._times.took(now - began)
        self._times.gave()
        if self._due is not None:
            due = self._due(value)
            if self._began is None:
                self._began = now - due
            if now < self._began + due:
                self._wait(self._began + due - now)
        if self._closed.is_set():
            return False
        self.captured += 1
        self._give(value)
        return True

    def stop(self) -> None:
        """Hand on nothing more."""
        self._closed.set()

    def close(self) -> None:
        """Stop; an iterator that is in the middle of something is left to end by itself."""
        self.stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._closed.is_set() and self.step():
            pass


class Chain:
    """A feed and the stages behind it, each of which was told to hand on to the next. `main` is the one that all is about."""

    def __init__(self, feed: Feed[Any], stages: Sequence[Stage[Any, Any]], main: Stage[Any, Any]) -> None:
        self.feed = feed
        self._stages = tuple(stages)
        self._main = main

    def start(self) -> None:
        for stage in self._stages:
            stage.start()
        self.feed.start()

    @property
    def done(self) -> bool:
        """Whether the feed has ended and everything it gave has come out."""
        return self.feed.ended and all(stage.done for stage in self._stages)

    @property
    def totals(self) -> Totals:
        counts = [stage.counts for stage in self._stages]
        return Totals(
            self.feed.captured,
            self._main.counts.processed,
            counts[-1].processed,
            sum(one.dropped for one in counts),
            sum(one.skipped for one in counts),
            sum(one.failed for one in counts),
        )

    @property
    def paces(self) -> dict[str, Pace]:
        """How long each part takes, in their order."""
        return {part.name: part.pace for part in (self.feed, *self._stages)}

    def close(self) -> None:
        """Stop; what is under way is left."""
        self.feed.stop()
        for stage in self._stages:  # before it: it may wait for room in one
            stage.close()
        self.feed.close()
