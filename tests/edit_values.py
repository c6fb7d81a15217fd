"""Values of every class that a document holds, made by the types of their fields, so that a new class cannot be forgotten."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st

from splatview.camera import Camera
from splatview.edit import codec
from splatview.edit.bits import Bits

NAMES = st.sampled_from(["a", "b", "two words", "ünïcode \N{SNOWMAN}", ""])
SHARES = st.floats(0.01, 1.0)
NUMBERS = st.floats(-1e9, 1e9)
TRIPLES = st.tuples(NUMBERS, NUMBERS, NUMBERS)
QUATS = st.tuples(*[st.floats(0.1, 1.0)] * 4)
POINTS = st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), min_size=3, max_size=6).map(tuple)

FIELDS: Mapping[tuple[str, str], st.SearchStrategy] = {  # where a class asks for more than its types do
    ("Similarity", "quat"): QUATS,
    ("Similarity", "scale"): st.floats(1e-3, 1e3),
    ("Sphere", "radius"): st.floats(0.1, 1e3),
    ("Sphere", "falloff"): st.floats(0, 1e3),
    ("Box", "size"): st.tuples(*[st.floats(0.1, 1e3)] * 3),
    ("Box", "quat"): QUATS,
    ("Box", "falloff"): st.floats(0, 1e3),
    ("Lasso", "points"): POINTS,
    ("Polygon", "points"): POINTS,
    ("Stroke", "points"): POINTS,
    ("Stroke", "radius"): SHARES,
    ("Surface", "least"): SHARES,
    ("Slab", "near"): st.floats(0, 1),
    ("Slab", "far"): st.floats(2, 1e9),
    ("Matching", "text"): st.sampled_from(["opacity < 0.1", "scale_max > p99 and within(a)", "not (x > 1 or y < -2.5)"]),
    ("Directional", "direction"): QUATS.map(lambda quat: quat[:3]),
    ("Directional", "strength"): st.floats(0, 100),
    ("Point", "strength"): st.floats(0, 100),
    ("Point", "radius"): st.floats(0.1, 1e3),
    ("Relight", "smoothing"): st.integers(0, 20),
    ("SaveSet", "name"): st.sampled_from(["a", "b2", "größe"]),
    ("CapDegree", "degree"): st.integers(0, 4),
    ("Merge", "layers"): st.sampled_from([("a", "b"), ("b", "a", "c")]),
    ("Floaters", "neighbours"): st.integers(1, 10_000),
    ("Simplify", "count"): st.integers(1, 10**9),
    ("Grading", "exposure"): st.floats(-20, 20),
    ("Grading", "tint"): st.tuples(*[st.floats(0, 100)] * 3),
    ("Grading", "temperature"): st.floats(-1, 1),
    ("Grading", "saturation"): st.floats(0, 100),
    ("Grading", "contrast"): st.floats(0, 100),
    ("Grading", "black_point"): st.floats(-1, 0.4),
    ("Grading", "white_point"): st.floats(0.5, 2),
    ("Grading", "hue_shift"): st.floats(-360, 360),
    ("Grading", "opacity"): st.floats(0, 100),
    ("Expose", "stops"): st.floats(-20, 20),
    ("SetBackground", "colour"): st.none() | st.tuples(*[st.floats(0, 1)] * 3),
    ("Painting", "colour"): st.tuples(*[st.floats(0, 1)] * 3),
    ("Painting", "amount"): st.floats(0, 1),
    ("Painting", "opacity"): st.none() | st.floats(0, 1),
}

BITS = st.lists(st.booleans(), max_size=40).map(Bits.of)
CAMERAS = st.builds(
    lambda eye, at, fov, width, height: Camera.look_at(eye, np.add(eye, at), (0.1, 0.2, 1.0), fov, width, height),
    TRIPLES.map(lambda triple: tuple(number / 1e6 for number in triple)),
    st.tuples(st.floats(1, 2), st.floats(1, 2), st.floats(-1, 1)),
    st.floats(0.1, 2.0),
    st.integers(1, 4000),
    st.integers(1, 4000),
)


def values_of(kind: Any, depth: int = 0) -> st.SearchStrategy:
    """Values of type `kind`; those that hold others of their own kind end after a few."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Bits:
        return BITS
    if kind is Camera:
        return CAMERAS
    if origin in (typing.Union, types.UnionType):
        few = [one for one in inner if not _holds_itself(one)] if depth > 4 else inner
        return st.one_of([values_of(one, depth + 1) for one in few])
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is tuple:
        if len(inner) == 2 and inner[1] is Ellipsis:
            return st.lists(values_of(inner[0], depth + 1), min_size=1, max_size=3).map(tuple)
        return st.tuples(*[values_of(one, depth + 1) for one in inner])
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(NAMES, values_of(inner[1], depth + 1), max_size=2)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return st.deferred(lambda: instances(kind, depth))
    return {float: NUMBERS, int: st.integers(-(1 << 53), 1 << 53), bool: st.booleans(), str: NAMES, type(None): st.none()}[kind]


def instances(kind: type, depth: int = 0) -> st.SearchStrategy:
    """Values of a dataclass, each field at its default now and then."""
    if kind in (Bits, Camera):
        return values_of(kind)
    hints = codec._fields(kind)
    needed, more = {}, {}
    for field in dataclasses.fields(kind):
        if field.init:
            place = kind.__name__, field.name
            strategy = FIELDS[place] if place in FIELDS else values_of(hints[field.name], depth + 1)
            missing = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            (needed if missing else more)[field.name] = strategy
    return st.fixed_dictionaries(needed, optional=more).map(lambda fields: kind(**fields))


def _holds_itself(kind: Any) -> bool:
    return kind.__name__ in ("Not", "Combined", "Grown", "Shrunk", "Connected") if isinstance(kind, type) else False


def alike(one: Any, other: Any) -> bool:
    """Whether two values hold the same to the last bit, where they are compared by identity too."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Camera):
        exact = np.array_equal(one.K, other.K) and np.array_equal(one.camera_from_world[:3], other.camera_from_world[:3])
        return exact and (one.width, one.height) == (other.width, other.height)
    if dataclasses.is_dataclass(one):
        return all(alike(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one))
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == other
