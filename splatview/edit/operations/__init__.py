"""Operations: frozen values that own their inputs and make one state out of another. The whole list is `AnyOperation`.

What an operation does to Gaussians follows from the masks of its selection; it never looks at what is selected now, unless its selection
was never asked (a script written by hand) or the Gaussians are others than those it was made for.
"""

from __future__ import annotations

from dataclasses import replace

from splatview.edit.operations.base import ALL, HERE, Operation
from splatview.edit.operations.layers import (
    AddLayers,
    Crop,
    Expose,
    Place,
    PlaceAll,
    RemoveLayer,
    Rename,
    SetBackground,
    ShowLayer,
    SwapLevel,
)
from splatview.edit.operations.numbers import CapDegree, Grade, Move, Normalise, Paint, Relight
from splatview.edit.operations.reach import Delete, Hide, Lock, Restore, ShowHidden, Unlock
from splatview.edit.operations.remaking import Bake, Merge, Separate, Simplify
from splatview.edit.operations.selecting import DropSet, SaveSet, Select
from splatview.edit.select import Selection, Tools
from splatview.edit.state import State

__all__ = [
    "ALL",
    "HERE",
    "AddLayers",
    "AnyOperation",
    "Bake",
    "CapDegree",
    "Crop",
    "Delete",
    "DropSet",
    "Expose",
    "Grade",
    "Hide",
    "Lock",
    "Merge",
    "Move",
    "Normalise",
    "Operation",
    "Paint",
    "Place",
    "PlaceAll",
    "Relight",
    "RemoveLayer",
    "Rename",
    "Restore",
    "SaveSet",
    "Select",
    "Separate",
    "SetBackground",
    "ShowHidden",
    "ShowLayer",
    "Simplify",
    "SwapLevel",
    "Unlock",
    "bound",
]

AnyOperation = (
    Select | SaveSet | DropSet | Delete | Restore | Hide | ShowHidden | Lock | Unlock | Move | Grade | Paint | Relight | CapDegree
    | Normalise | ShowLayer | Rename | Place | PlaceAll | Crop | Expose | SetBackground | RemoveLayer | AddLayers | SwapLevel | Separate
    | Merge | Bake | Simplify
)  # fmt: skip


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
    return replace(operation, selection=asked)
