"""The panel beside the picture: widgets whose callbacks are one line, calling the session."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from splatview.outputs.images import Colormap
from splatview.stream.stats import Snapshot
from splatview.viewer.page import Page
from splatview.viewer.picture import Picture
from splatview.viewer.session import Session
from splatview.viewer.view import Shown, View

if TYPE_CHECKING:
    from splatview.viewer.app import Viewer

ANTIALIASED = {"as trained": None, "on": True, "off": False}
KEYS = {
    "home": "H",
    "focus on a point": "F, then click",
    "orbit or fly": "V",
    "colour, depth, alpha": "1 2 3",
    "grid, axes": "G, X",
    "screenshot": "P",
    "move": "W A S D Q E",
    "turn": "arrows, drag",
}


def tell(handle: Any, what: Callable[[Any], object]) -> None:
    """Call `what` with the widget's new value, in order with everything else that the page says."""

    async def changed(event: Any) -> None:
        what(event.target.value)

    handle.on_update(changed)


def press(handle: Any, what: Callable[[], object]) -> None:
    """Call `what` when the button is pressed, or the command is triggered."""

    async def pressed(_: Any) -> None:
        what()

    (handle.on_trigger if hasattr(handle, "on_trigger") else handle.on_click)(pressed)


def table(rows: Mapping[str, str]) -> str:
    """HTML with a row for each entry; the texts are ours, never a file's or a person's."""
    cells = "".join(f"<tr><td style='opacity:.6'>{name}</td><td style='text-align:right'>{value}</td></tr>" for name, value in rows.items())
    return f"<table style='width:100%;font-size:.8em;padding:0 .8em'>{cells}</table>"


class Panel:
    """One person's widgets."""

    def __init__(self, page: Page, session: Session, viewer: Viewer) -> None:
        self.page, self._session, self._viewer = page, session, viewer
        self._gui = page.gui
        self._layers: list[Any] = []
        self._look()
        self._move()
        self._layer_folder = self._gui.add_folder("Layers")
        self.show_layers()
        self._drawing()
        self._screenshot()
        with self._gui.add_folder("Statistics"):
            self._figures = self._gui.add_html("")
        self._commands()
        session.report = self.show_figures

    def _look(self) -> None:
        gui, session, view = self._gui, self._session, View()
        degree = max((layer.content.sh_degree for layer in self._viewer.scene.layers.values()), default=0)
        with gui.add_folder("View"):
            self._shown = gui.add_dropdown("Show", get_args(Shown), initial_value=view.shown)
            self._colormap = gui.add_dropdown("Depth colours", get_args(Colormap), initial_value=view.colormap, visible=False)
            fov = gui.add_slider(
                "Field of view", 10, 120, 1, initial_value=round(math.degrees(self.page.pose.fov_y)), hint="degrees, vertical"
            )
            harmonics = gui.add_slider("SH degree", 0, max(degree, 1), 1, initial_value=degree, disabled=degree == 0)
            scale = gui.add_slider("Splat scale", 0.05, 2.0, 0.05, initial_value=view.splat_scale)
            smooth = gui.add_dropdown("Antialiasing", tuple(ANTIALIASED), initial_value="as trained")
            background = gui.add_rgb("Background", initial_value=(0, 0, 0))
        tell(self._shown, self._show)
        tell(self._colormap, lambda name: session.change(colormap=name))
        tell(fov, lambda degrees: session.set_fov(math.radians(degrees)))
        tell(harmonics, lambda value: session.change(sh_degree=None if value >= degree else int(value)))
        tell(scale, lambda value: session.change(splat_scale=float(value)))
        tell(smooth, lambda name: session.change(antialiased=ANTIALIASED[name]))
        tell(background, lambda rgb: session.change(background=tuple(channel / 255 for channel in rgb)))

    def _move(self) -> None:
        gui, session = self._gui, self._session
        with gui.add_folder("Move", expand_by_default=False):
            self._mode = gui.add_dropdown("Drag to", ("orbit", "fly"))
            home = gui.add_button("Home", hint="Key H")
            focus = gui.add_button("Focus on a point", hint="Key F, then click on the scene")
            self._grid = gui.add_checkbox("Grid", initial_value=False)
            self._axes = gui.add_checkbox("Axes", initial_value=False)
            gui.add_html(table(KEYS))
        self._add_helpers()
        tell(self._mode, lambda mode: session.set_flying(mode == "fly"))
        press(home, session.home)
        press(focus, session.pick_focus)

    def _add_helpers(self) -> None:
        """The world's axes, and a grid in its ground plane."""
        placing, scene = self._viewer.placing, self.page.scene
        axes = scene.add_frame("/axes", axes_length=1.0, axes_radius=0.015, wxyz=placing.quat, position=placing.translation, visible=False)
        grid = scene.add_grid(
            "/grid", width=12.0, height=12.0, cell_size=0.5, section_size=3.0, position=placing.translation, visible=False
        )
        tell(self._grid, lambda on: setattr(grid, "visible", on))
        tell(self._axes, lambda on: setattr(axes, "visible", on))

    def _drawing(self) -> None:
        gui, session = self._gui, self._session
        with gui.add_folder("Drawing", expand_by_default=False):
            size = gui.add_slider("Render size", 0.25, 2.0, 0.05, initial_value=1.0, hint="Of the window, at rest")
            budget = gui.add_slider(
                "Budget (ms)", 5, 200, 1, initial_value=round(session.budget_ms), hint="Time for a frame while the camera moves"
            )
            quality = gui.add_slider(
                "JPEG quality", 40, 95, 1, initial_value=session.quality, hint="While the camera moves; at rest it is nearly lossless"
            )
        tell(size, lambda value: session.change(render_size=float(value)))
        tell(budget, lambda value: session.set_budget(float(value)))
        tell(quality, lambda value: session.set_quality(int(value)))

    def _screenshot(self) -> None:
        gui = self._gui
        with gui.add_folder("Screenshot", expand_by_default=False):
            self._size = gui.add_vector2("Size", initial_value=(1920, 1080), min=(1, 1), max=(8192, 8192), step=1)
            take = gui.add_button("Save PNG", hint="Key P")
        press(take, self.screenshot)

    def _commands(self) -> None:
        gui, session = self._gui, self._session
        press(gui.add_command("Home", hotkey="H"), session.home)
        press(gui.add_command("Focus on a point", hotkey="F"), session.pick_focus)
        press(gui.add_command("Orbit or fly", hotkey="V"), self.toggle_flying)
        press(gui.add_command("Show colour", hotkey="1"), lambda: self.choose("colour"))
        press(gui.add_command("Show depth", hotkey="2"), lambda: self.choose("depth"))
        press(gui.add_command("Show alpha", hotkey="3"), lambda: self.choose("alpha"))
        press(gui.add_command("Grid", hotkey="G"), lambda: self.toggle(self._grid))
        press(gui.add_command("Axes", hotkey="X"), lambda: self.toggle(self._axes))
        press(gui.add_command("Screenshot", hotkey="P"), self.screenshot)

    def choose(self, what: Shown) -> None:
        self._shown.value = what

    def _show(self, what: Shown) -> None:
        self._colormap.visible = what == "depth"
        self._session.change(shown=what)

    def toggle(self, checkbox: Any) -> None:
        if self._session.pressed(checkbox.label):
            checkbox.value = not checkbox.value

    def toggle_flying(self) -> None:
        if self._session.pressed("fly"):
            self._mode.value = "orbit" if self._session.flying else "fly"

    def screenshot(self) -> None:
        if self._session.pressed("screenshot"):
            self._session.screenshot(*map(int, self._size.value))

    def show_layers(self) -> None:
        """Rebuild the list of layers."""
        for widget in self._layers:
            widget.remove()
        self._layers.clear()
        with self._layer_folder:
            for name, layer in self._viewer.scene.layers.items():
                shown = self._gui.add_checkbox(name, initial_value=layer.visible, hint=f"{len(layer.content):,} splats")
                remove = self._gui.add_button(f"Remove {name}", color="gray")
                self._layers += [shown, remove]
                tell(shown, lambda on, name=name: self._viewer.show(self._viewer.scene.shown(name, on)))
                press(remove, lambda name=name: self._viewer.show(self._viewer.scene.without(name)))

    def show_figures(self, snapshot: Snapshot, picture: Picture) -> None:
        """Put the newest figures into the panel."""
        if not self.page.open:
            return
        rows = {
            "frames per second": "at rest" if picture.still else f"{snapshot.fps:.0f}",
            "size": f"{picture.camera.width} × {picture.camera.height}",
            "splats drawn": f"{picture.counts.get('drawn', 0):,}",
            **{f"{stage} ms": f"{value:.1f}" for stage, value in picture.timings.items()},
            "kilobytes": f"{(len(picture.jpeg) + len(picture.depth_png)) / 1e3:.0f}",
            "shown after ms": f"{snapshot.ack_ms:.0f}",
            "requests dropped": f"{snapshot.dropped:,}",
            "pictures lost": f"{snapshot.lost:,}",
        }
        self._figures.content = table(rows)
