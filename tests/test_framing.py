"""Framing: a scene is shown whole, from above its floor, whatever stray splats it has and wherever it stands."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fields import ball as ball_field

from splatview import Gaussians, Scene
from splatview.framing import axis_vector, frame_scene
from splatview.geometry import Similarity, rotation_between
from splatview.scene import Layer
from splatview.volumes import Box, Cut

AXES = ("x", "y", "z", "-x", "-y", "-z")


def splats(means, log_scales=(-4.0, -4.0, -4.0), opacity=2.0):
    count = len(means)
    return Gaussians(
        means=means,
        quats=np.tile([1.0, 0, 0, 0], (count, 1)),
        log_scales=np.broadcast_to(log_scales, (count, 3)),
        opacity_logits=np.full(count, opacity),
        sh=np.zeros((count, 1, 3)),
    )


def ball(count=4000, seed=0):
    directions = np.random.default_rng(seed).normal(size=(count, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def scene_of(*parts):
    return Scene({str(index): Layer(part) for index, part in enumerate(parts)})


def stage():
    """A floor at z = 0 with a heap on it."""
    rng = np.random.default_rng(1)
    floor = splats(np.c_[rng.uniform(-3, 3, (6000, 2)), np.zeros(6000)], log_scales=(-3.0, -3.0, -8.0))
    heap = splats(ball(2000) * 0.7 + [0, 0, 0.7])
    return floor, heap


def test_a_ball_is_framed_by_its_centre_and_radius():
    framing = frame_scene(scene_of(splats(2 * ball() + [10, -4, 3])))
    assert framing.centre == pytest.approx((10, -4, 3), abs=0.1)
    assert framing.radius == pytest.approx(2, rel=0.05)


def test_stray_splats_do_not_matter():
    inside = ball()
    far = splats(1e5 * ball(100, seed=3))
    broken = splats(np.full((50, 3), np.nan))
    plain, strayed = frame_scene(scene_of(splats(inside))), frame_scene(scene_of(splats(inside), far, broken))
    assert strayed.radius == pytest.approx(plain.radius, rel=0.1)
    assert strayed.centre == pytest.approx(plain.centre, abs=0.1)


@pytest.mark.parametrize("axis", AXES)
def test_the_floor_tells_which_way_is_up(axis):
    turn = Similarity.from_matrix(np.c_[rotation_between([0, 0, 1], axis_vector(axis)), np.zeros(3)])
    scene = scene_of(*stage())
    for name in list(scene.layers):
        scene = scene.placed(name, turn)
    assert frame_scene(scene).up_axis == axis


def test_without_a_floor_y_points_down():
    assert frame_scene(scene_of(splats(ball()))).up_axis == "-y"


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("size", [(1280, 720), (300, 900)])
def test_the_default_camera_sees_the_whole_ball_the_right_way_up(axis, size):
    framing = frame_scene(scene_of(splats(ball())), up=axis)
    camera = framing.camera(*size)
    local = ball() @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
    pixels = local @ camera.K.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    assert (local[:, 2] > 0).all()
    assert (pixels > -0.02 * min(size)).all() and (pixels < np.array(size) + 0.02 * min(size)).all()
    assert -camera.camera_from_world[1, :3] @ axis_vector(axis) > 0.9  # the picture's up is the scene's
    assert (camera.position - framing.centre) @ axis_vector(axis) > 0  # from above


@given(scale=st.floats(1e-3, 1e3), x=st.floats(-100, 100))
@settings(max_examples=20, deadline=None)
def test_framing_moves_with_the_scene(scale, x):
    placement = Similarity(translation=(x, 0, -x), scale=scale)
    here = frame_scene(scene_of(splats(ball(500))))
    there = frame_scene(scene_of(splats(ball(500))).placed("0", placement))
    assert there.radius == pytest.approx(scale * here.radius, rel=1e-3)
    assert np.allclose(there.centre, placement.apply(here.centre), atol=1e-3 * scale + 1e-4)


def test_hidden_layers_do_not_count():
    scene = scene_of(splats(ball()), splats(50 + ball())).shown("1", False)
    assert frame_scene(scene) == frame_scene(scene.without("1"))


def test_an_empty_scene_and_a_single_splat_can_be_framed():
    assert frame_scene(Scene()).radius == 1
    assert frame_scene(scene_of(splats(np.zeros((1, 3))))).radius > 0


def test_an_unknown_axis_is_refused():
    with pytest.raises(ValueError, match="expected one of"):
        frame_scene(Scene(), up="up")
    with pytest.raises(ValueError, match="expected one of"):
        axis_vector("auto")


def test_real_scenes_stand_upright(data):
    from splatview import load

    assert frame_scene(load(data / "splats/playbot-lod2.ply")).up_axis == "-y"
    assert frame_scene(load(data / "splats/statue-angel.ply")).up_axis == "-y"


# Fields


@pytest.mark.parametrize("occupied", [True, False])
def test_a_field_is_framed_where_it_is_solid(occupied):
    field = ball_field(radius=0.2, middle=(0.6, 0.5, 0.3))
    placement = Similarity((0.9, 0.1, 0.3, 0.2), (3, 4, 5), 2.5)
    framing = frame_scene(Scene({"ball": Layer(field if occupied else replace(field, occupancy=None), placement)}))
    assert framing.centre == pytest.approx(placement.apply([0.6, 0.5, 0.3]), abs=0.05)
    assert framing.radius == pytest.approx(0.2 * 2.5, rel=0.15) and framing.up_axis == "z"


def test_a_contracted_field_is_framed_in_all_of_space():
    """The same ball in contracted space, a quarter as wide there; around it, where space is contracted, there is nothing."""
    field = replace(ball_field(radius=0.2), warp="contraction", occupancy=None)
    framing = frame_scene(Scene({"ball": Layer(field)}))
    assert framing.centre == pytest.approx((0, 0, 0), abs=0.1) and framing.radius == pytest.approx(0.8, rel=0.25)


def test_a_field_that_is_nowhere_solid_is_framed_by_its_box():
    framing = frame_scene(Scene({"haze": Layer(ball_field(density=1e-6))}))
    assert framing.centre == pytest.approx((0.5, 0.5, 0.5)) and framing.radius == pytest.approx(3**0.5 / 2)


def test_a_few_points_of_one_part_count_as_much_as_many_of_another():
    """A ball of very many splats beside one of a translucent field: both are in view."""
    splats_here = Layer(splats(ball(100_000) * 0.3), Similarity(translation=(2.0, 0.5, 0.5)))
    field_here = Layer(ball_field(density=8.0))
    camera = frame_scene(Scene({"splats": splats_here, "field": field_here})).camera(640, 360)
    for middle in ([0.5, 0.5, 0.5, 1], [2.0, 0.5, 0.5, 1]):
        seen = camera.camera_from_world @ middle
        assert seen[2] > 0 and abs(seen[0] / seen[2]) * camera.K[0, 0] < 300


def test_splats_and_fields_are_framed_together_and_the_splats_say_what_is_up():
    turn = Similarity.from_matrix(np.c_[rotation_between([0, 0, 1], axis_vector("x")), np.zeros(3)])
    scene = scene_of(*stage())
    for name in list(scene.layers):
        scene = scene.placed(name, turn)
    both = scene.with_layer("ball", Layer(ball_field(), Similarity(translation=(0, 4, 0), scale=4)))
    framing = frame_scene(both)
    seen = framing.camera(640, 360).camera_from_world @ [2, 6, 2, 1]
    assert framing.up_axis == "x" and framing.radius > frame_scene(scene).radius and abs(seen[0] / seen[2]) < 1
    assert frame_scene(both.shown("ball", False)) == frame_scene(scene)


def test_a_cropped_field_is_framed_where_something_is_left():
    whole = Layer(ball_field(), Similarity(translation=(3, 0, 0), scale=2))
    part = replace(whole, cuts=(Cut(Box((0.5, 0.5, 0.75), (0.2, 0.2, 0.2))),))
    framing, around = (frame_scene(Scene({"ball": layer})) for layer in (part, whole))
    assert np.allclose(framing.centre, whole.placement.apply([0.5, 0.5, 0.78]), atol=0.1) and framing.radius < 0.6 * around.radius
    nothing = replace(whole, cuts=(Cut(Box((9, 9, 9), (1, 1, 1))),))
    assert frame_scene(Scene({"ball": nothing})).centre == around.centre
