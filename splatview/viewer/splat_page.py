"""What a tab does with splats of its own. Beside `page.py` the only user of viser's private parts.

Private parts in use: `GaussianSplatsMessage`, sent by ourselves because viser's own call packs and keeps a copy for every client;
`RemoveSceneNodeMessage` and `SceneNodeUpdateMessage` for the nodes made so; and what preview.js needs of the page.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any

from viser import _messages
from viser._scene_api import SceneApi

from splatview.geometry import Similarity
from splatview.viewer.page import Page
from splatview.viewer.settings import Draw
from splatview.viewer.space import Pose
from splatview.viewer.webgl import Words


@dataclasses.dataclass
class CanDraw(_messages.Message, include_in_scene_serialization=False):
    """Whether the page has a GPU to draw with."""

    able: bool


@dataclasses.dataclass
class SplatsArrived(_messages.Message, include_in_scene_serialization=False):
    """The page has these splats."""

    number: int


SCRIPT = files("splatview.viewer").joinpath("preview.js").read_text("utf-8")


class SplatPage:
    """One browser tab, as something that can draw. Whatever is sent to a tab that is gone is dropped."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._scene: SceneApi = page.scene
        self._connection = page.client._websock_connection
        self._frames: dict[str, Any] = {}
        self._busy: Any = None

    @property
    def open(self) -> bool:
        return self._page.open

    def on_able(self, tell: Callable[[bool], None]) -> None:
        self._connection.register_handler(CanDraw, lambda _, message: tell(bool(message.able)))

    def on_arrived(self, tell: Callable[[int], None]) -> None:
        self._connection.register_handler(SplatsArrived, lambda _, message: tell(message.number))

    def begin(self) -> None:
        """Ask whether the page can draw."""
        self._page.run(SCRIPT)

    def draw(self, who: Draw, background: tuple[float, float, float]) -> None:
        """Let the page show the server's pictures, its own splats, or one after the other, over the `background` (0..1)."""
        self._page.run(f"__splatviewPreview.draw({json.dumps(who)}, {json.dumps([round(255 * channel) for channel in background])})")

    def expect(self, pose: Pose) -> None:
        """The next picture is one of this pose."""
        self._page.run(f"__splatviewPreview.expect({json.dumps(dataclasses.asdict(pose))})")

    def place(self, node: str, where: Similarity, visible: bool) -> None:
        """Put `node` there; its scale is that of its chunks."""
        if not self.open:
            return
        frame = self._frames.get(node)
        if frame is None:
            self._frames[node] = self._scene.add_frame(node, show_axes=False, wxyz=where.quat, position=where.translation, visible=visible)
        else:
            with self._page.client.atomic():
                frame.wxyz, frame.position, frame.visible = where.quat, where.translation, visible

    def send(self, node: str, chunk: int, records: Words, scale: float, number: int) -> None:
        """Put splats into `node`, in the place of those that had the same `chunk`; the page answers with `number`."""
        if not self.open:
            return
        props = _messages.GaussianSplatsProps(buffer=records, scale=scale)
        with self._page.client.atomic():
            self._scene._queue_scene_message(_messages.GaussianSplatsMessage(name=f"{node}/{chunk}", props=props))
            self._page.run(f"__splatviewPreview.arrived({number})")

    def scale(self, node: str, chunk: int, scale: float) -> None:
        if self.open:
            self._scene._queue_scene_message(_messages.SceneNodeUpdateMessage(f"{node}/{chunk}", {"scale": scale}))

    def remove(self, node: str, chunks: Iterable[int]) -> None:
        """Take away `node` and its `chunks`."""
        if not self.open:
            return
        with self._page.client.atomic():
            for chunk in chunks:
                self._scene._queue_scene_message(_messages.RemoveSceneNodeMessage(f"{node}/{chunk}"))
            self._frames.pop(node).remove()

    def notify(self, title: str, text: str) -> None:
        self._page.notify(title, text)

    def busy(self, title: str, text: str | None) -> None:
        """Say what is going on, until it is called again; None: nothing is any more."""
        if not self.open:
            return
        if text is None:
            if self._busy is not None:
                self._busy.remove()
            self._busy = None
        elif self._busy is None:
            self._busy = self._page.client.add_notification(title, text, loading=True, with_close_button=False)
        else:
            self._busy.body = text
