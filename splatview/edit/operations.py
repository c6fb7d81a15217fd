"""Operations: frozen values that own their inputs and make one state out of another. The whole list is `OPERATIONS`, at the end.

What an operation does to Gaussians follows from the masks of its selection; it never looks at what is selected now, unless its selection
was never asked (a script written by hand) or the Gaussians are others than those it was made for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np

from splatview.arrays import Bools, Floats
from splatview.edit import relight, simplify, transform
from splatview.edit.grade import Grading, Painting, graded, painted
from splatview.edit.select import (
    AnyQuery,
    Broken,
    Connected,
    Current,
    Drawn,
    Duplicates,
    Everything,
    Faint,
    Floaters,
    Flooded,
    Giant,
    Grown,
    How,
    Matching,
    Needles,
    Not,
    Nothing,
    Range,
    Selection,
    Shrunk,
    Tools,
    Under,
    Volume,
    chosen,
    combined,
)  # fmt: skip
from splatview.edit.state import State, digest_of, joined, less, trimmed
from splatview.frame import Masks
from splatview.gaussians import Gaussians, concatenate
from splatview.geometry import Similarity
from splatview.scene import Layer, Scene

HERE = Selection(Current())  # what is selected when the operation is applied
ALL = Selection(Everything())


class Operation(Protocol):
    """Makes one state out of another. ValueError, with one clear line, if it cannot: then nothing has changed."""

    @property
    def label(self) -> str:
        """What people call it."""
        ...

    def apply(self, state: State, tools: Tools) -> State: ...


def bound(operation: AnyOperation, state: State, tools: Tools) -> AnyOperation:
    """The operation with the masks of its selection, if that was not asked yet: from now on it owns all its inputs."""
    selection = getattr(operation, "selection", None)
    if selection is None or selection.rows is not None:
        return operation
    if isinstance(operation, Select):
        return Select.asked(selection.query, state, tools, operation.how)
    asked = Selection.asked(selection.query, state, tools)
    if not asked.masks and not isinstance(operation, SaveSet):
        raise ValueError("nothing is selected: select something first")
    return replace(operation, selection=asked)  # type: ignore[call-arg]


# Selecting.


@dataclass(frozen=True, eq=False)
class Select:
    """Change the selection. The masks are those of the whole selection afterwards."""

    selection: Selection
    how: How = "set"

    @property
    def label(self) -> str:
        query = self.selection.query
        what = f"by {type(query.shape).__name__.lower()}" if isinstance(query, Drawn) else QUERY_NAMES.get(type(query), "")
        return {"set": "Select", "add": "Add to selection", "remove": "Remove from selection", "intersect": "Intersect selection"}[
            self.how
        ] + f" {what}".rstrip()

    @staticmethod
    def asked(query: AnyQuery, state: State, tools: Tools, how: How = "set") -> Select:
        """The operation that selects what `query` finds now, combined with what is selected."""
        return Select(Selection.kept(query, combined(state.selected, how, chosen(query, state, tools)), state), how)

    def apply(self, state: State, tools: Tools) -> State:
        if self.selection.fits(state):
            return replace(state, selected=self.selection.replayed())
        return replace(state, selected=combined(state.selected, self.how, chosen(self.selection.query, state, tools)))


QUERY_NAMES: Mapping[type, str] = {
    Under: "by click", Flooded: "by flood", Range: "by range", Matching: "by expression", Everything: "all",
    Broken: "broken", Giant: "giant", Needles: "needles", Floaters: "floaters", Duplicates: "duplicates", Faint: "unseen",
    Nothing: "none", Not: "inverted", Grown: "grown", Shrunk: "shrunk", Connected: "by cluster",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class SaveSet:
    """Keep a selection under a name; one that is there is replaced."""

    name: str
    selection: Selection = HERE

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"a saved selection: expected a name of letters, digits and _, for expressions; got {self.name!r}")

    @property
    def label(self) -> str:
        return f"Save selection {self.name}"

    def apply(self, state: State, tools: Tools) -> State:
        return replace(state, sets={**state.sets, self.name: self.selection.on(state, tools)})


@dataclass(frozen=True)
class DropSet:
    """Forget a saved selection."""

    name: str

    @property
    def label(self) -> str:
        return f"Forget selection {self.name}"

    def apply(self, state: State, tools: Tools) -> State:
        return replace(state, sets={name: masks for name, masks in state.sets.items() if name != self.name})


# Deleting, hiding, locking.


def _masks(state: State, selection: Selection, tools: Tools) -> Masks:
    """What the selection holds and an edit may change."""
    return less(selection.on(state, tools), state.untouchable)


@dataclass(frozen=True, eq=False)
class Delete:
    """Delete Gaussians; `why` names a crop or a clean-up."""

    selection: Selection = HERE
    why: str = ""

    @property
    def label(self) -> str:
        return self.why or "Delete"

    def apply(self, state: State, tools: Tools) -> State:
        masks = _masks(state, self.selection, tools)
        return replace(state, deleted=joined(state.deleted, masks), selected=less(state.selected, masks))


@dataclass(frozen=True)
class Restore:
    """Bring back what was deleted of all layers, or of one."""

    layer: str | None = None
    label: ClassVar[str] = "Restore deleted"  # type: ignore[misc]

    def apply(self, state: State, tools: Tools) -> State:
        return replace(state, deleted=_only_others(state.deleted, self.layer))


@dataclass(frozen=True, eq=False)
class Hide:
    """Do not draw Gaussians, and keep them out of reach; or draw them again."""

    selection: Selection = HERE
    hide: bool = True

    @property
    def label(self) -> str:
        return "Hide" if self.hide else "Show"

    def apply(self, state: State, tools: Tools) -> State:
        if not self.hide:
            return replace(state, hidden=less(state.hidden, self.selection.on(state, tools)))
        masks = _masks(state, self.selection, tools)
        return replace(state, hidden=joined(state.hidden, masks), selected=less(state.selected, masks))


@dataclass(frozen=True)
class ShowHidden:
    """Draw again what was hidden of all layers, or of one."""

    layer: str | None = None
    label: ClassVar[str] = "Show hidden"  # type: ignore[misc]

    def apply(self, state: State, tools: Tools) -> State:
        return replace(state, hidden=_only_others(state.hidden, self.layer))


@dataclass(frozen=True, eq=False)
class Lock:
    """Keep Gaussians out of reach; they are drawn."""

    selection: Selection = HERE
    label: ClassVar[str] = "Lock"  # type: ignore[misc]

    def apply(self, state: State, tools: Tools) -> State:
        masks = _masks(state, self.selection, tools)
        return replace(state, locked=joined(state.locked, masks), selected=less(state.selected, masks))


@dataclass(frozen=True)
class Unlock:
    """Put what was locked of all layers, or of one, within reach again."""

    layer: str | None = None
    label: ClassVar[str] = "Unlock"  # type: ignore[misc]

    def apply(self, state: State, tools: Tools) -> State:
        return replace(state, locked=_only_others(state.locked, self.layer))


def _only_others(masks: Masks, layer: str | None) -> Masks:
    return Masks({name: mask for name, mask in masks.items() if layer is not None and name != layer})


# Changing numbers of the same rows.


def _changing(state: State, masks: Masks, what: Callable[[str, Layer, Bools], Mapping[str, Floats]]) -> State:
    """`what(name, layer, which)` gives the arrays that change in the rows `which` of a layer."""
    contents = {}
    for name, which in masks.items():
        layer = state.layer(name)
        arrays = {key: array for key, array in what(name, layer, which).items() if array is not getattr(layer.content, key)}
        if arrays:
            contents[name] = layer.content.changed(which, **arrays)
    return state.with_content(contents)


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
            return transform.moved(layer.content, which, transform.in_layer(self.transform, layer.placement))

        return _changing(state, _masks(state, self.selection, tools), change)


@dataclass(frozen=True, eq=False)
class Grade:
    """Grade the colour and opacity of Gaussians; in a volume, fading out over its falloff."""

    grading: Grading
    selection: Selection = HERE
    volume: Volume | None = None
    label: ClassVar[str] = "Grade"  # type: ignore[misc]

    def apply(self, state: State, tools: Tools) -> State:
        def change(name: str, layer: Layer, which: Bools) -> Mapping[str, Floats]:
            splats, weights = layer.content, which
            if self.volume is not None:
                weights = np.zeros(len(splats), np.float32)
                weights[which] = self.volume.weights(layer.placement.apply(splats.means[which]))
            sh, opacity_logits = graded(splats.sh, splats.opacity_logits, weights, self.grading)
            return {"sh": sh, "opacity_logits": opacity_logits}

        return _changing(state, _masks(state, self.selection, tools), change)


@dataclass(frozen=True, eq=False)
class Paint:
    """Paint colour and opacity on Gaussians."""

    painting: Painting
    selection: Selection = HERE
    label: ClassVar[str] = "Paint"  # type: ignore[misc]

    def apply(self, state: State, tools: Tools) -> State:
        def change(name: str, layer: Layer, which: Bools) -> Mapping[str, Floats]:
            sh, opacity_logits = painted(layer.content.sh, layer.content.opacity_logits, which, self.painting)
            return {"sh": sh, "opacity_logits": opacity_logits}

        return _changing(state, _masks(state, self.selection, tools), change)


@dataclass(frozen=True, eq=False)
class Relight:
    """Multiply the colour of Gaussians by lights on normals that are smoothed over neighbours; switched off, it leaves no trace."""

    lights: tuple[relight.Directional | relight.Point, ...] = ()
    ambient: tuple[float, float, float] = (1.0, 1.0, 1.0)
    smoothing: int = relight.SMOOTHING  # how often normals are averaged with their neighbours
    selection: Selection = ALL
    label: ClassVar[str] = "Relight"  # type: ignore[misc]

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing <= 100:
            raise ValueError(f"smoothing: expected 0 to 100 rounds, got {self.smoothing}")

    def apply(self, state: State, tools: Tools) -> State:
        def change(name: str, layer: Layer, which: Bools) -> Mapping[str, Floats]:
            some = layer.content.take(which)
            sh = layer.content.sh.copy()
            facing = relight.normals(some, self.smoothing, progress=tools.progress)
            sh[which] = relight.lit(some, facing, layer.placement, self.lights, self.ambient)
            return {"sh": sh}

        return _changing(state, _masks(state, self.selection, tools), change)


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
        names = state.scene.layers if self.layer is None else [self.layer]
        return state.with_content({name: state.layer(name).content.with_max_degree(self.degree) for name in names})


@dataclass(frozen=True, eq=False)
class Normalise:
    """Make quaternions unit; the picture does not change."""

    layer: str
    label: ClassVar[str] = "Normalise quaternions"  # type: ignore[misc]

    def apply(self, state: State, tools: Tools) -> State:
        from splatview.inspection import with_unit_quats

        return state.with_content({self.layer: with_unit_quats(state.layer(self.layer).content)})


# Layers.


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
        masks = _masks(state, self.selection, tools)
        if not masks:
            raise ValueError(f"there is nothing to put into {self.name!r}")
        if self.name in state.scene.layers:
            raise ValueError(f"a layer is called {self.name!r} already")
        [place, *_] = [state.layer(name).placement for name in masks]
        parts = []
        for name, mask in masks.items():
            layer = state.layer(name)
            part = layer.content.take(mask)
            parts.append(part if layer.placement == place else part.transformed(place.inverse() @ layer.placement))
        first, *others = (state.rows[name] for name in masks)
        made = first.made_by(f"separate {_text(masks)}", *others)
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
    """Write the state into the Gaussians: what is deleted goes for good, and placements become positions."""

    label: ClassVar[str] = "Bake"  # type: ignore[misc]

    def apply(self, state: State, tools: Tools) -> State:
        for name in list(state.scene.layers):
            state = _remade(state, (name,), name, Similarity(), state.living, "bake")
        return state


def _remade(state: State, names: tuple[str, ...], name: str, place: Similarity, of: Callable[[str], Gaussians], what: str) -> State:
    """One layer at `place` instead of the layers `names`, where the first of them was. Masks follow what is left of their rows."""
    if name in state.scene.layers and name not in names:
        raise ValueError(f"a layer is called {name!r} already")
    kinds = ("selected", "hidden", "locked")
    parts, kept = [], {kind: [] for kind in kinds}
    gone = {one: state.deleted.get(one, np.zeros(len(state.layer(one).content), np.bool_)) for one in names}
    for one in names:
        parts.append(of(one).transformed(place.inverse() @ state.layer(one).placement))
        for kind in kinds:
            kept[kind].append(getattr(state, kind).get(one, np.zeros(len(gone[one]), np.bool_))[~gone[one]])
    content = parts[0] if len(parts) == 1 else concatenate(parts)
    first, *others = (state.rows[one] for one in names)
    rows = first.made_by(f"{what} {_text(gone)}", *others)
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
        masks = _masks(state, self.selection, tools)
        whole = state.count(masks)
        if self.count >= whole:
            raise ValueError(f"count: expected fewer than the {whole:,} that are selected, got {self.count:,}")
        done, taken = 0, 0
        for name, mask in masks.items():
            layer, done = state.layer(name), done + int(np.count_nonzero(mask))
            share, taken = max(1, round(self.count * done / whole) - taken), round(self.count * done / whole)
            living = ~state.deleted.get(name, np.zeros(len(mask), np.bool_))
            less_splats = simplify.simplified(layer.content.take(mask), share, progress=tools.progress)
            rest = layer.content.take(living & ~mask)
            rows = state.rows[name].made_by(f"simplify {share} {_text({name: mask, 'living': living})} {digest_of(layer.content)}")
            kinds = {kind: getattr(state, kind).get(name) for kind in ("hidden", "locked")}
            content = concatenate([rest, less_splats]) if len(rest) else less_splats
            state = state.with_layer(name, replace(layer, content=content, source=None), rows)
            for kind, old in kinds.items():
                if old is not None:
                    kept = np.concatenate([old[living & ~mask], np.zeros(len(less_splats), np.bool_)])
                    state = replace(state, **{kind: trimmed({**getattr(state, kind), name: kept})})
        return state


def _text(masks: Mapping[str, Bools]) -> str:
    """Masks in a form that a digest is made of."""

    return json.dumps({name: hashlib.sha256(np.packbits(mask).tobytes()).hexdigest() for name, mask in masks.items()}, sort_keys=True)


AnyOperation = (
    Select | SaveSet | DropSet | Delete | Restore | Hide | ShowHidden | Lock | Unlock | Move | Grade | Paint | Relight | CapDegree
    | Normalise | ShowLayer | Rename | Place | PlaceAll | RemoveLayer | AddLayers | SwapLevel | Separate | Merge | Bake | Simplify
)  # fmt: skip
