"""Size and quality of the pictures, and screenshots."""

from __future__ import annotations

from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import press, tell
from splatview.viewer.session import Session


class Drawing:
    """The folders "Drawing" and "Screenshot"."""

    def __init__(self, page: Page, session: Session) -> None:
        gui = page.gui
        self._session = session
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
        with gui.add_folder("Screenshot", expand_by_default=False):
            self._size = gui.add_vector2("Size", initial_value=(1920, 1080), min=(1, 1), max=(8192, 8192), step=1)
            take = gui.add_button("Save PNG", hint="Key P")
        press(take, self.screenshot)
        press(gui.add_command("Screenshot", hotkey="P"), self.screenshot)

    def screenshot(self) -> None:
        if self._session.pressed("screenshot"):
            self._session.screenshot(*map(int, self._size.value))
