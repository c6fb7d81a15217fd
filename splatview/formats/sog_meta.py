"""What a SOG's `meta.json` says: how many Gaussians, in which pictures, and what a byte of each picture stands for.

Version 2 names codebooks, version 1 (which says no version) ranges; both become tables of 256 numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatview import harmonics
from splatview.arrays import Doubles, Floats
from splatview.formats.packing import LOGITS
from splatview.formats.report import Report
from splatview.formats.sog_images import LARGEST
from splatview.gaussians import Kind

ROW = 64  # vectors in a row of the palette of harmonics
MOST = LARGEST**2  # Gaussians
MOST_LABELS = 1 << 16
KINDS: dict[str, Kind] = {"default": "classic", "antialiased": "antialiased", "2dgs": "2dgs"}
_LARGEST_LOG = 88.73  # of a coordinate that float32 holds
_RAMP = np.arange(256) / 255


@dataclass(frozen=True, eq=False)
class Palette:
    """Where the harmonics above degree 0 are."""

    table: Floats  # [256] what a byte stands for; NaN: nothing
    files: tuple[str, ...]  # vectors, labels
    degree: int | None = None  # None: as the width of the picture of vectors tells
    count: int | None = None  # of the vectors; None: as many as the picture holds


@dataclass(frozen=True, eq=False)
class Meta:
    """A scene in pictures; the tables hold what a byte stands for in each channel, NaN: nothing."""

    count: int
    kind: Kind
    span: Doubles  # [2, 3] the log coordinates of 0 and of 65535
    means: tuple[str, ...]  # files: low bytes, high bytes
    quats: tuple[str, ...]
    scales: tuple[str, ...]
    scale_tables: Floats  # [3, 256] log scales
    colours: tuple[str, ...]
    colour_tables: Floats  # [3, 256] DC coefficients
    logits: Floats  # [256] opacity logits
    palette: Palette | None

    @property
    def nbytes(self) -> int:
        """Bytes of the Gaussians; of degree 3 if only the pictures tell the degree."""
        degree = 0 if self.palette is None else 3 if self.palette.degree is None else self.palette.degree
        return 4 * self.count * (11 + 3 * harmonics.coefficients(degree))

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.means, *self.quats, *self.scales, *self.colours, *(self.palette.files if self.palette else ()))


def parsed(data: bytes, what: str = "meta.json") -> Mapping[str, Any]:
    """The object in a JSON file; ValueError if it is none."""
    try:
        content = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"sog: expected {what} to be JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"sog: expected an object in {what}, found {_shown(content)}")
    return content


def read(data: bytes, report: Report) -> Meta:
    """What a `meta.json` of version 1 or 2 says; ValueError if it makes no sense."""
    content = parsed(data)
    version = content.get("version")
    if version is not None and (version != 2 or isinstance(version, bool)):
        raise ValueError(f"sog: expected version 2, or none (which is version 1), found {_shown(version)}")
    means, scales, colours = (_object(content, name) for name in ("means", "scales", "sh0"))
    shape = None if version else means.get("shape")
    if shape is not None and not isinstance(shape, list):
        raise ValueError(f"sog: expected a list as 'shape' of 'means', found {_shown(shape)}")
    count = whole(content.get("count") if version else (shape or [None])[0], "the count of Gaussians", 1, MOST)
    if version:
        scale_tables, colour_tables, logits = np.tile(_book(scales, "scales"), (3, 1)), np.tile(_book(colours, "sh0"), (3, 1)), LOGITS
    else:
        scale_tables, (*rgb, logits) = _ramps(scales, "scales", 3), _ramps(colours, "sh0", 4)
        colour_tables = np.stack(rgb)
    span = np.stack([_numbers(means.get(name), f"{name!r} of 'means'", 3) for name in ("mins", "maxs")])
    if np.abs(span).max() > _LARGEST_LOG:
        raise ValueError(f"sog: expected log coordinates up to {_LARGEST_LOG}, found {np.abs(span).max():.6g}")
    return Meta(
        count=count,
        kind=_kind(content, report),
        span=span,
        means=_files(means, "means", 2),
        quats=_files(_object(content, "quats"), "quats", 1),
        scales=_files(scales, "scales", 1),
        scale_tables=scale_tables,
        colours=_files(colours, "sh0", 1),
        colour_tables=colour_tables,
        logits=logits,
        palette=_palette(content, version is not None),
    )


def whole(value: Any, what: str, least: int, most: int) -> int:
    """`value` if it is a whole number from `least` to `most`, else ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"sog: expected {what} from {least:,} to {most:,}, found {_shown(value)}")
    return value


def _palette(content: Mapping[str, Any], coded: bool) -> Palette | None:
    if content.get("shN") is None:
        return None
    part = _object(content, "shN")
    files = _files(part, "shN", 2)
    if not coded:
        low, high = (_numbers(part.get(name), f"{name!r} of 'shN'") for name in ("mins", "maxs"))
        return Palette((low + (high - low) * _RAMP).astype(np.float32), files)
    degree = whole(part.get("bands"), "'bands'", 0, 3)
    count = whole(part.get("count"), "the count of 'shN'", 0, MOST_LABELS)
    return Palette(_book(part, "shN"), files, degree, count) if degree else None


def _kind(content: Mapping[str, Any], report: Report) -> Kind:
    model = content.get("model", "default")
    kind = KINDS.get(model) if isinstance(model, str) else None
    if kind is None:
        report.note(f"sog: a model {_shown(model)} is not known here: drawn as an ordinary one")
    return kind or "classic"


def _object(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = content.get(name)
    if not isinstance(part, dict):
        raise ValueError(f"sog: expected an object {name!r} in meta.json, found {_shown(part)}")
    return part


def _files(part: Mapping[str, Any], what: str, count: int) -> tuple[str, ...]:
    names = part.get("files")
    if not isinstance(names, list) or len(names) < count or not all(isinstance(name, str) for name in names):
        raise ValueError(f"sog: expected the names of {count} files in {what!r}, found {_shown(names)}")
    return tuple(names[:count])


def _book(part: Mapping[str, Any], what: str) -> Floats:
    """A codebook as a table [256], filled up with NaN."""
    values = part.get("codebook")
    if not isinstance(values, list) or not 1 <= len(values) <= 256:
        raise ValueError(f"sog: expected a codebook of 256 numbers in {what!r}, found {_shown(values)}")
    table = np.full(256, np.nan, np.float32)
    table[: len(values)] = _numbers(values, f"the codebook of {what!r}", len(values))
    return table


def _ramps(part: Mapping[str, Any], what: str, channels: int) -> Floats:
    """Tables [channels, 256] that run from `mins` to `maxs`."""
    low, high = (_numbers(part.get(name), f"{name!r} of {what!r}", channels)[:, None] for name in ("mins", "maxs"))
    return (low + (high - low) * _RAMP).astype(np.float32)


def _numbers(values: Any, what: str, *shape: int) -> NDArray:
    """`values` as an array of that shape; ValueError unless all are numbers that float32 holds."""
    given = values if isinstance(values, list) else [values]
    fits = ([len(given)] if isinstance(values, list) else []) == list(shape)
    if fits and all(isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e38 for value in given):
        return np.array(values, np.float64)
    wanted = f"{shape[0]} numbers" if shape else "a number"
    raise ValueError(f"sog: expected {wanted} up to 1e38 as {what}, found {_shown(values)}")


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _shown(value: Any) -> str:
    """A value from outside, short enough for a message."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} with {len(value)} entries"
    if isinstance(value, int) and abs(value) > 10**30:
        return "a huge number"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
