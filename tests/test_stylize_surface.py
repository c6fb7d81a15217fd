"""Patterns on surfaces: they stay where they are in the world, whoever looks, and their size on the screen has ends."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from stylized_frames import camera, frame, plane_depth

from splatview.camera import Camera
from splatview.stylize.filters.patterns import TILE, Dots, Grain, Pair, Strokes, laid
from splatview.stylize.filters.surface import WHOLE, Chart, Surface

PLANES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
PATTERNS = [Dots(((25, 0),)), Dots(((24, 7),)), Grain(0.5), Strokes()]


def surface_of(view, normal, offset):
    depth = plane_depth(view, normal, offset)
    return Surface.of(frame(np.zeros((view.height, view.width, 3)), depth, view=view), view.height, view.width)


def facing(normal, distance, width=96, height=64, aside=(0.0, 0.0, 0.0)):
    """A camera that looks at the origin from `distance` along `normal`, moved aside."""
    n = np.asarray(normal)
    up = (0, 0, 1) if abs(n[2]) < 0.9 else (0, 1, 0)
    return Camera.look_at(n * distance + aside, np.asarray(aside), up, 0.6, width, height)


def seen_at(view, points):
    """Pixels [..., 2] of world points."""
    local = points @ view.camera_from_world[:3, :3].T + view.camera_from_world[:3, 3]
    return (local @ view.K.T)[..., :2] / local[..., 2:]


def world_points(view, surface):
    y, x = np.mgrid[: view.height, : view.width] + 0.5
    return view.unproject(np.stack([x, y], -1), surface.depth.astype(float))


@pytest.mark.parametrize("axis", PLANES)
@given(distance=st.floats(1e-3, 1e4))
def test_a_period_is_as_long_as_asked_from_any_distance(axis, distance):
    view = facing(PLANES[axis], distance)
    chart = surface_of(view, PLANES[axis], 0.0).chart(12.0)
    u, v, blend = (one[30:34, 46:50].astype(float) for one in chart[:3])
    assume(np.ptp(blend) < 0.5)  # elsewhere the distance doubles here, and so does the period
    period = 1 / np.hypot(np.diff(u, axis=0).mean() + np.diff(u, axis=1).mean(), np.diff(v, axis=0).mean() + np.diff(v, axis=1).mean())
    period *= 2**0.5
    assert period == pytest.approx(24 / (1 + blend.mean()), rel=0.02)  # so 12 to 24; with blend 0 half of it is seen, with 1 it is


@given(angles=st.tuples(*[st.floats(-0.15, 0.15)] * 3), distance=st.floats(0.5, 50))
def test_turning_the_camera_moves_no_pattern(angles, distance):
    view = facing((0, 0, 1), distance)
    cx, cy, cz = np.cos(angles)
    sx, sy, sz = np.sin(angles)
    turn = (
        np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]) @ [[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]] @ [[1, 0, 0], [0, cx, -sx], [0, sx, cx]]
    )
    pose = np.eye(4)
    pose[:3, :3] = turn @ view.camera_from_world[:3, :3]
    pose[:3, 3] = -pose[:3, :3] @ view.position
    other = Camera(view.K, pose, view.width, view.height)
    same_places(view, other, (0, 0, 1), 0.0)


@given(far=st.tuples(*[st.floats(-1, 1)] * 2), distance=st.floats(0.5, 50))
def test_two_cameras_at_one_distance_see_one_pattern(far, distance):
    """What lies in the middle between the two is as far from each: there the charts agree."""
    aside = 0.1 * distance * np.array([*far, 0.0])
    same_places(facing((0, 0, 1), distance, aside=aside), facing((0, 0, 1), distance, aside=-aside), (0, 0, 1), 0.0, middle=True)


def same_places(view, other, normal, offset, middle=False):
    one, two = surface_of(view, normal, offset), surface_of(other, normal, offset)
    points = world_points(view, one)[12:-12, 12:-12]
    if middle:  # only points as far from one eye as from the other
        away = [np.linalg.norm(points - eye, axis=-1) for eye in (view.position, other.position)]
        keep = np.abs(away[0] / away[1] - 1) < 1e-6
    else:
        keep = np.ones(points.shape[:2], bool)
    pixels = seen_at(other, points)
    inside = keep & (pixels > 12).all(-1) & (pixels < (other.width - 12, other.height - 12)).all(-1)
    first, second = one.chart(12.0)[:3], two.chart(12.0)[:3]
    x, y = (pixels[..., axis] - 0.5 for axis in (0, 1))
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for i, j in np.argwhere(inside)[::17]:
        corners = np.array([one[top[i, j] : top[i, j] + 2, left[i, j] : left[i, j] + 2] for one in second], float)
        here = np.array([one[i + 12, j + 12] for one in first], float)
        if (
            np.ptp(corners[2]) < 0.5 and np.abs(corners[2] - here[2]).max() < 0.5
        ):  # elsewhere the distance doubles here, and so does the period
            a, b = x[i, j] - left[i, j], y[i, j] - top[i, j]
            there = np.array([1 - b, b]) @ corners @ [1 - a, a]
            away = (there - here)[:2] / WHOLE
            assert np.abs(away - np.round(away)).max() * WHOLE < 0.02 and abs(there[2] - here[2]) < 0.02


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_sticks_to_the_floor_and_to_the_screen_only_if_there_is_none(pattern):
    """The camera moves over a plane by some pixels: the pattern moves with the plane."""
    distance, moved = 5.0, 7
    view = facing((0, 0, 1), distance)
    step = moved * distance / view.K[0, 0]
    other = facing((0, 0, 1), distance, aside=(step, 0, 0))
    shift = round(seen_at(view, np.zeros(3))[0] - seen_at(other, np.zeros(3))[0])
    assert abs(shift) == moved
    first, second = (laid(pattern, 16.0, view.height, view.width, surface_of(one, (0, 0, 1), 0.0)).astype(float) for one in (view, other))
    overlap = slice(20 + moved, -20 - moved)
    stuck = np.abs(first[20:-20, overlap] - np.roll(second, shift, axis=1)[20:-20, overlap]).mean()
    slid = np.abs(first[20:-20, overlap] - second[20:-20, overlap]).mean()
    assert stuck < 0.25 * slid
    assert (laid(pattern, 16.0, 40, 60, None) == laid(pattern, 16.0, 40, 60, None)).all()


@given(yaw=st.floats(-3, 3), turn=st.floats(-0.2, 0.2), moved=st.tuples(*[st.floats(-50, 50)] * 3))
def test_behind_everything_a_pattern_keeps_its_direction_wherever_the_camera_goes(yaw, turn, moved):
    def looking(angle, eye=(0.0, 0.0, 0.0)):
        return Camera.look_at(eye, np.add(eye, (np.sin(angle), np.cos(angle), 0.2)), (0, 0, 1), 0.6, 96, 64)

    one, other = looking(yaw), looking(yaw + turn, moved)
    first, second = (Surface.of(frame(np.zeros((64, 96, 3)), 0.0, view=view), 64, 96).chart(12.0)[:3] for view in (one, other))
    y, x = np.mgrid[:64, :96] + 0.5
    directions = one.unproject(np.stack([x, y], -1), np.ones((64, 96))) - one.position
    pixels = seen_at(other, directions + other.position) - 0.5
    inside = (pixels >= 0).all(-1) & (pixels <= (95, 63)).all(-1)
    apart = np.abs(np.sort(np.abs(directions / np.linalg.norm(directions, axis=-1, keepdims=True)), -1) @ [[0], [-1], [1]])[..., 0]
    inside &= apart > 0.1  # elsewhere another plane comes near
    assume(inside.any())
    for here, there in zip(first, second, strict=True):
        found = cv2.remap(there, *pixels.astype(np.float32).transpose(2, 0, 1), cv2.INTER_LINEAR)
        assert np.abs(found - here)[inside].max() < 0.02


@pytest.mark.parametrize("pattern", PATTERNS)
def test_far_from_the_origin_a_pattern_is_as_exact_as_near_it(pattern):
    """Moved by whole periods, millions of them: the same picture."""
    away = WHOLE * 2.0**18
    near = surface_of(facing((0, 0, 1), 5.0), (0, 0, 1), 0.0)
    far = surface_of(facing((0, 0, 1), 5.0, aside=(away, -away, 0)), (0, 0, 1), 0.0)
    a, b = (laid(pattern, 16.0, 64, 96, one).astype(int) for one in (near, far))
    assert (np.abs(a - b) > 8).mean() < 0.01


@pytest.mark.parametrize("period", [20.0, 60.0, 140.0, 256.0])
@pytest.mark.parametrize("texture", [Grain(0.5), Strokes()])
def test_a_texture_is_no_finer_than_the_pixels(texture, period):
    """Half a pixel aside it is nearly the same: it does not sparkle when it moves."""

    def moved(pixels):
        x, y = np.meshgrid((np.arange(200, dtype=np.float32) + np.float32(pixels)) / period, np.arange(200, dtype=np.float32) / period)
        return texture(Chart(x, y, np.full_like(x, 0.6), period)).astype(int)

    near, far = (np.abs(moved(pixels) - moved(0)).mean() for pixels in (0.5, 7.3))
    assert near < 0.7 * far


@given(blend=st.floats(0, 1), period=st.floats(10, 300))
def test_two_textures_that_are_read_at_once_are_each_as_alone(blend, period):
    y, x = np.mgrid[:40, :60].astype(np.float32) / np.float32(period)
    chart = Chart(x, y, np.full_like(x, blend), period)
    first, second = Strokes(), Grain(0.5, 2)
    assert (Pair(first, second)(chart) == np.dstack([first(chart), second(chart)])).all()


@pytest.mark.parametrize("blend", [0, 0.2, 2**0.5 - 1, 0.7, 1])
@pytest.mark.parametrize("turn", [(25, 0), (24, 7), (15, 20)])
def test_dots_ink_the_share_that_a_tone_asks_for(turn, blend):
    y, x = np.mgrid[:500, :500].astype(np.float32) / np.float32(19.37)
    thresholds = Dots((turn,))(Chart(x, y, np.full_like(x, blend)))
    shares = [(thresholds < tone).mean() for tone in range(16, 256, 16)]
    np.testing.assert_allclose(shares, np.arange(16, 256, 16) / 256, atol=0.03)


@pytest.mark.parametrize("middle", [0, 2**0.5 - 1, 1])
def test_dots_of_one_period_are_among_those_of_the_next(middle):
    """Wherever a blend ends the next begins, and dots that were there stay."""
    y, x = np.mgrid[:200, :200].astype(np.float32) / 50
    dots = Dots(((25, 0),))
    before, after = (dots(Chart(x, y, np.full_like(x, np.clip(middle + side, 0, 1)))).astype(int) for side in (-0.003, 0.003))
    assert np.abs(before - after).max() < 8
    coarse, fine = dots(Chart(x, y, np.ones_like(x))), dots(Chart(x / 2, y / 2, np.zeros_like(x)))
    assert np.abs(coarse.astype(int) - fine).mean() < 1


@pytest.mark.parametrize("pattern", [Grain(0.4), Grain(1.6, 1), Strokes()])
def test_a_texture_repeats_without_a_seam(pattern):
    y, x = np.mgrid[:TILE, :TILE].astype(np.float32) / TILE
    one = pattern(Chart(x, y, np.ones_like(x)))
    assert (one == pattern(Chart(x + 3, y - 2, np.ones_like(x)))).all()
    jumps = np.abs(one[:, 0].astype(int) - one[:, -1]).mean(), np.abs(np.diff(one.astype(int), axis=1)).mean()
    assert jumps[0] < 1.5 * jumps[1]


def test_an_empty_frame_has_a_surface_and_a_video_has_none():
    view = camera()
    assert Surface.of(frame(np.zeros((36, 64, 3))), 36, 64) is None
    nothing = Surface.of(frame(np.zeros((36, 64, 3)), 0.0, view=view), 36, 64)
    assert nothing is not None and all(np.isfinite(one).all() for one in nothing.chart(8.0))
    assert nothing.facing.min() > 0.5
