"""What is told of a training while people look at what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MOST = 240  # points of a curve; then every second one goes


@dataclass(frozen=True)
class Moment:
    """How good a field was."""

    minutes: float  # of training
    loss: float
    psnr: float | None  # dB, of a photo that it is not trained on; None: not known yet


class Live:
    """A training that pages tell of, and that people may end. Any thread may call it."""

    def __init__(self) -> None:
        self.changed: Callable[[], None] = lambda: None
        self.rows: Mapping[str, str] = {}  # facts by title; none before it begins
        self.moments: tuple[Moment, ...] = ()
        self.over = False
        self._stopping = threading.Event()

    def tell(self, rows: Mapping[str, str], moment: Moment | None = None, over: bool = False) -> None:
        """How it stands."""
        self.rows, self.over = rows, over
        if moment is not None:
            self.moments = (*self.moments[:: 1 + (len(self.moments) >= MOST)], moment)
        self.changed()

    @property
    def stopping(self) -> bool:
        """Whether somebody wants it to end."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Let it end as if its time was over."""
        self._stopping.set()
        self.changed()
