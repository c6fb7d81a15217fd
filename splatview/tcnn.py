"""How tiny-cuda-nn lays out the parameters of fully fused networks and of hash grids: read, and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from splatview.arrays import Floats
from splatview.hashgrid import HARMONICS, HashGrid, Level, Network
from splatview.ngp import level_shapes

FUSED = 16, 32, 64, 128  # neurons of the networks that run in one kernel
LARGEST = 65504.0  # of a 16-bit number
CONSTANT = 0.28209479177387814  # the first harmonic, which is the same in all directions

Filling = Literal[0, 1]


def padded(count: int) -> int:
    """Inputs and outputs come in sixteens."""
    return -(-count // 16) * 16


def size(inputs: int, width: int, hidden: int, outputs: int) -> int:
    """Numbers of a network of `hidden` layers of `width`: no biases."""
    return width * padded(inputs) + (hidden - 1) * width * width + padded(outputs) * width


def network(packed: Floats, inputs: int, width: int, hidden: int, outputs: int, *, filled: Filling = 1) -> Network:
    """The network in `packed` [size]: matrices [out, in] one after another.

    Inputs that fill up are `filled`: ones, which become a bias, behind all encodings but a grid's, which fills up with zeros.
    """
    wanted = size(inputs, width, hidden, outputs)
    if packed.size != wanted:
        raise ValueError(f"expected {wanted:,} parameters of a network of {inputs} x {width} x {outputs}, found {packed.size:,}")
    shapes = [(width, padded(inputs)), *[(width, width)] * (hidden - 1), (padded(outputs), width)]
    weights, flat = [], packed.reshape(-1)
    for shape in shapes:
        count = shape[0] * shape[1]
        weights.append(flat[:count].reshape(shape))
        flat = flat[count:]
    weights[-1] = weights[-1][:outputs]
    ones, weights[0] = weights[0][:, inputs:].sum(axis=1), weights[0][:, :inputs]
    return Network(tuple(weights), (filled * ones, *(np.zeros(len(one), np.float32) for one in weights[1:])))


def levels(packed: Floats, count: int, features: int, log2_size: int, coarsest: int, growth: float) -> tuple[Level, ...]:
    """The levels in `packed`, one after another, features side by side."""
    shapes, flat = level_shapes(count, log2_size, coarsest, growth), packed.reshape(-1)
    wanted = features * sum(entries for *_, entries in shapes)
    if flat.size != wanted:
        raise ValueError(f"expected {wanted:,} parameters of a grid of {count} levels, found {flat.size:,}")
    made, begin = [], 0
    for scale, corners, entries in shapes:
        made.append(Level(flat[begin : begin + features * entries].reshape(entries, features), scale, corners))
        begin += features * entries
    return tuple(made)


@dataclass(frozen=True, eq=False)
class Layout:
    """A field as tiny-cuda-nn has it: what configures its parts, as in JSON, and their parameters [P]."""

    grid: dict[str, Any]
    density: dict[str, Any]  # from the grid's features
    colour: dict[str, Any]  # from the density network's `outputs`, then the harmonics of degree 3
    outputs: int  # of the density network, with zeros that fill them up
    grid_parameters: Floats
    density_parameters: Floats
    colour_parameters: Floats


def laid_out(field: HashGrid) -> Layout:
    """`field` without what is not of the grid and the networks: warp, cuts, ...; ValueError if it does not fit, and why."""
    if field.offset != 0.5:
        raise ValueError(f"expected grids with an offset of 0.5 cells, found {field.offset:g}")
    outputs = padded(field.density.outputs)
    first = np.zeros((field.colour.weights[0].shape[0], outputs + HARMONICS), np.float32)
    first[:, field.geometry : field.density.outputs] = field.colour.weights[0][:, :-HARMONICS]
    first[:, outputs:] = field.colour.weights[0][:, -HARMONICS:]
    first[:, outputs] += field.colour.biases[0] / np.float32(CONSTANT)  # there are no biases, but an input that is always the same
    colour = [first, *field.colour.weights[1:]]
    colour[-1] = colour[-1][:3]
    _no_biases("density", field.density.biases)
    _no_biases("colour", field.colour.biases[1:])
    parameters = (
        np.concatenate([level.table.ravel() for level in field.levels]),
        _layers("density", field.density.weights),
        _layers("colour", colour),
    )
    if not all(np.isfinite(one).all() for one in parameters):
        raise ValueError("expected finite parameters, found some that are not")
    return Layout(_grid(field.levels), _shape(field.density), _shape(field.colour), outputs, *parameters)


def _no_biases(name: str, biases: Sequence[Floats]) -> None:
    if any(one.any() for one in biases):
        raise ValueError(f"expected a {name} network without biases, for which there is no place, found some")


def _layers(name: str, weights: Sequence[Floats]) -> Floats:
    """The matrices, filled up with zeros to sixteens of inputs and outputs; ValueError if the layers between are not alike."""
    width, inner = weights[0].shape[0], {one.shape[0] for one in weights[:-1]}
    if len(inner) != 1 or width % 16:
        raise ValueError(f"expected a {name} network with hidden layers of one width, a multiple of 16, found {sorted(inner)}")
    found = []
    for weight in weights:
        full = np.zeros((padded(weight.shape[0]), padded(weight.shape[1])), np.float32)
        full[: weight.shape[0], : weight.shape[1]] = weight
        found.append(full.ravel())
    return np.concatenate(found)


def _shape(network: Network) -> dict[str, Any]:
    width = len(network.weights[0])
    return {
        "otype": "FullyFusedMLP" if width in FUSED else "CutlassMLP",
        "activation": "ReLU",
        "output_activation": "None",
        "n_neurons": width,
        "n_hidden_layers": len(network.weights) - 1,
    }


def _grid(levels: Sequence[Level]) -> dict[str, Any]:
    """The numbers that make these levels; ValueError if there are none."""
    count, features = len(levels), levels[0].table.shape[1]
    log2_size = max(1, (max(len(level.table) for level in levels) - 1).bit_length())
    coarsest = int(np.rint(levels[0].scale + 1))
    growth = ((levels[-1].scale + 1) / coarsest) ** (1 / max(count - 1, 1))
    near = np.float32(growth) + np.spacing(np.float32(growth)) * np.array([0, -1, 1, -2, 2, -3, 3], np.float32)
    wanted = [(level.resolution, *level.table.shape) for level in levels]
    for one in near.tolist():
        made = level_shapes(count, log2_size, coarsest, one)
        scales = [scale for scale, *_ in made]
        if [(corners, entries, features) for _, corners, entries in made] == wanted and np.allclose(
            scales, [level.scale for level in levels], rtol=1e-5, atol=1e-5
        ):
            return {
                "otype": "HashGrid",
                "n_levels": count,
                "n_features_per_level": features,
                "log2_hashmap_size": log2_size,
                "base_resolution": coarsest,
                "per_level_scale": one,
            }
    raise ValueError("expected levels that grow by one factor, small ones with an entry for each corner, found others")
