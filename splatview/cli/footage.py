"""Pictures to learn from: those that are there, or those of a scene."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from splatview.arrays import Bytes
from splatview.cli.cameras import CameraFlags
from splatview.cli.faults import users_fault
from splatview.cli.inputs import read_picture
from splatview.cli.loading import load_scene, renderer
from splatview.cli.vantage import views
from splatview.frame import RenderOptions
from splatview.framing import frame_scene
from splatview.render import Backend

FOV = math.radians(60.0)
SHAPE = 3, 4  # height and width of views of a scene, before they are sized
Fitting = Callable[[int, int], tuple[int, int]]  # height and width of a picture -> those at which it is learned from


def read(paths: Sequence[Path], fitting: Fitting) -> Iterator[Bytes]:
    """Pictures [h, w, 3] of files, over black, all at the size and in the shape of the first."""
    size: tuple[int, int] | None = None
    for path in paths:
        with users_fault(OSError, ValueError):
            picture, alpha = read_picture(path)
        if alpha is not None:
            picture = (picture * (alpha[..., None] / np.float32(255)) + 0.5).astype(np.uint8)
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
