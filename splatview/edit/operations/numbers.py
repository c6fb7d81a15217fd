"""Operations that change the numbers of the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from splatview.arrays import Bools, Floats
from splatview.edit import relight, transform
from splatview.edit.grade import Grading, Painting, graded, painted
from splatview.edit.operations.base import ALL, HERE, changeable, changing
from splatview.edit.select import (
    Selection,
    Tools,
    Volume,
)
from splatview.edit.state import State
from splatview.geometry import Similarity
from splatview.scene import Layer


@dataclass(frozen=True, eq=False)
class Move:
    """Move, rotate or scale Gaussians by a similarity of the world; their view-dependent colour turns with them."""

    transform: Similarity
    selection: Selection = HERE

    @property
    def label(self) -> str:
        t = self.transform
        parts = [("Move", t.translation != (0, 0, 0)), ("Rotate", t.quat != (1, 0, 0, 0)), ("Scale", t.scale != 1)]
        done = [name for name, on in parts if on]
        return "Scale" if "Scale" in done and "Rotate" not in done else ("Rotate" if "Rotate" in done else "Move")

    def apply(self, state: State, tools: Tools) -> State:
        def change(name: str, layer: Layer, which: Bools) -> Mapping[str, Floats]:
            return transform.moved(layer.splats, which, transform.in_layer(self.transform, layer.placement))

        return changing(state, changeable(state, self.selection, tools), change)


@dataclass(frozen=True, eq=False)
class Grade:
    """Grade the colour and opacity of Gaussians; in a volume, fading out over its falloff."""

    grading: Grading
    selection: Selection = HERE
    volume: Volume | None = None
    label: ClassVar[str] = "Grade"

    def apply(self, state: State, tools: Tools) -> State:
        def change(name: str, layer: Layer, which: Bools) -> Mapping[str, Floats]:
            splats, weights = layer.splats, which
            if self.volume is not None:
                weights = np.zeros(len(splats), np.float32)
                weights[which] = self.volume.moved(layer.placement.inverse()).weights(splats.means[which])
            sh, opacity_logits = graded(splats.sh, splats.opacity_logits, weights, self.grading)
            return {"sh": sh, "opacity_logits": opacity_logits}

        return changing(state, changeable(state, self.selection, tools), change)


@dataclass(frozen=True, eq=False)
class Paint:
    """Paint colour and opacity on Gaussians."""

    painting: Painting
    selection: Selection = HERE
    label: ClassVar[str] = "Paint"

    def apply(self, state: State, tools: Tools) -> State:
        def change(name: str, layer: Layer, which: Bools) -> Mapping[str, Floats]:
            sh, opacity_logits = painted(layer.splats.sh, layer.splats.opacity_logits, which, self.painting)
            return {"sh": sh, "opacity_logits": opacity_logits}

        return changing(state, changeable(state, self.selection, tools), change)


@dataclass(frozen=True, eq=False)
class Relight:
    """Multiply the colour of Gaussians by lights on normals that are smoothed over neighbours; switched off, it leaves no trace."""

    lights: tuple[relight.Directional | relight.Point, ...] = ()
    ambient: tuple[float, float, float] = (1.0, 1.0, 1.0)
    smoothing: int = relight.SMOOTHING  # how often normals are averaged with their neighbours
    selection: Selection = ALL
    label: ClassVar[str] = "Relight"

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing <= 100:
            raise ValueError(f"smoothing: expected 0 to 100 rounds, got {self.smoothing}")

    def apply(self, state: State, tools: Tools) -> State:
        def change(name: str, layer: Layer, which: Bools) -> Mapping[str, Floats]:
            some = layer.splats.take(which)
            sh = layer.splats.sh.copy()
            facing = relight.normals(some, self.smoothing, progress=tools.progress)
            sh[which] = relight.lit(some, facing, layer.placement, self.lights, self.ambient)
            return {"sh": sh}

        return changing(state, changeable(state, self.selection, tools), change)


@dataclass(frozen=True)
class CapDegree:
    """Cut the view-dependent colour of all layers, or of one, to a degree."""

    degree: int
    layer: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.degree <= 4:
            raise ValueError(f"degree: expected 0 to 4, got {self.degree}")

    @property
    def label(self) -> str:
        return f"Cap SH degree at {self.degree}"

    def apply(self, state: State, tools: Tools) -> State:
        names = state.scene.splat_layers if self.layer is None else [self.layer]
        return state.with_content({name: state.layer(name).splats.with_max_degree(self.degree) for name in names})


@dataclass(frozen=True, eq=False)
class Normalise:
    """Make quaternions unit; the picture does not change."""

    layer: str
    label: ClassVar[str] = "Normalise quaternions"

    def apply(self, state: State, tools: Tools) -> State:
        from splatview.inspection import with_unit_quats

        return state.with_content({self.layer: with_unit_quats(state.layer(self.layer).splats)})
