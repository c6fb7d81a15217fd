"""Pictures in bands of rows: on every core, and so small that what is worked out on the way stays in the cache."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

PIXELS = 1 << 17  # of a band, about
HALOS = 4  # a band is so many times as high at least as what is worked out twice on each side of it
_workers = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "splatview-bands")


def in_bands(work: Callable[[slice], np.ndarray], height: int, width: int, least: int = 8) -> np.ndarray:
    """What `work` gives for some rows [h, ...], `least` or more, for all rows [height, ...]. Not to be used within `work`."""
    rows = max(least, PIXELS // width)
    if rows >= height:
        return work(slice(0, height))
    whole: list[np.ndarray] = []
    one_at_a_time = threading.Lock()

    def fill(band: slice) -> None:
        found = work(band)
        with one_at_a_time:
            if not whole:
                whole.append(np.empty((height, *found.shape[1:]), found.dtype))
        whole[0][band] = found

    list(_workers.map(fill, [slice(first, min(first + rows, height)) for first in range(0, height, rows)]))
    return whole[0]


def banded(work: Callable[..., np.ndarray], halo: int, *images: np.ndarray) -> np.ndarray:
    """work(*images) of images [H, W(, C)] of one size, where no row of the result depends on one farther than `halo` from it."""
    height, width = images[0].shape[:2]

    def inside(rows: slice) -> np.ndarray:
        top, bottom = max(0, rows.start - halo), rows.stop + halo
        return work(*(image[top:bottom] for image in images))[rows.start - top : rows.stop - top]

    return in_bands(inside, height, width, max(8, HALOS * halo))
