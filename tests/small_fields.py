"""Small fields whose look is known: written by hand, nothing is trained. As .ingp has them, so that they can be saved and read."""

from __future__ import annotations

import numpy as np

from splatview.hashgrid import HARMONICS, HashGrid, Level, Marching, Network, Occupancy
from splatview.ngp import level_shapes

SIDE = 32  # corners of the only level
HIDDEN, OUTPUTS = 16, 16
STEP = 3**0.5 / 1024


def ball(
    colour: tuple[float, float, float] = (0.9, 0.1, 0.1),
    density: float = 300.0,
    radius: float = 0.3,
    middle: tuple[float, float, float] = (0.5, 0.5, 0.5),
) -> HashGrid:
    """A ball of one colour in the unit cube; `density` per unit, so that exp(-density * width) of the light passes it."""
    distance = np.linalg.norm(_corners() - middle, axis=-1)
    return painted(np.clip((radius - distance) * 200, -16, 0) + np.log(density), colour)


def slab(colour: tuple[float, float, float] = (0.1, 0.9, 0.1), density: float = 300.0, low: float = 0.4, high: float = 0.6) -> HashGrid:
    """All of the unit cube that lies between two values of y."""
    y = _corners()[..., 1]
    return painted(np.clip((high - low) / 2 - np.abs(y - (low + high) / 2), -0.1, 0.0) * 200 + np.log(density), colour)


def painted(log_density: np.ndarray, colour: tuple[float, float, float]) -> HashGrid:
    """A field with this logarithm of the density at its corners [z, y, x]."""
    [(scale, corners, entries)] = level_shapes(1, 16, SIDE, 2.0)
    logits = np.log(np.asarray(colour) / (1 - np.asarray(colour)))
    table = np.zeros((entries, 4), np.float32)
    table[: corners**3, 0] = log_density.reshape(-1)
    table[:, 1:] = logits
    pairs = np.arange(4)
    apart = np.zeros((HIDDEN, 4), np.float32)  # x = max(0, x) - max(0, -x) passes a hidden layer
    apart[2 * pairs, pairs], apart[2 * pairs + 1, pairs] = 1, -1
    again = np.zeros((HIDDEN, OUTPUTS + HARMONICS), np.float32)
    again[:, :4] = apart
    together = np.zeros((OUTPUTS, HIDDEN), np.float32)
    together[:4] = apart.T
    occupied = np.zeros((1, 128, 128, 128), np.bool_)
    occupied[0] = np.kron(np.exp(_wide(log_density)).transpose(2, 1, 0) > 0.01, np.ones((4, 4, 4)))  # cells are [x, y, z]
    box = np.array([[0, 0, 0], [1, 1, 1]])
    networks = Network((apart, together)), Network((again, together[1:4]))
    return HashGrid((Level(table, scale, corners),), *networks, box, Marching(STEP, near=0.05), Occupancy(occupied, box[None]))


def _corners() -> np.ndarray:
    """Where the corners lie [z, y, x, 3] in the unit cube."""
    at = (np.arange(SIDE) - 0.5) / (SIDE - 1)
    z, y, x = np.meshgrid(at, at, at, indexing="ij")
    return np.stack([x, y, z], -1)


def _wide(values: np.ndarray) -> np.ndarray:
    """Of each corner, the largest among it and its neighbours."""
    padded = np.pad(values, 1, mode="edge")
    return np.max([padded[z : z + SIDE, y : y + SIDE, x : x + SIDE] for z in range(3) for y in range(3) for x in range(3)], axis=0)
