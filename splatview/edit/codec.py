"""Operations <-> JSON. What is read comes from a file, and is trusted with nothing: every value has the type that its field declares.

A dataclass is `{"is": its name, field: value, ...}`, fields at their default left out; a mask is `{"is": "Bits", "count": N, "data":
text}`, the text base64 or what `keep` made of the bytes (an archive keeps them apart, each once).
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

import numpy as np

from splatview import volumes
from splatview.camera import Camera
from splatview.edit import operations as ops
from splatview.edit import relight, select
from splatview.edit.bits import Bits
from splatview.edit.grade import Grading, Painting
from splatview.geometry import Similarity

Keep = Callable[[bytes], str]
Fetch = Callable[[str], bytes]
DEEPEST = 60  # values inside values
LARGEST = 1e100  # number, so that no product of a few overflows
LARGEST_INT = 1 << 53

NAMED: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (
        *typing.get_args(ops.AnyOperation),
        *typing.get_args(select.AnyQuery),
        *typing.get_args(select.Shape),
        *typing.get_args(volumes.Volume),
        *typing.get_args(select.Depth),
        select.Look,
        select.Step,
        select.Selection,
        relight.Directional,
        relight.Point,
        volumes.Cut,
        Grading,
        Painting,
        Similarity,
        Bits,
        Camera,
    )
}


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"mask: expected base64 ({error})") from error


def encode(value: Any, keep: Keep = to_base64) -> Any:
    """`value` (an operation, or what belongs to one) as what `json.dumps` takes."""
    if isinstance(value, Bits):
        return {"is": "Bits", "count": value.count, "data": keep(value.data)}
    if isinstance(value, Camera):
        pose = value.camera_from_world[:3]
        return {"is": "Camera", "K": value.K.tolist(), "pose": pose.tolist(), "width": value.width, "height": value.height}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if NAMED.get(type(value).__name__) is not type(value):
            raise TypeError(f"{type(value).__name__} is not something that a document holds")
        fields = {}
        for field in dataclasses.fields(value):
            own = getattr(value, field.name)
            if field.init and not (own is field.default or (_plain(own) and own == field.default)):
                fields[field.name] = encode(own, keep)
        return {"is": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): encode(one, keep) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return encode(value.tolist(), keep)
    if isinstance(value, (list, tuple)):
        return [encode(one, keep) for one in value]
    if isinstance(value, np.generic):
        return encode(value.item(), keep)
    if isinstance(value, (int, float)) and not abs(value) <= (LARGEST_INT if isinstance(value, int) else LARGEST):
        raise ValueError(f"a document holds finite numbers of at most {LARGEST:g}, and not {_shown(value)}")
    return value


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, tuple))


def decode(data: Any, kind: Any = ops.AnyOperation, fetch: Fetch = from_base64) -> Any:
    """The value of type `kind` that `data` (from `json.loads`) stands for; ValueError, which says where, if it is none."""
    return decoded(data, kind, fetch, "", 0)


def decoded(data: Any, kind: Any, fetch: Fetch, at: str, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError(f"{at}: expected at most {DEEPEST} values inside each other")
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _one_of(data, inner, fetch, at, depth)
    if origin is Literal:
        if data not in inner or isinstance(data, bool) != any(isinstance(one, bool) for one in inner):
            raise ValueError(f"{at}: expected one of {', '.join(map(repr, inner))}, found {_shown(data)}")
        return data
    if origin is tuple:
        if not isinstance(data, list):
            raise ValueError(f"{at}: expected a list, found {_shown(data)}")
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(decoded(one, inner[0], fetch, f"{at}[{i}]", depth + 1) for i, one in enumerate(data))
        if len(data) != len(inner):
            raise ValueError(f"{at}: expected {len(inner)} values, found {len(data)}")
        return tuple(decoded(one, each, fetch, f"{at}[{i}]", depth + 1) for i, (one, each) in enumerate(zip(data, inner, strict=True)))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(data, dict):
            raise ValueError(f"{at}: expected an object, found {_shown(data)}")
        return {str(key): decoded(one, inner[1], fetch, f"{at}.{_key(key)}", depth + 1) for key, one in data.items()}
    if kind in (float, int, bool, str, type(None)):
        return _simple(data, kind, at)
    if isinstance(kind, type) and NAMED.get(kind.__name__) is kind:
        return _value(data, kind, fetch, at, depth)
    raise TypeError(f"{at}: no way to read {kind}")


def _one_of(data: Any, kinds: tuple[Any, ...], fetch: Fetch, at: str, depth: int) -> Any:
    if isinstance(data, dict) and "is" in data:
        names = {kind.__name__: kind for kind in kinds if isinstance(kind, type)}
        if not isinstance(data["is"], str) or data["is"] not in names:
            raise ValueError(f"{at}: expected one of {', '.join(sorted(names))}; found {_shown(data['is'])}")
        return _value(data, names[data["is"]], fetch, at, depth)
    simple = [kind for kind in kinds if not (isinstance(kind, type) and dataclasses.is_dataclass(kind))]
    failure = f'{at}: expected an object with the name of what it is under "is", found {_shown(data)}'
    for kind in simple:
        try:
            return decoded(data, kind, fetch, at, depth + 1)
        except ValueError as error:
            failure = str(error)
    raise ValueError(failure)


def _value(data: Any, kind: type, fetch: Fetch, at: str, depth: int) -> Any:
    here = f"{at}.{kind.__name__}".lstrip(".")
    if kind is select.Selection:
        data = _written_by_hand(data)
    if not isinstance(data, dict) or data.get("is") != kind.__name__:
        raise ValueError(f'{here}: expected an object with "is": "{kind.__name__}", found {_shown(data)}')
    given = {key: value for key, value in data.items() if key != "is"}
    if kind is Bits:
        count, text = _simple(given.get("count"), int, f"{here}.count"), _simple(given.get("data"), str, f"{here}.data")
        bits = Bits(count, fetch(text))
        bits.check()
        return bits
    if kind is Camera:
        return _camera(given, here)
    hints = _fields(kind)
    if unknown := set(given) - set(hints):
        raise ValueError(f"{here}: expected some of {', '.join(hints) or 'no fields'}; found {', '.join(map(_key, sorted(unknown)[:5]))}")
    values = {name: decoded(value, hints[name], fetch, f"{here}.{name}", depth + 1) for name, value in given.items()}
    try:
        return kind(**values)
    except TypeError as error:  # a field without a default is missing
        raise ValueError(f"{here}: {str(error).split(') ')[-1]}") from error
    except ValueError as error:
        raise ValueError(f"{here}: {error}") from error


def _written_by_hand(data: Any) -> Any:
    """A selection that is only a query, or only an expression, in full."""
    if isinstance(data, str):
        data = {"is": "Matching", "text": data}
    if isinstance(data, dict) and isinstance(data.get("is"), str) and NAMED.get(data["is"]) in typing.get_args(select.AnyQuery):
        return {"is": "Selection", "query": data}
    return data


def _camera(given: dict[str, Any], at: str) -> Camera:
    row = tuple[float, float, float]
    k = decoded(given.get("K"), tuple[row, row, row], from_base64, f"{at}.K", 0)
    line = tuple[float, float, float, float]
    pose = decoded(given.get("pose"), tuple[line, line, line], from_base64, f"{at}.pose", 0)
    width, height = (_simple(given.get(name), int, f"{at}.{name}") for name in ("width", "height"))
    if not (0 < width <= 1 << 14 and 0 < height <= 1 << 14):
        raise ValueError(f"{at}: expected a size of 1 to 16384 pixels a side, found {width} x {height}")
    try:
        return Camera(np.array(k), np.array([*pose, (0.0, 0.0, 0.0, 1.0)]), width, height)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{at}: {error}") from error


@cache
def _fields(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def _simple(data: Any, kind: type, at: str) -> Any:
    if kind is float and isinstance(data, (int, float)) and not isinstance(data, bool):
        if not abs(data) <= LARGEST:
            raise ValueError(f"{at}: expected a number of at most {LARGEST:g}, found {_shown(data)}")
        return float(data)
    if not isinstance(data, kind) or (kind is int and (isinstance(data, bool) or abs(data) > LARGEST_INT)):
        names = {float: "a number", int: "a whole number", bool: "true or false", str: "a text", type(None): "null"}
        raise ValueError(f"{at}: expected {names[kind]}, found {_shown(data)}")
    return data


def _key(key: str) -> str:
    return key if key.isidentifier() and len(key) < 40 else _shown(key)


def _shown(data: Any) -> str:
    text = repr(data)
    return text if len(text) < 60 else text[:57] + "..."
