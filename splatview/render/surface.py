"""The surfaces of a field: points where it is seen, and flat Gaussians through them that have its colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splatview import harmonics
from splatview.arrays import Doubles, Floats, Ints
from splatview.camera import Camera
from splatview.gaussians import Gaussians
from splatview.geometry import Similarity, normalised, quat_from_matrix
from splatview.native import _fields, _points, field_workers, thread_count
from splatview.render.field_cpu import FieldCpu, FieldImage
from splatview.scene import Layer
from splatview.volumes import left_by

Tell = Callable[[float], None]  # hears how far something is, 0..1

RAYS = 1 << 15  # that are marched at once
FEW = 1e-3  # of the rays that were sent: if no more of them end somewhere there is nothing to be seen
BETWEEN = 0.3, 0.7  # how much of a pixel's light is gone where a point is put: around the median, for a haze is not what one looks at
SPARE = 1.6  # points that are looked for, for each that is wanted: those too near to others are left out
PAIRS = 4  # neighbours of each point among which the nearest pairs are looked for
AT_ONCE = 0.2  # the share of the points that may go before distances are measured anew
NEIGHBOURS = 8  # that say how a surface lies
WIDTH, THIN = 0.7, 0.25  # standard deviations: in distances to the three nearest neighbours; the least, in the largest
SMALLEST, LARGEST = 0.25, 1.7  # distances to neighbours, in the usual one of points as far away: a lone point is no large thing
LOGIT = -1.0  # of the opacity: light must reach those behind, too, or they learn nothing; fainter ones fit better, and are ill to select
SIDES, NEAR_SIDE = 12, 0.3  # from which a colour is asked; the cosine to the side that a point was seen from
RIDGE = 0.25  # per band: what is seen from few sides must not be odd from the others


class Shown:
    """What a layer shows of its field, in the field's own frame."""

    def __init__(self, layer: Layer) -> None:
        self._layer, self._draw, self._workers = replace(layer, placement=Similarity()), FieldCpu(), field_workers()
        there, marching = layer.field.occupancy, layer.field.marching
        self._occupancy = None if there is None else _fields.Occupancy(there.cells.view(np.uint8), there.boxes)
        self._steps = _fields.Steps(marching.step, marching.cone, marching.longest, marching.near)

    def picture(self, camera: Camera) -> FieldImage:
        return self._draw.render(self._layer, camera)

    def samples(self, origins: Doubles, along: Doubles, shift: Floats) -> tuple[Ints, Floats, Floats]:
        """Ray, distance and length of each sample of rays [R, 3], along unit vectors [R, 3], as `_fields.Workers.march`."""
        rays = origins.astype(np.float32), along.astype(np.float32)
        return self._workers.march(*rays, shift, self._occupancy, self._layer.bounds, self._steps, 1 << 30)

    def query(self, points: NDArray, along: NDArray) -> tuple[Floats, Floats]:
        """Density [N] and sRGB colour [N, 3] at `points` [N, 3] seen along [N, 3]."""
        density, rgb = self._layer.field.query(points, along)
        shown = self._layer.field.developed(rgb, np.ones(len(rgb), np.float32), self._layer.exposure)
        return density * left_by(self._layer.cuts, points), shown


class Seen(NamedTuple):
    """Points of a field, with what saw them."""

    points: Doubles  # [P, 3]
    eyes: Doubles  # [P, 3]
    pixels: Doubles  # [P] how wide a pixel is there

    def take(self, which: NDArray) -> Seen:
        return Seen(*(values[which] for values in self))


def on_surfaces(shown: Shown, cameras: Sequence[Camera], count: int, rng: np.random.Generator, tell: Tell) -> Gaussians:
    """`count` flat Gaussians, or fewer, where `cameras` see something; ValueError if that is nowhere."""
    seen = seen_points(shown, cameras, int(np.ceil(SPARE * count)), rng, lambda share: tell(0.8 * share))
    seen = seen.take(spread(seen, count))
    quats, log_scales = discs(seen)
    tell(0.9)
    return Gaussians(
        seen.points.astype(np.float32), quats, log_scales, np.full(len(quats), LOGIT, np.float32), colours(shown, seen, cameras, rng)
    )


def seen_points(shown: Shown, cameras: Sequence[Camera], count: int, rng: np.random.Generator, tell: Tell) -> Seen:
    """Points that pixels of `cameras` show, each where about half of its pixel's light is gone; ValueError if there are none."""
    found: list[Seen] = []
    got = sent = 0
    while got < count:
        views = np.sort(rng.integers(len(cameras), size=RAYS))
        origins, along, pixel = _rays(cameras, views, rng)
        ray, at, length = shown.samples(origins, along, rng.random(RAYS, np.float32))
        density, _ = shown.query(origins[ray] + at[:, None] * along[ray], along[ray])
        chosen = _where(density * length, ray, rng.uniform(*BETWEEN, RAYS))
        distance = at[chosen] + (rng.random(len(chosen)) - 0.5) * length[chosen]
        ray = ray[chosen]
        found.append(Seen(origins[ray] + distance[:, None] * along[ray], origins[ray], distance * pixel[ray]))
        got, sent = got + len(ray), sent + RAYS
        tell(min(got / count, 1))
        if got < FEW * sent:
            raise ValueError("nothing is seen of the field: it is empty, or all but transparent")
    some = rng.permutation(got)[:count]
    return Seen(*(np.concatenate(parts)[some] for parts in zip(*found, strict=True)))


def _rays(cameras: Sequence[Camera], views: NDArray, rng: np.random.Generator) -> tuple[Doubles, Doubles, Doubles]:
    """A ray through any place of the picture of each of `views` [R]: origin, unit direction, and the width of a pixel at distance 1."""
    origins, along, pixel = np.empty((len(views), 3)), np.empty((len(views), 3)), np.empty(len(views))
    for view in np.unique(views):
        here, camera = views == view, cameras[view]
        places = rng.random((np.count_nonzero(here), 2)) * [camera.width, camera.height]
        forward = camera.unproject(places, np.ones(len(places))) - camera.position
        origins[here], along[here] = camera.position, normalised(forward)
        pixel[here] = 1 / np.sqrt(camera.K[0, 0] * camera.K[1, 1]) / np.linalg.norm(forward, axis=1)
    return origins, along, pixel


def _where(thickness: Floats, ray: Ints, gone: Doubles) -> NDArray:
    """Of each ray whose light is dimmed by `gone` [R] somewhere the sample where it is, of samples with an optical `thickness` [S]."""
    through = np.cumsum(thickness, dtype=np.float64)
    rays = np.arange(len(gone))
    first, end = np.searchsorted(ray, rays), np.searchsorted(ray, rays, side="right")
    at = np.searchsorted(through, np.concatenate([[0.0], through])[first] - np.log1p(-gone), side="right")
    return at[at < end]


def spread(seen: Seen, count: int) -> NDArray:
    """Which `count` points to keep so that they are spread: of each nearest pair, in pixels, one goes."""
    kept = np.arange(len(seen.points))
    while len(kept) > count:
        found, distances = _tree(seen.points[kept]).nearest(PAIRS)
        own = np.broadcast_to(np.arange(len(kept), dtype=np.int32)[:, None], found.shape)
        once = (found >= 0) & ((own < found) | (distances > distances[found, -1]))
        first, second = own[once], found[once]
        pixels = seen.pixels[kept]
        order = np.argsort(distances[once] / np.minimum(pixels[first], pixels[second]), kind="stable")
        first, second = np.ascontiguousarray(first[order]), np.ascontiguousarray(second[order])
        taken = _points.match(first, second, len(kept), min(len(kept) - count, 1 + int(AT_ONCE * len(kept)))).view(np.bool_)
        if not taken.any():
            return kept[:count]
        kept = np.delete(kept, second[taken])
    return kept


def discs(seen: Seen) -> tuple[Floats, Floats]:
    """Quaternions [P, 4] and log scales [P, 3] of Gaussians that lie as their neighbours do, and leave no holes between them."""
    rows, distances = _tree(seen.points).nearest(NEIGHBOURS)
    apart = np.where((rows >= 0)[..., None], seen.points[rows] - seen.points[:, None], 0.0)
    apart -= apart.mean(1, keepdims=True)
    squares, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", apart, apart))
    axes[np.linalg.det(axes) < 0] *= -1
    lengths = np.sqrt(np.maximum(squares, 0))
    flat = np.clip(lengths / np.maximum(lengths[:, 2:], 1e-30), THIN, 1)
    near = distances[:, :3].mean(1)
    usual = np.median(near / seen.pixels) if np.isfinite(near).any() else 1.0
    near = np.clip(near, SMALLEST * usual * seen.pixels, LARGEST * usual * seen.pixels)
    scales = WIDTH * near[:, None] * flat
    return quat_from_matrix(axes).astype(np.float32), np.log(scales).astype(np.float32)


def colours(shown: Shown, seen: Seen, cameras: Sequence[Camera], rng: np.random.Generator, degree: int = 2) -> Floats:
    """Harmonics [P, K, 3] of what the field answers at points seen from where they were, and from other cameras on that side of them."""
    places = np.stack([camera.position for camera in cameras])
    ridge = np.concatenate([np.full(2 * band + 1, RIDGE * band + 1e-3) for band in range(degree + 1)])
    sh = np.empty((len(seen.points), len(ridge), 3), np.float32)
    for begin in range(0, len(sh), RAYS):
        some = seen.take(np.arange(begin, min(begin + RAYS, len(sh))))
        first = normalised(some.points - some.eyes)[:, None]
        others = normalised(some.points[:, None] - places[rng.integers(len(places), size=(len(first), SIDES - 1))])
        beside = (others * first).sum(-1, keepdims=True) > NEAR_SIDE
        sides = np.concatenate([first, np.where(beside, others, first)], 1)
        _, rgb = shown.query(np.repeat(some.points, SIDES, axis=0), sides.reshape(-1, 3))
        basis = harmonics.basis(sides, degree)
        products = np.einsum("nsk,nsl->nkl", basis, basis) + np.diag(ridge)
        sh[begin : begin + RAYS] = np.linalg.solve(products, np.einsum("nsk,nsc->nkc", basis, rgb.reshape(len(first), SIDES, 3) - 0.5))
    return sh


def _tree(points: Doubles) -> _points.Points:
    return _points.Points(np.ascontiguousarray(points, np.float32), thread_count())
