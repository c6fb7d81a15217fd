"""Operations on layers as wholes. What crops a field, its exposure and its background are its layer's; Gaussians are selected instead."""

from __future__ import annotations

from dataclasses import dataclass, replace

from splatview.edit.select import Tools
from splatview.edit.state import State
from splatview.geometry import Similarity
from splatview.hashgrid import HashGrid
from splatview.scene import Layer, Scene
from splatview.volumes import MOST_CUTS, Cut

MOST_STOPS = 20.0  # of an exposure


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
class Crop:
    """Crop a field by these volumes and no others."""

    layer: str
    cuts: tuple[Cut, ...] = ()  # in the content's frame; (): all of it is shown

    def __post_init__(self) -> None:
        if len(self.cuts) > MOST_CUTS:
            raise ValueError(f"Crop.cuts: expected at most {MOST_CUTS}, got {len(self.cuts)}")

    @property
    def label(self) -> str:
        count = len(self.cuts)
        return f"Crop {self.layer} by {count} volume{'s' * (count > 1)}" if count else f"Show all of {self.layer}"

    def apply(self, state: State, tools: Tools) -> State:
        return replace(state, scene=state.scene.with_layer(self.layer, replace(_field(state, self.layer, "Delete"), cuts=self.cuts)))


@dataclass(frozen=True)
class Expose:
    """Make a field lighter or darker."""

    layer: str
    stops: float

    def __post_init__(self) -> None:
        if not abs(self.stops) <= MOST_STOPS:
            raise ValueError(f"Expose.stops: expected {-MOST_STOPS:g} to {MOST_STOPS:g}, got {self.stops}")

    @property
    def label(self) -> str:
        return f"Exposure of {self.layer} {self.stops:+.3g}"

    def apply(self, state: State, tools: Tools) -> State:
        return replace(state, scene=state.scene.with_layer(self.layer, replace(_field(state, self.layer, "Grade"), exposure=self.stops)))


@dataclass(frozen=True)
class SetBackground:
    """Put a colour behind everything, as long as a field is shown."""

    layer: str
    colour: tuple[float, float, float] | None = None  # sRGB, 0 to 1; None: that of the picture

    def __post_init__(self) -> None:
        if self.colour is not None and not all(0 <= value <= 1 for value in self.colour):
            raise ValueError(f"SetBackground.colour: expected three numbers of 0 to 1, got {self.colour}")

    @property
    def label(self) -> str:
        return f"Background of {self.layer}" if self.colour else f"No background of {self.layer}"

    def apply(self, state: State, tools: Tools) -> State:
        layer = _field(state, self.layer, "the view's background")
        return replace(state, scene=state.scene.with_layer(self.layer, replace(layer, background=self.colour)))


def _field(state: State, name: str, instead: str) -> Layer:
    """The layer called `name`; ValueError if it is no field, with what is for Gaussians."""
    layer = state.layer(name)
    if not isinstance(layer.content, HashGrid):
        raise ValueError(f"{name}: expected a hash-grid field, found a layer of Gaussians, for which there is {instead}")
    return layer


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
