"""The photographs that an Instant-NGP snapshot was trained on: where they were taken and through what, not what they show.

Instant-NGP keeps a camera's pose in its own frame, with OpenCV's axes, once for each end of a rolling shutter; focal lengths are in pixels,
principal points in fractions of the size. What is wrong with all that keeps no field from being shown.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from msgspec import Raw, msgpack

from splatview.arrays import Doubles
from splatview.formats.instant_ngp_schema import Photos, Shutter, Taken
from splatview.formats.report import Report
from splatview.viewpoints import MOST, Viewpoints

T = TypeVar("T", Shutter, Taken)

MOST_BYTES = 2048  # of what is said of one photograph


def read(photos: Photos, report: Report) -> Viewpoints | None:
    """The photographs, but for those without a pose; None if there are none, or what is said of them is damaged, with a note then."""
    try:
        shutters = _each(photos.xforms, Shutter)
        taken = _each(photos.metadata, Taken)
    except (ValueError, RecursionError) as error:  # msgspec's are ValueErrors
        report.note(f"what the snapshot says of its photographs cannot be read: {error}")
        return None
    poses, lenses = [], []
    for shutter, one in zip(shutters, taken, strict=False):
        pose = _rigid(np.array([shutter.start, shutter.end], np.float64).mean(0))
        (width, height), (x, y) = one.resolution, one.principal_point
        lens = np.array([width, height, *one.focal_length, x * width, y * height])
        if pose is not None and np.isfinite(lens).all() and (lens[:4] > 0).all():
            poses.append(pose)
            lenses.append(lens)
    return Viewpoints(np.array(poses), np.array(lenses)) if poses else None


def _each(listed: Raw, kind: type[T]) -> list[T]:
    """The entries of a list; ValueError if it has more of them, or larger ones, than it honestly can."""
    if _length(listed) > MOST:
        raise ValueError(f"expected up to {MOST:,} of them, found {_length(listed):,}")
    entries = msgpack.decode(listed, type=list[Raw])
    if any(len(entry) > MOST_BYTES for entry in entries):
        raise ValueError(f"expected up to {MOST_BYTES:,} bytes for each, found more")
    return [msgpack.decode(entry, type=kind) for entry in entries]


def _length(listed: Raw) -> int:
    """How many entries a list says it has, without unpacking it; of anything else 0."""
    head = bytes(memoryview(listed)[:5])
    if head[:1] in (b"\xdc", b"\xdd"):
        return int.from_bytes(head[1:3] if head[:1] == b"\xdc" else head[1:])
    return head[0] & 15 if head and head[0] >> 4 == 9 else 0


def _rigid(pose: Doubles) -> Doubles | None:
    """[4, 4] from [3, 4]; None if it is no rotation and translation."""
    if not np.isfinite(pose).all():
        return None
    left, sizes, right = np.linalg.svd(pose[:, :3])
    if sizes.min() < 0.5 * max(sizes.max(), 1e-12) or np.linalg.det(left @ right) < 0:
        return None
    return np.vstack([np.column_stack([left @ right, pose[:, 3]]), [0, 0, 0, 1]])


def write(viewpoints: Viewpoints | None, shift: Doubles) -> dict[str, Any]:
    """The dataset's entries for photographs, moved by `shift` [3]."""
    if viewpoints is None:
        return {"n_images": 0, "paths": []}
    metadata, xforms = [], []
    for pose, (width, height, fx, fy, cx, cy) in zip(viewpoints.poses, viewpoints.lenses.tolist(), strict=True):
        moved = np.column_stack([pose[:3, :3], pose[:3, 3] + shift]).tolist()
        xforms.append({"start": moved, "end": moved})
        metadata.append(
            {
                "focal_length": [fx, fy],
                "lens": {},
                "principal_point": [cx / width, cy / height],
                "rolling_shutter": [0.0, 0.0, 0.0, 0.0],
                "resolution": [round(width), round(height)],
            }
        )
    return {"n_images": len(viewpoints), "paths": [""] * len(viewpoints), "metadata": metadata, "xforms": xforms}
