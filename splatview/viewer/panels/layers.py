"""The scene's layers: which are shown, how they are called, where they stand, and which others join them."""

from __future__ import annotations

import threading
from typing import Any

from splatview.edit.operations import AnyOperation, RemoveLayer, Rename, ShowLayer
from splatview.edit.state import State
from splatview.gaussians import Gaussians
from splatview.scene import Layer, Scene
from splatview.viewer.editor import Editor
from splatview.viewer.facts import facts_of, size_of
from splatview.viewer.page import Page
from splatview.viewer.panels.crop import FieldView
from splatview.viewer.panels.keys import on_key
from splatview.viewer.panels.placement import Placement
from splatview.viewer.panels.widgets import Typed, hear, lines, pick, press
from splatview.viewer.paths import below
from splatview.viewer.session import Session
from splatview.viewer.studio import Studio

NONE = "no layer"


class Layers:
    """The folder "Layers"."""

    def __init__(self, page: Page, session: Session, studio: Studio, editor: Editor) -> None:
        self._page, self._studio, self._world, self._editor = page, studio, studio.world, editor
        self._do = editor.edit
        self._rows: dict[str, Any] = {}
        self._last: Layer | None = None  # the chosen one, as it was shown
        self._lock = threading.RLock()  # the scene is changed by any thread
        gui = page.gui
        with gui.add_folder("Layers"):
            self._list = gui.add_folder(None)
            history = gui.add_button_group("History", ("Undo", "Redo"), hint="Keys Ctrl+Z, Ctrl+Shift+Z")
            with gui.add_folder("Change a layer", expand_by_default=False):
                self._choice: Any = gui.add_dropdown("Layer", (NONE,), initial_value=NONE)
                self._name = gui.add_text("Name", "")
                self._facts = gui.add_html("")
                self._level: Any = gui.add_dropdown("Detail", ("",), visible=False, hint="Which of the file's levels of detail is shown")
                self.placement = Placement(page, session, studio, editor, self.chosen)
                self.field = FieldView(page, session, studio, editor, self.chosen)
                remove = gui.add_button("Remove", color="gray", hint="It comes back with Undo")
            with gui.add_folder("Add a layer", expand_by_default=False):
                self._path = gui.add_text("File", "", visible=studio.root is not None, hint=f"Below {studio.root}")
                add = gui.add_button("Open", visible=studio.root is not None)
                send = gui.add_button("Send a file", visible=studio.uploads, hint="Or drop files on the picture")
                if studio.root is None and not studio.uploads:
                    gui.add_html(lines(["This viewer takes no files: start it with --root FOLDER."]))
        self._typed = Typed(self._name, self.chosen, self._rename)
        pick(history, lambda which: self._editor.undo() if which == "Undo" else self._editor.redo())
        hear(self._choice, lambda _: self.show())
        hear(self._level, self._swap)
        press(remove, self._remove)
        press(add, self._open)
        press(send, page.choose_file)
        on_key(gui, "undo", self._editor.undo)
        on_key(gui, "redo", self._editor.redo)
        self.show()

    def chosen(self) -> str | None:
        """The name of the layer that is being changed."""
        return None if self._choice.value == NONE else self._choice.value

    def show(self) -> None:
        """Show the layers as they are now. What did not change is left alone, so that nobody's typing or dragging is disturbed."""
        with self._lock:
            layers = self._layers
            self._show_rows()
            chosen = self._choice.value
            if chosen not in layers and self._last is not None:  # renamed: it goes by its content
                chosen = next((name for name, layer in layers.items() if layer.content is self._last.content), chosen)
            names = tuple(layers) or (NONE,)
            chosen = chosen if chosen in names else names[0]
            if self._choice.options != names:
                self._choice.options = names
            self._choice.value = chosen
            layer = layers.get(chosen)
            if layer is not self._last or self._name.value != chosen:
                self._show_facts(chosen, layer)
            self._show_levels(layer)
            self.placement.show()
            self.field.show()
            self._last = layer

    @property
    def _layers(self) -> dict[str, Layer]:
        """Those of the document as they are seen: a preview may have others, which come and go with it."""
        known = self._world.edited.scene.layers
        return {name: layer for name, layer in self._world.scene.layers.items() if name in known}

    def _show_rows(self) -> None:
        layers = self._layers
        gone = [name for name in self._rows if name not in layers]
        new = [name for name in layers if name not in self._rows]
        while gone and new:  # the same widgets, with other names
            self._rows[new.pop(0)] = self._rows.pop(gone.pop(0))
        for name in gone:
            self._rows.pop(name).remove()
        for name in new:
            with self._list:
                self._rows[name] = row = self._page.gui.add_checkbox(name, initial_value=layers[name].visible)
            hear(row, lambda on, row=row: self._show_layer(row.label, on))
        for place, (name, layer) in enumerate(layers.items()):
            row, hint = self._rows[name], size_of(layer.content)
            for what, value in (("label", name), ("hint", hint), ("order", float(place)), ("value", layer.visible)):
                if getattr(row, what) != value:
                    setattr(row, what, value)

    def _show_facts(self, name: str, layer: Layer | None) -> None:
        if not self._typed.under_way:
            self._name.value = "" if layer is None else name
        if layer is None:
            self._facts.content = lines(["There is no layer: add one below."])
        elif self._last is None or layer.content is not self._last.content or layer.notes != self._last.notes:
            self._facts.content = lines([facts_of(layer.content), *(f"Note: {note}" for note in layer.notes)])

    def _show_levels(self, layer: Layer | None) -> None:
        counts = self._studio.loading.levels(layer.source) if layer is not None else ()
        count = len(layer.content) if layer is not None and isinstance(layer.content, Gaussians) else 0
        options = tuple(f"{level}: {size:,} splats" for level, size in enumerate(counts))
        if count not in counts:  # an edited one is none of them
            options = ()
        if options:
            if self._level.options != options:
                self._level.options = options
            self._level.value = options[counts.index(count)]
        if self._level.visible != bool(options):
            self._level.visible = bool(options)

    def _show_layer(self, name: str, on: bool) -> None:
        def show(state: State) -> AnyOperation | None:
            layer = state.scene.layers.get(name)
            return None if layer is None or layer.visible == on else ShowLayer(name, on)

        self._do(show)

    def _rename(self, old: str | None, new: str) -> None:
        def rename(state: State) -> AnyOperation | None:
            others = {name: layer for name, layer in state.scene.layers.items() if name != old}
            free = Scene.free_name(new.strip(), others)
            return None if old is None or old not in state.scene.layers or not new.strip() or free == old else Rename(old, free)

        if old is not None:
            self._do(rename)
        self.show()  # a name that cannot be had is put back

    def _swap(self, option: str) -> None:
        name, level = self.chosen(), option.partition(":")[0]
        if name is not None and level.isdecimal():
            self._studio.loading.swap(name, int(level), self._page.notice(f"Reading {name}"), self._editor.author)

    def _remove(self) -> None:
        name = self.chosen()
        if name is not None:
            self._do(lambda state: RemoveLayer(name) if name in state.scene.layers else None)

    def _open(self) -> None:
        try:
            path = below(self._studio.root, self._path.value)
        except ValueError as error:
            self._page.notify("Not opened", str(error))
            return
        self._studio.loading.add(path, self._page.notice(f"Reading {path.name}"), author=self._editor.author)
