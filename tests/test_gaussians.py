"""The Gaussians value: activations, and a transform under which every splat keeps its look."""

import gc
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from splatview import harmonics
from splatview.gaussians import Gaussians, concatenate
from splatview.geometry import Similarity, matrix_from_quat

PLACEMENT = Similarity((0.3, -0.5, 0.7, 0.2), (1.0, -2.0, 3.0), 2.5)
ARRAYS = ("means", "quats", "log_scales", "opacity_logits", "sh")


def covariances(splats):
    half = matrix_from_quat(splats.quats.astype(np.float64)) * splats.scales[:, None, :].astype(np.float64)
    return half @ half.transpose(0, 2, 1)


def arguments(count=2, degree=1):
    shapes = {"means": (count, 3), "quats": (count, 4), "log_scales": (count, 3), "opacity_logits": (count,)}
    return {name: np.ones(shape) for name, shape in shapes.items()} | {"sh": np.ones((count, (degree + 1) ** 2, 3))}


def test_activations(random_gaussians):
    splats = random_gaussians(100)
    np.testing.assert_allclose(splats.opacities, expit(splats.opacity_logits), atol=1e-6)
    np.testing.assert_allclose(np.log(splats.scales), splats.log_scales, atol=1e-5)
    np.testing.assert_allclose(splats.colours, 0.5 + 0.28209479177387814 * splats.sh[:, 0], atol=1e-6)
    assert splats.opacities.dtype == splats.scales.dtype == splats.colours.dtype == np.float32
    assert splats.nbytes == 4 * 100 * (3 + 4 + 3 + 1 + 48)


@pytest.mark.parametrize("logit", [-np.inf, -1e30, -100, 100, 1e30, np.inf])
def test_opacities_at_the_ends(logit):
    splats = Gaussians(**{**arguments(1), "opacity_logits": [logit]})
    assert splats.opacities[0] == pytest.approx(float(logit > 0), abs=1e-7)


@pytest.mark.parametrize("degree", range(5))
def test_a_moved_splat_looks_the_same_from_the_moved_place(random_gaussians, degree):
    splats = random_gaussians(200, degree)
    moved = splats.transformed(PLACEMENT)
    matrix = PLACEMENT.matrix[:3, :3]
    np.testing.assert_allclose(moved.means, PLACEMENT.apply(splats.means), rtol=1e-5, atol=1e-5)
    for got, source in zip(covariances(moved), covariances(splats), strict=True):
        want = matrix @ source @ matrix.T
        np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())
    np.testing.assert_array_equal(moved.opacity_logits, splats.opacity_logits)
    views = np.random.default_rng(0).normal(size=(200, 3))
    seen, seen_moved = harmonics.evaluate(splats.sh, views), harmonics.evaluate(moved.sh, views @ PLACEMENT.rotation.T)
    np.testing.assert_allclose(seen_moved, seen, atol=1e-5)


@pytest.mark.parametrize("degree", range(5))
def test_there_and_back(random_gaussians, degree):
    splats = random_gaussians(200, degree)
    back = splats.transformed(PLACEMENT).transformed(PLACEMENT.inverse())
    np.testing.assert_allclose(back.means, splats.means, atol=1e-5)
    np.testing.assert_allclose(back.log_scales, splats.log_scales, atol=1e-5)
    np.testing.assert_allclose(back.sh, splats.sh, atol=1e-5)
    np.testing.assert_allclose(matrix_from_quat(back.quats), matrix_from_quat(splats.quats), atol=1e-5)


def test_transforms_compose(random_gaussians):
    splats, other = random_gaussians(50, 2), Similarity((1, 2, 3, 4), (3, 2, 1), 0.3)
    once, twice = splats.transformed(other @ PLACEMENT), splats.transformed(PLACEMENT).transformed(other)
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(once, name), getattr(twice, name), atol=1e-4)


def test_the_identity_is_the_same_value(random_gaussians):
    splats = random_gaussians(5)
    assert splats.transformed(Similarity()) is splats
    assert splats.with_max_degree(3) is splats


def test_a_move_without_a_turn_keeps_orientation_and_colour(random_gaussians):
    splats = random_gaussians(5)
    moved = splats.transformed(Similarity(translation=(1, 2, 3), scale=2))
    np.testing.assert_array_equal(moved.sh, splats.sh)
    np.testing.assert_array_equal(moved.quats, splats.quats)


def test_take_by_mask_and_by_index(random_gaussians):
    splats = random_gaussians(10, kind="antialiased")
    mask = np.arange(10) % 3 == 0
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(splats.take(mask), name), getattr(splats, name)[[0, 3, 6, 9]])
        np.testing.assert_array_equal(getattr(splats.take([9, 1]), name), getattr(splats, name)[[9, 1]])
    assert splats.take(mask).kind == "antialiased"


@pytest.mark.parametrize("degree", range(4))
def test_cutting_harmonics_keeps_the_lower_ones(random_gaussians, degree):
    splats = random_gaussians(10, 3)
    np.testing.assert_array_equal(splats.with_max_degree(degree).sh, splats.sh[:, : (degree + 1) ** 2])


def test_concatenation_undone_by_take(random_gaussians):
    parts = [random_gaussians(7, 1), random_gaussians(4, 3, seed=1), random_gaussians(2, 0, seed=2)]
    whole = concatenate(parts)
    assert len(whole) == 13 and whole.sh_degree == 3
    start = 0
    for part in parts:
        piece = whole.take(np.arange(start, start + len(part)))
        for name in ARRAYS[:4]:
            np.testing.assert_array_equal(getattr(piece, name), getattr(part, name))
        np.testing.assert_array_equal(piece.sh[:, : part.sh.shape[1]], part.sh)
        assert not piece.sh[:, part.sh.shape[1] :].any()
        start += len(part)


def test_arrays_cannot_be_written(random_gaussians):
    splats = random_gaussians(3)
    for name in ARRAYS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(splats, name)[0] = 0
    with pytest.raises(AttributeError):
        splats.means = splats.means


def test_a_changed_value_shares_the_rest_and_remembers(random_gaussians):
    first = random_gaussians(20)
    one, two = np.arange(20) == 3, np.arange(20) == 7
    second = first.changed(one, opacity_logits=np.where(one, 9, first.opacity_logits))
    third = second.changed(two, means=second.means + two[:, None])
    assert second.sh is first.sh is third.sh and third.opacity_logits is second.opacity_logits and third.opacity_logits[3] == 9
    assert [(each, rows.tolist()) for each, rows in third.ancestors()] == [(second, two.tolist()), (first, (one | two).tolist())]
    assert not list(first.ancestors()) and not list(replace(second).ancestors())
    del second
    gc.collect()
    assert [(each, rows.tolist()) for each, rows in third.ancestors()] == [(first, (one | two).tolist())]


def test_a_value_does_not_remember_for_ever(random_gaussians):
    first = last = random_gaussians(9)
    for _ in range(100):
        last = last.changed(np.ones(9), means=last.means + 1)
    assert len(last._steps) <= 32 and first not in [each for each, _ in last.ancestors()]


def test_what_is_no_change_is_refused(random_gaussians):
    splats = random_gaussians(20, 2)
    for which, arrays in (
        (np.ones(19), {}),
        (np.ones(20), {"means": np.zeros((19, 3))}),
        (np.ones(20), {"sh": splats.sh[:, :4]}),
    ):
        with pytest.raises(ValueError, match="Gaussians"):
            splats.changed(which, **arrays)


def test_values_are_compared_by_identity(random_gaussians):
    assert random_gaussians(3) != random_gaussians(3)


@pytest.mark.parametrize("name", ARRAYS)
def test_shapes_are_checked(name):
    with pytest.raises(ValueError, match=rf"Gaussians\.{name}: expected an array of shape"):
        Gaussians(**{**arguments(), name: np.ones((3, 2, 2, 2)) if name != "means" else np.ones((2, 4))})


def test_counts_degree_and_kind_are_checked():
    with pytest.raises(ValueError, match=r"opacity_logits.*\[2\], got \[3\]"):
        Gaussians(**{**arguments(), "opacity_logits": np.ones(3)})
    with pytest.raises(ValueError, match="coefficients"):
        Gaussians(**{**arguments(), "sh": np.ones((2, 5, 3))})
    with pytest.raises(ValueError, match="kind"):
        Gaussians(**arguments(), kind="3dgs")
