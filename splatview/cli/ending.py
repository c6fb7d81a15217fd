"""The end of a command that runs until somebody ends it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def asked_to_end() -> Iterator[list[BaseException]]:
    """Ctrl+C and SIGTERM are noted instead of raised, however often they come: what would be raised, once it suits."""
    asked: list[BaseException] = []
    notes = {signal.SIGINT: KeyboardInterrupt(), signal.SIGTERM: SystemExit(128 + signal.SIGTERM)}
    before = {one: signal.signal(one, lambda number, _: asked.append(notes[signal.Signals(number)])) for one in notes}
    try:
        yield asked
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def held_back() -> Iterator[None]:
    """Ctrl+C and SIGTERM are raised behind the block: what is raised while modules come in may get lost in them."""
    with asked_to_end() as asked:
        yield
    if asked:
        raise asked[0]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM leaves the block as Ctrl+C does, so that everything is closed on the way; then the process ends without delay."""

    def leave(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    handler, threads = signal.signal(signal.SIGTERM, leave), set(threading.enumerate())
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as left:
        if any(one.name.startswith("splatview") for one in set(threading.enumerate()) - threads):
            # Native code that cannot be interrupted is at work there: Python would abort while it takes itself down around it.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(left.code if isinstance(left, SystemExit) and isinstance(left.code, int) else 128 + signal.SIGINT)
        raise
    finally:
        signal.signal(signal.SIGTERM, handler)
