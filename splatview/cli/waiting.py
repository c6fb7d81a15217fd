"""Showing that something is going on, once it takes longer than a second. On stderr, and only on a terminal."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 1.0  # seconds


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """A spinner with `text` and the time passed beside whatever runs inside."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    progress = Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True)
    progress.add_task(text, total=None)
    timer = threading.Timer(PATIENCE, progress.start)
    timer.daemon = True
    if console.is_terminal:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if timer.ident is not None:  # it was started: wait for a spinner that is just coming up
            timer.join()
        progress.stop()


def counted(items: Sequence[T], text: str) -> Iterable[T]:
    """`items`, with a progress bar while they are worked through; nothing is shown for a single one."""
    from rich.console import Console
    from rich.progress import track

    if len(items) < 2:
        return items
    return track(items, description=text, console=Console(stderr=True), transient=True)
