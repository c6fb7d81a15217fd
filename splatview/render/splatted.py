"""A hash-grid field as splats: flat Gaussians where it is seen, which are then corrected until their pictures are the field's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splatview import harmonics
from splatview.arrays import Floats
from splatview.camera import Camera
from splatview.frame import RenderOptions
from splatview.framing import FOV_Y, Framing, frame_scene
from splatview.gaussians import Gaussians
from splatview.geometry import Similarity, multiply_quats, normalised, rotation_about
from splatview.render.splats_cpu import CpuRenderer
from splatview.render.surface import Shown, on_surfaces
from splatview.scene import Layer, Scene

Progress = Callable[[float, str], None]  # a share of 0..1, and what is being done; whatever it raises ends the work

ELEVATIONS = np.radians([-15.0, 60.0])
DISTANCES = 0.4, 1.1  # in that from which the whole is seen
ASIDE = 0.5  # how far beside the middle one looks, in the way to what is there
TRIES = 8  # for each view
INSIDE, CLOSE = 0.1, 0.05  # the share of a picture that may be closer than this many radii: else one stands within something
GLANCE = 24  # pixels a side of the pictures that tell
LEAST = 1e-3  # the mean alpha of a picture that shows anything
GOLDEN = np.pi * (3 - 5**0.5)
DRAWN = RenderOptions(outputs=("rgb", "alpha"))
TINY = 1e-15


@dataclass(frozen=True)
class Effort:
    """How much work is put into a conversion. Many small pictures rather than few large ones: a few would be learnt by heart."""

    views: int = 128
    width: int = 240
    height: int = 160
    rounds: int = 5  # through all of them


@dataclass(frozen=True)
class Rates:
    """How far a parameter goes in one of the first steps."""

    mean: float = 0.2  # in the Gaussian's own standard deviations
    turn: float = 0.02  # radians
    log_scale: float = 0.04
    logit: float = 0.05
    colour: float = 0.02
    harmonics: float = 0.001
    often: int = 4  # steps from one of the harmonics to the next
    last: float = 0.1  # what is left of all of them in the end


def splatted(
    layer: Layer, count: int, *, seed: int = 0, effort: Effort = Effort(), progress: Progress = lambda share, text: None
) -> Gaussians:
    """`count` Gaussians (fewer where there is not much to see), in the field's frame, that look like the field of `layer`.

    The same for the same seed. ValueError if `count` is none, or there is nothing to see.
    """
    if count < 1:
        raise ValueError(f"expected 1 Gaussian or more, got {count}")
    rng, shown = np.random.default_rng(seed), Shown(layer)
    views = []
    for camera in cameras_around(layer, shown, effort, rng):
        progress(0.4 * len(views) / effort.views, f"drawing the field, view {len(views) + 1} of {effort.views}")
        picture = shown.picture(camera)
        views.append(View(camera, picture.rgb, picture.alpha))
    if not views:
        raise ValueError("nothing is seen of the field: it is empty, or all but transparent")
    cameras = [view.camera for view in views]
    splats = on_surfaces(shown, cameras, count, rng, lambda share: progress(0.4 + 0.1 * share, "looking for its surfaces"))
    fit, order = Fit(splats, CpuRenderer()), np.concatenate([rng.permutation(len(views)) for _ in range(effort.rounds)])
    for step, number in enumerate(order):
        progress(0.5 + 0.5 * step / len(order), f"correcting {len(splats):,} Gaussians, step {step + 1} of {len(order)}")
        fit.step(views[number], rng.random(3, np.float32), step / len(order))
    return fit.splats


def cameras_around(layer: Layer, shown: Shown, effort: Effort, rng: np.random.Generator) -> Iterator[Camera]:
    """Cameras, in the field's frame, around what is worth looking at, at any height, near and far, outside of what is solid."""
    framing = frame_scene(Scene({"": replace(layer, visible=True)}))
    for view in range(effort.views):
        for _ in range(TRIES):
            camera = _in_frame(_camera(framing, effort, view, rng), layer.placement)
            small = shown.picture(camera.resized(GLANCE, GLANCE))
            close = (small.alpha > 0.5) & (small.depth < CLOSE * framing.radius / layer.placement.scale)
            if close.mean() < INSIDE and small.alpha.mean() > LEAST:
                yield camera
                break


def _camera(framing: Framing, effort: Effort, number: int, rng: np.random.Generator) -> Camera:
    whole = framing.camera(effort.width, effort.height)
    centre, points = np.asarray(framing.centre), framing.points
    side = rotation_about(framing.up, GOLDEN * (number + rng.random())) @ framing.front
    direction = rotation_about(np.cross(side, framing.up), rng.uniform(*ELEVATIONS)) @ side
    distance = float(np.linalg.norm(whole.position - centre)) * rng.uniform(*DISTANCES)
    aside = points[rng.integers(len(points))] - centre if len(points) else np.zeros(3)
    target = centre + rng.uniform(0, ASIDE) * aside
    return Camera.look_at(centre + distance * direction, target, framing.up, FOV_Y, effort.width, effort.height)


def _in_frame(camera: Camera, placement: Similarity) -> Camera:
    """The camera of the world that sees the same in the frame of what stands at `placement`."""
    pose = camera.camera_from_world @ placement.matrix
    pose[:3] /= placement.scale
    return Camera(camera.K, pose, camera.width, camera.height)


class View(NamedTuple):
    """A picture that splats should give."""

    camera: Camera
    rgb: Floats  # [H, W, 3] times alpha
    alpha: Floats  # [H, W]


class Moments:
    """Adam's moments of the gradients (Kingma and Ba 2015) of an array; rows without a gradient keep theirs."""

    FIRST, SECOND = 0.9, 0.99

    def __init__(self, *shape: int) -> None:
        self._first, self._second, self._steps = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape[0], np.float32)

    def towards(self, rows: NDArray, gradient: Floats) -> Floats:
        """Where to go [M, ...], about 1 long in each parameter, for the `rows` [M] that have a `gradient` [M, ...]."""
        self._steps[rows] += 1
        steps = self._steps[rows].reshape(-1, *[1] * (gradient.ndim - 1))
        first = self.FIRST * self._first[rows] + np.float32(1 - self.FIRST) * gradient
        second = self.SECOND * self._second[rows] + np.float32(1 - self.SECOND) * np.square(gradient)
        self._first[rows], self._second[rows] = first, second
        length = np.sqrt(second / (1 - self.SECOND**steps)) + np.float32(TINY)
        return (-first / (1 - self.FIRST**steps) / length).astype(np.float32, copy=False)


class Fit:
    """Splats on their way to pictures that they should give."""

    def __init__(self, splats: Gaussians, renderer: CpuRenderer, rates: Rates = Rates()) -> None:
        self.splats = splats
        self._renderer, self._rates, self._steps = renderer, rates, 0
        self._moments, self._bands = Moments(len(splats), 13), Moments(len(splats), splats.sh.shape[1] - 1, 3)

    def step(self, view: View, background: Floats, share: float) -> float:
        """Towards one picture over a `background` [3], at this share 0..1 of the way; the mean squared error before.

        Over a background of its own in each step, lest what lies behind black is left out.
        """
        before, rates = self.splats, self._rates
        frame = self._renderer.render(Scene({"": Layer(before)}), view.camera, DRAWN)
        error = frame.rgb - view.rgb - (frame.alpha - view.alpha)[..., None] * background
        pulled = self._renderer.gradient(before, view.camera, np.concatenate([error, -(error @ background)[..., None]], -1), frame)
        rows = np.flatnonzero(pulled.any(axis=1))
        pulled, rate = pulled[rows], np.float32(rates.last**share)
        go = rate * self._moments.towards(rows, pulled)
        means, quats, log_scales, logits, sh = (
            getattr(before, name).copy() for name in ("means", "quats", "log_scales", "opacity_logits", "sh")
        )
        means[rows] += np.float32(rates.mean) * np.exp(log_scales[rows].mean(axis=1, keepdims=True)) * go[:, :3]
        turns = np.concatenate([np.ones((len(rows), 1), np.float32), np.float32(0.5 * rates.turn) * go[:, 3:6]], 1)
        quats[rows] = normalised(multiply_quats(turns, quats[rows]))
        log_scales[rows] += np.float32(rates.log_scale) * go[:, 6:9]
        logits[rows] += np.float32(rates.logit) * go[:, 9]
        sh[rows, 0] += np.float32(rates.colour / harmonics.C0) * go[:, 10:]
        if self._steps % rates.often == 0:
            along = normalised(means[rows] - view.camera.position.astype(np.float32))
            by_sh = harmonics.basis(along, before.sh_degree)[:, 1:, None] * pulled[:, None, 10:]
            sh[rows, 1:] += rate * np.float32(rates.harmonics / harmonics.C0) * self._bands.towards(rows, by_sh)
        self._steps += 1
        self.splats = Gaussians(means, quats, log_scales, logits, sh)
        return float(np.mean(np.square(error)))
