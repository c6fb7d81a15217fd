"""Moving what is selected by hand: while it is dragged, it lies in layers of its own, which follow the gizmo without being packed again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from splatview.arrays import Doubles
from splatview.edit.state import State, joined, less
from splatview.edit.transform import about
from splatview.frame import Masks
from splatview.geometry import Similarity
from splatview.scene import Layer, Scene

Motion = Literal["move", "rotate", "scale"]

LIFTED = ", lifted"  # behind the name of a layer: what was taken out of it
SAMPLE = 20_000  # splats that a middle is found from
NOTHING = 1e-5  # page units, or radians: a hand that moved so little has not moved
DOUBLED = 1.0  # page units by which the handle is pulled to scale by two


def middle_of_selection(state: State) -> Doubles | None:
    """The median [3], in the world, of what is selected and can be changed; None if that is nothing."""
    masks = less(state.selected, state.untouchable)
    count = state.count(masks)
    places = []
    for name, mask in masks.items():
        layer = state.scene.layers[name]
        some = layer.splats.means[np.flatnonzero(mask)[:: max(1, count // SAMPLE)]].astype(np.float64)
        places.append(layer.placement.apply(some[np.isfinite(some).all(1)]))
    found = np.concatenate(places) if places else np.zeros((0, 3))
    return np.median(found, axis=0) if len(found) else None


def motion(kind: Motion, pivot: Doubles, page: Similarity, quat: Any, position: Any) -> Similarity:
    """What the world does when a gizmo that stood at `pivot` (world), along the world's axes, was brought to `quat` (wxyz) and `position`.

    These are of the page; ValueError if they are not finite. Only what `kind` says happens, without rounding elsewhere. To scale, the x
    axis is pulled.
    """
    stands = page.inverse() @ Similarity(tuple(quat), tuple(position), page.scale)
    x, y, z = (np.asarray(stands.translation) - pivot).tolist()
    if kind == "rotate":
        return Similarity() if np.abs(stands.quat[1:]).max() < NOTHING else about(Similarity(stands.quat), pivot)
    if max(abs(x), abs(y), abs(z)) * page.scale < NOTHING:
        return Similarity()
    if kind == "move":
        return Similarity(translation=(x, y, z))
    return about(Similarity(scale=float(2.0 ** np.clip(x * page.scale / DOUBLED, -10, 10))), pivot)


class Lifted:
    """The selected Gaussians of `state`, taken out of their layers once; `moved` puts them anywhere at no cost."""

    def __init__(self, state: State) -> None:
        masks = less(state.selected, state.untouchable)
        self.base = state
        self._taken: list[str] = []
        layers, hidden, selected = dict(state.scene.layers), {}, {}
        for name, mask in masks.items():
            layer = layers[name]
            if mask.all():  # as it lies
                self._taken.append(name)
                selected[name] = mask
                continue
            own = Scene.free_name(name + LIFTED, layers)
            layers[own] = Layer(layer.splats.take(mask), layer.placement, layer.visible)
            self._taken.append(own)
            hidden[name], selected[own] = mask, np.ones(np.count_nonzero(mask), np.bool_)
        self._state = replace(state, scene=Scene(layers), hidden=joined(state.hidden, Masks(hidden)), selected=Masks(selected))

    def moved(self, transform: Similarity) -> State:
        """The state with what was lifted moved by a `transform` of the world."""
        layers = dict(self._state.scene.layers)
        for name in self._taken:
            layers[name] = replace(layers[name], placement=transform @ layers[name].placement)
        return replace(self._state, scene=Scene(layers))
