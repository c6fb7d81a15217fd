"""Quaternions, rotations and similarity transforms: the laws of their groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from splatview.geometry import (
    Similarity,
    matrix_from_quat,
    multiply_quats,
    normalised,
    quat_from_matrix,
    rotation_about,
    rotation_between,
)

numbers = st.floats(-10, 10, allow_nan=False)
points = st.tuples(numbers, numbers, numbers)
quats = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda quat: np.linalg.norm(quat) > 0.1)
similarities = st.builds(Similarity, quats, points, st.floats(0.1, 10))


def close(a, b):
    np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-8 * max(1.0, np.abs(b.matrix).max()))


@given(quats)
def test_a_quaternion_turns_as_scipy_says(quat):
    np.testing.assert_allclose(matrix_from_quat(quat), Rotation.from_quat(quat, scalar_first=True).as_matrix(), atol=1e-12)


@given(quats)
def test_matrix_and_quaternion_round_trip(quat):
    back = quat_from_matrix(matrix_from_quat(quat))
    assert np.linalg.norm(back) == pytest.approx(1) and back[np.argmax(np.abs(back))] > 0
    assert abs(back @ normalised(quat)) == pytest.approx(1)


@pytest.mark.parametrize("axis", np.eye(3))
@pytest.mark.parametrize("angle", [0, 1e-9, np.pi / 2, np.pi - 1e-9, np.pi, -np.pi / 2])
def test_matrix_and_quaternion_round_trip_at_the_corners(axis, angle):
    turn = rotation_about(axis, angle)
    np.testing.assert_allclose(matrix_from_quat(quat_from_matrix(turn)), turn, atol=1e-12)


def test_many_at_once():
    many = np.random.default_rng(0).normal(size=(5, 7, 4))
    matrices = matrix_from_quat(many)
    assert matrices.shape == (5, 7, 3, 3)
    np.testing.assert_allclose(matrix_from_quat(quat_from_matrix(matrices)), matrices, atol=1e-12)
    np.testing.assert_array_equal(matrices[2, 3], matrix_from_quat(many[2, 3]))


@given(quats, quats)
def test_the_product_turns_by_both(a, b):
    np.testing.assert_allclose(matrix_from_quat(multiply_quats(a, b)), matrix_from_quat(a) @ matrix_from_quat(b), atol=1e-9)


def test_zero_is_no_error():
    np.testing.assert_array_equal(normalised(np.zeros((2, 3))), np.zeros((2, 3)))
    np.testing.assert_array_equal(matrix_from_quat([0, 0, 0, 0]), np.eye(3))


def test_rotation_about_is_right_handed():
    np.testing.assert_allclose(rotation_about([0, 0, 2], np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-15)


@given(points, points)
def test_rotation_between_takes_one_to_the_other(a, b):
    if np.linalg.norm(a) < 1e-3 or np.linalg.norm(b) < 1e-3:
        return
    turn = rotation_between(a, b)
    np.testing.assert_allclose(turn @ normalised(a), normalised(b), atol=1e-5)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(turn) == pytest.approx(1)


@pytest.mark.parametrize("axis", [[1, 0, 0], [0, 1, 0], [0, 0, -1], [1, 2, 3]])
def test_rotation_between_opposites(axis):
    np.testing.assert_allclose(rotation_between(axis, -np.array(axis)) @ normalised(axis), -normalised(axis), atol=1e-12)


@given(similarities, similarities, similarities)
def test_composition_is_associative(a, b, c):
    close((a @ b) @ c, a @ (b @ c))


@given(similarities)
def test_identity_and_inverse(a):
    close(a @ Similarity(), a)
    close(Similarity() @ a, a)
    np.testing.assert_allclose((a @ a.inverse()).matrix, np.eye(4), atol=1e-9 * (1 + a.scale + 1 / a.scale))
    close(a.inverse().inverse(), a)


@given(similarities, similarities, points)
def test_composition_applies_the_right_one_first(a, b, point):
    np.testing.assert_allclose((a @ b).apply(point), a.apply(b.apply(point)), atol=1e-7)


@given(similarities, points)
def test_the_matrix_does_what_apply_does(a, point):
    np.testing.assert_allclose(a.matrix[:3] @ [*point, 1], a.apply(point), atol=1e-9)
    np.testing.assert_allclose(a.apply([point, point])[1], a.apply(point), atol=1e-9)


@given(similarities)
def test_from_matrix_is_the_way_back(a):
    close(Similarity.from_matrix(a.matrix), a)
    close(Similarity.from_matrix(a.matrix[:3]), a)


@given(similarities, points, points)
def test_all_lengths_grow_by_the_scale(a, p, q):
    moved = np.linalg.norm(a.apply(p) - a.apply(q))
    assert moved == pytest.approx(a.scale * np.linalg.norm(np.subtract(p, q)), abs=1e-8)


def test_only_the_identity_is_the_identity():
    assert Similarity().is_identity and Similarity((2, 0, 0, 0)).is_identity
    assert not Similarity(scale=2).is_identity and not Similarity(translation=(0, 1e-9, 0)).is_identity
    assert hash(Similarity()) == hash(Similarity((3, 0, 0, 0)))


@pytest.mark.parametrize(
    "arguments",
    [
        {"quat": (0, 0, 0, 0)},
        {"quat": (np.nan, 0, 0, 1)},
        {"quat": (1, 0, 0)},
        {"translation": (0, np.inf, 0)},
        {"translation": (0, 0)},
        {"scale": 0},
        {"scale": -1},
        {"scale": np.nan},
        {"scale": np.inf},
    ],
    ids=str,
)
def test_bad_similarities(arguments):
    with pytest.raises(ValueError, match="Similarity: expected"):
        Similarity(**arguments)


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([1, 1, -1, 1]),
        np.diag([1, 2, 1, 1]),
        np.eye(4) + np.eye(4, k=1),
        np.zeros((4, 4)),
        np.full((4, 4), np.nan),
        np.eye(3),
        np.diag([1, 1, 1, 2]),
    ],
)
def test_matrices_that_are_no_similarity(matrix):
    with pytest.raises(ValueError, match="Similarity: expected"):
        Similarity.from_matrix(matrix)


@given(quats)
def test_a_similarity_made_of_another_ones_numbers_is_the_same_one(quat):
    one = Similarity(quat)
    assert Similarity(one.quat, one.translation, one.scale) == one
