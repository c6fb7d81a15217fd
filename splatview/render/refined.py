"""A field in more and more of a picture's pixels: a lattice of them first, then those in between, none twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from splatview.camera import Camera
from splatview.render.field_cpu import FieldImage
from splatview.render.parts import Part
from splatview.render.pixels import HOST, Pixels

COARSEST = 8  # pixels between two of the first lattice, at most
Chosen = tuple[slice, slice]  # pixels: rows, columns
BETWEEN = (1, 1), (0, 1), (1, 0)  # of a lattice, in halves of its step: right and down


class Refined:
    """One field, seen from one camera, as far as it was drawn."""

    def __init__(self, camera: Camera, pixels: Pixels = HOST) -> None:
        shape, real = (camera.height, camera.width), pixels.library.float32
        self._camera, self._pixels = camera, pixels
        self._step = 0  # between the pixels of the lattice that is there; 0: none
        self._parts = 0  # of those in between, of a quarter of all each
        self._known = pixels.zeros(shape, dtype=real)
        self._pieces = [self._nothing(shape)]
        self._samples = pixels.zeros(shape, dtype=pixels.library.int32)

    @property
    def share(self) -> float:
        """Of the pixels that were drawn."""
        return (1 + self._parts) / self._step**2 if self._step else 0.0

    def refine(self, share: float, draw: Callable[[Camera, Chosen], FieldImage]) -> None:
        """Draw as many more pixels as `share` of all needs; what was drawn stays if `draw` raises.

        It is given a camera that sees some of the pixels, and which of them.
        """
        while self.share < share:
            step, parts, left, top = self._next(share)
            if left < self._camera.width and top < self._camera.height:
                here = slice(top, None, step), slice(left, None, step)
                image = draw(self._camera.thinned(step, left, top), here)
                while len(self._pieces) < len(image.parts):
                    self._pieces.append(self._nothing(self._known.shape))
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
        weights = (1 - np.abs(np.arange(1 - self._step, self._step)) / self._step).astype(np.float32)
        library, known = self._pixels.library, self._known > 0

        def spread(values: Any) -> Any:
            return self._pixels.spread(values, weights)

        total, found = spread(self._known), []
        for rgb, alpha, depth in self._pieces:
            found_alpha = library.where(known, alpha, spread(alpha) / total)
            found_depth = spread(depth * alpha) / total / library.where(found_alpha > 0, found_alpha, 1)
            found_rgb = library.where(known[..., None], rgb, spread(rgb) / total[..., None])
            found.append(Part(found_rgb, found_alpha, library.where(known, depth, found_depth)))
        return self._as_image(found)

    def _as_image(self, pieces: list[Part]) -> FieldImage:
        front, *behind = pieces
        return FieldImage(*front, self._samples, *behind)

    def _nothing(self, shape: tuple[int, ...]) -> Part:
        zeros, real = self._pixels.zeros, self._pixels.library.float32
        return Part(zeros((*shape, 3), dtype=real), zeros(shape, dtype=real), zeros(shape, dtype=real))
