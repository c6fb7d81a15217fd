"""Operations <-> JSON: every class there and back, and whatever else a file may hold is a ValueError."""

from __future__ import annotations

import json
import math
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from edit_values import alike, instances, values_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splatview.camera import Camera
from splatview.edit import codec, document
from splatview.edit.bits import LONGEST, Bits
from splatview.edit.codec import NAMED, decode, encode
from splatview.edit.operations import AnyOperation, Delete, Grade, Place, Select, ShowLayer
from splatview.edit.select import Combined, Everything, Matching, Not, Range, Selection, Step
from splatview.geometry import Similarity

PLENTY = {"suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]}


@pytest.mark.parametrize("name", sorted(NAMED))
def test_every_class_comes_back_from_json_as_it_was(name):
    kind = NAMED[name]

    @settings(max_examples=8, **PLENTY)
    @given(instances(kind))
    def comes_back(value):
        text = json.dumps(encode(value), allow_nan=False)
        again = decode(json.loads(text), kind)
        assert alike(again, value)
        assert json.dumps(encode(again), allow_nan=False) == text

    comes_back()


@settings(max_examples=40, **PLENTY)
@given(values_of(AnyOperation))
def test_an_operation_comes_back_without_being_told_which_it_is(operation):
    assert alike(decode(json.loads(json.dumps(encode(operation)))), operation)


def test_fields_at_their_default_are_left_out():
    assert encode(ShowLayer("a", True)) == {"is": "ShowLayer", "layer": "a", "visible": True}
    assert encode(Place("a", Similarity())) == {"is": "Place", "layer": "a", "placement": {"is": "Similarity"}}


def test_masks_are_kept_apart_where_they_are_asked_to_be():
    kept = {}

    def keep(data):
        kept[str(len(kept))] = data
        return str(len(kept) - 1)

    mask = np.arange(1000) % 3 == 0
    operation = Delete(Selection(Everything(), {"a": Bits.of(mask)}, {"a": "0" * 32}))
    data = json.loads(json.dumps(encode(operation, keep)))
    assert data["selection"]["masks"]["a"]["data"] == "0"
    assert np.array_equal(decode(data, fetch=kept.__getitem__).selection.masks["a"].mask, mask)


def test_what_no_document_holds_is_not_written():
    with pytest.raises(TypeError, match="is not something that a document holds"):
        encode(document.Entry(ShowLayer("a", True)))


# Written by hand.


def test_a_query_or_an_expression_is_enough_for_a_selection():
    """Scripts are written by people."""
    query = {"is": "Matching", "text": "opacity < 0.1"}
    full = decode({"is": "Select", "selection": {"is": "Selection", "query": query}})
    assert alike(decode({"is": "Select", "selection": query}), full)
    assert alike(decode({"is": "Select", "selection": "opacity < 0.1"}), full)
    assert isinstance(decode({"is": "Delete", "selection": "opacity < 0.1"}).selection.query, Matching)
    with pytest.raises(ValueError, match=r"Select\.selection"):
        decode({"is": "Select", "selection": "opacity <"})


# Hostile.


WRONG = [
    None,
    True,
    0,
    "Delete",
    [],
    {},
    {"is": None},
    {"is": []},
    {"is": {}},
    {"is": 3},
    {"is": "Entry"},
    {"is": "Similarity"},
    {"is": "__class__"},
    {"is": "Delete", "selection": 3},
    {"is": "Delete", "selection": {"is": []}},
    {"is": "Delete", "selection": {"is": "Select"}},
    {"is": "Delete", "selection": {"is": "Selection"}},
    {"is": "Delete", "why": 3},
    {"is": "Delete", "label": "x"},
    {"is": "Delete", "__init__": "x"},
    {"is": "Hide", "hide": 1},
    {"is": "ShowLayer", "layer": "a"},
    {"is": "ShowLayer", "layer": "a", "visible": "yes"},
    {"is": "CapDegree", "degree": 1.5},
    {"is": "CapDegree", "degree": True},
    {"is": "CapDegree", "degree": 10**30},
    {"is": "Merge", "layers": ["a", "a"], "name": "b"},
    {"is": "Merge", "layers": "ab", "name": "b"},
    {"is": "Place", "layer": "a", "placement": {"is": "Similarity", "scale": math.nan}},
    {"is": "Place", "layer": "a", "placement": {"is": "Similarity", "scale": -1}},
    {"is": "Place", "layer": "a", "placement": {"is": "Similarity", "scale": 10**400}},
    {"is": "Place", "layer": "a", "placement": {"is": "Similarity", "quat": [0, 0, 0, 0]}},
    {"is": "Place", "layer": "a", "placement": {"is": "Similarity", "quat": [1, 0, 0]}},
    {"is": "Place", "layer": "a", "placement": {"is": "Similarity", "quat": [1e200, 1e200, 1e200, 1e200]}},
    {"is": "SaveSet", "name": "two words"},
    {"is": "Relight", "smoothing": 10**9},
    {"is": "Delete", "x" * 10**6: 1, "a\nb": 2},
    {"is": "Select", "selection": {"is": "Matching", "text": "x > 0", "volumes": {"a\nb" * 10**5: 3}}},
    {"is": "Grade", "grading": {"is": "Grading", "tint": [1, 2]}},
    {"is": "Grade", "grading": {"is": "Grading", "exposure": 1e9}},
    {"is": "Select", "how": "xor", "selection": {"is": "Selection", "query": {"is": "Everything"}}},
    {"is": "Select", "how": [], "selection": {"is": "Selection", "query": {"is": "Everything"}}},
    {"is": "Select", "selection": {"is": "Selection", "query": {"is": "Everything"}, "masks": []}},
    {"is": "Select", "selection": {"is": "Selection", "query": {"is": "Everything"}, "rows": {"a": 3}}},
    {"is": "Select", "selection": {"is": "Selection", "query": {"is": "Matching", "text": "__import__('os').getpid() > 0"}}},
    {"is": "Select", "selection": {"is": "Selection", "query": {"is": "Matching", "text": "(" * 5000 + "x" + ")" * 5000}}},
    {"is": "Select", "selection": {"is": "Selection", "query": {"is": "Matching", "text": "not " * 20000 + "x > 0"}}},
    {"is": "Select", "selection": {"is": "Selection", "query": {"is": "Matching", "text": "x > 0\x00"}}},
]


@pytest.mark.parametrize("data", WRONG, ids=lambda data: repr(data)[:70])
def test_what_is_no_operation_is_refused_in_one_line(data):
    with pytest.raises(ValueError) as told:
        decode(data)
    assert len(str(told.value)) < 1000 and "\n" not in str(told.value)


CAMERA = encode(Camera.look_at((0, -4, 0), (0, 0, 0), (0, 0, 1), 0.8, 320, 180))


@pytest.mark.parametrize(
    "changed",
    [
        {"width": 0},
        {"width": 10**12},
        {"height": -3},
        {"K": None},
        {"K": [[1, 0, 0], [0, 1, 0]]},
        {"K": [[math.inf, 0, 0], [0, 1, 0], [0, 0, 1]]},
        {"pose": [[0] * 4] * 3},
        {"pose": [[1e250] * 4] * 3},
        {"pose": "x"},
        {"pose": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0]]},
    ],
    ids=repr,
)
def test_a_camera_that_is_none_is_refused(changed):
    decode(CAMERA, Camera)
    with pytest.raises(ValueError):
        decode(CAMERA | changed, Camera)


@pytest.mark.parametrize(
    "count,data",
    [
        (8, "!"),
        (8, "é"),
        (8, codec.to_base64(b"")),
        (8, codec.to_base64(b"not zlib")),
        (8, codec.to_base64(zlib.compress(b"ab"))),
        (80, codec.to_base64(zlib.compress(b"ab"))),
        (80, codec.to_base64(zlib.compress(b"x" * 10)[:-6])),
        (-1, codec.to_base64(zlib.compress(b""))),
        (LONGEST, codec.to_base64(zlib.compress(b""))),
        (10**18, codec.to_base64(zlib.compress(b""))),
        (True, codec.to_base64(zlib.compress(b"a"))),
        (8.0, codec.to_base64(zlib.compress(b"a"))),
        (None, None),
    ],
    ids=repr,
)
def test_a_mask_that_is_none_is_refused(count, data):
    with pytest.raises(ValueError):
        decode({"is": "Bits", "count": count, "data": data}, Bits)


def test_a_bomb_of_a_mask_takes_little_memory():
    bomb = codec.to_base64(zlib.compress(bytes(1 << 27), 9))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected 125 bytes"):
            decode({"is": "Bits", "count": 1000, "data": bomb}, Bits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_reading_a_mask_makes_no_array_of_it():
    """A mask is a bit a Gaussian until it is needed."""
    data = encode(Bits.of(np.zeros(1 << 25, bool)))
    tracemalloc.start()
    try:
        decode(data, Bits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("query", [Not, lambda inner: Combined((Step("set", inner),))], ids=["not", "combined"])
def test_queries_within_each_other_end_somewhere(query):
    def nested(levels):
        value = encode(query(Everything()))
        for _ in range(levels):
            value = {"is": "Not", "query": value}
        return {"is": "Select", "selection": {"is": "Selection", "query": value}}

    decode(nested(10))
    with pytest.raises(ValueError, match="inside each other"):
        decode(nested(900))
    with pytest.raises(ValueError):
        decode({"is": "Merge", "layers": json.loads("[" * 500 + "]" * 500), "name": "a"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=5) | st.sampled_from(sorted(NAMED)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.just("is"), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, **PLENTY)
@given(values_of(AnyOperation), st.randoms(use_true_random=False), JSON)
def test_an_operation_with_anything_in_any_place_is_read_or_refused(operation, random, anything):
    data = json.loads(json.dumps(encode(operation)))
    at, place = data, None
    for _ in range(random.randint(1, 6)):
        place = (at, random.choice(list(at) if isinstance(at, dict) else range(len(at)))) if at else place
        at = at[place[1]] if place and place[0] is at else at
        if not isinstance(at, (dict, list)) or not at:
            break
    place[0][place[1]] = anything
    try:
        read = decode(data)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert alike(decode(json.loads(json.dumps(encode(read), allow_nan=False))), read)


@settings(max_examples=150, **PLENTY)
@given(JSON)
def test_anything_else_is_no_document(anything):
    for read in (decode, document.decode, document.decode_change, document.decode_entry):
        with suppress(ValueError):
            read(anything)


def test_the_least_of_a_grade_is_a_grade():
    assert isinstance(decode({"is": "Grade", "grading": {"is": "Grading"}}), Grade)
    assert isinstance(decode({"is": "Select", "selection": {"is": "Selection", "query": {"is": "Everything"}}}), Select)


@pytest.mark.parametrize("number", [math.inf, math.nan, 1e200])
def test_what_could_not_be_read_again_is_not_written(number):
    with pytest.raises(ValueError, match="finite numbers"):
        encode(Range("x", 0.0, number))
