"""What is wrong with the layers, and what can be done about it with one click."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from splatview.arrays import Bools
from splatview.edit.operations import AnyOperation, Delete, Hide, Normalise
from splatview.edit.select import Combined, OfLayer, Problem, Selection, Step
from splatview.edit.state import State
from splatview.frame import Masks
from splatview.gaussians import Gaussians
from splatview.inspection import ProblemKind, odd_quats, problems
from splatview.scene import Layer
from splatview.viewer.editor import Editor
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import lines, press
from splatview.viewer.studio import Studio

log = logging.getLogger(__name__)

ADVICE = "Looks for broken, giant, stray and invisible splats. Everything that is done here can be undone."


@dataclass(frozen=True, eq=False)
class Finding:
    """Some Gaussians of a layer's content that something can be done about."""

    content: Gaussians
    which: Bools  # [N]
    kind: ProblemKind
    what: str  # they are
    cure: str  # "hide", "remove", "normalise"; "": none

    def treatment(self, state: State, name: str, hide: bool = True) -> AnyOperation:
        """What cures the layer `name` of `state`, which has the content."""
        if self.cure == "normalise":
            return Normalise(name)
        query = Combined((Step("set", Problem(self.kind)), Step("intersect", OfLayer(name))))
        selection = Selection.kept(query, Masks({name: self.which}), state)
        return Delete(selection, f"Remove {self.kind}") if self.cure == "remove" else Hide(selection, hide)


def findings(layer: Layer, gone: Bools | None = None) -> list[Finding]:
    """What is wrong with a layer, one for each cure and kind, but for the Gaussians that are `gone` [N]."""
    found: dict[str, Finding] = {}
    broken = np.zeros(len(layer.splats), bool)
    for problem, mask in problems(layer.splats, layer.placement):
        mask = mask if gone is None else mask & ~gone
        if not mask.any() and problem.kind != "empty":
            continue
        if problem.kind == "broken":
            broken = broken | mask
        elif problem.kind == "empty":
            found["empty"] = Finding(layer.splats, mask, problem.kind, problem.what, "")
        elif problem.kind != "unturned":  # those are normalised
            found[problem.kind] = Finding(layer.splats, mask, problem.kind, problem.what, "hide")
    if broken.any():
        found["broken"] = Finding(layer.splats, broken, "broken", "broken: a number is NaN or infinite", "remove")
    odd = odd_quats(layer.splats)
    if odd.any():
        found["odd"] = Finding(layer.splats, odd, "unturned", "quaternions not of length 1 (harmless)", "normalise")
    return list(found.values())


class Doctor:
    """The folder "Scene doctor"."""

    def __init__(self, page: Page, studio: Studio, editor: Editor) -> None:
        self._page, self._studio, self._world, self._editor = page, studio, studio.world, editor
        self._rows: list[tuple[Finding, Any]] = []
        self._titles: list[Any] = []
        self._busy = False
        gui = page.gui
        with gui.add_folder("Scene doctor", expand_by_default=False):
            self._said = gui.add_html(lines([ADVICE]))
            examine = gui.add_button("Examine")
            self._list = gui.add_folder(None)
        press(examine, self.examine)

    def examine(self) -> None:
        """Look through all layers, on a thread of ours, and list what was found."""
        self._do(lambda: None, f"Looking through {self._world.scene.count:,} splats ...")

    def world_changed(self) -> None:
        """Hide rows of Gaussians that are no longer there; let the others say what they would do now."""
        for finding, button in list(self._rows):
            name = self._name_of(finding.content)
            if button.visible != (name is not None):
                button.visible = name is not None
            if name is not None and finding.cure == "hide":
                label = self._label(finding, name)
                if button.label != label:
                    button.label = label

    def _do(self, work: Callable[[], object], said: str) -> None:
        """Do `work` on the thread, then examine again."""
        if self._busy:
            return
        self._busy = True
        self._said.content = lines([said])

        def run() -> None:
            try:
                work()
                state = self._world.edited
                found = {name: findings(layer, state.deleted.get(name)) for name, layer in state.scene.splat_layers.items()}
                if self._page.open:
                    self._show(found)
            except Exception as error:
                log.exception("could not examine the scene")
                if self._page.open:
                    self._said.content = lines([f"This failed: {type(error).__name__} {error}"])
            finally:
                self._busy = False

        self._studio.examining.call(run)

    def _show(self, found: dict[str, list[Finding]]) -> None:
        for widget in [*self._titles, *(button for _, button in self._rows)]:
            widget.remove()
        self._titles, self._rows = [], []
        count = sum(map(len, found.values()))
        self._said.content = lines([f"{count} findings" if count != 1 else "1 finding"] if count else ["Nothing is wrong."])
        with self._list:
            for name, some in found.items():
                if some and len(found) > 1:
                    self._titles.append(self._page.gui.add_html(lines([name])))
                for finding in some:
                    if finding.cure:
                        button = self._page.gui.add_button(self._label(finding, name), color="gray", hint=f"{name}: {finding.what}")
                        press(button, lambda finding=finding: self._cure(finding))
                        self._rows.append((finding, button))
                    else:
                        self._titles.append(self._page.gui.add_html(lines([finding.what])))

    def _label(self, finding: Finding, name: str) -> str:
        kind, count = finding.what.partition(":")[0], f"{np.count_nonzero(finding.which):,}"
        if finding.cure == "hide":
            return f"{'Show' if self._hidden(finding, name) else 'Hide'} {count} {kind}"
        return f"Remove {count} {kind}" if finding.cure == "remove" else f"Normalise {count} quaternions"

    def _hidden(self, finding: Finding, name: str) -> bool:
        mask = self._world.edited.hidden.get(name)
        return mask is not None and len(mask) == len(finding.which) and bool(mask[finding.which].all())

    def _name_of(self, content: Gaussians) -> str | None:
        """The layer that has this content now, if any."""
        return next((name for name, layer in self._world.scene.layers.items() if layer.content is content), None)

    def _cure(self, finding: Finding) -> None:
        def treat(state: State) -> AnyOperation | None:
            name = next((name for name, layer in state.scene.layers.items() if layer.content is finding.content), None)
            return None if name is None else finding.treatment(state, name, hide)

        name = self._name_of(finding.content)
        hide = name is None or not self._hidden(finding, name)
        done = self._editor.edit(treat)
        if finding.cure != "hide":
            self._do(done.result, "Working ...")
