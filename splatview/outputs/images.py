"""Pictures: encoded as JPEG, PNG or WebP, and depth and alpha made visible. All colours are RGB, sRGB-encoded."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Bytes, Floats

Colormap = Literal["turbo", "viridis", "magma", "gray"]
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

_COLORMAPS = {"turbo": cv2.COLORMAP_TURBO, "viridis": cv2.COLORMAP_VIRIDIS, "magma": cv2.COLORMAP_MAGMA}


def encode_jpeg(rgb: Bytes, quality: int = 75, *, full_colour: bool = False) -> bytes:
    """`rgb` [H, W, 3] as JPEG; `quality` 1 to 100; `full_colour` keeps every pixel's own colour (4:4:4), else 4:2:0."""
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if full_colour else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    return _encoded(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])


def encode_png(pixels: NDArray, compression: int = 3) -> bytes:
    """`pixels` as PNG, exactly: [H, W] of 8 or 16 bits, or [H, W, 3 or 4] of 8 bits; `compression` 0 (fast) to 9 (small)."""
    return _encoded(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, compression])


def write_image(path: Path, pixels: NDArray) -> None:
    """Write `pixels` in the format that the suffix names; ValueError for a suffix other than .png .jpg .jpeg .webp.

    JPEG is written at quality 95 with full colour, WebP without loss.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path.name}: expected a name that ends with {' '.join(SUFFIXES)}")
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


def _encoded(suffix: str, pixels: NDArray, parameters: list[int]) -> bytes:
    ordered = pixels
    if pixels.ndim == 3:  # OpenCV's order is BGR
        ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    done, data = cv2.imencode(suffix, ordered, parameters)
    if not done:
        raise ValueError(f"{suffix}: could not encode a picture of shape {list(pixels.shape)} and type {pixels.dtype}")
    return data.tobytes()
