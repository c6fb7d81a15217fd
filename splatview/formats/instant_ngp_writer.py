"""Instant-NGP snapshots, written: with all that Instant-NGP asks for when it opens one without photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from splatview import ngp, tcnn
from splatview.arrays import Doubles
from splatview.formats import instant_ngp_cells, instant_ngp_photos
from splatview.formats.instant_ngp_container import pack
from splatview.formats.report import Report
from splatview.geometry import Similarity
from splatview.hashgrid import HashGrid
from splatview.scene import Layer
from splatview.viewpoints import Viewpoints
from splatview.volumes import Box, Cut

DISTANCE = 1.5  # of the camera from the middle


def encode(layer: Layer, report: Report) -> bytes:
    """The `.ingp` of a layer that is a field; ValueError if the format cannot hold it, and why."""
    field, placement = layer.field, layer.placement
    edge = _edge(field)
    shift = 0.5 - field.box.mean(axis=0)
    networks, packed = _packed(field)
    march = ngp.marching(edge)
    if field.marching != march:
        report.note(f".ingp holds no steps: Instant-NGP marches with {march.step:.3g} and a cone of {march.cone:.3g}")
    report.progress(0.1, "writing the occupancy")
    cuts = [cut.moved(Similarity(translation=tuple(shift.tolist()))) for cut in layer.cuts]
    box = _shown(cuts)
    if cuts and box is None:
        report.note(".ingp holds one hard box that crops: whole cells of the occupancy were emptied instead, and soft edges became hard")
    cells = instant_ngp_cells.write(field.occupancy, edge.bit_length(), shift, () if box else cuts)
    photos = instant_ngp_photos.write(layer.viewpoints, shift)
    content = {
        **networks,
        "loss": {"otype": "Huber"},
        "optimizer": {"otype": "Ema", "decay": 0.95, "nested": {"otype": "Adam", "learning_rate": 1e-2, "epsilon": 1e-15, "l2_reg": 1e-6}},
        "snapshot": {
            **_snapshot(edge, packed, cells, {**_dataset(placement, shift, edge, field.hdr, report), **photos}),
            **({} if box is None else _cropped(box)),
            "camera": _camera(layer.viewpoints, shift),
            "exposure": layer.exposure,
            "background_color": [*(layer.background or (0.0, 0.0, 0.0)), 1.0],
        },
    }
    return pack(msgspec.msgpack.encode(content), report)


def _shown(cuts: Sequence[Cut]) -> Box | None:
    """The box with hard edges that is all there is of `cuts`, if so it is."""
    if len(cuts) != 1 or not cuts[0].keeps:
        return None
    box = cuts[0].volume
    return box if isinstance(box, Box) and not box.falloff else None


def _cropped(box: Box) -> dict[str, Any]:
    """What crops to a box: its corners along axes of its own."""
    middle, half = box.rotation.T @ box.centre, np.asarray(box.size) / 2
    corners = {"min": (middle - half).tolist(), "max": (middle + half).tolist()}
    return {"render_aabb": corners, "render_aabb_to_local": box.rotation.T.tolist()}


def _edge(field: HashGrid) -> int:
    """The box's edge; ValueError if the field is otherwise than the format has it."""
    size = field.box[1] - field.box[0]
    edge = int(np.rint(size.max()))
    refused = (
        (field.warp != "box", "a field in a box, found one that contracts all of space into it"),
        (field.shifted_directions, "harmonics of the directions themselves, found those of (d + 1) / 2"),
        (field.density_factor != 1, f"densities as the network gives them, found them times {field.density_factor:g}"),
        (
            edge not in ngp.EDGES or not np.allclose(size, edge, rtol=1e-5, atol=0),
            f"a cube with an edge of 1, 2, 4, ... or 128, found a box of {' x '.join(f'{one:g}' for one in size)}",
        ),
    )
    for wrong, why in refused:
        if wrong:
            raise ValueError(f".ingp: expected {why}")
    return edge


def _packed(field: HashGrid) -> tuple[dict[str, Any], NDArray]:
    """The configuration of grid and networks, and all parameters [P]: density network, colour network, grid. In float16 if they fit."""
    try:
        laid = tcnn.laid_out(field)
    except ValueError as error:
        raise ValueError(f".ingp: {error}") from None
    flat = np.concatenate([laid.density_parameters, laid.colour_parameters, laid.grid_parameters])
    config = {
        "encoding": laid.grid,
        "network": {**laid.density, "n_output_dims": laid.outputs},
        "dir_encoding": {
            "otype": "Composite",
            "nested": [{"n_dims_to_encode": 3, "otype": "SphericalHarmonics", "degree": 4}, {"otype": "Identity"}],
        },
        "rgb_network": laid.colour,
    }
    return config, flat.astype(np.float16) if np.abs(flat).max() <= tcnn.LARGEST else flat


def _dataset(placement: Similarity, shift: Doubles, edge: int, hdr: bool, report: Report) -> dict[str, Any]:
    """The photos' scale and offset; with the world turned as it is in Instant-NGP, or as nerfs have it."""
    world = placement @ Similarity(translation=tuple((-shift).tolist()))  # from Instant-NGP's frame
    as_it_is = np.allclose(world.rotation, np.eye(3), atol=1e-5)
    turn = np.eye(3) if as_it_is else ngp.CYCLE
    moved = np.asarray(world.translation)
    if not np.allclose(world.rotation, turn, atol=1e-5):
        moved = world.apply(np.full(3, 0.5)) - world.scale * turn @ np.full(3, 0.5)
        report.note(".ingp holds no turned scenes: it is written upright, about the middle of its box")
    box = {"min": [0.5 - edge / 2] * 3, "max": [0.5 + edge / 2] * 3}
    return {
        "render_aabb": box,
        "render_aabb_to_local": np.eye(3).tolist(),
        "up": [0.0, 1.0, 0.0],
        "offset": (-moved / world.scale).tolist(),
        "scale": 1 / world.scale,
        "aabb_scale": edge,
        "from_mitsuba": bool(as_it_is),
        "is_hdr": hdr,
        "wants_importance_sampling": True,
        "n_extra_learnable_dims": 0,
        "envmap_resolution": [0, 0],
    }


def _snapshot(edge: int, packed: NDArray, cells: bytes, dataset: dict[str, Any]) -> dict[str, Any]:
    """What Instant-NGP reads besides the configuration."""
    return {
        "version": 1,
        "mode": "nerf",
        "n_params": packed.size,
        "params_type": "__half" if packed.dtype == np.float16 else "float",
        "params_binary": packed.data,
        "density_grid_size": instant_ngp_cells.SIZE,
        "density_grid_binary": cells,
        "nerf": {
            "aabb_scale": edge,
            "rgb": {"rays_per_batch": 1 << 12, "measured_batch_size": 0, "measured_batch_size_before_compaction": 0},
            "dataset": dataset,
        },
        "training_step": 0,
        "loss": 0.0,
        "aabb": dataset["render_aabb"],
        "render_aabb": dataset["render_aabb"],
        "render_aabb_to_local": dataset["render_aabb_to_local"],
        "bounding_radius": 1.0,
        "up_dir": dataset["up"],
        "sun_dir": [0.577, 0.577, 0.577],
    }


def _camera(viewpoints: Viewpoints | None, shift: Doubles) -> dict[str, Any]:
    """Where Instant-NGP opens the field: at a photograph's place, or before the middle. `scale`: how far away it turns about."""
    pose, away = np.array([[1.0, 0.0, 0.0, 0.5], [0.0, -1.0, 0.0, 0.5], [0.0, 0.0, -1.0, 0.5 + DISTANCE]]), DISTANCE
    if viewpoints is not None:
        pose = viewpoints.poses[viewpoints.opening][:3].copy()
        if viewpoints.subject is not None:
            away = float(np.linalg.norm(viewpoints.subject - pose[:, 3]))
        pose[:, 3] += shift
    return {
        "matrix": pose.tolist(),
        "fov_axis": 1,
        "relative_focal_length": [1.0, 1.0],
        "screen_center": [0.5, 0.5],
        "zoom": 1.0,
        "scale": away,
        "aperture_size": 0.0,
        "autofocus": False,
        "autofocus_target": [0.5, 0.5, 0.5],
        "autofocus_depth": 0.0,
    }
