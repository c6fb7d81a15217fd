"""Work that follows on other work, each stage on a thread of its own, joined by one-slot mailboxes: the newest goes on, no queue grows.

A stage in which every value counts (the frames of a file) makes the one before it wait instead.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakSet

import numpy as np

from splatview.latest import Latest

A = TypeVar("A")
B = TypeVar("B")

RECENT = 240  # values of which the times are told
LATELY = 2.0  # seconds of which the rate is told
PATIENCE = 0.3  # seconds that closing waits for a thread; it is a daemon, and ends with what it does
LAST = 10.0  # seconds that the end of the process waits for all of them

log = logging.getLogger(__name__)
_started: WeakSet[Stage[Any, Any]] = WeakSet()


@dataclass(frozen=True)
class Counts:
    """What became of the values that were put into a stage."""

    captured: int = 0  # put in
    processed: int = 0  # something was made of them
    skipped: int = 0  # they gave nothing new
    failed: int = 0
    dropped: int = 0  # a newer one came before they were taken


@dataclass(frozen=True)
class Pace:
    """How long a stage took for its recent values, and how many a second there were lately."""

    p50_ms: float = 0.0
    p95_ms: float = 0.0
    fps: float = 0.0


class Times:
    """How long something takes, again and again."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._took: deque[float] = deque(maxlen=RECENT)
        self._at: deque[float] = deque(maxlen=RECENT)

    def took(self, seconds: float) -> None:
        self._took.append(1e3 * seconds)

    def gave(self) -> None:
        """Something came of it, now."""
        self._at.append(self.clock())

    @property
    def pace(self) -> Pace:
        took, at = list(self._took), list(self._at)
        if not took:
            return Pace()
        p50, p95 = np.percentile(took, [50, 95])
        at = [one for one in at if one >= self.clock() - LATELY]
        span = at[-1] - at[0] if len(at) > 1 else 0.0
        return Pace(float(p50), float(p95), (len(at) - 1) / span if span > 0 else 0.0)

    def forget(self) -> None:
        self._took.clear()
        self._at.clear()


class Stage(Generic[A, B]):
    """Makes something of the newest value that it was given, and hands it on. `step` is all that its thread does.

    `work` returns None if a value gives nothing new. What `work` or `give` raises goes to `failed`, and the stage goes on with the next.
    `instead` says what goes on of a value that gave nothing new (None) or failed (with its error), None: nothing.
    `every`: no value is dropped; whoever puts one in waits until there is room.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[A], B | None],
        give: Callable[[B], None],
        *,
        every: bool = False,
        instead: Callable[[A, Exception | None], B | None] = lambda value, error: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.name = name
        self.failed: Callable[[Exception], None] = lambda error: log.error("%s failed", name, exc_info=error)
        self._work = work
        self._give = give
        self._every = every
        self._instead = instead
        self._inbox: Latest[A] = Latest()
        self._captured = self._processed = self._skipped = self._failures = 0
        self._times = Times(clock)
        self._idle = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"splatview-{self.name}", daemon=True)
        self._thread.start()
        _started.add(self)

    def put(self, value: A) -> None:
        """Let it work on `value` next; once it is closed, nothing happens."""
        self._captured += 1
        if self._every:
            self._inbox.put_each(value)
        else:
            self._inbox.put(value)

    def step(self, timeout: float | None = 0) -> bool:
        """Work on what there is, waited for up to `timeout` seconds (None: for ever); False if there is nothing."""
        value = self._inbox.take(timeout)
        if value is None:
            return False
        made, error = None, None
        try:
            made = self._timed(value)
        except Exception as raised:
            error = raised
            self.failed(raised)
        try:
            given = self._instead(value, error) if made is None else made
            if given is not None:
                self._give(given)
        except Exception as raised:
            error = raised
            self.failed(raised)
        if error is not None:  # counted last: whoever waits for the value to be done finds it handed on
            self._failures += 1
        elif made is None:
            self._skipped += 1
        else:
            self._processed += 1
        return True

    def _timed(self, value: A) -> B | None:
        began = self._times.clock()
        made = self._work(value)
        self._times.took(self._times.clock() - began)
        if made is not None:
            self._times.gave()
        return made

    @property
    def counts(self) -> Counts:
        return Counts(self._captured, self._processed, self._skipped, self._failures, self._inbox.dropped)

    @property
    def pace(self) -> Pace:
        return self._times.pace

    def forget_times(self) -> None:
        """What it does next takes another time than what it did."""
        self._times.forget()

    def finish(self) -> None:
        """Wait until everything that was put in is done."""
        with self._idle:
            self._idle.wait_for(lambda: self._closed or self.done)

    @property
    def done(self) -> bool:
        """Whether everything that was put in is done."""
        counts = self.counts
        return counts.captured == counts.processed + counts.skipped + counts.failed + counts.dropped

    def stop(self) -> None:
        """Begin nothing more; what lies there is left."""
        self._closed = True
        self._inbox.close()
        with self._idle:
            self._idle.notify_all()

    def close(self) -> None:
        """Stop, and wait a little for what is under way."""
        self.stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._closed:
            self.step(None)
            with self._idle:
                self._idle.notify_all()


@atexit.register
def _end() -> None:
    """Python would abort if it took itself down around native code that is at work, such as a network's."""
    stages, end = list(_started), time.monotonic() + LAST
    for stage in stages:
        stage.stop()
    for stage in stages:
        if stage._thread is not None:
            stage._thread.join(max(0.0, end - time.monotonic()))
