"""Sphere and box: membership by distance, and edges that fade."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from splatview.geometry import Similarity
from splatview.volumes import Box, Cut, Sphere, left_by, reach_of

TURN = (0.3, -0.5, 0.7, 0.2)
VOLUMES = [
    Sphere((1, -2, 0.5), 1.5, 0.8),
    Box((1, -2, 0.5), (2, 1, 3), TURN, 0.8),
    Box((0, 0, 0), (1, 1, 1), falloff=2.0),
    Sphere((0, 0, 0), 2.0),
    Box((0, 1, 0), (3, 2, 1), TURN),
]
volumes = pytest.mark.parametrize("volume", VOLUMES)
numbers = st.floats(-5, 5)
similarities = st.builds(
    Similarity,
    st.tuples(*[st.floats(-1, 1)] * 3).map(lambda v: (1.0, *v)),
    st.tuples(numbers, numbers, numbers),
    st.floats(0.1, 10),
)


def points(count=5000, seed=0):
    return np.random.default_rng(seed).normal(0, 2.5, (count, 3)).astype(np.float32)


def without_edge(volume):
    return Sphere(volume.centre, volume.radius) if isinstance(volume, Sphere) else Box(volume.centre, volume.size, volume.quat)


def distances(volume, at):
    """How far outside each point lies, computed another way: scipy's rotations, and the nearest point of the box."""
    if isinstance(volume, Sphere):
        return np.maximum(np.linalg.norm(at - volume.centre, axis=1) - volume.radius, 0)
    local = Rotation.from_quat(volume.quat, scalar_first=True).inv().apply(at - volume.centre)
    half = np.asarray(volume.size) / 2
    return np.linalg.norm(local - np.clip(local, -half, half), axis=1)


@volumes
def test_weights_fall_smoothly_with_the_distance(volume):
    at = points().astype(np.float64)
    far = distances(volume, at)
    weights = volume.weights(at)
    np.testing.assert_allclose(volume.distance(at), far, atol=1e-12)
    assert weights.dtype == np.float32
    if volume.falloff:
        t = np.clip(far / volume.falloff, 0, 1)
        np.testing.assert_allclose(weights, 1 - (3 * t**2 - 2 * t**3), atol=1e-6)
        assert ((weights > 0) & (weights < 1)).sum() > 50
    assert (weights[far == 0] == 1).all() and (weights[far > volume.falloff] == 0).all()
    in_order = weights[np.argsort(far)]
    assert (np.diff(in_order) <= 1e-6).all()


@volumes
def test_without_a_falloff_weights_are_membership(volume):
    at = points()
    hard = without_edge(volume)
    np.testing.assert_array_equal(hard.weights(at), hard.contains(at).astype(np.float32))
    np.testing.assert_array_equal(volume.contains(at), hard.contains(at))
    np.testing.assert_array_equal(volume.contains(at), volume.weights(at) == 1)
    assert 10 < hard.contains(at).sum() < len(at) / 2


@volumes
@given(transform=similarities)
def test_volume_and_points_moved_together_stay_together(volume, transform):
    at = points(300).astype(np.float64)
    np.testing.assert_allclose(volume.moved(transform).weights(transform.apply(at)), volume.weights(at), atol=1e-5)


def test_a_turn_about_its_centre_is_nothing_to_a_sphere():
    sphere, at = VOLUMES[0], points()
    turned = Rotation.from_quat(TURN).apply(at - sphere.centre) + sphere.centre
    np.testing.assert_allclose(sphere.weights(turned), sphere.weights(at), atol=1e-6)


def test_a_box_turned_by_a_quarter_is_the_box_with_swapped_sides():
    at = points()
    quarter = (np.sqrt(0.5), 0, 0, np.sqrt(0.5))
    turned, swapped = Box((1, 0, 0), (1, 4, 2), quarter, 0.5), Box((1, 0, 0), (4, 1, 2), falloff=0.5)
    np.testing.assert_allclose(turned.weights(at), swapped.weights(at), atol=1e-6)


def test_the_surface_belongs_to_the_volume():
    assert Sphere((0, 0, 0), 2).contains([[2, 0, 0], [0, -2, 0]]).all()
    assert Box((0, 0, 0), (2, 4, 6)).contains([[1, 2, 3], [-1, -2, -3]]).all()
    assert not Box((0, 0, 0), (2, 4, 6)).contains([[1.001, 0, 0]]).any()


@volumes
def test_broken_points_lie_nowhere(volume):
    broken = np.array([[np.nan, 0, 0], [np.inf, 0, 0], [0, -np.inf, np.inf], [np.nan, np.inf, 0], [3e38, 3e38, 3e38]], np.float32)
    assert not volume.contains(broken).any() and not volume.weights(broken).any()


@volumes
def test_many_points_are_asked_as_few(volume):
    at = points(70_000)
    some = np.arange(0, 70_000, 7)
    np.testing.assert_array_equal(volume.weights(at)[some], volume.weights(at[some]))
    assert volume.weights(np.zeros((0, 3))).shape == (0,)


@given(st.tuples(*[st.floats(-1e3, 1e3)] * 4).filter(lambda quat: np.linalg.norm(quat) > 1e-3))
def test_a_box_made_again_is_the_same_box(quat):
    box = Box((1, 2, 3), (1, 1, 2), quat)
    assert replace(box) == box and np.linalg.norm(box.quat) == pytest.approx(1, abs=1e-11)


def test_volumes_are_compared_by_content():
    assert Box((0, 0, 0), (1, 1, 1)) == Box((0, 0, 0), (1.0, 1.0, 1.0), (2, 0, 0, 0))
    assert Sphere((0, 0, 0), 1) != Sphere((0, 0, 0), 1, 0.1)


@pytest.mark.parametrize("wrong", [{"centre": (0, np.nan, 0)}, {"centre": (0, 0)}, {"radius": 0}, {"radius": np.inf}, {"falloff": -1}])
def test_spheres_without_a_meaning(wrong):
    with pytest.raises(ValueError, match=r"^Sphere\.[^\n]*expected [^\n]*, got [^\n]*$"):
        Sphere(**{"centre": (0, 0, 0), "radius": 1.0, **wrong})


@pytest.mark.parametrize(
    "wrong",
    [{"size": (1, 0, 1)}, {"size": (1, 1)}, {"quat": (0, 0, 0, 0)}, {"quat": (1e308,) * 4}, {"quat": (1, 0, 0)}, {"falloff": np.nan}],
)
def test_boxes_without_a_meaning(wrong):
    with pytest.raises(ValueError, match=r"^Box\.[^\n]*expected [^\n]*, got [^\n]*$"):
        Box(**{"centre": (0, 0, 0), "size": (1, 1, 1), **wrong})


@pytest.mark.parametrize("shape", [(3,), (4, 2), (2, 2, 3)])
def test_points_have_three_coordinates(shape):
    with pytest.raises(ValueError, match="points: expected"):
        VOLUMES[0].contains(np.zeros(shape))


@volumes
def test_bounds_are_the_tightest_box_around_what_has_a_weight(volume):
    low, high = volume.bounds
    at = points(200_000).astype(np.float64) + volume.centre
    inside = at[volume.weights(at) > 0]
    assert ((inside >= low) & (inside <= high)).all()
    assert np.allclose([inside.min(0), inside.max(0)], [low, high], atol=0.35), "looser than it has to be"


def test_cuts_leave_what_is_kept_and_not_removed():
    keeping = [Cut(Sphere((0, 0, 0), 1, 0.5)), Cut(Box((2, 0, 0), (1, 1, 1), TURN))]
    removing = [Cut(Sphere((0.5, 0, 0), 0.5, 1.0), keeps=False)]
    at = points(20_000)
    kept = np.maximum(*[cut.volume.weights(at) for cut in keeping])
    gone = removing[0].volume.weights(at)
    assert np.array_equal(left_by([], at), np.ones(len(at)))
    assert np.array_equal(left_by(keeping, at), kept) and np.array_equal(left_by(removing, at), 1 - gone)
    assert np.array_equal(left_by([*removing, *keeping], at), kept * (1 - gone)), "the order matters to nobody"
    low, high = reach_of([*keeping, *removing])
    assert not left_by(keeping, at)[((at < low) | (at > high)).any(1)].any() and np.isfinite(low).all()
    assert np.isinf(reach_of(removing)).all()


@given(similarities)
def test_a_cut_moves_with_what_it_cuts(transform):
    at, cut = points(200).astype(np.float64), Cut(VOLUMES[1], keeps=False)
    assert np.allclose(left_by([cut.moved(transform)], transform.apply(at)), left_by([cut], at), atol=1e-5)
