"""Instant-NGP's occupancy: nested grids of 128^3 cells about the unit cube, each twice as large as the one before, in Morton order.

A cell holds what a shortest step through it would cover, as the training last knew; negative numbers were never seen by a photo.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Bools, Doubles
from splatview.formats.instant_ngp_schema import Snapshot
from splatview.formats.report import Report
from splatview.hashgrid import Occupancy
from splatview.volumes import Cut, left_by

SIZE = 128  # cells along an axis
FULL = 1.0  # what is written for an occupied cell: far more than LEAST
LEAST = 0.01  # less covers nothing that is seen
_CORNERS: Doubles = np.array([[-0.5] * 3, [0.5] * 3])


def boxes(cascades: int) -> Doubles:
    """[C, 2, 3] low and high corner of each grid."""
    return 0.5 + _CORNERS * 2.0 ** np.arange(cascades)[:, None, None]


def order() -> NDArray[np.uint32]:
    """[X, Y, Z] the place of each cell: the bits of x, y and z in turn, those of x the lowest."""
    axis = np.arange(SIZE, dtype=np.uint32)
    spread = np.zeros_like(axis)
    for bit in range(SIZE.bit_length() - 1):
        spread |= (axis >> np.uint32(bit) & np.uint32(1)) << np.uint32(3 * bit)
    return spread[:, None, None] | spread[:, None] << np.uint32(1) | spread << np.uint32(2)


def read(snapshot: Snapshot, cascades: int, report: Report) -> Occupancy | None:
    """Where there is something, as Instant-NGP itself makes it from the numbers; None if there are none. ValueError if they do not fit."""
    stored = snapshot.density_grid_binary
    if not stored.nbytes:
        report.note("the snapshot has no occupancy grid, as before any training: every place is asked about")
        return None
    if snapshot.density_grid_size != SIZE or stored.nbytes != 2 * cascades * SIZE**3:
        found = f"{stored.nbytes:,} bytes of {snapshot.density_grid_size}^3"
        raise ValueError(f"ingp: expected an occupancy of {cascades} x {SIZE}^3 numbers of 2 bytes, found {found}")
    values, places = np.frombuffer(stored, np.float16).reshape(cascades, SIZE**3), order()
    mean = float(np.fmax(values[0], 0).sum(dtype=np.float64)) / SIZE**3
    full = np.stack([(one.astype(np.float32) > np.float32(min(LEAST, mean)))[places] for one in values])
    inner = slice(SIZE // 4, SIZE - SIZE // 4)
    for coarse, fine in zip(full[1:], full, strict=False):  # a cell is what any of the eight in it is
        coarse[inner, inner, inner] |= fine.reshape([SIZE // 2, 2] * 3).any(axis=(1, 3, 5))
    return Occupancy(full, boxes(cascades))


def write(occupancy: Occupancy | None, cascades: int, shift: Doubles, cuts: Sequence[Cut] = ()) -> bytes:
    """The numbers for an occupancy whose boxes lie `shift` [3] away: a cell is occupied where any of it was. None: everywhere.

    `cuts`: cells of whose middle they leave less than half are empty.
    """
    full = np.full((cascades, SIZE, SIZE, SIZE), occupancy is None)
    if occupancy is not None:
        sources = occupancy.boxes + shift
        for place, (cells, source) in enumerate(zip(occupancy.cells, sources, strict=True)):
            asked = cells if place == 0 else cells & ~_within(cells.shape, source, sources[place - 1])
            for target, box in zip(full, boxes(cascades), strict=True):
                same = cells.shape == target.shape and np.allclose(source, box, rtol=0, atol=1e-6)
                target |= cells if same else _covered(asked, source, box)
    if cuts:
        for target, (low, high) in zip(full, boxes(cascades), strict=True):
            target[target] = left_by(cuts, low + (high - low) * (np.argwhere(target) + 0.5) / SIZE) >= 0.5
    values, places = np.zeros((cascades, SIZE**3), np.float16), order()
    for target, one in zip(values, full, strict=True):
        target[places] = np.where(one, np.float16(FULL), np.float16(0))
    return values.tobytes()


def _edges(count: int, source: Doubles, axis: int) -> tuple[Doubles, Doubles]:
    """[count] where the cells of the box `source` begin and end along an axis."""
    edges = np.linspace(source[0, axis], source[1, axis], count + 1)
    return edges[:-1], edges[1:]


def _within(shape: tuple[int, ...], source: Doubles, box: Doubles) -> Bools:
    """[X, Y, Z] the cells of `source` that lie in `box`, about which a finer grid is asked."""
    inside = []
    for axis, count in enumerate(shape):
        low, high = _edges(count, source, axis)
        inside.append((low >= box[0, axis] - 1e-9) & (high <= box[1, axis] + 1e-9))
    return inside[0][:, None, None] & inside[1][:, None] & inside[2]


def _covered(cells: Bools, source: Doubles, box: Doubles) -> Bools:
    """[SIZE, SIZE, SIZE] the cells of `box` that one of `cells` [X, Y, Z] of the box `source` reaches into."""
    reaches = []
    for axis, count in enumerate(cells.shape):
        (low, high), (begin, end) = _edges(count, source, axis), _edges(SIZE, box, axis)
        slack = 1e-6 * (end - begin)[:, None]
        reaches.append((low < end[:, None] - slack) & (high > begin[:, None] + slack))
    found = cells[np.ix_(*(reach.any(axis=0) for reach in reaches))].astype(np.float32)
    if not found.any():
        return np.zeros((SIZE, SIZE, SIZE), np.bool_)
    for axis, reach in enumerate(reaches):
        found = np.moveaxis(np.tensordot(reach[:, reach.any(axis=0)].astype(np.float32), found, (1, axis)), 0, axis)
    return found > 0
