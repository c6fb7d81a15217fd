"""The samples of a field's rays on a GPU, a wave at a time, and what is known of the field besides what it says about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from splatview.hashgrid import HashGrid

MOST_SAMPLES = 32  # of a ray in a wave


@dataclass(frozen=True, eq=False)
class Space:
    """A field on the device, without its encoding and its networks."""

    cells: Tensor  # [C X Y Z / 8] uint8, low bits first
    blocks: Tensor  # [C X/4 Y/4 Z/4] uint8, 1 where one of 4 x 4 x 4 cells is occupied
    boxes: Tensor  # [C, 6]
    box: Tensor  # [6] low corner, 1 / sides
    constants: dict[str, Any]  # what kernels are compiled for
    steps: tuple[float, ...]  # step, rate, first, last, longest
    least_alpha: float
    density_factor: float

    @staticmethod
    def of(field: HashGrid, device: torch.device) -> Space:
        occupancy, marching = field.occupancy, field.marching
        cells = np.packbits(occupancy.cells, axis=None, bitorder="little") if occupancy is not None else np.zeros(1, np.uint8)
        size = occupancy.cells.shape if occupancy is not None else (1, 1, 1, 1)
        boxes = occupancy.boxes.reshape(-1, 6) if occupancy is not None else np.zeros((1, 6))
        low, high = field.box
        first, last, rate = marching.step, marching.longest, 1.0
        if marching.cone:
            rate, first, last = marching.turns
        floats: dict[str, Any] = {"dtype": torch.float32, "device": device}
        return Space(
            torch.tensor(cells, device=device),
            torch.tensor(_blocks(occupancy.cells) if occupancy is not None else cells, device=device),
            torch.tensor(boxes, **floats),
            torch.tensor(np.concatenate([low, 1 / (high - low)]), **floats),
            {
                "GROWING": bool(marching.cone),
                "CONTRACTED": field.warp == "contraction",
                "OCCUPIED": occupancy is not None,
                "HDR": field.hdr,
                "SHIFTED": field.shifted_directions,
                "CASCADES": size[0],
                "CELLS_X": size[1],
                "CELLS_Y": size[2],
                "CELLS_Z": size[3],
                "MOST": MOST_SAMPLES,
            },
            (marching.step, rate, first, min(last, 1e30), min(marching.longest, 1e30)),
            marching.least_alpha,
            field.density_factor,
        )


def _blocks(cells: np.ndarray) -> np.ndarray:
    """[C X/4 Y/4 Z/4] 1 where one of 4 x 4 x 4 `cells` [C, X, Y, Z] is occupied, in the same order."""
    padded = np.pad(cells, [(0, 0), *((0, -size % 4) for size in cells.shape[1:])])
    cascades, *sizes = padded.shape
    x, y, z = (size // 4 for size in sizes)
    return padded.reshape(cascades, x, 4, y, 4, z, 4).any((2, 4, 6)).astype(np.uint8).reshape(-1)


@dataclass(frozen=True, eq=False)
class Wave:
    """The next few samples of each ray that is on its way."""

    answers: Tensor  # [4, slots] what each sample covers, and its colour: to be written
    directions: Tensor  # [3, N] of all rays
    seen: Tensor  # [N, 16] float16 harmonics of them
    counts: Tensor  # [rounds] int32 rays on their way
    places: Tensor  # [slots] distances of the samples; below 0: none
    owners: Tensor  # [slots] int32 whose they are
    view: Tensor  # [16] see `field_kernels.begin_rays`
    cuts: Tensor  # [K, 18]
    turn: int  # the rays of this wave are counted after this place of `counts`
    steps: tuple[float, ...]  # step, rate, first, last, longest, as drawn

    @property
    def rays(self) -> int:
        return self.directions.shape[1]

    @property
    def slots(self) -> int:
        return len(self.places)


class Networks(Protocol):
    """A field's encoding and its networks, on the device."""

    def answer(self, space: Space, wave: Wave) -> None:
        """Write `wave.answers` where there are samples."""
        ...


def launch(kernel: Any, count: int, *inputs: Any, constants: dict[str, Any], block: int, across: int = 1, warps: int = 4) -> None:
    """A kernel with a program for each `block` of `count`, `across` times, with those of the constants that it has."""
    constants = {key: value for key, value in {**constants, "BLOCK": block}.items() if key in kernel.arg_names}
    kernel[(-(-count // block), across)](*inputs, **constants, num_warps=warps)
