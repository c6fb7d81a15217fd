"""Finders: each finds exactly what was put into a clean scene, and nothing in it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from splatview import inspection
from splatview.camera import Camera
from splatview.edit import cleanup
from splatview.gaussians import Gaussians, concatenate
from splatview.geometry import Similarity

ARRAYS = ("means", "quats", "log_scales", "opacity_logits", "sh")


def clean(count=2000, seed=0):
    """A surface of small flat Gaussians, evenly spread."""
    rng = np.random.default_rng(seed)
    side = int(count**0.5)
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    count = side * side
    means = np.stack([x.ravel(), y.ravel(), 0.01 * rng.normal(size=count)], 1)
    scales = np.log([0.02, 0.02, 0.002]) + rng.normal(0, 0.1, (count, 3))
    return Gaussians(means, rng.normal(size=(count, 4)), scales, rng.uniform(0, 4, count), rng.normal(0, 0.3, (count, 4, 3)))


def spoilt(splats, name, rows, value):
    array = getattr(splats, name).copy()
    array[rows] = value
    return replace(splats, **{name: array})


def test_nothing_is_found_in_a_clean_scene():
    assert cleanup.counts(cleanup.found(clean())) == dict.fromkeys([*cleanup.FINDERS, "any"], 0)


@pytest.mark.parametrize("name", cleanup.FINDERS)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_gaussians(name, count):
    splats = clean().take(np.arange(count))
    assert cleanup.FINDERS[name](splats).tolist() == [False] * count or name in ("floaters", "giant")


@pytest.mark.parametrize("name", cleanup.FINDERS)
def test_finders_live_with_broken_ones(name):
    splats = clean()
    for array in ARRAYS:
        for row, value in enumerate([np.nan, np.inf, -np.inf, 3e38]):
            splats = spoilt(splats, array, 10 * ARRAYS.index(array) + row, value)
    mask = cleanup.FINDERS[name](splats)
    assert mask.shape == (len(splats),) and mask.dtype == np.bool_
    assert not mask[100:].any()
    everything = Gaussians(**{array: np.full_like(getattr(splats, array), np.nan) for array in ARRAYS})
    assert cleanup.FINDERS[name](everything).all() == (name == "broken")


def test_broken_ones_are_those_of_the_inspection():
    splats = clean()
    for row, array in enumerate(ARRAYS):
        splats = spoilt(splats, array, row, np.nan)
    splats = spoilt(splats, "quats", 7, 0)
    want = [mask for problem, mask in inspection.problems(splats) if problem.kind in ("broken", "unturned")]
    np.testing.assert_array_equal(cleanup.broken(splats), np.logical_or.reduce(want))
    assert np.flatnonzero(cleanup.broken(splats)).tolist() == [0, 1, 2, 3, 4, 7]


def test_giants_are_those_of_the_inspection_and_follow_the_share():
    splats = spoilt(clean(), "log_scales", [3, 5], [[0, -5, -5], [-5, -0.3, -0.3]])
    by_inspection = [mask for problem, mask in inspection.problems(splats) if problem.kind == "giant"]
    giants = cleanup.giant(splats)
    np.testing.assert_array_equal(giants, by_inspection[0])
    assert np.flatnonzero(giants).tolist() == [3, 5]
    assert np.flatnonzero(cleanup.giant(splats, 0.7)).tolist() == [3]


def test_needles_are_long_not_flat():
    splats = spoilt(clean(), "log_scales", [3, 4, 5], np.log([[1, 0.01, 0.01], [0.02, 0.5, 0.01], [0.5, 0.5, 1e-4]]))
    assert np.flatnonzero(cleanup.needles(splats)).tolist() == [3, 4]
    assert np.flatnonzero(cleanup.needles(splats, 50)).tolist() == [3]


def test_floaters_as_scipy_counts_them():
    stray = spoilt(clean(), "means", [100, 500], [[0.5, 0.5, 2.0], [-1, -1, 0]])
    assert np.flatnonzero(cleanup.floaters(stray)).tolist() == [100, 500]
    rng = np.random.default_rng(0)
    splats = replace(clean(), means=rng.normal(size=(len(clean()), 3)) ** 3)
    counts = cKDTree(splats.means).query_ball_point(splats.means, 0.2, return_length=True) - 1
    np.testing.assert_array_equal(cleanup.floaters(splats, 0.2, 6), counts < 6)
    moved = splats.transformed(Similarity((0.3, -0.5, 0.7, 0.2), (1.0, -2.0, 3.0), 2.5))
    assert (cleanup.floaters(moved) != cleanup.floaters(splats)).mean() < 2e-3


def test_low_contribution_is_what_no_camera_sees():
    splats = clean()
    rng = np.random.default_rng(0)
    weights = {Camera.look_at((x, 0, 3), (0, 0, 0), (0, 1, 0), 0.8, 8, 8): rng.random(len(splats)) ** 4 for x in range(3)}
    contributors = lambda camera, least: weights[camera] >= least
    got = cleanup.low_contribution(splats, weights, contributors, 0.3)
    np.testing.assert_array_equal(got, np.max(list(weights.values()), axis=0) < 0.3)
    assert (cleanup.low_contribution(splats, weights, contributors, 0.1) <= got).all()
    with pytest.raises(ValueError, match="at least one camera"):
        cleanup.low_contribution(splats, [], contributors)


def test_one_of_each_is_kept():
    splats = clean()
    rows = np.concatenate([np.arange(len(splats)), np.repeat([5, 900], 100), np.arange(50, 90)])
    heap = splats.take(rows)
    gone = cleanup.duplicates(heap)
    np.testing.assert_array_equal(gone, np.arange(len(rows)) >= len(splats))
    assert not cleanup.duplicates(heap.take(~gone)).any()
    shuffled = np.random.default_rng(0).permutation(len(rows))
    assert cleanup.duplicates(heap.take(shuffled)).sum() == gone.sum()


@pytest.mark.parametrize(
    ("name", "change", "same"),
    [
        ("means", 1e-6, True),
        ("means", 1e-3, False),
        ("log_scales", 0.01, True),
        ("log_scales", 0.1, False),
        ("sh", 0.01, True),
        ("sh", 0.1, False),
        ("opacity_logits", 0.001, True),
        ("opacity_logits", 0.5, False),
    ],
)
def test_duplicates_are_alike_in_place_size_and_look(name, change, same):
    splats = clean()
    twins = concatenate([splats, replace(splats, **{name: getattr(splats, name) + np.float32(change)})])
    gone = cleanup.duplicates(twins)
    if same:
        np.testing.assert_array_equal(gone, np.arange(len(twins)) >= len(splats))
    else:
        assert not gone.any()


def test_a_row_of_close_ones_is_thinned_not_eaten():
    one = clean().take([0])
    line = concatenate([replace(one, means=one.means + np.float32([[0.6 * step, 0, 0]])) for step in range(30)])
    gone = cleanup.duplicates(line, place=1.0 / np.exp(one.log_scales.max()))
    np.testing.assert_array_equal(gone, np.arange(30) % 2 == 1)


def test_counts():
    masks = {"a": np.array([True, True, False, False]), "b": np.array([False, True, True, False])}
    assert cleanup.counts(masks) == {"a": 2, "b": 2, "any": 3}
    assert cleanup.counts({}) == {"any": 0}


@pytest.mark.parametrize(
    "call",
    [
        lambda splats: cleanup.giant(splats, 0),
        lambda splats: cleanup.needles(splats, np.nan),
        lambda splats: cleanup.floaters(splats, -1),
        lambda splats: cleanup.floaters(splats, 1, 0),
        lambda splats: cleanup.duplicates(splats, place=-1),
        lambda splats: cleanup.low_contribution(splats, [], lambda *_: np.zeros(1, bool), 0),
    ],
)
def test_parameters_are_checked(call):
    with pytest.raises(ValueError, match="expected"):
        call(clean())
