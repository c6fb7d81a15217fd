"""Small random fields and views of them, in every way in which they may differ."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from splatview import Camera
from splatview.geometry import Similarity
from splatview.hashgrid import HARMONICS, HashGrid, Level, Marching, Network, Occupancy
from splatview.scene import Layer
from splatview.volumes import Box, Cut, Sphere

FieldCase = tuple[Layer, Camera]
BOX = np.array([[-1.0, -1, -1], [1, 2, 3]])
NESTED = np.array([[[-0.5, 0.5, 0], [0.5, 1.25, 2]], BOX])  # on the corners of 8 x 8 x 8 cells
CUTS = (
    Cut(Box((0.1, 0.5, 0.4), (1.2, 1.6, 1.8), (0.9, 0.1, 0.3, -0.2), 0.3)),
    Cut(Sphere((0.5, 0.9, 0.9), 0.3)),
    Cut(Sphere((0.2, 0.3, 0.2), 0.3, 0.2), keeps=False),
)
STANDING = Similarity((0.8, 0.3, -0.4, 0.2), (0.3, 0.5, -0.2), 0.6)


def network(rng: np.random.Generator, *widths: int) -> Network:
    pairs = list(itertools.pairwise(widths))
    weights = tuple(rng.normal(0, 1.2 / before**0.5, (after, before)) for before, after in pairs)
    return Network(weights, tuple(rng.normal(0, 0.1, after) for _, after in pairs))


def field(features: int = 2, levels: int = 3, hidden: tuple[int, int] = (1, 2), width: int = 16, seed: int = 0, **changes) -> HashGrid:
    """Dense and hashed levels of `features` each, an occupancy grid of two cascades, `hidden` layers of `width`."""
    rng, geometry = np.random.default_rng(seed), changes.get("geometry", 0)
    sizes = [(3.0, 4, 64), (7.3, 0, 128), (31.7, 0, 1 << 10), (4.4, 6, 216), *[(5.0 + place, 0, 256) for place in range(28)]]
    made = HashGrid(
        tuple(Level(rng.normal(size=(entries, features)), scale, corners) for scale, corners, entries in sizes[:levels]),
        network(rng, levels * features, *[width] * hidden[0], 16),
        network(rng, 16 - geometry + HARMONICS, *[width] * hidden[1], 3),
        BOX,
        Marching(0.02, 0.01, 0.5),
        Occupancy(rng.random((2, 8, 8, 8)) < 0.3, NESTED),
        geometry=geometry,
    )
    return replace(made, **changes)


def view(width: int = 24, height: int = 16, eye=(2, -1, 1), target=(0.2, 0.4, 0.4)) -> Camera:
    return Camera.look_at(eye, target, (0, 0, 1), 0.9, width, height)


def off_centre() -> Camera:
    K = view().K.copy()
    K[:2, 2] = 7, 13
    return Camera(K, view().camera_from_world, 24, 16)


def contracted() -> HashGrid:
    cells = np.random.default_rng(1).random((2, 8, 8, 8)) < 0.3
    boxes = np.array([[[-1] * 3, [1] * 3], [[-2] * 3, [2] * 3]], float)
    return field(
        warp="contraction",
        box=boxes[0],
        occupancy=Occupancy(cells, boxes),
        marching=Marching(0.05, 0.01, least_alpha=0.01),
        offset=0.0,
        geometry=1,
        shifted_directions=True,
        density_factor=3.0,
    )


FIELDS: dict[str, Callable[[], FieldCase]] = {
    "two features": lambda: (Layer(field()), view()),
    "four features": lambda: (Layer(field(4), STANDING), view()),
    "eight features": lambda: (Layer(field(8), STANDING), view()),
    "one feature": lambda: (Layer(field(1, 4), STANDING), view()),
    "sixteen levels": lambda: (Layer(field(2, 16, width=64), STANDING), view()),
    "deep networks": lambda: (Layer(field(hidden=(2, 3), width=24), STANDING), view()),
    "no occupancy": lambda: (Layer(field(occupancy=None, marching=Marching(0.1)), STANDING), view()),
    "even steps": lambda: (Layer(field(marching=Marching(0.03)), STANDING), view()),
    "contracted space": lambda: (Layer(contracted(), STANDING), view()),
    "high dynamic range": lambda: (Layer(field(hdr=True), STANDING), view()),
    "camera inside": lambda: (Layer(field(marching=Marching(0.02, 0.01, 0.5, near=0.05))), view(eye=(0.1, 0.3, 0.2))),
    "off centre": lambda: (Layer(field(), STANDING), off_centre()),
    "no whole tiles": lambda: (Layer(field(), STANDING), view(19, 13)),
    "cropped": lambda: (Layer(field(), STANDING, cuts=CUTS, exposure=0.5), view()),
    "cut and contracted": lambda: (Layer(contracted(), STANDING, cuts=CUTS[2:]), view()),
    "a draft": lambda: (Layer(field(), STANDING), view()),
    "a draft of even steps": lambda: (Layer(field(marching=Marching(0.03), occupancy=None), STANDING), view()),
    "looking away": lambda: (Layer(field(), STANDING), view(target=(4, -2, 1))),
}
DETAILS = {"a draft": 0.5, "a draft of even steps": 0.3}  # of those that are not drawn in full
