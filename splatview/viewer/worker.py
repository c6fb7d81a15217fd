"""A thread of ours for what takes long, so that no page ever waits for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Does tasks one after another on a daemon thread, which starts with the first of them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.closed = False  # a long task looks at it now and then

    def call(self, task: Callable[[], T]) -> Future[T]:
        """Do `task` when those before it are done; the future has what it returns or raises. Cancelled if the worker is closed."""
        future: Future[T] = Future()
        with self._changed:
            if self.closed:
                future.cancel()
                return future
            self._tasks.append((future, task))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()
        return future

    def close(self, patience: float = 0.5) -> None:
        """Cancel what waits, and wait so many seconds for the task under way; the thread ends with it."""
        with self._changed:
            self.closed = True
            waiting, self._tasks = self._tasks, deque()
            self._changed.notify()
        for future, _ in waiting:
            future.cancel()
        if self._thread is not None:
            self._thread.join(patience)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks or self.closed)
                if self.closed:
                    return
                future, task = self._tasks.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(task())
                except BaseException as error:
                    future.set_exception(error)
            del future, task  # not held while waiting for the next
