"""What can be redrawn: scenes, pictures, videos and webcams, each as frames one after another."""

from __future__ import annotations

import glob
import io
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from splatview.arrays import Bytes
from splatview.camera import Camera
from splatview.cli.faults import UserError
from splatview.cli.sizes import Size
from splatview.frame import Frame, Renderer, RenderOptions
from splatview.outputs.containers import READ, VideoForm
from splatview.scene import Scene

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FOV_Y = 0.8  # radians, of the camera that pictures from outside are taken to be of


@dataclass(frozen=True, eq=False)
class Shot:
    """A picture on its way in."""

    frame: Frame
    time: Fraction  # seconds
    name: str  # for a file of its own
    alpha: Bytes | None = None  # [H, W] of a picture that had one


@dataclass(frozen=True, eq=False)
class Source:
    """Where shots come from. What `values` gives becomes a shot by `draw`, if there is one."""

    what: str  # for people
    values: Callable[[bool], Iterator[Any]]  # True: over and over
    due: Callable[[Any], float]  # seconds after the first
    draw: Callable[[Any], Shot] | None = None
    count: int | None = None  # about; None: nobody knows
    form: VideoForm = field(default_factory=lambda: VideoForm(1, 1))  # all but its size
    live: bool = False
    along: Path | None = None  # a video, whose sound and subtitles go along
    scene: Scene | None = None
    files: tuple[Path, ...] = ()  # not to be written over
    close: Callable[[], None] = lambda: None


def of_scene(
    scene: Scene, cameras: Sequence[Camera], renderer: Renderer, options: RenderOptions, rate: Fraction, files: tuple[Path, ...]
) -> Source:
    """A scene, seen from one camera after another, with what `options` asks for."""

    def draw(numbered: tuple[int, Camera]) -> Shot:
        number, camera = numbered
        return Shot(renderer.render(scene, camera, options), number / rate, f"{number:06d}")

    return Source(
        what=" and ".join(path.name for path in files),
        values=lambda forever: _numbered(cameras, forever and len(cameras) > 1),
        due=lambda numbered: float(numbered[0] / rate),
        draw=draw,
        count=len(cameras),
        form=VideoForm(1, 1, rate, 1 / rate),
        scene=scene,
        files=files,
    )


def of_pictures(paths: Sequence[Path], rate: Fraction, size: Size | None, most: int | None = None) -> Source:
    """Picture files, one after another, at most so many of them."""
    taken = paths[:most]

    def draw(numbered: tuple[int, Path]) -> Shot:
        number, path = numbered
        rgb8, alpha = read_picture(path)
        if size is not None:
            rgb8, alpha = fitted(rgb8, size), None if alpha is None else fitted(alpha, size)
        images = {} if alpha is None else {"alpha": alpha.astype(np.float32) / 255}
        return Shot(frame_of(rgb8, **images), number / rate, path.name, alpha)

    return Source(
        what=str(taken[0]) if len(taken) == 1 else f"{len(taken)} pictures",
        values=lambda forever: _numbered(taken, forever and len(taken) > 1),
        due=lambda numbered: float(numbered[0] / rate),
        draw=draw,
        count=len(taken),
        form=VideoForm(1, 1, rate, 1 / rate),
        files=tuple(paths),
    )


def of_video(path: Path, size: Size | None, most: int | None = None) -> Source:
    """A video file, at most so many pictures of it; ValueError if it is none."""
    from splatview.outputs.video import VideoReader

    with VideoReader(path) as video:
        form, count = video.form, video.count
    count = most if count is None else min(count, most or count)

    def values(forever: bool) -> Iterator[Shot]:
        number, before = 0, Fraction(0)
        while True:
            last = Fraction(0)
            with VideoReader(path) as video:
                for picture in islice(video.pictures(), most):
                    rgb8 = picture.rgb8 if size is None else fitted(picture.rgb8, size)
                    yield Shot(frame_of(rgb8), before + picture.time, f"{number:06d}")
                    number, last = number + 1, picture.time
            if not forever:
                return
            before += last + 1 / form.rate

    return Source(str(path), values, lambda shot: float(shot.time), count=count, form=form, along=path, files=(path,))


def of_webcam(number: int, size: Size | None, most: int | None = None, clock: Callable[[], float] = time.monotonic, **how: Any) -> Source:
    """A webcam, at most so many pictures of it; OSError if there is none. `how` it is opened: see Webcam."""
    from splatview.stream.webcam import Webcam

    camera = Webcam(number, None if size is None else (size.width, size.height), **how)

    def values(forever: bool) -> Iterator[Shot]:
        began = None
        for index, rgb8 in enumerate(islice(camera.pictures(), most)):
            now = clock()
            began = now if began is None else began
            yield Shot(frame_of(rgb8), Fraction(round(1000 * (now - began)), 1000), f"{index:06d}")

    form = VideoForm(1, 1, Fraction(camera.rate).limit_denominator(1001), Fraction(1, 1000))
    return Source(f"webcam {number}", values, lambda shot: float(shot.time), form=form, count=most, live=True, close=camera.close)


def pictures_among(words: Sequence[str]) -> list[Path] | None:
    """The picture files that the command line names: themselves, a folder of them or a pattern. None: it names something else."""
    paths: list[Path] = []
    for word in words:
        path = Path(word)
        if path.suffix.lower() in PICTURES and not path.is_dir():
            paths.append(path) if path.exists() or not glob.has_magic(word) else paths.extend(_pattern(word))
        elif path.is_dir() and not _is_scene(path):
            found = sorted(one for one in path.iterdir() if one.suffix.lower() in PICTURES and not one.name.startswith("."))
            if not found:
                return None
            paths += found
        else:
            return None
    return paths


def is_video(path: Path) -> bool:
    return path.suffix.lower() in READ


def read_picture(path: Path) -> tuple[Bytes, Bytes | None]:
    """[H, W, 3] sRGB, upright, and its alpha [H, W] if it has one; OSError or ValueError if it is no picture.

    What is wholly transparent has the mean colour of the rest: nobody sees it, but strokes reach into it.
    """
    from PIL import Image, ImageOps

    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # of large pictures; of those that are too large there is an error
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode == "F":
                raise OSError("it has floats, and nobody knows which of them is white")
            if image.mode.startswith("I"):  # 16 bits of grey
                image = Image.fromarray(np.clip(np.asarray(image) / 257 + 0.5, 0, 255).astype(np.uint8))
            clear = "A" in image.getbands() or "transparency" in image.info
            rgb8, alpha = np.array(in_srgb(image)), np.array(image.convert("RGBA").getchannel("A")) if clear else None
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    except (Image.DecompressionBombError, Image.UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path}: expected a picture ({' '.join(str(error).split())})") from None
    if alpha is not None and alpha.any():
        rgb8[alpha == 0] = np.round(rgb8[alpha > 0].mean(0))
    return rgb8, alpha


def in_srgb(image: Any) -> Any:
    """A Pillow image as RGB in sRGB, from the colours that its profile tells: phones' are of another space. A broken profile tells none."""
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if not profile:
        return image.convert("RGB")
    plain = image if image.mode in ("L", "RGB", "CMYK") else image.convert("L" if image.mode == "LA" else "RGB")
    try:
        of = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(of).lower():  # nearly all: their pixels stay as they are
            return plain.convert("RGB")
        return ImageCms.profileToProfile(plain, of, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return plain.convert("RGB")


def fitted(image: Bytes, size: Size) -> Bytes:
    """`image` as large as fits into `size`, in its own shape."""
    height, width = image.shape[:2]
    scale = min(size.width / width, size.height / height)
    target = max(1, round(scale * width)), max(1, round(scale * height))
    if target == (width, height):
        return image
    return np.asarray(cv2.resize(image, target, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), np.uint8)


def frame_of(rgb8: Bytes, **images: np.ndarray) -> Frame:
    """A picture from outside as a frame: its camera stands still, and nobody knows how deep it is."""
    return Frame(_camera(rgb8.shape[1], rgb8.shape[0]), {"rgb8": rgb8, **images})


@lru_cache(8)
def _camera(width: int, height: int) -> Camera:
    return Camera.from_pose(np.eye(3), np.zeros(3), FOV_Y, width, height)


def _numbered(items: Sequence[Any], forever: bool) -> Iterator[tuple[int, Any]]:
    number = 0
    while forever or number < len(items):
        yield number, items[number % len(items)]
        number += 1


def _pattern(word: str) -> list[Path]:
    found = sorted(Path(one) for one in glob.glob(word))  # noqa: PTH207 (of a whole path, from whatever folder)
    if not found:
        raise UserError(f"{word}: there is no such picture")
    return found


def _is_scene(folder: Path) -> bool:
    """Whether a folder is one that scenes are read from: some of them hold pictures, too."""
    from splatview.formats import ENTRIES

    return any(any(folder.glob(name)) for name in ENTRIES)
