"""A frame made ready for a page: encoded, with a small depth beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

from splatview.arrays import Bytes, Floats
from splatview.camera import Camera
from splatview.frame import Frame
from splatview.outputs.images import alpha_picture, depth_picture, encode_jpeg, encode_png
from splatview.viewer.space import nearest, packed_depth
from splatview.viewer.view import View

DEPTH_SIZE = (160, 90)  # 0.4 ms, where the full size costs 21 ms; the edges of viser's objects are as sharp as that
STILL_QUALITY = 95  # with full colour: no difference is seen, and a fifth of a PNG's bytes and time


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


def pixels_of(frame: Frame, view: View) -> Bytes:
    """[H, W, 3] or [H, W]: what `view` shows of `frame`."""
    if view.shown == "depth":
        return depth_picture(frame.depth, view.colormap)
    return alpha_picture(frame.alpha) if view.shown == "alpha" else frame.rgb8


def encoded(frame: Frame, view: View, page_scale: float, quality: int | None) -> Picture:
    """`frame` for a page with `page_scale` page units per world unit; `quality` None: at rest, nearly without loss."""
    began = perf_counter()
    pixels = pixels_of(frame, view)
    jpeg = encode_jpeg(pixels, STILL_QUALITY, full_colour=True) if quality is None else encode_jpeg(pixels, quality)
    depth = nearest(frame.depth, *DEPTH_SIZE)
    depth_png = encode_png(packed_depth(depth, page_scale), compression=1)
    timings = {**frame.timings, "encode": 1e3 * (perf_counter() - began)}
    return Picture(jpeg, depth_png, frame.camera, depth, timings, frame.counts, quality is None)
