"""What a reader of camera poses finds, before any photo is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from splatview.arrays import Doubles
from splatview.fit.lens import Lens
from splatview.geometry import Similarity


@dataclass(frozen=True, eq=False)
class Frame:
    """One listed photo."""

    file: Path
    lens: Lens
    world_from_camera: Doubles  # [4, 4] rigid, OpenCV axes


@dataclass(frozen=True, eq=False)
class Posed:
    """All of them, and the frame that they say a field is to be trained in."""

    frames: tuple[Frame, ...]
    field_from_world: Similarity
    box_scale: int  # a power of two
