"""`transforms.json` of instant-ngp, nerfstudio and the synthetic scenes of NeRF."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from splatview import ngp
from splatview.arrays import Doubles
from splatview.fit.lens import Lens
from splatview.fit.posed import Frame, Posed
from splatview.geometry import Similarity

MOST_BYTES, MOST_FRAMES = 1 << 28, 100_000
SUFFIXES = ("", ".png", ".jpg", ".jpeg")  # of files that are listed without theirs
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenCV's camera axes from OpenGL's
FISHEYE = {"OPENCV_FISHEYE", "fisheye"}


def read(path: Path) -> Posed:
    """The frames that the file lists; ValueError if it is not one of these."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"expected a list of poses, found {path.stat().st_size:,} bytes")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected JSON: {error}") from None
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not frames or len(frames) > MOST_FRAMES:
        raise ValueError("expected a list of 'frames' with a file_path and a transform_matrix each, found none")
    found = []
    for number, frame in enumerate(frames):
        try:
            file = _file(path.parent, frame["file_path"])
            found.append(Frame(file, _lens({**content, **frame}, file), _pose(frame["transform_matrix"])))
        except (KeyError, TypeError, OverflowError, ValueError) as error:
            reason = f"there is no {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"frame {number}: {reason}") from None
    return Posed(tuple(found), _frame(content), _box_scale(content))


def write(posed: Posed, path: Path) -> None:
    """A file that `read` reads as `posed`, whose photos lie below its folder; ValueError if it cannot say that of the field's frame."""
    turned = not np.allclose(posed.field_from_world.rotation, ngp.CYCLE.T, atol=1e-9)
    if turned or any(frame.lens.fisheye or any(frame.lens.distortion) for frame in posed.frames):
        raise ValueError("expected lenses that bend nothing, and a field that stands as instant-ngp's do")
    lenses = [_entries(frame.lens) for frame in posed.frames]
    shared = lenses[0] if all(one == lenses[0] for one in lenses) else {}
    frames = [
        {
            "file_path": frame.file.relative_to(path.parent).as_posix(),
            **({} if shared else lens),
            "transform_matrix": (frame.world_from_camera @ FLIP).tolist(),
        }
        for frame, lens in zip(posed.frames, lenses, strict=True)
    ]
    into = posed.field_from_world
    offset = (ngp.CYCLE @ into.translation).tolist()
    content = {**shared, "aabb_scale": posed.box_scale, "scale": into.scale, "offset": offset, "frames": frames}
    path.write_text(json.dumps(content, indent=1))


def _entries(lens: Lens) -> dict[str, float]:
    return {"w": lens.width, "h": lens.height, "fl_x": lens.fx, "fl_y": lens.fy, "cx": lens.cx, "cy": lens.cy}


def _frame(content: Mapping[str, Any]) -> Similarity:
    """The field's frame from the world."""
    scale, offset = content.get("scale", ngp.SCALE), content.get("offset", ngp.OFFSET)
    try:
        scale, (x, y, z) = float(scale), map(float, offset)
        if 0 < scale < np.inf and np.isfinite([x, y, z]).all():
            return ngp.field_from_world(scale, (x, y, z))
    except (ValueError, TypeError, OverflowError):
        pass
    raise ValueError(f"expected a scale > 0 and an offset of three numbers, got {scale!r:.60} and {offset!r:.60}")


def _box_scale(content: Mapping[str, Any]) -> int:
    """What the file says, or room for a background around the unit box, in which the cameras are taken to be."""
    wanted = content.get("aabb_scale", 16)
    if wanted not in ngp.EDGES:
        raise ValueError(f"aabb_scale: expected 1, 2, 4 ... 128, got {wanted!r}")
    return int(wanted)


def _file(folder: Path, name: str) -> Path:
    if not isinstance(name, str) or "\0" in name:
        raise ValueError(f"file_path: expected a name, got {name!r:.100}")
    return next((file for suffix in SUFFIXES if (file := folder / (name + suffix)).is_file()), folder / name)


def _pose(values: Any) -> Doubles:
    """[4, 4] from a camera with OpenGL's axes; a scale that crept into it is taken out."""
    matrix = np.asarray(values, np.float64)
    if matrix.shape not in ((4, 4), (3, 4)) or not np.isfinite(matrix).all():
        raise ValueError("transform_matrix: expected 4 x 4 finite numbers")
    pose = np.eye(4)
    pose[:3] = matrix[:3]
    left, sizes, right = np.linalg.svd(pose[:3, :3])
    if sizes.min() < 0.5 * sizes.max() or np.linalg.det(left @ right) < 0:
        raise ValueError("transform_matrix: expected a rotation and a translation, got a matrix that mirrors or shears")
    pose[:3, :3] = left @ right
    return pose @ FLIP


def _lens(given: Mapping[str, Any], file: Path) -> Lens:
    """Of a frame's own entries over those of the file."""
    if "w" not in given or "h" not in given:
        height, width = _size(file)
    else:
        width, height = round(float(given["w"])), round(float(given["h"]))
    fx = _focal(given, "x", width)
    fy = _focal(given, "y", height)
    if not (fx or fy):
        raise ValueError("expected a focal length (fl_x, or camera_angle_x), found none")
    names = ("k1", "k2", "k3", "k4") if given.get("camera_model") in FISHEYE or given.get("is_fisheye") else ("k1", "k2", "p1", "p2", "k3")
    return Lens(
        width,
        height,
        fx or fy,
        fy or fx,
        float(given.get("cx", width / 2)),
        float(given.get("cy", height / 2)),
        tuple(float(given.get(name, 0)) for name in names),
        fisheye=len(names) == 4,
    )


def _focal(given: Mapping[str, Any], axis: str, size: int) -> float:
    if f"fl_{axis}" in given:
        return float(given[f"fl_{axis}"])
    angle = float(given.get(f"camera_angle_{axis}", 0))
    return size / 2 / np.tan(angle / 2) if angle else 0.0


def _size(file: Path) -> tuple[int, int]:
    """Height and width of a picture; of one that is missing it does not matter."""
    pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION) if file.is_file() else None
    return (1, 1) if pixels is None else pixels.shape[:2]
