"""Selections by nearness: parity with scipy's tree and graph, and the laws of dilation."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from splatview.edit import neighbours
from splatview.gaussians import Gaussians
from splatview.native import _points


def splats_at(means):
    count = len(means)
    return Gaussians(np.reshape(means, (count, 3)), np.ones((count, 4)), np.zeros((count, 3)), np.zeros(count), np.zeros((count, 1, 3)))


def cloud(count, seed=0):
    """Shells of different sizes, a heap in one place, and strays far away: dense and sparse by factors of thousands."""
    rng = np.random.default_rng(seed)
    centres, sizes = rng.normal(0, 3, (20, 3)), rng.gamma(1, 0.3, 20)
    at = rng.integers(0, 20, count)
    points = rng.normal(size=(count, 3))
    points = centres[at] + points / np.linalg.norm(points, axis=1, keepdims=True) * sizes[at, None]
    points[: count // 50] *= 100
    points[count // 2 : count // 2 + count // 20] = points[count // 2]
    return points.astype(np.float32)


def oracle_labels(points, gap):
    pairs = cKDTree(points).query_pairs(gap, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), (len(points), len(points)))
    return connected_components(graph, directed=False)[1]


def same_partition(a, b):
    return len(np.unique(a)) == len(np.unique(b)) == len(np.unique(np.stack([a, b]), axis=1).T)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 17, 5000])
@pytest.mark.parametrize("k", [1, 8])
def test_nearest_as_scipy(count, k):
    points = cloud(count) if count > 100 else np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
    rows, distances = _points.Points(points, 2).nearest(k)
    want = cKDTree(points.astype(np.float64)).query(points, k + 1)[0].reshape(count, k + 1)[:, 1:]
    np.testing.assert_allclose(distances, want, rtol=1e-5, atol=1e-4)
    assert (np.isfinite(distances) == (rows >= 0)).all()
    found = rows >= 0
    from_rows = np.linalg.norm(points[:, None].astype(np.float64) - points[rows], axis=2)
    np.testing.assert_allclose(from_rows[found], distances[found], rtol=1e-5, atol=1e-6)
    assert not (rows == np.arange(count)[:, None]).any()
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in rows)


def test_nearest_of_some_rows_and_any_number_of_threads():
    points = cloud(3000)
    rows, distances = _points.Points(points, 1).nearest(5)
    some = np.array([2999, 0, 17], np.int32)
    got = _points.Points(points, 3).nearest(5, some)
    np.testing.assert_array_equal(got[0], rows[some])
    np.testing.assert_array_equal(got[1], distances[some])


@pytest.mark.parametrize("radius", [0.0, 0.03, 0.5, 20.0, 1e4])
def test_counts_and_grow_as_scipy(radius):
    points = cloud(3000)
    radius = float(np.float32(radius))
    tree = cKDTree(points.astype(np.float64))
    sure = np.abs(tree.sparse_distance_matrix(tree, radius * 1.001 + 1e-9, output_type="coo_matrix").data - radius) if radius < 1 else []
    counts = tree.query_ball_point(points, radius, return_length=True) - 1
    got = _points.Points(points, 2).counts(radius, 1 << 30)
    borderline = int(np.sum(np.asarray(sure) < 1e-5 * radius))
    assert np.abs(got - counts).sum() <= borderline
    np.testing.assert_array_equal(_points.Points(points, 2).counts(radius, 4), np.minimum(got, 4))
    which = np.arange(3000) % 97 == 0
    want = which | (cKDTree(points[which].astype(np.float64)).query(points)[0] <= radius)
    assert (neighbours.grow(splats_at(points), which, radius) != want).sum() <= borderline


@pytest.mark.parametrize("gap", [0.0, 0.01, 0.05, 0.2, 1.0, 3.0, 30.0, 1e4])
def test_components_as_scipy(gap):
    points = cloud(3000)
    labels = neighbours.components(splats_at(points), gap)
    assert same_partition(labels, oracle_labels(points.astype(np.float64), gap))
    assert (np.diff(np.bincount(labels)) <= 0).all()


def test_two_dense_heaps_that_just_do_not_meet():
    rng = np.random.default_rng(0)
    half = rng.uniform(0, 1, (20_000, 3)).astype(np.float32)
    points = np.concatenate([half, half + np.float32([1.5, 0, 0])])
    labels = neighbours.components(splats_at(points), 0.25)
    np.testing.assert_array_equal(labels, np.repeat([0, 1], 20_000))
    assert (neighbours.components(splats_at(points), 0.6) == 0).all()


finite = st.floats(-100, 100, width=32)
places = st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=40)


@given(places, st.randoms(use_true_random=False), st.floats(0, 50, width=32), st.floats(0, 50, width=32))
def test_laws_of_growing(means, random, near, far):
    splats = splats_at(np.array(means))
    near, far = sorted((near, far))
    which = np.array([random.random() < 0.5 for _ in means])
    more = which | np.array([random.random() < 0.3 for _ in means])
    grown, shrunk = neighbours.grow(splats, which, near), neighbours.shrink(splats, which, near)
    assert (shrunk <= which).all() and (which <= grown).all()
    np.testing.assert_array_equal(shrunk, ~neighbours.grow(splats, ~which, near))
    assert (grown <= neighbours.grow(splats, which, far)).all()
    assert (grown <= neighbours.grow(splats, more, near)).all()
    assert (neighbours.shrink(splats, which, far) <= shrunk).all()
    opened, closed = neighbours.grow(splats, shrunk, near), neighbours.shrink(splats, grown, near)
    assert (opened <= which).all() and (which <= closed).all()
    connected = neighbours.cluster(splats, which, near)
    assert (grown <= connected).all()
    np.testing.assert_array_equal(neighbours.grow(splats, connected, near), connected)
    np.testing.assert_array_equal(neighbours.cluster(splats, connected, near), connected)


def test_broken_centres_are_near_nobody():
    means = np.zeros((6, 3))
    means[1], means[2, 1], means[3, 2] = np.nan, np.inf, -np.inf
    splats = splats_at(means)
    which = np.array([False, True, False, False, True, False])
    np.testing.assert_array_equal(neighbours.grow(splats, which, 1e30), [True, True, False, False, True, True])
    np.testing.assert_array_equal(neighbours.cluster(splats, which, 0), [True, True, False, False, True, True])
    np.testing.assert_array_equal(neighbours.components(splats, 1), [0, -1, -1, -1, 0, 0])
    rows, distances = neighbours.points_of(splats).nearest(2)
    assert (rows[1:4] == -1).all() and np.isinf(distances[1:4]).all() and (rows[[0, 4, 5]] >= 0).all()


@pytest.mark.parametrize("means", [np.zeros((0, 3)), np.full((3, 3), np.nan), np.zeros((1000, 3)), np.array([[3e38] * 3, [-3e38] * 3])])
def test_nothing_much_to_look_at(means):
    splats, none = splats_at(means), np.zeros(len(means), bool)
    assert not neighbours.grow(splats, none, 1).any()
    assert not neighbours.cluster(splats, none, 1).any()
    assert neighbours.shrink(splats, ~none, 1).all()
    assert len(neighbours.components(splats, 0)) == len(means)
    assert neighbours.spacing(splats) == neighbours.default_gap(splats) == neighbours.default_distance(splats) == 0


def test_spacing_scales_with_the_scene(random_gaussians):
    splats = random_gaussians(2000)
    larger = replace(splats, means=4 * splats.means)
    assert neighbours.spacing(larger) == pytest.approx(4 * neighbours.spacing(splats))
    assert 0 < neighbours.default_distance(splats) < neighbours.default_gap(splats)


def test_a_tree_is_kept_for_the_same_centres_and_only_so_long(random_gaussians):
    splats = random_gaussians(100)
    tree = neighbours.points_of(splats)
    assert neighbours.points_of(replace(splats, sh=splats.sh * 2)) is tree
    assert neighbours.points_of(replace(splats, means=splats.means * 2)) is not tree
    others = [random_gaussians(100, seed=seed) for seed in range(neighbours.KEPT)]
    for other in others:
        neighbours.points_of(other)
    assert neighbours.points_of(splats) is not tree
    assert len(neighbours._kept) <= neighbours.KEPT


def test_many_threads_ask_one_tree():
    tree = _points.Points(cloud(2000), 2)
    want, found = tree.components(0.1), []
    askers = [threading.Thread(target=lambda: found.append(tree.components(0.1))) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert all((labels == want).all() for labels in found) and len(found) == 4


@pytest.mark.parametrize("distance", [-1.0, np.nan, np.inf])
def test_distances_are_checked(random_gaussians, distance):
    splats = random_gaussians(10)
    for query in (neighbours.grow, neighbours.shrink, neighbours.cluster):
        with pytest.raises(ValueError, match="expected a number of 0 or more"):
            query(splats, np.ones(10, bool), distance)
    with pytest.raises(ValueError, match="expected a number of 0 or more"):
        neighbours.components(splats, distance)
    with pytest.raises(ValueError, match="a mask of 10 entries"):
        neighbours.grow(splats, np.ones(9, bool), 1.0)


def test_native_arguments_are_checked():
    tree = _points.Points(np.zeros((4, 3), np.float32), 1)
    for k in (0, 257):
        with pytest.raises(ValueError, match="neighbours"):
            tree.nearest(k)
    for rows in ([4], [-1], [1, 1]):
        with pytest.raises(ValueError, match="rows"):
            tree.nearest(1, np.array(rows, np.int32))
    with pytest.raises(ValueError, match="mask"):
        tree.within(np.zeros(3, np.uint8), 1.0)
    with pytest.raises(ValueError, match="pairs of rows"):
        _points.match(np.array([0], np.int32), np.array([4], np.int32), 4, 1)
    with pytest.raises(ValueError, match="one length"):
        _points.match(np.array([0], np.int32), np.array([], np.int32), 4, 1)
    with pytest.raises(ValueError, match="threads"):
        _points.Points(np.zeros((4, 3), np.float32), 0)


pairs = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=30)


@given(pairs, st.integers(0, 12))
def test_matching_is_greedy(edges, most):
    taken, want = set(), []
    for a, b in edges:
        want.append(most > 0 and a != b and not {a, b} & taken)
        if want[-1]:
            taken |= {a, b}
            most -= 1
    first, second = np.array(edges, np.int32).reshape(-1, 2).T.copy()
    given_most = most + sum(want)
    np.testing.assert_array_equal(_points.match(first, second, 12, given_most), want)


@given(pairs, st.randoms(use_true_random=False))
def test_joining_keeps_the_first_signs(edges, random):
    differ = [random.random() < 0.5 for _ in edges]
    groups = {row: {row: False} for row in range(12)}  # by row: everybody in its group, and whether they differ from it
    for (a, b), sign in zip(edges, differ, strict=True):
        if b in groups[a]:
            continue
        signs = dict(groups[a]) | {row: sign ^ other for row, other in groups[b].items()}  # against a
        for row, own in signs.items():
            groups[row] = {other: own ^ value for other, value in signs.items()}
    first, second = np.array(edges, np.int32).reshape(-1, 2).T.copy()
    roots, flipped = _points.join(first, second, np.array(differ, np.uint8), 12)
    assert roots.tolist() == [min(groups[row]) for row in range(12)]
    assert flipped.tolist() == [groups[min(groups[row])][row] for row in range(12)]
