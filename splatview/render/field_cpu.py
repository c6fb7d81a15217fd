"""Hash-grid fields on the CPU: drawn by the native ray marcher."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from splatview.arrays import Floats, Ints
from splatview.camera import Camera
from splatview.frame import Interrupt, Interrupted, RenderOptions
from splatview.hashgrid import last_transmittance
from splatview.native import field_workers
from splatview.render.parts import Part
from splatview.scene import Layer
from splatview.volumes import packed


class FieldImage(NamedTuple):
    """What is seen of one field, over nothing."""

    rgb: Floats  # [H, W, 3] sRGB times alpha
    alpha: Floats  # [H, W]
    depth: Floats  # [H, W] expected z along the view axis, in the world, 0 where alpha is 0
    samples: Ints  # [H, W] how often the field was asked
    behind: Part | None = None  # of rays that are divided, what lies behind; the others are what lies before

    @property
    def parts(self) -> list[Part]:
        """The nearest first."""
        return [Part(self.rgb, self.alpha, self.depth), *([] if self.behind is None else [self.behind])]


class FieldCpu:
    """Draws fields on all cores. `SPLATVIEW_SIMD` forces avx512, avx2 or portable, `SPLATVIEW_THREADS` the number of threads."""

    def __init__(self) -> None:
        self._native = field_workers()
        self.name = f"cpu {self._native.simd} x{self._native.threads}"

    def render(
        self,
        layer: Layer,
        camera: Camera,
        options: RenderOptions = RenderOptions(),
        interrupt: Interrupt | None = None,
        *,
        divide: Floats | None = None,
        rectangle: tuple[int, int, int, int] | None = None,
    ) -> FieldImage:
        """The picture of a layer that is a field; Interrupted if `interrupt` was set before it was finished.

        Of `options`, near, far and field_detail are heeded. `divide` [H, W]: z along the view axis at which each ray is divided.
        `rectangle`: left, top, width and height of the part of the picture that is wanted, which is all there is in it (and in `divide`).
        """
        field, placement, into = layer.field, layer.placement, layer.placement.inverse()
        rotation, scale = into.rotation @ camera.camera_from_world[:3, :3].T, np.float32(placement.scale)
        drawn = self._native.draw(
            field.prepared,
            into.apply(camera.position),
            np.ascontiguousarray(rotation @ np.linalg.inv(camera.K)),
            list(rectangle or (0, 0, camera.width, camera.height)),
            options.near / placement.scale,
            options.far / placement.scale,
            layer.bounds,
            packed(layer.cuts),
            options.field_detail,
            last_transmittance(options.field_detail),
            None if divide is None else np.ascontiguousarray(divide / scale),
            interrupt.flag if interrupt else None,
        )
        if drawn is None:
            raise Interrupted
        *sums, samples = drawn
        front, *behind = (self._part(layer, *part) for part in zip(*sums, strict=True))
        return FieldImage(*front, samples, *(part.alone(front.alpha) for part in behind))

    @staticmethod
    def _part(layer: Layer, colour: Floats, alpha: Floats, distance: Floats) -> Part:
        depth = np.divide(np.float32(layer.placement.scale) * distance, alpha, out=np.zeros_like(alpha), where=alpha > 0)
        return Part(layer.field.developed(colour, alpha, layer.exposure), alpha, depth)
