"""The pictures of a SOG: lossless WebP <-> texels, with the size known before anything is decoded."""

from __future__ import annotations

import io
import math

import numpy as np

from splatview.arrays import Bytes
from splatview.formats.report import Report

LARGEST = 16383  # texels a side of a WebP
_HEADER = 30  # bytes that tell the size


def decode(data: bytes, name: str, least: int, most: int, report: Report) -> Bytes:
    """The texels [H, W, 4] (rgba) of a WebP picture with `least` to `most` of them; ValueError if it has fewer or more or is damaged."""
    from PIL.Image import DecompressionBombError
    from PIL.WebPImagePlugin import WebPImageFile  # opened directly: Image.open would warn of large pictures

    width, height = size(data, name)
    if not least <= width * height <= most:
        raise ValueError(f"sog: expected {least:,} to {most:,} texels in {name!r}, found {width:,} x {height:,}")
    if data[12:16] == b"VP8 ":
        report.note(f"sog: {name!r} is stored with losses, so its numbers are not what was meant")
    try:
        with WebPImageFile(io.BytesIO(data)) as picture:
            texels = np.asarray(picture)
    except (OSError, EOFError, SyntaxError, ValueError, RuntimeError, MemoryError, DecompressionBombError) as error:
        raise ValueError(f"sog: the picture {name!r} is damaged ({error})") from None
    if texels.shape not in ((height, width, 3), (height, width, 4)):
        raise ValueError(f"sog: expected {width:,} x {height:,} texels of colours in {name!r}, found an array {list(texels.shape)}")
    return texels if texels.shape[2] == 4 else np.pad(texels, ((0, 0), (0, 0), (0, 1)), constant_values=255)


def size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height that the header of a WebP picture tells; ValueError if it is none, or one that moves."""
    if len(data) < _HEADER or data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise ValueError(f"sog: expected a WebP picture {name!r}, found bytes that start with {data[:12]!r}")
    chunk = data[12:16]
    if chunk == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8X" and not data[20] & 2:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if chunk == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    raise ValueError(f"sog: expected a still WebP picture {name!r}, found a chunk {chunk!r}")


def encode(texels: Bytes) -> bytes:
    """A lossless WebP of `texels` [H, W, 4]; what is transparent keeps its colours."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(texels).save(stream, "WEBP", lossless=True, exact=True, quality=75, method=4)
    return stream.getvalue()


def square(count: int) -> tuple[int, int]:
    """Width and height, multiples of 4, of a picture for `count` Gaussians; ValueError if no WebP holds so many."""
    width = math.ceil(math.sqrt(count) / 4) * 4
    height = math.ceil(count / width / 4) * 4
    if max(width, height) > LARGEST:
        raise ValueError(f"sog holds at most {(LARGEST - 3) ** 2:,} Gaussians, and the scene has {count:,}: leave some out")
    return width, height
