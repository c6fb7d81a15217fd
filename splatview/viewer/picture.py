"""A frame made ready for a page: encoded, with a small depth beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol

import cv2
import numpy as np

from splatview.arrays import Bytes, Floats
from splatview.camera import Camera
from splatview.frame import Frame, Interrupt, RenderOptions
from splatview.outputs.images import (
    alpha_picture,
    depth_picture,
    encode_jpeg,
    encode_png,
    ids_picture,
    normals_picture,
    overdraw_picture,
)
from splatview.scene import Scene
from splatview.viewer.space import nearest, packed_depth
from splatview.viewer.view import STYLES, Request, Shown, View

DEPTH_SIZE = (160, 90)  # 0.4 ms, where the full size costs 21 ms; the edges of viser's objects are as sharp as that
OUTLINE = (255, 176, 0)
STILL_QUALITY = 95  # with full colour: no difference is seen, and a fifth of a PNG's bytes and time

Encoder = Callable[[Frame, int], bytes | None]  # a frame's rgb8 as JPEG of a quality; None: it cannot
Styled = Callable[[Frame], Bytes]


@dataclass(frozen=True)
class Saved:
    """What a picture does without, so that it comes in time."""

    limit: int | None = None  # Gaussians per tile that the overdraw guard lets through; None: all
    detail: float = 1.0  # of fields
    share: float = 1.0  # of the pixels for which fields are asked

    def on(self, options: RenderOptions) -> RenderOptions:
        return replace(options, overdraw_limit=self.limit, field_detail=self.detail, field_share=self.share)


@dataclass(frozen=True, eq=False)
class Picture:
    """What goes to a page, and what the server remembers of it."""

    jpeg: bytes
    depth_png: bytes
    camera: Camera  # as drawn
    depth: Floats  # [H, W] world units, small
    timings: Mapping[str, float]  # milliseconds per stage, encoding included
    counts: Mapping[str, int]
    still: bool  # of a view at rest
    saved: Saved = Saved()


class Draws(Protocol):
    """What frames come from."""

    def render(self, scene: Scene, camera: Camera, options: RenderOptions, interrupt: Interrupt | None) -> Frame: ...


class Recent:
    """A renderer that has the frames of its last view at hand."""

    def __init__(self, renderer: Draws) -> None:
        self._renderer = renderer
        self._view: tuple[Scene, Camera] | None = None
        self._frames: dict[RenderOptions, Frame] = {}

    def render(self, scene: Scene, camera: Camera, options: RenderOptions, interrupt: Interrupt | None) -> Frame:
        """The picture, drawn if it is not there."""
        if self._view is None or self._view[0] is not scene or self._view[1] != camera:
            self._view, self._frames = (scene, camera), {}
        if options not in self._frames:
            self._frames = {options: self._renderer.render(scene, camera, options, interrupt), **dict(list(self._frames.items())[:1])}
        return self._frames[options]


def draw(
    renderer: Draws,
    request: Request,
    camera: Camera,
    interrupt: Interrupt | None = None,
    saved: Saved = Saved(),
    styled: Styled | None = None,
) -> tuple[Frame, Bytes]:
    """The frame of `request` from `camera`, and what its view shows of it: [H, W, 3], or [H, W] of grey. `styled`: its style."""
    view, styles_ms = request.view, 0.0

    def shown(frame: Frame, what: Shown) -> Bytes:
        nonlocal styles_ms
        began = perf_counter()
        pixels = styled(frame) if what == "style" and styled is not None else _plain(frame, what, view)
        styles_ms += 1e3 * (perf_counter() - began) if what == "style" else 0.0
        return outlined(pixels, frame.coverage) if "coverage" in frame.images and view.selection == "outline" else pixels

    if view.beside is None:
        frame = renderer.render(request.scene, camera, saved.on(request.options(view.shown)), interrupt)
        pixels, timings = shown(frame, view.shown), frame.timings
    else:
        sides = view.shown, view.beside
        alike = STYLES.get(sides[0]) == STYLES.get(sides[1])  # then one frame serves both
        asked = [request.options(*sides)] if alike else [request.options(side) for side in sides]
        frames = [renderer.render(request.scene, camera, saved.on(options), interrupt) for options in asked]
        frame = frames[0]
        left, right = (coloured(shown(one, side)) for one, side in zip((frames[0], frames[-1]), sides, strict=True))
        cut = round(view.split * camera.width)
        pixels = np.concatenate([left[:, :cut], right[:, cut:]], axis=1)
        stages = dict.fromkeys(stage for one in frames for stage in one.timings)  # one whose splats were there already has none of theirs
        timings = {stage: sum(one.timings.get(stage, 0.0) for one in frames) for stage in stages}
    if view.styles:
        timings = {**timings, "style": styles_ms}
    return frame if timings is frame.timings else replace(frame, timings=timings), pixels


def _plain(frame: Frame, shown: Shown, view: View) -> Bytes:
    if shown == "depth":
        return depth_picture(frame.depth, view.colormap)
    if shown == "alpha":
        return alpha_picture(frame.alpha)
    if shown == "normals":
        return normals_picture(frame.depth, frame.camera)
    if shown == "overdraw":
        return overdraw_picture(frame.overdraw)
    return ids_picture(frame.ids, frame.id_layers) if shown == "ids" else frame.rgb8


def outlined(pixels: Bytes, coverage: Floats) -> Bytes:
    """`pixels` [H, W] or [H, W, 3] with a line of two pixels along the edge of where `coverage` [H, W] is over a half."""
    edge = cv2.morphologyEx((coverage > 0.5).view(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    result = coloured(pixels).copy()
    result[edge > 0] = OUTLINE
    return result


def coloured(pixels: Bytes) -> Bytes:
    """`pixels` [H, W] or [H, W, 3] as [H, W, 3]."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, -1)


def encoded(
    frame: Frame, pixels: Bytes, page_scale: float, quality: int | None, saved: Saved = Saved(), encoder: Encoder | None = None
) -> Picture:
    """`pixels` drawn of `frame` for a page with `page_scale` page units per world unit; `quality` None: at rest, nearly without loss.

    `encoder`: the renderer's own, for frames that it still holds on its device.
    """
    began, jpeg = perf_counter(), None
    if encoder is not None and pixels is frame.images.get("rgb8"):
        jpeg = encoder(frame, STILL_QUALITY if quality is None else quality)
    if jpeg is None:
        jpeg = encode_jpeg(pixels, STILL_QUALITY, full_colour=True) if quality is None else encode_jpeg(pixels, quality)
    depth = nearest(frame.depth, *DEPTH_SIZE)
    depth_png = encode_png(packed_depth(depth, page_scale), compression=1)
    timings = {**frame.timings, "encode": 1e3 * (perf_counter() - began)}
    return Picture(jpeg, depth_png, frame.camera, depth, timings, frame.counts, quality is None, saved)
