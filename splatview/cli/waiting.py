"""Showing how far something is, once it takes longer than a second. On stderr, and only on a terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 1.0  # seconds


@contextmanager
def waiting(title: str) -> Iterator[Callable[[float, str], None]]:
    """A progress bar beside whatever runs inside, which tells it how far it is (0..1) and what it is doing."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn(title, markup=False), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    progress = Progress(*columns, console=console, transient=True)
    task = progress.add_task("", total=1.0)
    timer = threading.Timer(PATIENCE, progress.start)
    timer.daemon = True
    if console.is_terminal:
        timer.start()
    try:
        yield lambda fraction, text: progress.update(task, completed=fraction, description=text)
    finally:
        timer.cancel()
        if timer.ident is not None:  # it was started: wait for a bar that is just coming up
            timer.join()
            progress.stop()


def counted(items: Sequence[T], title: str) -> Iterable[T]:
    """`items`, with a progress bar while they are worked through; nothing is shown for a single one."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, title, console=console, transient=True) if len(items) > 1 and console.is_terminal else items
