"""A field in more and more of a picture's pixels: a lattice of them first, then those in between, none twice."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from splatview.arrays import Floats
from splatview.camera import Camera
from splatview.render.field_cpu import FieldImage
from splatview.render.parts import Part

COARSEST = 8  # pixels between two of the first lattice, at most
Pixels = tuple[slice, slice]  # rows, columns
BETWEEN = (1, 1), (0, 1), (1, 0)  # of a lattice, in halves of its step: right and down


class Refined:
    """One field, seen from one camera, as far as it was drawn."""

    def __init__(self, camera: Camera) -> None:
        shape = camera.height, camera.width
        self._camera = camera
        self._step = 0  # between the pixels of the lattice that is there; 0: none
        self._parts = 0  # of those in between, of a quarter of all each
        self._known = np.zeros(shape, np.float32)
        self._pieces = [_nothing(shape)]
        self._samples = np.zeros(shape, np.int32)

    @property
    def share(self) -> float:
        """Of the pixels that were drawn."""
        return (1 + self._parts) / self._step**2 if self._step else 0.0

    def refine(self, share: float, draw: Callable[[Camera, Pixels], FieldImage]) -> None:
        """Draw as many more pixels as `share` of all needs; what was drawn stays if `draw` raises.

        It is given a camera that sees some of the pixels, and which of them.
        """
        while self.share < share:
            step, parts, left, top = self._next(share)
            if left < self._camera.width and top < self._camera.height:
                here = slice(top, None, step), slice(left, None, step)
                image = draw(self._camera.thinned(step, left, top), here)
                while len(self._pieces) < len(image.parts):
                    self._pieces.append(_nothing(self._known.shape))
                for piece, part in zip(self._pieces, image.parts, strict=True):
                    for whole, drawn in zip(piece, part, strict=True):
                        whole[here] = drawn
                self._samples[here] = image.samples
                self._known[here] = 1
            self._step, self._parts = (step // 2, 0) if parts == len(BETWEEN) else (step, parts)

    def _next(self, share: float) -> tuple[int, int, int, int]:
        """The lattice that is drawn next: its step, how many parts are there after it, and its first pixel."""
        if not self._step:
            step = COARSEST
            while step > 1 and share * (step // 2) ** 2 >= 1:
                step //= 2
            return step, 0, 0, 0
        right, down = BETWEEN[self._parts]
        return self._step, self._parts + 1, right * self._step // 2, down * self._step // 2

    @property
    def image(self) -> FieldImage:
        """What was drawn, and between its pixels what is expected there: bilinear between those of a lattice."""
        if self.share >= 1:
            return self._as_image(self._pieces)
        weights = 1 - np.abs(np.arange(1 - self._step, self._step)) / np.float32(self._step)

        def spread(values: Floats) -> Floats:
            return np.asarray(cv2.sepFilter2D(values, -1, weights, weights, borderType=cv2.BORDER_CONSTANT), np.float32)

        total, known = spread(self._known), self._known > 0
        found = []
        for rgb, alpha, depth in self._pieces:
            found_alpha = np.where(known, alpha, spread(alpha) / total)
            reach = spread(depth * alpha) / total
            found_depth = np.divide(reach, found_alpha, out=np.zeros_like(reach), where=found_alpha > 0)
            found_rgb = np.where(known[..., None], rgb, spread(rgb) / total[..., None])
            found.append(Part(found_rgb, found_alpha, np.where(known, depth, found_depth)))
        return self._as_image(found)

    def _as_image(self, pieces: list[Part]) -> FieldImage:
        front, *behind = pieces
        return FieldImage(*front, self._samples, *behind)


def _nothing(shape: tuple[int, ...]) -> Part:
    alpha, depth = np.zeros((2, *shape), np.float32)
    return Part(np.zeros((*shape, 3), np.float32), alpha, depth)
