"""Size and quality of the pictures, and screenshots."""

from __future__ import annotations

from collections.abc import Callable

from splatview.viewer.page import Page
from splatview.viewer.panels.keys import on_key
from splatview.viewer.panels.widgets import press, tell
from splatview.viewer.session import Session
from splatview.viewer.settings import ViewerSettings


class Drawing:
    """The folders "Drawing" and "Screenshot"."""

    def __init__(self, page: Page, session: Session, reset: Callable[[], None]) -> None:
        gui = page.gui
        self._session = session
        with gui.add_folder("Drawing", expand_by_default=False) as self.folder:
            size = gui.add_slider("Render size", 0.25, 2.0, 0.05, initial_value=1.0, hint="Of the window, at rest")
            budget = gui.add_slider(
                "Budget (ms)", 5, 200, 1, initial_value=round(session.budget_ms), hint="Time for a frame while the camera moves"
            )
            quality = gui.add_slider(
                "JPEG quality", 40, 95, 1, initial_value=session.quality, hint="While the camera moves; at rest it is nearly lossless"
            )
            again = gui.add_button("Reset settings", color="gray", hint="Of this panel; saved views and layers stay")
        press(again, reset)
        tell(size, lambda value: session.change(render_size=float(value)))
        tell(budget, lambda value: session.set_budget(float(value)))
        tell(quality, lambda value: session.set_quality(int(value)))
        with gui.add_folder("Screenshot", expand_by_default=False):
            self._size = gui.add_vector2("Size", initial_value=(1920, 1080), min=(1, 1), max=(8192, 8192), step=1)
            take = gui.add_button("Save PNG", hint="Key Shift+P")
        told = session.budget_ms != ViewerSettings.budget_ms  # on the command line, which is not overruled
        self.settings = (size, quality, self._size) if told else (size, budget, quality, self._size)
        press(take, self.screenshot)
        on_key(gui, "screenshot", self.screenshot)

    def screenshot(self) -> None:
        if self._session.pressed("screenshot"):
            self._session.screenshot(*map(int, self._size.value))
