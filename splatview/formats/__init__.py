"""Files <-> scenes.

    load(path, progress=None, *, level=None) -> Scene    layers named by the file; what the reader noticed is in Layer.notes
    levels(path) -> tuple[int, ...]                      Gaussians in each level of detail, the finest first; () if there is one only
    save(scene, path, *, max_sh=None, spz_version=3, progress=None) -> tuple[str, ...]            notes: what the format lost
    load_cameras(path) -> list[Camera]; save_cameras(cameras, path)

`progress(fraction, text)` is called while they work. A format is a module with `decode(bytes) -> Gaussians` (or, where a file
holds several scenes or names other files, `read(Source) -> Scene`) and `encode(Gaussians) -> bytes`; detection and baking stay here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from splatview.extras import MissingExtra
from splatview.formats import (
    checkpoint,
    compressed_ply,
    gltf,
    gltf_container,
    gltf_writer,
    inria,
    instant_ngp,
    instant_ngp_container,
    instant_ngp_writer,
    ksplat,
    nerfstudio,
    ply,
    sog,
    sog_lod,
    sog_writer,
    splat,
    spz,
    trained,
)
from splatview.formats.cameras import load_cameras, save_cameras
from splatview.formats.files import FileBytes, Source, open_file, write_file
from splatview.formats.report import Progress, Report
from splatview.gaussians import Gaussians, concatenate
from splatview.scene import Layer, Scene

__all__ = ["MissingExtra", "Progress", "UnknownFormat", "levels", "load", "load_cameras", "save", "save_cameras"]

Data = bytes | memoryview
Reader = Callable[[Source, Report], Gaussians | Scene]


class UnknownFormat(ValueError):
    """No format is that of a file."""


@dataclass(frozen=True)
class Choices:
    """What a writer may be told."""

    spz_version: spz.Version = 3


@dataclass(frozen=True)
class Format:
    name: str
    suffix: str
    recognises: Callable[[bytes], bool]  # by the first HEAD bytes of a file
    read: Reader
    encode: Callable[[Gaussians, Report, Choices], Data] | None = None  # None: is only read
    levels: Callable[[Source], tuple[int, ...]] = lambda source: ()  # Gaussians in each level of detail
    encode_field: Callable[[Layer, Report], Data] | None = None  # of a field, its placement not baked

    @property
    def writes(self) -> bool:
        return bool(self.encode or self.encode_field)


HEAD = 1 << 14
# What is looked for in a folder: the first that is there, the newest of it.
ENTRIES: tuple[str, ...] = ("config.yml", "step-*.ckpt", "lod-meta.json", "meta.json")


def _never(head: bytes) -> bool:
    """Recognises nothing: the suffix alone tells."""
    return False


def _whole(decode: Callable[[Data, Report], Gaussians]) -> Reader:
    """A decoder of bytes as a reader of files."""

    def read(source: Source, report: Report) -> Gaussians:
        report.span = (0.0, 0.3)
        content = source.data.read(report)
        report.span = (0.3, 1.0)
        return decode(content, report)

    return read


FORMATS = (  # the first that recognises a file, or whose suffix it has, reads it
    Format(
        "PlayCanvas compressed ply",
        ".compressed.ply",
        compressed_ply.recognises,
        _whole(compressed_ply.decode),
        lambda gaussians, report, _: compressed_ply.encode(gaussians, report),
    ),
    Format(
        "INRIA ply",
        ".ply",
        ply.recognises,
        lambda source, report: inria.decode(source.data, report),
        lambda gaussians, report, _: inria.encode(gaussians, report),
    ),
    Format("Instant-NGP snapshot", ".ingp", instant_ngp_container.recognises, instant_ngp.read, encode_field=instant_ngp_writer.encode),
    Format("Instant-NGP snapshot", ".msgpack", _never, instant_ngp.read),
    Format(
        "Niantic spz",
        ".spz",
        spz.recognises,
        _whole(spz.decode),
        lambda gaussians, report, choices: spz.encode(gaussians, choices.spz_version, report),
    ),
    Format("streamed SOG", "lod-meta.json", _never, sog_lod.read, levels=sog_lod.levels),
    Format("loose SOG", "meta.json", _never, sog.read_folder),
    Format(
        "PlayCanvas SOG",
        ".sog",
        sog.recognises,
        sog.read,
        lambda gaussians, report, _: sog_writer.encode(gaussians, report),
    ),
    Format(
        "antimatter15 splat",
        ".splat",
        _never,
        _whole(splat.decode),
        lambda gaussians, report, _: splat.encode(gaussians, report),
    ),
    Format(
        "glTF binary",
        ".glb",
        gltf_container.recognises,
        gltf.read,
        lambda gaussians, report, _: gltf_writer.encode_glb(gaussians, report),
    ),
    Format("glTF", ".gltf", _never, gltf.read, lambda gaussians, report, _: gltf_writer.encode_text(gaussians, report)),
    Format("mkkellogg ksplat", ".ksplat", _never, _whole(ksplat.decode)),
    Format("nerfstudio run", "config.yml", nerfstudio.recognises, nerfstudio.read),
    Format("nerfstudio checkpoint", ".ckpt", checkpoint.recognises, trained.read),
    Format("gsplat checkpoint", ".pt", _never, trained.read),
    Format("INRIA checkpoint", ".pth", _never, trained.read),
)


def load(path: str | os.PathLike[str], progress: Progress | None = None, *, level: int | None = None) -> Scene:
    """The scene in a file or in a run's folder; a single layer is named by the file's name without suffix.

    `level` picks one of `levels(path)`; by default it is the reader's choice. FileNotFoundError: there is no such file.
    ValueError: its format is unknown, or its content is bad. MissingExtra: reading it takes a package that is not installed.

    >>> import numpy as np, splatview
    >>> from splatview.scene import Layer
    >>> dot = splatview.Gaussians([[0, 0, 0]], [[1, 0, 0, 0]], [[-3, -3, -3]], [2.0], np.zeros((1, 1, 3)))
    >>> splatview.save(splatview.Scene({"a dot": Layer(dot)}), "dot.spz")
    ()
    >>> scene = splatview.load("dot.spz")
    >>> list(scene.layers), scene.count
    (['dot'], 1)
    """
    path, report = _entry(Path(path)), Report(progress)
    with open_file(path) as data:
        chosen, source = _detected(path, data), Source(path, data, level)
        try:
            if level is not None and not chosen.levels(source):
                raise ValueError(f"it has no levels of detail to choose from, and level {level} was asked for")
            found = chosen.read(source, report)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    report.progress(1.0, "loaded")
    if isinstance(found, Scene):
        return Scene({name: replace(layer, notes=(*layer.notes, *report.notes)) for name, layer in found.layers.items()})
    lowered = path.name.lower()
    name = path.name[: -len(chosen.suffix)] if lowered.endswith(chosen.suffix) else path.stem
    return Scene({name or path.name: Layer(found, notes=tuple(report.notes))})


def levels(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """How many Gaussians each level of detail of a file holds, the finest first; () for a file with one level. Errors as in `load`."""
    path = _entry(Path(path))
    with open_file(path) as data:
        try:
            return _detected(path, data).levels(Source(path, data))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def save(
    scene: Scene,
    path: str | os.PathLike[str],
    *,
    max_sh: int | None = None,
    spz_version: spz.Version = 3,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write the visible layers, placement baked, as one; the suffix picks the format. The result: notes about what was lost.

    A format holds Gaussians, or one hash-grid field (.ingp).

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
    chosen = next((entry for entry in FORMATS if entry.writes and path.name.lower().endswith(entry.suffix)), None)
    if chosen is None:
        raise ValueError(f"{path}: cannot save this kind of file; expected one of {_suffixes(written=True)}")
    if max_sh is not None and not 0 <= max_sh <= 4:
        raise ValueError(f"max_sh: expected a degree of spherical harmonics from 0 to 4, got {max_sh}")
    if spz_version not in (3, 4):
        raise ValueError(f"spz_version: expected 3 or 4, got {spz_version}")
    report.span = (0.1, 0.9)
    if chosen.encode_field is not None:
        data = chosen.encode_field(_one_field(scene, report), report)
    else:
        assert chosen.encode is not None
        gaussians = _baked(scene, report)
        data = chosen.encode(gaussians if max_sh is None else gaussians.with_max_degree(max_sh), report, Choices(spz_version))
    report.span = (0.9, 1.0)
    write_file(path, data, report)
    return tuple(report.notes)


def _baked(scene: Scene, report: Report) -> Gaussians:
    layers, fields = list(scene.visible_layers.values()), scene.visible_fields
    if not layers:
        helps = "; a hash-grid field is saved as .ingp, or made into splats by splatview convert --gaussians N" if fields else ""
        raise ValueError(f"nothing to save: no visible layer of the scene has Gaussians{helps}")
    if fields:
        report.note(f"left out, as the format holds no hash-grid fields (save them as .ingp): {', '.join(fields)}")
    parts = [layer.splats.transformed(layer.placement) for layer in layers]
    kinds = sorted({part.kind for part in parts})
    if len(kinds) > 1:
        report.note(f"the layers were trained for different renderers ({', '.join(kinds)}): the file says {parts[0].kind}")
    return parts[0] if len(parts) == 1 else concatenate(parts)


def _one_field(scene: Scene, report: Report) -> Layer:
    """The field to save; ValueError if there is none, or more than one."""
    found = scene.visible_fields
    if len(found) != 1:
        names = ", ".join(found) or ("only Gaussians" if scene.visible_layers else "nothing")
        raise ValueError(f"expected one visible hash-grid field to save, found {names}")
    if scene.visible_layers:
        report.note(f"left out, as the format holds no Gaussians: {', '.join(scene.visible_layers)}")
    return next(iter(found.values()))


def _entry(path: Path) -> Path:
    """The file that stands for a folder; ValueError if none does."""
    if not path.is_dir():
        return path
    for pattern in ENTRIES:
        if found := [entry for entry in path.glob(pattern) if entry.is_file()]:
            return max(found, key=lambda entry: (len(entry.name), entry.name))
    raise ValueError(f"{path}: expected a scene file, this is a folder" + (f" without {' or '.join(ENTRIES)}" if ENTRIES else ""))


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
    raise UnknownFormat(f"{path}: unknown format; expected one of {_suffixes()}")


def _suffixes(*, written: bool = False) -> str:
    return ", ".join(f"{entry.suffix} ({entry.name})" for entry in FORMATS if entry.writes or not written)
