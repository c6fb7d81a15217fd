"""JSON that a stranger wrote: parsed, and asked for values that must be there and be what they should."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]

LARGEST = 1 << 53  # whole number that JSON is sure to hold
_REACH = 1e30  # of any number: its powers in float64 stay finite


def parsed(text: bytes) -> Json:
    """The object that `text` holds; ValueError if it is no JSON, or nested too deeply."""
    try:
        document = json.loads(text.decode("utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"glTF: its JSON cannot be read ({type(error).__name__}: {str(error)[:200]})") from None
    if not isinstance(document, dict):
        raise ValueError(f"glTF: expected an object as JSON, found {shown(document)}")
    return document


def shown(value: object) -> str:
    """A value of the file in a message: short, and never a whole tree."""
    return f"{value!r:.60}" if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"


def whole(holder: Json, key: str, default: int | None = None, most: int = LARGEST) -> int:
    """The whole number 0..most under `key`; ValueError if there is another value, or none and no default."""
    value = holder.get(key, default)
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"glTF: expected a whole number from 0 to {most} as '{key}', found {shown(value)}")
    return value


def listed(holder: Json, key: str) -> list[Any]:
    """The list under `key`, empty if there is none."""
    value = holder.get(key, [])
    if not isinstance(value, list):
        raise ValueError(f"glTF: expected a list as '{key}', found {shown(value)}")
    return value


def mapping(holder: Json, key: str) -> Json:
    """The object under `key`, empty if there is none."""
    value = holder.get(key, {})
    if not isinstance(value, dict):
        raise ValueError(f"glTF: expected an object as '{key}', found {shown(value)}")
    return value


def entry(holder: Json, key: str, index: object) -> Json:
    """Object number `index` of the list under `key`."""
    entries = listed(holder, key)
    if type(index) is not int or not 0 <= index < len(entries) or not isinstance(entries[index], dict):
        raise ValueError(f"glTF: expected an object {shown(index)} in '{key}', which has {len(entries)} entries")
    return entries[index]


def numbers(holder: Json, key: str, count: int, default: tuple[float, ...]) -> list[float]:
    """The `count` finite numbers under `key`."""
    values = holder.get(key, default)
    if not isinstance(values, list | tuple) or len(values) != count or not all(_is_number(value) for value in values):
        raise ValueError(f"glTF: expected {count} finite numbers as '{key}', found {shown(values)}")
    return [float(value) for value in values]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _REACH


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
