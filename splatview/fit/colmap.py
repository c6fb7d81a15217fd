"""COLMAP's sparse models, binary or text."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from splatview import ngp
from splatview.arrays import Doubles
from splatview.fit.lens import Lens
from splatview.fit.posed import Frame, Posed
from splatview.geometry import Similarity, matrix_from_quat, rotation_between
from splatview.viewpoints import meeting_point

PLACES = ("sparse/0", "sparse", "colmap/sparse/0", "")
IMAGES = ("images", "")
# By COLMAP's number: name, parameters, and where among them fx fy cx cy and OpenCV's distortion k1 k2 p1 p2 k3 k4 k5 k6 are.
MODELS: dict[int, tuple[str, int, tuple[int, int, int, int], tuple[int | None, ...]]] = {
    0: ("SIMPLE_PINHOLE", 3, (0, 0, 1, 2), ()),
    1: ("PINHOLE", 4, (0, 1, 2, 3), ()),
    2: ("SIMPLE_RADIAL", 4, (0, 0, 1, 2), (3,)),
    3: ("RADIAL", 5, (0, 0, 1, 2), (3, 4)),
    4: ("OPENCV", 8, (0, 1, 2, 3), (4, 5, 6, 7)),
    5: ("OPENCV_FISHEYE", 8, (0, 1, 2, 3), (4, 5, 6, 7)),
    6: ("FULL_OPENCV", 12, (0, 1, 2, 3), (4, 5, 6, 7, 8, 9, 10, 11)),
    8: ("SIMPLE_RADIAL_FISHEYE", 4, (0, 0, 1, 2), (3,)),
    9: ("RADIAL_FISHEYE", 5, (0, 0, 1, 2), (3, 4)),
}
FISHEYE = {5, 8, 9}
AROUND = 4.0  # instant-ngp's distance of cameras from what they look at
BOX_SCALE = 16
ALIKE = 0.17  # sine of the angle within which cameras have the same at the right
MOST = 1 << 24


def model(folder: Path) -> Path | None:
    """Where in `folder` a model lies."""
    for place in PLACES:
        for suffix in (".bin", ".txt"):
            if all((folder / place / f"{name}{suffix}").is_file() for name in ("cameras", "images")):
                return folder / place
    return None


def read(folder: Path, root: Path) -> Posed:
    """The images of the model in `folder`, whose files are in `root`/images, turned so that up is +z; ValueError if it is damaged."""
    binary = (folder / "images.bin").is_file()
    try:
        cameras = dict(_binary_cameras(folder / "cameras.bin") if binary else _text_cameras(folder / "cameras.txt"))
        listed = list(_binary_images(folder / "images.bin") if binary else _text_images(folder / "images.txt"))
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise ValueError(f"COLMAP: expected a whole model in {folder}, found a damaged one ({error})") from None
    frames = []
    for quat, translation, camera, name in listed:
        if camera not in cameras:
            raise ValueError(f"COLMAP: image {name!r:.100} was taken with camera {camera}, which is not in the model")
        if not (np.isfinite([*quat, *translation]).all() and any(quat)):
            raise ValueError(f"COLMAP: expected a pose of finite numbers for image {name!r:.100}")
        pose = np.eye(4)
        pose[:3, :3] = matrix_from_quat(np.array(quat) / np.linalg.norm(quat)).T
        pose[:3, 3] = -pose[:3, :3] @ translation
        file = next((path for place in IMAGES if (path := root / place / name).is_file()), root / IMAGES[0] / name)
        frames.append(Frame(file, cameras[camera], pose))
    if not frames:
        raise ValueError(f"COLMAP: expected images in {folder}, found none")
    poses = np.array([frame.world_from_camera for frame in frames])
    turn = np.eye(4)
    turn[:3, :3] = rotation_between(_up(poses), [0, 0, 1])
    poses = turn @ poses
    return Posed(tuple(replace(frame, world_from_camera=pose) for frame, pose in zip(frames, poses, strict=True)), *_frame(poses))


def _up(poses: Doubles) -> Doubles:
    """Which way [3] is up in a model, which does not say it: cameras are held level, so it is across to what their pictures have at the
    right, and nearer to what they have above. As nerfstudio tells it (`auto_orient_and_center_poses`, "vertical"); instant-ngp takes
    the mean of what is above, which leans if cameras look down from one side."""
    above = -poses[:, :3, 1].mean(0)
    _, spread, (first, _, up) = np.linalg.svd(poses[:, :3, 0].T @ poses[:, :3, 0] / len(poses))
    if spread[1] > ALIKE**2:
        return up if up @ above > 0 else -up
    return above - first * (first @ above)  # all have the same at the right: what is across to that may be above or ahead


def _frame(poses: Doubles) -> tuple[Similarity, int]:
    """Like instant-ngp's converter: what the cameras look at in the middle, they themselves `AROUND` away on average, then its scale."""
    places, along = poses[:, :3, 3], poses[:, :3, 2]
    middle = meeting_point(places, along)
    distance = float(np.linalg.norm(places - middle, axis=1).mean()) or 1.0
    scale = ngp.SCALE * AROUND / distance
    return ngp.field_from_world(scale, tuple((ngp.OFFSET - scale * middle).tolist())), BOX_SCALE


def _lens(number: int, width: int, height: int, values: tuple[float, ...]) -> Lens:
    if number not in MODELS:
        raise ValueError(f"expected a camera model of {', '.join(name for name, *_ in MODELS.values())}, got number {number}")
    name, count, places, distortion = MODELS[number]
    if len(values) != count:
        raise ValueError(f"expected {count} parameters of a {name} camera, got {len(values)}")
    fx, fy, cx, cy = (values[place] for place in places)
    return Lens(width, height, fx, fy, cx, cy, tuple(values[place] for place in distortion if place is not None), number in FISHEYE)


class _Bytes:
    """A binary file, read from front to back."""

    def __init__(self, path: Path) -> None:
        self._data, self._at = path.read_bytes(), 0

    def take(self, layout: str) -> tuple:
        shape = struct.Struct("<" + layout)
        values = shape.unpack_from(self._data, self._at)
        self._at += shape.size
        return values

    def text(self) -> str:
        end = self._data.index(b"\0", self._at)
        found, self._at = self._data[self._at : end].decode(), end + 1
        return found

    def skip(self, count: int) -> None:
        self._at += count


def _binary_cameras(path: Path) -> Iterator[tuple[int, Lens]]:
    data = _Bytes(path)
    (count,) = data.take("Q")
    for _ in range(min(count, MOST)):
        camera, number, width, height = data.take("iiQQ")
        if number not in MODELS:
            _lens(number, 1, 1, ())
        yield camera, _lens(number, width, height, data.take(f"{MODELS[number][1]}d"))


def _binary_images(path: Path) -> Iterator[tuple[tuple[float, ...], tuple[float, ...], int, str]]:
    data = _Bytes(path)
    (count,) = data.take("Q")
    for _ in range(min(count, MOST)):
        _, *numbers, camera = data.take("i7di")
        name = data.text()
        (points,) = data.take("Q")
        data.skip(24 * points)
        yield tuple(numbers[:4]), tuple(numbers[4:]), camera, name


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def _text_cameras(path: Path) -> Iterator[tuple[int, Lens]]:
    numbers = {name: number for number, (name, *_) in MODELS.items()}
    for line in filter(str.strip, _lines(path)):
        camera, name, width, height, *values = line.split()
        yield int(camera), _lens(numbers.get(name, -1), int(width), int(height), tuple(map(float, values)))


def _text_images(path: Path) -> Iterator[tuple[tuple[float, ...], tuple[float, ...], int, str]]:
    for line in _lines(path)[::2]:  # every second line lists points, and may be empty
        if line.strip():
            _, *numbers, camera, name = line.split(maxsplit=9)
            values = tuple(map(float, numbers))
            yield values[:4], values[4:], int(camera), name
