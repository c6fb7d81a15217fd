"""How tiny-cuda-nn lays out the parameters of fully fused networks and of hash grids."""

from __future__ import annotations

from typing import Literal

import numpy as np

from splatview.arrays import Floats
from splatview.hashgrid import Level, Network
from splatview.ngp import level_shapes

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
