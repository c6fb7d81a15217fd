"""Runs of nerfstudio's splatfacto, instant-ngp and nerfacto.

A run is a folder with `config.yml`, `dataparser_transforms.json` and `nerfstudio_models/step-*.ckpt`.

The content stays in nerfstudio's frame, into which the capture was moved by `scale * (transform @ x)`; the placement is the way back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from splatview.formats import checkpoint, nerfstudio_field, parameters, yaml_scalars
from splatview.formats.files import Source, open_file
from splatview.formats.packing import dc_from_colours
from splatview.formats.report import Report
from splatview.gaussians import Gaussians, Kind
from splatview.geometry import Similarity
from splatview.scene import Layer, Scene

CONFIG, TRANSFORMS, MODELS = "config.yml", "dataparser_transforms.json", "nerfstudio_models"
_MOST_BYTES = 1 << 20  # of dataparser_transforms.json
_LONGEST_NAME = 100
_PREFIXES = ("module.", "_model.", "module.", "gauss_params.")  # taken off in this order; older versions and single GPUs have fewer
_NAMES = {"features_dc": "dc", "features_rest": "rest"}


def recognises(head: bytes) -> bool:
    """Whether these are the first bytes of a run's config.yml."""
    return head.startswith(b"!!python/object:nerfstudio.")


def read(source: Source, report: Report) -> Scene:
    """The newest step of the run whose config.yml this is; ValueError if it has none, or holds neither Gaussians nor a field."""
    models = source.path.parent / MODELS
    steps = sorted(models.glob("step-*.ckpt"), key=lambda path: (len(path.name), path.name))
    if not steps:
        raise ValueError(f"nerfstudio: expected the run's checkpoints as {MODELS}/step-*.ckpt beside {source.path.name}, found none")
    with open_file(steps[-1]) as data:
        return scene(checkpoint.read(data), steps[-1], report)


def scene(content: Any, path: Path, report: Report) -> Scene:
    """The Gaussians or the field of a step that lies at `path`, placed in the world of the capture; ValueError if it holds none."""
    state = content.get("pipeline") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise ValueError(f"nerfstudio: expected a checkpoint with a 'pipeline' in {path.name}, found none")
    settings, tensors = _settings(path), _named(state)
    named = settings.get("experiment_name", "null")[:_LONGEST_NAME]
    name = path.stem if named == "null" else named
    if nerfstudio_field.holds_field(tensors):
        if any(str(key).startswith("proposal_networks.") for key in tensors):
            report.note("nerfacto's proposal networks are not used: rays are marched through the field alone")
        if not settings:
            report.note(f"there is no {CONFIG} with the checkpoint: nerfstudio's defaults are taken")
        return Scene({name: Layer(nerfstudio_field.read(tensors, settings), _placement(path, report))})
    if not any(isinstance(tensors.get(name), checkpoint.Tensor) for name in parameters.NAMES):
        method = settings.get("method_name", "a method of another kind")[:_LONGEST_NAME]
        raise ValueError(f"nerfstudio: expected a run of splatfacto, instant-ngp or nerfacto, or another with Gaussians, found {method!r}")
    mode = settings.get("pipeline.model.rasterize_mode", "classic")
    if not settings:
        report.note(f"there is no {CONFIG} with the checkpoint to say whether it was trained antialiased: drawn as classic")
    kind: Kind = "antialiased" if mode == "antialiased" else "classic"
    layer = Layer(_with_plain_colours(parameters.gaussians(tensors, kind, report)), _placement(path, report))
    return Scene({name: layer})


def _named(state: Mapping[Any, Any]) -> dict[str, Any]:
    """The entries of a state dict under short names."""
    found = {}
    for key, value in state.items():
        name = str(key)
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        found[_NAMES.get(name, name)] = value
    return found


@np.errstate(invalid="ignore")  # what is no number stays none
def _with_plain_colours(gaussians: Gaussians) -> Gaussians:
    """Without harmonics (sh_degree 0) splatfacto keeps logits of colours instead of a DC term."""
    if gaussians.sh_degree:
        return gaussians
    return replace(gaussians, sh=dc_from_colours(0.5 * (1 + np.tanh(0.5 * gaussians.sh))))


def _beside(path: Path, name: str) -> Path | None:
    """A file of the run that a step belongs to: one folder up, as nerfstudio lays it out, or copied next to it."""
    return next((folder / name for folder in (path.parent.parent, path.parent) if (folder / name).is_file()), None)


def _settings(path: Path) -> dict[str, str]:
    config = _beside(path, CONFIG)
    return yaml_scalars.read(config) if config else {}


def _placement(path: Path, report: Report) -> Similarity:
    """World of the capture from nerfstudio's frame."""
    transforms = _beside(path, TRANSFORMS)
    if transforms is None:
        report.note(f"there is no {TRANSFORMS} with the checkpoint: the scene stays in nerfstudio's frame")
        return Similarity()
    with open_file(transforms) as data:
        if len(data) > _MOST_BYTES:
            raise ValueError(f"{TRANSFORMS}: expected a matrix and a scale, found {len(data):,} bytes")
        try:
            content = json.loads(bytes(data))
            moved, scale = Similarity.from_matrix(content["transform"]), float(content["scale"])
            return (Similarity(scale=scale) @ moved).inverse()
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise ValueError(f"{TRANSFORMS}: expected 'transform' [3, 4] and 'scale' > 0: {error}") from None
