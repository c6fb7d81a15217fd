"""A one-slot mailbox: the newest value wins, and what it replaced is counted."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """A hand-off between threads that never queues: `put` replaces a value nobody took yet."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._value: T | None = None
        self._full = False
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many values were replaced before anybody took them."""
        return self._dropped

    def put(self, value: T) -> None:
        """Leave `value`; a closed mailbox ignores it."""
        with self._changed:
            if self._closed:
                return
            self._dropped += self._full
            self._value, self._full = value, True
            self._changed.notify_all()

    def put_each(self, value: T) -> bool:
        """Leave `value` once the slot is free, so that nothing is dropped; False if it was closed before."""
        with self._changed:
            self._changed.wait_for(lambda: not self._full or self._closed)
            if self._closed:
                return False
            self._value, self._full = value, True
            self._changed.notify_all()
            return True

    def take(self, timeout: float | None = None) -> T | None:
        """The newest value, waited for up to `timeout` seconds (None: for ever); None after that, or once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._full or self._closed, timeout)
            value, self._value, self._full = self._value, None, False
            self._changed.notify_all()
            return value

    @property
    def waiting(self) -> bool:
        """Whether a value lies there."""
        return self._full

    def close(self) -> None:
        """Wake every taker with None; later values are ignored."""
        with self._changed:
            self._closed, self._value, self._full = True, None, False
            self._changed.notify_all()
