"""Networks of fields by tiny-cuda-nn, where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from splatview.arrays import Floats
from splatview.hashgrid import HashGrid
from splatview.render.field_waves import MOST_SAMPLES, Space, Wave, launch
from splatview.tcnn import LARGEST, laid_out

AT_ONCE = 1 << 20  # samples, about 0.4 KB each; much smaller batches are slower
GRANULARITY = 256  # a multiple of which a batch has to be


class TinyCudaNetworks:
    """`field_waves.Networks` of a field that is laid out as tiny-cuda-nn's own; ValueError if it is not, and why."""

    def __init__(self, field: HashGrid, device: torch.device, tinycudann: Any) -> None:
        laid = laid_out(field)
        self._device, self._outputs = device, laid.outputs
        seen = {
            "otype": "Composite",
            "nested": [
                {"otype": "Identity", "n_dims_to_encode": laid.outputs},
                {"otype": "SphericalHarmonics", "n_dims_to_encode": 3, "degree": 4},
            ],
        }

        def made(inputs: int, outputs: int, encoding: dict[str, Any], shape: dict[str, Any], *parameters: Floats) -> Any:
            if shape["otype"] != "FullyFusedMLP":
                raise ValueError(f"expected hidden layers that run in one kernel, found a width of {shape['n_neurons']}")
            flat = np.concatenate(parameters)
            if np.abs(flat).max() > LARGEST:
                raise ValueError(f"expected parameters of up to {LARGEST:.0f}, found {np.abs(flat).max():g}")
            try:
                module = tinycudann.NetworkWithInputEncoding(inputs, outputs, encoding, shape)
            except RuntimeError as error:
                raise ValueError(f"tiny-cuda-nn: {' '.join(str(error).split())[:200]}") from None
            if module.params.numel() != flat.size:
                raise ValueError(f"tiny-cuda-nn: expected {flat.size:,} parameters, it has {module.params.numel():,}")
            # In the type that it works in, or it would turn all of them into that at each call; and with no gradient to be prepared for.
            module.params = torch.nn.Parameter(torch.tensor(flat, dtype=module.dtype, device=device), requires_grad=False)
            return module

        self._density = made(3, laid.outputs, laid.grid, laid.density, laid.density_parameters, laid.grid_parameters)
        self._colour = made(laid.outputs + 3, 3, seen, laid.colour, laid.colour_parameters)

    def answer(self, space: Space, wave: Wave) -> None:
        before, going = wave.counts[wave.turn : wave.turn + 2].tolist()
        filled = going * min(wave.slots // max(before, 1), MOST_SAMPLES)
        for which in torch.nonzero(wave.places[:filled] >= 0)[:, 0].split(AT_ONCE):
            if len(which):
                self._answer(space, wave, which)

    def _answer(self, space: Space, wave: Wave, which: Tensor) -> None:
        """Write what the samples in some slots [S] are."""
        from splatview.render import field_tcnn_kernels

        some = len(which)
        size = -(-some // GRANULARITY) * GRANULARITY
        at, seen = (torch.zeros((size, columns), device=self._device) for columns in (3, self._outputs + 3))
        constants = {**space.constants, "OUTPUTS": self._outputs, "CROPPED": len(wave.cuts) > 0}
        samples = which, wave.directions, wave.places, wave.owners, wave.view, space.box
        launch(field_tcnn_kernels.place, some, at, seen, *samples, wave.rays, some, constants=constants, block=256)
        density = self._density(at)
        seen[:, : self._outputs] = density
        colour = self._colour(seen)
        found = wave.answers, density, colour, density.stride(0), colour.stride(0)
        numbers = wave.cuts, len(wave.cuts), wave.rays, wave.slots, some, *wave.steps, space.least_alpha, space.density_factor
        launch(field_tcnn_kernels.cover, some, *found, *samples, *numbers, constants=constants, block=256)
