"""What was drawn and the pixels that it covers, against one pixel at a time; floods against a walk from pixel to pixel."""

from collections import deque
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splatview.edit import region
from splatview.edit.region import Lasso, Polygon, Rectangle, Stroke, colour_within, flood

WIDTH, HEIGHT = 47, 29
coordinates = st.floats(-0.5, 1.5)
paths = st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=12)
NEARLY = 1e-9  # pixels: a centre so close to an edge may fall on either side


def pixel_centres(width=WIDTH, height=HEIGHT):
    return np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1)


def distance_to_path(points, closed, width=WIDTH, height=HEIGHT):
    """The distance in pixels [H, W] of each centre from the path."""
    corners = np.asarray(points, np.float64) * (width, height)
    ends = np.roll(corners, -1, 0) if closed else corners[1:] if len(corners) > 1 else corners
    centres, least = pixel_centres(width, height), np.full((height, width), np.inf)
    for a, b in zip(corners, ends, strict=False):
        along = (centres - a) @ (b - a) / max((b - a) @ (b - a), 1e-300)
        least = np.minimum(least, np.linalg.norm(centres - a - np.clip(along, 0, 1)[..., None] * (b - a), axis=-1))
    return least


def inside(points, width=WIDTH, height=HEIGHT):
    """Even or odd: how often a ray from each centre to the right crosses the outline [H, W]."""
    corners = np.asarray(points, np.float64) * (width, height)
    centres, odd = pixel_centres(width, height), np.zeros((height, width), np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        straddles = (y0 > centres[..., 1]) != (y1 > centres[..., 1])
        if straddles.any():
            odd ^= straddles & (centres[..., 0] < x0 + (centres[..., 1] - y0) * (x1 - x0) / (y1 - y0))
    return odd


@given(paths.filter(lambda points: len(points) >= 3))
def test_an_outline_covers_the_centres_inside_it(points):
    for shape in (Lasso(points), Polygon(points)):
        clear = distance_to_path(points, closed=True) > NEARLY
        np.testing.assert_array_equal(shape.mask(WIDTH, HEIGHT)[clear], inside(points)[clear])


@given(paths, st.floats(0.001, 1))
def test_a_stroke_covers_the_centres_within_its_radius(points, radius):
    far = distance_to_path(points, closed=False)
    clear = np.abs(far - radius * HEIGHT) > NEARLY
    np.testing.assert_array_equal(Stroke(points, radius).mask(WIDTH, HEIGHT)[clear], (far <= radius * HEIGHT)[clear])


@given(coordinates, coordinates, coordinates, coordinates)
def test_a_rectangle_is_the_polygon_of_its_corners(x0, y0, x1, y1):
    rectangle = Rectangle(x0, y0, x1, y1)
    assert rectangle == Rectangle(x1, y1, x0, y0)
    polygon = Polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1)))
    np.testing.assert_array_equal(rectangle.mask(WIDTH, HEIGHT), polygon.mask(WIDTH, HEIGHT))


def test_a_drawn_circle_and_a_long_stroke():
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.stack([0.5 + 0.3 * np.cos(turn), 0.5 + 0.4 * np.sin(turn)], -1)
    np.testing.assert_array_equal(Lasso(circle).mask(320, 180), inside(circle, 320, 180))
    path = np.stack([0.5 + 0.04 * turn * np.cos(3 * turn), 0.5 + 0.06 * turn * np.sin(2 * turn)], -1)
    np.testing.assert_array_equal(Stroke(path, 0.05).mask(320, 180), distance_to_path(path, False, 320, 180) <= 0.05 * 180)


def test_many_rows_are_worked_on_in_parts(monkeypatch):
    points = np.random.default_rng(0).random((200, 2))
    shapes = [Lasso(points), Stroke(points, 0.02)]
    at_once = [shape.mask(WIDTH, HEIGHT) for shape in shapes]
    monkeypatch.setattr(region, "SPANS", 100)
    for shape, want in zip(shapes, at_once, strict=True):
        np.testing.assert_array_equal(shape.mask(WIDTH, HEIGHT), want)


def test_a_star_is_hollow_and_an_outline_may_start_anywhere_and_run_either_way():
    turn = np.arange(5) * 4 * np.pi / 5
    star = np.stack([0.5 + 0.45 * np.sin(turn), 0.5 - 0.45 * np.cos(turn)], -1)
    mask = Polygon(star).mask(100, 100)
    assert not mask[50, 50] and mask[15, 50]
    for other in (star[::-1], np.roll(star, 2, 0), np.concatenate([star, star[-1:]])):
        np.testing.assert_array_equal(Polygon(other).mask(100, 100), mask)
    twice = np.concatenate([star, star])
    assert not Polygon(twice).mask(100, 100).any()


def test_whole_pictures_and_places_outside():
    assert Rectangle(0, 0, 1, 1).mask(WIDTH, HEIGHT).all()
    assert Lasso(((-1, -1), (3, -1), (-1, 3))).mask(WIDTH, HEIGHT).all()
    assert Stroke(((0.5, 0.5),), 1.0).mask(HEIGHT, HEIGHT).all()
    for shape in (Rectangle(1.1, 0, 2, 1), Polygon(((1.2, 0), (2, 1), (1.2, 1))), Stroke(((0.5, -1), (0.6, -0.5)), 0.3)):
        assert not shape.mask(WIDTH, HEIGHT).any()
    for shape in (Rectangle(0.5, 0, 0.5, 1), Polygon(((0, 0.5), (1, 0.5), (0, 0.5)))):
        assert not shape.mask(WIDTH, HEIGHT).any()


def test_neighbouring_rectangles_share_no_pixel_and_leave_none():
    edges = np.sort(np.append(np.random.default_rng(1).random(8), [0.0, 1.0, 0.5 / WIDTH, 1.5 / WIDTH]))
    total = sum(Rectangle(a, 0, b, 1).mask(WIDTH, HEIGHT).astype(int) for a, b in pairwise(edges))
    np.testing.assert_array_equal(total, np.ones((HEIGHT, WIDTH)))


def test_a_stroke_is_the_union_of_its_parts_and_a_repeated_point_is_nothing_new():
    points = tuple(map(tuple, np.random.default_rng(2).random((9, 2))))
    whole = Stroke(points, 0.1).mask(WIDTH, HEIGHT)
    np.testing.assert_array_equal(whole, Stroke(points[:5], 0.1).mask(WIDTH, HEIGHT) | Stroke(points[4:], 0.1).mask(WIDTH, HEIGHT))
    np.testing.assert_array_equal(whole, Stroke(tuple(p for p in points for _ in range(2)), 0.1).mask(WIDTH, HEIGHT))


def test_shapes_are_compared_by_content_and_kind():
    points = ((0.1, 0.1), (0.9, 0.2), (0.5, 0.8))
    assert Lasso(points) == Lasso([list(point) for point in points]) and hash(Lasso(points)) == hash(Lasso(points))
    assert Lasso(points) != Polygon(points)
    assert Polygon(points).points == points
    assert Stroke(((1e30, -1e30),), 0.1).points == ((5.0, -4.0),)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Lasso(((0, 0), (1, 1))),
        lambda: Polygon(()),
        lambda: Polygon(((0, 0, 0), (1, 1, 1), (2, 2, 2))),
        lambda: Lasso(np.zeros((20_001, 2))),
        lambda: Stroke(np.zeros((20_001, 2)), 0.1),
        lambda: Stroke((), 0.1),
        lambda: Polygon(((0, 0), (1, np.nan), (1, 1))),
        lambda: Rectangle(0, 0, np.inf, 1),
        lambda: Stroke(((0, 0),), 0),
        lambda: Stroke(((0, 0),), 1.1),
        lambda: Stroke(((0, 0),), np.nan),
        lambda: Rectangle(0, 0, 1, 1).mask(0, 10),
        lambda: Stroke(((0, 0),), 0.1).mask(10, 40_000),
    ],
)
def test_shapes_without_a_meaning(make):
    with pytest.raises(ValueError, match=r"^[^\n]*expected [^\n]*, got [^\n]*$"):
        make()


# Floods.


def walked(rgb8, depth, alpha, x, y, colour_tolerance, depth_tolerance):
    """The flood from pixel to pixel, as one would tell it."""
    height, width = depth.shape
    seed = rgb8[y, x].astype(float)

    def passable(row, column):
        close = (np.abs(rgb8[row, column].astype(float) - seed) <= colour_tolerance * 255).all()
        return close and alpha[row, column] >= 1 / 255 and 0 < depth[row, column] < np.inf

    reached = np.zeros((height, width), np.bool_)
    todo = deque([(y, x)] if passable(y, x) else [])
    while todo:
        row, column = todo.popleft()
        if reached[row, column]:
            continue
        reached[row, column] = True
        for to in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= to[0] < height and 0 <= to[1] < width and passable(*to):
                step, nearer = abs(depth[to] - depth[row, column]), min(depth[to], depth[row, column])
                if step <= np.float32(depth_tolerance) * nearer:
                    todo.append(to)
    return reached


@pytest.mark.parametrize("seed", range(20))
def test_a_flood_goes_where_a_walk_goes(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2)
    rgb8 = (100 + rng.integers(0, 40, (height, width, 3))).astype(np.uint8)
    depth = (5 + rng.random((height, width)) + 2 * (rng.random((height, width)) < 0.1)).astype(np.float32)
    depth[rng.random((height, width)) < 0.03] = rng.choice([0, np.nan, np.inf, -1])
    alpha = np.where(rng.random((height, width)) < 0.05, 0, rng.random((height, width))).astype(np.float32)
    x, y = int(rng.integers(width)), int(rng.integers(height))
    for tolerances in ((0.14, 0.1), (0.1, 0.15), (1, 0.08), (0.15, 10), (0, 0), (1, 1e6)):
        got = flood(rgb8, depth, alpha, x, y, *tolerances)
        np.testing.assert_array_equal(got, walked(rgb8, depth, alpha, x, y, *tolerances))
        assert got.dtype == np.bool_ and got.shape == (height, width)


@pytest.fixture
def step():
    """A grey picture whose right half lies behind the left one, joined to it by a ramp along the bottom row."""
    depth = np.full((20, 40), 2.0, np.float32)
    depth[:, 20:] = 4.0
    return np.full((20, 40, 3), 128, np.uint8), depth, np.ones((20, 40), np.float32)


def test_a_flood_stops_at_a_step_in_depth_and_goes_around_it_up_a_ramp(step):
    rgb8, depth, alpha = step
    assert flood(rgb8, depth, alpha, 3, 3, 0.1, 0.05).sum() == 400
    assert flood(rgb8, depth, alpha, 3, 3, 0.1, 1.0).all()
    assert flood(rgb8, 1e10 * depth, alpha, 3, 3, 0.1, 1e300).all()
    depth[19] = np.geomspace(2, 4, 40)
    depth[:, 39], depth[:, 0] = 4, 2
    assert flood(rgb8, depth, alpha, 3, 3, 0.1, 0.05).all()


def test_a_flood_reaches_the_same_from_everywhere_in_it(step):
    rgb8, depth, alpha = step
    depth *= np.random.default_rng(4).uniform(0.97, 1.03, depth.shape).astype(np.float32)
    reached = flood(rgb8, depth, alpha, 3, 3, 0.1, 0.04)
    for y, x in np.argwhere(reached)[::37]:
        np.testing.assert_array_equal(flood(rgb8, depth, alpha, x, y, 0.1, 0.04), reached)
    assert 10 < reached.sum() < 400


def test_a_flood_grows_with_its_tolerances(step):
    rng = np.random.default_rng(5)
    rgb8 = (100 + rng.integers(0, 60, (20, 40, 3))).astype(np.uint8)
    depth = step[1] * rng.uniform(0.9, 1.1, (20, 40)).astype(np.float32)
    for one, more in (((0.1, 0.1), (0.15, 0.1)), ((0.15, 0.05), (0.15, 0.15))):
        assert (flood(rgb8, depth, step[2], 5, 5, *one) <= flood(rgb8, depth, step[2], 5, 5, *more)).all()


def test_no_flood_where_there_is_nothing(step):
    rgb8, depth, alpha = step
    assert not flood(rgb8, depth, 0 * alpha, 3, 3, 1, 1).any()
    assert not flood(rgb8, 0 * depth, alpha, 3, 3, 1, 1).any()


@pytest.mark.parametrize(
    "wrong", [{"x": -1}, {"y": 20}, {"colour_tolerance": 1.1}, {"depth_tolerance": np.nan}, {"alpha": np.ones((3, 3))}]
)
def test_floods_without_a_meaning(step, wrong):
    rgb8, depth, alpha = step
    given = {"rgb8": rgb8, "depth": depth, "alpha": alpha, "x": 0, "y": 0, "colour_tolerance": 0.1, "depth_tolerance": 0.1}
    with pytest.raises(ValueError, match=r"^flood: expected [^\n]*, got [^\n]*$"):
        flood(**given | wrong)


# The eyedropper.


def test_an_eyedropper_takes_what_is_close_on_every_channel(random_gaussians):
    splats = random_gaussians(2000)
    wanted = splats.colours[7]
    for tolerance in (0, 0.1, 0.3):
        got = colour_within(splats, wanted, tolerance)
        np.testing.assert_array_equal(got, np.abs(splats.colours - wanted).max(1) <= np.float32(tolerance))
        assert got[7]
    assert colour_within(splats, (0.5, 0.5, 0.5), 0.1).sum() < colour_within(splats, (0.5, 0.5, 0.5), 0.2).sum()


def test_no_eyedropper_takes_a_broken_colour(random_gaussians):
    splats = random_gaussians(4)
    sh = splats.sh.copy()
    sh[0, 0, 0], sh[1, 0] = np.nan, np.inf
    assert colour_within(replace(splats, sh=sh), (0.5, 0.5, 0.5), 1e6).tolist() == [False, False, True, True]


@pytest.mark.parametrize(("colour", "tolerance"), [((1, 2), 0.1), ((1, np.nan, 0), 0.1), ((1, 1, 1), -1), ((1, 1, 1), np.nan)])
def test_eyedroppers_without_a_meaning(random_gaussians, colour, tolerance):
    with pytest.raises(ValueError, match=r"^colour[^\n]*expected"):
        colour_within(random_gaussians(2), colour, tolerance)
