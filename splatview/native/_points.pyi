"""Neighbours of points, and the two greedy walks over pairs of them. Everything releases the GIL; nothing is changed once made."""

import numpy as np
from numpy.typing import NDArray

class Points:
    """A k-d tree over points [N, 3]; those that are not finite have no neighbours and are nobody's. About 25 bytes a point."""

    def __init__(self, points: NDArray[np.float32], threads: int) -> None: ...
    def nearest(self, k: int, rows: NDArray[np.int32] | None = None) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The k nearest others of `rows` [M] (None: of all), nearest first: rows [M, k] and distances; -1 and inf for want of more."""

    def counts(self, radius: float, limit: int) -> NDArray[np.int32]:
        """[N] others within `radius`, counted up to `limit`."""

    def within(self, chosen: NDArray[np.uint8], radius: float) -> NDArray[np.uint8]:
        """[N] 1 where a point is chosen or within `radius` of one that is."""

    def components(self, gap: float) -> NDArray[np.int32]:
        """[N] the first row of all that hang together with a point by steps of at most `gap`; -1: not finite."""

    @property
    def nbytes(self) -> int: ...

def match(first: NDArray[np.int32], second: NDArray[np.int32], rows: int, most: int) -> NDArray[np.uint8]:
    """[P] 1 for the pairs that are taken when each in turn is, unless an end is taken already; `most` of them."""

def join(
    first: NDArray[np.int32], second: NDArray[np.int32], differ: NDArray[np.uint8], rows: int
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Joins pairs [P] in turn: the smallest row that each row [N] is joined with, and whether its sign differs from that one's."""
