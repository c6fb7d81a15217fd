"""Where photographs were taken from: which of them a view begins with, and what they are of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fields import ball

from splatview import Camera, Scene
from splatview.framing import frame_scene
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewpoints import MOST, Viewpoints

UNIT_QUATS = st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda quat: np.linalg.norm(quat) > 0.1)


def photographed(eyes, targets):
    """Square photographs from `eyes` of `targets` [N, 3], y up as fields have it."""
    cameras = [Camera.look_at(eye, target, (0, 1, 0), 0.8, 100, 100) for eye, target in zip(eyes, targets, strict=True)]
    lenses = [[100, 100, camera.K[0, 0], camera.K[1, 1], 50, 50] for camera in cameras]
    return Viewpoints(np.array([camera.world_from_camera for camera in cameras]), np.array(lenses))


def around(middle, count=12, far=2.0, arc=1.2):
    """Photographs of `middle` from an arc about it, the middle one of which stands on its x axis."""
    angles = np.linspace(-arc, arc, count)
    eyes = np.array(middle) + far * np.stack([np.cos(angles), 0.2 + 0 * angles, np.sin(angles)], 1)
    return photographed(eyes, np.tile(middle, (count, 1)))


def test_photographs_of_one_thing_are_of_it_and_begin_in_their_midst():
    found = around((0.6, 0.5, 0.3), 13)
    assert found.subject == pytest.approx([0.6, 0.5, 0.3]) and found.opening == 6


@given(UNIT_QUATS, st.floats(0.01, 100), st.lists(st.floats(-50, 50), min_size=3, max_size=3))
@settings(max_examples=30, deadline=None)
def test_what_they_are_of_moves_with_them(quat, scale, shift):
    rng = np.random.default_rng(0)
    before = photographed(rng.normal(size=(20, 3)) * 0.3 + [0, 0, 3], rng.normal(size=(20, 3)) * 0.1)
    place = Similarity(tuple(quat), tuple(shift), scale)
    poses = before.poses.copy()
    poses[:, :3, :3], poses[:, :3, 3] = place.rotation @ poses[:, :3, :3], place.apply(before.places)
    after = Viewpoints(poses, before.lenses)
    assert after.opening == before.opening and np.allclose(after.subject, place.apply(before.subject), atol=1e-6 * (1 + scale) * 50)


@pytest.mark.parametrize("way", [1.0, 0.0])
def test_photographs_of_a_room_and_of_a_wall_are_of_no_one_thing(way):
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    outwards = np.stack([np.cos(angles), 0 * angles, np.sin(angles)], 1)
    eyes = 0.3 * outwards
    assert photographed(eyes, eyes + way * outwards + (1 - way) * np.array([0, 0.1, 1.0])).subject is None


def test_they_must_be_photographs():
    good = around((0, 0, 0))
    for poses, lenses, why in (
        (good.poses * [[[1], [1], [-1], [1]]], good.lenses, "not rigid"),
        (good.poses * np.nan, good.lenses, "finite"),
        (good.poses, -good.lenses, "> 0"),
        (good.poses[:0], good.lenses[:0], "expected 1 to"),
        (np.tile(np.eye(4), (MOST + 1, 1, 1)), np.ones((MOST + 1, 6)), "expected 1 to"),
        (good.poses, good.lenses[:-1], "shape"),
    ):
        with pytest.raises(ValueError, match=why):
            Viewpoints(poses, lenses)


def test_ten_thousand_take_a_moment():
    found = Viewpoints(np.tile(around((0, 0, 0), 1).poses, (MOST, 1, 1)), np.ones((MOST, 6)))
    assert found.opening == 0 and found.subject is None  # they stand where they might be of anything on their axis


# What is seen first


TURN = Similarity((0.5, 0.5, 0.5, 0.5), (-1.5, -1.5, -1.5), 3.0)  # as instant-ngp's frame stands in the world, z up


def test_a_field_is_seen_as_one_of_its_photographs_saw_it():
    taken = around((0.5, 0.5, 0.5), 13)
    framing = frame_scene(Scene({"ball": Layer(ball(), TURN, viewpoints=taken)}))
    assert framing.eye == pytest.approx(TURN.apply(taken.places[6])) and framing.centre == pytest.approx(TURN.apply([0.5] * 3))
    camera = framing.camera(640, 360)
    assert np.allclose(camera.position, framing.eye) and framing.radius == pytest.approx(
        np.linalg.norm(camera.position - framing.centre) / 2
    )
    photo = TURN.rotation @ taken.poses[6, :3, :3]
    assert np.allclose(camera.camera_from_world[:3, :3], photo.T, atol=1e-6)  # z is up in the world: as the photographs' y was


def test_photographs_of_a_room_are_opened_at_the_depth_that_they_see():
    """Outwards from the middle of a hollow ball: one turns about a place on its wall."""
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    outwards = np.stack([np.cos(angles), 0 * angles, np.sin(angles)], 1)
    eyes = 0.5 + 0.02 * outwards
    framing = frame_scene(Scene({"room": Layer(ball(radius=0.3, density=50.0), viewpoints=photographed(eyes, eyes + outwards))}), up="y")
    assert framing.eye is not None and np.linalg.norm(np.subtract(framing.centre, 0.5)) == pytest.approx(0.3, abs=0.05)


@given(UNIT_QUATS)
@settings(max_examples=10, deadline=None)
def test_the_first_view_moves_with_the_layer(quat):
    layer = Layer(ball(), Similarity(tuple(quat), (1, 2, 3), 2.0), viewpoints=around((0.5, 0.5, 0.5)))
    framing = frame_scene(Scene({"ball": layer}))
    if framing.eye is not None:  # else one would look along what is up
        assert np.allclose(framing.eye, layer.placement.apply(layer.viewpoints.places[layer.viewpoints.opening]))


def test_beside_something_else_all_of_it_is_shown():
    layer = Layer(ball(), viewpoints=around((0.5, 0.5, 0.5)))
    both = Scene({"one": layer, "other": Layer(ball(), Similarity(translation=(3, 0, 0)))})
    assert frame_scene(both).eye is None and frame_scene(both.shown("other", False)).eye is not None


def test_nobody_begins_by_looking_straight_down():
    above = photographed([(0.5, 3.0, 0.5)] * 2, [(0.5, 0.5, 0.501)] * 2)
    assert frame_scene(Scene({"ball": Layer(ball(), viewpoints=above)}), up="y").eye is None
