"""Small good files of every format, ours and those of the data folder: what the fuzzer damages."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from splatview import tcnn
from splatview.arrays import Floats
from splatview.formats import FORMATS, Choices, instant_ngp_writer
from splatview.formats.report import Report
from splatview.gaussians import Gaussians, Kind
from splatview.hashgrid import HashGrid, Marching, Network
from splatview.ngp import level_shapes
from splatview.scene import Layer
from splatview.viewpoints import Viewpoints
from splatview.volumes import Box, Cut

Files = dict[str, bytes]  # by path; the first is the one that is opened

LARGEST = 6000  # bytes of a file of the data folder that is used
SH_BANDS = {0: 0, 1: 9, 2: 24, 3: 45}  # numbers of the harmonics above degree 0


def seeds() -> dict[str, list[Files]]:
    """Good files by the suffix of their format."""
    found: dict[str, list[Files]] = defaultdict(list)
    for suffix, files in (*_written(), *_other_kinds(), *_sogs(), *_ksplats(), *_checkpoints(), *_fields(), *_real()):
        found[suffix].append(files)
    return dict(found)


def scene(count: int = 6, degree: int = 1, kind: Kind = "classic") -> Gaussians:
    rng = np.random.default_rng(count)
    sizes: Any = ((count, 3), (count, 4), (count, 3), (count,), (count, (degree + 1) ** 2, 3))
    return Gaussians(*(rng.normal(size=size).astype(np.float32) for size in sizes), kind=kind)


def _written() -> Iterator[tuple[str, Files]]:
    """What each writer of ours makes."""
    examples = [(scene(6, 1), Choices()), (scene(1, 3, "antialiased"), Choices()), (scene(3, 0), Choices(4))]
    for entry in FORMATS:
        if entry.encode:
            for gaussians, choices in examples:
                yield entry.suffix, {f"scene{entry.suffix}": bytes(entry.encode(gaussians, Report(), choices))}


def _other_kinds() -> Iterator[tuple[str, Files]]:
    """Plys as others write them, and the older versions of spz."""
    names = [*"xyz", *(f"f_dc_{i}" for i in range(3)), "opacity", "scale_0", "scale_1", *(f"rot_{i}" for i in range(4))]
    columns = "".join(f"property float {name}\n" for name in names)
    rows = np.random.default_rng(1).normal(size=(3, len(names)))
    text = "\n".join(" ".join(f"{value:.3f}" for value in row) for row in rows)
    yield ".ply", {"a.ply": f"ply\nformat ascii 1.0\nelement vertex 3\n{columns}end_header\n{text}\n".encode()}
    big = f"ply\nformat binary_big_endian 1.0\ncomment SplatRenderMode: mip\nelement vertex 3\n{columns}end_header\n".encode()
    yield ".ply", {"a.ply": big + rows.astype(">f4").tobytes()}
    cloud = np.zeros(9, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    cloud["xyz"] = np.random.default_rng(2).normal(size=(9, 3))
    head = "ply\nformat binary_little_endian 1.0\nelement vertex 9\n" + "".join(f"property float {axis}\n" for axis in "xyz")
    yield (
        ".ply",
        {"a.ply": (head + "".join(f"property uchar {c}\n" for c in ("red", "green", "blue")) + "end_header\n").encode() + cloud.tobytes()},
    )
    body = np.random.default_rng(3).integers(0, 200, 4 * 100, np.uint8).tobytes()
    for version, width in ((1, 6 + 1 + 3 + 3 + 3), (2, 9 + 1 + 3 + 3 + 3)):
        plain = struct.pack("<4sIIBBBB", b"NGSP", version, 3, 1, 12, 0, 0) + body[: 3 * (width + 9)]
        yield ".spz", {"a.spz": plain}
        yield ".spz", {"a.spz": gzip.compress(plain, 1, mtime=0)}


def _sogs() -> Iterator[tuple[str, Files]]:
    """Loose, streamed and of version 1, from the pictures of a bundle."""
    encode = next((entry.encode for entry in FORMATS if entry.suffix == ".sog"), None)
    if encode is None:
        return
    with zipfile.ZipFile(io.BytesIO(bytes(encode(scene(9, 1), Report(), Choices())))) as archive:
        pictures = {name: archive.read(name) for name in archive.namelist()}
    meta = json.loads(pictures.pop("meta.json"))
    yield "meta.json", {"meta.json": json.dumps(meta).encode(), **pictures}
    first = {key: value for key, value in meta.items() if key not in ("version", "count", "asset")}
    first["means"] = {**meta["means"], "shape": [9, 3], "dtype": "float32"}
    for name, low, high in (("scales", [-5.0] * 3, [1.0] * 3), ("sh0", [-2.0] * 4, [2.0] * 4), ("shN", -1.0, 1.0)):
        first[name] = {"mins": low, "maxs": high, "files": meta[name]["files"]}
    old = {"meta.json": json.dumps(first).encode(), **pictures}
    yield "meta.json", old
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in old.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    yield ".sog", {"a.sog": stream.getvalue()}
    leaves = [{"lods": {"0": {"file": 0, "offset": at, "count": 3}, "1": {"file": 0, "offset": 6 + at // 3, "count": 1}}} for at in (0, 3)]
    tree = {
        "version": 1,
        "lodLevels": 2,
        "filenames": ["0_0/meta.json"],
        "tree": {"bound": {"min": [-1] * 3, "max": [1] * 3}, "children": leaves},
    }
    chunk = {f"0_0/{name}": content for name, content in pictures.items()}
    chunk["0_0/meta.json"] = json.dumps(meta).encode()
    yield "lod-meta.json", {"lod-meta.json": json.dumps(tree).encode(), **chunk}
    yield "lod-meta.json", {"lod-meta.json": json.dumps({**tree, "environment": "0_0/meta.json"}).encode(), **chunk}


def _ksplats() -> Iterator[tuple[str, Files]]:
    """Levels 0 to 2, with buckets of two, the last partly filled."""
    for level, degree in ((0, 1), (1, 0), (1, 2), (2, 1), (2, 2)):
        count, rng = 5, np.random.default_rng(level)
        place, value, harmonic = (("<f4", "<f4", "<f4"), ("<u2", "<f2", "<f2"), ("<u2", "<f2", "u1"))[level]
        record = np.dtype(
            [("mean", place, 3), ("scale", value, 3), ("quat", value, 4), ("rgba", "u1", 4), ("sh", harmonic, SH_BANDS[degree])]
        )
        records = np.zeros(count, record)
        records["mean"], records["scale"] = rng.integers(0, 9, (count, 3)), rng.random((count, 3))
        records["quat"], records["rgba"] = rng.normal(size=(count, 4)), rng.integers(0, 256, (count, 4))
        header = struct.pack("<BB2xIIIIH2x12xff", 0, 1, 1, 1, count, count, level, -1.5, 1.5).ljust(4096, b"\0")
        buckets, full, partial = (3, 2, 1) if level else (0, 0, 0)
        section = struct.pack("<IIIIfH2xI4xIIH", count, count, 2, buckets, 5.0, 12, 32767, full, partial, degree).ljust(1024, b"\0")
        tables = struct.pack("<I", 1) * partial + rng.normal(size=(buckets, 3)).astype("<f4").tobytes()
        yield ".ksplat", {"a.ksplat": header + section + tables + records.tobytes()}


def _checkpoints() -> Iterator[tuple[str, Files]]:
    """Of gsplat, INRIA and nerfstudio, as PyTorch writes them."""
    import torch

    gaussians = scene(4, 1)
    arrays = {"means": gaussians.means, "quats": gaussians.quats, "scales": gaussians.log_scales, "opacities": gaussians.opacity_logits}
    splats = {name: torch.tensor(array) for name, array in {**arrays, "sh0": gaussians.sh[:, :1], "shN": gaussians.sh[:, 1:]}.items()}

    def saved(tree: object) -> bytes:
        stream = io.BytesIO()
        torch.save(tree, stream)
        return stream.getvalue()

    yield ".pt", {"a.pt": saved({"step": 1, "splats": splats, "rate": np.float64(3)})}
    yield ".pt", {"a.pt": saved({name: tensor.half() for name, tensor in splats.items()})}
    order = ("means", "sh0", "shN", "scales", "quats", "opacities")
    yield ".pth", {"a.pth": saved(((1, *(splats[name] for name in order), torch.zeros(4)), 30_000))}
    renamed = {"sh0": "features_dc", "shN": "features_rest"}
    state = {f"_model.gauss_params.{renamed.get(name, name)}": tensor for name, tensor in splats.items()}
    state["_model.gauss_params.features_dc"] = splats["sh0"][:, 0]
    step, transforms = saved({"step": 1, "pipeline": state, "optimizers": {}}), {"transform": np.eye(3, 4).tolist(), "scale": 0.5}
    config = b"!!python/object:nerfstudio.engine.trainer.TrainerConfig\nmethod_name: splatfacto\nexperiment_name: a\n"
    config += b"pipeline: !!python/object:a.B\n  model: !!python/object:a.C\n    rasterize_mode: antialiased\n    sh_degree: 1\n"
    beside = {"dataparser_transforms.json": json.dumps(transforms).encode()}
    yield "config.yml", {"config.yml": config, **beside, "nerfstudio_models/step-000000001.ckpt": step}
    yield ".ckpt", {"step-000000001.ckpt": step, **beside}


def _fields() -> Iterator[tuple[str, Files]]:
    """Of Instant-NGP: raw and compressed, float16 and float32, with all of its cells and with none; and of nerfstudio's instant-ngp."""
    import torch

    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Floats:
        return rng.normal(size=shape).astype(np.float32)

    shapes = level_shapes(2, 4, 4, 1.5)
    levels = tcnn.levels(normal(2 * sum(entries for *_, entries in shapes)), 2, 2, 4, 4, 1.5)
    density = Network((normal(16, 4), normal(16, 16)))
    colour = Network((normal(16, 32), normal(3, 16)))
    field = HashGrid(levels, density, colour, np.array([[0, 0, 0], [1, 1, 1]]), Marching(3**0.5 / 1024, near=0.05))
    box = Box((0.5, 0.4, 0.5), (0.5, 0.6, 0.7), (0.9, 0.1, 0.3, -0.2))
    photos = Viewpoints(np.stack([np.eye(4)] * 3), np.array([[40.0, 30, 35, 35, 20, 15]] * 3))
    whole = instant_ngp_writer.encode(Layer(field, cuts=(Cut(box),), viewpoints=photos), Report())
    yield ".ingp", {"a.ingp": whole}
    content: Any = msgspec.msgpack.decode(gzip.decompress(whole))
    content["snapshot"]["density_grid_binary"] = b""
    yield ".ingp", {"a.ingp": zlib.compress(msgspec.msgpack.encode(content))}
    yield ".msgpack", {"a.msgpack": msgspec.msgpack.encode(content)}
    numbers = np.frombuffer(content["snapshot"]["params_binary"], np.float16).astype(np.float32)
    content["snapshot"].update(params_type="float", params_binary=numbers.tobytes(), mode="nerf")
    content["encoding"] = {"otype": "HashGrid", "n_features": 4, "log2_hashmap_size": 4, "base_resolution": 4, "per_level_scale": 1.5}
    yield ".msgpack", {"a.msgpack": msgspec.msgpack.encode(content)}
    state = {"aabb": torch.tensor([[-1.0, -1, -1], [1, 1, 1]]), "mlp_base.model.0.hash_table": torch.zeros(32, 2)}
    state |= {name: torch.tensor(value) for name, value in (("max_res", 32), ("num_levels", 2), ("log2_hashmap_size", 4))}
    for prefix, widths in (("mlp_base.model.1", (4, 8, 16)), ("mlp_head", (31, 8, 3))):
        for place, (before, after) in enumerate(itertools.pairwise(widths)):
            state |= {f"{prefix}.layers.{place}.weight": torch.zeros(after, before), f"{prefix}.layers.{place}.bias": torch.zeros(after)}
    stream = io.BytesIO()
    torch.save({"step": 1, "pipeline": {f"_model.field.{name}": value for name, value in state.items()}}, stream)
    yield ".ckpt", {"step-000000001.ckpt": stream.getvalue()}


def _real() -> Iterator[tuple[str, Files]]:
    folder = Path(os.environ.get("SPLATVIEW_DATA") or Path(__file__).parents[2] / "shared" / "data")
    for path in sorted(folder.glob("conformance/**/*")):
        entry = next((entry for entry in FORMATS if path.name.endswith(entry.suffix)), None)
        if entry and path.is_file() and path.stat().st_size <= LARGEST:
            yield entry.suffix, {path.name: path.read_bytes()}
