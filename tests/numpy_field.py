"""The specified picture of a field, in numpy: every sample of every ray, nothing skipped."""

from __future__ import annotations

import numpy as np

from splatview.camera import Camera
from splatview.hashgrid import HashGrid, last_transmittance
from splatview.scene import Layer
from splatview.volumes import left_by, reach_of


def rays(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Origins and unit directions [H, W, 3] through the pixels' centres, in the world."""
    u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    (fx, fy), (cx, cy) = camera.K[[0, 1], [0, 1]], camera.K[:2, 2]
    along = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones_like(u)], -1) @ camera.camera_from_world[:3, :3]
    return np.broadcast_to(camera.position, along.shape), along / np.linalg.norm(along, axis=-1, keepdims=True)


def span(field: HashGrid, origins: np.ndarray, directions: np.ndarray, cuts=()) -> tuple[np.ndarray, np.ndarray]:
    """Where rays [N, 3] enter and leave the field's bounds [N], and those of `cuts`; not the first below the second: never."""
    low, high = np.maximum(field.bounds[0], reach_of(cuts)[0]), np.minimum(field.bounds[1], reach_of(cuts)[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (low - origins) / directions, (high - origins) / directions
    inside = (origins >= low) & (origins <= high)
    still = directions == 0
    near = np.where(still, np.where(inside, -np.inf, np.inf), np.minimum(first, second)).max(-1)
    far = np.where(still, np.where(inside, np.inf, -np.inf), np.maximum(first, second)).min(-1)
    return np.maximum(near, field.marching.near), far


def blended(
    field: HashGrid, origins: np.ndarray, directions: np.ndarray, near=0.0, far=np.inf, cuts=(), detail=1.0
) -> dict[str, np.ndarray]:
    """Of rays [N, 3] in the field's frame: colour [N, 3], alpha [N], weighted distance [N], samples [N] that were asked about.

    From `near` to `far` [N], distances along the rays.
    """
    enter, leave = span(field, origins, directions, cuts)
    enter, leave = np.maximum(enter, near), np.minimum(leave, far)
    marching, count = field.marching, len(origins)
    colour, alpha, distance, light = np.zeros((count, 3)), np.zeros(count), np.zeros(count), np.ones(count)
    samples = np.zeros(count, int)
    at = marching.count(np.minimum(enter, np.maximum(leave, 0))) + 0.5 / detail
    while True:
        t = marching.distance(at)
        going = np.flatnonzero((t < leave) & (enter < leave) & (light > 0))
        if not len(going):
            return {"rgb": colour, "alpha": alpha, "distance": distance, "samples": samples}
        points = origins[going] + t[going, None] * directions[going]
        left = left_by(cuts, points.astype(np.float32))
        there = left > 0 if field.occupancy is None else (left > 0) & field.occupancy.at(points)
        points, hit = points[there], going[there]
        density, rgb = field.specified(points, directions[hit])
        density = density * left[there]
        length = marching.distance(at[hit] + 0.5 / detail) - marching.distance(at[hit] - 0.5 / detail)
        covers = 1 - np.exp(-density.astype(np.float64) * length)
        covers[covers < marching.least_alpha] = 0
        covers[light[hit] * (1 - covers) < last_transmittance(detail)] = 1
        weight = light[hit] * covers
        colour[hit] += weight[:, None] * rgb
        alpha[hit] += weight
        distance[hit] += weight * t[hit]
        light[hit] *= 1 - covers
        samples[hit] += 1
        at[going] += 1 / detail


def render(
    layer: Layer, camera: Camera, background=(0.0, 0.0, 0.0), near: float = 0.0, far: float = np.inf, detail: float = 1.0
) -> dict[str, np.ndarray]:
    """rgb [H, W, 3] over the background, alpha [H, W], depth [H, W] along the view axis in the world (0 where alpha is), samples [H, W].

    `near` and `far` are such depths, too.
    """
    field, placement = layer.field, layer.placement
    origins, directions = rays(camera)
    forward = directions @ camera.camera_from_world[2, :3]
    into = placement.inverse()
    start = into.apply(origins.reshape(-1, 3))
    along = directions.reshape(-1, 3) @ into.rotation.T
    unit = placement.scale * forward.reshape(-1)  # depth for a unit of distance
    found = blended(field, start, along, near / unit, far / unit, layer.cuts, detail)
    shape = camera.height, camera.width
    alpha = found["alpha"].reshape(shape)
    rgb = field.developed(found["rgb"].reshape(*shape, 3), alpha, layer.exposure) + (1 - alpha[..., None]) * np.asarray(background)
    depth = placement.scale * found["distance"].reshape(shape) * forward / np.maximum(alpha, 1e-12)
    return {"rgb": rgb, "alpha": alpha, "depth": np.where(alpha > 0, depth, 0), "samples": found["samples"].reshape(shape)}
