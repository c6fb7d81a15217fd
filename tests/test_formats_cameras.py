"""Camera files: each kind puts a known point of the world at a known pixel."""

import json

import numpy as np
import pytest

from splatview.camera import Camera
from splatview.formats import load_cameras, save_cameras
from splatview.formats.report import Report

EYE, TARGET = np.array([1.0, -2.0, 3.0]), np.array([0.5, 0.25, -0.75])
CAMERA = Camera.look_at(EYE, TARGET, up=(0, 1, 0), fov_y=0.9, width=320, height=200)
OPENGL = CAMERA.world_from_camera @ np.diag([1, -1, -1, 1])  # what tools with OpenGL cameras store


def project(camera, point):
    x, y, z = camera.K @ (camera.camera_from_world[:3, :3] @ point + camera.camera_from_world[:3, 3])
    return np.array([x / z, y / z])


def same(a, b):
    np.testing.assert_allclose(a.camera_from_world, b.camera_from_world, atol=1e-6)
    np.testing.assert_allclose(a.K, b.K, rtol=1e-9)
    assert (a.width, a.height) == (b.width, b.height)


def loaded(tmp_path, content, report=None):
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps(content))
    return load_cameras(path, report)


@pytest.mark.parametrize("count", [1, 3])
def test_our_own_files_come_back_exactly(tmp_path, count):
    off_axis = np.array([[300.5, 0, -20.25], [0, 310.125, 400], [0, 0, 1]])
    cameras = [CAMERA, Camera(off_axis, CAMERA.camera_from_world, 640, 480), CAMERA.resized(99, 77)][:count]
    save_cameras(cameras, tmp_path / "c.json")
    assert load_cameras(tmp_path / "c.json") == cameras


def test_the_camera_of_the_timing_scene_is_ours(tmp_path):
    [camera] = loaded(tmp_path, {"width": 8, "height": 6, "K": [5, 6, 4, 3], "R": np.eye(3).tolist(), "t": [0, 0, 2]})
    assert camera.position.tolist() == [0, 0, -2]
    np.testing.assert_allclose(project(camera, [1, 1, 3]), [4 + 5 / 5, 3 + 6 / 5])


def test_nerfstudio_camera_path(tmp_path):
    path = {"camera_type": "perspective", "render_height": 200, "render_width": 320, "fps": 24, "keyframes": [], "seconds": 1}
    entry = {"camera_to_world": OPENGL.ravel().tolist(), "fov": float(np.degrees(0.9)), "aspect": 1.6}
    first, second = loaded(tmp_path, {**path, "camera_path": [entry, {**entry, "fov": 30}]})
    same(first, CAMERA)
    assert second.fov_y == pytest.approx(np.radians(30))


def test_transforms_with_intrinsics(tmp_path):
    both = {"fl_x": CAMERA.K[0, 0], "fl_y": CAMERA.K[1, 1], "cx": 160, "cy": 100, "w": 320.0, "h": 200.0}
    frames = [{"file_path": "a.png", "transform_matrix": OPENGL.tolist()}]
    frames.append({"file_path": "b.png", "transform_matrix": OPENGL.tolist(), "fl_x": 50, "cx": 7})
    report = Report()
    first, second = loaded(tmp_path, {**both, "frames": frames}, report)
    same(first, CAMERA)
    assert second.K[0, 0] == 50 and second.K[0, 2] == 7 and report.notes == []


def test_transforms_of_a_synthetic_scene(tmp_path):
    report = Report()
    [camera] = loaded(tmp_path, {"camera_angle_x": 0.7, "frames": [{"transform_matrix": OPENGL.tolist()}]}, report)
    assert (camera.width, camera.height) == (800, 800) and "800" in report.notes[0]
    assert camera.fov_y == pytest.approx(0.7)
    np.testing.assert_allclose(project(camera, TARGET), [400, 400])


def test_inria_cameras(tmp_path):
    entry = {
        "id": 0,
        "img_name": "a",
        "width": 320,
        "height": 200,
        "position": EYE.tolist(),
        "rotation": CAMERA.world_from_camera[:3, :3].tolist(),
        "fx": CAMERA.K[0, 0],
        "fy": CAMERA.K[1, 1],
    }
    cameras = loaded(tmp_path, [entry, entry])
    assert len(cameras) == 2
    same(cameras[0], CAMERA)


def test_a_real_transforms_file(data):
    report = Report()
    cameras = load_cameras(data / "nerf" / "fox" / "transforms.json", report)
    assert len(cameras) == 67 and (cameras[0].width, cameras[0].height) == (1080, 1920)
    assert any("distortion" in note for note in report.notes)
    # A ring of cameras around a fox: their axes nearly meet, in front of every one of them.
    axes = np.array([np.eye(3) - np.outer(camera.forward, camera.forward) for camera in cameras])
    centres = np.array([camera.position for camera in cameras])
    meeting = np.linalg.solve(axes.sum(0), np.einsum("nij,nj->i", axes, centres))
    assert all(camera.forward @ (meeting - camera.position) > 0 for camera in cameras)


def test_rounded_rotations_are_made_rotations(tmp_path):
    [camera] = loaded(tmp_path, {"w": 8, "h": 6, "fl_x": 5, "frames": [{"transform_matrix": np.round(OPENGL, 3).tolist()}]})
    rotation = camera.camera_from_world[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(camera.camera_from_world, CAMERA.camera_from_world, atol=5e-3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "at least one"),
        ({"frames": []}, "at least one"),
        ({"hello": 1}, "camera_path"),
        (["hello"], "INRIA"),
        (3, "unknown"),
        ({"width": 8, "height": 6, "K": [5, 5, 4], "R": np.eye(3).tolist(), "t": [0, 0, 0]}, r"shape \[4\], got shape \[3\]"),
        ({"width": 8, "height": 6, "K": [5, 5, 4, 3], "R": (2 * np.eye(3)).tolist(), "t": [0, 0, 0]}, "not rigid"),
        ({"width": 8, "height": 6, "K": [5, 5, 4, 3], "R": (-np.eye(3)).tolist(), "t": [0, 0, 0]}, "not rigid"),
        ({"width": 8, "K": [5, 5, 4, 3], "R": np.eye(3).tolist(), "t": [0, 0, 0]}, "height"),
        ({"w": 8, "h": 6, "frames": [{"transform_matrix": np.eye(4).tolist()}]}, "camera_angle_x"),
        ({"render_width": 8, "render_height": 6, "camera_path": [{"camera_to_world": [0] * 16, "fov": 190}]}, "190"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path, content)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        load_cameras(tmp_path / "none.json")
