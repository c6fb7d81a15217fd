"""Widgets for what people may turn: made from the fields of a frozen dataclass."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from splatview.stylize.controls import sliders
from splatview.viewer.panels.widgets import hear, show_if

MOST = 2**31 - 1  # of whole numbers without ends: a browser counts on exactly that far, and farther than anybody wants


class Controls:
    """A slider for each number with ends, a field for other whole numbers, a checkbox for each yes or no, a list for each choice.

    `changed` is told the new value. `wanted` says of which fields, by name.
    """

    def __init__(self, gui: Any, folder: Any, changed: Callable[[Any], object], wanted: Callable[[str], bool] = lambda name: True) -> None:
        self._gui, self._folder, self._changed, self._wanted = gui, folder, changed, wanted
        self._handles: dict[str, Any] = {}
        self._value: Any = None

    def show(self, value: Any, idle: Collection[str] = ()) -> None:
        """Take a value. Widgets of another kind of value go; those of `idle` fields, which change nothing now, are not seen."""
        if type(value) is not type(self._value):
            for handle in self._handles.values():
                handle.remove()
            with self._folder:
                self._handles = dict(self._made(value))
        self._value = value
        for name, handle in self._handles.items():
            show_if(name not in idle, handle)
            if handle.value != getattr(value, name):
                handle.value = getattr(value, name)

    def _made(self, value: Any):
        """The widgets of a value, by field."""
        ends, kinds = sliders(value), get_type_hints(type(value))
        for one in fields(value):
            if not self._wanted(one.name):
                continue
            label = one.metadata.get("label") or one.name.replace("_", " ").capitalize()
            now, hint = getattr(value, one.name), one.metadata.get("help")
            if one.name in ends:
                end = ends[one.name]
                handle: Any = self._gui.add_slider(label, end.least, end.most, end.step, initial_value=now, hint=end.what)
            elif isinstance(now, bool):
                handle = self._gui.add_checkbox(label, initial_value=now, hint=hint)
            elif isinstance(now, int):
                handle = self._gui.add_number(label, now, min=0, max=MOST, step=1, hint=hint)
            elif get_origin(kinds[one.name]) is Literal:
                handle = self._gui.add_dropdown(label, get_args(kinds[one.name]), initial_value=now, hint=hint)
            else:
                continue
            hear(handle, lambda given, name=one.name: self._turned(name, given))
            yield one.name, handle

    def _turned(self, name: str, given: Any) -> None:
        kind = get_type_hints(type(self._value))[name]
        try:
            self._value = replace(self._value, **{name: kind(given) if kind in (int, float) else given})
        except (ValueError, TypeError, OverflowError):  # half a number that is being typed, or what no widget of ours says
            return
        self._changed(self._value)
