"""Splats and fields in one picture: drawn apart, by renderers of one backend, and composed in each pixel.

The splats of all layers are one sheet, and each field is one: colour times alpha, alpha, and the depth that is expected of it. In each
pixel the sheets are blended front to back in the order of these depths, the background behind all: near + (1 - alpha of near) far. Depth
is the mean by what each sheet adds to alpha. This is exact where no part of a sheet lies between two of another, or where what is in
front is opaque; of translucent things that pass through each other, the one whose mean is nearer comes first as a whole, pixel by pixel.

What only one of them knows:
    median_depth   of the sheet at which the transmittance falls to 0.5: the splats' own median, where they have one, else its depth
    ids            of the splats, where at least half of their light passes the fields in front of them
    coverage       of the splats, as far as their light passes
    overdraw       of the splats, whatever stands in front
A style is one of splats; a field is drawn as it is, and of the options near, far and background concern it; a field's own background
comes before theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import ArrayLike

from splatview.arrays import Bools, Floats
from splatview.camera import Camera
from splatview.frame import Frame, Interrupt, Interrupted, Masks, Output, Renderer, RenderOptions
from splatview.render.field_cpu import FieldImage
from splatview.render.refined import Refined
from splatview.scene import Layer, Scene

PASSES = 0.5  # of the splats' light, from which on a pixel is theirs
LOOKED_AT = 256  # pixels a side of the picture that tells what fields hide
OF_SPLATS: tuple[Output, ...] = ("median_depth", "ids", "overdraw", "coverage")


class SplatRenderer(Renderer, Protocol):
    """A renderer of splats alone."""

    def render_many(
        self, scene: Scene, cameras: Sequence[Camera], options: RenderOptions = ..., interrupt: Interrupt | None = None
    ) -> list[Frame]: ...


class FieldRenderer(Protocol):
    """Draws one field, over nothing."""

    def render(self, layer: Layer, camera: Camera, options: RenderOptions, interrupt: Interrupt | None) -> FieldImage: ...


@dataclass(frozen=True, eq=False)
class Sheet:
    """What is composed with others."""

    rgb: Floats | None  # [H, W, 3] times alpha; None: nobody asked for it
    alpha: Floats  # [H, W]
    depth: Floats  # [H, W] expected z along the view axis, 0 where alpha is 0
    median: Floats | None = None  # [H, W] where it is known, else 0


@dataclass(frozen=True, eq=False)
class Begun:
    """A view that comes in more and more pixels: what is not drawn again for the next of its pictures."""

    scene: Scene
    camera: Camera
    options: RenderOptions  # as far as fields heed them
    fields: dict[str, Refined]  # by layer
    splats: dict[RenderOptions, Frame]


class CompositeRenderer:
    """Draws scenes. One without a visible field is the splat renderer's alone; `fields` is asked for a renderer once there is one.

    What it drew for a picture with a `RenderOptions.field_share` below 1 is kept, and is part of the next pictures of the same view.
    """

    def __init__(self, splats: SplatRenderer, fields: Callable[[], FieldRenderer]) -> None:
        self.splats = splats
        self.name = splats.name
        self._open_fields = fields
        self._fields: FieldRenderer | None = None
        self._begun: Begun | None = None

    def render(self, scene: Scene, camera: Camera, options: RenderOptions = RenderOptions(), interrupt: Interrupt | None = None) -> Frame:
        """The picture, as `splatview.frame.Renderer` describes it; fields heed an interrupt as their renderer does."""
        begun = self._begun_of(scene, camera, options)
        if not scene.visible_fields:
            return self.splats.render(scene, camera, options, interrupt)
        if scene.background is not None:
            options = replace(options, background=scene.background)
        frame = self._drawn_splats(scene, camera, _asked_of_splats(options), begun, interrupt) if scene.visible_layers else None
        began = time.perf_counter()
        images = self._drawn_fields(scene, camera, options, begun, interrupt)
        drawn = time.perf_counter()
        sheets = [Sheet(image.rgb, image.alpha, image.depth) for image in images]
        composed = _composed(frame, sheets, options, (camera.height, camera.width))
        ended = time.perf_counter()
        timings = {**(frame.timings if frame else {}), "fields": 1e3 * (drawn - began), "compose": 1e3 * (ended - drawn)}
        samples = sum(int(image.samples.sum(dtype=np.int64)) for image in images)
        return Frame(camera, composed, timings, {**(frame.counts if frame else {}), "samples": samples})

    def render_many(
        self, scene: Scene, cameras: Sequence[Camera], options: RenderOptions = RenderOptions(), interrupt: Interrupt | None = None
    ) -> list[Frame]:
        """A picture for each of `cameras`."""
        if not scene.visible_fields:
            return self.splats.render_many(scene, cameras, options, interrupt)
        return [self.render(scene, camera, options, interrupt) for camera in cameras]

    def contributors(
        self,
        scene: Scene,
        camera: Camera,
        region: ArrayLike,
        least: float,
        options: RenderOptions = RenderOptions(),
        interrupt: Interrupt | None = None,
    ) -> Masks:
        """Who is seen in a region, as `splatview.frame.Renderer` describes it: not where less than half of their light passes a field."""
        pixels = camera.region(region)
        if scene.visible_fields and scene.visible_layers and pixels.any():
            pixels = pixels & self._passes(scene, camera, pixels, options, interrupt)
        return self.splats.contributors(scene, camera, pixels, least, options, interrupt)

    def encode_jpeg(self, frame: Frame, quality: int) -> bytes | None:
        """The frame's 8-bit picture as JPEG, where the splat renderer can encode what it drew itself; else None."""
        encode = getattr(self.splats, "encode_jpeg", None)
        return None if encode is None else encode(frame, quality)

    def _passes(self, scene: Scene, camera: Camera, pixels: Bools, options: RenderOptions, interrupt: Interrupt | None) -> Bools:
        """[H, W] where the light of splats passes the fields in front; told from a small picture of the part around `pixels`."""
        rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
        (top, bottom), (left, right) = ((some[0], some[-1] + 1) for some in (rows, columns))
        K = camera.K.copy()
        K[:2, 2] -= left, top
        part = Camera(K, camera.camera_from_world, int(right - left), int(bottom - top))
        scale = min(1.0, LOOKED_AT / max(part.width, part.height))
        small = part.resized(max(1, round(scale * part.width)), max(1, round(scale * part.height)))
        frame = self.splats.render(scene, small, replace(options, outputs=("alpha", "depth")), interrupt)
        fields = [Sheet(None, image.alpha, image.depth) for image in self._drawn_fields(scene, small, options, None, interrupt)]
        light = _lights([Sheet(None, frame.alpha, frame.depth), *fields])[0]
        passes = np.zeros(pixels.shape, np.bool_)
        size = part.width, part.height
        passes[top:bottom, left:right] = cv2.resize((light >= PASSES).view(np.uint8), size, interpolation=cv2.INTER_NEAREST).view(np.bool_)
        return passes

    def _begun_of(self, scene: Scene, camera: Camera, options: RenderOptions) -> Begun | None:
        """What is there of this view; None: it is drawn at once."""
        if self._begun is not None and self._begun.scene is not scene:  # it may hold what nobody else does any more
            self._begun = None
        heeded, begun = _asked_of_fields(options), self._begun
        if begun is not None and begun.camera == camera and begun.options == heeded:
            return begun
        if options.field_share == 1 or not scene.visible_fields:
            return None
        self._begun = Begun(scene, camera, heeded, {name: Refined(camera) for name in scene.visible_fields}, {})
        return self._begun

    def _drawn_splats(
        self, scene: Scene, camera: Camera, options: RenderOptions, begun: Begun | None, interrupt: Interrupt | None
    ) -> Frame:
        if begun is None:
            return self.splats.render(scene, camera, options, interrupt)
        if options not in begun.splats:
            begun.splats[options] = self.splats.render(scene, camera, options, interrupt)
        return begun.splats[options]

    def _drawn_fields(
        self, scene: Scene, camera: Camera, options: RenderOptions, begun: Begun | None, interrupt: Interrupt | None
    ) -> list[FieldImage]:
        if self._fields is None:
            self._fields = self._open_fields()
        fields, images = self._fields, []
        for name, layer in scene.visible_fields.items():

            def draw(camera: Camera, layer: Layer = layer) -> FieldImage:
                if interrupt is not None and interrupt.is_set:
                    raise Interrupted
                return fields.render(layer, camera, options, interrupt)

            if begun is None:
                images.append(draw(camera))
            else:
                begun.fields[name].refine(options.field_share, draw)
                images.append(begun.fields[name].image)
        if interrupt is not None and interrupt.is_set:
            raise Interrupted
        return images


class FromDevice:
    """`field_cuda.FieldCuda` as a `FieldRenderer`: what it draws is brought to the host. An interrupt is not heard while it draws."""

    def __init__(self, fields: Any) -> None:
        self._fields = fields

    def render(self, layer: Layer, camera: Camera, options: RenderOptions, interrupt: Interrupt | None) -> FieldImage:
        drawn = self._fields.render(layer, camera, options.near, options.far, options.field_detail)
        colour, alpha, distance, samples = (image.cpu().numpy() for image in (drawn.rgb, drawn.alpha, drawn.distance, drawn.samples))
        depth = _divided(np.float32(layer.placement.scale) * distance, alpha)
        return FieldImage(layer.field.developed(colour, alpha, layer.exposure), alpha, depth, samples)


def _asked_of_splats(options: RenderOptions) -> RenderOptions:
    """What the splats' sheet is made of, and what only they know."""
    colour: tuple[Output, ...] = ("rgb",) if {"rgb", "rgb8"} & set(options.outputs) else ()
    only = tuple(output for output in OF_SPLATS if output in options.outputs)
    return replace(options, background=(0.0, 0.0, 0.0), outputs=(*colour, "alpha", "depth", *only), field_share=1.0, field_detail=1.0)


def _asked_of_fields(options: RenderOptions) -> RenderOptions:
    return RenderOptions(near=options.near, far=options.far, field_detail=options.field_detail)


def _composed(frame: Frame | None, fields: list[Sheet], options: RenderOptions, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """The images that `options` ask for, of the splats' `frame` (None: there are none) and of `fields`."""
    images, wanted = {} if frame is None else frame.images, set(options.outputs)
    splats = [] if frame is None else [Sheet(images.get("rgb"), frame.alpha, frame.depth, images.get("median_depth"))]
    sheets = [*splats, *fields]
    lights = _lights(sheets)
    weights = [light * sheet.alpha for light, sheet in zip(lights, sheets, strict=True)]
    alpha = np.add.reduce(weights)
    own = lights[0] if splats else np.ones(shape, np.float32)  # of the splats' light, what passes
    found: dict[str, np.ndarray] = {"alpha": alpha}
    if wanted & {"rgb", "rgb8"}:
        found["rgb"] = rgb = (1 - alpha)[..., None] * np.array(options.background, np.float32)
        for light, sheet in zip(lights, sheets, strict=True):
            assert sheet.rgb is not None
            rgb += sheet.rgb if len(sheets) == 1 else light[..., None] * sheet.rgb
        if "rgb8" in wanted:
            found["rgb8"] = (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
    if "depth" in wanted:
        found["depth"] = _divided(np.add.reduce([weight * sheet.depth for weight, sheet in zip(weights, sheets, strict=True)]), alpha)
    if "median_depth" in wanted:
        found["median_depth"] = _median(sheets, lights)
    if "ids" in wanted:
        nobody, here = np.full(shape, -1, np.int32), own >= PASSES
        found |= {name: np.where(here, images[name], nobody) if splats else nobody for name in ("ids", "id_layers")}
    if "overdraw" in wanted:
        found["overdraw"] = images["overdraw"] if splats else np.zeros(shape, np.int32)
    if "coverage" in wanted:
        found["coverage"] = own * images["coverage"] if splats else np.zeros(shape, np.float32)
    kept = wanted | ({"id_layers"} if "ids" in wanted else set())
    return {name: image for name, image in found.items() if name in kept}


def _lights(sheets: Sequence[Sheet]) -> list[Floats]:
    """For each sheet, the share [H, W] of its light that passes those in front of it."""
    lights = []
    for place, sheet in enumerate(sheets):
        light = np.ones_like(sheet.alpha)
        for other_place, other in enumerate(sheets):
            if other_place != place:
                before = other.depth <= sheet.depth if other_place < place else other.depth < sheet.depth
                light *= np.where(before, 1 - other.alpha, np.float32(1))
        lights.append(light)
    return lights


def _median(sheets: Sequence[Sheet], lights: Sequence[Floats]) -> Floats:
    """[H, W] the median of the sheet at which the transmittance falls to 0.5, 0 where it never does."""
    median = np.zeros_like(lights[0])
    for sheet, light in zip(sheets, lights, strict=True):
        here = (light > 0.5) & (light * (1 - sheet.alpha) <= 0.5)
        own = sheet.depth if sheet.median is None else np.where(sheet.median > 0, sheet.median, sheet.depth)
        median = np.where(here, own, median)
    return median


def _divided(sums: Floats, alpha: Floats) -> Floats:
    return np.divide(sums, alpha, out=np.zeros_like(alpha), where=alpha > 0)
