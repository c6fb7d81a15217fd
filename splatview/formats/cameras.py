"""Camera files <-> lists of cameras, recognised by content.

Ours: `{"width", "height", "K": [fx, fy, cx, cy], "R": [3][3], "t": [3]}` (camera from world, OpenCV axes), or a list of them.
Read only: nerfstudio's `camera_path.json`, `transforms.json` (nerfstudio, instant-ngp, NeRF), INRIA's `cameras.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from splatview.camera import Camera
from splatview.formats.files import open_file, write_file
from splatview.formats.report import Report

_KINDS = "our own {width, height, K, R, t} or a list of them, nerfstudio camera_path.json, transforms.json, INRIA cameras.json"
_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
_NERF_SIZE = 800  # pixels a side of the synthetic NeRF scenes, whose files leave it out

Entry = Mapping[str, Any]


def load_cameras(path: str | os.PathLike[str], report: Report | None = None) -> list[Camera]:
    """The cameras of a file in its order, at least one; FileNotFoundError, or ValueError that says what is wrong with it."""
    path, report = Path(path), report or Report()
    try:
        with open_file(path) as data:
            cameras = _cameras(json.loads(bytes(data)), report)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path}: missing or bad entry in a camera file: {error}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected a JSON camera file ({_KINDS}): {error}") from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not cameras:
        raise ValueError(f"{path}: expected at least one camera, found none")
    return cameras


def save_cameras(cameras: Sequence[Camera], path: str | os.PathLike[str]) -> None:
    """Write `cameras` in our JSON: an object for one camera, a list for several."""
    entries = camera_entries(cameras)
    write_file(Path(path), json.dumps(entries[0] if len(entries) == 1 else entries).encode(), Report())


def camera_entries(cameras: Sequence[Camera]) -> list[dict[str, Any]]:
    """`cameras` as our JSON has them."""
    return [
        {
            "width": camera.width,
            "height": camera.height,
            "K": [camera.K[0, 0], camera.K[1, 1], camera.K[0, 2], camera.K[1, 2]],
            "R": camera.camera_from_world[:3, :3].tolist(),
            "t": camera.camera_from_world[:3, 3].tolist(),
        }
        for camera in cameras
    ]


def _cameras(content: Any, report: Report) -> list[Camera]:
    if isinstance(content, Mapping):
        if "camera_path" in content:
            return _nerfstudio_path(content, report)
        if "frames" in content:
            return [_transforms_frame({**content, **frame}, report) for frame in content["frames"]]
        content = [content]
    if not isinstance(content, list):
        raise ValueError(f"unknown camera file; expected {_KINDS}")
    return [_listed(entry) for entry in content]


def _listed(entry: Entry) -> Camera:
    if isinstance(entry, Mapping) and "K" in entry:
        fx, fy, cx, cy = _numbers(entry["K"], 4)
        return _camera(fx, fy, cx, cy, entry["R"], entry["t"], entry["width"], entry["height"])
    if isinstance(entry, Mapping) and {"position", "rotation"} <= entry.keys():  # INRIA: world from camera, OpenCV axes
        width, height = entry["width"], entry["height"]
        rotation = _numbers(entry["rotation"], 3, 3).T
        translation = -rotation @ _numbers(entry["position"], 3)
        return _camera(entry["fx"], entry["fy"], width / 2, height / 2, rotation, translation, width, height)
    raise ValueError(f"unknown camera file; expected {_KINDS}")


def _nerfstudio_path(content: Entry, report: Report) -> list[Camera]:
    width, height = content["render_width"], content["render_height"]
    if content.get("camera_type", "perspective") != "perspective":
        report.note(f"camera path: drawn with perspective cameras, not {content['camera_type']}")
    cameras = []
    for entry in content["camera_path"]:
        fov = float(entry["fov"])  # vertical, in degrees
        if not 0 < fov < 180:
            raise ValueError(f"camera path: expected a field of view between 0 and 180 degrees, got {fov}")
        focal = 0.5 * height / np.tan(np.radians(fov) / 2)
        pose = _opengl_pose(np.reshape(_numbers(entry["camera_to_world"], 16), (4, 4)))
        cameras.append(_camera(focal, focal, width / 2, height / 2, *pose, width, height))
    return cameras


def _transforms_frame(entry: Entry, report: Report) -> Camera:
    """A camera of transforms.json; `entry` holds what is said of all frames and, over it, what is said of this one."""
    if any(entry.get(name) for name in _DISTORTION):
        report.note("transforms.json: lens distortion was ignored")
    if "w" not in entry or "h" not in entry:
        report.note(f"transforms.json: no picture size given, taken to be {_NERF_SIZE} x {_NERF_SIZE}")
    width, height = float(entry.get("w", _NERF_SIZE)), float(entry.get("h", _NERF_SIZE))
    fx = entry["fl_x"] if "fl_x" in entry else 0.5 * width / np.tan(0.5 * float(entry["camera_angle_x"]))
    fy = entry.get("fl_y", fx)
    pose = _opengl_pose(entry["transform_matrix"])
    return _camera(fx, fy, entry.get("cx", width / 2), entry.get("cy", height / 2), *pose, width, height)


def _opengl_pose(world_from_camera: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [3, 3] and translation [3] of the camera from the world; OpenGL cameras look along -z, with y up."""
    pose = np.asarray(world_from_camera, np.float64)
    if pose.shape not in ((4, 4), (3, 4)):
        raise ValueError(f"expected a camera pose [4, 4] or [3, 4], got shape {list(pose.shape)}")
    rotation = (_numbers(pose[:3, :3], 3, 3) * [1, -1, -1]).T
    return rotation, -rotation @ _numbers(pose[:3, 3], 3)


def _camera(fx: Any, fy: Any, cx: Any, cy: Any, rotation: ArrayLike, translation: ArrayLike, width: Any, height: Any) -> Camera:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = _numbers(rotation, 3, 3), _numbers(translation, 3)
    left, _, right = np.linalg.svd(pose[:3, :3])
    if np.allclose(left @ right, pose[:3, :3], atol=1e-2):  # rounded in the file: the nearest rotation
        pose[:3, :3] = pose[:3, :3] if np.allclose(left @ right, pose[:3, :3], atol=1e-6) else left @ right
    K = np.array([[float(fx), 0, float(cx)], [0, float(fy), float(cy)], [0, 0, 1]])
    return Camera(K, pose, round(float(width)), round(float(height)))


def _numbers(values: ArrayLike, *shape: int) -> np.ndarray:
    """`values` as finite numbers of that shape and of a sane size, so that no product of them overflows."""
    array = np.asarray(values, np.float64)
    if array.shape != shape or not (np.abs(array) < 1e100).all():
        raise ValueError(f"expected finite numbers of shape {list(shape)}, got shape {list(array.shape)}")
    return array
