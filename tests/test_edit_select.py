"""Selections: the algebra of masks obeys the laws of sets, and what cannot be reached is never selected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_edit_document import TURNED, splats, tools, two_layers

from splatview import Camera, Scene
from splatview.edit.operations import Delete, Hide, Lock, SaveSet, Select, ShowLayer
from splatview.edit.region import Lasso, Rectangle
from splatview.edit.select import (
    Broken,
    ColourLike,
    Combined,
    Connected,
    Current,
    Drawn,
    Everything,
    Flooded,
    Giant,
    Grown,
    Inside,
    Matching,
    Needles,
    Not,
    Nothing,
    OfLayer,
    Problem,
    Range,
    Saved,
    Selection,
    Shrunk,
    Slab,
    Step,
    Surface,
    Through,
    Under,
    chosen,
    combined,
)
from splatview.edit.state import State, joined, less, trimmed
from splatview.frame import Masks
from splatview.scene import Layer
from splatview.volumes import Box, Sphere

SIZES = {"a": 5, "b": 9}
MASKS = st.fixed_dictionaries(
    {}, optional={name: st.lists(st.booleans(), min_size=size, max_size=size).map(np.array) for name, size in SIZES.items()}
)
NONE = Masks()
ALL = Masks({name: np.ones(size, bool) for name, size in SIZES.items()})


def as_set(masks):
    return {(name, int(place)) for name, mask in masks.items() for place in np.flatnonzero(mask)}


@given(MASKS, MASKS, MASKS)
def test_the_algebra_is_that_of_sets(one, two, three):
    one, two, three = map(trimmed, (one, two, three))
    first, second = as_set(one), as_set(two)
    assert as_set(combined(one, "set", two)) == second
    assert as_set(combined(one, "add", two)) == first | second == as_set(joined(one, two))
    assert as_set(combined(one, "remove", two)) == first - second == as_set(less(one, two))
    assert as_set(combined(one, "intersect", two)) == first & second
    for how in ("add", "intersect"):  # commutative, associative, idempotent
        assert as_set(combined(one, how, two)) == as_set(combined(two, how, one))
        assert as_set(combined(combined(one, how, two), how, three)) == as_set(combined(one, how, combined(two, how, three)))
        assert as_set(combined(one, how, one)) == first
    union = combined(one, "add", two)
    assert as_set(combined(ALL, "remove", union)) == as_set(combined(combined(ALL, "remove", one), "remove", two))  # De Morgan
    split = combined(combined(one, "intersect", two), "add", combined(one, "remove", two))
    assert as_set(split) == first
    for how, with_none, with_all in (("add", first, as_set(ALL)), ("intersect", set(), first), ("remove", first, set())):
        assert as_set(combined(one, how, NONE)) == with_none and as_set(combined(one, how, ALL)) == with_all


@given(MASKS, MASKS, st.sampled_from(["set", "add", "remove", "intersect"]))
def test_no_layer_is_kept_without_anything_in_it(one, two, how):
    assert all(mask.any() for mask in combined(trimmed(one), how, two).values())


CAMERA = Camera.look_at((0, -6, 1), (0, 0, 0), (0, 0, 1), 0.8, 96, 64)
HALF = Rectangle(0.0, 0.0, 0.55, 1.0)
QUERIES = {
    "everything": Everything(),
    "nothing": Nothing(),
    "current": Current(),
    "saved": Saved("kept"),
    "of a layer": OfLayer("b"),
    "in a ball": Inside(Sphere((0.0, 0.0, 0.0), 1.0)),
    "in a box": Inside(Box((0.0, 0.5, 0.0), (2.0, 1.0, 3.0), (0.9, 0.1, 0.2, 0.3))),
    "expression": Matching("opacity > p30 and not within(ball)", {"ball": Sphere((0.0, 0.0, 0.0), 0.7)}),
    "range": Range("x", -0.5, 0.5),
    "depth": Range("depth", 5.0, 6.0, CAMERA),
    "colour": ColourLike((0.5, 0.5, 0.5), 0.3),
    "broken": Broken(),
    "giant": Giant(0.02),
    "needles": Needles(1.5),
    "problem": Problem("giant"),
    "not": Not(Range("x", -0.5, 0.5)),
    "combined": Combined((Step("set", Everything()), Step("remove", OfLayer("a")), Step("add", Range("x", 0.0, 1.0)))),
    "grown": Grown(Range("x", -0.5, 0.0), 0.3),
    "shrunk": Shrunk(Range("x", -1.0, 1.0), 0.1),
    "connected": Connected(Range("x", -0.1, 0.1), 0.4),
    "surface": Drawn(HALF, CAMERA, Surface(0.2)),
    "through": Drawn(HALF, CAMERA, Through()),
    "slab": Drawn(HALF, CAMERA, Slab(5.0, 6.5)),
    "ellipses": Drawn(Lasso(((0.1, 0.1), (0.9, 0.2), (0.4, 0.9))), CAMERA, Through(), "ellipse"),
    "click": Under(CAMERA, 0.5, 0.5),
    "flood": Flooded(CAMERA, 0.5, 0.5, 0.4, 0.2),
}


@pytest.fixture(scope="module")
def busy():
    """A state in which something is selected, hidden, locked, deleted and saved."""
    state = State(two_layers())
    for place, operation in enumerate((Hide, Lock, Delete)):
        mask = {"a": np.arange(60) % 10 == place, "b": np.arange(40) % 8 == place}
        state = operation(Selection.painted(mask, state)).apply(state, tools())
    state = Select(Selection(Range("x", -0.8, 0.8))).apply(state, tools())
    return SaveSet("kept").apply(state, tools())


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_query_reaches_only_what_is_there_and_open(busy, name):
    found = chosen(QUERIES[name], busy, tools())
    for layer, mask in found.items():
        assert mask.dtype == np.bool_ and mask.shape == (len(busy.scene.layers[layer].content),) and mask.any()
        assert not (mask & busy.untouchable[layer]).any()
    assert name in ("nothing", "broken", "problem") or found, "else this shows nothing"
    off = ShowLayer("a", False).apply(busy, tools())
    assert "a" not in chosen(QUERIES[name], off, tools())


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_query_gives_the_same_again_and_its_opposite_is_the_rest(busy, name):
    found, again = (chosen(QUERIES[name], busy, tools()) for _ in range(2))
    assert as_set(found) == as_set(again)
    rest, everything = chosen(Not(QUERIES[name]), busy, tools()), chosen(Everything(), busy, tools())
    assert as_set(rest) == as_set(everything) - as_set(found)
    assert as_set(chosen(Not(Not(QUERIES[name])), busy, tools())) == as_set(found)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["set", "add", "remove", "intersect"]), st.sampled_from(["range", "in a ball", "of a layer"]))))
def test_several_queries_at_once_are_those_one_after_another(steps):
    state, found = State(two_layers()), set()
    parts = {name: as_set(chosen(QUERIES[name], state, tools())) for name in ("range", "in a ball", "of a layer")}
    for how, name in steps:
        part = parts[name]
        found = {"set": part, "add": found | part, "remove": found - part, "intersect": found & part}[how]
        state = Select(Selection(QUERIES[name]), how).apply(state, tools())
        assert as_set(state.selected) == found
    at_once = chosen(Combined(tuple(Step(how, QUERIES[name]) for how, name in steps)), State(two_layers()), tools())
    assert as_set(at_once) == found


def test_a_selection_remembers_for_which_rows_it_was_asked():
    state = State(two_layers())
    selection = Selection.asked(Range("x", 0.0, 9.0), state, tools())
    assert selection.fits(State(two_layers())) and set(selection.rows) == {"a", "b"}
    other = State(Scene({"a": Layer(splats(seed=9)), "b": Layer(splats(40, 1), TURNED)}))
    assert not selection.fits(other) and not Selection(Everything()).fits(state)
    assert not selection.fits(State(Scene({"a": Layer(splats())})))


def test_a_painted_mask_has_one_entry_for_each_gaussian():
    state = State(two_layers())
    with pytest.raises(ValueError, match="one entry for each of its 60 Gaussians"):
        Selection.painted({"a": np.ones(59, bool)}, state)
    with pytest.raises(ValueError, match="expected a layer called 'x'"):
        Selection.painted({"x": np.ones(59, bool)}, state)


def test_what_has_no_answer_says_so_in_one_line():
    state = State(two_layers())
    for query in (
        Saved("nobody"),
        OfLayer("nobody"),
        Matching("within(nobody)"),
        Range("colour of the sky", 0.0, 1.0),
        Range("depth", 0.0, 1.0),
    ):
        with pytest.raises(ValueError) as told:
            chosen(query, state, tools())
        assert "\n" not in str(told.value)
