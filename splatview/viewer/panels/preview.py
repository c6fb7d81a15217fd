"""Who draws: the server, the browser, or both in turn."""

from __future__ import annotations

from typing import get_args

from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import tell
from splatview.viewer.preview import Preview
from splatview.viewer.settings import Draw


class Drawer:
    """The entry "Drawn by" of the folder "Drawing"."""

    def __init__(self, page: Page, preview: Preview, draw: Draw) -> None:
        hint = "hybrid: your browser while the camera moves, the server at rest"
        drawn = page.gui.add_dropdown("Drawn by", get_args(Draw), initial_value=draw, hint=hint)
        tell(drawn, preview.choose)
        if draw != "server":
            preview.choose(draw)
