"""Checkpoints of trainers, told apart by what lies in them.

gsplat (`ckpts/ckpt_*_rank*.pt`): {"splats": {means, quats, scales, opacities, sh0 [N, 1, 3], shN [N, K, 3]}}, or such a dict alone;
INRIA (`chkpnt*.pth`): ((degree, means, dc, rest, scales, quats, opacities, ...), iteration); nerfstudio (`step-*.ckpt`): {"pipeline": ...}.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from splatview.formats import checkpoint, nerfstudio, parameters, yaml_scalars
from splatview.formats.files import Source
from splatview.formats.report import Report
from splatview.gaussians import Gaussians, Kind
from splatview.scene import Scene

_GSPLAT = {"sh0": "dc", "shN": "rest", "features_dc": "dc", "features_rest": "rest"}
_INRIA = ("means", "dc", "rest", "scales", "quats", "opacities")
_UNKNOWN = "the checkpoint does not say whether it was trained antialiased: drawn as classic"


def read(source: Source, report: Report) -> Gaussians | Scene:
    """The Gaussians or the field of a checkpoint; ValueError if it holds none, or is no checkpoint."""
    match checkpoint.read(source.data):
        case {"pipeline": dict()} as content:
            return nerfstudio.scene(content, source.path, report)
        case {"splats": dict(splats)} | ({"means": checkpoint.Tensor()} as splats):
            return _gsplat(splats, source.path, report)
        case ((int(), *tensors) | [int(), *tensors], int()):
            report.note(_UNKNOWN)
            return parameters.gaussians(dict(zip(_INRIA, tensors, strict=False)), "classic", report)
        case dict() as content:
            found = "entries " + ", ".join(repr(str(key)[:40]) for key in list(content)[:8])
        case content:
            found = f"a {type(content).__name__}"
    raise ValueError(
        "checkpoint: expected one of nerfstudio ('pipeline'), of gsplat ('splats', or 'means' and the others), "
        f"or of INRIA's trainer (parameters, iteration), found {found}"
    )


def _gsplat(splats: Mapping[Any, Any], path: Path, report: Report) -> Gaussians:
    if "colors" in splats and "sh0" not in splats:
        raise ValueError(
            "gsplat: expected colours as harmonics ('sh0', 'shN'), found an appearance network's ('features', 'colors'): "
            "train without app_opt, or open the .ply that the trainer saves"
        )
    return parameters.gaussians({_GSPLAT.get(name, str(name)): tensor for name, tensor in splats.items()}, _kind(path, report), report)


def _kind(path: Path, report: Report) -> Kind:
    """What the settings of gsplat's trainer say, which lie one folder up."""
    config = path.parent.parent / "cfg.yml"
    settings = yaml_scalars.read(config) if config.is_file() else {}
    if settings.get("model_type", "").startswith("2dgs"):
        return "2dgs"
    if "antialiased" not in settings:
        report.note(_UNKNOWN)
    return "antialiased" if settings.get("antialiased") == "true" else "classic"
