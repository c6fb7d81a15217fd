"""Operations that delete, hide and lock: the Gaussians stay as they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from splatview.edit.operations.base import HERE, changeable
from splatview.edit.select import (
    Selection,
    Tools,
)
from splatview.edit.state import State, joined, less
from splatview.frame import Masks


@dataclass(frozen=True, eq=False)
class Delete:
    """Delete Gaussians; `why` names a crop or a clean-up."""

    selection: Selection = HERE
    why: str = ""

    @property
    def label(self) -> str:
        return self.why or "Delete"

    def apply(self, state: State, tools: Tools) -> State:
        masks = changeable(state, self.selection, tools)
        return replace(state, deleted=joined(state.deleted, masks), selected=less(state.selected, masks))


@dataclass(frozen=True)
class Restore:
    """Bring back what was deleted of all layers, or of one."""

    layer: str | None = None
    label: ClassVar[str] = "Restore deleted"

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
        masks = changeable(state, self.selection, tools)
        return replace(state, hidden=joined(state.hidden, masks), selected=less(state.selected, masks))


@dataclass(frozen=True)
class ShowHidden:
    """Draw again what was hidden of all layers, or of one."""

    layer: str | None = None
    label: ClassVar[str] = "Show hidden"

    def apply(self, state: State, tools: Tools) -> State:
        return replace(state, hidden=_only_others(state.hidden, self.layer))


@dataclass(frozen=True, eq=False)
class Lock:
    """Keep Gaussians out of reach; they are drawn."""

    selection: Selection = HERE
    label: ClassVar[str] = "Lock"

    def apply(self, state: State, tools: Tools) -> State:
        masks = changeable(state, self.selection, tools)
        return replace(state, locked=joined(state.locked, masks), selected=less(state.selected, masks))


@dataclass(frozen=True)
class Unlock:
    """Put what was locked of all layers, or of one, within reach again."""

    layer: str | None = None
    label: ClassVar[str] = "Unlock"

    def apply(self, state: State, tools: Tools) -> State:
        return replace(state, locked=_only_others(state.locked, self.layer))


def _only_others(masks: Masks, layer: str | None) -> Masks:
    return Masks({name: mask for name, mask in masks.items() if layer is not None and name != layer})
