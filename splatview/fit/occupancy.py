"""Where there is something, learned while training: a decaying record of the largest density seen in each cell (Müller et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from splatview.hashgrid import Marching, Occupancy
from splatview.native import _fields

SIZE = 128  # cells along an axis, in instant-ngp's files
DECAY = 0.8  # of what was seen, whenever a cell is looked at again
LEAST = 0.01  # optical thickness of a least step, above which a cell is occupied
SHARE = 16  # one cell of so many is asked about in an update, all of them in turn, and as many again of those that are occupied
MOST = 1 << 18  # cells that are asked about at once


class OccupancyGrid:
    """Nested grids of SIZE^3 cells around (0.5, 0.5, 0.5), each twice as large as the one before."""

    def __init__(self, box_scale: int, marching: Marching, device: torch.device, seed: int = 0) -> None:
        self._cascades, self._step, self._device = max(1, box_scale.bit_length()), marching.step, device
        # Optical, of a least step; below 0: never to be anything.
        self.thickness = torch.zeros((self._cascades, SIZE, SIZE, SIZE), device=device)
        self.cells = torch.ones_like(self.thickness, dtype=torch.bool)
        self._order = torch.randperm(SIZE**3, generator=torch.Generator().manual_seed(seed)).to(device)
        self._turn = -1  # which share is next; below 0: all of them
        self._native: _fields.Occupancy | None = None

    @property
    def boxes(self) -> np.ndarray:
        """[C, 2, 3] low and high corners."""
        sides = 2.0 ** np.arange(self._cascades)
        return 0.5 + 0.5 * sides[:, None, None] * np.array([-1.0, 1.0])[None, :, None] * np.ones((1, 1, 3))

    def at(self, points: Tensor) -> Tensor:
        """[...] whether there may be something at `points` [..., 3], as `splatview.hashgrid.Occupancy.at`."""
        centred = points - 0.5
        reach = 2 * centred.abs().amax(-1)
        cascade = reach.clamp_min(1).log2().ceil()
        inside = cascade < self._cascades
        cell = ((centred * torch.exp2(-cascade)[..., None] + 0.5) * SIZE).long().clamp(0, SIZE - 1)
        place = ((cascade.clamp_max(self._cascades - 1).long() * SIZE + cell[..., 0]) * SIZE + cell[..., 1]) * SIZE + cell[..., 2]
        return self.cells.view(-1)[place] & inside

    @torch.no_grad()
    def leave_out_unseen(self, sees: Callable[[Tensor], Tensor]) -> None:
        """Nothing is ever looked for where no camera `sees` the middle of a cell."""
        at = (torch.arange(SIZE, device=self._device) + 0.5) / SIZE - 0.5
        y, z = torch.meshgrid(at, at, indexing="ij")
        for cascade in range(self._cascades):
            for place in range(SIZE):
                points = torch.stack([at[place].expand_as(y), y, z], -1).view(-1, 3) * 2.0**cascade + 0.5
                self.thickness[cascade, place].view(-1)[~sees(points)] = -1.0
        self._decide()

    @torch.no_grad()
    def update(self, density_at: Callable[[Tensor], Tensor], generator: torch.Generator) -> None:
        """Ask about some cells of each grid, the first time about all, at a random point of each."""
        count = len(self._order) // SHARE
        everywhere = self._order if self._turn < 0 else self._order[self._turn * count : (self._turn + 1) * count]
        self._turn = (self._turn + 1) % SHARE
        for cascade in range(self._cascades):
            occupied = torch.nonzero(self.cells[cascade].view(-1))[:, 0]
            some = torch.randint(max(1, len(occupied)), (min(count, len(occupied)),), generator=generator, device=generator.device)
            cells = torch.cat([everywhere, occupied[some.to(self._device)]])
            corner = torch.stack([cells // SIZE**2, cells // SIZE % SIZE, cells % SIZE], -1)
            within = torch.rand((len(cells), 3), generator=generator, device=generator.device).to(self._device)
            points = ((corner + within) / SIZE - 0.5) * 2.0**cascade + 0.5
            found = torch.cat([density_at(part) for part in points.split(MOST)]) * self._step
            flat = self.thickness[cascade].view(-1)
            flat[cells] = torch.where(flat[cells] < 0, flat[cells], torch.maximum(flat[cells] * DECAY, found))
        self._decide()

    def _decide(self) -> None:
        self._native = None
        level = min(LEAST, float(self.thickness[0].clamp_min(0).mean()))
        self.cells = self.thickness > level
        for finer, coarser in zip(self.cells, self.cells[1:], strict=False):  # a coarse cell holds what its fine ones do
            half = finer.view(SIZE // 2, 2, SIZE // 2, 2, SIZE // 2, 2).any(5).any(3).any(1)
            inner = slice(SIZE // 4, 3 * SIZE // 4)
            coarser[inner, inner, inner] |= half

    def state(self) -> dict[str, Any]:
        return {"thickness": self.thickness, "order": self._order, "turn": self._turn}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.thickness.copy_(state["thickness"])
        self._order.copy_(state["order"])
        self._turn = state["turn"]
        self._decide()

    def native(self) -> _fields.Occupancy:
        """The cells as the native module has them."""
        if self._native is None:
            self._native = _fields.Occupancy(self.cells.numpy().view(np.uint8), self.boxes)
        return self._native

    def value(self) -> Occupancy:
        return Occupancy(self.cells.cpu().numpy().copy(), self.boxes)

    @property
    def share(self) -> float:
        """Of all cells those that are occupied."""
        return float(self.cells.float().mean())
