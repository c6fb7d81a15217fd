"""Fields on a GPU: what `field_kernels` draws from, and how it is called."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from splatview.camera import Camera
from splatview.geometry import Similarity
from splatview.hashgrid import HARMONICS, LAST_TRANSMITTANCE, HashGrid, Network

TILE_X, TILE_Y, SEARCH, WARPS = 16, 8, 8, 4
LEAST = 16  # of what the tensor cores multiply
LARGEST = 65504.0  # of a 16-bit number


@dataclass(frozen=True, eq=False)
class FieldFrame:
    """A field in a picture, on the device: nothing behind it."""

    rgb: Tensor  # [H, W, 3] the weighted sum of the samples' colours, as the field has them
    alpha: Tensor  # [H, W]
    distance: Tensor  # [H, W] the weighted sum of the samples' distances along the view axis, in the field's units
    samples: Tensor  # [H, W] int32, places that the field was asked about


@dataclass(frozen=True, eq=False)
class Prepared:
    """A field on the device."""

    columns: tuple[Tensor, ...]  # of each word of features: scale (0: none), corners, last entry, where it begins, words per entry
    table: Tensor  # [words] int32, two 16-bit features each
    weights: Tensor  # float16, [in, out] of each layer in turn
    biases: Tensor  # float32
    cells: Tensor  # [C X Y Z / 8] uint8, low bits first
    boxes: Tensor  # [C, 6]
    bounds: Tensor  # [6]
    box: Tensor  # [6] low corner, 1 / sides
    constants: dict[str, Any]  # what the kernel is compiled for
    numbers: tuple[float, ...]  # offset, step, rate, first, last, longest

    @staticmethod
    def of(field: HashGrid, device: torch.device) -> Prepared:
        """`field` as the kernel wants it; ValueError if it has what is not drawn here."""
        tables, columns, begin = [], [], 0
        for level in field.levels:
            entries, features = level.table.shape
            if level.resolution == 0 and entries & (entries - 1):
                raise ValueError(f"backend cuda: expected hashed levels with a power of two entries, got {entries}")
            words = -(-features // 2)
            padded = np.zeros((entries, 2 * words), np.float16)
            padded[:, :features] = np.clip(level.table, -LARGEST, LARGEST)
            tables.append(padded.view(np.int32).reshape(-1))
            columns += [(level.scale, level.resolution, entries - 1, begin + word, words) for word in range(words)]
            begin += entries * words
        if begin >= 1 << 31:
            raise ValueError(f"backend cuda: expected tables of less than 8 GB, got {4 * begin / 1e9:.1f} GB")
        count = _power(len(columns))
        columns += [(0.0, 0, 0, 0, 1)] * (count - len(columns))
        scales, *rest = (np.array(values) for values in zip(*columns, strict=True))
        numbers = [torch.tensor(values.astype(np.int32), device=device) for values in rest]
        weights, biases, shape = packed(field, count)
        occupancy, marching = field.occupancy, field.marching
        cells = np.packbits(occupancy.cells, axis=None, bitorder="little") if occupancy is not None else np.zeros(1, np.uint8)
        size = occupancy.cells.shape if occupancy is not None else (1, 1, 1, 1)
        boxes = occupancy.boxes.reshape(-1, 6) if occupancy is not None else np.zeros((1, 6))
        low, high = field.box
        first, last, rate = marching.step, marching.longest, 1.0
        if marching.cone:
            rate, first, last = marching.turns
        floats: dict[str, Any] = {"dtype": torch.float32, "device": device}
        return Prepared(
            (torch.tensor(scales, **floats), *numbers),
            torch.tensor(np.concatenate(tables), device=device),
            torch.tensor(weights, device=device),
            torch.tensor(biases, device=device),
            torch.tensor(cells, device=device),
            torch.tensor(boxes, **floats),
            torch.tensor(field.bounds.reshape(-1), **floats),
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
                "COLUMNS": count,
                **shape,
            },
            (field.offset, marching.step, rate, first, min(last, 1e30), min(marching.longest, 1e30)),
        )


def packed(field: HashGrid, columns: int) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Weights and biases one after another, and their sizes, filled up with zeros to what the tensor cores multiply.

    Density: the first layer's inputs with even numbers, then with odd ones; the others. Colour: the first layer's inputs from the density
    network, then the harmonics; the others.
    """
    for name, network in (("density", field.density), ("colour", field.colour)):
        if len(network.weights) < 2:
            raise ValueError(f"backend cuda: expected a {name} network with a hidden layer, got none")
    hidden = [len(layer) for network in (field.density, field.colour) for layer in network.weights[:-1]]
    width, outputs = _power(max(hidden)), _power(field.density.outputs)
    first = field.density.weights[0]
    words = _in_pairs(field, first)
    geometry = np.zeros((len(field.colour.weights[0]), outputs), np.float32)
    split = field.colour.inputs - HARMONICS
    geometry[:, field.geometry : field.geometry + split] = field.colour.weights[0][:, :split]
    density = [(words[:, 0::2], columns, width), (words[:, 1::2], columns, width), *_rest(field.density, width, outputs)]
    harmonics = field.colour.weights[0][:, split:]
    colour = [(geometry, outputs, width), (harmonics, HARMONICS, width), *_rest(field.colour, width, LEAST)]
    weights = [_filled(np.clip(layer, -LARGEST, LARGEST).T, inputs, size).astype(np.float16) for layer, inputs, size in (*density, *colour)]
    sizes = [width] * (len(field.density.weights) - 1) + [outputs] + [width] * (len(field.colour.weights) - 1) + [LEAST]
    biases = [
        _filled(bias[None], 1, size) for bias, size in zip((*field.density.biases, *_colour_biases(field.colour)), sizes, strict=True)
    ]
    shape = {
        "WIDTH": width,
        "OUTPUTS": outputs,
        "DENSITY_LAYERS": len(field.density.weights) - 1,
        "COLOUR_LAYERS": len(field.colour.weights) - 1,
    }
    return np.concatenate([one.reshape(-1) for one in weights]), np.concatenate([one.reshape(-1) for one in biases]), shape


def _in_pairs(field: HashGrid, first: np.ndarray) -> np.ndarray:
    """The first layer [out, 2 words] with a column of zeros beside the only feature of a level that has one."""
    parts, at = [], 0
    for level in field.levels:
        features = level.table.shape[1]
        parts.append(first[:, at : at + features])
        if features % 2:
            parts.append(np.zeros((len(first), 1), np.float32))
        at += features
    return np.concatenate(parts, 1)


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


class FieldCuda:
    """Draws fields on a GPU; those that were prepared are kept as long as they live."""

    def __init__(self, device: str = "cuda") -> None:
        self._device = torch.device(device)
        self._prepared: weakref.WeakKeyDictionary[HashGrid, Prepared] = weakref.WeakKeyDictionary()

    def prepare(self, field: HashGrid) -> Prepared:
        if field not in self._prepared:
            self._prepared[field] = Prepared.of(field, self._device)
        return self._prepared[field]

    @torch.no_grad()
    def render(self, field: HashGrid, placement: Similarity, camera: Camera, near: float = 0.0, far: float = math.inf) -> FieldFrame:
        """`field`, which stands in the world at `placement`; `near` and `far` along the view axis, world units."""
        from splatview.render import field_kernels

        here, (height, width) = self.prepare(field), (camera.height, camera.width)
        into = placement.inverse()
        rotation = into.rotation @ camera.camera_from_world[:3, :3].T
        eye = into.apply(camera.position)
        view = self._small([*camera.K[[0, 1], [0, 1]], *camera.K[:2, 2], *eye, *rotation.reshape(-1)])
        rgb = torch.empty((height, width, 3), device=self._device)
        alpha, distance = torch.empty((2, height, width), device=self._device)
        samples = torch.empty((height, width), dtype=torch.int32, device=self._device)
        across, down = -(-width // TILE_X), -(-height // TILE_Y)
        inputs = view, here.bounds, here.box, here.table, *here.columns, here.cells, here.boxes, here.weights, here.biases
        near = max(near * into.scale, field.marching.near)
        numbers = *here.numbers, near, min(far * into.scale, 1e30), field.marching.least_alpha, field.density_factor
        kernel: Any = field_kernels.march_tiles
        launch = kernel[(across * down,)]
        launch(
            rgb,
            alpha,
            distance,
            samples,
            *inputs,
            across,
            width,
            height,
            *numbers,
            **here.constants,
            TILE_X=TILE_X,
            TILE_Y=TILE_Y,
            SEARCH=SEARCH,
            LAST_TRANSMITTANCE=LAST_TRANSMITTANCE,
            num_warps=WARPS,
        )
        return FieldFrame(rgb, alpha, distance, samples)

    def _small(self, values: ArrayLike) -> Tensor:
        return torch.from_numpy(np.array(values, np.float32)).to(self._device, non_blocking=True)
