"""Networks of fields by kernels of our own: what `field_triton_kernels` read."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from splatview.hashgrid import HARMONICS, HashGrid, Network
from splatview.render.field_waves import Space, Wave, launch
from splatview.tcnn import LARGEST

LEAST = 16  # of what the tensor cores multiply


class TritonNetworks:
    """`field_waves.Networks` of any field; ValueError if it has what they cannot."""

    def __init__(self, field: HashGrid, device: torch.device) -> None:
        features = max(2, *(level.table.shape[1] for level in field.levels))
        tables, levels, begin = [], [], 0
        for level in field.levels:
            entries = len(level.table)
            if level.resolution == 0 and entries & (entries - 1):
                raise ValueError(f"backend cuda: expected hashed levels with a power of two entries, got {entries}")
            tables.append(_filled(np.clip(level.table, -LARGEST, LARGEST), entries, features).astype(np.float16))
            levels.append((level.scale, level.resolution, entries - 1, begin))
            begin += entries
        if begin * features >= 1 << 31:
            raise ValueError(f"backend cuda: expected tables of less than 4 GB, got {2 * begin * features / 1e9:.1f} GB")
        weights, biases, shape = packed(field, features)
        words = np.concatenate(tables).reshape(-1).view(np.int64 if features > 2 else np.int32)  # of four features each, or two
        self._table = torch.tensor(words, device=device)
        self._levels = torch.tensor(levels, dtype=torch.float64, device=device)  # [L, 4]: scale, corners, last entry, where it begins
        self._weights = torch.tensor(weights, device=device)  # float16, [in, out] of each layer in turn
        self._biases = torch.tensor(biases, device=device)
        self._offset = field.offset
        self._constants: dict[str, Any] = {"FEATURES": features, "LEVELS": len(levels), **shape}

    def answer(self, space: Space, wave: Wave) -> None:
        from splatview.render import field_triton_kernels

        constants, count = {**space.constants, **self._constants, "CROPPED": len(wave.cuts) > 0}, self._constants["LEVELS"]
        features = torch.empty((count, wave.slots, self._constants["FEATURES"]), dtype=torch.float16, device=wave.places.device)
        found, now = (wave.counts, wave.places, wave.owners, wave.view, space.box), (wave.turn, wave.rays, wave.slots)
        encoding = features.view(self._table.dtype), wave.directions, *found, self._table, self._levels, *now, self._offset
        launch(field_triton_kernels.encode, wave.slots, *encoding, constants=constants, block=256, across=count)
        networks, numbers = (self._weights, self._biases), (*now, *wave.steps, space.least_alpha, space.density_factor)
        asking = wave.answers, features, wave.seen, wave.directions, *found, *networks, wave.cuts, len(wave.cuts), *numbers
        # Two warps do without wgmma, for which Triton 3.6 lays out small matrices wrongly.
        launch(field_triton_kernels.ask, wave.slots, *asking, constants=constants, block=64, warps=2)


def packed(field: HashGrid, features: int) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Weights and biases one after another, and their sizes, filled up with zeros to what the tensor cores multiply.

    Density: the first layer, each level's inputs filled up to `features`, and the others. Colour: the first layer's inputs from the density
    network, then the harmonics; the others.
    """
    for name, network in (("density", field.density), ("colour", field.colour)):
        if len(network.weights) < 2:
            raise ValueError(f"backend cuda: expected a {name} network with a hidden layer, got none")
    hidden = [len(layer) for network in (field.density, field.colour) for layer in network.weights[:-1]]
    width, outputs = _power(max(hidden)), _power(field.density.outputs)
    first = _levelled(field, features)
    inputs = _power(first.shape[1])
    geometry = np.zeros((len(field.colour.weights[0]), outputs), np.float32)
    split = field.colour.inputs - HARMONICS
    geometry[:, field.geometry : field.geometry + split] = field.colour.weights[0][:, :split]
    density = [(first, inputs, width), *_rest(field.density, width, outputs)]
    harmonics = field.colour.weights[0][:, split:]
    colour = [(geometry, outputs, width), (harmonics, HARMONICS, width), *_rest(field.colour, width, LEAST)]
    weights = [_filled(np.clip(layer, -LARGEST, LARGEST).T, inputs, size).astype(np.float16) for layer, inputs, size in (*density, *colour)]
    sizes = [width] * (len(field.density.weights) - 1) + [outputs] + [width] * (len(field.colour.weights) - 1) + [LEAST]
    biases = [
        _filled(bias[None], 1, size) for bias, size in zip((*field.density.biases, *_colour_biases(field.colour)), sizes, strict=True)
    ]
    shape = {
        "INPUTS": inputs,
        "WIDTH": width,
        "OUTPUTS": outputs,
        "DENSITY_LAYERS": len(field.density.weights) - 1,
        "COLOUR_LAYERS": len(field.colour.weights) - 1,
    }
    return np.concatenate([one.reshape(-1) for one in weights]), np.concatenate([one.reshape(-1) for one in biases]), shape


def _levelled(field: HashGrid, features: int) -> np.ndarray:
    """The density network's first layer [out, L features], with columns of zeros for features that a level lacks."""
    first, at = field.density.weights[0], 0
    filled = np.zeros((len(first), len(field.levels) * features), np.float32)
    for place, level in enumerate(field.levels):
        count = level.table.shape[1]
        filled[:, place * features : place * features + count] = first[:, at : at + count]
        at += count
    return filled


def _rest(network: Network, width: int, outputs: int) -> list[tuple[np.ndarray, int, int]]:
    """The layers after the first, with the sizes that they are filled up to; of the last no more outputs than there is room for."""
    *middle, last = network.weights[1:]
    return [*((layer, width, width) for layer in middle), (last[:outputs], width, outputs)]


def _colour_biases(network: Network) -> list[np.ndarray]:
    *middle, last = network.biases
    return [*middle, last[:LEAST]]


def _filled(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    filled = np.zeros((rows, columns), np.float32)
    filled[: values.shape[0], : values.shape[1]] = values
    return filled


def _power(count: int) -> int:
    """The power of two from `LEAST` on that is not below `count`."""
    return max(LEAST, 1 << (count - 1).bit_length())
