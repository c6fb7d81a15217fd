"""Spherical harmonics: the basis of gsplat, orthonormal, and rotations that a view cannot tell from turned directions."""

import numpy as np
import pytest
import torch
from gsplat.cuda._torch_impl import _eval_sh_bases_fast
from scipy.spatial.transform import Rotation

from splatview import harmonics
from splatview.geometry import normalised

degrees = pytest.mark.parametrize("degree", range(5))


def directions(count, seed=0):
    return normalised(np.random.default_rng(seed).normal(size=(count, 3)))


@degrees
def test_the_basis_is_the_one_of_gsplat(degree):
    at = directions(500)
    ours = harmonics.basis(at, degree)
    theirs = _eval_sh_bases_fast(harmonics.coefficients(degree), torch.from_numpy(at)).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_the_basis_is_orthonormal():
    heights, weights = np.polynomial.legendre.leggauss(12)
    turns = np.arange(24) * 2 * np.pi / 24
    radius = np.sqrt(1 - heights**2)[:, None]
    at = np.stack([radius * np.cos(turns), radius * np.sin(turns), np.broadcast_to(heights[:, None], (12, 24))], -1)
    values = harmonics.basis(at, 4)
    product = np.einsum("htk,htl,h->kl", values, values, weights) * 2 * np.pi / 24
    np.testing.assert_allclose(product, np.eye(25), atol=1e-12)


@degrees
def test_turned_harmonics_seen_from_turned_directions_look_the_same(degree):
    rng = np.random.default_rng(degree)
    sh, at = rng.normal(size=(200, harmonics.coefficients(degree), 3)), directions(200, 1)
    for turn in Rotation.random(5, rng=rng).as_matrix():
        turned = harmonics.rotate(sh, turn)
        np.testing.assert_allclose(harmonics.evaluate(turned, at @ turn.T), harmonics.evaluate(sh, at), atol=1e-11)


@degrees
def test_rotations_compose(degree):
    rng = np.random.default_rng(degree)
    sh = rng.normal(size=(20, harmonics.coefficients(degree), 3))
    a, b = Rotation.random(2, rng=rng).as_matrix()
    np.testing.assert_allclose(harmonics.rotate(harmonics.rotate(sh, b), a), harmonics.rotate(sh, a @ b), atol=1e-12)
    np.testing.assert_allclose(harmonics.rotate(sh, np.eye(3)), sh, atol=1e-12)


def test_rotation_blocks_are_orthogonal():
    turn = Rotation.random(rng=np.random.default_rng(0)).as_matrix()
    blocks = harmonics.rotation_blocks(turn, 4)
    assert [len(block) for block in blocks] == [3, 5, 7, 9]
    for block in blocks:
        np.testing.assert_allclose(block @ block.T, np.eye(len(block)), atol=1e-12)


def test_rotation_keeps_float32_and_the_input():
    sh = np.random.default_rng(0).normal(size=(5, 16, 3)).astype(np.float32)
    before = sh.copy()
    assert harmonics.rotate(sh, np.diag([1.0, -1.0, -1.0])).dtype == np.float32
    np.testing.assert_array_equal(sh, before)


def test_evaluate_ignores_the_length_and_is_never_negative():
    sh, at = np.random.default_rng(0).normal(size=(50, 9, 3)), directions(50)
    np.testing.assert_allclose(harmonics.evaluate(sh, 7 * at), harmonics.evaluate(sh, at), atol=1e-12)
    assert harmonics.evaluate(5 * sh, at).min() == 0


@degrees
def test_degrees_and_counts(degree):
    assert harmonics.degree_of(harmonics.coefficients(degree)) == degree


@pytest.mark.parametrize("count", [0, 2, 8, 36])
def test_counts_without_a_degree(count):
    with pytest.raises(ValueError, match=f"got {count}"):
        harmonics.degree_of(count)
