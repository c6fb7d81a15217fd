"""The stage of the demo scene: LED wall, ceiling panel, floor, truss and its lamps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scenes_sky import landscape, sky
from scenes_surfels import Material, Surfels, can, grid, join, lay, pole, quad, split_where_painted, upright_to
from scipy import ndimage

RADIUS, WIDTH, BOTTOM, TOP = 6.5, 24.0, 0.08, 5.08  # metres; WIDTH along the arc
ARC = WIDTH / RADIUS / 2  # radians to either side of the middle
PIXELS = (1536, 320)  # of the picture: 64 a metre
EYE_HEIGHT = 1.5  # of the horizon
CEILING = (-3.0, 3.0, -1.6, 2.9, 5.55)  # x0, x1, y0, y1, z
GLOSS = (0.42, 0.42, 0.43)  # of the floor
PANEL = 0.5  # LED cabinets, metres

BLACK = Material((0.012, 0.012, 0.014))
STEEL = Material((0.16, 0.16, 0.17))
ALUMINIUM = Material((0.34, 0.34, 0.36))


def linear(srgb: NDArray) -> NDArray:
    """Display colour to light."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.clip(srgb, 0.04045, None) + 0.055) / 1.055) ** 2.4)


def picture() -> NDArray:
    """What the wall shows [columns, rows from the bottom, 3], as light."""
    along = ((np.arange(PIXELS[0]) + 0.5) / PIXELS[0] - 0.5) * WIDTH / RADIUS
    height = BOTTOM + (np.arange(PIXELS[1]) + 0.5) / PIXELS[1] * (TOP - BOTTOM)
    azimuth, z = np.meshgrid(along, height, indexing="ij")
    return linear(landscape(azimuth, np.arctan2(z - EYE_HEIGHT, RADIUS)))


def on_wall(radius: float = RADIUS):
    """The wall's patch function at `radius`: u from left to right, v upwards, its normal towards the stage."""

    def point(u: NDArray, v: NDArray) -> NDArray:
        turn = (u - 0.5) * 2 * ARC
        return np.stack([radius * np.sin(turn), radius * np.cos(turn), BOTTOM + v * (TOP - BOTTOM)], -1)

    return point


def picture_cells(image: NDArray, tolerance: float, largest: int = 8) -> tuple[NDArray, NDArray]:
    """Square cells [N, 4] that follow the detail of `image`, and their mean colours [N, 3]: a balanced quadtree.

    A cell is split where its display colours differ by more than `tolerance`; neighbours differ by one level at most, so that
    no large Gaussian hangs over a fine edge.
    """
    width, height, _ = image.shape
    display = np.clip(image, 0, 1) ** (1 / 2.2)
    sizes = [largest >> i for i in range(largest.bit_length())]

    def blocks(array: NDArray, size: int, reduce) -> NDArray:
        return reduce(array.reshape(width // size, size, height // size, size, -1), axis=(1, 3))

    split: dict[int, NDArray] = {1: np.zeros((width, height), bool)}
    for size in sizes[-2::-1]:
        busy = blocks(display, size, np.std).max(-1) > tolerance
        finer = ndimage.binary_dilation(split[size // 2], np.ones((3, 3), bool))
        children = finer.reshape(width // size, 2, height // size, 2).any((1, 3))
        split[size] = busy | children
    cells, colours = [], []
    alive = np.ones((width // largest, height // largest), bool)
    for size in sizes:
        leaf = alive & ~split[size]
        i, j = np.nonzero(leaf)
        cells.append(
            np.stack(
                [(i + 0.5) * size / width, (j + 0.5) * size / height, np.full(len(i), size / width), np.full(len(i), size / height)], -1
            )
        )
        colours.append(blocks(image, size, np.mean)[i, j])
        alive = np.repeat(np.repeat(alive & split[size], 2, 0), 2, 1)
    return np.concatenate(cells), np.concatenate(colours)


def seams(point, columns: int, rows: int, lift: NDArray | float = 0.0) -> Surfels:
    """The dark lines between LED cabinets on a patch, one thin Gaussian per cabinet edge."""
    line = Material(alpha=0.30)
    u, v = np.meshgrid(np.arange(1, columns) / columns, (np.arange(rows) + 0.5) / rows, indexing="ij")
    upright = np.stack([u.ravel(), v.ravel(), np.full(u.size, 0.016 / columns), np.full(u.size, 1 / rows)], -1)
    u, v = np.meshgrid((np.arange(columns) + 0.5) / columns, np.arange(1, rows) / rows, indexing="ij")
    level = np.stack([u.ravel(), v.ravel(), np.full(u.size, 1 / columns), np.full(u.size, 0.016 / rows)], -1)
    return lay(point, np.concatenate([upright, level]), [line], spread=0.6)


def wall(image: NDArray) -> Surfels:
    """The LED wall: the picture, a coarse copy behind it that closes every gap, the seams, the frame and the back."""
    cells, colours = picture_cells(image, 0.043)
    front = lay(on_wall(), cells, [BLACK], spread=0.52)
    front = replace(front, emission=colours)
    coarse = image.reshape(192, 8, 40, 8, 3).mean((1, 3)).reshape(-1, 3)
    backing = replace(lay(on_wall(RADIUS + 0.16), grid(192, 40), [BLACK], spread=0.6), emission=coarse)
    parts = [front, backing, seams(on_wall(RADIUS - 0.02), 48, 10)]
    outside = on_wall(RADIUS + 0.36)
    rear = lay(lambda u, v: outside(1 - u, v), grid(96, 20), [Material((0.05, 0.05, 0.055))], spread=0.62)
    parts.append(rear)
    for v in (0.0, 1.0):  # caps of the frame

        def rim(u: NDArray, w: NDArray, v: float = v) -> NDArray:
            at = (u - 0.5) * 2 * ARC if v else (0.5 - u) * 2 * ARC
            radius = RADIUS + 0.02 + 0.36 * w
            return np.stack([radius * np.sin(at), radius * np.cos(at), np.full_like(u, BOTTOM + v * (TOP - BOTTOM))], -1)

        parts.append(lay(rim, grid(320, 4), [BLACK], spread=0.52))
    for end in (-1, 1):
        turn = end * (ARC + 0.012)
        foot = np.array([np.sin(turn), np.cos(turn), 0.0])
        inner, outer = foot * (RADIUS - 0.05), foot * (RADIUS + 0.38)
        parts.append(quad(inner + np.array([0, 0, 0.02]), outer - inner, [0, 0, TOP + 0.04], BLACK, 0.12))
    for turn in np.linspace(-ARC, ARC, 13):  # braces behind
        out = np.array([np.sin(turn), np.cos(turn), 0.0])
        parts += [
            pole(out * (RADIUS + 0.45), out * (RADIUS + 0.45) + [0, 0, TOP], 0.03, STEEL, 0.3),
            pole(out * (RADIUS + 1.4), out * (RADIUS + 0.45) + [0, 0, 3.2], 0.03, STEEL, 0.3),
        ]
    plinth = lambda u, v: np.concatenate([on_wall(RADIUS - 0.03)(u, v)[:, :2], (v * (BOTTOM - 0.005))[:, None]], 1)
    parts.append(lay(plinth, grid(800, 3), [BLACK], spread=0.5))
    return join(parts)


def ceiling_picture(x: NDArray, y: NDArray) -> NDArray:
    """The light [..., 3] of the ceiling panel at `x`, `y`."""
    azimuth = np.arctan2(x, np.maximum(y + 3.5, 0.1))
    elevation = 0.62 + 0.09 * (2.9 - y)
    return linear(sky(azimuth, elevation) * 1.15 + np.array([0.06, 0.05, 0.07]))


def ceiling() -> Surfels:
    """The LED panel overhead, facing down, with its frame."""
    x0, x1, y0, y1, z = CEILING
    point = lambda u, v: np.stack([x0 + u * (x1 - x0), y1 + v * (y0 - y1), np.full_like(u, z)], -1)
    face = lay(point, grid(round((x1 - x0) / 0.125), round((y1 - y0) / 0.125)), [BLACK], spread=0.62)
    face = replace(face, emission=ceiling_picture(face.centre[:, 0], face.centre[:, 1]))
    lines = seams(lambda u, v: point(u, v) - [0, 0, 0.006], round((x1 - x0) / PANEL), round((y1 - y0) / PANEL))
    top = quad([x0, y0, z + 0.15], [x1 - x0, 0, 0], [0, y1 - y0, 0], BLACK, 0.25)
    edges = [([x0, y0, z], [x1 - x0, 0, 0]), ([x1, y0, z], [0, y1 - y0, 0]), ([x1, y1, z], [x0 - x1, 0, 0]), ([x0, y1, z], [0, y0 - y1, 0])]
    return join([face, lines, top, *(quad(at, edge, [0, 0, 0.15], BLACK, 0.15) for at, edge in edges)])


def floor_edge(x: NDArray, y: NDArray) -> NDArray:
    """How far inside the floor a point is: 0 on its edge, 1 in the middle."""
    return 1 - (np.abs(x / 7.4) ** 4 + np.abs((y + 0.6) / 7.3) ** 4) ** 0.25


def floor() -> Surfels:
    """The painted floor. Its edge fades out; behind the wall there is none."""
    half = 7.4
    count = round(2 * half / 0.082)
    strips = marks()
    point = lambda u, v: np.stack([(u - 0.5) * 2 * half, (v - 0.5) * 2 * half - 0.6, np.zeros_like(u)], -1)

    def tape(u: NDArray, v: NDArray) -> NDArray:
        x, y, _ = point(u, v).T
        kind = np.zeros(len(u), int)
        for i, (at_x, at_y, turn, length, width, _) in enumerate(strips):
            c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
            along, across = (x - at_x) * c + (y - at_y) * s, (y - at_y) * c - (x - at_x) * s
            kind[(np.abs(along) < length / 2) & (np.abs(across) < width / 2)] = i + 1
        return kind

    materials = [Material((0.010, 0.0105, 0.012), GLOSS, 0.12), *(Material(colour, GLOSS, 0.6) for *_, colour in strips)]
    cells = split_where_painted(grid(count, count), tape, 2)
    whole = lay(point, cells, materials, tape, spread=0.66)
    x, y = whole.centre[:, 0], whole.centre[:, 1]
    edge = floor_edge(x, y)
    behind = (np.hypot(x, y) > RADIUS + 0.5) & (np.abs(np.arctan2(x, y)) < ARC + 0.03)
    return replace(whole, alpha=whole.alpha * np.clip(edge / 0.07, 0, 1)).take((edge > 0.006) & ~behind)


def box_truss(start: NDArray, end: NDArray, side: float = 0.3) -> Surfels:
    """A square truss between two points: four chords and zigzag bracing on its four faces."""
    along = (end - start) / np.linalg.norm(end - start)
    across = np.cross(along, [0.0, 0, 1])
    offsets = [side / 2 * (i * across + j * np.array([0.0, 0, 1])) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    parts = [pole(start + o, end + o, 0.025, ALUMINIUM, 0.12, 6) for o in offsets]
    bays = max(1, round(float(np.linalg.norm(end - start)) / 0.45))
    for face in range(4):
        a, b = offsets[face], offsets[(face + 1) % 4]
        for bay in range(bays):
            p, q = start + (end - start) * bay / bays, start + (end - start) * (bay + 1) / bays
            parts.append(pole(p + (a if bay % 2 else b), q + (b if bay % 2 else a), 0.012, ALUMINIUM, 0.16, 4))
    return join(parts)


def lamp(at: NDArray, aim: NDArray, colour: tuple[float, float, float]) -> Surfels:
    """A par can with barn doors that hangs at `at` and points at `aim`."""
    way = (aim - at) / np.linalg.norm(aim - at)
    body = can(at - way * 0.16, at + way * 0.14, 0.115, BLACK, 0.05, 14)
    rim = pole(at + way * 0.14, at + way * 0.20, 0.125, BLACK, 0.03, 16)
    glow = Material(emission=colour)
    lens = can(at + way * 0.142, at + way * 0.150, 0.105, glow, 0.03, 14)
    yoke = pole(at, at + np.array([0, 0, 0.30]), 0.02, BLACK, 0.08, 5)
    return join([body, rim, lens, yoke])


def beam(at: NDArray, aim: NDArray, colour: tuple[float, float, float], length: float, spread: float = 0.10) -> Surfels:
    """The light of a lamp in the haze: a cone of faint Gaussians that thin out along the way."""
    way = (aim - at) / np.linalg.norm(aim - at)
    steps = np.linspace(0.06, 1, 9) ** 1.25 * length
    parts = []
    for distance in steps:
        width = 0.05 + spread * distance
        glow = Material(emission=colour, alpha=float(0.075 * np.exp(-1.9 * distance / length)))
        one = lay(lambda u, v: np.stack([u - 0.5, v - 0.5, 0 * u], -1), grid(1, 1), [glow])
        parts.append(
            replace(one, sigma=np.array([[width, width, 0.11 * length * (0.4 + distance / length)]])).placed(
                at + way * distance, rotation=upright_to(way)
            )
        )
    return join(parts)


LAMPS: list[tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]] = [
    ((-3.2, -3.35, 5.35), (-0.6, 0.6, 0.4), (1.0, 0.80, 0.55)),
    ((-1.6, -3.35, 5.35), (0.2, 1.0, 0.4), (1.0, 0.88, 0.70)),
    ((1.6, -3.35, 5.35), (0.6, 1.0, 0.4), (0.70, 0.82, 1.0)),
    ((3.2, -3.35, 5.35), (1.0, 0.8, 0.4), (0.55, 0.74, 1.0)),
    ((-4.15, -1.2, 5.35), (-2.4, -3.6, 0.2), (1.0, 0.72, 0.45)),
    ((4.15, -1.2, 5.35), (2.6, -3.4, 0.2), (0.6, 0.78, 1.0)),
]


def rigging() -> Surfels:
    """The truss rectangle overhead with its lamps, the chains of the ceiling panel, and the haze."""
    corners = [np.array([x, y, 5.85]) for x, y in ((-4.2, -3.4), (4.2, -3.4), (4.2, 2.9), (-4.2, 2.9))]
    parts = [box_truss(a, b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
    for at, aim, colour in LAMPS:
        parts.append(lamp(np.array(at), np.array(aim), colour))
        parts.append(beam(np.array(at), np.array(aim), colour, 4.2))
    return join(parts)


def marks() -> list[tuple[float, float, float, float, float, tuple[float, float, float]]]:
    """Tape on the floor, (x, y, turn in degrees, length, width, colour) a strip: actors' T marks, the edge of the shot, crosses."""
    yellow, pink, blue, white = (0.80, 0.55, 0.05), (0.80, 0.10, 0.30), (0.05, 0.35, 0.75), (0.6, 0.6, 0.6)
    strips = []
    for x, y, turn, colour in ((-1.55, -2.35, 10, yellow), (-0.5, -2.9, -8, pink), (0.65, -2.2, 20, blue)):
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        strips += [(x, y, turn, 0.34, 0.05, colour), (x + 0.15 * s, y - 0.15 * c, turn + 90, 0.28, 0.05, colour)]
    for i in range(9):
        strips.append((-3.4 + 0.62 * i, -4.35 + 0.02 * (i % 2), 0, 0.34, 0.05, white))
    for x, y in ((2.9, -1.0), (-3.0, -1.0)):
        strips += [(x, y, 45, 0.4, 0.05, white), (x, y, -45, 0.4, 0.05, white)]
    return strips
