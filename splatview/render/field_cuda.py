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
from splatview.hashgrid import HARMONICS, HashGrid, Network, last_transmittance
from splatview.scene import Layer
from splatview.volumes import packed as packed_cuts

TILE = 8  # pixels a side
RAYS = 1 << 20  # that are drawn at once, at most: what they need is about 0.7 KB each
SAMPLES, MOST_SAMPLES = 8, 32  # of a ray in a round: at first, and when few rays are left
ROUNDS = 4  # between two looks at whether all rays have ended
SIZES = {"begin_rays": 128, "advance": 128, "encode": 256, "ask": 64, "finish": 256}  # of the programs
WARPS = {"ask": 2}  # else 4. Two do without wgmma, for which Triton 3.6 lays out small matrices wrongly
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

    table: Tensor  # int32 of two 16-bit features each, or int64 of four
    levels: Tensor  # [L, 4] float64: scale, corners, last entry, where it begins
    weights: Tensor  # float16, [in, out] of each layer in turn
    biases: Tensor  # float32
    cells: Tensor  # [C X Y Z / 8] uint8, low bits first
    blocks: Tensor  # [C X/4 Y/4 Z/4] uint8, 1 where one of 4 x 4 x 4 cells is occupied
    boxes: Tensor  # [C, 6]
    box: Tensor  # [6] low corner, 1 / sides
    constants: dict[str, Any]  # what the kernel is compiled for
    numbers: tuple[float, ...]  # offset, step, rate, first, last, longest

    @staticmethod
    def of(field: HashGrid, device: torch.device) -> Prepared:
        """`field` as the kernel wants it; ValueError if it has what is not drawn here."""
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
            torch.tensor(np.concatenate(tables).reshape(-1).view(np.int64 if features > 2 else np.int32), device=device),
            torch.tensor(levels, dtype=torch.float64, device=device),
            torch.tensor(weights, device=device),
            torch.tensor(biases, device=device),
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
                "FEATURES": features,
                "LEVELS": len(levels),
                **shape,
            },
            (field.offset, marching.step, rate, first, min(last, 1e30), min(marching.longest, 1e30)),
        )


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


def _blocks(cells: np.ndarray) -> np.ndarray:
    """[C X/4 Y/4 Z/4] 1 where one of 4 x 4 x 4 `cells` [C, X, Y, Z] is occupied, in the same order."""
    padded = np.pad(cells, [(0, 0), *((0, -size % 4) for size in cells.shape[1:])])
    cascades, *sizes = padded.shape
    x, y, z = (size // 4 for size in sizes)
    return padded.reshape(cascades, x, 4, y, 4, z, 4).any((2, 4, 6)).astype(np.uint8).reshape(-1)


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
    def render(self, layer: Layer, camera: Camera, near: float = 0.0, far: float = math.inf, detail: float = 1.0) -> FieldFrame:
        """A layer that is a field; `near` and `far` along the view axis, world units; `detail` as of a draft."""
        here, (height, width), into = self.prepare(layer.field), (camera.height, camera.width), layer.placement.inverse()
        rotation = into.rotation @ camera.camera_from_world[:3, :3].T
        eye = into.apply(camera.position)
        view = self._small([*camera.K[[0, 1], [0, 1]], *camera.K[:2, 2], *eye, *rotation.reshape(-1)])
        frame = FieldFrame(
            torch.empty((height, width, 3), device=self._device),
            torch.empty((height, width), device=self._device),
            torch.empty((height, width), device=self._device),
            torch.empty((height, width), dtype=torch.int32, device=self._device),
        )
        across, down = -(-width // TILE), -(-height // TILE)
        reach = layer.field.marching.near, near * into.scale, min(far * into.scale, 1e30)
        bounds, cuts = self._small(layer.bounds.reshape(-1)), self._small(packed_cuts(layer.cuts))
        for begin in range(0, across * down * TILE**2, RAYS):
            some = min(RAYS, across * down * TILE**2 - begin)
            self._draw(frame, here, view, begin, some, across, reach, bounds, cuts, layer.field, detail)
        return frame

    def _draw(
        self,
        frame: FieldFrame,
        here: Prepared,
        view: Tensor,
        begin: int,
        rays: int,
        across: int,
        reach: tuple[float, float, float],
        bounds: Tensor,
        cuts: Tensor,
        field: HashGrid,
        detail: float,
    ) -> None:
        """The rays from number `begin` on."""
        slots = SAMPLES * rays
        size: dict[str, Any] = {"device": self._device}
        directions, sums = torch.empty((3, rays), **size), torch.empty((4, rays), **size)
        steps, leaves, lights = torch.empty((3, rays), **size)
        asked, *lists = torch.empty((3, rays), dtype=torch.int32, **size)
        seen = torch.empty((rays, 16), dtype=torch.float16, **size)
        places, answers = torch.empty((2, slots), **size), torch.empty((4, slots), **size)
        owners = torch.empty(slots, dtype=torch.int32, **size)
        features = torch.empty((here.constants["LEVELS"], slots, here.constants["FEATURES"]), dtype=torch.float16, **size)
        counts = torch.zeros(1 << 12, dtype=torch.int32, **size)
        counts[0] = rays
        offset, step, rate, first, last, longest = here.numbers
        marching = step / detail, rate / detail, first, last, min(longest / detail, 1e30)
        end = last_transmittance(detail)
        height, width = frame.alpha.shape
        picture = begin, rays, across, width, height
        state = directions, steps, leaves, lights, sums, asked
        self._launch("begin_rays", rays, here, *state, seen, lists[0], view, bounds, *picture, *marching, *reach, TILE=TILE)
        for turn in range(len(counts) - 1):
            listed, going = lists[turn % 2], lists[1 - turn % 2]
            now, grid, cropped = (turn, rays, slots), (here.cells, here.blocks, here.boxes), (cuts, len(cuts))
            before, after = places[1 - turn % 2], places[turn % 2]
            found = counts, after, owners
            lists_now = listed, going, counts, before, answers, after, owners
            self._launch("advance", rays, here, *state, *lists_now, view, *grid, *cropped, *now, *marching, end, CROPPED=len(cuts) > 0)
            if turn % ROUNDS == ROUNDS - 1 and not int(counts[turn + 1]):
                break
            self._launch(
                "encode",
                slots,
                here,
                features.view(here.table.dtype),
                directions,
                *found,
                view,
                here.box,
                here.table,
                here.levels,
                *now,
                offset,
            )
            numbers = *now, *marching, field.marching.least_alpha, field.density_factor
            asking = answers, features, seen, directions, *found, view, here.box, here.weights, here.biases, *cropped, *numbers
            self._launch("ask", slots, here, *asking, CROPPED=len(cuts) > 0)
        self._launch(
            "finish", rays, here, frame.rgb, frame.alpha, frame.distance, frame.samples, lights, sums, asked, view, *picture, TILE=TILE
        )

    def _launch(self, name: str, count: int, here: Prepared, *inputs: Any, **more: int) -> None:
        """A kernel for `count` rays or slots, with those of the field's constants that it has."""
        from splatview.render import field_kernels

        kernel: Any = getattr(field_kernels, name)
        constants = {**here.constants, "MOST": MOST_SAMPLES, "BLOCK": SIZES[name], **more}
        grid = (-(-count // SIZES[name]), here.constants["LEVELS"]) if name == "encode" else (-(-count // SIZES[name]),)
        kernel[grid](*inputs, **{key: value for key, value in constants.items() if key in kernel.arg_names}, num_warps=WARPS.get(name, 4))

    def _small(self, values: ArrayLike) -> Tensor:
        return torch.from_numpy(np.array(values, np.float32)).to(self._device, non_blocking=True)
