"""Writing frames as picture files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from splatview.cli.faults import UserError, users_fault
from splatview.frame import Frame

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
DEPTH_STEPS = 1000  # per scene unit, in the 16-bit depth picture
QUALITY = {".jpg": {"quality": 95}, ".jpeg": {"quality": 95}, ".webp": {"lossless": True}, ".png": {"compress_level": 4}}


def numbered(path: Path, count: int) -> list[Path]:
    """The names of `count` pictures: `path` for a single one, else numbered from 0 where it says %04d or the like, or at its end."""
    return [path] if count == 1 and "%" not in path.name else [nth(path, index) for index in range(count)]


def nth(path: Path, index: int) -> Path:
    """The name of picture `index` of several."""
    if "%" not in path.name:
        return path.with_name(f"{path.stem}_{index:04d}{path.suffix}")
    try:
        return path.with_name(path.name % index)
    except (TypeError, ValueError):
        raise UserError(f"--output: expected a name with one number such as out_%04d.png, got {path.name}") from None


def write_picture(path: Path, frame: Frame, *, alpha: bool, depth: bool) -> None:
    """Write `frame` to `path`, and its depth beside it; UserError if that place cannot be written."""
    picture = Image.fromarray(straight_rgba(frame) if alpha else frame.rgb8)
    with users_fault(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, **QUALITY[path.suffix.lower()])
        if depth:
            np.save(path.with_name(f"{path.stem}_depth.npy"), frame.depth)
            Image.fromarray(depth_steps(frame.depth)).save(path.with_name(f"{path.stem}_depth.png"))


def straight_rgba(frame: Frame) -> NDArray[np.uint8]:
    """[H, W, 4] of a frame that was drawn over black: the colour is not multiplied by the alpha."""
    alpha = frame.alpha[..., None]
    colour = np.divide(frame.rgb, alpha, out=np.zeros_like(frame.rgb), where=alpha > 0)
    return (np.clip(np.concatenate([colour, alpha], axis=-1), 0, 1) * 255 + 0.5).astype(np.uint8)


def depth_steps(depth: NDArray) -> NDArray[np.uint16]:
    """[H, W] thousandths of a scene unit; 0: nothing there; what is nearer than half a step is 1, what is too far is 65534."""
    steps = np.clip(np.rint(depth * DEPTH_STEPS), 1, 65534)
    return np.where(depth > 0, steps, 0).astype(np.uint16)
