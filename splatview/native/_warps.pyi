"""Pictures of one view as another one has them. Everything releases the GIL; a `Warper` does one thing at a time.

A matrix [3, 4] is `stylize.warp.between`'s. Without depth [H, W] all is infinitely far, without alpha [H, W] all is there.
"""

import numpy as np
from numpy.typing import NDArray

class Warper:
    """Threads, and the instruction set that they use."""

    def __init__(self, simd: str, threads: int) -> None:
        """simd: avx512, avx2, portable, or empty for the fastest that runs here; ValueError for one that does not."""

    def average(
        self,
        matrix: NDArray[np.float64],
        depth: NDArray[np.float32] | None,
        alpha: NDArray[np.float32] | None,
        rendered: NDArray[np.uint8],  # [H, W, 3]
        style: NDArray[np.uint8],  # [H, W, 3] of it
        rendered_finer: NDArray[np.float32] | None,  # [H, W, 3] what is added to what is found of before; both or neither
        style_finer: NDArray[np.float32] | None,
        marks: NDArray[np.float32],  # [h, w, 4] of before: what was rendered, and nearness
        average: NDArray[np.float32],  # [h, w, 4] of before: the style, and how many frames count
        tolerance: float,
        change: float,
        most: float,  # frames that count
        weight: float,  # what their number is multiplied by when it is written, to 1 or more
        marks_after: NDArray[np.float32],  # [H, W, 4] written: must be writeable and C-contiguous
        average_after: NDArray[np.float32],
    ) -> NDArray[np.uint8]:
        """One frame more in the average, see `stylize.accumulate`: [H, W, 3] rounded."""

    def lay(
        self,
        matrix: NDArray[np.float64],
        depth: NDArray[np.float32] | None,
        alpha: NDArray[np.float32] | None,
        picture: NDArray[np.uint8],  # [h, w, 3]
        nearness: NDArray[np.float32],  # [h, w] of what it shows
        tolerance: float,
        width: int,
        height: int,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], bool]:
        """What is found of the picture [H, W, 3], where it is of the same surface [H, W], 1 or 0, and whether that is everywhere."""

    def sums(
        self,
        rendered: NDArray[np.uint8],  # [H, W, 3]
        found: NDArray[np.uint8],  # [H, W, 3] writeable, but not written
        known: NDArray[np.uint8],  # [H, W]
        each: int,
        columns: int,
        rows: int,
    ) -> NDArray[np.float32]:
        """[rows, columns, 13] sums over every `each`-th pixel that is known in each block of the picture.

        Of ones; and of each channel of what is rendered, of what is found, of their products, and of squares of what is rendered.
        """

    def fill(
        self,
        rendered: NDArray[np.uint8],
        found: NDArray[np.uint8],  # [H, W, 3] written where it is not known: must be writeable and C-contiguous
        known: NDArray[np.uint8],
        lines: NDArray[np.float32],  # [rows, columns, 6] slopes and shifts that make of what is rendered what is to be found
    ) -> None:
        """Fills in what is not known; lines change evenly between the middles of blocks."""

    @property
    def simd(self) -> str: ...
    @property
    def threads(self) -> int: ...
