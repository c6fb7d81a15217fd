"""Gaussians as viser's own splats, which the browser's GPU draws: packed once, shared by everybody, the largest first.

A record is 32 bytes: the centre (3 float32), a word that belongs to the page, the covariance (6 halves: xx xy xz yy yz zz), and
colour and opacity (4 bytes). Halves hold covariances well between standard deviations of 0.008 and 256, so a layer is cut into
chunks of splats of like size, each in a unit of its own; the node that a chunk hangs on scales it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Bools, Doubles, Ints
from splatview.gaussians import Gaussians
from splatview.geometry import matrix_from_quat
from splatview.viewer.worker import Worker

Words = NDArray[np.uint32]

CHUNK = 2**18  # splats: 8 MiB, so that a slow link shows progress, and others are answered in between
LIKE = 64.0  # the largest splat of a chunk to the smallest, by standard deviation
LARGEST = 128.0  # standard deviations of a chunk's largest splat, at most, in the chunk's unit
XX, XY, XZ, YY, YZ, ZZ = range(6)


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some splats of one layer."""

    records: Words  # [n, 8]
    which: Ints  # [n] their places in the layer
    unit: float  # of the layer's units

    def without(self, hidden: Bools | None) -> Words:
        """The records [n, 8], those in the layer's mask `hidden` [N] with no opacity."""
        gone = None if hidden is None else hidden[self.which]
        if gone is None or not gone.any():
            return self.records
        records = self.records.copy()
        records[gone, 7] &= 0x00FFFFFF
        return records


@dataclass(frozen=True, eq=False)
class Packed:
    """One layer's content, ready to be sent."""

    content: Gaussians
    chunks: tuple[Chunk, ...]


class Packer:
    """Packs every content once, on a thread of its own, and holds it as long as somebody else does."""

    def __init__(self) -> None:
        self._worker = Worker("splatview-splats")
        self._closed = False
        self._packed: WeakValueDictionary[int, Packed] = WeakValueDictionary()  # by id: the value keeps the content, and so its id

    def soon(self, task: Callable[[], None]) -> None:
        """Do `task`, which may call `packed`, when those before it are done; never if the packer is closed before."""
        self._worker.call(task)

    def packed(self, content: Gaussians) -> Packed:
        """`content` as chunks; CancelledError if the packer is closed meanwhile. For tasks only."""
        found = self._packed.get(id(content))
        if found is None:
            chunks = []
            for chunk in pack(content):
                if self._closed:
                    raise CancelledError
                chunks.append(chunk)
            found = self._packed[id(content)] = Packed(content, tuple(chunks))
        return found

    def close(self) -> None:
        self._closed = True
        self._worker.close()


def pack(content: Gaussians) -> Iterator[Chunk]:
    """`content` in chunks, the largest splats first, without those that have numbers which are not finite."""
    flat = content.with_max_degree(0)
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = flat.scales.max(1, initial=0)
        drawn = np.isfinite(sizes) & np.isfinite(flat.means).all(1) & np.isfinite(flat.quats).all(1)
        drawn &= np.isfinite(flat.colours).all(1) & ~np.isnan(flat.opacity_logits)
    order = np.flatnonzero(drawn)
    order = order[np.argsort(-sizes[order], kind="stable")].astype(np.int32)
    falling = -sizes[order]
    begin = 0
    while begin < len(order):
        end = min(begin + CHUNK, int(np.searchsorted(falling, falling[begin] / LIKE, side="right")))
        yield _chunk(flat.take(order[begin:end]), order[begin:end])
        begin = end


def _chunk(splats: Gaussians, which: Ints) -> Chunk:
    largest = float(splats.scales.max())
    exponent = np.clip(np.floor(np.log2(LARGEST / largest)), -40, 40) if largest > 0 else 0.0
    per_unit = float(2**exponent)  # a power of two: nothing is rounded
    axes = matrix_from_quat(splats.quats.astype(np.float64)) * (splats.scales.astype(np.float64) * per_unit)[:, None, :]
    covariances = axes @ axes.swapaxes(1, 2)
    colours = np.concatenate([np.clip(splats.colours, 0, 1), splats.opacities[:, None]], 1)
    records = np.zeros((len(which), 8), np.uint32)
    records[:, :3] = (splats.means.astype(np.float64) * per_unit).astype(np.float32).view(np.uint32)
    records[:, 4:7] = rounded_up(covariances[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]).view(np.uint32)
    records[:, 7] = np.rint(255 * colours).astype(np.uint8).view(np.uint32)[:, 0]
    records.flags.writeable = False
    return Chunk(records, which, 1 / per_unit)


def rounded_up(covariances: Doubles) -> NDArray[np.float16]:
    """Symmetric matrices [N, 6] (upper triangles) as halves, in no direction smaller than they were.

    Rounded to the nearest, a thin splat could get a negative width, and the page would not draw it: what rounding does beside the
    diagonal is added to it (by Gershgorin's circles the difference then has no negative eigenvalue).
    """
    halves = covariances.astype(np.float16, order="C")
    errors = np.abs(halves - covariances)
    for diagonal, beside in ((XX, [XY, XZ]), (YY, [XY, YZ]), (ZZ, [XZ, YZ])):
        least = covariances[:, diagonal] + errors[:, beside].sum(1)
        rounded = least.astype(np.float16)
        halves[:, diagonal] = np.where(rounded < least, np.nextafter(rounded, np.float16(np.inf)), rounded)
    return halves
