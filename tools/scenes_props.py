"""The props of the demo scene: what stands about on a film stage. Every prop stands on z = 0; +y is its front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scenes_surfels import Material, Surfels, box, cable, can, grid, join, lathe, lay, pole, quad, split_where_painted, upright_to

BLACK = Material((0.028, 0.028, 0.031))
MATTE = Material((0.018, 0.018, 0.020))
GREY = Material((0.15, 0.15, 0.16))
ALUMINIUM = Material((0.36, 0.36, 0.38))
WOOD = Material((0.26, 0.135, 0.055))
PLY = Material((0.38, 0.24, 0.12))
CANVAS = Material((0.028, 0.03, 0.036))
LETTERS = Material((0.70, 0.68, 0.62))
GLASS = Material((0.003, 0.003, 0.006), (0.12, 0.10, 0.14), 0.05)
ORANGE = Material((0.85, 0.20, 0.02))


def screen(at: NDArray, across: NDArray, up: NDArray, picture: Callable[[NDArray, NDArray], NDArray], cells: tuple[int, int]) -> Surfels:
    """A glowing display: `picture` (u, v in 0..1 -> light [N, 3]) on a parallelogram."""
    face = lay(lambda u, v: at + u[:, None] * across + v[:, None] * up, grid(*cells), [MATTE], spread=0.6)
    u, v, _, _ = grid(*cells).T
    return replace(face, emission=picture(u, v))


def cinema_camera(picture: Callable[[NDArray, NDArray], NDArray]) -> Surfels:
    """A cinema camera on a dolly with a short track; `picture` is what its monitor shows."""
    z = 1.38
    parts = [
        box((0.17, 0.34, 0.20), GREY, 0.04).placed((0, 0, z)),
        box((0.14, 0.16, 0.17), BLACK, 0.04).placed((0, -0.25, z + 0.01)),  # battery
        can((0, 0.17, z + 0.10), (0, 0.22, z + 0.10), 0.075, ALUMINIUM, 0.02, 20),
        can((0, 0.22, z + 0.10), (0, 0.46, z + 0.10), 0.068, BLACK, 0.025, 20),
        can((0, 0.30, z + 0.10), (0, 0.33, z + 0.10), 0.076, GREY, 0.015, 24),
        can((0, 0.40, z + 0.10), (0, 0.43, z + 0.10), 0.078, ALUMINIUM, 0.015, 24),
        can((0, 0.463, z + 0.10), (0, 0.466, z + 0.10), 0.055, GLASS, 0.015, 20),
        can((0.085, 0.30, z + 0.06), (0.16, 0.30, z + 0.06), 0.045, MATTE, 0.02, 16),  # follow focus
        pole((-0.05, -0.1, z - 0.03), (-0.05, 0.52, z - 0.03), 0.01, ALUMINIUM, 0.08),
        pole((0.05, -0.1, z - 0.03), (0.05, 0.52, z - 0.03), 0.01, ALUMINIUM, 0.08),
        pole((0, -0.12, z + 0.29), (0, 0.12, z + 0.29), 0.014, MATTE, 0.04),  # handle
        pole((0, -0.10, z + 0.19), (0, -0.10, z + 0.29), 0.012, MATTE, 0.04),
        pole((0, 0.10, z + 0.19), (0, 0.10, z + 0.29), 0.012, MATTE, 0.04),
        can((-0.20, -0.10, z + 0.17), (-0.20, -0.32, z + 0.17), 0.032, BLACK, 0.025, 12),  # eyepiece
        pole((-0.08, -0.08, z + 0.17), (-0.20, -0.10, z + 0.17), 0.012, MATTE, 0.05),
    ]
    for x0, x1, z0, z1 in ((-0.13, -0.11, 0.0, 0.20), (0.11, 0.13, 0.0, 0.20), (-0.13, 0.13, 0.20, 0.215), (-0.13, 0.13, -0.01, 0.0)):
        flag = box((x1 - x0, 0.13, z1 - z0), MATTE, 0.05, 0)
        parts.append(flag.placed(((x0 + x1) / 2, 0.53, z + z0)))
    parts.append(quad((-0.15, 0.50, z + 0.215), (0.30, 0, 0), (0, 0.16, 0.10), MATTE, 0.03))  # top flag
    monitor = np.array([0.13, -0.05, z + 0.24])
    parts.append(box((0.25, 0.03, 0.165), MATTE, 0.03, 0).placed(monitor + np.array([0.10, 0.035, -0.005])))
    parts.append(screen(monitor + np.array([-0.01, 0.0, 0.01]), np.array([0.22, 0, 0]), np.array([0, 0, 0.135]), picture, (26, 16)))
    parts.append(pole((0.06, -0.02, z + 0.2), monitor + np.array([0.06, 0.02, 0]), 0.01, MATTE, 0.05))

    # Fluid head, pan bar, column, and the dolly on its track.
    parts += [
        box((0.16, 0.20, 0.05), GREY, 0.04).placed((0, 0, z - 0.06)),
        can((0, 0, z - 0.20), (0, 0, z - 0.06), 0.075, BLACK, 0.03, 16),
        pole((0.09, -0.05, z - 0.10), (0.22, -0.62, z - 0.22), 0.012, MATTE, 0.06),
        can((0.20, -0.55, z - 0.205), (0.225, -0.66, z - 0.228), 0.018, MATTE, 0.03, 8),
        lathe([(0.20, 0.40), (0.20, 0.43), (0.09, 0.48), (0.075, z - 0.2)], BLACK, 0.06, 16).placed(),
        box((0.66, 1.05, 0.05), GREY, 0.08).placed((0, -0.12, 0.30)),
        box((0.40, 0.36, 0.10), MATTE, 0.06).placed((0, 0, 0.35)),
        can((0.22, -0.56, 0.35), (0.22, -0.56, 0.80), 0.03, BLACK, 0.06, 10),  # seat post
        box((0.34, 0.30, 0.06), MATTE, 0.04).placed((0.22, -0.56, 0.80)),
        pole((-0.26, -0.62, 0.34), (-0.26, -0.80, 1.02), 0.018, ALUMINIUM, 0.1),
        pole((0.02, -0.62, 0.34), (0.02, -0.80, 1.02), 0.018, ALUMINIUM, 0.1),
        pole((-0.26, -0.80, 1.02), (0.02, -0.80, 1.02), 0.018, ALUMINIUM, 0.1),
    ]
    for x in (-0.31, 0.31):
        parts.append(pole((x, -2.4, 0.06), (x, 2.0, 0.06), 0.022, ALUMINIUM, 0.12, 6))
        for y in (-0.55, 0.32):
            parts.append(can((x - 0.03, y, 0.19), (x + 0.03, y, 0.19), 0.10, MATTE, 0.03, 18))
    for y in np.arange(-2.3, 2.0, 0.6):
        parts.append(box((0.74, 0.09, 0.035), PLY, 0.09, 0).placed((0, y, 0)))
    return join(parts)


def chair() -> Surfels:
    """A director's chair; one sits facing +y."""
    parts = []
    for y in (-0.22, 0.22):  # the crossed legs
        parts += [
            pole((-0.27, y, 0.03), (0.27, y, 0.46), 0.014, WOOD, 0.07, 5),
            pole((0.27, y, 0.03), (-0.27, y, 0.46), 0.014, WOOD, 0.07, 5),
        ]
    for x in (-0.29, 0.29):
        parts += [
            box((0.035, 0.52, 0.03), WOOD, 0.05).placed((x, 0, 0.0)),
            box((0.055, 0.50, 0.022), WOOD, 0.05).placed((x, 0, 0.66)),
            pole((x, 0.20, 0.44), (x, 0.20, 0.66), 0.014, WOOD, 0.06, 5),
            pole((x, -0.22, 0.44), (x, -0.25, 0.98), 0.015, WOOD, 0.07, 5),
            box((0.03, 0.48, 0.025), WOOD, 0.05).placed((x, 0, 0.44)),
        ]

    def sag(u: NDArray, v: NDArray) -> NDArray:
        return np.stack([(u - 0.5) * 0.58, (v - 0.5) * 0.42, 0.465 - 0.05 * np.sin(np.pi * u)], -1)

    def back(u: NDArray, v: NDArray) -> NDArray:
        return np.stack([(0.5 - u) * 0.58, -0.235 - 0.03 * np.sin(np.pi * u), 0.76 + 0.20 * v], -1)

    def word(u: NDArray, v: NDArray) -> NDArray:
        """A row of letter-like bars in the middle of the back."""
        inside = (np.abs(v - 0.5) < 0.17) & (np.abs(u - 0.5) < 0.36)
        letter = np.floor((u - 0.14) / 0.09).astype(int)
        within = ((u - 0.14) / 0.09) % 1
        stroke = (
            (within < 0.28)
            | ((np.abs(v - 0.5) > 0.09) & (within < 0.72) & (letter % 3 != 1))
            | ((within > 0.5) & (within < 0.75) & (letter % 2 == 0))
        )
        return np.where(inside & stroke, 1, 0)

    parts.append(lay(sag, grid(18, 13), [CANVAS]))
    cells = split_where_painted(grid(24, 8), word, 1)
    behind = lambda u, v: back(1 - u, v) - np.array([0, 0.006, 0])
    parts += [lay(back, cells, [CANVAS, LETTERS], word), lay(behind, cells, [CANVAS, LETTERS], word)]
    return join(parts)


def flight_case(size: tuple[float, float, float], colour: Material = MATTE, wheels: bool = False) -> Surfels:
    """A road case: laminate between aluminium edges, ball corners, latches, a lid line."""
    x, y, z = size
    lift = 0.12 if wheels else 0.0
    parts = [box((x, y, z), colour, 0.06, 0)]
    corners = [np.array([i * x / 2, j * y / 2, k * z]) for i in (-1, 1) for j in (-1, 1) for k in (0, 1)]
    for a in corners:
        ball = lathe([(0, -0.03), (0.03, 0), (0, 0.03)], ALUMINIUM, 0.04, 6)
        parts.append(ball.placed(a))
        parts += [pole(a, b, 0.014, ALUMINIUM, 0.16, 4) for b in corners if (b > a).sum() == 1 and (b == a).sum() == 2]
    for face in (-1, 1):
        level = z * 0.72
        parts.append(box((x, 0.012, 0.022), ALUMINIUM, 0.12, 0).placed((0, face * y / 2, level)))
        for i in (-0.3, 0.3):
            parts.append(box((0.09, 0.03, 0.11), ALUMINIUM, 0.03, 0).placed((i * x, face * y / 2, level - 0.05)))
    for side in (-1, 1):
        parts.append(box((0.012, y, 0.022), ALUMINIUM, 0.12, 0).placed((side * x / 2, 0, z * 0.72)))
        parts.append(box((0.03, 0.16, 0.10), ALUMINIUM, 0.03, 0).placed((side * x / 2, 0, z * 0.40)))
    case = join(parts).placed((0, 0, lift))
    if not wheels:
        return case
    casters = [
        can(
            (i * (x / 2 - 0.08) - 0.02, j * (y / 2 - 0.08), 0.055),
            (i * (x / 2 - 0.08) + 0.02, j * (y / 2 - 0.08), 0.055),
            0.055,
            GREY,
            0.03,
            12,
        )
        for i in (-1, 1)
        for j in (-1, 1)
    ]
    return join([case, *casters])


def stand(height: float, sandbag: bool = True) -> Surfels:
    """A C-stand: three turtle legs, a column in three steps, the knob, a sandbag."""
    parts = [
        pole((0, 0, 0.12), (0, 0, height * 0.45), 0.018, ALUMINIUM, 0.12),
        pole((0, 0, height * 0.45), (0, 0, height * 0.75), 0.014, ALUMINIUM, 0.12),
        pole((0, 0, height * 0.75), (0, 0, height), 0.010, ALUMINIUM, 0.12),
    ]
    for turn, low in ((90, 0.06), (210, 0.11), (330, 0.16)):
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        parts += [
            pole((0, 0, low + 0.04), (0.34 * c, 0.34 * s, low), 0.012, ALUMINIUM, 0.08),
            pole((0.34 * c, 0.34 * s, low), (0.42 * c, 0.42 * s, 0.01), 0.012, ALUMINIUM, 0.06),
        ]
    for z in (height * 0.45, height * 0.75):
        parts += [
            can((0, 0, z - 0.03), (0, 0, z + 0.02), 0.026, GREY, 0.03, 8),
            can((0.02, 0, z - 0.01), (0.07, 0, z - 0.01), 0.014, MATTE, 0.02, 6),
        ]
    if sandbag:
        for side in (-1, 1):
            bag = lathe([(0, -0.15), (0.07, -0.11), (0.09, 0), (0.07, 0.11), (0, 0.15)], ORANGE, 0.035, 12)
            parts.append(bag.placed((0.20 + 0.09 * side, 0.10 * side, 0.09), rotation=upright_to((0.3, 1, 0))))
    return join(parts)


def softbox(height: float, size: float, tilt: float, light: tuple[float, float, float]) -> Surfels:
    """A softbox on a stand: a glowing front of `size` metres, tilted down by `tilt` degrees, in black cloth."""
    half, back = size / 2, 0.11
    glow = Material(emission=light)
    front = quad((half, 0.0, -half), (-size, 0, 0), (0, 0, size), glow, 0.07, 0)
    hot = (1 - ((front.centre[:, 0] / half) ** 2 + (front.centre[:, 2] / half) ** 2) * 0.22)[:, None]
    front = replace(front, emission=front.emission * hot)
    parts = [replace(front, sigma=front.sigma * [1.2, 1.2, 1]), quad((-half, -0.03, -half), (size, 0, 0), (0, 0, size), MATTE, 0.07, 0)]
    rim = [np.array([i * half, 0.03, k * half]) for i, k in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    rear = [np.array([i * back, -0.42, k * back]) for i, k in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    for i in range(4):
        a, b, c, d = rim[i], rim[(i + 1) % 4], rear[i], rear[(i + 1) % 4]
        parts.append(
            lay(
                lambda u, v, a=a, b=b, c=c, d=d: (c + (a - c) * v[:, None]) * (1 - u[:, None]) + (d + (b - d) * v[:, None]) * u[:, None],
                grid(14, 8),
                [MATTE],
            )
        )
        parts.append(pole(a, b, 0.012, MATTE, 0.06, 5))
    parts.append(can((0, -0.68, 0), (0, -0.42, 0), 0.085, BLACK, 0.04, 14))
    c, s = np.cos(np.radians(-tilt)), np.sin(np.radians(-tilt))
    head = join(parts).placed((0, 0.35, height), rotation=np.array([[1, 0, 0], [0, c, -s], [0, s, c]]))
    return join([head, stand(height - 0.05)])


def monitor_cart(pictures: list[Callable[[NDArray, NDArray], NDArray]]) -> Surfels:
    """Video village: a cart with two displays; +y is the side one watches from."""
    parts = [box((1.15, 0.55, 0.03), GREY, 0.10).placed((0, 0, z)) for z in (0.18, 0.78)]
    for x in (-0.53, 0.53):
        parts += [pole((x, y, 0.1), (x, y, 0.80), 0.02, ALUMINIUM, 0.12) for y in (-0.24, 0.24)]
        parts += [can((x - 0.02, y, 0.06), (x + 0.02, y, 0.06), 0.06, MATTE, 0.03, 12) for y in (-0.24, 0.24)]
    for x, turn, picture in zip((-0.31, 0.31), (-10, 10), pictures, strict=True):
        one = [
            box((0.60, 0.05, 0.36), MATTE, 0.06, 0).placed((0, -0.03, 0.10)),
            pole((0, -0.03, 0.0), (0, -0.03, 0.16), 0.02, GREY, 0.06),
            screen(np.array([0.285, 0.035, 0.115]), np.array([-0.57, 0, 0]), np.array([0, 0, 0.33]), picture, (45, 26)),
            *(
                box((w, 0.012, h), MATTE, 0.05, 0).placed((x, 0.045, z))
                for w, h, x, z in (
                    (0.60, 0.015, 0, 0.10),
                    (0.60, 0.015, 0, 0.445),
                    (0.015, 0.36, -0.2925, 0.10),
                    (0.015, 0.36, 0.2925, 0.10),
                )
            ),
        ]
        parts.append(join(one).placed((x, 0.02, 0.81), turn))
    parts.append(flight_case((0.5, 0.4, 0.25)).placed((0.2, 0, 0.21)))
    return join(parts)


def apple_boxes() -> Surfels:
    """A stack of three apple boxes."""
    return join(
        [
            box((0.50, 0.30, h), PLY, 0.06).placed((dx, 0, z), turn)
            for h, z, dx, turn in ((0.2, 0, 0, 0), (0.1, 0.203, 0.02, 7), (0.05, 0.306, -0.01, -4))
        ]
    )


def floor_cable(*points: tuple[float, float]) -> Surfels:
    """A cable on the floor through `points`."""
    return cable([(x, y, 0.014) for x, y in points], 0.014, Material((0.012, 0.012, 0.012)), 0.06)
