"""Small scenes and views that the renderer's tests draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from splatview import Camera, Gaussians, RenderOptions, Scene, harmonics
from splatview.frame import Masks
from splatview.geometry import Similarity
from splatview.scene import Layer

EVERYTHING = ("rgb", "alpha", "depth", "median_depth", "ids", "overdraw", "coverage")
Case = tuple[Scene, Camera, RenderOptions]


def cloud(count: int = 400, degree: int = 1, kind: str = "classic", size: float = -2.5, spread: float = 0.6, seed: int = 0) -> Gaussians:
    """Random splats around the origin with standard deviations around exp(size)."""
    rng = np.random.default_rng(seed)
    sh = rng.normal(0, 0.3, (count, harmonics.coefficients(degree), 3))
    return Gaussians(
        rng.normal(0, 1, (count, 3)), rng.normal(size=(count, 4)), rng.normal(size, spread, (count, 3)), rng.normal(0, 2, count), sh, kind
    )


def shot(width: int = 96, height: int = 64, fov_y: float = 0.9, eye: tuple[float, float, float] = (0.5, -4, 1)) -> Camera:
    return Camera.look_at(eye, (0, 0, 0), (0, 0, 1), fov_y, width, height)


def alone(splats: Gaussians, camera: Camera | None = None, **options) -> Case:
    return Scene({"cloud": Layer(splats)}), camera or shot(), RenderOptions(outputs=EVERYTHING, **options)


def off_centre(cx: float, cy: float) -> Camera:
    K = shot().K.copy()
    K[:2, 2] = cx, cy
    return Camera(K, shot().camera_from_world, 96, 64)


def several_layers() -> Case:
    """Layers of every kind that cross each other, one hidden, one empty, placed with turns and scales."""
    placement = Similarity((0.8, 0.3, -0.4, 0.2), (0.3, 0.5, -0.2), 0.6)
    layers = {
        "a": Layer(cloud(200, degree=3, seed=1)),
        "unseen": Layer(cloud(100, seed=2), visible=False),
        "b": Layer(cloud(200, degree=2, kind="antialiased", size=-4, seed=3), placement),
        "empty": Layer(cloud(0)),
        "c": Layer(cloud(100, degree=0, kind="2dgs", seed=4), Similarity((0.1, 0, 1, 0), (0, 0.5, 0.5), 1.7)),
    }
    return Scene(layers), shot(), RenderOptions(outputs=EVERYTHING, background=(0.1, 0.2, 0.3))


def masked(**names: str) -> Case:
    """Two layers; for each keyword `hidden` or `tinted` a mask of the layer that it names."""
    scene = Scene({"a": Layer(cloud(300)), "b": Layer(cloud(200, seed=5))})
    masks = {key: Masks({name: np.arange(len(scene.layers[name].content)) % 3 == 0}) for key, name in names.items()}
    return scene, shot(), RenderOptions(outputs=EVERYTHING, tint=(1.0, 0.1, 0.2), **masks)


def with_logits(low: float, high: float) -> Gaussians:
    return replace(cloud(), opacity_logits=np.random.default_rng(6).uniform(low, high, 400))


def needles() -> Gaussians:
    """One axis a hundred times as long as the others."""
    return replace(cloud(), log_scales=np.random.default_rng(7).permuted(np.tile([-5.0, -5.0, -0.4], (400, 1)), axis=1))


def flat() -> Gaussians:
    return replace(cloud(), log_scales=np.random.default_rng(8).normal(-2, 0.5, (400, 3)) - [0, 0, 15])


CASES: dict[str, Callable[[], Case]] = {
    **{f"degree {degree}": lambda degree=degree: alone(cloud(degree=degree)) for degree in range(5)},
    "degree 3 cut to 1": lambda: alone(cloud(degree=3), sh_degree=1),
    "degree 1 asked for 4": lambda: alone(cloud(degree=1), sh_degree=4),
    "antialiased": lambda: alone(cloud(kind="antialiased", size=-4)),
    "antialiased, drawn classic": lambda: alone(cloud(kind="antialiased", size=-4), antialiased=False),
    "classic, drawn antialiased": lambda: alone(cloud(size=-4), antialiased=True),
    "2dgs": lambda: alone(replace(flat(), kind="2dgs")),
    "dense": lambda: alone(cloud(2000, degree=3)),
    "principal point off centre": lambda: alone(cloud(), off_centre(20, 50)),
    "principal point outside": lambda: alone(cloud(), off_centre(-30, 90)),
    "near and far": lambda: alone(cloud(), near=3.7, far=4.9),
    "background": lambda: alone(cloud(), background=(0.2, 0.5, 0.9)),
    "several layers": several_layers,
    "hidden": lambda: masked(hidden="a"),
    "tinted": lambda: masked(tinted="b"),
    "hidden and tinted": lambda: masked(hidden="b", tinted="b"),
    "tinted, in their own colour": lambda: (*masked(tinted="a")[:2], replace(masked(tinted="a")[2], tint=None)),
    "splats grown": lambda: alone(cloud(), splat_scale=2.5),
    "splats shrunk": lambda: alone(cloud(), splat_scale=0.2),
    "splats shrunk, antialiased": lambda: alone(cloud(kind="antialiased"), splat_scale=0.2),
    "camera inside": lambda: alone(cloud(2000), shot(fov_y=1.9, eye=(0.1, -0.2, 0.1))),
    "splats larger than the picture": lambda: alone(cloud(60, size=1.0)),
    "needles": lambda: alone(needles()),
    "needles, antialiased": lambda: alone(needles(), antialiased=True),
    "flat": lambda: alone(flat()),
    "tiny splats": lambda: alone(cloud(2000, size=-9)),
    "tiny splats, antialiased": lambda: alone(cloud(2000, size=-6), antialiased=True),
    "nearly clear": lambda: alone(with_logits(-8, -4)),
    "opaque": lambda: alone(with_logits(8, 40)),
    "no whole tiles": lambda: alone(cloud(), shot(101, 37)),
    "one pixel": lambda: alone(cloud(), shot(1, 1)),
    "one column": lambda: alone(cloud(), shot(1, 70)),
    "centres": lambda: alone(cloud(2000, degree=2), style="centres"),
    "centres, antialiased": lambda: alone(cloud(2000, size=-7, kind="antialiased"), style="centres"),
    "large picture": lambda: alone(cloud(60), shot(400, 300)),
}


def psnr(got: np.ndarray, expected: np.ndarray) -> float:
    """Decibels against the largest expected value, or 1 if that is more."""
    error = np.mean((got.astype(np.float64) - expected) ** 2)
    return 10 * np.log10(max(1.0, np.abs(expected).max(initial=0)) ** 2 / max(error, 1e-30))
