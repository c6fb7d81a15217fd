"""Hash-grid fields on the CPU. Everything releases the GIL; a `Workers` does one thing at a time.

Levels [L, 4] of an encoding are rows of scale, resolution (0: hashed), entries and first row in the table, see `hashgrid.Level`; `offset`
is `HashGrid.offset`.
"""

import numpy as np
from numpy.typing import NDArray

class Occupancy:
    """An occupancy grid, a bit for each cell; never changes."""

    def __init__(
        self,
        cells: NDArray[np.uint8],  # [C, X, Y, Z] 0: nothing is there
        boxes: NDArray[np.float64],  # [C, 2, 3]
    ) -> None: ...

class Steps:
    """The numbers of a `hashgrid.Marching`."""

    def __init__(self, step: float, cone: float, longest: float, near: float) -> None: ...

class Field:
    """A `hashgrid.HashGrid` in the layout in which it is asked and drawn; never changes."""

    def __init__(self, grid: object) -> None: ...
    @property
    def nbytes(self) -> int: ...

class Workers:
    """Threads, and the instruction set that they use."""

    def __init__(self, simd: str, threads: int) -> None:
        """simd: avx512, avx2, portable, or empty for the fastest that runs here; ValueError for one that does not."""

    def encode(
        self,
        positions: NDArray[np.float32],  # [N, 3] in the unit cube
        table: NDArray[np.float32],  # [T, F] the entries of all levels
        levels: NDArray[np.float64],  # [L, 4]
        offset: float,
    ) -> NDArray[np.float32]:
        """The features [N, L F], level by level; 0 for a point that is not inside of the cube."""

    def encode_backward(
        self,
        positions: NDArray[np.float32],  # [N, 3]
        dfeatures: NDArray[np.float32],  # [N, L F]
        levels: NDArray[np.float64],  # [L, 4]
        offset: float,
        gradient: NDArray[np.float32],  # [T, F] written: must be writeable and C-contiguous
    ) -> None:
        """Adds to `gradient` that by the table of a loss whose gradient by the features is `dfeatures`; the same with any threads."""

    def march(
        self,
        origins: NDArray[np.float32],  # [R, 3]
        directions: NDArray[np.float32],  # [R, 3] unit
        shift: NDArray[np.float32],  # [R] of the lattice, 0..1 steps: 1/2 in pictures
        occupancy: Occupancy | None,
        bounds: NDArray[np.float64],  # [2, 3]
        steps: Steps,
        most: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        """The samples in occupied cells, ray by ray, front to back: ray [S], distance [S], length [S]; the first `most` of them."""

    def query(
        self, field: Field, positions: NDArray[np.float32], directions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Density [N] and rgb [N, 3], as `HashGrid.query`."""

    def draw(
        self,
        field: Field,
        origin: NDArray[np.float64],  # [3] in the field's frame
        field_from_pixel: NDArray[np.float64],  # [3, 3] takes (x, y, 1), pixels, to the direction that goes by 1 along the view axis
        rectangle: list[int],  # left, top, width, height: what is drawn of the picture
        near: float,  # along the view axis, in the field's units
        far: float,
        bounds: NDArray[np.float64],  # [2, 3]
        cuts: NDArray[np.float64],  # [C, 18] as `splatview.volumes.packed` has them
        detail: float,  # over 0, up to 1: so many samples for each of the field's own
        last_transmittance: float,  # a sample that leaves less is opaque
        divide: NDArray[np.float32] | None,  # [H, W] along the view axis: where a ray is divided
        interrupt: NDArray[np.uint8] | None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]] | None:
        """What is blended of each part of the rays; None if it was interrupted.

        Colour [P, H, W, 3], alpha and weighted distance along the view axis [P, H, W], and samples [H, W]. P is 1, or 2 if they are
        divided: what lies before the divide, and as much of what lies behind it as passes that.
        """

    @property
    def simd(self) -> str: ...
    @property
    def threads(self) -> int: ...
