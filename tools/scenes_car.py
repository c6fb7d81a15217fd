"""The hero prop: a low coupe, lofted from a few curves. It stands on z = 0 and its nose points along +y."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scenes_surfels import Material, Surfels, can, grid, join, lathe, lay, quad, split_where_painted, upright_to

PAINT = Material((0.19, 0.008, 0.007), (0.21, 0.17, 0.16), 0.10)
GLASS = Material((0.004, 0.004, 0.005), (0.22, 0.22, 0.24), 0.05)
TRIM = Material((0.008, 0.008, 0.009), (0.04, 0.04, 0.04), 0.4)
CHROME = Material((0.30, 0.30, 0.31), (0.35, 0.35, 0.36), 0.15)
RUBBER = Material((0.012, 0.012, 0.012))
RED = Material((0.05, 0, 0), emission=(1.0, 0.03, 0.02))
WHITE = Material((0.1, 0.1, 0.1), emission=(1.6, 1.6, 1.7))
WELL = Material((0.003, 0.003, 0.003))

NOSE, TAIL = 2.18, -2.12
WHEELS = (1.33, -1.30)  # y of the axles
WHEEL_RADIUS = 0.335


def curve(*knots: tuple[float, float]):
    """A smooth monotone-ish curve through (y, value) knots."""
    places, values = np.array(knots).T
    order = np.argsort(places)
    fine = np.linspace(places.min(), places.max(), 400)
    broken = np.interp(fine, places[order], values[order])
    kernel = np.hanning(45) / np.hanning(45).sum()
    smooth = np.convolve(np.pad(broken, 22, mode="reflect", reflect_type="odd"), kernel, "valid")
    return lambda y: np.interp(y, fine, smooth)


half_width = curve((NOSE, 0.80), (1.7, 0.90), (1.3, 0.945), (0.6, 0.90), (-0.4, 0.90), (-1.2, 0.965), (-1.7, 0.94), (TAIL, 0.86))
shoulder = curve((NOSE, 0.50), (1.7, 0.66), (1.3, 0.725), (0.5, 0.71), (-0.5, 0.76), (-1.25, 0.83), (TAIL, 0.80))
crown = curve((NOSE, 0.53), (1.7, 0.67), (1.2, 0.755), (0.8, 0.80), (0.0, 0.86), (-1.2, 0.90), (TAIL, 0.86))
rocker = curve((NOSE, 0.17), (1.8, 0.15), (0, 0.15), (-1.8, 0.17), (TAIL, 0.24))
roof = curve((1.12, 0.72), (0.95, 0.84), (0.15, 1.155), (-0.3, 1.19), (-0.8, 1.12), (-1.5, 0.955), (-1.95, 0.85))
ROUND = 0.13  # metres that are rounded off at each end


def body_point(u: NDArray, v: NDArray) -> NDArray:
    """u from tail to nose, v from the rocker over the shoulder to the middle of the top."""
    turn = np.clip((np.abs(u - 0.5) - 0.43) / 0.07, 0, 1) * np.pi / 2  # about the rounded end
    half = (NOSE - TAIL) / 2
    straight = np.clip((u - 0.5) / 0.43, -1, 1) * (half - ROUND)
    y = (NOSE + TAIL) / 2 + straight + np.sign(u - 0.5) * ROUND * np.sin(turn)
    w, s, h, b = half_width(y), shoulder(y), crown(y), rocker(y)
    up = np.clip(v / 0.46, 0, 1)
    over = np.clip((v - 0.46) / 0.54, 0, 1) * np.pi / 2
    belly = 0.985 + 0.015 * np.sin(np.pi * up) - 0.055 * (1 - up) ** 3 - 0.028 * np.clip((up - 0.62) / 0.38, 0, 1) ** 2
    crease = 0.012 * np.exp(-(((up - 0.62) / 0.07) ** 2))
    side_x, side_z = w * belly + crease, b + (s - b) * up
    edge = (w * 0.957) + 0.0
    top_x = edge * np.cos(over) ** 0.72
    top_z = s + (h - s) * np.sin(over) ** 0.85
    x, z = np.where(v < 0.46, side_x, top_x), np.where(v < 0.46, side_z, top_z)
    fold = np.cos(turn)
    middle = b + (s - b) * 0.62
    return np.stack([x * (0.90 + 0.10 * fold), y, middle + (z - middle) * (0.04 + 0.96 * fold)], -1)


def body_paint(u: NDArray, v: NDArray) -> NDArray:
    """0 paint, 1 wheel well, 2 headlamp, 3 tail lamp, 4 trim."""
    x, y, z = body_point(u, v).T
    kind = np.zeros(len(u), int)
    for axle in WHEELS:
        kind[(np.hypot(y - axle, z - WHEEL_RADIUS) < WHEEL_RADIUS + 0.055) & (v < 0.46)] = 1
    kind[(kind == 0) & (z < 0.225) & (v < 0.3)] = 4
    front, back = y > NOSE - 0.20, y < TAIL + 0.16
    kind[front & (z > 0.425) & (z < 0.455) & (x > 0.28)] = 2
    kind[front & (z > 0.21) & (z < 0.325) & (x < 0.60)] = 4
    kind[back & (z > 0.63) & (z < 0.675)] = 3
    kind[back & (z < 0.44) & (x < 0.66)] = 4
    gap = (np.abs(y - 0.72) < 0.006) | (np.abs(y + 0.62) < 0.006)
    kind[gap & (kind == 0) & (v < 0.46) & (z > 0.27)] = 4
    kind[(kind == 0) & (v < 0.42) & (np.abs(z - 0.63) < 0.013) & (np.abs(y + 0.42) < 0.09)] = 5
    return kind


GLASS_BASE, GLASS_NOSE, GLASS_TAIL = 0.78, 1.10, -1.92


def house_point(u: NDArray, v: NDArray) -> NDArray:
    """The greenhouse: u from tail to windscreen, v from the belt over the edge of the roof to its middle."""
    y = GLASS_TAIL + (GLASS_NOSE - GLASS_TAIL) * u
    base = np.minimum(shoulder(y) + 0.01, roof(y) - 0.01)
    top = roof(y)
    wide = 0.80 - 0.12 * np.clip((y - 0.3) / 0.8, 0, 1) ** 2 - 0.10 * np.clip((-0.9 - y) / 1.0, 0, 1)
    narrow = wide - 0.30 * np.clip((top - base) / 0.42, 0, 1) ** 0.9
    up = np.clip(v / 0.5, 0, 1)
    over = np.clip((v - 0.5) / 0.5, 0, 1) * np.pi / 2
    shoulder_z = base + (top - base) * 0.86
    side_x, side_z = wide + (narrow - wide) * up**1.15, base + (shoulder_z - base) * up
    top_x, top_z = narrow * np.cos(over) ** 0.8, shoulder_z + (top - shoulder_z) * np.sin(over) ** 0.8
    return np.stack([np.where(v < 0.5, side_x, top_x), y, np.where(v < 0.5, side_z, top_z)], -1)


def house_paint(u: NDArray, v: NDArray) -> NDArray:
    """0 paint, 1 glass, 2 trim."""
    _, y, z = house_point(u, v).T
    kind = np.zeros(len(u), int)
    lean = 0.42 * (z - 0.8)  # the pillars lean back
    side = (v > 0.05) & (v < 0.47) & (y + 1.4 * (z - 0.8) < 0.86) & (y - 0.9 * (z - 0.8) > -1.12)
    kind[side] = 1
    kind[side & (np.abs(y + lean + 0.48) < 0.035)] = 2
    screen = (v > 0.57) & (y > 0.15) & (y < 1.01)
    rear = (v > 0.60) & (y < -0.72) & (y > -1.62)
    kind[screen | rear] = 1
    kind[(v < 0.05) & (y > -1.3) & (y < 0.9)] = 2
    return kind


def wheel() -> Surfels:
    """A wheel about the x axis, its face towards +x, centred on the origin."""
    r, half = WHEEL_RADIUS, 0.125
    tyre = lathe(
        [(r - 0.10, -half), (r - 0.02, -half), (r, -half + 0.03), (r, half - 0.03), (r - 0.02, half), (r - 0.085, half)], RUBBER, 0.035, 40
    )
    lip = lathe([(r - 0.085, half), (r - 0.085, half - 0.008), (r - 0.105, half - 0.03)], CHROME, 0.03, 48)

    def face(u: NDArray, v: NDArray) -> NDArray:
        turn, radius = 2 * np.pi * u, (r - 0.10) * (1 - v) + 0.001
        return np.stack([radius * np.cos(turn), radius * np.sin(turn), half - 0.035 - 0.02 * v], -1)

    def spokes(u: NDArray, v: NDArray) -> NDArray:
        radius = (r - 0.10) * (1 - v)
        off = np.abs((u * 10 % 1) - 0.5) * 2 * np.pi / 10 * radius
        return np.where((off < 0.016 + 0.03 * v) | (radius < 0.06) | (radius > r - 0.125), 0, 1)

    disc = lay(face, split_where_painted(grid(50, 6), spokes, 1), [CHROME, WELL], spokes)
    back = can((0, 0, -half), (0, 0, 0.02), r - 0.1, WELL, 0.08, 20)
    return join([tyre, lip, disc, back]).placed(rotation=upright_to((1, 0, 0)))


def car() -> Surfels:
    """The whole car."""
    kinds = [PAINT, WELL, WHITE, RED, TRIM, CHROME]
    cells = split_where_painted(grid(96, 38), body_paint, 2)
    cells = cells[body_paint(cells[:, 0], cells[:, 1]) != 1]  # one sees the wheels through the arches
    body = lay(body_point, cells, kinds, body_paint, 0.62)
    house = lay(house_point, split_where_painted(grid(66, 28), house_paint, 1), [PAINT, GLASS, TRIM], house_paint, 0.62)
    house = house.take(house.centre[:, 2] > crown(house.centre[:, 1]) - 0.14)
    mirror = lathe([(0, -0.05), (0.045, -0.04), (0.055, 0.0), (0.045, 0.05), (0, 0.06)], PAINT, 0.02, 12)
    mirror = mirror.placed((0.90, 0.66, 0.84), rotation=upright_to((1, 0, 0)))
    half = [body, house, mirror]
    for axle in WHEELS:
        liner = lathe([(WHEEL_RADIUS + 0.03, 0.28), (WHEEL_RADIUS + 0.03, 0), (0, 0)], WELL, 0.08, 30)
        half.append(liner.placed((0.58, axle, WHEEL_RADIUS), rotation=upright_to((1, 0, 0))))
        half.append(wheel().placed((0.80, axle, WHEEL_RADIUS)))
    under = quad((0, NOSE - 0.1, 0.17), (0.86, 0, 0), (0, TAIL - NOSE + 0.2, 0), WELL, 0.10)
    return join([*half, under]).mirrored()
