"""Patterns that repeat, as thresholds: dots, grain and strokes, laid onto surfaces or onto the screen.

A pattern's values are spread evenly over 0 to 255, so what is inked where a tone exceeds them is that tone's share of the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from splatview.arrays import Bytes, Floats
from splatview.stylize.filters.bands import in_bands
from splatview.stylize.filters.surface import WHOLE, Chart, Surface
from splatview.stylize.filters.tones import resized

TILE, SMALLEST = 256, 16  # pixels of a texture's side
BLENDS = 33  # steps of a blend for which a pattern's tones are known

Pattern = Callable[[Chart], Bytes]


def laid(pattern: Pattern, period: float, height: int, width: int, surface: Surface | None) -> Bytes:
    """`pattern` as a picture [H, W(, C)], with a period of about that many pixels, on the surface or, without one, on the screen."""
    if surface is None:
        return _on_screen(pattern, period, height, width)
    return in_bands(lambda rows: pattern(surface.chart(period, rows)), height, width)


@lru_cache(8)
def _on_screen(pattern: Pattern, period: float, height: int, width: int) -> Bytes:
    u, v = np.meshgrid(np.arange(width, dtype=np.float32) / np.float32(period), np.arange(height, dtype=np.float32) / np.float32(period))
    found = pattern(Chart(u, v, np.ones_like(u), period))
    found.flags.writeable = False
    return found


@dataclass(frozen=True)
class Dots:
    """Round dots, a channel for each turn: (7, 24) is turned by the angle of the triangle 7, 24, 25."""

    turns: tuple[tuple[int, int], ...]

    def __call__(self, chart: Chart) -> Bytes:
        weights = _weights(chart.blend)
        row = chart.blend * np.float32(BLENDS - 1)
        found = []
        for turn in self.turns:
            cosine, sine = (np.float32(2 * np.pi * leg / WHOLE) for leg in turn)
            waves = _waves(np.cos(cosine * chart.u + sine * chart.v), np.cos(cosine * chart.v - sine * chart.u), weights)
            waves *= np.float32(127.5)
            waves += np.float32(127.5)
            found.append(cv2.remap(_share_of_dots(), waves, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        return np.asarray(found[0] if len(found) == 1 else cv2.merge(found), np.uint8)


def _weights(blend: Floats) -> tuple[Floats, Floats, Floats]:
    """Of a lattice of dots, of the one that has one more in the middle of every four, and of the one that again has: half the period."""
    middle = np.float32(2**0.5 - 1)  # there the period is 1 / sqrt(2)
    coarse, fine = np.maximum((blend - middle) / (1 - middle), 0), np.maximum(1 - blend / middle, 0)
    return coarse, 1 - coarse - fine, fine


def _waves(a: np.ndarray, b: np.ndarray, weights: tuple[Floats, Floats, Floats]) -> np.ndarray:
    """Heights, -1 to 1, from the cosines along and across: (a + b) / 2, a b, and (cos 2 + cos 2) / 2 = a^2 + b^2 - 1 mixed."""
    total, product = a + b, a * b
    return weights[0] * np.float32(0.5) * total + weights[1] * product + weights[2] * (total * total - 2 * product - 1)


@lru_cache(1)
def _share_of_dots() -> Bytes:
    """For blends 0 to 1 [BLENDS] and heights -1 to 1 [256] the share of the plane that is higher, 0 to 255."""
    wave = np.cos(np.arange(256) * (2 * np.pi / 256)).astype(np.float32)
    levels = np.linspace(-1, 1, 256)
    rows = []
    for blend in np.linspace(0, 1, BLENDS, dtype=np.float32):
        heights = np.sort(_waves(wave[:, None], wave, _weights(blend)), axis=None)
        rows.append(1 - (np.searchsorted(heights, levels) + np.searchsorted(heights, levels, "right")) / (2 * heights.size))
    return np.round(255 * np.array(rows)).astype(np.uint8)


@dataclass(frozen=True)
class Grain:
    """Random heights as of paper or pigment; `roughness` 0 is white noise, 2 is clouds."""

    roughness: float
    seed: int = 0

    def __call__(self, chart: Chart) -> Bytes:
        return _sampled((self,), chart)[0]

    @property
    def tile(self) -> Bytes:
        """[TILE, TILE], 0 to 255."""
        return _grain(self.roughness, self.seed)


@dataclass(frozen=True)
class Strokes:
    """Strokes of a pencil: the darker, the more, first in one direction and then across."""

    seed: int = 0

    def __call__(self, chart: Chart) -> Bytes:
        return _sampled((self,), chart)[0]

    @property
    def tile(self) -> Bytes:
        """[TILE, TILE], 0 to 255."""
        return _strokes(self.seed)


@dataclass(frozen=True)
class Pair:
    """Two textures, a channel for each: together they take little more time than one."""

    first: Grain | Strokes
    second: Grain | Strokes

    def __call__(self, chart: Chart) -> Bytes:
        return np.asarray(cv2.merge(_sampled((self.first, self.second), chart)), np.uint8)


@lru_cache(8)
def _grain(roughness: float, seed: int) -> Bytes:
    spectrum = np.fft.rfft2(np.random.default_rng(seed).normal(size=(TILE, TILE)))
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)) * TILE
    return _even(np.fft.irfft2(spectrum / np.maximum(frequency, 4) ** roughness))


@lru_cache(2)
def _strokes(seed: int) -> Bytes:
    rng = np.random.default_rng(seed)
    count, tile = 1400, np.full((TILE, TILE), 1400, np.float32)
    for order in range(count - 1, -1, -1):
        angle = np.radians(rng.normal(52 if order < 0.6 * count else 128, 4))
        middle, half = rng.uniform(0, TILE, 2), rng.uniform(18, 40) * np.array([np.cos(angle), -np.sin(angle)])
        for across in (-TILE, 0, TILE):
            for down in (-TILE, 0, TILE):
                first, last = ((16 * (middle + side * half + [across, down])).astype(int).tolist() for side in (-1, 1))
                cv2.line(tile, first, last, (order,), 1, cv2.LINE_8, 4)
    return _even(cv2.GaussianBlur(np.tile(tile, (3, 3)), (3, 3), 0.6)[TILE : 2 * TILE, TILE : 2 * TILE])


def _even(heights: np.ndarray) -> Bytes:
    """`heights` [H, W] by rank, 0 to 255."""
    ranks = np.empty(heights.size)
    ranks[np.argsort(heights, axis=None, kind="stable")] = np.arange(heights.size)
    return (ranks.reshape(heights.shape) * (256 / heights.size)).astype(np.uint8)


def _sampled(textures: tuple[Grain | Strokes, ...], chart: Chart) -> list[Bytes]:
    """One texture or two where the pixels lie, each mixed with its own copy of half the size; about as fine as the pixels are."""
    side = TILE
    while side > SMALLEST and side * 0.7 > chart.pixels:
        side //= 2
    across, down = ((one - np.floor(one)) * np.float32(2 * side) for one in (chart.u, chart.v))
    found = cv2.split(cv2.remap(_four(textures[0], textures[-1], side), across, down, cv2.INTER_LINEAR))
    # Two independent heights vary less when they are mixed: what is missing is made up for.
    shares = chart.blend, 1 - chart.blend
    length = cv2.magnitude(*shares)
    weights = [share / length for share in shares]
    middle = np.float32(127.5) * (1 - weights[0] - weights[1])
    return [_mixed(found[2 * place : 2 * place + 2], weights, middle) for place in range(len(textures))]


def _mixed(images: Sequence[np.ndarray], weights: Sequence[np.ndarray], more: np.ndarray) -> Bytes:
    """The sum of `images` [h, W] of bytes times their `weights`, and `more`."""
    first, second = (cv2.multiply(image, weight, dtype=cv2.CV_32F) for image, weight in zip(images, weights, strict=True))
    first += second
    return np.asarray(cv2.add(first, more, dtype=cv2.CV_8U), np.uint8)


@lru_cache(16)
def _four(first: Grain | Strokes, second: Grain | Strokes, side: int) -> Bytes:
    """[2 side + 1, 2 side + 1, 4] each texture at twice its size, and four times at its own: channels of one picture are read at once."""
    across, down = np.meshgrid(*[np.arange(2 * side + 1, dtype=np.float32) / 2] * 2)
    channels = []
    for texture in (first, second):
        tile = texture.tile if side == TILE else _even(resized(texture.tile, side, side, cv2.INTER_AREA))
        channels += [cv2.remap(np.pad(tile, (0, 1), "wrap"), across, down, cv2.INTER_LINEAR), np.pad(np.tile(tile, (2, 2)), (0, 1), "wrap")]
    return np.dstack(channels)
