"""Painted: flat strokes, oil on canvas, watercolour on paper."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from splatview.arrays import Bytes, Floats
from splatview.frame import Frame
from splatview.stylize.controls import check, option, slider
from splatview.stylize.filters.bands import banded
from splatview.stylize.filters.flow import flow, smeared
from splatview.stylize.filters.patterns import TILE, Grain, laid
from splatview.stylize.filters.surface import Surface
from splatview.stylize.filters.tones import blurred, grey, lit, on_paper, resized, scale, vivid

_THINNED = np.round(255 * (np.arange(256) / 255) ** 0.85).astype(np.uint8)  # what is dark lets the paper through
_FROM_ABOVE_LEFT = np.array([[-1, -1, 0], [-1, 0, 1], [0, 1, 1]], np.float32) / 3


@dataclass(frozen=True)
class Kuwahara:
    """Flat strokes with clean edges."""

    radius: float = slider(5, 1, 12, 0.5, "half the width of a stroke")
    passes: int = slider(1, 1, 3, 1, "how often the picture is painted over")
    colour: float = slider(1.15, 0, 2, 0.05, "how much colour, 1 as it is")

    def __post_init__(self) -> None:
        check(self)

    def style(self, frame: Frame) -> Bytes:
        """[H, W, 3] sRGB."""
        painted = frame.rgb8
        for _ in range(round(self.passes)):
            painted = flattened(painted, self.radius * scale(*painted.shape[:2]))
        return vivid(painted, self.colour)


@dataclass(frozen=True)
class Oil:
    """Brush strokes along the forms, in thick paint."""

    length: float = slider(9, 2, 24, 0.5, "length of the strokes")
    relief: float = slider(0.5, 0, 1, 0.05, "how far the paint stands out")
    colour: float = slider(1.2, 0, 2, 0.05, "how much colour, 1 as it is")
    anchored: bool = option(True, "the bristles' traces stick to the surfaces")

    def __post_init__(self) -> None:
        check(self)

    def style(self, frame: Frame) -> Bytes:
        """[H, W, 3] sRGB."""
        rgb8 = frame.rgb8
        height, width = rgb8.shape[:2]
        half = (height + 1) // 2, (width + 1) // 2
        unit = scale(*half)
        small = resized(rgb8, *half, cv2.INTER_AREA)
        bristles = laid(Grain(0.4), TILE * unit, *half, Surface.of(frame, *half) if self.anchored else None)
        strokes = smeared(cv2.merge([*cv2.split(small), bristles]), flow(grey(small), 6 * unit), self.length * unit)
        strokes = resized(strokes, height, width, cv2.INTER_CUBIC)
        return banded(lambda rows: self._varnished(rows, 2 * unit), round(20 * unit) + 4, strokes)

    def _varnished(self, strokes: Bytes, unit: float) -> Bytes:
        """The picture of strokes [H, W, 4], whose last channel is how thick bristles left the paint, under light from above on the left."""
        painted = np.ascontiguousarray(strokes[..., :3])
        painted = cv2.addWeighted(painted, 1.7, blurred(painted, 1.25 * unit), -0.7, 0)  # where strokes meet they are sharp
        painted = vivid(np.asarray(painted, np.uint8), self.colour)
        thick = cv2.addWeighted(strokes[..., 3], 1, grey(painted), 0.3, 0, dtype=cv2.CV_32F)
        slope = cv2.filter2D(blurred(thick, unit / 2), cv2.CV_32F, _FROM_ABOVE_LEFT * np.float32(self.relief / 60 * min(unit, 1)))
        return lit(painted, np.clip(slope + 1, 0.7, 1.3))


@dataclass(frozen=True)
class Watercolour:
    """Washes on rough paper, darker where they end."""

    wash: float = slider(6, 2, 12, 0.5, "half the width of a wash")
    edges: float = slider(0.5, 0, 1, 0.05, "how much paint runs to the edges")
    paper: float = slider(0.5, 0, 1, 0.05, "how rough the paper is")
    anchored: bool = option(True, "clouds in the paint and the paper stick to the surfaces")

    def __post_init__(self) -> None:
        check(self)

    def style(self, frame: Frame) -> Bytes:
        """[H, W, 3] sRGB."""
        rgb8 = np.asarray(cv2.LUT(on_paper(frame.rgb8, frame), _THINNED), np.uint8)
        height, width = rgb8.shape[:2]
        half = (height + 1) // 2, (width + 1) // 2
        unit = scale(height, width)
        clouds = laid(Grain(1.6), 1.5 * TILE * unit, *half, Surface.of(frame, *half) if self.anchored else None)
        washes = flattened(rgb8, self.wash * unit)
        tone = blurred(resized(grey(washes), *half, cv2.INTER_AREA), 0.8 * unit)
        ends = np.minimum(cv2.morphologyEx(tone, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), 80)
        paint = cv2.addWeighted(ends, self.edges / 40, clouds, 0.8 / 255, -0.4, dtype=cv2.CV_32F)
        fibres = laid(Grain(0.7, seed=1), TILE * unit, height, width, Surface.of(frame, height, width) if self.anchored else None)
        return banded(self._on_fibres, 0, washes, resized(paint, height, width), fibres)

    def _on_fibres(self, washes: Bytes, paint: Floats, fibres: Bytes) -> Bytes:
        """`washes` [H, W, 3] with more or less `paint` [H, W] than they have, which gathers between fibres [H, W] of white paper."""
        rough = 0.6 * self.paper
        paint = np.asarray(cv2.addWeighted(paint, 1, fibres, rough / 255, -rough / 2, dtype=cv2.CV_32F), np.float32)
        return lit(thickened(washes, paint), 1 - fibres * np.float32(0.15 * rough / 255))


def flattened(rgb8: Bytes, radius: float) -> Bytes:
    """Each pixel as the mean of the calmest of eight windows around it, whose middles are about `radius` pixels away.

    After Kuwahara et al., "Processing of RI-angiocardiographic images" (1976), with Gaussian windows; calm is little variance of the luma.
    """
    reach = max(1, round(radius))
    return banded(lambda rows: _flattened(rows, reach), 2 * reach, rgb8)


def _flattened(rgb8: Bytes, reach: int) -> Bytes:
    height, width = rgb8.shape[:2]
    tone = grey(rgb8).astype(np.float32)
    windows = [cv2.GaussianBlur(image, (2 * reach + 1,) * 2, reach / 2) for image in (rgb8, tone, tone * tone)]
    windows = [cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REFLECT_101) for image in windows]
    means, variances = windows[0], windows[2] - windows[1] * windows[1]
    diagonal = round(0.7 * reach)
    aside = ((0, reach), (reach, 0), (diagonal, diagonal), (diagonal, -diagonal))
    found, calmest = np.empty_like(rgb8), np.full((height, width), np.inf, np.float32)
    for down, across in (*aside, *((-down, -across) for down, across in aside)):
        window = slice(reach + down, reach + down + height), slice(reach + across, reach + across + width)
        cv2.copyTo(means[window], cv2.compare(variances[window], calmest, cv2.CMP_LT), found)
        calmest = cv2.min(calmest, variances[window])
    return found


def thickened(rgb8: Bytes, paint: Floats) -> Bytes:
    """The picture as transparent paint with more of it by the share `paint` [H, W]: c - (c - c^2) paint.

    Bousseau et al., "Interactive watercolor rendering with temporal coherence and abstraction" (NPAR 2006).
    """
    room = cv2.multiply(rgb8, cv2.bitwise_not(rgb8), scale=1 / 255)
    change = cv2.multiply(room, cv2.cvtColor(paint, cv2.COLOR_GRAY2RGB), dtype=cv2.CV_16S)
    return np.asarray(cv2.subtract(rgb8, change, dtype=cv2.CV_8U), np.uint8)
