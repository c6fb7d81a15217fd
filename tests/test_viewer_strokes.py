"""Strokes become queries: which tool asks what, and how a stroke becomes one operation."""

from __future__ import annotations

import numpy as np
import pytest
from hand_cases import CAMERA, LOOK, Hand, Visit, asks, selected
from test_viewer import coloured_ball

from splatview import Scene, open_renderer
from splatview.edit.grade import Painting
from splatview.edit.region import Lasso, Polygon, Rectangle, Stroke
from splatview.edit.select import Drawn, Flooded, Slab, Surface, Through, Tools, Under, chosen
from splatview.edit.state import State
from splatview.scene import Layer
from splatview.viewer.editor import Editor, how_of, shape_of
from splatview.viewer.tools import Drawn as Piece
from splatview.viewer.world import World


@pytest.mark.parametrize(
    ("held", "how"), [((), "set"), (("shift",), "add"), (("ctrl",), "remove"), (("shift", "ctrl"), "intersect"), (("alt",), "set")]
)
def test_modifiers_are_those_of_the_field(held, how):
    assert how_of(frozenset(held)) == how


@pytest.mark.parametrize(
    "tool, kind", [("rectangle", Rectangle), ("lasso", Lasso), ("polygon", Polygon), ("brush", Stroke), ("paint", Stroke)]
)
def test_a_stroke_is_asked_as_its_tool_draws(tool, kind):
    query = asks(tool, (0.2, 0.2), (0.6, 0.3), (0.5, 0.8))
    assert isinstance(query, Drawn) and isinstance(query.shape, kind) and query.camera == CAMERA and query.depth == Surface(0.1)


@pytest.mark.parametrize(
    ("picking", "depth"),
    [
        ({}, Surface(0.1)),
        ({"least": 0.5}, Surface(0.5)),
        ({"reach": "through"}, Through()),
        ({"reach": "slab", "near": 1, "far": 2}, Slab(1, 2)),
    ],
)
def test_how_deep_a_stroke_reaches_is_the_settings_choice(picking, depth):
    assert asks("rectangle", (0.2, 0.2), (0.6, 0.3), **picking).depth == depth


def test_a_click_with_any_tool_takes_one_and_no_area_asks_nothing():
    for tool in ("point", "rectangle", "lasso"):
        assert asks(tool, (0.5, 0.5), (0.5005, 0.501)) == Under(CAMERA, 0.5, 0.5, LOOK)
    assert isinstance(asks("flood", (0.5, 0.5)), Flooded) and isinstance(asks("brush", (0.5, 0.5)).shape, Stroke)
    assert asks("rectangle", (0.2, 0.5), (0.8, 0.5)) is None and asks("polygon", (0.1, 0.1), (0.5, 0.5)) is None
    assert asks("rectangle") is None


def test_a_stroke_of_minutes_is_thinned_and_keeps_its_ends():
    many = np.random.default_rng(0).uniform(size=(100_000, 2))
    shape = shape_of("brush", many, 0.1)
    assert len(shape.points) == 20_000 and shape.points[0] == tuple(many[0]) and shape.points[-1] == tuple(many[-1])


@pytest.fixture
def hands():
    renderer = open_renderer("cpu")
    tools = Tools(lambda: renderer, lambda path, level: pytest.fail("nothing is read here"))
    world = World(Scene({"ball": Layer(coloured_ball(1000))}), tools)
    hand, visit = Hand(), Visit()
    editor = Editor(hand, hand, visit, world, tools, "somebody")

    def stroke(tool, *places, held=(), end="end", number=7):
        for place, (x, y) in enumerate(places):
            editor.drawn(Piece(tool, "move" if place else "start", (x, y), frozenset(held), 0.1, number))
        editor.drawn(Piece(tool, end, (), frozenset(held), 0.1, number))
        return world.call(lambda: world.state).result(20)

    yield editor, world, hand, visit, stroke
    world.close()


def test_strokes_obey_the_algebra_of_sets_and_are_one_operation_each(hands):
    editor, world, _, visit, stroke = hands
    one = selected(stroke("rectangle", (0.4, 0.3), (0.55, 0.7)))
    both = selected(stroke("rectangle", (0.5, 0.3), (0.6, 0.7), held=["shift"]))
    other = both & ~one | chosen(asks("rectangle", (0.5, 0.3), (0.6, 0.7)), State(world.scene), editor._tools)["ball"]
    assert one.any() and np.array_equal(both, one | other)
    assert np.array_equal(selected(stroke("rectangle", (0.5, 0.3), (0.6, 0.7), held=["ctrl"])), one & ~other)
    stroke("rectangle", (0.4, 0.3), (0.55, 0.7))
    assert np.array_equal(selected(stroke("rectangle", (0.5, 0.3), (0.6, 0.7), held=["shift", "ctrl"])), one & other)
    assert len(world.document.entries) == 5 and set(visit.asked) == {7} and world.document.entries[0].author == "somebody"


def test_a_brush_shows_at_once_what_it_reaches_and_a_cancelled_one_leaves_nothing(hands):
    editor, world, _, _, stroke = hands
    before = world.edited
    editor.drawn(Piece("brush", "start", (0.5, 0.5, 0.55, 0.5), frozenset(), 0.1, 1))
    editor.drawn(Piece("brush", "move", (), frozenset(), 0.1, 1))
    shown = world.call(lambda: world.state).result(20)
    assert shown.selected_count > 0 and world.edited is before
    editor.drawn(Piece("brush", "cancel", (), frozenset(), 0.1, 1))
    assert world.state is before and not world.document.entries
    after = stroke("brush", (0.5, 0.5), (0.55, 0.5))
    assert np.array_equal(selected(after), selected(shown)) and len(world.document.entries) == 1


def test_the_eyedropper_takes_what_has_the_colour_of_the_front(hands):
    editor, world, _, _, stroke = hands
    editor.change(likeness=0.3)
    mask = selected(stroke("eyedropper", (0.5, 0.5)))
    colours = world.scene.layers["ball"].content.colours
    front = chosen(Under(CAMERA, 0.5, 0.5, LOOK), world.state, editor._tools)["ball"]
    assert np.array_equal(mask, (np.abs(colours - colours[front]) <= 0.3).all(1)) and mask.sum() > 1
    assert not selected(stroke("eyedropper", (0.01, 0.01))).any()  # nothing is there


def test_paint_colours_what_lies_under_the_brush_and_nothing_else(hands):
    editor, world, hand, _, stroke = hands
    editor.change(painting=Painting((0.0, 1.0, 0.0)))
    before = world.state.scene.layers["ball"].content
    reached = chosen(asks("paint", (0.5, 0.5), (0.55, 0.5)), world.state, editor._tools)["ball"]
    after = stroke("paint", (0.5, 0.5), (0.55, 0.5)).scene.layers["ball"].content
    assert not hand.used
    assert np.allclose(after.colours[reached], (0, 1, 0), atol=1e-5) and np.array_equal(after.sh[~reached], before.sh[~reached])
    stroke("paint", (0.01, 0.01))
    assert len(world.document.entries) == 1 and not hand.used


def test_points_are_picked_one_by_one_and_the_tool_comes_back(hands):
    editor, _, hand, _, stroke = hands
    editor.use("brush")
    got = []
    editor.pick(2, "Two points", got.append)
    assert hand.used[-1] == ("pick", "Two points (1 of 2)")
    stroke("pick", (0.2, 0.3))
    stroke("pick", (0.95, 0.3))  # met nothing
    assert hand.used[-1][0] == "Nothing there" and editor.tool == "pick" and not got
    stroke("pick", (0.4, 0.5))
    assert editor.tool == "brush" and np.allclose(got[0], [(0.2, 0.3, 0), (0.4, 0.5, 0)])
    editor.pick(1, "One", got.append)
    editor.left()  # Escape
    assert hand.used[-1] == ("none", None)  # also a page that a tool was on its way to
    stroke("pick", (0.4, 0.5))
    assert len(got) == 1 and editor.tool == "none"
