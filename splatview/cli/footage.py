"""Pictures to learn from: those that are there, or those of a scene."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from splatview.arrays import Bytes
from splatview.cli.cameras import CameraFlags
from splatview.cli.faults import UserError, users_fault
from splatview.cli.loading import load_scene, renderer
from splatview.cli.pictures import PICTURE_SUFFIXES
from splatview.cli.vantage import views
from splatview.frame import RenderOptions
from splatview.framing import frame_scene
from splatview.render import Backend

FOV = math.radians(60.0)
SHAPE = 3, 4  # height and width of views of a scene, before they are sized
Fitting = Callable[[int, int], tuple[int, int]]  # height and width of a picture -> those at which it is learned from


def files(data: str) -> list[Path]:
    """The pictures of a folder or a pattern; none if it is something else, such as a scene."""
    folder = Path(data)
    if folder.is_dir():
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    pattern = Path(re.sub(r"%0?\d*d", "*", data))
    if "*" not in pattern.name and "?" not in pattern.name:
        return []
    found = sorted(path for path in pattern.parent.glob(pattern.name) if path.suffix.lower() in PICTURE_SUFFIXES)
    if not found:
        raise UserError(f"--data {data}: expected pictures ({', '.join(PICTURE_SUFFIXES)}), found none of that name")
    return found


def read(paths: Sequence[Path], fitting: Fitting) -> Iterator[Bytes]:
    """Pictures [h, w, 3] of files, over black, all at the size and in the shape of the first."""
    from PIL import Image

    size: tuple[int, int] | None = None
    for path in paths:
        with users_fault(OSError, ValueError), Image.open(path) as image:
            rgba = np.asarray(image.convert("RGBA"), np.float32)
        picture = (rgba[..., :3] * rgba[..., 3:] / 255 + 0.5).astype(np.uint8)
        size = size or fitting(*picture.shape[:2])
        yield filled(picture, size)


def filled(picture: Bytes, size: tuple[int, int]) -> Bytes:
    """The middle of `picture` at another size [h, w], as much of it as has that shape."""
    height, width = picture.shape[:2]
    scale = min(height / size[0], width / size[1])
    high, wide = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    top, left = (height - high) // 2, (width - wide) // 2
    cut = picture[top : top + high, left : left + wide]
    return np.asarray(cv2.resize(cut, size[::-1], interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC), np.uint8)


def drawn(path: Path, count: int, camera: Path | None, backend: Backend, fitting: Fitting) -> Iterator[Bytes]:
    """Pictures of a scene: of the cameras of a file, or of `count` views around and within it."""
    scene = load_scene(path)
    render = renderer(backend).render
    if camera is not None:
        cameras = iter(CameraFlags(camera).listed(camera))
    else:
        height, width = fitting(*SHAPE)
        looked = RenderOptions(outputs=("rgb8", "alpha", "depth"))
        cameras = islice(views(frame_scene(scene), (width, height), FOV, lambda view: render(scene, view, looked)), count)
    size: tuple[int, int] | None = None
    for view in cameras:
        size = size or fitting(view.height, view.width)
        yield filled(render(scene, view, RenderOptions(outputs=("rgb8",))).rgb8, size)
