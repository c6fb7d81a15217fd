"""Splats and fields in one picture: drawn apart, by renderers of one backend, and composed in each pixel.

In each pixel there are sheets: colour times alpha, alpha, and the depth that is expected of it, which is the mean by what adds to alpha.
They are blended front to back in the order of these depths, the background behind all: near + (1 - alpha of near) far.

The splats of all layers are two sheets, what is nearer than the depth expected of the fields and what is not, and each field is two,
divided at the depth expected of the splats. So a splat between the edge of a field and more of that field behind it is seen between them,
and so is a field between the edge of some splats and others behind. A pixel is composed as its light would be where one of the two, the
splats or the fields, lies together there; of translucent things that pass through each other, and of two fields, the parts whose means are
nearer come first as a whole. Drafts (`RenderOptions.field_detail` below 1) are not divided, and a splat renderer that cannot divide (on a
GPU) has one sheet.

What only one of them knows:
    median_depth   of the sheet at which the transmittance falls to 0.5: the splats' own median, where they have one, else its depth
    ids            of the splats, where at least half of their light passes the fields in front
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
from splatview.render.layering import PASSES, composed_of, divided_by, lights_of
from splatview.render.parts import Part
from splatview.render.refined import Pixels, Refined
from splatview.scene import Layer, Scene

LOOKED_AT = 256  # pixels a side of the picture that tells what fields hide
OF_SPLATS: tuple[Output, ...] = ("median_depth", "ids", "overdraw", "coverage")


class SplatRenderer(Renderer, Protocol):
    """A renderer of splats alone."""

    def render_many(
        self, scene: Scene, cameras: Sequence[Camera], options: RenderOptions = ..., interrupt: Interrupt | None = None
    ) -> list[Frame]: ...


class FieldRenderer(Protocol):
    """Draws one field, over nothing."""

    def render(
        self, layer: Layer, camera: Camera, options: RenderOptions, interrupt: Interrupt | None, *, divide: Floats | None = None
    ) -> FieldImage: ...


@dataclass(frozen=True, eq=False)
class Begun:
    """A view that comes in more and more pixels: what is not drawn again for the next of its pictures."""

    scene: Scene
    camera: Camera
    options: RenderOptions  # as far as fields, and where they are divided, heed them
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
        divided = self._divided(options)
        asked = _asked_of_splats(options, colour=divided is None)
        frame = self._drawn_splats(scene, camera, asked, begun, interrupt) if scene.visible_layers else None
        began = time.perf_counter()
        place = None if frame is None or options.field_detail < 1 else _place(frame.alpha, frame.depth)
        images = self._drawn_fields(scene, camera, options, begun, interrupt, place)
        drawn = time.perf_counter()
        fields = [part for image in images for part in image.parts]
        splats = []
        if frame is not None:
            whole = Part(frame.images.get("rgb", np.empty(0, np.float32)), frame.alpha, frame.depth)
            splats = [whole] if divided is None else list(divided(scene, camera, options, _reach(fields), interrupt))
        parted = time.perf_counter()
        composed = composed_of(frame, splats, fields, options, (camera.height, camera.width))
        ended = time.perf_counter()
        timings = dict(frame.timings) if frame else {}
        timings |= {"fields": 1e3 * (drawn - began), "divide": 1e3 * (parted - drawn), "compose": 1e3 * (ended - parted)}
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
        place = _place(frame.alpha, frame.depth)
        fields = [part for image in self._drawn_fields(scene, small, options, None, interrupt, place) for part in image.parts]
        light = lights_of([Part(np.empty(0, np.float32), frame.alpha, frame.depth), *fields])[0]
        passes = np.zeros(pixels.shape, np.bool_)
        size = part.width, part.height
        passes[top:bottom, left:right] = cv2.resize((light >= PASSES).view(np.uint8), size, interpolation=cv2.INTER_NEAREST).view(np.bool_)
        return passes

    def _begun_of(self, scene: Scene, camera: Camera, options: RenderOptions) -> Begun | None:
        """What is there of this view; None: it is drawn at once."""
        if self._begun is not None and self._begun.scene is not scene:  # it may hold what nobody else does any more
            self._begun = None
        heeded, begun = _asked_of_fields(scene, options), self._begun
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

    def _divided(self, options: RenderOptions) -> Callable[..., tuple[Part, Part]] | None:
        return getattr(self.splats, "render_divided", None) if options.field_detail == 1 else None

    def _drawn_fields(
        self,
        scene: Scene,
        camera: Camera,
        options: RenderOptions,
        begun: Begun | None,
        interrupt: Interrupt | None,
        divide: Floats | None,
    ) -> list[FieldImage]:
        """Every field, its rays divided at z `divide` [H, W]."""
        if self._fields is None:
            self._fields = self._open_fields()
        fields, images = self._fields, []
        for name, layer in scene.visible_fields.items():

            def draw(camera: Camera, pixels: Pixels = np.s_[:, :], layer: Layer = layer) -> FieldImage:
                if interrupt is not None and interrupt.is_set:
                    raise Interrupted
                return fields.render(layer, camera, options, interrupt, divide=None if divide is None else divide[pixels])

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

    def render(
        self, layer: Layer, camera: Camera, options: RenderOptions, interrupt: Interrupt | None, *, divide: Floats | None = None
    ) -> FieldImage:
        drawn = self._fields.render(layer, camera, options.near, options.far, options.field_detail)
        colour, alpha, distance, samples = (image.cpu().numpy() for image in (drawn.rgb, drawn.alpha, drawn.distance, drawn.samples))
        depth = divided_by(np.float32(layer.placement.scale) * distance, alpha)
        return FieldImage(layer.field.developed(colour, alpha, layer.exposure), alpha, depth, samples)


def _asked_of_splats(options: RenderOptions, colour: bool) -> RenderOptions:
    """Where the splats are, what only they know, and their colour if it is wanted of them as a whole."""
    shown: tuple[Output, ...] = ("rgb",) if colour and {"rgb", "rgb8"} & set(options.outputs) else ()
    only = tuple(output for output in OF_SPLATS if output in options.outputs)
    return replace(options, background=(0.0, 0.0, 0.0), outputs=(*shown, "alpha", "depth", *only), field_share=1.0, field_detail=1.0)


def _reach(fields: Sequence[Part]) -> Floats:
    """[H, W] where fields are expected."""
    lights = lights_of(fields)
    weights = [light * part.alpha for light, part in zip(lights, fields, strict=True)]
    alpha = np.add.reduce(weights)
    return _place(alpha, divided_by(np.add.reduce([weight * part.depth for weight, part in zip(weights, fields, strict=True)]), alpha))


def _place(alpha: Floats, depth: Floats) -> Floats:
    """[H, W] where it is expected, beyond everything where it is not."""
    return np.where(alpha > 0, depth, np.float32(np.inf))


def _asked_of_fields(scene: Scene, options: RenderOptions) -> RenderOptions:
    """What fields heed, and what the splats' place depends on."""
    if scene.visible_layers:
        return replace(options, background=(0.0, 0.0, 0.0), outputs=(), tinted=Masks(), tint=None, sh_degree=None, field_share=1.0)
    return RenderOptions(near=options.near, far=options.far, field_detail=options.field_detail)
