"""The specification of the image formation: every Gaussian against every pixel, float64, no tiles, no bounds.

EWA splatting as in Zwicker et al. 2001 and Kerbl et al. 2023, with the numbers of gsplat 1.5: slow and readable on purpose.
A Gaussian with a number that is not finite is not drawn, before or after projection; only an opacity logit may be infinite.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from splatview import Camera, Gaussians, Scene, harmonics
from splatview.frame import RenderOptions
from splatview.geometry import Similarity, matrix_from_quat

DILATION = 0.3  # pixels squared, added to both variances
SMALLEST_ALPHA = 1 / 255
LARGEST_ALPHA = 0.999
LAST_TRANSMITTANCE = 1e-4
CENTRE_VARIANCE, CENTRE_OPACITY = 0.5, 0.95  # the dot that stands for a Gaussian: pixels squared
RIM_ALPHA, RIM_WIDTH, RIM_END = 0.6, 1.5, 4.0  # of an outline: pixels, half a squared Mahalanobis distance


@dataclass
class Projected:
    """Gaussians as they stand in the picture, one row each."""

    means: NDArray  # [N, 2] pixels
    conics: NDArray  # [N, 3] xx, xy, yy of the inverse 2D covariance
    depths: NDArray  # [N] z along the view axis
    opacities: NDArray  # [N] compensated where antialiased
    colours: NDArray  # [N, 3]
    ids: NDArray  # [N] index within the layer
    layers: NDArray  # [N] index of the layer in the scene
    tinted: NDArray  # [N] bool

    def take(self, at: NDArray) -> Projected:
        return Projected(*(getattr(self, field.name)[at] for field in fields(self)))

    @property
    def finite(self) -> NDArray:
        """[N] whether all numbers of a Gaussian are finite."""
        numbers = np.column_stack([self.means, self.conics, self.depths, self.opacities, self.colours])
        return np.logical_and.reduce(np.isfinite(numbers), axis=1)


def healthy(splats: Gaussians) -> NDArray:
    """[N] whether the numbers of a Gaussian mean something."""
    numbers = (splats.means, splats.quats, splats.log_scales, splats.sh.reshape(len(splats), -1))
    return np.isfinite(np.concatenate(numbers, axis=1)).all(axis=1) & ~np.isnan(splats.opacity_logits)


def covariances(splats: Gaussians, splat_scale: float = 1.0) -> NDArray:
    """[N, 3, 3] in the layer's own frame."""
    axes = matrix_from_quat(splats.quats.astype(np.float64)) * (splat_scale * np.exp(splats.log_scales.astype(np.float64)))[:, None, :]
    return axes @ axes.swapaxes(1, 2)


def flattened(points: NDArray, covs: NDArray, camera: Camera) -> NDArray:
    """2D covariances [N, 2, 2] in pixels, not dilated, of `covs` [N, 3, 3] around `points` [N, 3], both in camera space.

    The projection is linearised at the mean, or, for a mean outside the view by more than 15 % of the picture's size, at that limit.
    """
    (fx, fy), (cx, cy) = camera.K[[0, 1], [0, 1]], camera.K[:2, 2]
    margin_x, margin_y = 0.15 * camera.width / fx, 0.15 * camera.height / fy
    x, y, z = points.T
    slope_x = np.clip(x / z, -cx / fx - margin_x, (camera.width - cx) / fx + margin_x)
    slope_y = np.clip(y / z, -cy / fy - margin_y, (camera.height - cy) / fy + margin_y)
    zero = np.zeros_like(z)
    jacobian = np.stack([np.stack([fx / z, zero, -fx * slope_x / z], -1), np.stack([zero, fy / z, -fy * slope_y / z], -1)], 1)
    return jacobian @ covs @ jacobian.swapaxes(1, 2)


def project(splats: Gaussians, placement: Similarity, camera: Camera, options: RenderOptions) -> Projected:
    """All Gaussians of one layer, also those that are out of range; `ids` in order, `layers` all 0."""
    rotation, translation = camera.camera_from_world[:3, :3], camera.camera_from_world[:3, 3]
    points = placement.apply(splats.means.astype(np.float64)) @ rotation.T + translation
    turn = placement.scale * rotation @ placement.rotation
    flat = flattened(points, turn @ covariances(splats, options.splat_scale) @ turn.T, camera)

    dilated = flat + DILATION * np.eye(2)
    det = dilated[:, 0, 0] * dilated[:, 1, 1] - dilated[:, 0, 1] ** 2
    conics = np.stack([dilated[:, 1, 1], -dilated[:, 0, 1], dilated[:, 0, 0]], -1) / det[:, None]
    opacities = 0.5 * (1 + np.tanh(0.5 * splats.opacity_logits.astype(np.float64)))
    antialiased = splats.kind == "antialiased" if options.antialiased is None else options.antialiased
    if antialiased:
        undilated = flat[:, 0, 0] * flat[:, 1, 1] - flat[:, 0, 1] ** 2
        opacities *= np.sqrt(np.maximum(undilated / det, 0))

    if options.style == "centres":
        conics = np.tile([1 / CENTRE_VARIANCE, 0, 1 / CENTRE_VARIANCE], (len(splats), 1))
        own = 0.5 * (1 + np.tanh(0.5 * splats.opacity_logits.astype(np.float64)))
        opacities = np.where(own >= SMALLEST_ALPHA, CENTRE_OPACITY, 0)

    degree = splats.sh_degree if options.sh_degree is None else min(options.sh_degree, splats.sh_degree)
    eye = placement.inverse().apply(camera.position)  # the harmonics live in the layer's own frame
    sh = splats.sh[:, : harmonics.coefficients(degree)].astype(np.float64)
    colours = harmonics.evaluate(sh, splats.means.astype(np.float64) - eye)

    means = points[:, :2] / points[:, 2:] * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]
    ids = np.arange(len(splats))
    return Projected(means, conics, points[:, 2], opacities, colours, ids, np.zeros_like(ids), np.zeros(len(ids), bool))


def project_scene(scene: Scene, camera: Camera, options: RenderOptions) -> Projected:
    """Everything that is drawn, nearest first."""
    parts = []
    for index, (name, layer) in enumerate(scene.layers.items()):
        if name not in scene.visible_layers:
            continue
        with np.errstate(all="ignore"):
            part = project(layer.content, layer.placement, camera, options)
        part.layers[:] = index
        if name in options.tinted:
            tinted = options.tinted[name]
            part.tinted[:] = tinted
            if options.tint is not None:
                part.colours[tinted] = 0.5 * part.colours[tinted] + 0.5 * np.asarray(options.tint)
        shown = healthy(layer.content) & part.finite & (part.depths > options.near) & (part.depths < options.far)
        if name in options.hidden:
            shown &= ~options.hidden[name]
        parts.append(part.take(shown))
    if not parts:
        return Projected(
            np.empty((0, 2)), np.empty((0, 3)), np.empty(0), np.empty(0), np.empty((0, 3)), *np.empty((2, 0), int), np.empty(0, bool)
        )
    joined = Projected(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Projected)))
    return joined.take(np.argsort(joined.depths, kind="stable"))


def alphas_at(splats: Projected, index: int, x: NDArray, y: NDArray, outlined: bool = False) -> NDArray:
    """What Gaussian `index` covers of the pixels with centres `x`, `y`; 0 where it is not drawn.

    `outlined`: the rim of its ellipse is drawn over it, 1.5 pixels wide on average.
    """
    dx, dy = x - splats.means[index, 0], y - splats.means[index, 1]
    xx, xy, yy = splats.conics[index]
    sigma = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
    alpha = np.minimum(LARGEST_ALPHA, splats.opacities[index] * np.exp(-np.maximum(sigma, 0)))
    alpha = np.where((sigma >= 0) & (alpha >= SMALLEST_ALPHA), alpha, 0)
    if outlined and splats.opacities[index] > SMALLEST_ALPHA:
        end = min(RIM_END, np.log(splats.opacities[index] / SMALLEST_ALPHA))
        radius = np.sqrt(2 * end) * (xx * yy - xy * xy) ** -0.25  # pixels, the mean of the ellipse's
        inside = max(0, 1 - RIM_WIDTH / radius)
        alpha = np.where((end * inside**2 <= sigma) & (sigma <= end), RIM_ALPHA, alpha)
    return alpha


def layers_of_light(splats: Projected, x: NDArray, y: NDArray, outlined: bool) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
    """For each Gaussian, nearest first: the transmittance before it and after it, and its weight, at pixels with centres `x`, `y`."""
    transmittance, done = np.ones_like(x), np.zeros(x.shape, bool)
    for index in range(len(splats.depths)):
        alpha = np.where(done, 0, alphas_at(splats, index, x, y, outlined))
        after = transmittance * (1 - alpha)
        done |= (alpha > 0) & (after <= LAST_TRANSMITTANCE)  # the Gaussian that closes a pixel is itself left out
        alpha[done] = 0
        after = transmittance * (1 - alpha)
        yield transmittance, after, transmittance * alpha
        transmittance = after


def heaviest_weights(scene: Scene, camera: Camera, region: NDArray, options: RenderOptions = RenderOptions()) -> dict[str, NDArray]:
    """For each visible layer [N] the largest weight of a Gaussian at any pixel of `region` [H, W]."""
    rows, columns = np.nonzero(region)
    splats = project_scene(scene, camera, options)
    best = {name: np.zeros(len(layer.content)) for name, layer in scene.visible_layers.items()}
    names = list(scene.layers)
    passes = layers_of_light(splats, columns + 0.5, rows + 0.5, options.style == "outlines")
    for index, (_, _, weight) in enumerate(passes):
        best[names[splats.layers[index]]][splats.ids[index]] = weight.max(initial=0)
    return best


def render(scene: Scene, camera: Camera, options: RenderOptions = RenderOptions()) -> dict[str, NDArray]:
    """rgb [H, W, 3], alpha, depth, median_depth, ids, id_layers, overdraw and coverage [H, W]: what the outputs of a `Frame` have to be."""
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    splats = project_scene(scene, camera, options)
    rgb, weighted_depth, transmittance = np.zeros((*x.shape, 3)), np.zeros_like(x), np.ones_like(x)
    median_depth, heaviest, coverage = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    ids, id_layers, overdraw = np.full(x.shape, -1, np.int32), np.full(x.shape, -1, np.int32), np.zeros(x.shape, np.int32)

    passes = layers_of_light(splats, x, y, options.style == "outlines")
    for index, (z, (before, transmittance, weight)) in enumerate(zip(splats.depths, passes, strict=True)):
        rgb += weight[..., None] * splats.colours[index]
        weighted_depth += weight * z
        median_depth[(before > 0.5) & (transmittance <= 0.5)] = z
        first = weight > heaviest
        heaviest[first], ids[first], id_layers[first] = weight[first], splats.ids[index], splats.layers[index]
        overdraw += weight > 0
        coverage += weight * splats.tinted[index]

    total = 1 - transmittance
    return {
        "rgb": rgb + transmittance[..., None] * np.asarray(options.background),
        "alpha": total,
        "depth": np.divide(weighted_depth, total, out=np.zeros_like(total), where=total > 0),
        "median_depth": median_depth,
        "ids": ids,
        "id_layers": id_layers,
        "overdraw": overdraw,
        "coverage": coverage,
    }
