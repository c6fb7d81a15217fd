"""glTF 2.0 with `KHR_gaussian_splatting` (release candidate), read from `.glb` and `.gltf`; plain points are read too.

glTF is y-up: half a turn about z takes it to the frame of a ply and back, harmonics included (a change of signs, so nothing is lost).
A node's transform becomes its layer's placement. Quaternions are xyzw and opacities 0..1. Scales are linear; earlier drafts, and
programs that followed them, wrote logarithms, and a scale below zero gives those away.

Colours in `lin_rec709_display` become sRGB splat by splat, as the renderer blends sRGB. The kind of model has no place in the
extension: it is `SplatRenderMode` in the primitive's `extras`, with the words of a ply's comment.

`KHR_gaussian_splatting_compression_spz_2` is a draft, and so is its predecessor. Its text wants the spz turned from RUB to the glTF frame
(half a turn about y), and files that carry the base extension's properties (`colorSpace`) are taken by that word. Cesium's, which came
first and have none of them, hold glTF's own numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from splatview import harmonics
from splatview.arrays import Floats
from splatview.formats import inria, points, spz
from splatview.formats.files import Source
from splatview.formats.gltf_colours import display_harmonics, srgb_from_linear
from splatview.formats.gltf_container import Accessor, Document, in_memory, opened
from splatview.formats.gltf_json import Json, entry, listed, mapping, shown, whole
from splatview.formats.gltf_nodes import Placed, placed_meshes
from splatview.formats.packing import BLOCK
from splatview.formats.report import Report
from splatview.gaussians import Gaussians
from splatview.geometry import Similarity
from splatview.scene import Layer, Scene

SPLATTING = "KHR_gaussian_splatting"
RENDER_MODE = "SplatRenderMode"
HALF_TURN: Floats = np.array([-1, -1, 1], np.float32)  # about z, of positions
_SPZ = (f"{SPLATTING}_compression_spz_2", "KHR_spz_gaussian_splats_compression")
_KNOWN = {"kernel": "ellipse", "projection": "perspective", "sortingMethod": "cameraDistance"}
_POINTS, _TRIANGLES = 0, 4  # primitive modes
_SMALLEST = np.finfo(np.float32).tiny  # stands for a scale or opacity of zero, whose logarithm is no number
_OPAQUE = 1 - 2.0**-26  # stands for 1: between it and the float32 below
_MOST_LAYERS, _MOST_MESHES = 1000, 100_000
_SMALL, _RATIO = 1 << 28, 32  # bytes that a file may expand to: this many, or so many times its buffers (real files: up to 15)


def harmonic_name(k: int) -> str:
    """The attribute with coefficient `k`."""
    degree = int(k**0.5)
    return f"{SPLATTING}:SH_DEGREE_{degree}_COEF_{k - degree * degree}"


def harmonic_sign(k: int) -> int:
    """The factor of coefficient `k` in half a turn about z, which is that of x^a y^b with a + b = |m|."""
    degree = int(k**0.5)
    return -1 if (k - degree * degree - degree) % 2 else 1


@dataclass(frozen=True, eq=False)
class _Piece:
    """A primitive made of points, where it stands."""

    placed: Placed
    primitive: Json

    @property
    def extensions(self) -> Json:
        return mapping(self.primitive, "extensions")

    @property
    def splatting(self) -> Json:
        return mapping(self.extensions, SPLATTING)

    @property
    def compressed(self) -> Json | None:
        """What says where the piece's spz is; ValueError if it is compressed in another way."""
        within = {**self.extensions, **mapping(self.splatting, "extensions")}
        if unknown := [name for name in within if "compression" in name and name not in _SPZ]:
            raise ValueError(f"glTF: expected plain numbers or {_SPZ[0]}, found {shown(unknown[0])}: export without compression")
        return next((mapping(within, name) for name in _SPZ if name in within), None)

    @property
    def is_splats(self) -> bool:
        return SPLATTING in self.extensions or self.compressed is not None


def read(source: Source, report: Report) -> Scene:
    """The scene in a `.glb` or `.gltf`: a layer for every primitive of splats or points; ValueError if there is none, or it is damaged."""
    with opened(source) as document:
        pieces = _pieces(document, report)
        logarithmic = _logarithmic(document, pieces)
        if logarithmic:
            report.note("glTF: scales are logarithms, as in early drafts of the extension, and were read as such")
        contents: dict[int, Gaussians] = {}  # by primitive: several nodes may show the same one
        layers: dict[str, Layer] = {}
        size = 0
        for number, piece in enumerate(pieces):
            report.span = (number / len(pieces), (number + 1) / len(pieces))
            if id(piece.primitive) not in contents:
                contents[id(piece.primitive)] = _content(document, piece, logarithmic, report)
                size += contents[id(piece.primitive)].nbytes
                _allow(document, size)
            name = source.path.stem if len(pieces) == 1 else piece.placed.name or source.path.stem
            layers[Scene.free_name(name, layers)] = Layer(contents[id(piece.primitive)], _placement(piece.placed))
    return Scene(layers)


def _pieces(document: Document, report: Report) -> list[_Piece]:
    pieces, meshes = [], 0
    for placed in placed_meshes(document.json):
        for number in range(len(listed(placed.mesh, "primitives"))):
            primitive = entry(placed.mesh, "primitives", number)
            if whole(primitive, "mode", _TRIANGLES) == _POINTS:
                pieces.append(_Piece(placed, primitive))
            else:
                meshes += 1
            if len(pieces) > _MOST_LAYERS or meshes > _MOST_MESHES:
                raise ValueError(f"glTF: expected at most {_MOST_LAYERS} objects of splats or points, {_MOST_MESHES} meshes, found more")
    if not pieces:
        raise ValueError(f"glTF: expected Gaussian splats ({SPLATTING}) or points, found {f'{meshes} meshes' if meshes else 'none'}")
    if meshes:
        report.note(f"glTF: {meshes} meshes in the file are not shown, only splats and points are")
    return pieces


def _placement(placed: Placed) -> Similarity:
    """World from mesh, both in the frame of a ply."""
    turn = np.array([-1.0, -1.0, 1.0, 1.0])
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return Similarity.from_matrix(turn[:, None] * placed.matrix * turn)
    except ValueError as error:
        raise ValueError(f"glTF: the node of mesh {shown(placed.name)}: {error}; apply its transform before exporting") from None


def _logarithmic(document: Document, pieces: list[_Piece]) -> bool:
    """Whether a scale of any piece is below zero."""
    name = f"{SPLATTING}:SCALE"
    named = [mapping(piece.primitive, "attributes").get(name) for piece in pieces if piece.is_splats and piece.compressed is None]
    scales = [document.accessor(index, name, "VEC3") for index in {index for index in named if isinstance(index, int)}]
    return any((scale.rows(slice(at, at + BLOCK)) < 0).any() for scale in scales for at in range(0, scale.count, BLOCK))


@np.errstate(all="ignore")  # numbers that are none stay what they are, as in a ply
def _content(document: Document, piece: _Piece, logarithmic: bool, report: Report) -> Gaussians:
    if not piece.is_splats:
        return _plain_points(document, piece, report)
    splatting, compressed = piece.splatting, piece.compressed
    for key, known in _KNOWN.items():
        if splatting.get(key, known) != known:
            report.note(f"glTF: {key} {shown(splatting[key])} is not known, and was taken for {known}")
    if compressed is not None:
        data, _ = document.view(compressed.get("bufferView"))
        splats = spz.decode(in_memory(data), report)
        splats = splats.transformed(Similarity((0, 1, 0, 0) if "colorSpace" in splatting else (0, 0, 0, 1)))
        report.note("glTF: compressed by a draft extension whose axes programs disagree on: turn the layer if it stands on its head")
    else:
        splats = replace(_splats(document, piece, logarithmic, report), kind=inria.kind_of([f"{RENDER_MODE}: {_render_mode(piece)}"]))
    if splats.kind == "2dgs":
        report.note("trained as 2D discs (2DGS): drawn as flat Gaussians")
    space = splatting.get("colorSpace", "srgb_rec709_display")
    if space == "lin_rec709_display":
        report.note("glTF: colours in linear light were converted to sRGB; they are blended there, so soft edges may differ a little")
        return replace(splats, sh=display_harmonics(splats.sh))
    if space != "srgb_rec709_display":
        report.note(f"glTF: the colour space {shown(space)} is not known, and was taken for sRGB")
    return splats


def _render_mode(piece: _Piece) -> object:
    extras = piece.primitive.get("extras")
    return extras.get(RENDER_MODE) if isinstance(extras, dict) else None


def _splats(document: Document, piece: _Piece, logarithmic: bool, report: Report) -> Gaussians:
    attributes = mapping(piece.primitive, "attributes")
    degrees = [l for l in range(harmonics.MAX_DEGREE + 1) if any(name.startswith(harmonic_name(l * l)[:-1]) for name in attributes)]
    size = harmonics.coefficients(max(degrees, default=0))
    wanted = {"POSITION": "VEC3", f"{SPLATTING}:ROTATION": "VEC4", f"{SPLATTING}:SCALE": "VEC3", f"{SPLATTING}:OPACITY": "SCALAR"}
    wanted |= {harmonic_name(k): "VEC3" for k in range(size)}
    if missing := [name for name in wanted if name not in attributes]:
        raise ValueError(f"glTF: expected all attributes of Gaussian splats, but {len(missing)} are missing: {', '.join(missing[:4])}")
    accessors = [document.accessor(attributes[name], name, kind) for name, kind in wanted.items()]
    count = _same_count(accessors)
    _allow(document, 4 * count * (11 + 3 * size))
    positions, rotations, scales, opacities, *coefficients = accessors
    means, quats, log_scales = np.empty((count, 3), np.float32), np.empty((count, 4), np.float32), np.empty((count, 3), np.float32)
    logits, sh = np.empty(count, np.float32), np.empty((count, size, 3), np.float32)
    for start in range(0, count, BLOCK):
        rows = slice(start, min(start + BLOCK, count))
        means[rows] = positions.rows(rows) * HALF_TURN
        x, y, z, w = rotations.rows(rows).T
        quats[rows] = np.stack([z, y, -x, -w], 1)
        scale = scales.rows(rows)
        log_scales[rows] = scale if logarithmic else np.log(np.maximum(scale, _SMALLEST))
        opacity = np.clip(opacities.rows(rows)[:, 0].astype(np.float64), _SMALLEST, _OPAQUE)
        logits[rows] = np.log(opacity) - np.log1p(-opacity)
        for k, coefficient in enumerate(coefficients):
            sh[rows, k] = coefficient.rows(rows) * np.float32(harmonic_sign(k))
        report.progress(start / count, "reading Gaussians")
    return Gaussians(means, quats, log_scales, logits, sh)


def _plain_points(document: Document, piece: _Piece, report: Report) -> Gaussians:
    attributes = mapping(piece.primitive, "attributes")
    accessors = [document.accessor(attributes.get("POSITION"), "POSITION", "VEC3")]
    if "COLOR_0" in attributes:
        accessors.append(document.accessor(attributes["COLOR_0"], "COLOR_0", "VEC3", "VEC4"))
    count = _same_count(accessors)
    _allow(document, 56 * count)
    tables = [np.empty((count, 3), np.float32) for _ in accessors]
    for start in range(0, count, BLOCK):
        rows = slice(start, min(start + BLOCK, count))
        for accessor, table in zip(accessors, tables, strict=True):
            table[rows] = accessor.rows(rows)[:, :3]
    means, *colours = tables
    return points.splats(means * HALF_TURN, srgb_from_linear(np.clip(np.nan_to_num(colours[0]), 0, 1)) if colours else None, report)


def _allow(document: Document, size: int) -> None:
    """ValueError if `size` bytes are more than the file's buffers can honestly hold: attributes may share an accessor."""
    if size > max(_SMALL, _RATIO * document.size):
        raise ValueError(f"glTF: {document.size} bytes of buffers cannot honestly hold {size} bytes of Gaussians")


def _same_count(accessors: list[Accessor]) -> int:
    counts = {accessor.count for accessor in accessors}
    if len(counts) > 1:
        raise ValueError(f"glTF: expected attributes of the same length, found {', '.join(map(str, sorted(counts)[:4]))}")
    return counts.pop()
