"""Pictures: encoded as JPEG, PNG or WebP, and depth and alpha made visible. All colours are RGB, sRGB-encoded."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Bytes, Floats, Ints
from splatview.camera import Camera

Colormap = Literal["turbo", "viridis", "magma", "gray"]
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
LARGEST = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}  # pixels a side

_COLORMAPS = {"turbo": cv2.COLORMAP_TURBO, "viridis": cv2.COLORMAP_VIRIDIS, "magma": cv2.COLORMAP_MAGMA}


def encode_jpeg(rgb: Bytes, quality: int = 75, *, full_colour: bool = False) -> bytes:
    """`rgb` [H, W, 3] as JPEG; `quality` 1 to 100; `full_colour` keeps every pixel's own colour (4:4:4), else 4:2:0."""
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if full_colour else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    return _encoded(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])


def encode_png(pixels: NDArray, compression: int = 3) -> bytes:
    """`pixels` as PNG, exactly: [H, W] of 8 or 16 bits, or [H, W, 3 or 4] of 8 bits; `compression` 0 (fast) to 9 (small)."""
    return _encoded(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, compression])


def write_image(path: Path, pixels: NDArray) -> None:
    """Write `pixels` in the format that the suffix names; ValueError for one other than .png .jpg .jpeg .webp, or what is too large for it.

    JPEG is written at quality 95 with full colour, WebP without loss.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path.name}: expected a name that ends with {' '.join(SUFFIXES)}")
    height, width = pixels.shape[:2]
    if max(height, width) > LARGEST.get(suffix, height + width):
        raise ValueError(
            f"expected at most {LARGEST[suffix]} pixels a side, which is all that {suffix} holds, got {width} x {height}; .png holds more"
        )
    if suffix == ".png":
        data = encode_png(pixels)
    elif suffix == ".webp":
        data = _encoded(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, 101])  # above 100: lossless
    else:
        data = encode_jpeg(pixels, 95, full_colour=True)
    path.write_bytes(data)


def depth_picture(depth: Floats, colormap: Colormap = "turbo", near: float | None = None, far: float | None = None) -> Bytes:
    """`depth` [H, W] as colours [H, W, 3], near ones warm (gray: bright), black where there is nothing (depth 0).

    `near` and `far` default to the 1st and 99th percentile of what is there. Steps are even in 1 / depth, as eyes see them.
    """
    if colormap not in get_args(Colormap):
        raise ValueError(f"colormap: expected one of {', '.join(get_args(Colormap))}; got {colormap!r}")
    there = depth > 0
    inverse = 1 / np.where(there, depth, 1)
    sample = inverse[there][:: max(1, depth.size // 50_000)]
    low, high = np.quantile(sample, [0.01, 0.99]) if sample.size else (0.0, 1.0)
    near_inverse, far_inverse = 1 / near if near else high, 1 / far if far else low
    level = (inverse - far_inverse) / max(near_inverse - far_inverse, 1e-12)
    grey = (np.clip(level, 0, 1) * 255 + 0.5).astype(np.uint8)
    if colormap == "gray":
        colours = np.repeat(grey[..., None], 3, -1)
    else:
        colours = cv2.cvtColor(cv2.applyColorMap(grey, _COLORMAPS[colormap]), cv2.COLOR_BGR2RGB)
    return np.where(there[..., None], colours, np.uint8(0))


def alpha_picture(alpha: Floats) -> Bytes:
    """`alpha` [H, W] as grey [H, W]: 0 black, 1 white."""
    return (np.clip(alpha, 0, 1) * 255 + 0.5).astype(np.uint8)


def normals_picture(depth: Floats, camera: Camera) -> Bytes:
    """The surface's directions in the world as colours [H, W, 3], 127.5 (n + 1); black where `depth` [H, W] is 0.

    On a plane, 1 / depth is linear in the pixel: its slopes a, b and its value c give the normal K^T (a, b, c - a u - b v)
    in the camera's space.
    """
    there = depth > 0
    inverse = np.where(there, 1 / np.where(there, depth, 1), 0).astype(np.float32)
    weight = cv2.GaussianBlur(there.astype(np.float32), (5, 5), 0)  # captured surfaces are rough: a pixel's own slope is noise
    smooth = cv2.GaussianBlur(inverse, (5, 5), 0) / np.maximum(weight, 1e-6)
    across, down = (cv2.Scharr(smooth, cv2.CV_32F, *axis) / 32 for axis in ((1, 0), (0, 1)))
    (fx, fy), (cx, cy) = camera.K[[0, 1], [0, 1]].astype(np.float32), camera.K[:2, 2].astype(np.float32)
    u, v = np.arange(camera.width, dtype=np.float32) + 0.5, np.arange(camera.height, dtype=np.float32)[:, None] + 0.5
    outward = np.stack([-fx * across, -fy * down, (u - cx) * across + (v - cy) * down - smooth], -1)
    length = np.sqrt(np.einsum("hwc,hwc->hw", outward, outward))[..., None]
    normals = (outward / np.maximum(length, 1e-20)) @ camera.camera_from_world[:3, :3].astype(np.float32)
    return np.where(there[..., None], (127.5 * normals + 128).astype(np.uint8), np.uint8(0))


def overdraw_picture(overdraw: Ints) -> Bytes:
    """How many Gaussians were blended into each pixel [H, W] as a heat map [H, W, 3]: 0 is black, then brighter by doublings, to 1024."""
    level = np.clip(np.log2(np.maximum(overdraw, 1).astype(np.float32)) * (239 / 10) + 16, 0, 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return np.where((overdraw > 0)[..., None], colours, np.uint8(0))


def ids_picture(ids: Ints, layers: Ints) -> Bytes:
    """A colour of its own [H, W, 3] for each Gaussian of each layer and for each field, which has no ids (-1); black where no layer is."""
    mixed = ids.astype(np.uint32) * np.uint32(0x9E3779B1) + (layers + 1).astype(np.uint32) * np.uint32(0x85EBCA77)
    mixed = (mixed ^ mixed >> np.uint32(15)) * np.uint32(0x2C1B3C6D)  # a hash: neighbours by number get colours far apart
    colours = np.stack([mixed >> np.uint32(shift) for shift in (8, 16, 24)], -1).astype(np.uint8) >> 1
    return np.where((layers >= 0)[..., None], colours + np.uint8(96), np.uint8(0))


def _encoded(suffix: str, pixels: NDArray, parameters: list[int]) -> bytes:
    ordered = pixels
    if pixels.ndim == 3:  # OpenCV's order is BGR
        ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    done, data = cv2.imencode(suffix, ordered, parameters)
    if not done:
        raise ValueError(f"{suffix}: could not encode a picture of shape {list(pixels.shape)} and type {pixels.dtype}")
    return data.tobytes()
