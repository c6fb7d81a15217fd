"""Operations that make layers of other rows: separated, merged, baked, simplified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from splatview.edit import simplify
from splatview.edit.operations.base import ALL, HERE, changeable, text_of
from splatview.edit.select import (
    Selection,
    Tools,
)
from splatview.edit.state import State, digest_of, joined, trimmed
from splatview.frame import Masks
from splatview.gaussians import Gaussians, concatenate
from splatview.geometry import Similarity
from splatview.scene import Layer, Scene


@dataclass(frozen=True, eq=False)
class Separate:
    """Put Gaussians into a layer of their own; `keep`: also leave them where they are (a duplicate)."""

    name: str
    keep: bool = False
    selection: Selection = HERE

    @property
    def label(self) -> str:
        return f"{'Duplicate' if self.keep else 'Separate'} to {self.name}"

    def apply(self, state: State, tools: Tools) -> State:
        masks = changeable(state, self.selection, tools)
        if not masks:
            raise ValueError(f"there is nothing to put into {self.name!r}")
        if self.name in state.scene.layers:
            raise ValueError(f"a layer is called {self.name!r} already")
        [place, *_] = [state.layer(name).placement for name in masks]
        parts = []
        for name, mask in masks.items():
            layer = state.layer(name)
            part = layer.splats.take(mask)
            parts.append(part if layer.placement == place else part.transformed(place.inverse() @ layer.placement))
        first, *others = (state.rows[name] for name in masks)
        made = first.made_by(f"separate {text_of(masks)}", *others)
        whole = parts[0] if len(parts) == 1 else concatenate(parts)
        if not self.keep:
            state = replace(state, deleted=joined(state.deleted, masks))
        selected = Masks({self.name: np.ones(len(whole), np.bool_)})
        return replace(state.with_layer(self.name, Layer(whole, place), made), selected=selected)


@dataclass(frozen=True)
class Merge:
    """Make one layer of several: what was deleted of them is gone."""

    layers: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        if len(set(self.layers)) < 2:
            raise ValueError(f"expected two layers or more to merge, got {len(set(self.layers))}")

    @property
    def label(self) -> str:
        return f"Merge into {self.name}"

    def apply(self, state: State, tools: Tools) -> State:
        place = state.layer(self.layers[0]).placement
        return _remade(state, self.layers, self.name, place, lambda name: state.living(name), "merge")


@dataclass(frozen=True)
class Bake:
    """Write the state into the Gaussians: what is deleted goes for good, and placements become positions. Fields stay as they are."""

    label: ClassVar[str] = "Bake"

    def apply(self, state: State, tools: Tools) -> State:
        for name in state.scene.splat_layers:
            state = _remade(state, (name,), name, Similarity(), state.living, "bake")
        return state


def _remade(state: State, names: tuple[str, ...], name: str, place: Similarity, of: Callable[[str], Gaussians], what: str) -> State:
    """One layer at `place` instead of the layers `names`, where the first of them was. Masks follow what is left of their rows."""
    if name in state.scene.layers and name not in names:
        raise ValueError(f"a layer is called {name!r} already")
    kinds = ("selected", "hidden", "locked")
    parts, kept = [], {kind: [] for kind in kinds}
    gone = {one: state.deleted.get(one, np.zeros(len(state.layer(one).splats), np.bool_)) for one in names}
    for one in names:
        parts.append(of(one).transformed(place.inverse() @ state.layer(one).placement))
        for kind in kinds:
            kept[kind].append(getattr(state, kind).get(one, np.zeros(len(gone[one]), np.bool_))[~gone[one]])
    content = parts[0] if len(parts) == 1 else concatenate(parts)
    first, *others = (state.rows[one] for one in names)
    rows = first.made_by(f"{what} {text_of(gone)}", *others)
    layer = replace(state.layer(names[0]), content=content, placement=place, source=None)
    layers = {name if key == names[0] else key: layer if key == names[0] else old for key, old in state.scene.layers.items()
              if key == names[0] or key not in names}  # fmt: skip
    for one in names:
        state = state.without_layer(one)
    masks = {kind: trimmed({**getattr(state, kind), name: np.concatenate(kept[kind])}) for kind in kinds}
    return replace(state, scene=Scene(layers), rows={**state.rows, name: rows}, **masks)


@dataclass(frozen=True, eq=False)
class Simplify:
    """Merge Gaussians until `count` of the selection are left in each of its layers, by their share."""

    count: int
    selection: Selection = ALL

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count: expected 1 or more, got {self.count}")

    @property
    def label(self) -> str:
        return f"Simplify to {self.count:,}"

    def apply(self, state: State, tools: Tools) -> State:
        masks = changeable(state, self.selection, tools)
        whole = state.count(masks)
        if self.count >= whole:
            raise ValueError(f"count: expected fewer than the {whole:,} that are selected, got {self.count:,}")
        done, taken = 0, 0
        for name, mask in masks.items():
            layer, done = state.layer(name), done + int(np.count_nonzero(mask))
            share, taken = max(1, round(self.count * done / whole) - taken), round(self.count * done / whole)
            living = ~state.deleted.get(name, np.zeros(len(mask), np.bool_))
            less_splats = simplify.simplified(layer.splats.take(mask), share, progress=tools.progress)
            rest = layer.splats.take(living & ~mask)
            rows = state.rows[name].made_by(f"simplify {share} {text_of({name: mask, 'living': living})} {digest_of(layer.splats)}")
            kinds = {kind: getattr(state, kind).get(name) for kind in ("hidden", "locked")}
            content = concatenate([rest, less_splats]) if len(rest) else less_splats
            state = state.with_layer(name, replace(layer, content=content, source=None), rows)
            for kind, old in kinds.items():
                if old is not None:
                    kept = np.concatenate([old[living & ~mask], np.zeros(len(less_splats), np.bool_)])
                    state = replace(state, **{kind: trimmed({**getattr(state, kind), name: kept})})
        return state
