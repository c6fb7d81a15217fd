"""What a document is at one moment: the scene, and which of its Gaussians are selected, hidden, locked or deleted.
A field has none: it is placed, cropped, shown, renamed and removed as a whole.

Deleted Gaussians stay in their arrays, so that a mask that one operation holds still fits when another one is switched off. Which Gaussians
a layer's rows are is known by a digest (`Rows`): an operation that keeps the rows keeps it, one that makes others gives a new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np

from splatview.arrays import Bools
from splatview.frame import Masks
from splatview.gaussians import Gaussians
from splatview.hashgrid import HashGrid
from splatview.scene import Layer, Scene


class Rows:
    """Which Gaussians the rows of a layer are. The digest of a large layer takes a moment, and is only made when it is asked for."""

    def __init__(self, digest: str | None = None, content: Gaussians | HashGrid | None = None) -> None:
        self._digest, self._content = digest, content

    @staticmethod
    def of(content: Gaussians | HashGrid) -> Rows:
        """The rows as they were read from a file."""
        return Rows(content=content)

    def made_by(self, what: str, *others: Rows) -> Rows:
        """The rows that `what` makes of these and of `others`."""
        return Rows(hashlib.sha256("\n".join([what, self.digest, *(other.digest for other in others)]).encode()).hexdigest()[:32])

    @property
    def digest(self) -> str:
        """32 hexadecimal digits; of the raw arrays, where they came from a file."""
        if self._digest is None:
            assert self._content is not None
            self._digest, self._content = digest_of(self._content), None
        return self._digest


def digest_of(content: Gaussians | HashGrid) -> str:
    """32 hexadecimal digits that tell whether two layers hold the same numbers in the same order."""
    if isinstance(content, HashGrid):
        shapes = [(level.scale, level.resolution) for level in content.levels]
        rules = content.box.tolist(), content.marching, content.warp, content.offset, content.geometry, content.density_factor
        whole = hashlib.sha256(repr((shapes, rules, content.shifted_directions, content.hdr)).encode())
    else:
        whole = hashlib.sha256(f"{len(content)} {content.sh.shape[1]} {content.kind}".encode())
    for array in arrays_of(content):
        whole.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
    return whole.hexdigest()[:32]


def arrays_of(content: Gaussians | HashGrid) -> tuple[np.ndarray, ...]:
    """The arrays that a layer's content holds."""
    if isinstance(content, HashGrid):
        networks = [array for network in (content.density, content.colour) for array in (*network.weights, *network.biases)]
        occupancy = () if content.occupancy is None else (content.occupancy.cells, content.occupancy.boxes)
        return *(level.table for level in content.levels), *networks, *occupancy
    return content.means, content.quats, content.log_scales, content.opacity_logits, content.sh


@dataclass(frozen=True, eq=False)
class State:
    """Compared by identity. Masks [N] are by layer; a layer without one has no Gaussian of that kind."""

    scene: Scene = field(default_factory=Scene)
    rows: Mapping[str, Rows] = field(default_factory=dict)  # by layer
    selected: Masks = Masks()
    hidden: Masks = Masks()  # not drawn, and out of reach of selections
    locked: Masks = Masks()  # drawn, and out of reach of selections
    deleted: Masks = Masks()
    sets: Mapping[str, Masks] = field(default_factory=dict)  # saved selections, by name

    def __post_init__(self) -> None:
        rows = {name: self.rows.get(name) or Rows.of(layer.content) for name, layer in self.scene.layers.items()}
        object.__setattr__(self, "rows", MappingProxyType(rows))
        object.__setattr__(self, "sets", MappingProxyType(dict(self.sets)))

    @cached_property
    def undrawn(self) -> Masks:
        """What a frame leaves out: hidden or deleted."""
        return joined(self.hidden, self.deleted)

    @cached_property
    def untouchable(self) -> Masks:
        """What no selection reaches: hidden, locked or deleted."""
        return joined(joined(self.hidden, self.deleted), self.locked)

    def count(self, masks: Masks) -> int:
        """How many Gaussians `masks` hold."""
        return sum(int(np.count_nonzero(mask)) for mask in masks.values())

    @cached_property
    def selected_count(self) -> int:
        return self.count(self.selected)

    @cached_property
    def living_count(self) -> int:
        """Gaussians of all layers that are not deleted."""
        return self.scene.count - self.count(self.deleted)

    def layer(self, name: str) -> Layer:
        """The layer called `name`; ValueError if there is none."""
        if name not in self.scene.layers:
            raise ValueError(f"expected a layer called {name!r}, found {', '.join(map(repr, self.scene.layers)) or 'no layer'}")
        return self.scene.layers[name]

    def with_content(self, contents: Mapping[str, Gaussians]) -> State:
        """Other numbers for the same rows of some layers."""
        layers = {name: replace(layer, content=contents.get(name, layer.content)) for name, layer in self.scene.layers.items()}
        return replace(self, scene=Scene(layers))

    def renewed(self, old: HashGrid, new: HashGrid) -> State:
        """With a field in another's place, in whichever layers hold that."""
        held = [name for name, layer in self.scene.layers.items() if layer.content is old]
        layers = {name: replace(layer, content=new) if name in held else layer for name, layer in self.scene.layers.items()}
        return replace(self, scene=Scene(layers), rows={name: one for name, one in self.rows.items() if name not in held}) if held else self

    def with_layer(self, name: str, layer: Layer, rows: Rows | None = None) -> State:
        """A layer added, or put in another's place with other rows: the masks of the old ones are gone."""
        others = {key: one for key, one in self.rows.items() if key != name}
        fresh = replace(self, scene=self.scene.with_layer(name, layer), rows={**others, **({name: rows} if rows else {})})
        return fresh._each_masks(lambda masks: without(masks, name))

    def without_layer(self, name: str) -> State:
        self.layer(name)
        return replace(self, scene=self.scene.without(name), rows=dict(self.rows))._each_masks(lambda masks: without(masks, name))

    def renamed(self, old: str, new: str) -> State:
        """A layer called `new` in its old place, with its masks; ValueError if the name is taken."""
        self.layer(old)
        if new in self.scene.layers:
            raise ValueError(f"a layer is called {new!r} already")
        scene = Scene({new if name == old else name: layer for name, layer in self.scene.layers.items()})
        rows = {new if name == old else name: one for name, one in self.rows.items()}
        moved = replace(self, scene=scene, rows=rows)
        return moved._each_masks(lambda masks: Masks({new if name == old else name: mask for name, mask in masks.items()}))

    def _each_masks(self, what: Callable[[Masks], Masks]) -> State:
        kinds = ("selected", "hidden", "locked", "deleted")
        return replace(
            self, **{kind: what(getattr(self, kind)) for kind in kinds}, sets={name: what(one) for name, one in self.sets.items()}
        )

    def living(self, name: str) -> Gaussians:
        """The Gaussians of a layer that are not deleted."""
        content = self.layer(name).splats
        mask = self.deleted.get(name)
        return content if mask is None else content.take(~mask)

    def result(self, only: Mapping[str, Bools] | None = None) -> Scene:
        """The scene without what was deleted; with `only` (masks by layer), just those Gaussians, of the layers that have any."""
        layers = {}
        for name, layer in self.scene.layers.items():
            gone, wanted = self.deleted.get(name), None if only is None else only.get(name)
            if only is not None and (wanted is None or not wanted.any()):
                continue
            keep = None if gone is None else ~gone
            keep = keep if wanted is None else (wanted if keep is None else keep & wanted)
            layers[name] = layer if keep is None or keep.all() else replace(layer, content=layer.splats.take(keep))
        return Scene(layers)


def joined(one: Masks, other: Masks) -> Masks:
    """What is in either; arrays that need no change are shared."""
    if not other:
        return one
    both = {name: one[name] | other[name] for name in one if name in other}
    return Masks({**one, **other, **both})


def less(one: Masks, other: Mapping[str, Bools]) -> Masks:
    """What is in `one` and not in `other`."""
    return trimmed({name: mask & ~other[name] if name in other else mask for name, mask in one.items()})


def without(masks: Masks, name: str) -> Masks:
    return masks if name not in masks else Masks({key: mask for key, mask in masks.items() if key != name})


def trimmed(masks: Mapping[str, Bools]) -> Masks:
    """Only the masks that hold something."""
    return Masks({name: mask for name, mask in masks.items() if mask.any()})


def living_layers(state: State) -> Iterator[tuple[str, Layer, Bools]]:
    """Visible layers, each with a mask [N] of what a selection may reach."""
    for name, layer in state.scene.visible_layers.items():
        out = state.untouchable.get(name)
        yield name, layer, np.ones(len(layer.splats), np.bool_) if out is None else ~out
