"""Work that one can walk away from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import TypeVar

from splatview.edit.select import Tools

T = TypeVar("T")

STEP = 0.05  # seconds from one look at `Tools.stop` to the next


class Abandoned(Exception):
    """Nobody waits for this any more."""


def apart(work: Callable[[Tools], T], tools: Tools) -> T:
    """What `work` makes with `tools`; what `tools.stop` raises meanwhile ends the wait at once, wherever the work is.

    The work has a thread of its own then, and runs on until it next tells its progress, or to its end, which the program waits for when it
    ends: native code that outlives the interpreter brings it down. Only what changes nothing that others see may be done so.
    """
    stop = tools.stop
    if stop is None:
        return work(tools)
    done: Future[T] = Future()
    abandoned = threading.Event()

    def progress(fraction: float, text: str) -> None:
        if abandoned.is_set():
            raise Abandoned
        tools.progress(fraction, text)

    def run() -> None:
        try:
            done.set_result(work(replace(tools, progress=progress, stop=None)))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="splatview-apart").start()
    try:
        while not wait([done], STEP).done:
            stop()
    except BaseException:
        abandoned.set()
        raise
    return done.result()
