"""Operations on layers as wholes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from splatview.edit.select import (
    Tools,
)
from splatview.edit.state import State
from splatview.geometry import Similarity
from splatview.scene import Scene


@dataclass(frozen=True)
class ShowLayer:
    layer: str
    visible: bool

    @property
    def label(self) -> str:
        return f"{'Show' if self.visible else 'Hide'} layer {self.layer}"

    def apply(self, state: State, tools: Tools) -> State:
        state.layer(self.layer)
        return replace(state, scene=state.scene.shown(self.layer, self.visible))


@dataclass(frozen=True)
class Rename:
    layer: str
    name: str

    @property
    def label(self) -> str:
        return f"Rename {self.layer} to {self.name}"

    def apply(self, state: State, tools: Tools) -> State:
        return state.renamed(self.layer, self.name)


@dataclass(frozen=True)
class Place:
    """Put a layer somewhere else as a whole."""

    layer: str
    placement: Similarity  # world from content

    @property
    def label(self) -> str:
        return f"Place layer {self.layer}"

    def apply(self, state: State, tools: Tools) -> State:
        state.layer(self.layer)
        return replace(state, scene=state.scene.placed(self.layer, self.placement))


@dataclass(frozen=True)
class PlaceAll:
    """Move the whole world: rescaled from a measure, aligned to the grid, turned upright."""

    transform: Similarity
    why: str = ""  # what people call it

    @property
    def label(self) -> str:
        return self.why or "Move everything"

    def apply(self, state: State, tools: Tools) -> State:
        layers = {name: replace(layer, placement=self.transform @ layer.placement) for name, layer in state.scene.layers.items()}
        return replace(state, scene=Scene(layers))


@dataclass(frozen=True)
class RemoveLayer:
    layer: str

    @property
    def label(self) -> str:
        return f"Remove layer {self.layer}"

    def apply(self, state: State, tools: Tools) -> State:
        return state.without_layer(self.layer)


@dataclass(frozen=True)
class AddLayers:
    """Add the layers of a file; `names` is what they are called here, `digests` what was in it."""

    path: str
    names: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    level: int | None = None
    placements: tuple[Similarity, ...] = ()  # where they stand; (): where the file puts them

    @property
    def label(self) -> str:
        return f"Add {', '.join(self.names) or self.path}"

    def apply(self, state: State, tools: Tools) -> State:
        found = tools.load(self.path, self.level)
        names = self.names or tuple(found.layers)
        if len(names) != len(found.layers):
            raise ValueError(f"{self.path}: expected {len(names)} layers, found {len(found.layers)}")
        places = self.placements or tuple(layer.placement for layer in found.layers.values())
        if len(places) != len(names):
            raise ValueError(f"{self.path}: expected as many placements as layers, {len(names)}; got {len(places)}")
        for name, layer, place in zip(names, found.layers.values(), places, strict=True):
            if name in state.scene.layers:
                raise ValueError(f"{self.path}: a layer is called {name!r} already")
            state = state.with_layer(name, replace(layer, placement=place))
        return state


@dataclass(frozen=True)
class SwapLevel:
    """Put another level of detail of its file into a layer; its name, its place and whether it is shown stay."""

    layer: str
    level: int

    @property
    def label(self) -> str:
        return f"Detail {self.level} of {self.layer}"

    def apply(self, state: State, tools: Tools) -> State:
        now = state.layer(self.layer)
        if now.source is None:
            raise ValueError(f"{self.layer}: this layer was not read from a file that is still there")
        found = next(iter(tools.load(now.source, self.level).layers.values()))
        return state.with_layer(self.layer, replace(now, content=found.content, notes=found.notes))
