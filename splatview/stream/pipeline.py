"""One thread that draws for every client in turn: the newest request of each, never a backlog."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from splatview.frame import Interrupt, Interrupted
from splatview.stream.pacing import Draws, Pacer, Turn

R = TypeVar("R")
P = TypeVar("P")
T = TypeVar("T")

GIVE_WAY = 0.2  # seconds after which a picture at rest makes way for others' moving ones
GIVEN_WAY = 3  # as often in a row at most: then it is drawn to its end

PATIENCE = 0.3  # seconds that closing waits for the drawing thread; it is a daemon, and ends with what it does

log = logging.getLogger(__name__)


def _do(future: Future[Any], task: Callable[[], Any]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(task())
        except Exception as error:
            future.set_exception(error)


def logged(turn: Turn[Any], error: Exception) -> None:
    log.error("could not draw or send a picture", exc_info=error)


class Channel(Generic[R, P]):
    """One client of a pipeline. `draw` runs on the pipeline's thread; `send` there or on the thread that acknowledges.

    What either raises goes to `failed`; the turn is not tried again.
    """

    def __init__(
        self, pipeline: Pipeline, draw: Callable[[Turn[R], Interrupt], P], send: Callable[[P, int], None], pacer: Pacer[R]
    ) -> None:
        self._pipeline = pipeline
        self.draw = draw
        self.send = send
        self.failed: Callable[[Turn[R], Exception], None] = logged
        self.pacer = pacer
        self.ready: tuple[Turn[R], P] | None = None  # drawn, and waiting for the picture before it to be acknowledged
        self.drawing: tuple[Turn[R], Interrupt] | None = None
        self.began = 0.0  # when
        self.given_way = 0  # how often in a row

    def ask(self, request: R) -> None:
        """Want a picture of `request`; one at rest that is being drawn is given up, another client's only if it takes long."""
        with self._pipeline.changed:
            now = self._pipeline.clock()
            if self.pacer.ask(request, now):
                self._pipeline.make_way(self, now)
                self._pipeline.changed.notify_all()

    def acknowledge(self, number: int) -> None:
        """The client shows picture `number`: the next one may go."""
        with self._pipeline.changed:
            self.pacer.acknowledged(number, self._pipeline.clock())
            self._pipeline.changed.notify_all()
        self.flush()

    def renew(self) -> None:
        """There is something new to be seen in the picture at rest."""
        with self._pipeline.changed:
            self.pacer.renew()
            self._pipeline.changed.notify_all()

    def hold(self, on: bool) -> None:
        """The person holds a button or key that moves the camera, or lets it go."""
        with self._pipeline.changed:
            self.pacer.held = on
            self._pipeline.changed.notify_all()

    def limit(self, draws: Draws) -> None:
        """Draw only so from now on."""
        with self._pipeline.changed:
            if draws != self.pacer.draws:
                self.pacer.draws = draws
                self._pipeline.changed.notify_all()

    def expect_fields(self, there: bool) -> None:
        """Whether fields are in what is asked for from now on."""
        with self._pipeline.changed:
            self.pacer.fields = there

    def awake(self) -> None:
        """The client was heard of: it is not a hidden tab."""
        with self._pipeline.changed:
            self.pacer.awake()
            self._pipeline.changed.notify_all()

    def flush(self) -> None:
        """Send what is ready, if nothing else is under way."""
        with self._pipeline.changed:
            if self.ready is None or not self.pacer.may_send(self._pipeline.clock()):
                return
            (turn, picture), self.ready = self.ready, None
            number = self.pacer.sending(turn, self._pipeline.clock())
        try:
            self.send(picture, number)
        except Exception as error:  # a client that broke is not the others' concern
            self.failed(turn, error)

    def close(self) -> None:
        """Forget the client and everything drawn for it."""
        self._pipeline.forget(self)


class Pipeline:
    """Owns the thread that draws. `step` is all that the thread does, so tests call it with a clock of their own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.changed = threading.Condition()
        self._channels: deque[Channel[Any, Any]] = deque()
        self._tasks: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._closed = False
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        """How many clients there are."""
        return len(self._channels)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="splatview-render", daemon=True)
        self._thread.start()

    def open(self, draw: Callable[[Turn[R], Interrupt], P], send: Callable[[P, int], None], pacer: Pacer[R]) -> Channel[R, P]:
        """A new client."""
        channel = Channel(self, draw, send, pacer)
        with self.changed:
            self._channels.append(channel)
        return channel

    def forget(self, channel: Channel[Any, Any]) -> None:
        with self.changed:
            if channel in self._channels:
                self._channels.remove(channel)
            channel.ready = None
            if channel.drawing is not None:
                channel.drawing[1].set()

    def make_way(self, channel: Channel[Any, Any], now: float) -> None:
        """Give up a picture at rest that keeps `channel` waiting."""
        due = channel.pacer.due()
        waiting = channel.ready is None and due is not None and due <= now
        for one in self._channels:
            if one.drawing is None or not one.drawing[0].still or one.drawing[1].is_set:
                continue
            if one is channel:
                one.drawing[1].set()
            elif waiting and now - one.began > GIVE_WAY and one.given_way < GIVEN_WAY:
                one.given_way += 1
                one.drawing[1].set()

    def call(self, task: Callable[[], T], *, at_once: bool = False) -> Future[T]:
        """Run `task` on the drawing thread, between two pictures; `at_once`: pictures at rest make way for it. Cancelled by `close`."""
        future: Future[T] = Future()
        with self.changed:
            if self._closed:
                future.cancel()
                return future
            self._tasks.append((future, task))
            for channel in self._channels if at_once else ():
                if channel.drawing is not None and channel.drawing[0].still:
                    channel.drawing[1].set()
            self.changed.notify_all()
        return future

    def close(self) -> None:
        """Stop drawing; returns when the thread has ended, or is busy with what cannot be interrupted (a scene that is packed)."""
        with self.changed:
            self._closed = True
            for channel in self._channels:
                if channel.drawing is not None:
                    channel.drawing[1].set()
            self._channels.clear()
            waiting, self._tasks = self._tasks, deque()
            self.changed.notify_all()
        for future, _ in waiting:  # nobody will do it, and somebody may wait for it
            future.cancel()
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def step(self) -> bool:
        """Do one thing that is due: a task, a picture that may go now, or one client's next picture; False if nothing is."""
        with self.changed:
            now = self.clock()
            task = self._tasks.popleft() if self._tasks else None
            late = next((one for one in self._channels if one.ready is not None and one.pacer.may_send(now)), None)
            found = None if task or late else self._next(now)
        if task:
            _do(*task)
        elif late:
            late.flush()
        elif found:
            self._draw(*found)
        return bool(task or late or found)

    def due(self) -> float | None:
        """When something will be due if nothing else happens; None: never."""
        times = [one.pacer.due() if one.ready is None else one.pacer.patience_ends for one in self._channels]
        return min((at for at in times if at is not None), default=None)

    def _next(self, now: float) -> tuple[Channel[Any, Any], Turn[Any]] | None:
        for _ in range(len(self._channels)):
            channel = self._channels[0]
            self._channels.rotate(-1)  # served or not, it is the others' turn first
            if channel.ready is None and (turn := channel.pacer.turn(now)) is not None:
                channel.drawing, channel.began = (turn, Interrupt()), now
                return channel, turn
        return None

    def _draw(self, channel: Channel[Any, Any], turn: Turn[Any]) -> None:
        assert channel.drawing is not None
        began = self.clock()
        picture = None
        try:
            picture = channel.draw(turn, channel.drawing[1])
        except Interrupted:
            pass
        except Exception as error:  # one client's bad luck is not the others': say it, and go on
            channel.pacer.failed(turn)
            channel.failed(turn, error)
        with self.changed:
            channel.drawing = None
            if picture is None or channel not in self._channels:
                return
            channel.given_way = 0
            channel.pacer.drawn(turn, 1e3 * (self.clock() - began))
            channel.ready = (turn, picture)
        channel.flush()

    def _run(self) -> None:
        while not self._closed:
            if self.step():
                continue
            with self.changed:
                if self._closed or self._tasks:
                    continue
                at = self.due()
                if at is None or at > self.clock():
                    self.changed.wait(None if at is None else at - self.clock())
