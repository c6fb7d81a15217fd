"""The Camera value: where points fall, whatever the principal point is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splatview.camera import Camera
from splatview.geometry import Similarity, normalised

EYE, TARGET, UP = (1.0, -2.0, 3.0), (0.5, 0.25, -0.75), (0.0, 1.0, 0.0)
CENTRAL = Camera.look_at(EYE, TARGET, UP, fov_y=0.9, width=320, height=200)
OFF_AXIS = Camera(np.array([[300, 0, -40.5], [0, 310, 260.25], [0, 0, 1]]), CENTRAL.camera_from_world, 320, 200)
cameras = pytest.mark.parametrize("camera", [CENTRAL, OFF_AXIS], ids=["central", "off axis"])


def project(camera, point):
    """Pixel (x, y) and depth of a world point, step by step."""
    x, y, z, _ = camera.camera_from_world @ [*point, 1]
    return np.array([camera.K[0, 0] * x / z + camera.K[0, 2], camera.K[1, 1] * y / z + camera.K[1, 2]]), z


def test_look_at_sees_the_target_in_the_middle_and_up_above():
    pixel, depth = project(CENTRAL, TARGET)
    np.testing.assert_allclose(pixel, [160, 100])
    assert depth == pytest.approx(np.linalg.norm(np.subtract(EYE, TARGET)))
    above, _ = project(CENTRAL, np.add(TARGET, np.multiply(UP, 0.1)))
    assert above[0] == pytest.approx(160) and above[1] < 100
    right = np.cross(CENTRAL.forward, UP)
    assert project(CENTRAL, TARGET + 0.1 * right)[0][0] > 160
    np.testing.assert_allclose(CENTRAL.position, EYE, atol=1e-12)
    np.testing.assert_allclose(CENTRAL.forward, normalised(np.subtract(TARGET, EYE)), atol=1e-12)


@given(fov_y=st.floats(0.01, 3.1), height=st.integers(1, 2000))
def test_the_field_of_view_spans_the_picture(fov_y, height):
    camera = Camera.look_at((0, 0, 0), (0, 0, 1), (0, -1, 0), fov_y, 100, height)
    edge, _ = project(camera, [0, -np.tan(fov_y / 2), 1])
    assert edge[1] == pytest.approx(0, abs=1e-6 * height)
    assert camera.fov_y == pytest.approx(fov_y)


def test_the_field_of_view_off_axis_is_between_the_edges():
    top, bottom = (0 - 260.25) / 310, (200 - 260.25) / 310
    assert OFF_AXIS.fov_y == pytest.approx(np.arctan(bottom) - np.arctan(top))


@cameras
def test_the_pose_and_its_inverse(camera):
    np.testing.assert_allclose(camera.world_from_camera @ camera.camera_from_world, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(camera.world_from_camera[:3, 3], camera.position, atol=1e-12)
    Similarity.from_matrix(camera.camera_from_world)


@cameras
@given(st.tuples(*[st.floats(-0.5, 0.5)] * 3))
def test_unproject_is_the_way_back(camera, offset):
    point = np.add(TARGET, offset)
    pixel, depth = project(camera, point)
    np.testing.assert_allclose(camera.unproject(pixel, depth), point, atol=1e-9)


def test_unproject_many():
    pixels, depths = np.random.default_rng(0).random((4, 5, 2)) * 200, np.full((4, 5), 2.0)
    world = OFF_AXIS.unproject(pixels, depths)
    assert world.shape == (4, 5, 3)
    np.testing.assert_allclose(project(OFF_AXIS, world[1, 2])[0], pixels[1, 2])


@cameras
@pytest.mark.parametrize("size", [(640, 400), (80, 50), (101, 333)])
def test_a_resized_view_shows_the_same_at_scaled_pixels(camera, size):
    pixel, depth = project(camera, TARGET)
    resized = camera.resized(*size)
    assert (resized.width, resized.height) == size
    np.testing.assert_allclose(project(resized, TARGET)[0], pixel * size / np.array([320, 200]))
    assert project(resized, TARGET)[1] == depth
    assert resized.fov_y == pytest.approx(camera.fov_y)


def test_cameras_are_compared_by_content():
    same = Camera(CENTRAL.K.copy(), CENTRAL.camera_from_world.copy(), 320, 200)
    assert same == CENTRAL and hash(same) == hash(CENTRAL)
    others = [OFF_AXIS, Camera(CENTRAL.K, CENTRAL.camera_from_world, 321, 200), Camera(CENTRAL.K, np.eye(4), 320, 200)]
    assert all(other != CENTRAL for other in others) and len({CENTRAL, same, *others}) == 4
    assert CENTRAL != "camera"


def test_a_camera_shares_its_arrays_with_nobody():
    K, pose = CENTRAL.K.copy(), np.eye(4)
    camera = Camera(K, pose, 320, 200)
    K[0, 0] = pose[0, 3] = 7
    assert camera.K[0, 0] == CENTRAL.K[0, 0] and camera.position[0] == 0
    for array in (camera.K, camera.camera_from_world):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"K": np.eye(4)}, "shape"),
        ({"K": np.diag([-1, 1, 1])}, "fx, fy > 0"),
        ({"K": np.diag([1, np.nan, 1])}, "fx, fy > 0"),
        ({"K": np.eye(3) + np.eye(3, k=1)}, "fx, fy > 0"),
        ({"camera_from_world": 2 * np.eye(4)}, "rigid"),
        ({"camera_from_world": np.diag([1, 1, -1, 1])}, "rigid"),
        ({"camera_from_world": np.full((4, 4), np.nan)}, "rigid"),
        ({"width": 0}, "pixels"),
        ({"height": 40_000}, "pixels"),
    ],
)
def test_bad_cameras(change, message):
    good = {"K": CENTRAL.K, "camera_from_world": np.eye(4), "width": 320, "height": 200}
    with pytest.raises(ValueError, match=message):
        Camera(**{**good, **change})


@pytest.mark.parametrize("change", [{"target": EYE}, {"up": np.subtract(EYE, TARGET)}, {"fov_y": 0}, {"fov_y": np.pi}])
def test_views_without_a_direction(change):
    good = {"eye": EYE, "target": TARGET, "up": UP, "fov_y": 1.0, "width": 8, "height": 8}
    with pytest.raises(ValueError, match="look_at: expected"):
        Camera.look_at(**{**good, **change})
