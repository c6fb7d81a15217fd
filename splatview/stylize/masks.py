"""What of a picture is redrawn: the selection, the background, a range of depth, layers; each with a style of its own.

A place says which of RenderOptions.outputs it is told from (`needs`), for whoever renders the frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import cv2
import numpy as np

from splatview.arrays import Bytes, Floats
from splatview.frame import Frame, Output
from splatview.scene import Scene
from splatview.stylize import Stylizer, settled
from splatview.stylize.carried import styled
from splatview.stylize.controls import check, slider

LINES = 720  # of the picture that a feather's pixels are of


class Place(Protocol):
    """A part of the picture."""

    needs: ClassVar[tuple[Output, ...]]  # the outputs by which it is told, besides the picture itself

    def share(self, frame: Frame) -> Floats:
        """[H, W] how much of each pixel belongs to it, 0..1; ValueError if the frame has not what it `needs`."""
        ...


@dataclass(frozen=True)
class Selection:
    """What is tinted. With RenderOptions.tint None the picture itself does not show it. Only Gaussians can be; no part of a field is."""

    needs: ClassVar[tuple[Output, ...]] = ("coverage",)

    def share(self, frame: Frame) -> Floats:
        return np.clip(frame.coverage, 0, 1)


@dataclass(frozen=True)
class Background:
    """What is behind everything that is drawn."""

    needs: ClassVar[tuple[Output, ...]] = ("alpha",)

    def share(self, frame: Frame) -> Floats:
        return np.clip(1 - frame.alpha, 0, 1)


@dataclass(frozen=True)
class DepthRange:
    """What is from `near` to `far` along the view axis, in scene units; the background is infinitely far away."""

    near: float = 0.0
    far: float = np.inf
    soft: float = 0.1  # half the width of an end, as a part of its depth

    needs: ClassVar[tuple[Output, ...]] = ("alpha", "depth")

    def __post_init__(self) -> None:
        if not (0 <= self.near < self.far and 0 <= self.soft < 1):
            raise ValueError(f"DepthRange: expected 0 <= near < far and soft from 0 to below 1, got {self.near}, {self.far}, {self.soft}")

    def share(self, frame: Frame) -> Floats:
        within = self._beyond(frame.depth, self.near) - self._beyond(frame.depth, self.far)
        return np.asarray(np.clip(frame.alpha * within + (1 - frame.alpha) * (self.far == np.inf), 0, 1), np.float32)

    def _beyond(self, depth: Floats, end: float) -> Floats:
        if end in (0, np.inf):
            return np.full_like(depth, end == 0)
        return np.clip((depth / np.float32(end) - 1) / np.float32(2 * max(self.soft, 1e-6)) + np.float32(0.5), 0, 1)


@dataclass(frozen=True)
class Layers:
    """Where some layers are more of the pixel than any other.

    Pixels are in or out; a soft edge is a feather's. (The exact share of one layer: all of it tinted, with no tint, and Selection.)
    """

    numbers: frozenset[int]  # as Frame.id_layers counts

    needs: ClassVar[tuple[Output, ...]] = ("ids",)

    @staticmethod
    def named(scene: Scene, names: Iterable[str]) -> Layers:
        """The layers `names` of `scene`, as it is: adding or leaving out layers changes their numbers. KeyError if there is none such."""
        numbers = {name: number for number, name in enumerate(scene.layers)}
        return Layers(frozenset(numbers[name] for name in names))

    def share(self, frame: Frame) -> Floats:
        return np.isin(frame.id_layers, list(self.numbers)).astype(np.float32)


@dataclass(frozen=True)
class Mask:
    """A place, or with `inverted` all the rest, with a soft edge."""

    place: Place
    feather: float = slider(0, 0, 100, 1, "soft edge: pixels to each side, of a picture 720 lines high")
    inverted: bool = False

    def __post_init__(self) -> None:
        check(self)

    @property
    def needs(self) -> tuple[Output, ...]:
        return self.place.needs

    def share(self, frame: Frame) -> Floats:
        """[H, W] 0..1, as that of its place."""
        share = np.asarray(self.place.share(frame), np.float32)
        wide = round(self.feather * frame.camera.height / LINES)
        if wide:
            size = 2 * (wide // 2) + 1  # twice: what one straight edge becomes is a smooth ramp of `wide` pixels to each side
            share = np.asarray(cv2.blur(cv2.blur(share, (size, size)), (size, size)), np.float32)
        return np.float32(1) - share if self.inverted else share


class Masked:
    """Parts of the picture, each in a style of its own; what is in none of them stays as it was rendered, later ones lie over earlier ones.

    Every stylizer is given the whole frame, and none where nothing of its part is seen. One that takes flicker out belongs inside of this,
    around the stylizer of its part: what is not redrawn has none.
    """

    def __init__(self, *parts: tuple[Mask, Stylizer]) -> None:
        self.parts = parts

    @property
    def needs(self) -> tuple[Output, ...]:
        """All outputs by which the parts are told."""
        return tuple(dict.fromkeys(output for mask, _ in self.parts for output in mask.needs))

    def style(self, frame: Frame) -> Bytes:
        picture = frame.rgb8
        for mask, stylizer in self.parts:
            share = mask.share(frame)
            if share.max() > 0:
                picture = np.asarray(cv2.blendLinear(styled(stylizer, frame), picture, share, 1 - share), np.uint8)
        return picture

    @property
    def settled(self) -> bool:
        return all(settled(stylizer) for _, stylizer in self.parts)
