"""Light for surfels: shadows and occlusion through a distance field, and what gleams fitted to spherical harmonics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scenes_surfels import Surfels
from scipy import ndimage

from splatview import harmonics

RIDGE = 2e-3  # of the weights, times the band squared
Radiance = Callable[[NDArray, NDArray], NDArray]  # points where rays arrive [N, 3], directions [N, 3] -> light [N, 3]


def display(light: NDArray) -> NDArray:
    """Light to sRGB with a soft shoulder."""
    x = np.clip(light, 0, None)
    shoulder = np.where(x < 0.8, x, 0.8 + 0.2 * (1 - np.exp(-(x - 0.8) / 0.2)))
    return np.where(shoulder <= 0.0031308, shoulder * 12.92, 1.055 * np.clip(shoulder, 0.0031308, None) ** (1 / 2.4) - 0.055)


@dataclass(frozen=True, eq=False)
class Field:
    """The distance to the nearest solid voxel, for rays; outside of the box nothing is in the way."""

    low: NDArray  # [3]
    cell: float
    distance: NDArray  # [X, Y, Z] metres
    colour: NDArray  # [X * Y * Z, 3] light that solid voxels send out, zero elsewhere

    @staticmethod
    def around(surfels: Surfels, low: NDArray, high: NDArray, cell: float) -> Field:
        """The colourless field of `surfels` in a box."""
        shape = np.ceil((high - low) / cell).astype(int)
        field = Field(low, cell, np.zeros(shape, np.float32), np.zeros((0, 3), np.float32))
        solid = np.zeros(shape, bool)
        solid.ravel()[field.marked(surfels)[0]] = True
        return replace(field, distance=np.asarray(ndimage.distance_transform_edt(~solid, sampling=cell), np.float32))

    def coloured(self, surfels: Surfels, light: NDArray) -> Field:
        """The field whose solid voxels send out the mean `light` [N, 3] of their `surfels`."""
        flat, owner = self.marked(surfels)
        count = np.maximum(np.bincount(flat, minlength=self.distance.size), 1)
        sums = [np.bincount(flat, light[owner, i], minlength=self.distance.size) / count for i in range(3)]
        return replace(self, colour=np.stack(sums, -1).astype(np.float32))

    def marked(self, surfels: Surfels) -> tuple[NDArray, NDArray]:
        """The flat indices of the voxels that surfels reach into along both axes, and the surfel of each."""
        reach = np.linspace(-1.6, 1.6, 7)
        points = [surfels.centre + surfels.frame[:, :, k] * surfels.sigma[:, k : k + 1] * i for i in reach for k in (0, 1)]
        index = self.at(np.concatenate(points))
        owner = np.tile(np.arange(len(surfels)), len(points))
        return index[index >= 0], owner[index >= 0]

    def at(self, points: NDArray) -> NDArray:
        """Indices [N] into the flat field, -1 outside of it."""
        i = np.floor((points - self.low) / self.cell).astype(np.int32)
        shape = np.array(self.distance.shape, np.int32)
        inside = ((i >= 0) & (i < shape)).all(1)
        i = np.clip(i, 0, shape - 1)
        return np.where(inside, (i[:, 0] * shape[1] + i[:, 1]) * shape[2] + i[:, 2], -1)

    def trace(
        self, origins: NDArray, directions: NDArray, reach: NDArray, softness: float = 0.0, steps: int = 40
    ) -> tuple[NDArray, NDArray]:
        """How much of each ray passes [N] (0..1) within `reach` [N], and the flat index of the voxel that stops it (-1: none)."""
        open_, stop = np.ones(len(origins)), np.full(len(origins), -1)
        live, travelled = np.arange(len(origins)), np.full(len(origins), 1.5 * self.cell)
        flat = self.distance.ravel()
        for _ in range(steps):
            if not len(live):
                break
            index = self.at(origins[live] + directions[live] * travelled[live, None])
            away = np.where(index >= 0, flat[index], self.cell)
            if softness:
                open_[live] = np.minimum(open_[live], np.clip((away + 0.5 * self.cell) / (softness * travelled[live] + self.cell), 0, 1))
            hit = (away < 0.5 * self.cell) & (index >= 0)
            open_[live[hit]] = 0
            stop[live[hit]] = index[hit]
            travelled[live] += np.maximum(away, 0.7 * self.cell)
            live = live[~hit & (index >= 0) & (travelled[live] < reach[live])]
        return open_, stop

    def occlusion(self, points: NDArray, normals: NDArray) -> NDArray:
        """Ambient visibility [N]: how free the space along the normals is."""
        flat, blocked = self.distance.ravel(), np.zeros(len(points))
        for step, weight in ((0.10, 0.40), (0.18, 0.30), (0.32, 0.24), (0.55, 0.18), (0.9, 0.12)):
            index = self.at(points + normals * step)
            free = np.where(index >= 0, flat[index], step)
            free = np.minimum(free, points[:, 2] + normals[:, 2] * step + 0.02)  # the floor
            blocked += weight * np.clip(1 - free / step, 0, 1)
        return np.clip(1 - blocked, 0, 1)


@dataclass(frozen=True, eq=False)
class Lights:
    """L small area lights that stand for all that shines."""

    centre: NDArray  # [L, 3]
    normal: NDArray  # [L, 3]
    flux: NDArray  # [L, 3] radiance times area
    focus: NDArray  # [L] exponent of the cosine at the light: 1 a panel, more: a spot


def irradiance(surfels: Surfels, lights: Lights, field: Field, progress: Callable[[str], None]) -> NDArray:
    """The light [N, 3] that arrives on every surfel, over pi."""
    total = np.zeros((len(surfels), 3))
    start = surfels.centre + surfels.normal * 1.2 * field.cell
    for k in range(len(lights.centre)):
        to_light = lights.centre[k] - start
        distance = np.linalg.norm(to_light, axis=1)
        to_light /= distance[:, None]
        facing = np.clip(np.einsum("nd,nd->n", to_light, surfels.normal), 0, 1)
        leaving = np.clip(-(to_light @ lights.normal[k]), 0, 1) ** lights.focus[k]
        form = facing * leaving / np.maximum(distance, 0.4) ** 2 / np.pi
        lit = np.flatnonzero(form * lights.flux[k].max() > 4e-5)
        seen, _ = field.trace(start[lit], to_light[lit], distance[lit] - 0.3, softness=0.12)
        total[lit] += (form[lit] * seen)[:, None] * lights.flux[k]
        if k % 16 == 15:
            progress(f"light {k + 1} of {len(lights.centre)}")
    return total


def fit_harmonics(
    surfels: Surfels, base: NDArray, eyes: NDArray, weights: NDArray, reflected: Radiance, degree: int, lift: float
) -> NDArray:
    """SH coefficients [N, K, 3] of surfels that send out `base` [N, 3] light and mirror `reflected`.

    For every eye [M, 3] the display colour is worked out; a least-squares fit, weighted by `weights` [M], holds the
    harmonics to them (rays start `lift` metres off the surface), and a ridge pulls what no eye sees towards plain colour.
    """
    count, terms = len(surfels), harmonics.coefficients(degree)
    out = np.zeros((count, terms, 3))
    bands = np.repeat(np.arange(degree + 1), 2 * np.arange(degree + 1) + 1)
    ridge = np.diag(RIDGE * weights.sum() * bands.astype(float) ** 2 + 1e-6)
    for first in range(0, count, 1500):
        part = slice(first, min(first + 1500, count))
        some = surfels.take(np.arange(part.start, part.stop))
        away = some.centre[:, None] - eyes[None]
        away /= np.linalg.norm(away, axis=2, keepdims=True)
        cosine = -np.einsum("nmd,nd->nm", away, some.normal)
        mirrored = away + 2 * cosine[..., None] * some.normal[:, None]
        seen = np.clip(cosine, 0, 1)
        fresnel = (
            some.specular[:, None] + (1 - some.specular[:, None]) * ((1 - seen) ** 5 * (1 - 0.75 * some.roughness[:, None]))[..., None]
        )
        start = np.broadcast_to(some.centre[:, None] + some.normal[:, None] * lift, away.shape)
        facing = cosine > 0.02
        light = np.zeros_like(away)
        light[facing] = reflected(start[facing], mirrored[facing])
        colour = display(base[part, None] + fresnel * light)
        weight = weights * np.clip(cosine / 0.06, 0, 1)
        at = harmonics.basis(away, degree)
        gram = np.einsum("nmi,nm,nmj->nij", at, weight, at, optimize=True) + ridge
        right = np.einsum("nmi,nm,nmc->nic", at, weight, colour - 0.5, optimize=True)
        out[part] = np.linalg.solve(gram, right)
        dark = weight.sum(1) < 1e-6
        out[part][dark] = 0
        out[part][dark, 0] = ((display(base[part]) - 0.5) / harmonics.C0)[dark]
    return out
