"""Simplifying: exact counts, untouched rows untouched, moments kept, and pictures that stay."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import splatview
from splatview.camera import Camera
from splatview.edit import quality, simplify
from splatview.edit.attributes import surface
from splatview.framing import frame_scene
from splatview.gaussians import Gaussians
from splatview.geometry import Similarity, matrix_from_quat
from splatview.scene import Layer, Scene

ARRAYS = ("means", "quats", "log_scales", "opacity_logits", "sh")


def covariances(splats):
    half = matrix_from_quat(splats.quats.astype(np.float64)) * splats.scales[:, None, :].astype(np.float64)
    return half @ half.transpose(0, 2, 1)


def painted_ball(count=20_000, seed=0):
    """A dense sphere of flat Gaussians that lie in it, with a pattern of colours."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    half_way = normals + np.array([0, 0, 1])  # half a turn about it takes z to the normal
    quats = np.concatenate([np.zeros((count, 1)), half_way / np.linalg.norm(half_way, axis=1, keepdims=True)], axis=1)
    sh = np.zeros((count, 4, 3))
    sh[:, 0] = np.sin(4 * normals)
    sh[:, 1:] = rng.normal(0, 0.02, (count, 3, 3))
    scales = np.log([0.015, 0.015, 0.002]) + rng.normal(0, 0.3, (count, 3))
    return Gaussians(normals, quats, scales, rng.uniform(-1, 4, count), sh)


@pytest.fixture(scope="module")
def render():
    renderer = splatview.open_renderer("cpu")
    return lambda splats, camera: renderer.render(Scene({"": Layer(splats)}), camera).rgb


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_pictures_stay(render, share):
    splats = painted_ball()
    count = int(share * len(splats))
    cameras = quality.orbit(frame_scene(Scene({"": Layer(splats)}), "z"), 3, 240, 180)
    ours = np.mean(quality.psnr_over(splats, simplify.simplified(splats, count), cameras, render))
    some = np.sort(np.random.default_rng(0).permutation(len(splats))[:count])
    random = np.mean(quality.psnr_over(splats, splats.take(some), cameras, render))
    important = np.sort(np.argsort(-splats.opacities * surface(splats.scales), kind="stable")[:count])
    pruned = np.mean(quality.psnr_over(splats, splats.take(important), cameras, render))
    assert ours > max(random, pruned) + 6
    assert ours > (33 if share == 0.5 else 24)


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 3), st.randoms(use_true_random=False))
def test_counts_are_exact_and_others_untouched(random_gaussians, total, count, broken, random):
    splats = random_gaussians(total, degree=1, seed=total)
    means = splats.means.copy()
    means[:broken] = np.nan
    means[broken : 2 * broken] = means[-1]  # some in one place
    splats = replace(splats, means=means)
    which = np.array([random.random() < 0.7 for _ in range(total)])
    got = simplify.simplified(splats, count, which)
    assert len(got) == total - max(which.sum() - count, 0)
    into = simplify.groups(splats, count, which)
    np.testing.assert_array_equal(into[~which], np.flatnonzero(~which))
    assert (into[into >= 0] == into[into[into >= 0]]).all() and (into <= np.arange(total)).all()
    alone = np.bincount(into[into >= 0], minlength=total)[into] == 1
    place = np.cumsum(into == np.arange(total)) - 1
    for name in ARRAYS:
        kept = alone & (into == np.arange(total))
        np.testing.assert_array_equal(getattr(got, name)[place[kept]], getattr(splats, name)[kept])
    if which.sum() - count >= np.isnan(means[which, 0]).sum():  # the broken ones go first
        assert np.isfinite(got.means[which[into == np.arange(total)]]).all()


def test_it_is_the_same_every_time(random_gaussians):
    splats = random_gaussians(3000)
    one, other = (simplify.simplified(splats, 700) for _ in range(2))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_enough_is_left_alone(random_gaussians):
    splats = random_gaussians(100)
    for count in (100, 1000):
        got = simplify.simplified(splats, count)
        assert all(np.array_equal(getattr(got, name), getattr(splats, name)) for name in ARRAYS)
    assert len(simplify.simplified(splats.take([]), 1)) == 0


def test_a_merge_keeps_the_first_two_moments_and_the_mass(random_gaussians):
    splats = replace(random_gaussians(40), opacity_logits=np.random.default_rng(0).uniform(-5, -3, 40))
    into = np.repeat([0, 10, 20, 30], 10).astype(np.int32)
    got = simplify.merged(splats, into)
    opacities, areas = splats.opacities.astype(np.float64), surface(splats.scales) / 4
    for index, begin in enumerate((0, 10, 20, 30)):
        rows = slice(begin, begin + 10)
        weights = np.where(opacities < 1 / 255, 0, opacities)[rows] * areas[rows]
        weights /= weights.sum()
        mean = weights @ splats.means[rows].astype(np.float64)
        apart = splats.means[rows] - mean
        shape = np.einsum("n,nij->ij", weights, covariances(splats)[rows] + apart[:, :, None] * apart[:, None, :])
        np.testing.assert_allclose(got.means[index], mean, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(covariances(got)[index], shape, atol=1e-4 * np.abs(shape).max())
        np.testing.assert_allclose(got.sh[index], np.einsum("n,nkc->kc", weights, splats.sh[rows]), atol=1e-5)
        mass = (opacities * areas)[rows].sum()
        assert got.opacities[index] * surface(got.scales[index]) / 4 == pytest.approx(mass, rel=1e-3)


def test_two_in_one_place_are_as_opaque_as_one_behind_the_other(random_gaussians):
    one = replace(random_gaussians(1), opacity_logits=[0.5])
    got = simplify.simplified(one.take([0, 0]), 1)
    np.testing.assert_allclose(covariances(got), covariances(one), rtol=1e-3, atol=1e-8)
    assert got.opacities[0] == pytest.approx(1 - (1 - one.opacities[0]) ** 2, rel=1e-4)
    np.testing.assert_allclose(got.sh, one.sh, atol=1e-6)


def test_a_scene_may_be_turned_and_scaled_before_or_after(random_gaussians):
    splats = random_gaussians(500)
    placement = Similarity((0.3, -0.5, 0.7, 0.2), (1.0, -2.0, 3.0), 2.0)
    assert (simplify.groups(splats, 250) == simplify.groups(splats.transformed(placement), 250)).mean() > 0.97
    one, other = simplify.simplified(splats, 499).transformed(placement), simplify.simplified(splats.transformed(placement), 499)
    np.testing.assert_allclose(covariances(one), covariances(other), rtol=2e-2, atol=1e-5)


def test_invisible_ones_go_first():
    splats = painted_ball(1000)
    logits = splats.opacity_logits.copy()
    logits[::4] = -20
    got = simplify.simplified(replace(splats, opacity_logits=logits), 750)
    assert got.opacities.min() > 0.1


def test_progress_rises_and_may_stop_the_work(random_gaussians):
    splats = random_gaussians(2000)
    told = []
    simplify.simplified(splats, 100, progress=lambda share, text: told.append((share, text)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] < 1 and len(told) > 3
    told.clear()
    simplify.simplified(replace(splats, means=np.round(splats.means / 3)), 5, progress=lambda share, text: told.append(share))
    assert told == sorted(told)

    def stop(share, text):
        raise InterruptedError(text)

    with pytest.raises(InterruptedError, match="merging"):
        simplify.simplified(splats, 100, progress=stop)


@pytest.mark.parametrize("wild", [3e38, 1e20, -3e38])
def test_wild_numbers(random_gaussians, wild):
    splats = random_gaussians(50, degree=0)
    for name in ARRAYS:
        array = getattr(splats, name).copy()
        array[ARRAYS.index(name)] = wild
        splats = replace(splats, **{name: array})
    for count in (1, 7, 45, 49):
        assert len(simplify.simplified(splats, count)) == count


def test_far_apart_beyond_float32():
    means = np.array([[1e14, 0, 0], [0, 1e14, 0], [0, 0, -1e14]])
    splats = Gaussians(means, np.ones((3, 4)), np.zeros((3, 3)), np.zeros(3), np.zeros((3, 1, 3)))
    assert len(simplify.simplified(splats, 1)) == 1


def test_arguments_are_checked(random_gaussians):
    with pytest.raises(ValueError, match="count of 1 or more"):
        simplify.simplified(random_gaussians(3), 0)
    with pytest.raises(ValueError, match="a mask of 3 entries"):
        simplify.simplified(random_gaussians(3), 1, np.ones(4, bool))
    with pytest.raises(ValueError, match="1 camera"):
        quality.orbit(frame_scene(Scene()), 0)


def test_an_orbit_goes_round(random_gaussians):
    framing = frame_scene(Scene({"": Layer(random_gaussians(100))}), "z")
    cameras = quality.orbit(framing, 4)
    offsets = np.array([camera.position - framing.centre for camera in cameras])
    np.testing.assert_allclose(np.linalg.norm(offsets, axis=1), np.linalg.norm(offsets[0]))
    np.testing.assert_allclose(offsets[:, 2], offsets[0, 2])
    np.testing.assert_allclose(offsets.sum(0)[:2], 0, atol=1e-9)
    for camera, offset in zip(cameras, offsets, strict=True):
        np.testing.assert_allclose(camera.forward, -offset / np.linalg.norm(offset), atol=1e-9)
    first = framing.camera(480, 320)
    assert isinstance(cameras[0], Camera) and np.allclose(cameras[0].camera_from_world, first.camera_from_world)


def test_psnr():
    picture = np.random.default_rng(0).random((8, 8, 3))
    assert quality.psnr(picture, picture) == np.inf
    assert quality.psnr(np.zeros((4, 4, 3)), np.full((4, 4, 3), 0.1)) == pytest.approx(20)
    assert quality.psnr(np.full((4, 4, 3), 5.0), np.ones((4, 4, 3))) == np.inf
