"""The field that is trained: a HashGrid whose numbers are torch's."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splatview import ngp
from splatview.arrays import Doubles
from splatview.fit.encoding import Grid, encode
from splatview.hashgrid import HARMONICS, HashGrid, Level, Marching, Network, Occupancy, harmonic_columns

OUTPUTS = 16  # of the density network, all of which the colour network sees
LARGEST = 15.0  # log of a density; beyond, nothing is seen through the least step


@dataclass(frozen=True)
class Shape:
    """How large a field is; instant-ngp's defaults."""

    levels: int = 8
    features: int = 4
    log2_size: int = 19
    coarsest: int = 16
    finest: int = ngp.FINEST  # cells along a unit of the box
    width: int = 64
    density_layers: int = 1  # hidden
    colour_layers: int = 2

    def growth(self, box_scale: int) -> float:
        """From one level to the next."""
        return ngp.growth(self.levels, self.coarsest, box_scale, self.finest)


class Field(nn.Module):
    """Density and colour at points of a box, [N, 3] in the frame it is trained in."""

    def __init__(self, shape: Shape, box: Doubles, device: torch.device, generator: torch.Generator) -> None:
        super().__init__()
        self.shape, self.box = shape, box
        side = round(float(box[1, 0] - box[0, 0]))
        levels = ngp.level_shapes(shape.levels, shape.log2_size, shape.coarsest, shape.growth(side))
        self.grid = Grid.of(levels, shape.features, device)
        self.low, self.size = float(box[0, 0]), float(side)

        def drawn(*sizes: int, reach: float) -> nn.Parameter:
            return nn.Parameter((2 * torch.rand(sizes, generator=generator) - 1).mul_(reach).to(device))

        def network(*widths: int) -> nn.ParameterList:  # Glorot and Bengio 2010
            return nn.ParameterList(
                drawn(after, before, reach=(6 / (before + after)) ** 0.5) for before, after in itertools.pairwise(widths)
            )

        self.table = drawn(self.grid.rows, shape.features, reach=1e-4)
        self.density = network(shape.levels * shape.features, *[shape.width] * shape.density_layers, OUTPUTS)
        self.colour = network(OUTPUTS + HARMONICS, *[shape.width] * shape.colour_layers, 3)

    def forward(self, positions: Tensor, directions: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
        """Density [N] per unit and rgb [N, 3] at `positions` [N, 3] on the rays of unit `directions` [R, 3] that `ray` [N] names."""
        raw = self._raw(positions)
        seen = torch.stack(harmonic_columns(*directions.unbind(-1)), -1)[ray]
        colour = _through(self.colour, torch.cat([raw, seen], -1))
        return density_of(raw[:, 0]), torch.sigmoid(colour)

    @torch.no_grad()
    def density_at(self, positions: Tensor) -> Tensor:
        """[N] per unit."""
        return density_of(self._raw(positions)[:, 0])

    def _raw(self, positions: Tensor) -> Tensor:
        return _through(self.density, encode((positions - self.low) / self.size, self.table, self.grid))

    def hashgrid(self, marching: Marching, occupancy: Occupancy | None) -> HashGrid:
        """The field as it stands, as a value."""
        with torch.no_grad():
            table = self.table.float().cpu().numpy()
            density, colour = (  # copied: on a CPU they would be torch's own numbers, which training changes
                Network(tuple(layer.float().cpu().numpy().copy() for layer in layers)) for layers in (self.density, self.colour)
            )
        levels = tuple(
            Level(table[first : first + entries].copy(), scale, corners)
            for (scale, corners, entries), first in zip(self.grid.levels, self.grid.firsts, strict=True)
        )
        return HashGrid(levels, density, colour, self.box, marching, occupancy)


class _Exponential(torch.autograd.Function):
    """exp, which neither overflows nor has a gradient that runs away."""

    @staticmethod
    def forward(ctx, raw: Tensor) -> Tensor:
        found = torch.exp(raw.clamp_max(LARGEST))
        ctx.save_for_backward(found)
        return found

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:
        (found,) = ctx.saved_tensors
        return gradients[0] * found


def density_of(raw: Tensor) -> Tensor:
    """Density of the first output of its network (Müller et al. 2022)."""
    return _Exponential.apply(raw)  # pyright: ignore[reportReturnType]


def _through(layers: nn.ParameterList, values: Tensor) -> Tensor:
    for place, layer in enumerate(layers):
        values = (torch.relu(values) if place else values) @ layer.T
    return values
