"""PlayCanvas' SOG: WebP pictures with a texel per Gaussian, and a `meta.json` that says what their bytes stand for.

    means_l, means_u   low and high bytes of sign(x) ln(1 + |x|), 16 bits between the ends of the scene
    quats              smallest three of wxyz in 8 bits, 252 + the index of the largest
    scales             log scales, by codebook
    sh0                DC coefficients, by codebook; opacity
    shN_labels         which vector of a palette (16 bits) has the harmonics above degree 0
    shN_centroids      the palette, 64 vectors in a row, by codebook

Versions 1 and 2 are read; `sog_writer` writes version 2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from splatview import harmonics
from splatview.arrays import Bytes, Floats
from splatview.formats import sog_files, sog_images, sog_meta
from splatview.formats.archive import MAGIC
from splatview.formats.files import Source
from splatview.formats.inria import FLAT
from splatview.formats.packing import BLOCK, SQRT2, quats_from_smallest_three
from splatview.formats.report import Report
from splatview.formats.sog_files import Place
from splatview.formats.sog_meta import MOST_LABELS, ROW, Meta, Palette
from splatview.gaussians import Gaussians
from splatview.scene import Layer, Scene

TAG = 252  # the alpha of an orientation whose largest component is w
_SMALL, _RATIO = 1 << 26, 200  # what a file may unpack to: 64 MiB, or this many times its size (real scenes: 3 to 30)
_SPARE = 1 << 20  # texels that a picture may always have


def recognises(head: bytes) -> bool:
    """Whether these are the first bytes of a zip that starts with a picture or a meta.json."""
    name = bytes(head[30 : 30 + int.from_bytes(head[26:28], "little")])
    return head[: len(MAGIC)] == MAGIC and name.endswith((b".webp", b"meta.json"))


def read(source: Source, report: Report) -> Gaussians:
    """The Gaussians of a `.sog`; ValueError if it is not one, or is damaged."""
    return decode(sog_files.bundle(source.data), report)


def read_folder(source: Source, report: Report) -> Scene:
    """The scene of a `meta.json` and the pictures beside it, named by their folder."""
    meta = sog_files.limited(source.data, source.path.name, sog_files.META_LIMIT)
    return Scene({source.path.resolve().parent.name or source.path.name: Layer(decode(sog_files.loose(source, meta), report))})


def decode(place: Place, report: Report) -> Gaussians:
    """The Gaussians in these files; ValueError if they do not fit together, or are damaged."""
    meta = sog_meta.read(place.meta, report)
    allowed(meta.nbytes, sum(place.sizes(meta.files).values()))
    count, names, pictures = meta.count, [*meta.means, *meta.quats, *meta.scales, *meta.colours], []
    for index, name in enumerate(names):
        pictures.append(_texels(place, name, count, report))
        report.progress(0.5 * (index + 1) / len(names), "decoding pictures")
    low, high, turns, sizes, colours = pictures
    entries, labels = np.empty((1, 0, 3), np.float32), np.zeros(count, np.uint16)
    if meta.palette is not None:
        entries = _palette(place, meta.palette, report)
        labels = _labels(place, meta, meta.palette, len(entries), report)
    means, quats, log_scales = np.empty((count, 3), np.float32), np.empty((count, 4), np.float32), np.empty((count, 3), np.float32)
    logits, sh = np.empty(count, np.float32), np.empty((count, 1 + entries.shape[1], 3), np.float32)
    channels = np.arange(3)
    for start in range(0, count, BLOCK):
        rows = slice(start, start + BLOCK)
        means[rows] = _positions(low[rows], high[rows], meta)
        quats[rows] = _orientations(turns[rows])
        log_scales[rows] = meta.scale_tables[channels, sizes[rows, :3]]
        sh[rows, 0] = meta.colour_tables[channels, colours[rows, :3]]
        logits[rows] = meta.logits[colours[rows, 3]]
        sh[rows, 1:] = entries[labels[rows]]
        if not all(np.isfinite(part[rows]).all() for part in (means, log_scales, sh)):
            raise ValueError("sog: a picture asks for numbers beyond the end of its codebook, or of float32: the file is damaged")
        report.progress(0.5 + 0.5 * start / count, "unpacking Gaussians")
    if meta.kind == "2dgs":
        log_scales[:, 2] = FLAT  # a disc has no thickness; the codebook only came near it
        report.note("trained as 2D discs (2DGS): drawn as flat Gaussians")
    return Gaussians(means, quats, log_scales, logits, sh, meta.kind)


def allowed(nbytes: int, stored: int) -> None:
    """ValueError if `stored` bytes are too few for Gaussians of so many: WebP packs millions of equal texels into nothing."""
    if nbytes > max(_SMALL, _RATIO * stored):
        raise ValueError(f"sog: expected Gaussians of {nbytes:,} bytes, which files of {stored:,} bytes cannot honestly hold")


def _picture(place: Place, name: str, least: int, most: int, report: Report) -> Bytes:
    return sog_images.decode(place.read(name, 5 * most + (1 << 16)), name, least, most, report)


def _texels(place: Place, name: str, count: int, report: Report) -> Bytes:
    """The texels [count, 4] of a picture with one for each Gaussian; more may follow."""
    return _picture(place, name, count, max(_SPARE, 2 * count), report).reshape(-1, 4)[:count]


def _palette(place: Place, palette: Palette, report: Report) -> Floats:
    """The vectors [P, K - 1, 3] of harmonics; NaN where a byte stands for nothing."""
    name = palette.files[0]
    texels = _picture(place, name, 1, ROW * 15 * MOST_LABELS // ROW, report)
    widths = {ROW * (harmonics.coefficients(degree) - 1): degree for degree in (1, 2, 3)}
    degree = widths.get(texels.shape[1])
    if degree is None or degree != (palette.degree or degree):
        wanted = "degree 1 to 3" if palette.degree is None else f"degree {palette.degree}"
        raise ValueError(f"sog: expected {ROW} vectors of {wanted} in a row of {name!r}, found {texels.shape[1]:,} texels")
    vectors = texels.reshape(-1, texels.shape[1] // ROW, 4)
    if palette.count is not None and palette.count > len(vectors):
        raise ValueError(f"sog: expected {palette.count:,} vectors in {name!r}, found {len(vectors):,}")
    return palette.table[vectors[: palette.count, :, :3]]


def _labels(place: Place, meta: Meta, palette: Palette, entries: int, report: Report) -> NDArray[np.uint16]:
    """Which of the vectors [N] the harmonics of each Gaussian are."""
    texels = _texels(place, palette.files[1], meta.count, report)
    labels = texels[:, 0] + 256 * texels[:, 1].astype(np.uint16)
    if labels.max() >= entries:
        raise ValueError(f"sog: expected labels below {entries:,} in {palette.files[1]!r}, found {labels.max():,}")
    return labels


def _positions(low: Bytes, high: Bytes, meta: Meta) -> Floats:
    words = low[:, :3] + 256 * high[:, :3].astype(np.uint16)
    start, end = meta.span
    logs = start + (end - start) * (words / 65535)
    with np.errstate(over="ignore"):  # what overflows is refused
        return np.copysign(np.expm1(np.abs(logs)), logs).astype(np.float32)


def _orientations(texels: Bytes) -> Floats:
    """Quaternions; what is no orientation is upright, as other readers have it."""
    largest = np.maximum(texels[:, 3], TAG) - TAG
    quats = quats_from_smallest_three(largest, (texels[:, :3] / 127.5 - 1) / SQRT2)
    quats[texels[:, 3] < TAG] = (1, 0, 0, 0)
    return quats
