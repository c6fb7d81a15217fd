"""Files <-> scenes.

    load(path, progress=None) -> Scene                   one layer, named by the file; what the reader noticed is in Layer.notes
    save(scene, path, *, max_sh=None, spz_version=3, progress=None) -> tuple[str, ...]            notes: what the format lost
    load_cameras(path) -> list[Camera]; save_cameras(cameras, path)

`progress(fraction, text)` is called while they work. A format is a module with `decode(bytes) -> Gaussians` and
`encode(Gaussians) -> bytes`; files, detection and placement stay here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from splatview.formats import compressed_ply, inria, ply, splat, spz
from splatview.formats.cameras import load_cameras, save_cameras
from splatview.formats.files import FileBytes, open_file, write_file
from splatview.formats.report import Progress, Report
from splatview.gaussians import Gaussians, concatenate
from splatview.scene import Layer, Scene

__all__ = ["MissingExtra", "Progress", "load", "load_cameras", "save", "save_cameras"]

Data = bytes | memoryview
Loader = Callable[[FileBytes, Report], Gaussians]


class MissingExtra(ImportError):
    """A format needs a package that is not installed; the message names the pip line."""


@dataclass(frozen=True)
class Format:
    name: str
    suffix: str
    recognises: Callable[[bytes], bool]  # by the first HEAD bytes of a file
    decode: Loader
    encode: Callable[[Gaussians, Report, spz.Version], Data]


HEAD = 1 << 14


def _whole(decode: Callable[[Data, Report], Gaussians]) -> Loader:
    """A decoder of bytes as one of open files."""

    def load(data: FileBytes, report: Report) -> Gaussians:
        report.span = (0.0, 0.3)
        content = data.read(report)
        report.span = (0.3, 1.0)
        return decode(content, report)

    return load


FORMATS = (  # the first that recognises a file, or whose suffix it has, reads it
    Format(
        "PlayCanvas compressed ply",
        ".compressed.ply",
        compressed_ply.recognises,
        _whole(compressed_ply.decode),
        lambda gaussians, report, _: compressed_ply.encode(gaussians, report),
    ),
    Format("INRIA ply", ".ply", ply.recognises, inria.decode, lambda gaussians, report, _: inria.encode(gaussians, report)),
    Format(
        "Niantic spz",
        ".spz",
        spz.recognises,
        _whole(spz.decode),
        lambda gaussians, report, version: spz.encode(gaussians, version, report),
    ),
    Format(
        "antimatter15 splat",
        ".splat",
        lambda head: False,
        _whole(splat.decode),
        lambda gaussians, report, _: splat.encode(gaussians, report),
    ),
)


def load(path: str | os.PathLike[str], progress: Progress | None = None) -> Scene:
    """The scene in a file, its one layer named by the file's name without suffix.

    FileNotFoundError: there is no such file. ValueError: its format is unknown, or its content is bad.

    >>> import numpy as np, splatview
    >>> from splatview.scene import Layer
    >>> dot = splatview.Gaussians([[0, 0, 0]], [[1, 0, 0, 0]], [[-3, -3, -3]], [2.0], np.zeros((1, 1, 3)))
    >>> splatview.save(splatview.Scene({"a dot": Layer(dot)}), "dot.spz")
    ()
    >>> scene = splatview.load("dot.spz")
    >>> list(scene.layers), scene.count
    (['dot'], 1)
    """
    path, report = Path(path), Report(progress)
    with open_file(path) as data:
        chosen = _detected(path, data)
        try:
            gaussians = chosen.decode(data, report)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    report.progress(1.0, "loaded")
    lowered = path.name.lower()
    name = path.name[: -len(chosen.suffix)] if lowered.endswith(chosen.suffix) else path.stem
    return Scene({name or path.name: Layer(gaussians, notes=tuple(report.notes))})


def save(
    scene: Scene,
    path: str | os.PathLike[str],
    *,
    max_sh: int | None = None,
    spz_version: spz.Version = 3,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write the visible layers, placement baked, as one; the suffix picks the format. The result: notes about what was lost.

    `max_sh` cuts the spherical harmonics above that degree; `spz_version` is 3 (gzip, read everywhere) or 4 (zstd, up to degree 4).
    ValueError: the suffix is unknown, there is nothing to save, or the format cannot hold it (and which option helps). The file
    is replaced only once its successor is whole.

    >>> import numpy as np, splatview
    >>> from splatview.scene import Layer
    >>> dot = splatview.Gaussians([[0, 0, 0]], [[1, 0, 0, 0]], [[-3, -3, -3]], [2.0], np.zeros((1, 4, 3)))
    >>> splatview.save(splatview.Scene({"dot": Layer(dot)}), "dot.splat")
    ('.splat holds no spherical harmonics: degrees 1 to 1 were dropped',)
    """
    path, report = Path(path), Report(progress)
    chosen = next((entry for entry in FORMATS if path.name.lower().endswith(entry.suffix)), None)
    if chosen is None:
        raise ValueError(f"{path}: cannot save this kind of file; expected one of {_suffixes()}")
    if max_sh is not None and not 0 <= max_sh <= 4:
        raise ValueError(f"max_sh: expected a degree of spherical harmonics from 0 to 4, got {max_sh}")
    if spz_version not in (3, 4):
        raise ValueError(f"spz_version: expected 3 or 4, got {spz_version}")
    gaussians = _baked(scene, report)
    if max_sh is not None:
        gaussians = gaussians.with_max_degree(max_sh)
    report.span = (0.1, 0.9)
    data = chosen.encode(gaussians, report, spz_version)
    report.span = (0.9, 1.0)
    write_file(path, data, report)
    return tuple(report.notes)


def _baked(scene: Scene, report: Report) -> Gaussians:
    layers = list(scene.visible_layers.values())
    if not layers:
        raise ValueError("nothing to save: no visible layer of the scene has Gaussians")
    parts = [layer.content.transformed(layer.placement) for layer in layers]
    kinds = sorted({part.kind for part in parts})
    if len(kinds) > 1:
        report.note(f"the layers were trained for different renderers ({', '.join(kinds)}): the file says {parts[0].kind}")
    return parts[0] if len(parts) == 1 else concatenate(parts)


def _detected(path: Path, data: FileBytes) -> Format:
    """The format that recognises the content, else the one with the file's suffix; ValueError if there is neither."""
    if not len(data):
        raise ValueError(f"{path}: the file is empty")
    head = bytes(data[:HEAD])
    for entry in FORMATS:
        if entry.recognises(head):
            return entry
    for entry in FORMATS:
        if path.name.lower().endswith(entry.suffix):
            return entry
    raise ValueError(f"{path}: unknown format; expected one of {_suffixes()}")


def _suffixes() -> str:
    return ", ".join(f"{entry.suffix} ({entry.name})" for entry in FORMATS)
