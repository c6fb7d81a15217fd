"""Measuring how much a stylizer's pictures flicker, and what ways to steady them cost and spoil."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import cv2
import numpy as np

from splatview.arrays import Bytes, Doubles, Floats
from splatview.cli import kinds
from splatview.cli.flight import Motion, consensus
from splatview.frame import Frame
from splatview.stylize import Stylizer
from splatview.stylize.onnx_style import OnnxStyle
from splatview.stylize.temporal import Steady
from splatview.stylize.warp import between, nearness, places

SHARE, TOLERANCE = 0.2, 0.05  # of the new picture in the averages that ours is held against; of depth in their test
GRAIN, BLOTCHES, JITTER = 9.0, 9.0, 6.0  # standard deviations of levels: of each pixel, of patches, of whole pictures
PATCH = 16  # pixels a side

EXPLAINED = """\
Levels of 0..255. Warp error: to the picture before, moved as the scene does; it is low for ghosts, too.
Error: to {reference}. Uncovered: the same, of what something hid in the frame before."""

Way = Callable[[Stylizer], Stylizer]


class Painterly:
    """Patches of paint, the same for the same frame."""

    def style(self, frame: Frame) -> Bytes:
        return np.asarray(cv2.medianBlur(frame.rgb8, 7), np.uint8)


class Noisy:
    """A stylizer with noise in every picture: of pixels, of patches and of the whole picture's colour. Always the same, from the first."""

    def __init__(self, stylizer: Stylizer, seed: int = 0) -> None:
        self._stylizer, self._random = stylizer, np.random.default_rng(seed)

    def style(self, frame: Frame) -> Bytes:
        picture = self._stylizer.style(frame)
        height, width = picture.shape[:2]
        patches = self._random.normal(0, BLOTCHES, (-(-height // PATCH), -(-width // PATCH), 3))
        noise = self._random.normal(0, GRAIN, picture.shape) + self._random.normal(0, JITTER, 3)
        noise += cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.clip(picture + noise + 0.5, 0, 255).astype(np.uint8)


class Given:
    """Pictures that were made before, one after another."""

    def __init__(self, pictures: Sequence[Bytes]) -> None:
        self._pictures = iter(pictures)

    def style(self, frame: Frame) -> Bytes:
        return next(self._pictures)


class Averaged:
    """The usual: a fixed share of the new picture and the rest of the one before, where that was on the screen or on surfaces."""

    def __init__(self, stylizer: Stylizer, warped: bool, tested: bool) -> None:
        self._stylizer, self._warped, self._tested = stylizer, warped, tested
        self._before: tuple[Frame, Floats] | None = None

    def style(self, frame: Frame) -> Bytes:
        new = self._stylizer.style(frame).astype(np.float32)
        if self._before is not None:
            old, same = self._carried(*self._before, frame)
            new = np.where(same[..., None], old + np.float32(SHARE) * (new - old), new)
        self._before = frame, new
        return (new + 0.5).astype(np.uint8)

    def _carried(self, before: Frame, picture: Floats, frame: Frame) -> tuple[Floats, np.ndarray]:
        """`picture` of the frame before as `frame` sees it, and where it is used."""
        if not self._warped:
            return picture, np.ones(picture.shape[:2], np.bool_)
        at = places(between(frame.camera, before.camera), nearness(frame))
        old = np.asarray(cv2.remap(picture, at.x, at.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
        inside = (at.x >= 0) & (at.x <= before.camera.width - 1) & (at.y >= 0) & (at.y <= before.camera.height - 1)
        there = cv2.remap(nearness(before), at.x, at.y, cv2.INTER_LINEAR)
        return old, inside & (not self._tested or np.abs(at.nearness - there) <= TOLERANCE * there)


WAYS: dict[str, Way] = {
    "raw": lambda stylizer: stylizer,
    "screen average": lambda stylizer: Averaged(stylizer, warped=False, tested=False),
    "warp, no depth test": lambda stylizer: Averaged(stylizer, warped=True, tested=False),
    "warp, depth test": lambda stylizer: Averaged(stylizer, warped=True, tested=True),
    "ours": Steady,
}
PAINTERLY = "painterly"


def style_of(name: str, flags: Any) -> Stylizer:
    """The style of a name with its flags; UserError if it cannot be had."""
    return Painterly() if name == PAINTERLY else kinds.opened(name, flags)


@dataclass(frozen=True)
class Figures:
    """Mean absolute differences in levels, 0..255, over a fly-through without its first frame."""

    way: str
    warp_error: float  # to the picture before, moved as the scene does, where both see it
    error: float  # to the reference, which does not flicker
    error_uncovered: float  # the same, of what was hidden before
    frame_ms: float  # median; of a way to steady without the stylizer's own


def measure(frames: Sequence[Frame], motions: Sequence[Motion], style: Stylizer, tell: Callable[[float, str], None]) -> list[Figures]:
    """Every way to steady `style`; `motions`: of all frames but the first.

    A style that flickers by itself is held against what its pictures have in common. Others are given noise, and held against themselves.
    """
    own = [style.style(frame) for frame in frames]
    if flickers(style):
        raw, rows = own, []
        reference = consensus(frames, own, lambda done: tell(0.8 * done, "what the pictures have in common"))
    else:
        noisy = Noisy(Given(own))
        raw, reference = [noisy.style(frame) for frame in frames], own
        rows = [figures("without noise", own, reference, motions, 0.0)]
    for number, (name, way) in enumerate(WAYS.items()):
        tell(0.8 + 0.2 * number / len(WAYS), name)
        rows.append(steadied(name, way, frames, motions, raw, reference))
    return rows


def flickers(style: Stylizer) -> bool:
    """Whether it makes another picture of a surface for every place that it is seen from, as networks do."""
    return isinstance(style, OnnxStyle)


def steadied(
    name: str, way: Way, frames: Sequence[Frame], motions: Sequence[Motion], pictures: Sequence[Bytes], reference: Sequence[np.ndarray]
) -> Figures:
    """What a way makes of `pictures`, the style of `frames`."""
    steady, found, spent = way(Given(pictures)), [], []
    for frame in frames:
        started = time.perf_counter()
        found.append(steady.style(frame))
        spent.append(1000 * (time.perf_counter() - started))
    return figures(name, found, reference, motions, median(spent[1:]))


def figures(
    name: str, pictures: Sequence[np.ndarray], reference: Sequence[np.ndarray], motions: Sequence[Motion], frame_ms: float
) -> Figures:
    """Those of `pictures`; an area that is not there, such as what was hidden on a path where nothing was, has the error 0."""
    warp, errors, uncovered = [], [], []
    for motion, before, now, truth in zip(motions, pictures, pictures[1:], reference[1:], strict=False):
        warp.append(np.abs(now - motion.of(before)).mean(-1)[motion.visible])
        off = np.abs(now.astype(np.float64) - truth).mean(-1)
        errors.append(off.ravel())
        uncovered.append(off[motion.hidden])
    return Figures(name, _mean(warp), _mean(errors), _mean(uncovered), frame_ms)


def _mean(parts: list[Doubles]) -> float:
    values = np.concatenate(parts)
    return float(values.mean()) if values.size else 0.0


def explained(style: Stylizer) -> str:
    """What the figures of `style` mean."""
    return EXPLAINED.format(reference="the mean of all pictures that see a surface" if flickers(style) else "the style without noise")


def print_table(rows: Sequence[Figures], explained: str) -> None:
    """Write the figures for people."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table("", box=SIMPLE_HEAD)
    for title in ("warp error", "error", "uncovered", "ms"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        cost = f"{row.frame_ms:.1f}" if row.frame_ms >= 0.05 else ""
        table.add_row(row.way, f"{row.warp_error:.2f}", f"{row.error:.2f}", f"{row.error_uncovered:.2f}", cost)
    Console().print(table)
    print(explained)
