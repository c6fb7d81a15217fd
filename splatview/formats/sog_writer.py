"""Gaussians -> a bundled SOG of version 2 (the layout is told in `sog`)."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Bytes, Doubles, Floats
from splatview.formats import sog_clusters, sog_images
from splatview.formats.packing import SQRT2, alpha_bytes, limit_degree, morton_order, packable, quantised, smallest_three
from splatview.formats.report import Report
from splatview.formats.sog import TAG
from splatview.formats.sog_meta import KINDS, MOST_LABELS, ROW
from splatview.gaussians import Gaussians

LARGEST_LOG_SCALE = 20.0  # that is written, and with a minus the smallest: as good as nothing
LARGEST_SH = 1e4  # that is written: far beyond what is seen


def encode(gaussians: Gaussians, report: Report | None = None) -> bytes:
    """A `.sog` file, in Morton order; ValueError for harmonics above degree 3, or more Gaussians than a picture holds."""
    report = report or Report()
    limit_degree(gaussians, 3, "sog")
    gaussians = packable(gaussians, report)
    width, height = sog_images.square(len(gaussians))
    gaussians = gaussians.take(morton_order(gaussians.means))
    sh = np.clip(gaussians.sh, -LARGEST_SH, LARGEST_SH)
    report.progress(0.05, "packing Gaussians")
    span, words = _fixed(gaussians.means)
    scale_book, scales = sog_clusters.codebook(np.clip(gaussians.log_scales, -LARGEST_LOG_SCALE, LARGEST_LOG_SCALE))
    colour_book, colours = sog_clusters.codebook(sh[:, 0])
    tables = {
        "means_l.webp": words & 255,
        "means_u.webp": words >> 8,
        "quats.webp": _turns(gaussians.quats),
        "scales.webp": scales,
        "sh0.webp": np.column_stack([colours, alpha_bytes(gaussians.opacity_logits)]),
    }
    meta = {
        "version": 2,
        "asset": {"generator": "splatview"},
        "count": len(gaussians),
        "means": {"mins": span[0].tolist(), "maxs": span[1].tolist(), "files": ["means_l.webp", "means_u.webp"]},
        "scales": {"codebook": _numbers(scale_book), "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": _numbers(colour_book), "files": ["sh0.webp"]},
    }
    if gaussians.kind != "classic":  # what is not said is ordinary, also for readers that know no models
        meta["model"] = next(name for name, kind in KINDS.items() if kind == gaussians.kind)
    textures = {name: _texture(table, width, height) for name, table in tables.items()}
    report.progress(0.15, "packing Gaussians")
    if gaussians.sh_degree:
        vectors = np.ascontiguousarray(sh[:, 1:]).reshape(len(sh), -1)
        entries, labels = sog_clusters.palette(
            vectors, palette_size(len(sh)), lambda done: report.progress(0.15 + 0.6 * done, "choosing a palette of harmonics")
        )
        book, coded = sog_clusters.codebook(entries)
        files = ["shN_centroids.webp", "shN_labels.webp"]
        textures[files[0]] = _texture(coded.reshape(-1, 3), vectors.shape[1] // 3 * ROW, -(-len(entries) // ROW))
        textures[files[1]] = _texture(np.column_stack([labels & 255, labels >> 8]), width, height)
        meta["shN"] = {"count": len(entries), "bands": gaussians.sh_degree, "codebook": _numbers(book), "files": files}
    return _zipped(textures, json.dumps(meta).encode(), report)


def palette_size(count: int) -> int:
    """How many vectors of harmonics a scene keeps at most: what splat-transform keeps, but all of a small scene's."""
    return max(1 << 10, min(1 << count.bit_length() - 1, MOST_LABELS))


def _fixed(means: Floats) -> tuple[Doubles, NDArray[np.uint16]]:
    """The ends [2, 3] of the log coordinates of `means`, and where between them each is: 0..65535."""
    far = means.astype(np.float64)
    logs = np.copysign(np.log1p(np.abs(far)), far)
    span = np.stack([logs.min(0), logs.max(0)])
    reach = span[1] - span[0]
    return span, quantised((logs - span[0]) / np.where(reach > 0, reach, 1) * 65535, 65535).astype(np.uint16)


def _turns(quats: Floats) -> NDArray:
    largest, others = smallest_three(quats)
    return np.column_stack([quantised((others * SQRT2 + 1) * 127.5, 255), TAG + largest])


def _texture(table: NDArray, width: int, height: int) -> Bytes:
    """Texels [H, W, 4] that start with the rows of `table` [N, up to 4]; what is not given is 0, and opaque."""
    texels = np.zeros((height * width, 4), np.uint8)
    texels[:, 3] = 255
    texels[: len(table), : table.shape[1]] = table
    return texels.reshape(height, width, 4)


def _numbers(book: Floats) -> list[float]:
    """A codebook for JSON, filled up to its length with its last entry."""
    return [float(f"{value:.9g}") for value in np.pad(book, (0, sog_clusters.BOOK - len(book)), mode="edge")]


def _zipped(textures: dict[str, Bytes], meta: bytes, report: Report) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for index, (name, texels) in enumerate(textures.items()):
            archive.writestr(zipfile.ZipInfo(name), sog_images.encode(texels))
            report.progress(0.75 + 0.25 * (index + 1) / len(textures), "compressing pictures")
        archive.writestr(zipfile.ZipInfo("meta.json"), meta)
    return stream.getvalue()
