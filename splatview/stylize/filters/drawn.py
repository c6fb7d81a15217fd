"""Drawn: flat tones within outlines, pencil on paper, ink."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from splatview.arrays import Bytes
from splatview.frame import Frame
from splatview.stylize.controls import check, option, slider
from splatview.stylize.filters.bands import banded
from splatview.stylize.filters.lines import both_lines, drawn_lines, form_lines
from splatview.stylize.filters.patterns import TILE, Grain, Pair, Strokes, laid
from splatview.stylize.filters.surface import Surface
from splatview.stylize.filters.tones import blurred, grey, on_paper, resized, scale, spread, vivid

INK = 24  # its tone: not quite black
SMOOTHINGS = 3
PAPER = np.array([250, 247, 240], np.uint8)
_STROKES_AND_PAPER = Pair(Strokes(), Grain(0.5, seed=2))
_INKED_PAPER = np.round(PAPER * (1 - np.arange(256)[None, :, None] / 255 * (1 - INK / 255))).astype(np.uint8)


@dataclass(frozen=True)
class Toon:
    """Flat tones within black outlines."""

    levels: int = slider(6, 2, 12, 1, "how many tones from black to white")
    lines: float = slider(0.6, 0, 1, 0.05, "how many lines, 0 none")
    width: float = slider(2, 0.5, 5, 0.25, "width of the lines")
    colour: float = slider(1.35, 0, 2, 0.05, "how much colour, 1 as it is")

    def __post_init__(self) -> None:
        check(self)

    def style(self, frame: Frame) -> Bytes:
        """[H, W, 3] sRGB."""
        rgb8 = frame.rgb8
        unit = scale(*rgb8.shape[:2])
        flat = smooth(rgb8)
        toned = banded(self._toned, 0, flat)
        if self.lines == 0:
            return toned
        lines = cv2.max(drawn_lines(grey(flat), self.width * unit, self.lines), form_lines(frame, self.width * unit, self.lines))
        return banded(inked, 0, toned, lines)

    def _toned(self, rgb8: Bytes) -> Bytes:
        luma, red, blue = cv2.split(cv2.cvtColor(rgb8, cv2.COLOR_RGB2YCrCb))
        toned = cv2.merge([cv2.LUT(luma, steps(round(self.levels))), red, blue])
        return vivid(np.asarray(cv2.cvtColor(toned, cv2.COLOR_YCrCb2RGB), np.uint8), self.colour)


@dataclass(frozen=True)
class Pencil:
    """Outlines and strokes of a pencil on paper."""

    lines: float = slider(0.7, 0, 1, 0.05, "how many outlines, 0 none")
    shading: float = slider(0.6, 0, 1, 0.05, "how dark the strokes make what is dark")
    grain: float = slider(0.5, 0, 1, 0.05, "how rough the paper is")
    coloured: bool = option(False, "with pencils of all colours")
    anchored: bool = option(True, "strokes and paper stick to the surfaces")

    def __post_init__(self) -> None:
        check(self)

    def style(self, frame: Frame) -> Bytes:
        """[H, W, 3] sRGB."""
        rgb8 = on_paper(frame.rgb8, frame)
        height, width = rgb8.shape[:2]
        unit = scale(height, width)
        tone = spread(grey(rgb8), 0.7)
        surface = Surface.of(frame, height, width) if self.anchored else None
        strokes_and_paper = laid(_STROKES_AND_PAPER, 0.8 * TILE * unit, height, width, surface)
        lines = np.zeros_like(tone)
        if self.lines > 0:
            lines = cv2.max(drawn_lines(grey(rgb8), 1.4 * unit, self.lines), form_lines(frame, 1.4 * unit, self.lines))
        return banded(self._on_paper, 0, rgb8, blurred(tone, 1.5 * unit), strokes_and_paper, lines)

    def _on_paper(self, rgb8: Bytes, tone: Bytes, strokes_and_paper: Bytes, lines: Bytes) -> Bytes:
        """`tone` [H, W] drawn by the strokes whose thresholds it is darker than, with `lines`; less in the hollows of the paper."""
        strokes, paper = cv2.split(strokes_and_paper)
        most = (1.1 if self.coloured else 0.85) * self.shading
        dark = np.minimum(cv2.addWeighted(tone, -most, strokes, -0.5, 255 * most), 120)
        dark = cv2.addWeighted(dark, 1, lines, 0.55, 0)
        pencil = np.asarray(
            cv2.multiply(dark, cv2.LUT(paper, hollows(self.grain)), scale=1.6 / 128 if self.coloured else 1 / 128), np.uint8
        )
        return covered(np.broadcast_to(PAPER, rgb8.shape).copy(), vivid(rgb8, 1.6), pencil) if self.coloured else paper_with(pencil)


@dataclass(frozen=True)
class Ink:
    """Black ink on paper: outlines and blots, white lines within the blots."""

    width: float = slider(2, 0.5, 5, 0.25, "width of the lines")
    lines: float = slider(0.6, 0, 1, 0.05, "how many lines, 0 the fewest")
    black: float = slider(0.4, 0, 1, 0.05, "how much of the dark is black")

    def __post_init__(self) -> None:
        check(self)

    def style(self, frame: Frame) -> Bytes:
        """[H, W, 3] sRGB."""
        tone = on_paper(grey(frame.rgb8), frame)
        unit = scale(*tone.shape)
        darker, lighter = both_lines(tone, self.width * unit, self.lines)
        outlines = cv2.max(darker, form_lines(frame, self.width * unit, self.lines))
        blots = blurred(spread(tone, 1), 2 * unit)
        return banded(self._inked, 0, blots, outlines, lighter)

    def _inked(self, tone: Bytes, outlines: Bytes, lighter: Bytes) -> Bytes:
        blots = cv2.subtract(cv2.LUT(tone, black_below(200 * self.black)), lighter)
        return paper_with(np.asarray(cv2.max(blots, outlines), np.uint8))


def inked(rgb8: Bytes, ink: Bytes) -> Bytes:
    """The picture with that much ink [H, W], 0 to 255, on it."""
    keep = cv2.addWeighted(ink, (INK / 255 - 1), ink, 0, 255)
    return np.asarray(cv2.multiply(rgb8, cv2.cvtColor(keep, cv2.COLOR_GRAY2RGB), scale=1 / 255), np.uint8)


def paper_with(ink: Bytes) -> Bytes:
    """Paper [H, W, 3] with that much ink [H, W], 0 to 255, on it."""
    return np.asarray(cv2.LUT(cv2.cvtColor(ink, cv2.COLOR_GRAY2RGB), _INKED_PAPER), np.uint8)


def covered(below: Bytes, above: Bytes, share: Bytes) -> Bytes:
    """`below` [H, W, 3] with `above` over it, by shares [H, W] of 255."""
    shares = cv2.cvtColor(share, cv2.COLOR_GRAY2RGB)
    seen = cv2.multiply(below, cv2.bitwise_not(shares), scale=1 / 255)
    return np.asarray(cv2.add(seen, cv2.multiply(above, shares, scale=1 / 255)), np.uint8)


def smooth(rgb8: Bytes) -> Bytes:
    """The picture without texture, its edges kept: bilateral filters at half its size."""
    height, width = rgb8.shape[:2]
    small = resized(rgb8, (height + 1) // 2, (width + 1) // 2, cv2.INTER_AREA)
    return resized(banded(_without_texture, 2 * SMOOTHINGS + 1, small), height, width)


def _without_texture(rgb8: Bytes) -> Bytes:
    for _ in range(SMOOTHINGS):
        rgb8 = np.asarray(cv2.bilateralFilter(rgb8, 5, 30, 3), np.uint8)
    return rgb8


@lru_cache(16)
def steps(levels: int) -> Bytes:
    """For a tone the nearest of so many, with soft steps between."""
    at = np.arange(256) / 255 * (levels - 1)
    step = np.clip((at % 1 - 0.5) * 6 + 0.5, 0, 1)
    return np.round((np.floor(at) + step) * 255 / (levels - 1)).astype(np.uint8)


@lru_cache(16)
def black_below(least: float) -> Bytes:
    """For a tone how much ink it is, with an edge that is a little soft."""
    return np.clip(40 * (least - np.arange(256)), 0, 255).astype(np.uint8)


@lru_cache(16)
def hollows(grain: float) -> Bytes:
    """For a height of the paper how much of a pencil stays on it, in 128ths."""
    return np.round(128 + (np.arange(256) - 127.5) * (0.8 * grain)).astype(np.uint8)
