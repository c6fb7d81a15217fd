"""Where to stand to see a scene: its middle, its size and which way is up, all from percentiles, so that stray splats do not matter.

A field is looked at where it is solid, and stands as the cameras do that it was trained from: z is up. One whose photographs are known is
seen as one of them saw it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from splatview.arrays import Doubles
from splatview.camera import Camera
from splatview.geometry import matrix_from_quat, rotation_about
from splatview.hashgrid import HashGrid, Occupancy
from splatview.scene import Layer, Scene
from splatview.volumes import left_by

UpAxis = Literal["auto", "x", "y", "z", "-x", "-y", "-z"]

# Where one stands for each up axis: a y-down capture looks along +z, as its first camera does; a z-up one along +y, as in Blender.
FRONTS: dict[UpAxis, UpAxis] = {"x": "-y", "-x": "-y", "y": "z", "-y": "-z", "z": "-y", "-z": "-y"}

FOV_Y = np.radians(50.0)
ELEVATION = np.radians(14.0)
SAMPLE = 200_000  # splats that are looked at; more would not change a percentile
POINTS = 4000  # of them, to fit a camera to
HEIGHTS, FLOOR = 64, 0.35  # slices of the height; share of the level surface that three of them hold where there is a floor
IN_VIEW, MARGIN = 0.98, 1.03  # share of the splats that the first view holds, and how much farther back it stands
PIECES, SIDE = 60_000, 48  # of each grid of a field, at most; along an axis where there is none
FEW = 1000  # of these points, about, where there are several such things
SOLID = 0.03  # the least alpha of a piece that is looked at: of an occupied cell, 20 of which cover half of what is behind
AHEAD = 0.35  # of a distance, beside a camera's axis: what its picture holds
STEEP = 0.98  # cosine of the angle from the vertical within which nobody begins to look
UNBOUNDED = 2.5  # 95 % of a bounded thing lies within so many median distances; beyond it is the background of an outdoor capture


@dataclass(frozen=True)
class Framing:
    """The part of a scene worth looking at, in world coordinates."""

    centre: tuple[float, float, float]
    radius: float  # scene units, > 0
    up_axis: UpAxis  # never "auto"
    points: Doubles = field(default_factory=lambda: np.zeros((0, 3)), compare=False, repr=False)  # [P, 3] some of its splats
    eye: tuple[float, float, float] | None = None  # where a photograph was taken from; None: far enough back to see all

    @property
    def up(self) -> Doubles:
        """The unit vector [3] that points up."""
        return axis_vector(self.up_axis)

    @property
    def front(self) -> Doubles:
        """The horizontal unit vector [3] from the middle towards somebody who stands in front of the scene."""
        return axis_vector(FRONTS[self.up_axis])

    def camera(self, width: int, height: int, fov_y: float = FOV_Y) -> Camera:
        """The view that shows the scene whole, from the front and slightly above, or that of a photograph; `fov_y` in radians."""
        if self.eye is not None:
            return Camera.look_at(self.eye, self.centre, self.up, fov_y, width, height)
        direction = rotation_about(np.cross(self.front, self.up), ELEVATION) @ self.front
        view = Camera.look_at(direction, np.zeros(3), self.up, fov_y, width, height)
        around = self.points - self.centre if len(self.points) else self.radius * np.concatenate([np.eye(3), -np.eye(3)])
        across, down, depth = view.camera_from_world[:3, :3] @ around.T
        # From which distance on a point is inside the picture, on both axes.
        needed = np.maximum(np.abs(across) * view.K[0, 0] / view.K[0, 2], np.abs(down) * view.K[1, 1] / view.K[1, 2]) - depth
        distance = np.quantile(needed, IN_VIEW) * MARGIN
        eye = np.asarray(self.centre) + direction * max(float(distance), 0.5 * self.radius)
        return Camera.look_at(eye, self.centre, self.up, fov_y, width, height)


def axis_vector(axis: UpAxis) -> Doubles:
    """The unit vector [3] of an axis by name; ValueError for "auto" and anything unknown."""
    if axis == "auto" or axis not in get_args(UpAxis):
        raise ValueError(f"axis: expected one of x, y, z, -x, -y, -z; got {axis!r}")
    return np.eye(3)["xyz".index(axis[-1])] * (-1.0 if axis.startswith("-") else 1.0)


def frame_scene(scene: Scene, up: UpAxis = "auto") -> Framing:
    """The framing of the visible layers; an empty scene is framed as a unit ball at the origin, y down."""
    splats, normals, areas = _sampled(scene)
    if up not in get_args(UpAxis):
        raise ValueError(f"up: expected one of {', '.join(get_args(UpAxis))}; got {up!r}")
    parts = [_part(splats, areas)] if len(splats) else []
    for layer in scene.visible_fields.values():
        points, weights = solid(layer.field)
        shown = left_by(layer.cuts, points) > 0
        points, weights = (points[shown], weights[shown]) if shown.any() else (points, weights)
        parts.append(_part(layer.placement.apply(points), weights))
    if not parts:
        return Framing((0.0, 0.0, 0.0), 1.0, "-y" if up == "auto" else up)
    if up == "auto":
        up = _guessed_up(splats, normals, areas) if len(splats) else "z"
    (centre, radius, points), *others = parts
    if others:  # whatever their sizes, and however many points each has
        centre = 0.5 * (np.min([middle - far for middle, far, _ in parts], 0) + np.max([middle + far for middle, far, _ in parts], 0))
        radius = max(float(np.linalg.norm(middle - centre)) + far for middle, far, _ in parts)
        points = np.concatenate([some[:: max(1, len(some) // FEW)] for *_, some in parts])
    framing = Framing(tuple(centre.tolist()), radius, up, points)
    fields = list(scene.visible_fields.values())
    return _photographed(framing, fields[0]) if len(fields) == 1 and not len(splats) else framing


def _photographed(framing: Framing, layer: Layer) -> Framing:
    """Seen from where a photograph of the layer was taken, if that is known: about what it was taken of, which fills half the way there."""
    taken = layer.viewpoints
    if taken is None:
        return framing
    eye, axis = (layer.placement.apply(one[taken.opening]) for one in (taken.places, taken.places + taken.axes))
    along = (axis - eye) / layer.placement.scale
    if taken.subject is not None:
        centre = layer.placement.apply(taken.subject)
    else:  # as far away as most of what is seen on its axis
        away = framing.points - eye
        depth = away @ along
        ahead = depth[np.linalg.norm(away - depth[:, None] * along, axis=1) < AHEAD * depth]
        centre = eye + along * (float(np.median(ahead)) if len(ahead) else framing.radius)
    distance = float(np.linalg.norm(centre - eye))
    if not distance > 0 or abs(framing.up @ (centre - eye)) > STEEP * distance:
        return framing
    return replace(framing, centre=tuple(centre.tolist()), radius=distance / 2, eye=tuple(eye.tolist()))


def _part(points: Doubles, weights: Doubles) -> tuple[Doubles, float, Doubles]:
    """The middle [3], the radius and some points of what is worth looking at, of the splats or of one field."""
    dense = points[weights >= np.quantile(weights, 0.25)]  # haze has little weight
    middle = np.median(dense, 0)
    distance = np.linalg.norm(dense - middle, axis=1)
    near, far = np.quantile(distance, [0.5, 0.95])
    inside = dense[distance <= max(far, 1e-12)]
    centre = middle if far > UNBOUNDED * near else 0.5 * np.quantile(inside, [0.02, 0.98], axis=0).sum(0)
    radius = min(float(far), UNBOUNDED * float(near)) or 1.0
    near_centre = dense[np.linalg.norm(dense - centre, axis=1) <= 1.25 * radius]
    return centre, radius, near_centre[:: max(1, len(near_centre) // POINTS)] if len(near_centre) else middle[None]


def solid(field: HashGrid) -> tuple[Doubles, Doubles]:
    """Points [P, 3] of a field's frame where something solid ends, and weights [P]: area times alpha. Its corners, if there is none."""
    points, edges = _pieces(field)
    alphas = _alphas(field, points, edges)
    found = alphas >= SOLID
    points, edges, alphas = points[found], edges[found], alphas[found]
    beside = points[:, None] + edges[:, None, None] * np.concatenate([np.eye(3), -np.eye(3)])
    ends = (_alphas(field, beside.reshape(-1, 3), np.repeat(edges, 6)).reshape(-1, 6) < SOLID).any(1)
    if ends.any():
        return points[ends], edges[ends] ** 2 * alphas[ends]
    low, high = field.box if field.warp == "box" else np.array([[-1.0] * 3, [1.0] * 3])
    corners = np.stack(np.meshgrid(*np.stack([low, high], 1)), -1).reshape(-1, 3)
    return corners, np.ones(len(corners))


def _alphas(field: HashGrid, points: Doubles, edges: Doubles) -> Doubles:
    density, _ = field.query(points, np.broadcast_to([0.0, 0.0, 1.0], points.shape))
    return -np.expm1(-density.astype(np.float64) * edges)


def _pieces(field: HashGrid) -> tuple[Doubles, Doubles]:
    """Middles [P, 3] and edges [P] of pieces that a field is looked at in: its occupied cells, or else the cells of a coarse grid."""
    if field.occupancy is not None:
        return _occupied(field.occupancy)
    axis = (np.arange(SIDE) + 0.5) / SIDE
    unit = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    if field.warp == "box":
        low, high = field.box
        return low + unit * (high - low), np.full(len(unit), float((high - low).mean()) / SIDE)
    contracted = 4 * unit - 2
    reach = np.maximum(np.abs(contracted).max(1), 1)
    size = 1 / (2 - reach)  # of the place that was contracted there
    return contracted * (size / reach)[:, None], 4 / SIDE * size / reach


def _occupied(occupancy: Occupancy) -> tuple[Doubles, Doubles]:
    points, edges = [np.zeros((0, 3))], [np.zeros(0)]
    for number, (cells, (low, high)) in enumerate(zip(occupancy.cells, occupancy.boxes, strict=True)):
        cell = (high - low) / cells.shape
        middles = low + cell * (np.argwhere(cells) + 0.5)
        if number:  # what a finer grid does not tell
            inner_low, inner_high = occupancy.boxes[number - 1]
            middles = middles[((middles < inner_low) | (middles >= inner_high)).any(1)]
        points.append(middles[:: max(1, len(middles) // PIECES)])
        edges.append(np.full(len(points[-1]), float(cell.mean())))
    return np.concatenate(points), np.concatenate(edges)


@np.errstate(all="ignore")  # what is not finite is left out at the end
def _sampled(scene: Scene) -> tuple[Doubles, Doubles, Doubles]:
    """World means [N, 3], thin directions [N, 3] and weights [N] (area times opacity) of a sample of the finite visible splats."""
    layers = scene.visible_layers.values()
    step = max(1, sum(len(layer.splats) for layer in layers) // SAMPLE)
    means, normals, weights = [np.zeros((0, 3))], [np.zeros((0, 3))], [np.zeros(0)]
    for layer in layers:
        some = layer.splats.with_max_degree(0).take(np.arange(0, len(layer.splats), step))
        scales = np.sort(np.exp(np.clip(some.log_scales.astype(np.float64), -40, 40)), axis=1)
        thin = np.argmin(some.log_scales, axis=1)
        turned = layer.placement.rotation @ matrix_from_quat(some.quats.astype(np.float64))
        flatness = 1 - scales[:, 0] / scales[:, 1]
        means.append(layer.placement.apply(some.means.astype(np.float64)))
        normals.append(np.take_along_axis(turned, thin[:, None, None], 2)[..., 0] * flatness[:, None])
        weights.append(scales[:, 1] * scales[:, 2] * layer.placement.scale**2 * some.opacities)
    joined, directions, areas = np.concatenate(means), np.concatenate(normals), np.concatenate(weights)
    good = np.isfinite(joined).all(1) & np.isfinite(directions).all(1) & np.isfinite(areas)
    return joined[good], directions[good], areas[good]


def _guessed_up(means: Doubles, normals: Doubles, weights: Doubles) -> UpAxis:
    """The axis on which a third of all level surface is one thin sheet near an end, the floor; y down, as most captures are, if none."""
    dense = weights >= np.quantile(weights, 0.25)
    capped = np.minimum(weights, np.quantile(weights, 0.95))[dense]  # one giant splat of the sky is no floor
    axis, best, up = 1, FLOOR, -1
    for index in range(3):
        low, high = np.quantile(means[:, index], [0.01, 0.99])
        heights = np.clip(means[dense, index], low, high)
        level = capped * (0.2 + normals[dense, index] ** 2)
        counts, _ = np.histogram(heights, HEIGHTS, (low, high if high > low else low + 1), weights=level)
        sheet = np.convolve(counts, np.ones(3), "same") / max(counts.sum(), 1e-300)
        at = int(np.argmax(sheet))
        if sheet[at] > best and not 0.15 < at / HEIGHTS < 0.85:
            axis, best, up = index, sheet[at], 1 if 2 * at < HEIGHTS else -1
    names: tuple[UpAxis, ...] = ("x", "y", "z") if up > 0 else ("-x", "-y", "-z")
    return names[axis]
