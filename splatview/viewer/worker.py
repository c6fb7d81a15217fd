"""A thread of ours for what takes long, so that no page ever waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Does tasks one after another on a daemon thread, which starts with the first of them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.closed = threading.Event()  # a long task looks at it now and then

    def call(self, task: Callable[[], T]) -> Future[T]:
        """Do `task` when those before it are done; the future has what it returns or raises. Cancelled if the worker is closed."""
        future: Future[T] = Future()

        def run() -> None:
            if self.closed.is_set():
                future.cancel()
            elif future.set_running_or_notify_cancel():
                try:
                    future.set_result(task())
                except BaseException as error:
                    future.set_exception(error)

        with self._lock:
            self._tasks.put(run)
            if self.closed.is_set():
                future.cancel()
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        return future

    def close(self, patience: float = 0.5) -> None:
        """Take no more tasks, and wait so many seconds for the one under way; the thread ends with it."""
        with self._lock:
            self.closed.set()
            self._tasks.put(None)
        if self._thread is not None:
            self._thread.join(patience)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
