"""What `convert` can do to a scene on its way."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import arg

from splatview.arrays import Bools
from splatview.cli.faults import UserError, users_fault
from splatview.cli.flags import MAYBE_NUMBER
from splatview.gaussians import Gaussians
from splatview.geometry import Similarity
from splatview.hashgrid import HashGrid
from splatview.inspection import finite_mask
from splatview.scene import Layer, Scene
from splatview.volumes import Box, Cut

OF_FIELDS = "--transform", "--crop-box"


@dataclass(frozen=True)
class ChangeFlags:
    """Changes on the way. What is removed is told by the source's numbers (those `splatview info SOURCE` reports)."""

    max_sh: Annotated[int | None, MAYBE_NUMBER] = None
    """Cut the view-dependent colour to this degree, 0 to 4."""
    crop_box: Annotated[tuple[float, float, float, float, float, float] | None, arg(metavar="X0 Y0 Z0 X1 Y1 Z1", help_behavior_hint="")] = (
        None
    )
    """Keep the Gaussians with their middle in this box, and what is in it of a hash-grid field."""
    min_opacity: float = 0.0
    """Remove the Gaussians with a lower opacity (0 to 1)."""
    max_scale: Annotated[float | None, MAYBE_NUMBER] = None
    """Remove the Gaussians with a larger standard deviation along any axis."""
    drop_broken: bool = False
    """Remove the Gaussians with a NaN, an infinite number or a zero quaternion."""
    transform: Annotated[str | None, arg(metavar="MATRIX", help_behavior_hint="")] = None
    """Move the scene last: a rotation, a uniform scale and a translation as a matrix of 4 x 4 or 3 x 4, row by row.
    Numbers between quotes, or a JSON file that holds it."""

    def resolved(self) -> Change:
        """The change that the flags ask for; UserError if one makes no sense."""
        if self.max_sh is not None and not 0 <= self.max_sh <= 4:
            raise UserError(f"--max-sh: expected a degree of 0 to 4, got {self.max_sh}")
        if self.crop_box is not None and not all(low < high for low, high in zip(self.crop_box[:3], self.crop_box[3:], strict=True)):
            raise UserError(f"--crop-box: expected X0 Y0 Z0 X1 Y1 Z1 with X0 < X1 and so on, got {' '.join(map(str, self.crop_box))}")
        if not 0 <= self.min_opacity <= 1:
            raise UserError(f"--min-opacity: expected a number of 0 to 1, got {self.min_opacity}")
        if self.max_scale is not None and not self.max_scale > 0:
            raise UserError(f"--max-scale: expected a number > 0, got {self.max_scale}")
        return Change(self, Similarity() if self.transform is None else placement_of(self.transform))


@dataclass(frozen=True)
class Change:
    """Flags that make sense, and where they move the scene."""

    flags: ChangeFlags
    placement: Similarity

    def apply(self, scene: Scene) -> Scene:
        """The layers of `scene` without what the flags remove, cut and moved; UserError if they are for Gaussians, and it has a field."""
        asked = [f"--{field.name.replace('_', '-')}" for field in fields(self.flags) if getattr(self.flags, field.name) != field.default]
        if scene.visible_fields and (asked := [flag for flag in asked if flag not in OF_FIELDS]):
            fine = " and ".join(OF_FIELDS)
            raise UserError(f"{', '.join(asked)}: expected a scene of Gaussians, found a hash-grid field, which only {fine} change")
        return Scene({name: self._changed(layer) for name, layer in scene.layers.items()})

    def _changed(self, layer: Layer) -> Layer:
        changed = self._cropped(layer) if isinstance(layer.content, HashGrid) else replace(layer, content=self._cut(layer))
        return replace(changed, placement=self.placement @ layer.placement)

    def _cropped(self, layer: Layer) -> Layer:
        if self.flags.crop_box is None:
            return layer
        if any(cut.keeps for cut in layer.cuts):
            raise UserError("--crop-box: expected a field that is not cropped yet; `splatview edit` with a Crop makes it another crop")
        low, high = np.array(self.flags.crop_box[:3]), np.array(self.flags.crop_box[3:])
        box = Box(tuple(((low + high) / 2).tolist()), tuple((high - low).tolist()))
        return replace(layer, cuts=(*layer.cuts, Cut(box.moved(layer.placement.inverse()))))

    def _cut(self, layer: Layer) -> Gaussians:
        keep = self._kept(layer)
        splats = layer.splats if keep.all() else layer.splats.take(keep)
        return splats if self.flags.max_sh is None else splats.with_max_degree(self.flags.max_sh)

    def _kept(self, layer: Layer) -> Bools:
        """[N] what the flags leave of a layer."""
        splats, flags = layer.splats, self.flags
        keep = np.ones(len(splats), bool)
        if flags.drop_broken:
            keep &= finite_mask(splats) & splats.quats.any(axis=1)
        if flags.min_opacity > 0:
            keep &= splats.opacities >= flags.min_opacity
        if flags.max_scale is not None:
            keep &= splats.log_scales.max(axis=1, initial=-np.inf) <= np.log(flags.max_scale / layer.placement.scale)
        if flags.crop_box is not None:
            means = layer.placement.apply(splats.means.astype(np.float64))
            keep &= ((means >= flags.crop_box[:3]) & (means <= flags.crop_box[3:])).all(axis=1)
        return keep


def placement_of(text: str) -> Similarity:
    """The similarity of a matrix given as numbers or as a JSON file; UserError if it is none."""
    try:
        if Path(text).suffix.lower() == ".json":
            with users_fault(OSError):
                numbers = np.asarray(json.loads(Path(text).read_text()), np.float64).ravel()
        else:
            numbers = np.array([float(word) for word in re.split(r"[\s,]+", text.strip())])
        if numbers.size not in (12, 16):
            raise ValueError(f"expected 12 or 16 numbers, row by row, got {numbers.size}")
        return Similarity.from_matrix(numbers.reshape(-1, 4))
    except (ValueError, TypeError) as error:
        raise UserError(f"--transform: {error}") from error
