"""The INRIA layout of a Gaussian `.ply`: one float column per raw parameter, found by name.

Columns: x y z, nx ny nz (unused), f_dc_0..2, f_rest_* (channel-major: all of red, then green, then blue), opacity (logit),
scale_0..2 (log), rot_0..3 (wxyz). The kind of model is a comment: `SplatRenderMode: default|mip|2dgs` as Brush writes it, or
`antialiased 0|1` as Postshot does. A 2DGS file has no scale_2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured
from numpy.typing import NDArray

from splatview import harmonics
from splatview.arrays import Floats
from splatview.formats import ply, points
from splatview.formats.packing import BLOCK
from splatview.formats.report import Report
from splatview.gaussians import Gaussians, Kind

FLAT = -20.0  # log scale of the thickness of a 2DGS disc: nothing, at any scene size
_MODES: dict[str, Kind] = {"default": "classic", "mip": "antialiased", "2dgs": "2dgs"}
_MODE = re.compile(r"\s*SplatRenderMode:\s*(default|mip|2dgs)\s*$", re.IGNORECASE)
_ANTIALIASED = re.compile(r"\s*antialiased[\s:=]+([01])\s*$", re.IGNORECASE)
TAGS: dict[Kind, tuple[str, ...]] = {
    "classic": (),
    "antialiased": ("SplatRenderMode: mip", "antialiased 1"),
    "2dgs": ("SplatRenderMode: 2dgs",),
}
_POSITION, _NORMAL, _DC = ["x", "y", "z"], ["nx", "ny", "nz"], [f"f_dc_{i}" for i in range(3)]
_SCALE, _ROTATION = [f"scale_{i}" for i in range(3)], [f"rot_{i}" for i in range(4)]


def _rest(degree: int) -> list[str]:
    return [f"f_rest_{i}" for i in range(3 * (harmonics.coefficients(degree) - 1))]


def _harmonics(degree: int) -> list[str]:
    """Column names in the order of Gaussians.sh [K, 3]: coefficient by coefficient, red green blue."""
    per_channel = harmonics.coefficients(degree) - 1
    return _DC + [f"f_rest_{channel * per_channel + k}" for k in range(per_channel) for channel in range(3)]


def decode(data: ply.Data, report: Report | None = None) -> Gaussians:
    """Read a Gaussian `.ply`, binary or ascii, or a plain point cloud; ValueError if it is neither. An open file is read block by block."""
    report = report or Report()
    content = ply.read(data)
    vertex = content.tables.get("vertex")
    if vertex is None or len(vertex) == 0:
        raise ValueError("ply: expected an element 'vertex' with one row per Gaussian, found none")
    names = list(vertex.dtype.names or ())
    if content.unread:
        report.note(f"the faces of a mesh are not drawn, its vertices are: dropped element {_listed(content.unread)}")
    if points.recognises(names):
        return points.from_table(vertex, report)
    degree, kind = _degree(names), kind_of(content.comments)
    if "scale_2" not in names:
        kind = "2dgs"
    scales = _SCALE if "scale_2" in names else _SCALE[:2]
    wanted = [*_POSITION, *_harmonics(degree), "opacity", *scales, *_ROTATION]
    _require(wanted, names)

    count, size = len(vertex), harmonics.coefficients(degree)
    means, quats, logits = np.empty((count, 3), np.float32), np.empty((count, 4), np.float32), np.empty(count, np.float32)
    log_scales, sh = np.full((count, 3), FLAT, np.float32), np.empty((count, size, 3), np.float32)
    targets = [  # (names, where their rows go)
        (_POSITION, means),
        (_ROTATION, quats),
        (scales, log_scales[:, : len(scales)]),
        (["opacity"], logits[:, None]),
        (_harmonics(degree), sh.reshape(count, -1)),
    ]
    columns = [(np.array([names.index(name) for name in part]), target) for part, target in targets]
    normals, used_normals = [names.index(name) for name in _NORMAL if name in names], False
    for start in range(0, count, BLOCK):
        block = _floats(vertex[start : start + BLOCK])
        for order, target in columns:
            target[start : start + BLOCK] = block.take(order, 1)
        with np.errstate(invalid="ignore"):  # some bits that are no number even complain about being looked at
            used_normals = used_normals or bool(block[:, normals].any())
        report.progress(start / count, "reading Gaussians")

    dropped = [name for name in names if name not in wanted and (name not in _NORMAL or used_normals)]
    dropped += [f"element {name}" for name in content.tables if name != "vertex"]
    if dropped:
        report.note(f"columns that are not Gaussian parameters were dropped: {_listed(dropped)}")
    if kind == "2dgs":
        report.note("trained as 2D discs (2DGS): drawn as flat Gaussians")
    return Gaussians(means, quats, log_scales, logits, sh, kind)


def encode(gaussians: Gaussians, report: Report | None = None) -> memoryview:
    """The canonical INRIA file: binary little-endian, all float32, with normals (zero)."""
    count, degree, report = len(gaussians), gaussians.sh_degree, report or Report()
    thickness = gaussians.log_scales[:, 2]
    flat = gaussians.kind == "2dgs" and bool((thickness == thickness[0]).all()) and thickness[0] < FLAT / 2
    scales = _SCALE[:2] if flat else _SCALE
    names = [*_POSITION, *_NORMAL, *_DC, *_rest(degree), "opacity", *scales, *_ROTATION]
    sources = [
        (_POSITION, gaussians.means),
        (_harmonics(degree), gaussians.sh.reshape(count, -1)),
        (["opacity"], gaussians.opacity_logits[:, None]),
        (scales, gaussians.log_scales[:, : len(scales)]),
        (_ROTATION, gaussians.quats),
    ]
    table = np.zeros((count, len(names)), "<f4")
    columns = [([names.index(name) for name in part], source) for part, source in sources]
    for start in range(0, count, BLOCK):
        for order, source in columns:
            table[start : start + BLOCK, order] = source[start : start + BLOCK]
        report.progress(start / count, "arranging columns")
    vertex = table.view([(name, "<f4") for name in names])[:, 0]
    return ply.write({"vertex": vertex}, TAGS[gaussians.kind])


def _floats(rows: NDArray) -> Floats:
    """A structured array [N] as an aligned table [N, columns]."""
    if all(rows.dtype[name] == np.dtype("<f4") for name in rows.dtype.names or ()):
        return np.array(rows).view(np.float32).reshape(len(rows), -1)
    with np.errstate(over="ignore", invalid="ignore"):  # a double beyond float32 becomes infinite
        return structured_to_unstructured(rows, np.dtype(np.float32), casting="unsafe")


def _degree(names: Sequence[str]) -> int:
    count = sum(name.startswith("f_rest_") for name in names)
    for degree in range(harmonics.MAX_DEGREE + 1):
        if len(_rest(degree)) == count:
            return degree
    raise ValueError(f"ply: expected 0, 9, 24, 45 or 72 columns f_rest_* (degree 0 to 4), found {count}")


def kind_of(comments: Iterable[str]) -> Kind:
    kind: Kind = "classic"
    for comment in comments:
        if mode := _MODE.match(comment):
            kind = _MODES[mode[1].lower()]
        elif flag := _ANTIALIASED.match(comment):
            kind = "antialiased" if flag[1] == "1" else "classic"
    return kind


def _require(wanted: Sequence[str], names: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(f"ply: expected the columns of a Gaussian scene, or x y z of points, but these are missing: {_listed(missing)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
