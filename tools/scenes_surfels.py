"""Surfaces as surfels: flat Gaussians laid edge to edge on parametric patches.

Metres, z up. A patch is a function of (u, v) in the unit square; its cells become Gaussians, and cells that a change
of material crosses are split, so that painted edges stay crisp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Point = Callable[[NDArray, NDArray], NDArray]  # u [N], v [N] -> points [N, 3]
Paint = Callable[[NDArray, NDArray], NDArray]  # u [N], v [N] -> index into the materials [N]


@dataclass(frozen=True)
class Material:
    """How a surface answers light; all colours are linear."""

    albedo: tuple[float, float, float] = (0.0, 0.0, 0.0)
    specular: tuple[float, float, float] = (0.0, 0.0, 0.0)  # reflectance at normal incidence
    roughness: float = 0.2  # 0: mirror, 1: sheen only
    emission: tuple[float, float, float] = (0.0, 0.0, 0.0)
    alpha: float = 0.98


@dataclass(frozen=True, eq=False)
class Surfels:
    """N flat Gaussians with what is needed to light them."""

    centre: NDArray  # [N, 3]
    frame: NDArray  # [N, 3, 3] columns: the two axes in the surface, then the outward normal
    sigma: NDArray  # [N, 3] standard deviations along the columns of `frame`
    albedo: NDArray  # [N, 3]
    specular: NDArray  # [N, 3]
    roughness: NDArray  # [N]
    emission: NDArray  # [N, 3]
    alpha: NDArray  # [N]

    def __len__(self) -> int:
        return len(self.centre)

    @property
    def normal(self) -> NDArray:
        return self.frame[:, :, 2]

    def take(self, which: ArrayLike) -> Surfels:
        return Surfels(*(getattr(self, f.name)[which] for f in fields(self)))

    def placed(self, at: ArrayLike = (0, 0, 0), turn: float = 0.0, rotation: ArrayLike | None = None) -> Surfels:
        """Rotated by `rotation` [3, 3], then by `turn` degrees about z, then moved to `at`."""
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ (np.eye(3) if rotation is None else np.asarray(rotation))
        return replace(self, centre=self.centre @ matrix.T + np.asarray(at), frame=matrix @ self.frame)

    def mirrored(self) -> Surfels:
        """With the mirror image at the plane x = 0 beside it."""
        flip = np.array([-1.0, 1, 1])
        frame = self.frame * flip[:, None]
        frame[:, :, 0] *= -1  # stays right-handed
        return join([self, replace(self, centre=self.centre * flip, frame=frame)])


def join(parts: Sequence[Surfels]) -> Surfels:
    return Surfels(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Surfels)))


def look(materials: Sequence[Material], index: NDArray) -> list[NDArray]:
    """The material columns of `Surfels` for `index` [N]."""
    names = ("albedo", "specular", "roughness", "emission", "alpha")
    return [np.array([getattr(m, name) for m in materials], np.float64)[index] for name in names]


def grid(nu: int, nv: int) -> NDArray:
    """The cells [nu * nv, 4] (u, v, du, dv: centre and size) of the unit square."""
    u, v = np.meshgrid((np.arange(nu) + 0.5) / nu, (np.arange(nv) + 0.5) / nv, indexing="ij")
    return np.stack([u.ravel(), v.ravel(), np.full(nu * nv, 1 / nu), np.full(nu * nv, 1 / nv)], -1)


def quarters(cells: NDArray) -> NDArray:
    """The four children of every cell."""
    u, v, du, dv = cells.T
    children = [np.stack([u + i * du / 4, v + j * dv / 4, du / 2, dv / 2], -1) for i in (-1, 1) for j in (-1, 1)]
    return np.concatenate(children)


def split_where_painted(cells: NDArray, paint: Paint, times: int) -> NDArray:
    """Cells that hold more than one material split, `times` over."""
    for _ in range(times):
        u, v, du, dv = cells.T
        ids = np.stack([paint(u + i * du / 2, v + j * dv / 2) for i in (-0.98, 0, 0.98) for j in (-0.98, 0, 0.98)])
        mixed = (ids != ids[0]).any(0)
        cells = np.concatenate([cells[~mixed], quarters(cells[mixed])])
    return cells


def split_at_border(cells: NDArray) -> NDArray:
    """Cells that touch the border of the unit square split."""
    u, v, du, dv = cells.T
    border = (np.minimum(u, 1 - u) < du * 0.51) | (np.minimum(v, 1 - v) < dv * 0.51)
    return np.concatenate([cells[~border], quarters(cells[border])])


def lay(point: Point, cells: NDArray, materials: Sequence[Material], paint: Paint | None = None, spread: float = 0.55) -> Surfels:
    """One Gaussian per cell of the patch `point`; `spread`: standard deviation over cell size. The normal is du x dv."""
    u, v, du, dv = cells.T
    along_u = point(u + du / 2, v) - point(u - du / 2, v)
    along_v = point(u, v + dv / 2) - point(u, v - dv / 2)
    width, height = np.linalg.norm(along_u, axis=1), np.linalg.norm(along_v, axis=1)
    kept = (width > 1e-5) & (height > 1e-5)
    u, v, along_u, along_v, width, height = (a[kept] for a in (u, v, along_u, along_v, width, height))
    first = along_u / width[:, None]
    normal = np.cross(first, along_v)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    frame = np.stack([first, np.cross(normal, first), normal], -1)
    index = np.zeros(len(u), int) if paint is None else np.asarray(paint(u, v), int)
    sigma = np.stack([width * spread, height * spread, np.full(len(u), 0.0012)], -1)
    return Surfels(point(u, v), frame, sigma, *look(materials, index))


def quad(corner: ArrayLike, edge_u: ArrayLike, edge_v: ArrayLike, material: Material, step: float, border: int = 1) -> Surfels:
    """A flat parallelogram with cells of about `step`, split `border` times along its edges."""
    corner, edge_u, edge_v = (np.asarray(a, np.float64) for a in (corner, edge_u, edge_v))
    cells = grid(*(max(1, round(float(np.linalg.norm(edge)) / step)) for edge in (edge_u, edge_v)))
    for _ in range(border):
        cells = split_at_border(cells)
    return lay(lambda u, v: corner + u[:, None] * edge_u + v[:, None] * edge_v, cells, [material])


def box(size: ArrayLike, material: Material, step: float, border: int = 1, top: Material | None = None) -> Surfels:
    """A box that stands on z = 0, centred in x and y; no underside when it is flat on the floor costs little, so there is one."""
    x, y, z = np.asarray(size, np.float64)
    low, high = np.array([-x / 2, -y / 2, 0]), np.array([x / 2, y / 2, z])
    ex, ey, ez = np.diag([x, y, z])
    faces = [(low, ey, ex), (low, ex, ez), (low, ez, ey), (high, -ez, -ex), (high, -ey, -ez)]
    sides = [quad(at, a, b, material, step, border) for at, a, b in faces]
    return join([*sides, quad(high, -ex, -ey, top or material, step, border)])


def lathe(profile: Sequence[tuple[float, float]], material: Material, step: float, around: int = 12) -> Surfels:
    """The surface of revolution about z of a polyline of (radius, z), going up outside."""
    parts = []
    for (r0, z0), (r1, z1) in pairwise(profile):
        rings = max(1, round(float(np.hypot(r1 - r0, z1 - z0)) / step))

        def point(u: NDArray, v: NDArray, r0=r0, z0=z0, r1=r1, z1=z1) -> NDArray:
            turn, radius = 2 * np.pi * u, r0 + (r1 - r0) * v
            return np.stack([radius * np.cos(turn), radius * np.sin(turn), z0 + (z1 - z0) * v], -1)

        parts.append(lay(point, grid(around, rings), [material]))
    return join(parts)


def pole(start: ArrayLike, end: ArrayLike, radius: float, material: Material, step: float = 0.15, around: int = 6) -> Surfels:
    """An open tube between two points."""
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    length = float(np.linalg.norm(end - start))
    return lathe([(radius, 0), (radius, length)], material, step, around).placed(start, rotation=upright_to(end - start))


def can(start: ArrayLike, end: ArrayLike, radius: float, material: Material, step: float = 0.04, around: int = 14) -> Surfels:
    """A closed cylinder between two points."""
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    length = float(np.linalg.norm(end - start))
    return lathe([(0, 0), (radius, 0), (radius, length), (0, length)], material, step, around).placed(
        start, rotation=upright_to(end - start)
    )


def cable(points: ArrayLike, radius: float, material: Material, step: float = 0.05) -> Surfels:
    """A round cord through `points` [K, 3]: full Gaussians on a Catmull-Rom curve, lit from above."""
    knots = np.asarray(points, np.float64)
    knots = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    count = max(4, round(float(np.linalg.norm(np.diff(knots[1:-1], axis=0), axis=1).sum()) / step))
    at = np.linspace(0, len(knots) - 3 - 1e-9, count + 1)
    i, t = at.astype(int), (at % 1)[:, None]
    a, b, c, d = knots[i], knots[i + 1], knots[i + 2], knots[i + 3]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    along = np.diff(curve, axis=0)
    length = np.linalg.norm(along, axis=1)
    first = along / length[:, None]
    side = np.cross([0.0, 0.0, 1.0] + 1e-3 * first[:, ::-1], first)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    frame = np.stack([first, side, np.cross(first, side)], -1)
    sigma = np.stack([length * 0.6, np.full(count, radius * 0.7), np.full(count, radius * 0.7)], -1)
    return Surfels((curve[1:] + curve[:-1]) / 2, frame, sigma, *look([material], np.zeros(count, int)))


def upright_to(direction: ArrayLike) -> NDArray:
    """A rotation [3, 3] that takes z to `direction`, keeping x as level as it can."""
    z = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    x = np.cross([0.0, 0, 1] if abs(z[2]) < 0.999 else [0.0, 1, 0], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], -1)
