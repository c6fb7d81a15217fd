"""What can be made of a document for other programs: which Gaussians, in which format, and about how large it becomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from splatview.edit.state import State
from splatview.formats import FORMATS, save
from splatview.harmonics import MAX_DEGREE
from splatview.scene import Scene

Part = Literal["visible layers", "selection"]

# Suffixes of all that can be written, and bytes of a Gaussian: without view dependence, and of each of its 9, 24 or 45 numbers. Those
# of the packed ones were measured on captured scenes.
BYTES: dict[str, tuple[float, float]] = {
    ".ply": (68.0, 4.0), ".compressed.ply": (16.4, 1.0), ".spz": (16.8, 0.26), ".sog": (14.2, 0.92), ".splat": (32.0, 0.0),
    ".glb": (60.0, 4.0), ".gltf": (80.0, 16 / 3),
}  # fmt: skip
WRITABLE: dict[str, str] = {  # what people choose from, and its suffix
    f"{entry.suffix[1:]} ({entry.name})": entry.suffix for entry in FORMATS if entry.encode is not None
}


@dataclass(frozen=True)
class Export:
    """What to write."""

    suffix: str = ".ply"
    max_sh: int | None = None  # the highest degree that is kept; None: all
    spz_version: Literal[3, 4] = 3
    part: Part = "visible layers"

    def scene(self, state: State) -> Scene:
        """The layers to be written, what is deleted left out. ValueError if there is nothing."""
        if self.part == "selection" and not state.selected:
            raise ValueError("nothing is selected: select something first, or export the visible layers")
        found = state.result(state.selected if self.part == "selection" else None)
        if not found.visible_layers:
            raise ValueError("there is nothing to export: no layer with splats is shown")
        return found

    def count(self, state: State) -> int:
        """How many Gaussians that is; cheap."""
        layers = state.scene.visible_layers
        if self.part == "selection":
            return sum(int(np.count_nonzero(mask)) for name, mask in state.selected.items() if name in layers)
        gone = sum(int(np.count_nonzero(mask)) for name, mask in state.deleted.items() if name in layers)
        return sum(len(layer.splats) for layer in layers.values()) - gone

    def size(self, state: State) -> int:
        """About how many bytes the file will have."""
        base, each = BYTES.get(self.suffix, BYTES[".ply"])
        degree = max((layer.splats.sh_degree for layer in state.scene.visible_layers.values()), default=0)
        degree = min(degree, MAX_DEGREE if self.max_sh is None else self.max_sh)
        return round(self.count(state) * (base + each * 3 * ((degree + 1) ** 2 - 1)))

    def write(self, state: State, path: Path, progress: Callable[[float, str], None]) -> tuple[str, ...]:
        """Put the file under `path`; what the format lost. ValueError or OSError if it cannot be."""
        return save(self.scene(state), path, max_sh=self.max_sh, spz_version=self.spz_version, progress=progress)


def readable(size: float) -> str:
    """A number of bytes for people: 1.2 GB."""
    for unit, bytes_of in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_of:
            return f"{size / bytes_of:.{0 if size >= 100 * bytes_of else 1}f} {unit}"
    return f"{size:.0f} B"
