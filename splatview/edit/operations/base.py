"""What operations are, and what they share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from splatview.arrays import Bools, Floats
from splatview.edit.select import (
    Current,
    Everything,
    Selection,
    Tools,
)
from splatview.edit.state import State, less
from splatview.frame import Masks
from splatview.scene import Layer

HERE = Selection(Current())  # what is selected when the operation is applied
ALL = Selection(Everything())


class Operation(Protocol):
    """Makes one state out of another. ValueError, with one clear line, if it cannot: then nothing has changed."""

    @property
    def label(self) -> str:
        """What people call it."""
        ...

    def apply(self, state: State, tools: Tools) -> State: ...


def changeable(state: State, selection: Selection, tools: Tools) -> Masks:
    """What the selection holds and an edit may change."""
    return less(selection.on(state, tools), state.untouchable)


def changing(state: State, masks: Masks, what: Callable[[str, Layer, Bools], Mapping[str, Floats]]) -> State:
    """`what(name, layer, which)` gives the arrays that change in the rows `which` of a layer."""
    contents = {}
    for name, which in masks.items():
        layer = state.layer(name)
        arrays = {key: array for key, array in what(name, layer, which).items() if array is not getattr(layer.content, key)}
        if arrays:
            contents[name] = layer.splats.changed(which, **arrays)
    return state.with_content(contents)


def text_of(masks: Mapping[str, Bools]) -> str:
    """Masks in a form that a digest is made of."""

    return json.dumps({name: hashlib.sha256(np.packbits(mask).tobytes()).hexdigest() for name, mask in masks.items()}, sort_keys=True)
