"""Which part of pictures is redrawn and how steadily, on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from splatview.cli.faults import UserError, one_line
from splatview.cli.waiting import waiting
from splatview.edit.state import State
from splatview.frame import Masks
from splatview.scene import Scene
from splatview.stylize import Stylizer
from splatview.stylize.accumulate import Accumulation
from splatview.stylize.masks import Background, DepthRange, Layers, Mask, Masked, Selection
from splatview.stylize.temporal import Steady

if TYPE_CHECKING:
    from splatview.edit.select import Current, Matching, Tools


@dataclass(frozen=True)
class WhereFlags:
    """Where, and how steadily."""

    where: Annotated[tuple[str, ...], arg(metavar="PLACE", help_behavior_hint="")] = ()
    """Of scenes, redraw this and leave the rest as it is; everything if it is not given:
    - background
    - depth NEAR FAR (scene units along the view axis; inf is allowed)
    - layer NAME [NAME ...]
    - selection EXPRESSION: the Gaussians of all layers for which it holds, such as "scale_max > p99 and z < 0.2"
    - selection: what is selected in a document"""
    feather: float = 0.0
    """Soft edge of that, in pixels of a picture 720 lines high."""
    inverted: bool = False
    """Redraw all but that."""
    steady: bool = False
    """Average the style over frames, which takes out flicker.
    Along the surfaces of scenes, where it is always done; elsewhere of what stands still."""
    no_steady: bool = False
    """Not of scenes either."""
    newest: float = Accumulation.floor
    """The least share that the newest picture has of that average, 0.02 to 1."""
    skip_similar: bool = False
    """Do not redraw frames that are like the one before, up to ten in a row: for videos and webcams."""

    def check(self) -> None:
        """UserError for what makes no sense."""
        if not 0.02 <= self.newest <= 1:
            raise UserError(f"--newest: expected 0.02 to 1, got {self.newest:g}")
        if not 0 <= self.feather <= 100:
            raise UserError(f"--feather: expected 0 to 100, got {self.feather:g}")
        if self.steady and self.no_steady:
            raise UserError("--steady and --no-steady: expected one of them")
        if not self.where and (self.inverted or self.feather):
            raise UserError("--feather and --inverted say how --where is meant: expected it, too")
        self._query()

    def place(self, scene: Scene | None) -> Any:
        """What of a scene is redrawn, a Place; None: everything. UserError if it is none, or `scene` is None: this is no scene."""
        if not self.where or self.where == ("everything",):
            return None
        if scene is None:
            raise UserError("--where is for scenes: nobody knows the depth, the background or the layers of other pictures")
        kind, *rest = self.where
        if kind == "background" and not rest:
            return Background()
        if kind == "depth" and len(rest) == 2:
            try:
                near, far = map(float, rest)
            except ValueError:
                raise UserError(f"--where depth: expected two numbers, got {' '.join(rest)}") from None
            if not 0 <= near < far:
                raise UserError(f"--where depth: expected 0 <= NEAR < FAR, got {' '.join(rest)}")
            return DepthRange(near, far)
        if kind == "layer" and rest:
            if unknown := [name for name in rest if name not in scene.layers]:
                raise UserError(f"--where layer: expected one of {', '.join(scene.layers)}; got {', '.join(unknown)}")
            return Layers.named(scene, rest)
        if kind == "selection":
            return Selection()
        raise UserError(f"--where: expected background, depth NEAR FAR, layer NAME, or selection EXPRESSION; got {' '.join(self.where)}")

    def selected(self, state: State, tools: Tools) -> Masks:
        """The Gaussians that --where selects, by layer; says how many. UserError if there is none of them."""
        from splatview.edit.select import Everything, chosen

        if (query := self._query()) is None:
            return Masks()
        with _of_selections(), waiting("selecting"):
            every, found = (chosen(one, state, tools) for one in (Everything(), query))
        if not every:
            raise UserError("--where selection: expected Gaussians, found none; a hash-grid field is redrawn as a whole (layer NAME)")
        told = f"{state.count(found):,} of {state.count(every):,} Gaussians"
        if not found:
            raise UserError(f"--where selection: {told} are selected{'' if self.where[1:] else ': expected an EXPRESSION, too'}")
        print(f"selected: {told}", flush=True)
        return found

    def _query(self) -> Matching | Current | None:
        """What --where selects by; None: by no selection. UserError if it is no expression."""
        from splatview.edit.select import Current, Matching

        if self.where[:1] != ("selection",):
            return None
        with _of_selections():
            return Matching(text) if (text := " ".join(self.where[1:])) else Current()

    def steadies(self, is_scene: bool, count: int | None) -> bool:
        """Whether so many frames of a scene, or of something else, are steadied."""
        return count != 1 and (self.steady or (is_scene and not self.no_steady))

    def applied(self, stylizer: Stylizer, place: Any, steady: bool) -> Stylizer:
        """`stylizer`, steadied, and where it shall be."""
        if steady:
            stylizer = Steady(stylizer, Accumulation(floor=self.newest))
        return stylizer if place is None else Masked((Mask(place, self.feather, self.inverted), stylizer))


@contextmanager
def _of_selections() -> Iterator[None]:
    """What is wrong with an expression is the user's."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"--where selection: {one_line(error).removeprefix('selection: ')}") from error
