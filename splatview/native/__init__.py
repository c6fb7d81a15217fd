"""The C++ below everything, and the number of threads that it may take.

`_splats` draws Gaussians, `_fields` encodes, marches and draws hash grids, `_points` finds neighbours, `_warps` carries pictures from one
view to another.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from splatview.native import _fields, _warps

_own = threading.local()


def thread_count() -> int:
    """`SPLATVIEW_THREADS`, or as many as this process has cores; ValueError if it is no number from 1 to 1024."""
    threads = os.environ.get("SPLATVIEW_THREADS") or str(len(os.sched_getaffinity(0)))
    if not threads.isdecimal() or not 1 <= int(threads) <= 1024:
        raise ValueError(f"SPLATVIEW_THREADS: expected a number of threads from 1 to 1024, got {threads!r}")
    return int(threads)


def field_workers() -> _fields.Workers:
    """Threads for fields: `thread_count` of them, with the instruction set that `SPLATVIEW_SIMD` names, or the fastest."""
    from splatview.native import _fields

    return _fields.Workers(os.environ.get("SPLATVIEW_SIMD", ""), thread_count())


def warper() -> _warps.Warper:
    """What carries pictures over, as `field_workers`. Each thread has its own, whose threads are as urgent as it is."""
    from splatview.native import _warps

    made_of = os.environ.get("SPLATVIEW_SIMD", ""), thread_count()
    if getattr(_own, "made_of", None) != made_of:
        _own.warper, _own.made_of = _warps.Warper(*made_of), made_of
    return _own.warper
