"""Colour: grading and painting, as an affine map of the displayed colour that the harmonics follow.

The colour of a splat is display-referred (what the picture shows, 0 to 1), and linear in its coefficients: 0.5 + sum of sh times basis.
So c -> M c + o is exact for every view direction: M turns every coefficient, and the constant term alone also takes the offset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Bools, Doubles, Floats
from splatview.harmonics import C0

LUMA = (0.299, 0.587, 0.114)  # Rec. 601: what grey a colour becomes
MID_GREY = 0.5  # displayed: contrast turns about it
LOGIT_LIMIT = 16.0  # an opacity of 1e-7 from either end: nothing to see, and still finite
BLOCK = 4096  # splats: half a megabyte of degree 3, so that a block stays in the cache


@dataclass(frozen=True)
class Grading:
    """A colour grade; the defaults change nothing.

    In order: exposure, tint and temperature multiply; black and white point stretch; contrast; hue; saturation. Opacity is apart.
    """

    exposure: float = 0.0  # stops: times 2^exposure
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)  # times red, green, blue
    temperature: float = 0.0  # -1 (blue) .. 1 (orange): red times 1 + t, blue times 1 - t, as in SuperSplat
    saturation: float = 1.0  # 0: grey
    contrast: float = 1.0  # about mid grey
    black_point: float = 0.0  # the displayed value that becomes 0
    white_point: float = 1.0  # the displayed value that becomes 1
    hue_shift: float = 0.0  # degrees about the grey axis: 120 takes red to green
    opacity: float = 1.0  # times the opacity, which ends at 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "tint", _numbers("Grading.tint", self.tint, 0.0, 100.0))
        _number("Grading.exposure", self.exposure, -20.0, 20.0)
        _number("Grading.temperature", self.temperature, -1.0, 1.0)
        _number("Grading.saturation", self.saturation, 0.0, 100.0)
        _number("Grading.contrast", self.contrast, 0.0, 100.0)
        _number("Grading.black_point", self.black_point, -100.0, 100.0)
        _number("Grading.white_point", self.white_point, -100.0, 100.0)
        _number("Grading.hue_shift", self.hue_shift, -36000.0, 36000.0)
        _number("Grading.opacity", self.opacity, 0.0, 100.0)
        if not self.white_point - self.black_point >= 1e-3:
            raise ValueError(f"Grading: expected a white point above the black point, got {self.white_point} and {self.black_point}")

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return self.keeps_colour and self.opacity == 1

    @property
    def keeps_colour(self) -> bool:
        """Whether no colour changes, opacity aside."""
        matrix, offset = self.linear
        return bool((matrix == np.eye(3)).all() and not offset.any())

    @property
    def linear(self) -> tuple[Doubles, Doubles]:
        """The matrix [3, 3] and the offset [3] that map displayed colours: c -> matrix c + offset."""
        warmth = np.array([1 + self.temperature, 1.0, 1 - self.temperature])
        stretch = 1 / (self.white_point - self.black_point)
        gain = 2.0**self.exposure * np.asarray(self.tint) * warmth * (stretch * self.contrast)
        offset = np.full(3, self.contrast * (-self.black_point * stretch) + MID_GREY * (1 - self.contrast))
        look = _saturation(self.saturation) @ _hue_turn(self.hue_shift)
        return look * gain, look @ offset


@dataclass(frozen=True)
class Painting:
    """Flat paint: how much of it covers a splat fully inside the brush."""

    colour: tuple[float, float, float]  # displayed, 0..1
    amount: float = 1.0  # 0..1
    opacity: float | None = None  # 0..1, towards which the opacity goes; None: left alone

    def __post_init__(self) -> None:
        object.__setattr__(self, "colour", _numbers("Painting.colour", self.colour, 0.0, 1.0))
        _number("Painting.amount", self.amount, 0.0, 1.0)
        if self.opacity is not None:
            _number("Painting.opacity", self.opacity, 0.0, 1.0)


def graded(sh: Floats, opacity_logits: Floats, weights: Floats | Bools, grading: Grading) -> tuple[Floats, Floats]:
    """`sh` [N, K, 3] and `opacity_logits` [N] graded, mixed with the originals by `weights` [N] (0..1, or a mask).

    Rows of weight 0 keep their bits; an array in which nothing changes is returned itself.
    """
    strength = _strength(weights, len(sh))
    if not strength.any():
        return sh, opacity_logits
    if not grading.keeps_colour:
        matrix, offset = grading.linear
        sh = _changed(sh, strength, lambda rows, weight: _mapped(rows, weight, matrix, offset))
    if grading.opacity != 1:
        opacity_logits = _changed(opacity_logits, strength, lambda rows, weight: _thinned(rows, 1 + weight * (grading.opacity - 1.0)))
    return sh, opacity_logits


def painted(sh: Floats, opacity_logits: Floats, weights: Floats | Bools, painting: Painting) -> tuple[Floats, Floats]:
    """`sh` [N, K, 3] and `opacity_logits` [N] under paint as thick as `weights` [N] (0..1, or a mask) times the amount.

    Seen from anywhere, a colour goes to the paint's in a straight line, so full paint hides the view dependence, and half of it halves it.
    Rows of weight 0 keep their bits; an array in which nothing changes is returned itself.
    """
    cover = np.float32(painting.amount) * _strength(weights, len(sh))
    if not cover.any():
        return sh, opacity_logits
    flat = (np.asarray(painting.colour) - 0.5) / C0

    def covered(rows: Floats, weight: Floats) -> Floats:
        rows *= (1 - weight)[:, None, None]
        rows[:, 0] += weight[:, None] * flat.astype(np.float32)
        return rows

    sh = _changed(sh, cover, covered)
    target = painting.opacity
    if target is not None:
        opacity_logits = _changed(opacity_logits, cover, lambda rows, weight: _blended(rows, weight, target))
    return sh, opacity_logits


def _changed(source: Floats, strength: Floats, change: Callable[[Floats, Floats], NDArray]) -> Floats:
    """A copy of `source` [N, ...] whose rows of non-zero `strength` [N] went through `change`, which may write its own rows."""
    result = np.empty_like(source)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # broken splats stay broken, and are nobody's warning
        for start in range(0, len(source), BLOCK):
            block, part = result[start : start + BLOCK], strength[start : start + BLOCK]
            block[...] = source[start : start + BLOCK]
            rows = np.flatnonzero(part)
            if len(rows) == len(part):
                block[...] = change(block, part)
            elif len(rows):
                block[rows] = change(np.take(block, rows, 0), part[rows])  # several times faster than block[rows]
    return result


def _mapped(rows: Floats, weight: Floats, matrix: Doubles, offset: Doubles) -> Floats:
    """Coefficients [n, K, 3] of the colours mapped by c -> matrix c + offset, mixed with the unmapped by `weight` [n].

    Sums of products in a fixed order rather than a matrix product, whose last bits depend on the machine and on the row's neighbours.
    """
    m = matrix.astype(np.float32)
    mapped = rows * np.diag(m)
    for to in range(3):
        for source in range(3):
            if to != source and m[to, source] != 0:
                mapped[..., to] += m[to, source] * rows[..., source]
    mapped[:, 0] += ((matrix @ np.full(3, 0.5) + offset - 0.5) / C0).astype(np.float32)
    if (weight == 1).all():  # the same bits, sooner
        return mapped
    mapped *= weight[:, None, None]
    mapped += (1 - weight)[:, None, None] * rows
    return mapped


def _thinned(logits: Floats, factor: NDArray) -> Doubles:
    """The logits [n] of opacities times `factor` [n]."""
    opaque, clear = _opaque_and_clear(logits)
    return _logits(factor * opaque, clear + (1.0 - factor) * opaque, logits)


def _blended(logits: Floats, weight: Floats, target: float) -> Doubles:
    """The logits [n] of opacities that went the part `weight` [n] of the way to `target`."""
    opaque, clear = _opaque_and_clear(logits)
    share = weight.astype(np.float64)
    return _logits((1 - share) * opaque + share * target, (1 - share) * clear + share * (1 - target), logits)


def _opaque_and_clear(logits: Floats) -> tuple[Doubles, Doubles]:
    """The opacity [n] and 1 minus it, both exact near 0."""
    values = logits.astype(np.float64)
    small = np.exp(-np.abs(values))
    large, small = 1 / (1 + small), small / (1 + small)
    return np.where(values >= 0, large, small), np.where(values >= 0, small, large)


def _logits(opaque: Doubles, clear: Doubles, before: Floats) -> Doubles:
    """The logits [n], finite unless they were infinite `before` [n] on that side."""
    values = np.log(opaque) - np.log(np.maximum(clear, 0))
    return np.clip(values, np.minimum(before, -LOGIT_LIMIT), np.maximum(before, LOGIT_LIMIT))


def _saturation(amount: float) -> Doubles:
    return amount * np.eye(3) + (1 - amount) * np.tile(LUMA, (3, 1))


def _hue_turn(degrees: float) -> Doubles:
    """The rotation [3, 3] of colours about the grey axis."""
    angle = np.radians(degrees)
    axis = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    return np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) / 3 + np.sin(angle) * axis


def _strength(weights: Floats | Bools, count: int) -> Floats:
    strength = np.asarray(weights, np.float32)
    if strength.shape != (count,):
        raise ValueError(f"weights: expected one for each of {count} splats, got shape {list(strength.shape)}")
    if count and not (strength.min() >= 0 and strength.max() <= 1):
        raise ValueError(f"weights: expected numbers from 0 to 1, got {strength.min()} to {strength.max()}")
    return strength


def _number(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name}: expected a number from {low:g} to {high:g}, got {value}")


def _numbers(name: str, values: tuple[float, ...], low: float, high: float) -> tuple[float, ...]:
    if len(values) != 3:
        raise ValueError(f"{name}: expected red, green and blue, got {values}")
    for value in values:
        _number(name, value, low, high)
    return tuple(float(value) for value in values)
