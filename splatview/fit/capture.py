"""The Capture value: photographs, and where each was taken from."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from splatview import ngp
from splatview.arrays import Bytes, Doubles
from splatview.fit import colmap, transforms
from splatview.fit.lens import Lens
from splatview.fit.posed import Posed
from splatview.geometry import Similarity
from splatview.viewpoints import MOST, Viewpoints

Progress = Callable[[float, str], None]

ENTRIES = ("transforms.json", "transforms_train.json")


@dataclass(frozen=True, eq=False)
class Photo:
    """One picture, where it was taken from, and through what."""

    name: str
    pixels: Bytes  # [H, W, 3 or 4] sRGB; the fourth is opacity, colours not multiplied by it
    lens: Lens  # of this size
    world_from_camera: Doubles  # [4, 4] rigid, OpenCV axes


@dataclass(frozen=True, eq=False)
class Capture:
    """Photographs of one scene, and the frame that a field of it is trained in."""

    photos: tuple[Photo, ...]
    field_from_world: Similarity
    box_scale: int  # the side of the box, a power of two, around (0.5, 0.5, 0.5)
    missing: int = 0  # photos that were listed and are not there

    def __post_init__(self) -> None:
        if not self.photos:
            raise ValueError("expected at least one photo, found none")
        if self.box_scale not in ngp.EDGES:
            raise ValueError(f"aabb_scale: expected 1, 2, 4 ... {ngp.EDGES[-1]}, got {self.box_scale}")

    @property
    def box(self) -> Doubles:
        """[2, 3] low and high corner of what is trained, in the field's frame."""
        return ngp.box(self.box_scale)

    @property
    def viewpoints(self) -> Viewpoints:
        """Where the photos were taken, in the field's frame."""
        into, some = self.field_from_world, self.photos[:: -(-len(self.photos) // MOST)]
        poses = np.array([photo.world_from_camera for photo in some])
        poses[:, :3] = np.concatenate([into.rotation @ poses[:, :3, :3], into.apply(poses[:, :3, 3])[..., None]], -1)
        lenses = [(lens.width, lens.height, lens.fx, lens.fy, lens.cx, lens.cy) for lens in (photo.lens for photo in some)]
        return Viewpoints(poses, np.array(lenses))


def load_capture(path: Path, downscale: float = 1.0, box_scale: int | None = None, progress: Progress | None = None) -> Capture:
    """The photos that a `transforms.json` or a COLMAP model lists, made smaller by `downscale`; `box_scale` None: as it says.

    Those that are missing are counted. FileNotFoundError: there is no such file or folder. ValueError: it lists none that is there, or
    its content is bad.
    """
    if downscale < 1:
        raise ValueError(f"downscale: expected 1 or more, got {downscale}")
    try:
        posed = _posed(path)
        there = [frame for frame in posed.frames if frame.file.is_file()]
        if not there:
            first = f", {posed.frames[0].file} to begin with" if posed.frames else ""
            raise ValueError(f"expected the photos that it lists beside it; of {len(posed.frames)} none is there{first}")
        photos: list[Photo] = []
        with ThreadPoolExecutor() as pool:
            for photo in pool.map(lambda frame: _photo(frame.file, frame.lens, frame.world_from_camera, downscale), there):
                photos.append(photo)
                if progress is not None:
                    progress(len(photos) / len(there), "reading photos")
        return Capture(tuple(photos), posed.field_from_world, box_scale or posed.box_scale, len(posed.frames) - len(there))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _posed(path: Path) -> Posed:
    if path.is_dir():
        if file := next((path / name for name in ENTRIES if (path / name).is_file()), None):
            return transforms.read(file)
        if model := colmap.model(path):
            return colmap.read(model, path)
        raise ValueError(f"expected a folder with {ENTRIES[0]} or a COLMAP model (sparse/0 with cameras, images), found neither")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file or folder")
    return transforms.read(path)


def _photo(file: Path, lens: Lens, pose: Doubles, downscale: float) -> Photo:
    pixels = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise ValueError(f"{file}: expected a picture, found something else")
    if pixels.dtype != np.uint8:
        pixels = (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels.astype(np.uint8)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    pixels = cv2.cvtColor(pixels, {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB}.get(channels, cv2.COLOR_BGRA2RGBA))
    height, width = pixels.shape[:2]
    if downscale > 1:
        size = max(1, round(width / downscale)), max(1, round(height / downscale))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return Photo(file.name, np.asarray(pixels, np.uint8), lens.sized(pixels.shape[1], pixels.shape[0]), pose)
