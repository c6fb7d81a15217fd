"""The picture on the LED wall: a desert at sunset, painted from noise. sRGB, 0..1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SUN = (-0.2, 0.062)  # azimuth and elevation, radians


def smoothstep(low: float, high: float, x: NDArray) -> NDArray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: NDArray, b: NDArray, t: NDArray) -> NDArray:
    return a + (b - a) * t[..., None]


def value_noise(x: NDArray, y: NDArray, seed: int) -> NDArray:
    """Smooth noise in 0..1 with features of size 1."""
    table = np.random.default_rng(seed).random((256, 256))
    xi, yi = np.floor(x).astype(int), np.floor(y).astype(int)
    tx, ty = x - xi, y - yi
    tx, ty = tx * tx * (3 - 2 * tx), ty * ty * (3 - 2 * ty)
    a, b = table[xi % 256, yi % 256], table[(xi + 1) % 256, yi % 256]
    c, d = table[xi % 256, (yi + 1) % 256], table[(xi + 1) % 256, (yi + 1) % 256]
    return (a * (1 - tx) + b * tx) * (1 - ty) + (c * (1 - tx) + d * tx) * ty


def fbm(x: NDArray, y: NDArray, seed: int, octaves: int = 5) -> NDArray:
    """Fractal noise in about 0..1."""
    total, weight = np.zeros(np.broadcast(x, y).shape), 0.0
    for octave in range(octaves):
        total = total + value_noise(x * 2**octave + 17.3 * octave, y * 2**octave + 9.1 * octave, seed + octave) * 0.5**octave
        weight += 0.5**octave
    return total / weight


def gradient(at: NDArray, stops: list[tuple[float, tuple[float, float, float]]]) -> NDArray:
    places, colours = np.array([s[0] for s in stops]), np.array([s[1] for s in stops])
    return np.stack([np.interp(at, places, colours[:, i]) for i in range(3)], -1)


def sky(azimuth: NDArray, elevation: NDArray) -> NDArray:
    """The sky [..., 3] at angles in radians; below the horizon it is as at the horizon."""
    e = np.clip(elevation, 0, None)
    near_sun = np.exp(-((azimuth - SUN[0]) ** 2) / 0.9)
    warm = gradient(e, [(0, (1.0, 0.62, 0.22)), (0.06, (1.0, 0.50, 0.20)), (0.16, (0.95, 0.34, 0.30)), (0.30, (0.62, 0.22, 0.44)),
                        (0.50, (0.26, 0.16, 0.46)), (0.9, (0.07, 0.09, 0.30)), (1.5, (0.03, 0.06, 0.20))])  # fmt: skip
    cool = gradient(e, [(0, (0.93, 0.50, 0.42)), (0.06, (0.84, 0.38, 0.44)), (0.16, (0.62, 0.28, 0.48)), (0.30, (0.36, 0.22, 0.50)),
                        (0.50, (0.16, 0.16, 0.44)), (0.9, (0.05, 0.10, 0.30)), (1.5, (0.03, 0.06, 0.20))])  # fmt: skip
    colour = mix(cool, warm, near_sun)
    distance = np.hypot(azimuth - SUN[0], elevation - SUN[1])
    colour = colour + np.exp(-distance / 0.16)[..., None] * np.array([0.30, 0.22, 0.05])

    # Two decks of cloud: long streaks high up, broken banks lower; lit from below on the side of the sun.
    stretch = azimuth * 2.2 + elevation * 0.6
    streaks = smoothstep(0.47, 0.74, fbm(stretch, elevation * 13, 11)) * smoothstep(0.16, 0.34, e) * 0.9
    banks = smoothstep(0.50, 0.64, fbm(azimuth * 4.2, elevation * 24, 29, 6)) * smoothstep(0.03, 0.12, e) * (1 - smoothstep(0.30, 0.46, e))
    under = fbm(azimuth * 4.2, (elevation - 0.022) * 24, 29, 6)
    lit = smoothstep(0.46, 0.66, under)
    glow = mix(np.array([0.95, 0.42, 0.46]), np.array([1.0, 0.66, 0.28]), np.exp(-distance / 0.55))
    shade = mix(np.array([0.33, 0.17, 0.42]), np.array([0.62, 0.24, 0.30]), np.exp(-distance / 0.6))
    colour = mix(colour, mix(glow, shade, lit * 0.9), banks * 0.85)
    colour = mix(colour, mix(np.array([0.78, 0.36, 0.52]), np.array([1.0, 0.60, 0.36]), np.exp(-distance / 0.8)), streaks * 0.75)

    disc = smoothstep(0.062, 0.056, distance)
    return mix(colour, np.array([1.0, 0.93, 0.66]), disc)


def ridge(azimuth: NDArray, base: float, height: float, width: float, seed: int, mesa: float) -> NDArray:
    """The elevation of a skyline; `mesa` flattens its tops into tables."""
    shape = fbm((azimuth - 0.38) / width, np.full_like(azimuth, 3.7), seed, 7)
    table = smoothstep(0.46, 0.54, shape) * 0.85 + 0.15 * shape
    peak = np.clip((shape - 0.3) / 0.5, 0, 1)
    return base + height * (mesa * table + (1 - mesa) * peak)


def landscape(azimuth: NDArray, elevation: NDArray) -> NDArray:
    """The whole picture [..., 3] at angles in radians from the middle of the stage at eye height."""
    colour = sky(azimuth, elevation)
    near_sun = np.exp(-((azimuth - SUN[0]) ** 2) / 0.5)
    layers = [  # base, height, width, seed, mesa, colour away from the sun, colour near it
        (0.004, 0.120, 0.50, 3, 0.0, (0.60, 0.36, 0.52), (0.98, 0.52, 0.30)),
        (0.000, 0.125, 0.36, 41, 0.75, (0.44, 0.25, 0.44), (0.80, 0.34, 0.27)),
        (-0.008, 0.100, 0.26, 77, 0.85, (0.28, 0.15, 0.34), (0.55, 0.20, 0.24)),
    ]
    for base, height, width, seed, mesa, away, near in layers:
        top = ridge(azimuth, base, height, width, seed, mesa)
        body = mix(np.array(away), np.array(near), near_sun)
        haze = np.clip((top - elevation) / 0.07, 0, 1) * 0.45
        strata = (fbm(azimuth * 3, elevation * 95, seed + 7, 3) - 0.5) * 0.16
        body = body + strata[..., None] + haze[..., None] * np.array([0.30, 0.16, 0.06])
        colour = mix(colour, body, smoothstep(-0.0012, 0.0012, top - elevation))

    # The ground: a flat desert in perspective, ripples catching the sun, darker towards the stage.
    depth = 1.0 / np.clip(-elevation + 0.012, 0.012, None)
    ground_x, ground_y = azimuth * depth, depth
    ripple = fbm(ground_x * 0.5, ground_y * 3.0, 91, 5)
    dunes = fbm(azimuth * 2.5, elevation * 26, 57, 4)
    sand = gradient(
        -elevation, [(0, (0.86, 0.44, 0.34)), (0.05, (0.62, 0.30, 0.32)), (0.14, (0.40, 0.20, 0.27)), (0.35, (0.20, 0.11, 0.20))]
    )
    sand = sand * (0.72 + 0.36 * ripple + 0.34 * (dunes - 0.5))[..., None]
    path = np.exp(-((azimuth - SUN[0]) ** 2) / (0.008 + 0.5 * np.clip(-elevation, 0, None) ** 2)) * smoothstep(0.42, 0.62, ripple + 0.05)
    sand = sand + (path * np.exp(elevation / 0.12))[..., None] * np.array([0.75, 0.42, 0.16])
    skyline = (fbm(azimuth * 5, np.full_like(azimuth, 1.3), 63, 5) - 0.5) * 0.016 - 0.004
    return np.clip(mix(colour, sand, smoothstep(-0.0015, 0.0015, skyline - elevation)), 0, 1)
