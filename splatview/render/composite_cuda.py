"""Splats and fields in one picture on a GPU, composed where they were drawn: what was asked for comes to the host, at the end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from splatview.arrays import Floats
from splatview.camera import Camera
from splatview.frame import Frame, Interrupt, RenderOptions
from splatview.render.begun import Drawn
from splatview.render.composite import CompositeRenderer
from splatview.render.field_cpu import FieldImage
from splatview.render.field_cuda import FieldCuda
from splatview.render.layering import divided
from splatview.render.parts import Part
from splatview.render.pixels import Pixels
from splatview.render.splats_cuda import CudaRenderer, Stopwatch
from splatview.scene import Layer, Scene


class CompositeCuda(CompositeRenderer):
    """Draws scenes on a GPU. Its frames' 8-bit pictures stay there, too, so that `encode_jpeg` has them."""

    splats: CudaRenderer

    def __init__(self, splats: CudaRenderer, fields: Callable[[], FieldCuda]) -> None:
        super().__init__(splats, lambda: OnDevice(fields()))
        zeros = functools.partial(torch.zeros, device=splats.device)
        self.pixels = Pixels(torch, zeros, spread, lambda image: image.cpu().numpy())

    def _watch(self) -> Stopwatch:
        return Stopwatch(self.splats.device)

    def _draw(self, scene: Scene, camera: Camera, options: RenderOptions, interrupt: Interrupt | None, watch: Stopwatch) -> Drawn:
        images, counts = self.splats.drawn(scene, [camera], options, interrupt, watch)
        return Drawn({name: image[0] for name, image in images.items()}, {name: count[0] for name, count in counts.items()})

    def _delivered(self, camera: Camera, images: Mapping[str, Any], counts: Mapping[str, Any], watch: Stopwatch) -> Frame:
        images, counts = ({name: values[None] for name, values in many.items()} for many in (images, counts))
        return self.splats.delivered([camera], images, counts, watch)[0]


class OnDevice:
    """`FieldCuda` as a `composite.FieldRenderer` whose images are tensors."""

    def __init__(self, fields: FieldCuda) -> None:
        self._fields = fields

    def render(
        self, layer: Layer, camera: Camera, options: RenderOptions, interrupt: Interrupt | None, *, divide: Any = None
    ) -> FieldImage:
        drawn: Any = self._fields.render(layer, camera, options.near, options.far, options.field_detail, interrupt, divide)
        front, *behind = (self._part(layer, part) for part in (drawn, drawn.behind) if part is not None)
        return FieldImage(*front, drawn.samples, *behind)

    @staticmethod
    def _part(layer: Layer, drawn: Any) -> Part:
        depth = divided(torch, layer.placement.scale * drawn.distance, drawn.alpha)
        return Part(layer.field.developed(drawn.rgb, drawn.alpha, layer.exposure, torch), drawn.alpha, depth)


def spread(values: Tensor, weights: Floats) -> Tensor:
    """As `Pixels.spread`."""
    along = torch.from_numpy(weights).to(values.device, non_blocking=True)
    for axis in (0, 1):
        edge = torch.zeros_like(values.narrow(axis, 0, 1)).repeat_interleave(len(weights) // 2, axis)
        values = torch.cat([edge, values, edge], axis).unfold(axis, len(weights), 1) @ along
    return values
