"""The C++ below everything, and the number of threads that it may take.

`_splats` draws Gaussians, `_fields` encodes, marches and draws hash grids, `_points` finds neighbours.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from splatview.native import _fields


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
