"""Operations that change what is selected, and what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from splatview.edit.operations.base import HERE
from splatview.edit.select import (
    AnyQuery,
    Broken,
    Connected,
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
    chosen,
    combined,
)
from splatview.edit.state import State


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
