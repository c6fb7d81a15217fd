"""Gaussians -> `.glb` and `.gltf` with `KHR_gaussian_splatting`: one primitive of points whose attributes are floats, one after the other.

What a reader without the extension shows are points in `COLOR_0`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Bytes, Floats
from splatview.formats.gltf import HALF_TURN, RENDER_MODE, SPLATTING, harmonic_name, harmonic_sign
from splatview.formats.gltf_container import BIN_CHUNK, CHUNK, HEADER, JSON_CHUNK, MAGIC
from splatview.formats.inria import TAGS
from splatview.formats.packing import BLOCK, alpha_bytes, limit_degree, packable, quantised
from splatview.formats.report import Report
from splatview.gaussians import Gaussians
from splatview.geometry import normalised

MAX_DEGREE = 3  # that the extension names
_VERTICES = 34962  # target of a buffer view
_FLOAT, _BYTE = 5126, 5121
_LARGEST = 88.72  # the logarithm of the largest float32, nearly
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


@dataclass(frozen=True)
class _Column:
    """An attribute: its rows [n, width] of a part of the Gaussians."""

    name: str
    width: int
    rows: Callable[[Gaussians], NDArray]
    component: int = _FLOAT

    @property
    def row_bytes(self) -> int:
        return self.width * (4 if self.component == _FLOAT else 1)


_COLUMNS = (
    _Column("POSITION", 3, lambda part: part.means * HALF_TURN),
    _Column("COLOR_0", 4, lambda part: _fallback(part), _BYTE),
    _Column(f"{SPLATTING}:ROTATION", 4, lambda part: _rotations(part.quats)),
    _Column(f"{SPLATTING}:SCALE", 3, lambda part: np.exp(np.minimum(part.log_scales.astype(np.float64), _LARGEST))),
    _Column(f"{SPLATTING}:OPACITY", 1, lambda part: np.exp(-np.logaddexp(0, -part.opacity_logits.astype(np.float64)))[:, None]),
)


def _harmonic(k: int) -> _Column:
    return _Column(harmonic_name(k), 3, lambda part: part.sh[:, k] * np.float32(harmonic_sign(k)))


def encode_glb(gaussians: Gaussians, report: Report | None = None) -> memoryview:
    """A `.glb` file; ValueError for harmonics above degree 3, or more than the 4 GiB that it can hold."""
    report = report or Report()
    gaussians, columns, document = _described(gaussians, report)
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    size = document["buffers"][0]["byteLength"]
    start = HEADER.pack(MAGIC, 2, 0) + CHUNK.pack(len(text), JSON_CHUNK) + text + CHUNK.pack(min(size, 2**32 - 1), BIN_CHUNK)
    total = len(start) + size
    if total >= 1 << 32:
        raise ValueError(f"glb: expected less than 4 GiB, and the scene needs {total / 2**30:.1f}: split it, or cut harmonics with max_sh")
    content = np.empty(total, np.uint8)
    content[: len(start)] = np.frombuffer(start, np.uint8)
    HEADER.pack_into(content.data, 0, MAGIC, 2, total)
    _fill(content[len(start) :], gaussians, columns, report)
    return content.data


def encode_text(gaussians: Gaussians, report: Report | None = None) -> bytes:
    """A `.gltf` file with its buffer in base64; ValueError for harmonics above degree 3."""
    report = report or Report()
    gaussians, columns, document = _described(gaussians, report)
    content = np.empty(document["buffers"][0]["byteLength"], np.uint8)
    _fill(content, gaussians, columns, report)
    mark = "data:application/octet-stream;base64,"
    document["buffers"][0]["uri"] = mark
    before, after = json.dumps(document, separators=(",", ":")).encode().split(mark.encode())
    return b"".join([before, mark.encode(), base64.b64encode(content.data), after])


def _described(gaussians: Gaussians, report: Report) -> tuple[Gaussians, list[_Column], dict[str, Any]]:
    """The Gaussians that can be written, their attributes, and the JSON around them."""
    limit_degree(gaussians, MAX_DEGREE, "glTF")
    gaussians = packable(gaussians, report)
    count = len(gaussians)
    columns = [*_COLUMNS, *(_harmonic(k) for k in range(gaussians.sh.shape[1]))]
    views, accessors, at = [], [], 0
    for index, column in enumerate(columns):
        size = count * column.row_bytes
        views.append({"buffer": 0, "byteOffset": at, "byteLength": size, "target": _VERTICES})
        accessors.append({"bufferView": index, "componentType": column.component, "count": count, "type": _TYPES[column.width]})
        at += size
    ends = np.stack([gaussians.means.min(0), gaussians.means.max(0)]) * HALF_TURN
    accessors[0] |= {"min": ends.min(0).tolist(), "max": ends.max(0).tolist()}
    accessors[1]["normalized"] = True
    about = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display", "sortingMethod": "cameraDistance", "projection": "perspective"}
    primitive: dict[str, Any] = {
        "attributes": {column.name: index for index, column in enumerate(columns)},
        "mode": 0,
        "extensions": {SPLATTING: about},
    }
    if gaussians.kind != "classic":
        primitive["extras"] = {RENDER_MODE: TAGS[gaussians.kind][0].removeprefix(f"{RENDER_MODE}: ")}
        report.note(f"glTF has no place for the kind of model ({gaussians.kind}): it stands in 'extras', which other programs may ignore")
    return (
        gaussians,
        columns,
        {
            "asset": {"version": "2.0", "generator": "splatview"},
            "extensionsUsed": [SPLATTING],
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": [primitive]}],
            "buffers": [{"byteLength": at}],
            "bufferViews": views,
            "accessors": accessors,
        },
    )


@np.errstate(over="ignore")  # what overflows is clamped
def _fill(content: Bytes, gaussians: Gaussians, columns: list[_Column], report: Report) -> None:
    """Write the attributes one after the other into `content`."""
    count, at, tables = len(gaussians), 0, []
    for column in columns:
        size = count * column.row_bytes
        tables.append(content[at : at + size].view("<f4" if column.component == _FLOAT else "u1").reshape(count, column.width))
        at += size
    for start in range(0, count, BLOCK):
        rows = np.arange(start, min(start + BLOCK, count))
        part = gaussians.take(rows)
        for column, table in zip(columns, tables, strict=True):
            table[rows] = column.rows(part)
        report.progress(start / count, "arranging attributes")


def _fallback(part: Gaussians) -> Bytes:
    """Bytes rgba [n, 4] of what a reader of plain points shows."""
    return np.column_stack([quantised(part.colours * np.float32(255), 255).astype(np.uint8), alpha_bytes(part.opacity_logits)])


def _rotations(quats: Floats) -> NDArray:
    """Unit quaternions xyzw [n, 4] of `quats` wxyz, turned half about z."""
    unit = normalised(quats.astype(np.float64))
    unit[~unit.any(1), 0] = 1
    w, x, y, z = unit.T
    return np.stack([-y, x, w, -z], 1)
