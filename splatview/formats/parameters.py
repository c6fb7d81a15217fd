"""Trained parameters under their names -> Gaussians: what checkpoints of all trainers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Floats
from splatview.formats.checkpoint import Tensor
from splatview.formats.inria import FLAT
from splatview.formats.report import Report
from splatview.gaussians import Gaussians, Kind

NAMES = ("means", "scales", "quats", "opacities", "dc")  # and "rest", unless there are no harmonics above degree 0
_COUNTS = (0, 3, 8, 15, 24)  # harmonics above degree 0


def gaussians(tensors: Mapping[str, Any], kind: Kind, report: Report) -> Gaussians:
    """The Gaussians of raw parameters; ValueError if one is missing or has another shape.

    `tensors`: means [N, 3], scales [N, 3] (log; [N, 2]: 2DGS), quats [N, 4] wxyz, opacities [N] or [N, 1] (logit),
    dc [N, 3] or [N, 1, 3], rest [N, K, 3].
    """
    shapes = {name: tensor.shape for name in (*NAMES, "rest") if isinstance(tensor := tensors.get(name), Tensor)}
    count = shapes.get("means", (0,))[0] if shapes.get("means") else 0
    if not count:
        raise ValueError("checkpoint: expected the means of at least one Gaussian, found none")
    scales = 2 if shapes.get("scales") == (count, 2) else 3
    allowed = {
        "means": [(count, 3)],
        "scales": [(count, scales)],
        "quats": [(count, 4)],
        "opacities": [(count,), (count, 1)],
        "dc": [(count, 3), (count, 1, 3)],
        "rest": [(count, coefficients, 3) for coefficients in _COUNTS],
    }
    for name in (*NAMES, "rest") if "rest" in tensors else NAMES:
        if shapes.get(name) not in allowed[name]:
            found = f"shape {list(shapes[name])}" if name in shapes else "none"
            raise ValueError(f"checkpoint: expected {name} of shape {list(allowed[name][0])}, found {found}")

    total, done = sum(map(prod, shapes.values())), 0

    def read(name: str) -> NDArray:
        nonlocal done
        report.progress(done / total, f"reading {name}")
        done += prod(shapes[name])
        with np.errstate(over="ignore", invalid="ignore"):  # a double beyond float32 becomes infinite
            return tensors[name].read().astype(np.float32, copy=False)

    rest = shapes.get("rest", (count, 0, 3))[1]
    sh = np.empty((count, 1 + rest, 3), np.float32)
    sh[:, :1] = read("dc").reshape(count, 1, 3)
    if rest:
        sh[:, 1:] = read("rest")
    log_scales: Floats = np.full((count, 3), FLAT, np.float32)
    flat = 2 if kind == "2dgs" else scales  # 2DGS trainers may keep a third scale that nothing uses
    log_scales[:, :flat] = read("scales")[:, :flat]
    if scales == 2 or kind == "2dgs":
        kind = "2dgs"
        report.note("trained as 2D discs (2DGS): drawn as flat Gaussians")
    return Gaussians(read("means"), read("quats"), log_scales, read("opacities").reshape(count), sh, kind)
