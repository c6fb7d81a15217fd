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

All this is written once, for numpy's arrays and for the tensors of a device (`composite_cuda`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import ArrayLike

from splatview.arrays import Bools
from splatview.camera import Camera
from splatview.frame import Frame, Interrupt, Interrupted, Masks, Output, Renderer, RenderOptions
from splatview.render.begun import Begun, Clock, Drawn
from splatview.render.field_cpu import FieldImage
from splatview.render.pixels import HOST, Pixels
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
    """What is composed with others: arrays, or tensors of one device."""

    rgb: Any  # [H, W, 3] times alpha; None: nobody asked for it
    alpha: Any  # [H, W]
    depth: Any  # [H, W] expected z along the view axis, 0 where alpha is 0
    median: Any = None  # [H, W] where it is known, else 0


class CompositeRenderer:
    """Draws scenes. One without a visible field is the splat renderer's alone; `fields` is asked for a renderer once there is one.

    What it drew for a picture with a `RenderOptions.field_share` below 1 is kept, and is part of the next pictures of the same view.
    """

    pixels: Pixels = HOST

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
        watch, splats = self._watch(), None
        if scene.visible_layers:
            splats = self._drawn_splats(scene, camera, _asked_of_splats(options), begun, interrupt, watch)
        images = self._drawn_fields(scene, camera, options, begun, interrupt)
        watch.lap("fields")
        sheets = [Sheet(image.rgb, image.alpha, image.depth) for image in images]
        composed = _composed(self.pixels.library, splats, sheets, options)
        watch.lap("compose")
        samples = sum(image.samples.sum(dtype=self.pixels.library.int64) for image in images)
        return self._delivered(camera, composed, {**(splats.counts if splats else {}), "samples": samples}, watch)

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

    # What depends on where pictures are drawn.

    def _watch(self) -> Any:
        return Clock()

    def _draw(self, scene: Scene, camera: Camera, options: RenderOptions, interrupt: Interrupt | None, watch: Any) -> Drawn:
        """The splats alone."""
        frame = self.splats.render(scene, camera, options, interrupt)
        watch.took(frame.timings)
        return Drawn(frame.images, frame.counts)

    def _delivered(self, camera: Camera, images: Mapping[str, Any], counts: Mapping[str, Any], watch: Any) -> Frame:
        """The composed `images` as a frame."""
        return Frame(camera, images, watch.timings, {name: int(count) for name, count in counts.items()})

    # What does not depend on it.

    def _passes(self, scene: Scene, camera: Camera, pixels: Bools, options: RenderOptions, interrupt: Interrupt | None) -> Bools:
        """[H, W] where the light of splats passes the fields in front; told from a small picture of the part around `pixels`."""
        rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
        (top, bottom), (left, right) = ((some[0], some[-1] + 1) for some in (rows, columns))
        K = camera.K.copy()
        K[:2, 2] -= left, top
        part = Camera(K, camera.camera_from_world, int(right - left), int(bottom - top))
        scale = min(1.0, LOOKED_AT / max(part.width, part.height))
        small = part.resized(max(1, round(scale * part.width)), max(1, round(scale * part.height)))
        splats = self._draw(scene, small, replace(options, outputs=("alpha", "depth")), interrupt, self._watch()).images
        fields = [Sheet(None, image.alpha, image.depth) for image in self._drawn_fields(scene, small, options, None, interrupt)]
        light = self.pixels.host(_lights(self.pixels.library, [Sheet(None, splats["alpha"], splats["depth"]), *fields])[0])
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
        self._begun = Begun.of(scene, camera, heeded, self.pixels)
        return self._begun

    def _drawn_splats(
        self, scene: Scene, camera: Camera, options: RenderOptions, begun: Begun | None, interrupt: Interrupt | None, watch: Any
    ) -> Drawn:
        if begun is None:
            return self._draw(scene, camera, options, interrupt, watch)
        if options not in begun.splats:
            begun.splats[options] = self._draw(scene, camera, options, interrupt, watch)
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


def _asked_of_splats(options: RenderOptions) -> RenderOptions:
    """What the splats' sheet is made of, and what only they know."""
    colour: tuple[Output, ...] = ("rgb",) if {"rgb", "rgb8"} & set(options.outputs) else ()
    only = tuple(output for output in OF_SPLATS if output in options.outputs)
    return replace(options, background=(0.0, 0.0, 0.0), outputs=(*colour, "alpha", "depth", *only), field_share=1.0, field_detail=1.0)


def _asked_of_fields(options: RenderOptions) -> RenderOptions:
    return RenderOptions(near=options.near, far=options.far, field_detail=options.field_detail)


def _composed(library: Any, splats: Drawn | None, fields: list[Sheet], options: RenderOptions) -> dict[str, Any]:
    """The images that `options` ask for, of `splats` (None: there are none) and of `fields`: all arrays of one `library`."""
    images, wanted = {} if splats is None else splats.images, set(options.outputs)
    first = [] if splats is None else [Sheet(images.get("rgb"), images["alpha"], images["depth"], images.get("median_depth"))]
    sheets = [*first, *fields]
    lights = _lights(library, sheets)
    weights = [light * sheet.alpha for light, sheet in zip(lights, sheets, strict=True)]
    alpha: Any = sum(weights)
    own = lights[0]  # of the splats' light, what passes
    found: dict[str, Any] = {"alpha": alpha}
    if wanted & {"rgb", "rgb8"}:
        rgb: Any = sum(sheet.rgb if len(sheets) == 1 else light[..., None] * sheet.rgb for light, sheet in zip(lights, sheets, strict=True))
        for channel, value in enumerate(options.background):
            rgb[..., channel] += (1 - alpha) * value
        found["rgb"] = rgb
        if "rgb8" in wanted:
            found["rgb8"] = library.asarray(rgb.clip(0, 1) * 255 + 0.5, dtype=library.uint8)
    if "depth" in wanted:
        found["depth"] = divided(library, sum(weight * sheet.depth for weight, sheet in zip(weights, sheets, strict=True)), alpha)
    if "median_depth" in wanted:
        found["median_depth"] = _median(library, sheets, lights)
    nothing = library.zeros_like(alpha, dtype=library.int32)
    if "ids" in wanted:
        found |= {name: library.where(own >= PASSES, images[name], nothing - 1) if splats else nothing - 1 for name in ("ids", "id_layers")}
    if "overdraw" in wanted:
        found["overdraw"] = images["overdraw"] if splats else nothing
    if "coverage" in wanted:
        found["coverage"] = own * images["coverage"] if splats else library.zeros_like(alpha)
    kept = wanted | ({"id_layers"} if "ids" in wanted else set())
    return {name: image for name, image in found.items() if name in kept}


def _lights(library: Any, sheets: Sequence[Sheet]) -> list[Any]:
    """For each sheet, the share [H, W] of its light that passes those in front of it."""
    lights = []
    for place, sheet in enumerate(sheets):
        light = library.ones_like(sheet.alpha)
        for other_place, other in enumerate(sheets):
            if other_place != place:
                before = other.depth <= sheet.depth if other_place < place else other.depth < sheet.depth
                light *= 1 - before * other.alpha
        lights.append(light)
    return lights


def _median(library: Any, sheets: Sequence[Sheet], lights: Sequence[Any]) -> Any:
    """[H, W] the median of the sheet at which the transmittance falls to 0.5, 0 where it never does."""
    median = library.zeros_like(lights[0])
    for sheet, light in zip(sheets, lights, strict=True):
        here = (light > 0.5) & (light * (1 - sheet.alpha) <= 0.5)
        own = sheet.depth if sheet.median is None else library.where(sheet.median > 0, sheet.median, sheet.depth)
        median = library.where(here, own, median)
    return median


def divided(library: Any, sums: Any, alpha: Any) -> Any:
    """`sums` / `alpha`, 0 where both are."""
    return sums / library.where(alpha > 0, alpha, 1)
