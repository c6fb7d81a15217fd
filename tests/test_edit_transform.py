"""Moving splats: what a similarity does to means, covariances and harmonics, to some rows and to no other."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from splatview import harmonics
from splatview.edit.transform import about, align_plane, in_layer, moved, rescale_from, up_axis
from splatview.framing import axis_vector
from splatview.geometry import Similarity, matrix_from_quat

TRANSFORM = Similarity((0.3, -0.5, 0.7, 0.2), (1.0, -2.0, 3.0), 2.5)
PLACEMENT = Similarity((1, 2, 3, -1), (-3, 0.5, 2), 0.4)
PIVOT = (0.5, -1.0, 2.0)
ARRAYS = ("means", "quats", "log_scales", "opacity_logits", "sh")
AXES = ["x", "y", "z", "-x", "-y", "-z"]
degrees = pytest.mark.parametrize("degree", range(5))


def some(splats):
    return np.random.default_rng(1).random(len(splats)) < 0.4


def every(splats):
    return np.ones(len(splats), np.bool_)


def after(splats, which, *transforms, pivot=None):
    for transform in transforms:
        splats = replace(splats, **moved(splats, which, transform, pivot))
    return splats


def covariances(splats):
    half = matrix_from_quat(splats.quats.astype(np.float64)) * splats.scales[:, None, :].astype(np.float64)
    return half @ half.transpose(0, 2, 1)


@degrees
def test_moving_all_is_what_the_value_itself_does(random_gaussians, degree):
    splats = random_gaussians(1500, degree)  # more than a block
    got, want = after(splats, every(splats), TRANSFORM), splats.transformed(TRANSFORM)
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(got, name), getattr(want, name), atol=2e-6)


@degrees
def test_the_chosen_move_and_the_others_keep_their_bits(random_gaussians, degree):
    splats = random_gaussians(1500, degree)
    which = some(splats)
    got, want = after(splats, which, TRANSFORM), splats.transformed(TRANSFORM)
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(got, name)[which], getattr(want, name)[which], atol=2e-6)
        np.testing.assert_array_equal(getattr(got, name)[~which].view(np.uint32), getattr(splats, name)[~which].view(np.uint32))


@degrees
def test_covariances_and_what_is_seen_follow(random_gaussians, degree):
    splats = random_gaussians(300, degree)
    got = after(splats, every(splats), TRANSFORM, pivot=PIVOT)
    matrix = TRANSFORM.scale * TRANSFORM.rotation
    for after_it, source in zip(covariances(got), covariances(splats), strict=True):
        want = matrix @ source @ matrix.T
        np.testing.assert_allclose(after_it, want, atol=1e-5 * np.abs(want).max())
    views = np.random.default_rng(2).normal(size=(300, 3))
    seen = harmonics.evaluate(splats.sh, views)
    np.testing.assert_allclose(harmonics.evaluate(got.sh, views @ TRANSFORM.rotation.T), seen, atol=1e-5)


@degrees
@pytest.mark.parametrize("pivot", [None, PIVOT])
def test_there_and_back(random_gaussians, degree, pivot):
    splats = random_gaussians(1000, degree)
    which = some(splats)
    there = about(TRANSFORM, pivot or (0, 0, 0))
    back = after(splats, which, there, there.inverse())
    np.testing.assert_allclose(back.means, splats.means, atol=1e-5 * np.abs(splats.means).max())
    np.testing.assert_allclose(back.scales, splats.scales, rtol=1e-5)
    np.testing.assert_allclose(back.sh, splats.sh, atol=1e-5 * np.abs(splats.sh).max())
    np.testing.assert_allclose(matrix_from_quat(back.quats), matrix_from_quat(splats.quats), atol=1e-5)


@degrees
def test_a_turn_and_its_inverse_leave_the_harmonics(random_gaussians, degree):
    splats = random_gaussians(1000, degree)
    for quat in Rotation.random(5, rng=np.random.default_rng(degree)).as_quat(scalar_first=True):
        turn = Similarity(tuple(quat))
        back = after(splats, every(splats), turn, turn.inverse())
        np.testing.assert_allclose(back.sh, splats.sh, atol=2e-6)
        np.testing.assert_array_equal(back.sh[:, 0], splats.sh[:, 0])


def test_only_what_changes_is_listed(random_gaussians):
    splats, flat = random_gaussians(50), random_gaussians(50, 0)
    which = some(splats)
    assert moved(splats, which, Similarity()) == {} == moved(splats, which, Similarity(), PIVOT)
    assert moved(splats, np.zeros(50, np.bool_), TRANSFORM) == {}
    assert set(moved(splats, which, Similarity(translation=(1, 2, 3)), PIVOT)) == {"means"}
    assert set(moved(splats, which, Similarity(scale=2.0))) == {"means", "log_scales"}
    assert set(moved(splats, which, Similarity(TRANSFORM.quat))) == {"means", "quats", "sh"}
    assert set(moved(flat, which, TRANSFORM)) == {"means", "log_scales", "quats"}


def test_the_pivot_stays(random_gaussians):
    splats = random_gaussians(10)
    pivot = splats.means[3].astype(np.float64)
    turned = after(splats, every(splats), replace(TRANSFORM, translation=(0, 0, 0)), pivot=pivot)
    np.testing.assert_allclose(turned.means[3], pivot, atol=1e-6)
    np.testing.assert_allclose(about(TRANSFORM, PIVOT).apply(PIVOT), np.add(PIVOT, TRANSFORM.translation), atol=1e-12)
    shift = Similarity(translation=(0.1, 0.2, 0.3))
    assert about(shift, (1e6, 1 / 3, -7)) == shift


def test_a_move_of_the_world_seen_from_a_layer(random_gaussians):
    splats = random_gaussians(200, 2)
    local = in_layer(TRANSFORM, PLACEMENT)
    got = after(splats, every(splats), local).transformed(PLACEMENT)
    want = splats.transformed(PLACEMENT).transformed(TRANSFORM)
    np.testing.assert_allclose(got.means, want.means, atol=1e-5)
    np.testing.assert_allclose(got.log_scales, want.log_scales, atol=1e-5)
    np.testing.assert_allclose(got.sh, want.sh, atol=1e-5)
    assert in_layer(Similarity(), PLACEMENT).is_identity and in_layer(TRANSFORM, Similarity()) == TRANSFORM


@pytest.mark.parametrize("pivot", [(0, 0, 0), PIVOT])
def test_a_measured_length_becomes_the_wanted_one(pivot):
    a, b = np.array([1.0, 2, 3]), np.array([-1.0, 4, 2.5])
    scaled = rescale_from(a, b, 7.5, pivot)
    assert np.linalg.norm(scaled.apply(a) - scaled.apply(b)) == pytest.approx(7.5)
    np.testing.assert_allclose(scaled.apply(pivot), pivot, atol=1e-12)
    assert scaled.quat == (1, 0, 0, 0)


@pytest.mark.parametrize("up", [*np.eye(3), *-np.eye(3), (1, 2, -3)])
def test_three_points_come_to_lie_on_the_ground(up):
    normal = np.asarray(up) / np.linalg.norm(up)
    for p, q, r in np.random.default_rng(3).normal(0, 3, (30, 3, 3)):
        level = align_plane(p, q, r, up)
        np.testing.assert_allclose(level.apply([p, q, r]) @ normal, 0, atol=1e-9)
        # p goes up or down and nowhere else, and no turn does it in less than the angle between the plane and the ground.
        np.testing.assert_allclose(np.cross(level.apply(p) - p, normal), 0, atol=1e-9)
        across = np.cross(q - p, r - p)
        tilt = np.arccos(min(1, abs(across @ normal) / np.linalg.norm(across)))
        assert Rotation.from_quat(level.quat, scalar_first=True).magnitude() == pytest.approx(tilt, abs=1e-7)
        assert level.scale == 1
        again = align_plane(*level.apply([p, q, r]), up)
        np.testing.assert_allclose(again.matrix, np.eye(4), atol=1e-7)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("up", AXES)
def test_an_axis_becomes_the_up_axis(axis, up):
    turn = up_axis(axis, up)
    np.testing.assert_allclose(turn.apply(axis_vector(axis)), axis_vector(up), atol=1e-12)
    assert turn.scale == 1 and turn.translation == (0, 0, 0)
    assert turn.is_identity == (axis == up)


def test_broken_splats_harm_nobody(random_gaussians):
    splats = random_gaussians(20)
    means, quats, sh = splats.means.copy(), splats.quats.copy(), splats.sh.copy()
    means[3], quats[3], quats[5], sh[3, 4] = np.inf, np.inf, 0, np.nan
    broken = replace(splats, means=means, quats=quats, sh=sh)
    whole = np.setdiff1d(np.arange(20), [3, 5])
    got, want = after(broken, every(broken), TRANSFORM), after(splats, every(splats), TRANSFORM)
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(got, name)[whole], getattr(want, name)[whole], atol=1e-6)


def test_what_cannot_be_moved_measured_or_aligned(random_gaussians):
    splats = random_gaussians(5)
    for which in (np.ones(4, np.bool_), np.arange(5)):
        with pytest.raises(ValueError, match="which: expected a mask of 5"):
            moved(splats, which, TRANSFORM)
    with pytest.raises(ValueError, match="pivot: expected three finite numbers"):
        moved(splats, every(splats), TRANSFORM, (np.nan, 0, 0))
    with pytest.raises(ValueError, match="two points apart"):
        rescale_from((1, 2, 3), (1, 2, 3), 2)
    for length in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="length > 0"):
            rescale_from((1, 2, 3), (1, 2, 4), length)
    for third in ((2, 2, 2), (0, 0, 0), (1, 1, 1)):
        with pytest.raises(ValueError, match="not on one line"):
            align_plane((0, 0, 0), (1, 1, 1), third, (0, 0, 1))
    with pytest.raises(ValueError, match="up: expected a direction"):
        align_plane((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 0))
    with pytest.raises(ValueError, match="axis: expected one of"):
        up_axis("auto")
