"""Printed in dots of ink, and shown in blocks of few colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np

from splatview.arrays import Bytes, Floats
from splatview.frame import Frame
from splatview.stylize.controls import check, option, slider
from splatview.stylize.filters.bands import banded, in_bands
from splatview.stylize.filters.drawn import paper_with
from splatview.stylize.filters.patterns import Dots, laid
from splatview.stylize.filters.surface import Chart, Surface
from splatview.stylize.filters.tones import grey, on_paper, resized, scale, spread, vivid

LEAST_PERIOD = 3.0  # pixels: closer dots are none
_DOTS = {"colours": Dots(((24, 7), (7, 24), (25, 0))), "black": Dots(((20, 15),))}
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) / 16 - 15 / 32


@dataclass(frozen=True)
class Halftone:
    """Dots of ink, the darker the larger."""

    size: float = slider(7, 3, 24, 0.5, "from one dot to the next")
    sharpness: float = slider(0.6, 0, 1, 0.05, "how hard the dots are, 0 hardly to be seen")
    contrast: float = slider(0.5, 0, 1, 0.05, "how much the contrast of every place is stretched")
    inks: Literal["colours", "black"] = option("colours", "black prints on paper, also where the scene is empty")
    anchored: bool = option(False, "the dots stick to the surfaces")

    def __post_init__(self) -> None:
        check(self)
        if self.inks not in _DOTS:
            raise ValueError(f"Halftone.inks: expected colours or black, got {self.inks!r}")

    def style(self, frame: Frame) -> Bytes:
        """[H, W, 3] sRGB."""
        rgb8 = frame.rgb8
        height, width = rgb8.shape[:2]
        period = max(self.size * scale(height, width), LEAST_PERIOD)
        sharp = 0.2 + (0.6 * period - 0.2) * self.sharpness  # the hardest ends within a pixel
        picture = on_paper(grey(rgb8), frame) if self.inks == "black" else rgb8
        picture = np.asarray(cv2.LUT(stretched(picture, self.contrast), evened(round(sharp, 3))), np.uint8)
        dots, surface = _DOTS[self.inks], Surface.of(frame, height, width) if self.anchored else None
        if surface is None:
            screen = laid(dots, period, height, width, None)
            printed = np.asarray(cv2.addWeighted(picture, sharp + 1, screen, sharp, -255 * sharp), np.uint8)
        else:
            facing = surface.facing
            printed = in_bands(
                lambda rows: self._on_surface(picture[rows], surface.chart(period, rows), facing[rows], sharp), height, width
            )
        if self.inks == "colours":
            return printed
        return banded(lambda rows: paper_with(255 - rows), 0, printed)

    def _on_surface(self, picture: Bytes, chart: Chart, facing: Floats, sharp: float) -> Bytes:
        """`picture` as it is printed: where a surface is seen from its side dots lie close, and are blurred, not torn."""
        dots = _DOTS[self.inks](chart)
        sharp_here = sharp * np.clip(2.5 * facing - 0.25, 0.1, 1)
        if picture.ndim == 3:
            sharp_here = np.asarray(cv2.cvtColor(sharp_here, cv2.COLOR_GRAY2RGB), np.float32)
        return shown(picture, dots, sharp_here)


@dataclass(frozen=True)
class Pixel:
    """Blocks of few colours, as of early computers."""

    size: int = slider(6, 2, 32, 1, "a block's side")
    levels: int = slider(8, 2, 16, 1, "tones of each of red, green and blue")
    dither: float = slider(0.4, 0, 1, 0.05, "how much tones between are mixed of blocks")
    colour: float = slider(1.2, 0, 2, 0.05, "how much colour, 1 as it is")

    def __post_init__(self) -> None:
        check(self)

    def style(self, frame: Frame) -> Bytes:
        """[H, W, 3] sRGB."""
        rgb8 = frame.rgb8
        height, width = rgb8.shape[:2]
        side = max(1, round(self.size * scale(height, width)))
        down, across = -(-height // side), -(-width // side)
        whole = cv2.copyMakeBorder(rgb8, 0, down * side - height, 0, across * side - width, cv2.BORDER_REPLICATE)
        blocks = vivid(np.asarray(resized(whole, down, across, cv2.INTER_AREA), np.uint8), self.colour)
        order = np.tile(_BAYER, (-(-down // 4), -(-across // 4)))[:down, :across, None]
        step = 255 / (round(self.levels) - 1)
        toned = np.clip(np.round(blocks / np.float32(step) + self.dither * order), 0, round(self.levels) - 1) * step
        return np.ascontiguousarray(
            resized(np.round(toned).astype(np.uint8), down * side, across * side, cv2.INTER_NEAREST)[:height, :width]
        )


def shown(picture: Bytes, screen: Bytes, sharp: float | Floats) -> Bytes:
    """What is printed of `picture` through a screen of thresholds: its white and its black, and with `sharp` 0 all of it, as it is."""
    printed = (picture - np.float32(127.5)) * (sharp + 1) + (screen - np.float32(127.5)) * sharp + np.float32(127.5)
    return np.clip(printed, 0, 255).astype(np.uint8)


@lru_cache(64)
def evened(sharp: float) -> Bytes:
    """For a tone the one that is printed with that tone in the mean, by a screen whose thresholds are evenly spread."""
    tones, thresholds = np.arange(256.0), np.linspace(-127.5, 127.5, 1024)
    means = np.clip((tones[:, None] - 127.5) * (sharp + 1) + thresholds * sharp + 127.5, 0, 255).mean(axis=1)
    return np.round(np.interp(tones, means, tones)).astype(np.uint8)


def stretched(picture: Bytes, contrast: float) -> Bytes:
    """`picture` [H, W(, 3)] with the contrast of its luma stretched in every place."""
    if picture.ndim == 2 or contrast == 0:
        return spread(picture, contrast)
    luma, red, blue = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb))
    toned = cv2.merge([spread(np.asarray(luma, np.uint8), contrast), red, blue])
    return np.asarray(cv2.cvtColor(toned, cv2.COLOR_YCrCb2RGB), np.uint8)
