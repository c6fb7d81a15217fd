"""Which Gaussians an edit is about: queries, which can be asked again of another scene, and the masks that they gave.

A query sees the scene as it is drawn: layers that are shown, without what is hidden, locked or deleted. Cameras are those of the picture
that the person saw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np

from splatview.arrays import Bools
from splatview.camera import Camera
from splatview.edit import attributes, cleanup, expression, neighbours
from splatview.edit.bits import Bits
from splatview.edit.footprints import centres_in, ellipses_in
from splatview.edit.region import Lasso, Polygon, Rectangle, Stroke, colour_within, flood
from splatview.edit.state import State, living_layers, trimmed
from splatview.frame import Masks, Output, Renderer, RenderOptions
from splatview.gaussians import Gaussians
from splatview.inspection import GIANT, INVISIBLE, ProblemKind, problems
from splatview.scene import Layer, Scene
from splatview.volumes import Volume

How = Literal["set", "add", "remove", "intersect"]
Shape = Rectangle | Lasso | Polygon | Stroke


@dataclass(frozen=True)
class Tools:
    """What operations need of the world outside: a renderer, files, and somebody to tell how far they are."""

    renderer: Callable[[], Renderer]
    load: Callable[[str, int | None], Scene]  # a source's path and level of detail
    progress: Callable[[float, str], None] = lambda fraction, text: None  # may raise, to end what takes long
    stop: Callable[[], None] | None = None  # asked while something runs; raises to end it at once, wherever it is


class Query(Protocol):
    """Something that can be asked of a scene."""

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        """Masks [N] by layer; what no selection reaches is taken out afterwards."""
        ...


# Depth, for shapes that are drawn on the picture.


@dataclass(frozen=True)
class Surface:
    """Only what is seen: Gaussians that give at least the share `least` (0..1) to some pixel inside the shape."""

    least: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.least <= 1:
            raise ValueError(f"Surface.least: expected a share over 0 and up to 1, got {self.least}")


@dataclass(frozen=True)
class Through:
    """Everything behind the shape, however deep."""


@dataclass(frozen=True)
class Slab:
    """What lies between two depths, in scene units along the view axis."""

    near: float = 0.0
    far: float = float(np.finfo(np.float32).max)

    def __post_init__(self) -> None:
        if not 0 <= self.near < self.far:
            raise ValueError(f"Slab: expected 0 <= near < far, got near {self.near}, far {self.far}")


Depth = Surface | Through | Slab


@dataclass(frozen=True)
class Look:
    """The settings of the picture that change what is seen."""

    antialiased: bool | None = None  # None: as trained
    near: float = 0.01  # scene units
    splat_scale: float = 1.0

    def options(self, state: State, *outputs: Output) -> RenderOptions:
        return RenderOptions(
            antialiased=self.antialiased,
            near=self.near,
            splat_scale=self.splat_scale,
            hidden=state.undrawn,
            outputs=outputs or ("depth",),
        )


@dataclass(frozen=True)
class Drawn:
    """What lies under a shape that was drawn on a picture."""

    shape: Shape
    camera: Camera
    depth: Depth = Surface()
    footprint: Literal["centre", "ellipse"] = "centre"  # what of a Gaussian has to be inside; a surface is always seen as it is drawn
    look: Look = Look()

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        region = self.shape.mask(self.camera.width, self.camera.height)
        if not region.any():
            return {}
        if isinstance(self.depth, Surface):
            return tools.renderer().contributors(state.scene, self.camera, region, self.depth.least, self.look.options(state))
        near, far = (self.depth.near, self.depth.far) if isinstance(self.depth, Slab) else (0.0, np.inf)
        found = {}
        for name, layer in state.scene.visible_layers.items():
            at = layer.splats, layer.placement, self.camera, region, near, far
            found[name] = centres_in(*at) if self.footprint == "centre" else ellipses_in(*at, self.look.antialiased)
        return found


@dataclass(frozen=True)
class Under:
    """The Gaussian that contributes most to the pixel at the fractions `x`, `y` of a picture."""

    camera: Camera
    x: float
    y: float
    look: Look = Look()

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        found = front(state, tools, self.camera, self.x, self.y, self.look)
        if found is None:
            return {}
        name, index = found
        mask = np.zeros(len(state.scene.layers[name].splats), np.bool_)
        mask[index] = True
        return {name: mask}


def front(state: State, tools: Tools, camera: Camera, x: float, y: float, look: Look = Look()) -> tuple[str, int] | None:
    """Layer and index of the Gaussian that contributes most to the pixel at the fractions `x`, `y`; None where there is none."""
    if not (0 <= x < 1 and 0 <= y < 1):
        return None
    column, row = int(x * camera.width), int(y * camera.height)
    k = camera.K.copy()
    k[:2, 2] -= column, row  # a picture of that pixel alone
    frame = tools.renderer().render(state.scene, Camera(k, camera.camera_from_world, 1, 1), look.options(state, "ids"))
    index, place = int(frame.ids[0, 0]), int(frame.id_layers[0, 0])
    return None if index < 0 else (list(state.scene.layers)[place], index)


@dataclass(frozen=True)
class Flooded:
    """The surface that hangs together with the pixel at `x`, `y`, of about its colour and without a step in depth."""

    camera: Camera
    x: float
    y: float
    colour_tolerance: float = 0.1  # per channel, 0..1
    depth_tolerance: float = 0.02  # share of the depth, from a pixel to the next
    depth: Surface = Surface()
    look: Look = Look()

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        frame = tools.renderer().render(state.scene, self.camera, self.look.options(state, "rgb8", "alpha", "depth"))
        if not (0 <= self.x < 1 and 0 <= self.y < 1):
            return {}
        at = int(self.x * self.camera.width), int(self.y * self.camera.height)
        region = flood(frame.rgb8, frame.depth, frame.alpha, *at, self.colour_tolerance, self.depth_tolerance)
        if not region.any():
            return {}
        return tools.renderer().contributors(state.scene, self.camera, region, self.depth.least, self.look.options(state))


# The rest asks the Gaussians themselves.


def _each(state: State, what: Callable[[str, Layer], Bools]) -> dict[str, Bools]:
    return {name: what(name, layer) for name, layer in state.scene.visible_layers.items()}


@dataclass(frozen=True)
class ColourLike:
    """Every Gaussian whose own colour (DC) is within `tolerance` of `colour` in each channel."""

    colour: tuple[float, float, float]  # sRGB, 0..1
    tolerance: float = 0.2

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        return _each(state, lambda name, layer: colour_within(layer.splats, self.colour, self.tolerance))


@dataclass(frozen=True)
class Inside:
    """Every Gaussian whose middle is in a volume of the world."""

    volume: Volume

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        return _each(state, lambda name, layer: _in_volume(self.volume, layer))


def _in_volume(volume: Volume, layer: Layer) -> Bools:
    """[N] the layer's Gaussians whose middle is in a volume of the world, which is sooner moved to them than they to it."""
    return volume.moved(layer.placement.inverse()).contains(layer.splats.means)


@dataclass(frozen=True)
class Everything:
    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        return _each(state, lambda name, layer: np.ones(len(layer.splats), np.bool_))


@dataclass(frozen=True)
class Nothing:
    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        return {}


@dataclass(frozen=True)
class Current:
    """What is selected when the operation is replayed."""

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        return state.selected


@dataclass(frozen=True)
class Saved:
    """A saved selection."""

    name: str

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        if self.name not in state.sets:
            raise ValueError(f"expected a saved selection called {self.name!r}, found {', '.join(map(repr, state.sets)) or 'none'}")
        return state.sets[self.name]


@dataclass(frozen=True)
class OfLayer:
    """Every Gaussian of a layer."""

    layer: str

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        return {self.layer: np.ones(len(state.layer(self.layer).splats), np.bool_)}


@dataclass(frozen=True)
class Range:
    """Every Gaussian with an attribute within low .. high (the names of `attributes.ATTRIBUTES`; depth and distance need a camera)."""

    attribute: str
    low: float
    high: float
    camera: Camera | None = None

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        def within(name: str, layer: Layer) -> Bools:
            return attributes.in_range(attributes.column(self.attribute, layer.splats, layer.placement, self.camera), self.low, self.high)

        return _each(state, within)


@dataclass(frozen=True)
class Matching:
    """Every Gaussian for which an expression holds; `within(NAME)` knows `volumes` and the saved selections."""

    text: str
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    camera: Camera | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "volumes", MappingProxyType(dict(self.volumes)))
        expression.parse(self.text)

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        parsed = expression.parse(self.text)

        def holds(name: str, layer: Layer) -> Bools:
            def within(what: str) -> Bools:
                if what in self.volumes:
                    return _in_volume(self.volumes[what], layer)
                if what in state.sets:
                    return state.sets[what].get(name, np.zeros(len(layer.splats), np.bool_))
                known = ", ".join([*self.volumes, *state.sets]) or "none"
                raise ValueError(f"within({what}): expected the name of a volume or of a saved selection; there are: {known}")

            return parsed.evaluate(attributes.Columns(layer.splats, layer.placement, self.camera), within)

        return _each(state, holds)


# What clean-up looks for. Lengths are in scene units; None: what follows from the scene.


@dataclass(frozen=True)
class Broken:
    """Gaussians with a NaN, an infinite number or a zero quaternion."""

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        return _each(state, lambda name, layer: cleanup.broken(layer.splats))


@dataclass(frozen=True)
class Giant:
    """Gaussians larger than `share` of the scene's diagonal."""

    share: float = GIANT

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        return _each(state, lambda name, layer: cleanup.giant(layer.splats, self.share))


@dataclass(frozen=True)
class Needles:
    """Gaussians more than `ratio` times longer than along their middle axis."""

    ratio: float = cleanup.NEEDLE

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        return _each(state, lambda name, layer: cleanup.needles(layer.splats, self.ratio))


@dataclass(frozen=True)
class Floaters:
    """Gaussians with fewer than `neighbours` others within `radius`."""

    radius: float | None = None
    neighbours: int = cleanup.FEW

    def __post_init__(self) -> None:
        if not 1 <= self.neighbours <= 10_000:
            raise ValueError(f"Floaters.neighbours: expected 1 to 10,000, got {self.neighbours}")

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        def lonely(splats: Gaussians, which: Bools, radius: float | None) -> Bools:
            return cleanup.floaters(splats, radius, self.neighbours)

        return _spread(Everything(), self.radius, lonely, state, tools)


@dataclass(frozen=True)
class Duplicates:
    """Gaussians that are as good as another one that stays."""

    place: float = cleanup.SAME_PLACE  # in standard deviations
    size: float = cleanup.SAME_SIZE  # a share
    colour: float = cleanup.SAME_COLOUR  # 0..1

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        def alike(splats: Gaussians, which: Bools, distance: float | None) -> Bools:
            return cleanup.duplicates(splats, self.place, self.size, self.colour)

        return _spread(Everything(), None, alike, state, tools)


@dataclass(frozen=True)
class Faint:
    """Gaussians that give no pixel of any of `cameras` the share `least` or more."""

    cameras: tuple[Camera, ...]
    least: float = INVISIBLE
    look: Look = Look()

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ValueError("low contribution: expected at least one camera, got none")

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        seen = {name: np.zeros(len(layer.splats), np.bool_) for name, layer in state.scene.visible_layers.items()}
        for number, camera in enumerate(self.cameras):
            tools.progress(number / len(self.cameras), f"camera {number + 1} of {len(self.cameras)}")
            region = np.ones((camera.height, camera.width), np.bool_)
            found = tools.renderer().contributors(state.scene, camera, region, self.least, self.look.options(state))
            for name, mask in found.items():
                seen[name] |= mask
        return {name: ~mask for name, mask in seen.items()}


@dataclass(frozen=True)
class Problem:
    """What `splatview info` finds wrong: broken, giant, stray, invisible."""

    kind: ProblemKind

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        def wrong(name: str, layer: Layer) -> Bools:
            none = np.zeros(len(layer.splats), np.bool_)
            return np.logical_or.reduce([none, *(mask for one, mask in problems(layer.splats, layer.placement) if one.kind == self.kind)])

        return _each(state, wrong)


@dataclass(frozen=True)
class Painted:
    """A mask that came from nowhere: it fits the Gaussians that it was made for and no others."""

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        raise ValueError("a bare mask fits only the scene that it was made for, and this is another: make the selection again")


@dataclass(frozen=True)
class Not:
    """Everything that `query` does not find."""

    query: AnyQuery

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        found = self.query.find(state, tools)
        return _each(state, lambda name, layer: ~found[name] if name in found else np.ones(len(layer.splats), np.bool_))


@dataclass(frozen=True)
class Step:
    """One query of several, and how it joins those before it."""

    how: How
    query: AnyQuery


@dataclass(frozen=True)
class Combined:
    """Several queries, each joined to what those before it found."""

    steps: tuple[Step, ...]

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        found = Masks()
        for step in self.steps:
            found = combined(found, step.how, chosen(step.query, state, tools))
        return found


@dataclass(frozen=True)
class Grown:
    """What `query` finds, and what lies within `distance` (scene units) of it; None: about the distance of neighbours."""

    query: AnyQuery
    distance: float | None = None

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        return _spread(self.query, self.distance, _grow, state, tools)


@dataclass(frozen=True)
class Shrunk:
    """What `query` finds, without what lies within `distance` (scene units) of something else; None: about the distance of neighbours."""

    query: AnyQuery
    distance: float | None = None

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        return _spread(self.query, self.distance, _shrink, state, tools)


@dataclass(frozen=True)
class Connected:
    """The clusters that hold something of what `query` finds: Gaussians nearer to each other than `gap` (scene units) hang together."""

    query: AnyQuery
    gap: float | None = None

    def find(self, state: State, tools: Tools) -> Mapping[str, Bools]:
        return _spread(self.query, self.gap, _cluster, state, tools)


def _spread(query: AnyQuery, distance: float | None, how: Callable[..., Bools], state: State, tools: Tools) -> dict[str, Bools]:
    """`how` over the living Gaussians of each layer; distances are brought from the world into the layer."""
    found, result = chosen(query, state, tools), {}
    for name, layer, reach in living_layers(state):
        if name in found:
            mask = np.zeros(len(reach), np.bool_)
            own = None if distance is None else distance / layer.placement.scale
            living = layer.splats if reach.all() else layer.splats.take(reach)
            mask[reach] = how(living, found[name][reach], own)
            result[name] = mask
    return result


def _grow(splats: Gaussians, which: Bools, distance: float | None) -> Bools:
    return neighbours.grow(splats, which, neighbours.default_distance(splats) if distance is None else distance)


def _shrink(splats: Gaussians, which: Bools, distance: float | None) -> Bools:
    return neighbours.shrink(splats, which, neighbours.default_distance(splats) if distance is None else distance)


def _cluster(splats: Gaussians, seeds: Bools, gap: float | None) -> Bools:
    return neighbours.cluster(splats, seeds, neighbours.default_gap(splats) if gap is None else gap)


AnyQuery = (
    Drawn | Under | Flooded | ColourLike | Inside | Everything | Nothing | Current | Saved | OfLayer | Range | Matching
    | Broken | Giant | Needles | Floaters | Duplicates | Faint | Problem | Painted | Not | Combined | Grown | Shrunk | Connected
)  # fmt: skip


def chosen(query: AnyQuery, state: State, tools: Tools) -> Masks:
    """What `query` finds among what a selection may reach."""
    found = query.find(state, tools)
    return trimmed({name: found[name] & reach for name, _, reach in living_layers(state) if name in found})


def combined(first: Mapping[str, Bools], how: How, second: Mapping[str, Bools]) -> Masks:
    """The algebra of masks by layer; one that is missing holds nothing."""
    if how == "set":
        return trimmed(second)
    if how == "add":
        both = {name: first[name] | second[name] for name in first if name in second}
        return trimmed({**first, **second, **both})
    if how == "intersect":
        return trimmed({name: first[name] & second[name] for name in first if name in second})
    return trimmed({name: mask & ~second[name] if name in second else mask for name, mask in first.items()})


@dataclass(frozen=True, eq=False)
class Selection:
    """A query, and the masks that it gave for the rows `rows` of some layers; without them it is asked when it is needed."""

    query: AnyQuery
    masks: Mapping[str, Bits] = field(default_factory=dict)  # by layer
    rows: Mapping[str, str] | None = None  # digests, by layer, of all that were there when the query was asked; None: it was not

    def __post_init__(self) -> None:
        object.__setattr__(self, "masks", MappingProxyType(dict(self.masks)))
        if self.rows is not None:
            object.__setattr__(self, "rows", MappingProxyType(dict(self.rows)))

    @staticmethod
    def of(state: State) -> Selection:
        """What is selected now."""
        return Selection.kept(Current(), state.selected, state)

    @staticmethod
    def kept(query: AnyQuery, masks: Masks, state: State) -> Selection:
        """A query with the masks that it gave on `state`."""
        asked = {name: state.rows[name].digest for name in {**state.scene.visible_layers, **masks}}
        return Selection(query, {name: Bits.of(mask) for name, mask in masks.items()}, asked)

    @staticmethod
    def asked(query: AnyQuery, state: State, tools: Tools) -> Selection:
        """What `query` finds now."""
        return Selection.kept(query, chosen(query, state, tools), state)

    @staticmethod
    def painted(masks: Mapping[str, Bools], state: State) -> Selection:
        """Bare masks [N] by layer."""
        for name, mask in masks.items():
            if np.shape(mask) != (len(state.layer(name).splats),):
                raise ValueError(f"mask of {name!r}: expected one entry for each of its {len(state.layer(name).splats)} Gaussians")
        return Selection.kept(Painted(), trimmed({name: np.asarray(mask, np.bool_) for name, mask in masks.items()}), state)

    def fits(self, state: State) -> bool:
        """Whether the masks were made for these rows."""
        rows = self.rows
        if rows is None or not all(name in state.rows and state.rows[name].digest == one for name, one in rows.items()):
            return False
        return all(name in rows and bits.count == len(state.scene.layers[name].splats) for name, bits in self.masks.items())

    def on(self, state: State, tools: Tools) -> Masks:
        """The masks: replayed bit for bit on the rows that they were made for, asked again on others."""
        return self.replayed() if self.fits(state) else chosen(self.query, state, tools)

    def replayed(self) -> Masks:
        return Masks({name: bits.mask for name, bits in self.masks.items()})
