"""The radiance field of a nerfstudio run (`instant-ngp`, `nerfacto`), from the tensors of its checkpoint.

Layouts as nerfstudio 1.1 writes them, with its own layers (tables and biases by name) or with tiny-cuda-nn's (one array, see `tcnn`).
What is the same for every ray (the embedding of an image's looks, which nobody chooses here) goes into a bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatview import tcnn
from splatview.arrays import Floats
from splatview.formats.checkpoint import Tensor
from splatview.hashgrid import HARMONICS, HashGrid, Level, Marching, Network, Occupancy

COARSEST = 16  # cells of the first level, unless the configuration says otherwise
HIDDEN = 64
GEOMETRY = 15
SIGNS = np.array([1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1], np.float32)  # of nerfstudio's harmonics against tiny-cuda-nn's
TABLE, FUSED = "field.mlp_base.model.0.hash_table", "field.mlp_base.model.params"
MOST_GROWTH = 1 << 20


def holds_field(tensors: Mapping[str, Any]) -> bool:
    """Whether the tensors, by their names without `_model.`, hold a field that is read here."""
    return any(isinstance(tensors.get(name), Tensor) for name in (TABLE, FUSED))


def read(tensors: Mapping[str, Any], settings: Mapping[str, str]) -> HashGrid:
    """The field in nerfstudio's frame; ValueError if something is missing or does not fit."""
    nerfacto = settings.get("method_name", "") == "nerfacto" or any(str(name).startswith("proposal_networks.") for name in tensors)
    box = _numbers(tensors, "field.aabb", 2, 3)
    resolution, count, log2_size = (int(_numbers(tensors, f"field.{name}")) for name in ("max_res", "num_levels", "log2_hashmap_size"))
    coarsest = int(_setting(settings, "pipeline.model.base_res", COARSEST))
    if not (1 <= count <= 32 and 1 <= log2_size <= 30 and 1 <= coarsest <= resolution <= MOST_GROWTH):
        raise ValueError(f"nerfstudio: expected a grid of 1 to 32 levels, got {count} from {coarsest} to {resolution} cells, 2^{log2_size}")
    growth = float(np.exp((np.log(resolution) - np.log(coarsest)) / max(count - 1, 1)))
    if isinstance(tensors.get(TABLE), Tensor):
        levels, density = _own(tensors, count, log2_size, coarsest, growth)
        colour = _layers(tensors, "field.mlp_head.layers")
        own = True
    else:
        levels, density = _fused(tensors, count, log2_size, coarsest, growth)
        looks = _looks(tensors)
        colour = tcnn.network(_array(tensors, "field.mlp_head.params"), HARMONICS + GEOMETRY + looks, HIDDEN, 2, 3)
        own = False
    average = settings.get("pipeline.model.use_average_appearance_embedding", "true" if nerfacto else "false") == "true"
    colour = _colour(colour, density.outputs - 1, _embedding(tensors, average), own)
    diagonal = float(np.linalg.norm(box[1] - box[0]))
    return HashGrid(
        levels,
        density,
        colour,
        box,
        Marching(
            step=_setting(settings, "pipeline.model.render_step_size", diagonal / 1000),
            cone=_setting(settings, "pipeline.model.cone_angle", 0.004),
            near=_setting(settings, "pipeline.model.near_plane", 0.05),
            least_alpha=_setting(settings, "pipeline.model.alpha_thre", 0.0 if nerfacto else 0.01),
        ),
        _occupancy(tensors),
        warp="box" if settings.get("pipeline.model.disable_scene_contraction") == "true" else "contraction",
        offset=0.0 if own else 0.5,
        geometry=1,
        density_factor=_setting(settings, "pipeline.model.average_init_density", 0.01 if nerfacto else 1.0),
        shifted_directions=own,
    )


def _own(tensors: Mapping[str, Any], count: int, log2_size: int, coarsest: int, growth: float) -> tuple[tuple[Level, ...], Network]:
    """Levels and density network in nerfstudio's own layout: every level is hashed, and its cells are whole numbers."""
    table, size = _array(tensors, TABLE), 1 << log2_size
    if table.ndim != 2 or len(table) != count * size:
        raise ValueError(f"nerfstudio: expected a table of {count} x {size} entries, got {list(table.shape)}")
    # As nerfstudio does: powers in float32, whose floor may be one less than that of the exact ones.
    cells = np.floor(np.float32(coarsest) * np.power(np.float32(growth), np.arange(count, dtype=np.float32)))
    levels = tuple(Level(table[size * place : size * (place + 1)], float(cells[place])) for place in range(count))
    return levels, _layers(tensors, "field.mlp_base.model.1.layers")


def _fused(tensors: Mapping[str, Any], count: int, log2_size: int, coarsest: int, growth: float) -> tuple[tuple[Level, ...], Network]:
    """The same in tiny-cuda-nn's layout: one array, the network first."""
    packed, features = _array(tensors, FUSED).reshape(-1), 2
    network = tcnn.size(count * features, HIDDEN, 1, 1 + GEOMETRY)
    density = tcnn.network(packed[:network], count * features, HIDDEN, 1, 1 + GEOMETRY, filled=0)
    return tcnn.levels(packed[network:], count, features, log2_size, coarsest, growth), density


def _colour(network: Network, geometry: int, embedding: NDArray, own: bool) -> Network:
    """The colour network with its inputs in our order: geometry, harmonics; from harmonics, geometry, embedding."""
    first = network.weights[0]
    wanted = HARMONICS + geometry + len(embedding)
    if first.shape[1] != wanted:
        raise ValueError(f"nerfstudio: expected a colour network with {wanted} inputs, got {first.shape[1]}")
    harmonics, seen, looks = np.split(first, [HARMONICS, HARMONICS + geometry], axis=1)
    bias = (network.biases[0] + looks @ embedding).astype(np.float32)
    weights = np.concatenate([seen, harmonics * SIGNS if own else harmonics], axis=1)
    return Network((weights, *network.weights[1:]), (bias, *network.biases[1:]))


def _looks(tensors: Mapping[str, Any]) -> int:
    found = tensors.get("field.embedding_appearance.embedding.weight")
    return found.shape[1] if isinstance(found, Tensor) and len(found.shape) == 2 else 0


def _embedding(tensors: Mapping[str, Any], average: bool) -> NDArray:
    """What stands for the looks of an image that was not among those trained on."""
    if not _looks(tensors):
        return np.zeros(0, np.float32)
    weights = _array(tensors, "field.embedding_appearance.embedding.weight")
    return weights.mean(axis=0) if average else np.zeros(weights.shape[1], np.float32)


def _layers(tensors: Mapping[str, Any], prefix: str) -> Network:
    weights, biases = [], []
    while isinstance(tensors.get(f"{prefix}.{len(weights)}.weight"), Tensor):
        biases.append(_array(tensors, f"{prefix}.{len(weights)}.bias"))
        weights.append(_array(tensors, f"{prefix}.{len(weights)}.weight"))
    if not weights:
        raise ValueError(f"nerfstudio: expected {prefix}.0.weight, found none")
    return Network(tuple(weights), tuple(biases))


def _occupancy(tensors: Mapping[str, Any]) -> Occupancy | None:
    if not isinstance(tensors.get("occupancy_grid.binaries"), Tensor):
        return None
    cells = _array(tensors, "occupancy_grid.binaries", plain=True)
    return Occupancy(cells != 0, _array(tensors, "occupancy_grid.aabbs").reshape(-1, 2, 3).astype(np.float64))


def _array(tensors: Mapping[str, Any], name: str, plain: bool = False) -> Floats:
    found = tensors.get(name)
    if not isinstance(found, Tensor):
        raise ValueError(f"nerfstudio: expected a tensor {name!r}, found none")
    return found.read() if plain else found.read().astype(np.float32)


def _numbers(tensors: Mapping[str, Any], name: str, *shape: int) -> NDArray:
    values = np.asarray(_array(tensors, name, plain=True), np.float64)
    if values.shape != shape or not np.isfinite(values).all():
        raise ValueError(f"nerfstudio: expected {name!r} as finite numbers of shape {list(shape)}, got {values.tolist()!r:.100}")
    return values


def _setting(settings: Mapping[str, str], name: str, otherwise: float) -> float:
    """A number of the configuration."""
    text = settings.get(name, "null")
    try:
        return otherwise if text == "null" else float(text)
    except ValueError:
        raise ValueError(f"nerfstudio: expected a number for {name} in config.yml, got {text!r:.100}") from None
