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
    ids            of the splats, where they are more of the pixel than any of the fields
    coverage       of the splats, as far as their light passes
    overdraw       of the splats, whatever stands in front
Whose layer is most of a pixel, `id_layers` tells of fields, too: all splats together count as one, and are then told apart by their ids.
A style is one of splats; a field is drawn as it is, and of the options near, far and background concern it; a field's own background
comes before theirs.

All this is written once, for numpy's arrays and for the tensors of a device (`composite_cuda`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import ArrayLike

from splatview.arrays import Bools
from splatview.camera import Camera
from splatview.frame import Frame, Interrupt, Interrupted, Masks, Output, Renderer, RenderOptions
from splatview.render.begun import Begun, Clock, Drawn
from splatview.render.field_cpu import FieldImage
from splatview.render.layering import composed_of, lights_of, place_of, reach_of
from splatview.render.parts import Part
from splatview.render.pixels import HOST, Pixels
from splatview.render.refined import Chosen
from splatview.scene import Layer, Scene

LOOKED_AT = 256  # pixels a side of the picture that tells what fields hide
PASSES = 0.5  # of the splats' light, from which on they are seen
OF_SPLATS: tuple[Output, ...] = ("median_depth", "ids", "overdraw", "coverage")


class SplatRenderer(Renderer, Protocol):
    """A renderer of splats alone."""

    def render_many(
        self, scene: Scene, cameras: Sequence[Camera], options: RenderOptions = ..., interrupt: Interrupt | None = None
    ) -> list[Frame]: ...


class FieldRenderer(Protocol):
    """Draws one field, over nothing."""

    def render(
        self, layer: Layer, camera: Camera, options: RenderOptions, interrupt: Interrupt | None, *, divide: Any = None
    ) -> FieldImage: ...


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
        watch, library, drawn, place = self._watch(), self.pixels.library, None, None
        divide = self._divide(options)
        if scene.visible_layers:
            drawn = self._drawn_splats(scene, camera, _asked_of_splats(options, colour=divide is None), begun, interrupt, watch)
            if options.field_detail == 1:
                place = place_of(library, drawn.images["alpha"], drawn.images["depth"])
        images = self._drawn_fields(scene, camera, options, begun, interrupt, place)
        fields = {place: image.parts for place, image in zip(_places(scene), images, strict=True)}
        watch.lap("fields")
        splats: list[Part] = []
        if drawn is not None and divide is not None:
            splats = list(divide(scene, camera, options, reach_of(library, [part for image in images for part in image.parts]), interrupt))
            watch.lap("divide")
        elif drawn is not None:
            splats = [Part(drawn.images.get("rgb"), drawn.images["alpha"], drawn.images["depth"])]
        composed = composed_of(library, drawn, splats, fields, options)
        watch.lap("compose")
        samples = sum(image.samples.sum(dtype=library.int64) for image in images)
        return self._delivered(camera, composed, {**(drawn.counts if drawn else {}), "samples": samples}, watch)

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
        place = place_of(self.pixels.library, splats["alpha"], splats["depth"])
        fields = [part for image in self._drawn_fields(scene, small, options, None, interrupt, place) for part in image.parts]
        light = self.pixels.host(lights_of(self.pixels.library, [Part(None, splats["alpha"], splats["depth"]), *fields])[0])
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

    def _divide(self, options: RenderOptions) -> Callable[..., tuple[Part, Part]] | None:
        """What divides splats; None: they stay whole."""
        return getattr(self.splats, "render_divided", None) if options.field_detail == 1 else None

    def _drawn_fields(
        self, scene: Scene, camera: Camera, options: RenderOptions, begun: Begun | None, interrupt: Interrupt | None, divide: Any
    ) -> list[FieldImage]:
        """Every field, its rays divided at z `divide` [H, W]; None: they are not."""
        if self._fields is None:
            self._fields = self._open_fields()
        fields, images = self._fields, []
        for name, layer in scene.visible_fields.items():

            def draw(camera: Camera, pixels: Chosen = np.s_[:, :], layer: Layer = layer) -> FieldImage:
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


def _places(scene: Scene) -> list[int]:
    """Of the visible fields, in the list of layers."""
    return [place for place, name in enumerate(scene.layers) if name in scene.visible_fields]


def _asked_of_splats(options: RenderOptions, colour: bool) -> RenderOptions:
    """Where the splats are, what only they know, and their colour if it is wanted of them as a whole."""
    shown: tuple[Output, ...] = ("rgb",) if colour and {"rgb", "rgb8"} & set(options.outputs) else ()
    only = tuple(output for output in OF_SPLATS if output in options.outputs)
    return replace(options, background=(0.0, 0.0, 0.0), outputs=(*shown, "alpha", "depth", *only), field_share=1.0, field_detail=1.0)


def _asked_of_fields(scene: Scene, options: RenderOptions) -> RenderOptions:
    """What fields heed, and what the splats' place depends on."""
    if scene.visible_layers:
        return replace(options, background=(0.0, 0.0, 0.0), outputs=(), tinted=Masks(), tint=None, sh_degree=None, field_share=1.0)
    return RenderOptions(near=options.near, far=options.far, field_detail=options.field_detail)
