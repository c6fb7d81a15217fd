"""The antimatter15 `.splat` format: 32 bytes per Gaussian, no header, no spherical harmonics beyond the colour."""

from __future__ import annotations

import numpy as np

from splatview.formats.packing import LOGITS, alpha_bytes, dc_from_colours, packable, quantised
from splatview.formats.report import Report
from splatview.gaussians import Gaussians
from splatview.geometry import normalised

RECORD = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgb", "u1", 3), ("alpha", "u1"), ("quat", "u1", 4)])
_SMALLEST = np.float32(1e-30)  # stands for a scale of zero or less, whose logarithm is no number
_LARGEST = np.float32(88)  # the logarithm of the largest float32, nearly


def decode(data: bytes | memoryview, report: Report | None = None) -> Gaussians:
    """Read a `.splat` file; ValueError if it cannot be one."""
    count, rest = divmod(len(data), RECORD.itemsize)
    if count == 0 or rest:
        raise ValueError(f".splat: expected a multiple of {RECORD.itemsize} bytes, got {len(data)}")
    records = np.frombuffer(data, RECORD)
    if not (np.isfinite(records["mean"]).all() and np.isfinite(records["scale"]).all()):
        raise ValueError(".splat: expected finite positions and scales, found NaN or infinity: not a .splat file, or a damaged one")
    return Gaussians(
        means=records["mean"],
        quats=(records["quat"].astype(np.float32) - np.float32(128)) / np.float32(128),  # wxyz
        log_scales=np.log(np.maximum(records["scale"], _SMALLEST)),
        opacity_logits=LOGITS[records["alpha"]],
        sh=dc_from_colours(records["rgb"] / 255)[:, None],
    )


@np.errstate(over="ignore")  # what overflows is clamped
def encode(gaussians: Gaussians, report: Report | None = None) -> bytes:
    """A `.splat` file; what it cannot hold (harmonics above degree 0, colours outside 0..1, the kind of model) is lost."""
    report = report or Report()
    gaussians = packable(gaussians, report)
    if gaussians.sh_degree:
        report.note(f".splat holds no spherical harmonics: degrees 1 to {gaussians.sh_degree} were dropped")
    quats = normalised(gaussians.quats.astype(np.float64))
    quats[~quats.any(1), 0] = 1
    records = np.empty(len(gaussians), RECORD)
    records["mean"] = gaussians.means
    records["scale"] = np.exp(np.minimum(gaussians.log_scales, _LARGEST))
    records["rgb"] = quantised(gaussians.colours * np.float32(255), 255)
    records["alpha"] = alpha_bytes(gaussians.opacity_logits)
    records["quat"] = quantised(quats * 128 + 128, 255)
    return records.tobytes()
