"""The Scene value: named layers, each with its place in the world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from splatview.arrays import Doubles
from splatview.gaussians import Gaussians
from splatview.geometry import Similarity
from splatview.hashgrid import HashGrid
from splatview.viewpoints import Viewpoints
from splatview.volumes import Cut, reach_of


@dataclass(frozen=True)
class Layer:
    """Trained content and where it stands; the content is compared by identity."""

    content: Gaussians | HashGrid
    placement: Similarity = Similarity()  # world from content
    visible: bool = True
    notes: tuple[str, ...] = ()  # what the reader of the file had to say, for people
    source: str | None = None  # the file it was read from, where that is known
    # Of a field:
    cuts: tuple[Cut, ...] = ()  # what crops it, in the content's frame
    exposure: float = 0.0  # stops
    background: tuple[float, float, float] | None = None  # sRGB, behind everything as long as it is shown; None: the picture's
    viewpoints: Viewpoints | None = None  # of the photographs it was made of, where that is known

    @property
    def splats(self) -> Gaussians:
        """The content of a layer that has Gaussians, as those of `Scene.visible_layers` do; ValueError if it is a field."""
        if isinstance(self.content, HashGrid):
            raise ValueError("expected a layer of Gaussians, found a hash-grid field")
        return self.content

    @property
    def field(self) -> HashGrid:
        """The content of a layer that is a field, as those of `Scene.visible_fields` are; ValueError if it has Gaussians."""
        if isinstance(self.content, Gaussians):
            raise ValueError("expected a hash-grid field, found a layer of Gaussians")
        return self.content

    @property
    def bounds(self) -> Doubles:
        """[2, 3] low and high corner, in the content's frame, of what may be seen of a field; low is above high if that is nothing."""
        (low, high), (least, most) = self.field.bounds, reach_of(self.cuts)
        return np.stack([np.maximum(low, least), np.minimum(high, most)])

    @property
    def empty(self) -> bool:
        """Whether there are no Gaussians in it, and it is no field either."""
        return not isinstance(self.content, HashGrid) and not len(self.content)


@dataclass(frozen=True)
class Scene:
    """Named layers in drawing order (the order matters to nobody but lists: splats of all layers are sorted together).

    >>> from splatview import Scene
    >>> list(Scene().layers)
    []
    """

    layers: Mapping[str, Layer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))

    def with_layer(self, name: str, layer: Layer) -> Scene:
        """The scene with `layer` put under `name`, in its old place if the name exists."""
        return Scene({**self.layers, name: layer})

    def without(self, name: str) -> Scene:
        return Scene({key: layer for key, layer in self.layers.items() if key != name})

    def placed(self, name: str, placement: Similarity) -> Scene:
        return self.with_layer(name, replace(self.layers[name], placement=placement))

    def shown(self, name: str, visible: bool) -> Scene:
        return self.with_layer(name, replace(self.layers[name], visible=visible))

    def read_from(self, source: str) -> Scene:
        """The layers with the file that they were read from."""
        return Scene({name: replace(layer, source=source) for name, layer in self.layers.items()})

    def joined(self, other: Scene) -> Scene:
        """The layers of both; a name of `other` that is taken gets a number."""
        layers = dict(self.layers)
        for name, layer in other.layers.items():
            layers[self.free_name(name, layers)] = layer
        return Scene(layers)

    @staticmethod
    def free_name(name: str, taken: Mapping[str, object]) -> str:
        """`name`, or `name 2`, `name 3`, ...: the first that is not in `taken`."""
        number, free = 2, name
        while free in taken:
            number, free = number + 1, f"{name} {number}"
        return free

    @property
    def splat_layers(self) -> dict[str, Layer]:
        """Those that have Gaussians, or would have some; hidden ones, too."""
        return {name: layer for name, layer in self.layers.items() if not isinstance(layer.content, HashGrid)}

    @property
    def visible_layers(self) -> dict[str, Layer]:
        """Those that have Gaussians, and show them."""
        return {name: layer for name, layer in self.layers.items() if layer.visible and _count(layer)}

    @property
    def visible_fields(self) -> dict[str, Layer]:
        """Those that are a hash-grid field, and show it."""
        return {name: layer for name, layer in self.layers.items() if layer.visible and isinstance(layer.content, HashGrid)}

    @property
    def background(self) -> tuple[float, float, float] | None:
        """Of the last of the visible fields that has one."""
        found = [layer.background for layer in self.visible_fields.values() if layer.background is not None]
        return found[-1] if found else None

    @property
    def count(self) -> int:
        """Gaussians in all layers, hidden ones included."""
        return sum(map(_count, self.layers.values()))


def _count(layer: Layer) -> int:
    return 0 if isinstance(layer.content, HashGrid) else len(layer.content)
