"""viser, and what of it is private: pinned to 1.1.1, and used through this module, `splat_page`, `tools` and `histogram` alone.

Private parts in use: `RunJavascriptMessage`, `BackgroundImageMessage`, own message classes, `_websock_connection` and the event of its
buffer, `websockets.asyncio.server.serve` as viser calls it, and `window.__viserMutable` (in overlay.js).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.resources import files
from typing import Any

import viser
import websockets.asyncio.server
from viser import _messages
from websockets.datastructures import Headers
from websockets.http11 import Response

from splatview.outputs.guard import same
from splatview.viewer.door import SECRET_HEADER
from splatview.viewer.space import Pose


@dataclasses.dataclass
class PictureShown(_messages.Message, include_in_scene_serialization=False):
    """The page shows this picture."""

    number: int


@dataclasses.dataclass
class WindowSized(_messages.Message, include_in_scene_serialization=False):
    """The size that pictures should have at rest, in pixels."""

    width: int
    height: int


@dataclasses.dataclass
class CameraHeld(_messages.Message, include_in_scene_serialization=False):
    """A button or a key that moves the camera went down, or the last one came up."""

    on: bool


@dataclasses.dataclass
class PointPicked(_messages.Message, include_in_scene_serialization=False):
    """A click that was waited for, as fractions of the canvas from its top left."""

    x: float
    y: float


@dataclasses.dataclass
class SplitMoved(_messages.Message, include_in_scene_serialization=False):
    """The split of the picture was dragged to this fraction of the width."""

    at: float


OVERLAY = files("splatview.viewer").joinpath("overlay.js").read_text("utf-8")
UPLOAD = files("splatview.viewer").joinpath("upload.js").read_text("utf-8")
UPLOADS = _messages.FileTransferStartUpload, _messages.FileTransferPart  # viser's own have no limit, and are held in memory


def start_viser(secret: str) -> viser.ViserServer:
    """A viser server on a random loopback port that refuses every request without `secret`."""
    original = websockets.asyncio.server.serve

    def guarded(handler: Any, host: Any, port: Any, *, process_request: Any, **options: Any) -> Any:
        def check(connection: Any, request: Any) -> Any:
            given = request.headers.get_all(SECRET_HEADER)
            if len(given) != 1 or not same(given[0], secret):
                return Response(403, "Forbidden", Headers(), b"")
            return process_request(connection, request)

        return original(handler, host, port, process_request=check, **options)

    websockets.asyncio.server.serve = guarded
    try:
        with quiet():
            server = viser.ViserServer(host="127.0.0.1", port=0, label="splatview", verbose=False)
    finally:
        websockets.asyncio.server.serve = original
    for unused in (*UPLOADS, _messages.ShareUrlRequest, _messages.ShareUrlDisconnect):
        server._websock_server.unregister_handler(unused)
    server.scene.configure_default_lights(cast_shadow=False)  # nothing of ours casts one, and a page on software GL pays for it
    server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False, brand_color=(60, 130, 230))
    return server


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """viser announces itself on the standard output, where only our own line belongs."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def script(source: str) -> _messages.RunJavascriptMessage:
    """`source` to be run by a page.

    viser asks a script for its key when it comes and when it goes, and would get a new one each time: it would never forget the first.
    """
    message, key = _messages.RunJavascriptMessage(source=source), str(uuid.uuid4())
    message.redundancy_key = lambda: key
    return message


class Pulse(asyncio.Event):
    """viser's sign that a message waits. viser sets it from whatever thread the message comes, and then asks its loop to set it as well.

    The loop alone may do that: elsewhere asyncio stumbles now and then over a waiter that leaves ("deque mutated during iteration").
    """

    def __init__(self) -> None:
        super().__init__()
        self._loops = threading.get_ident()

    def set(self) -> None:
        if threading.get_ident() == self._loops:
            super().set()


class Page:
    """One browser tab. Made on viser's own thread."""

    def __init__(self, client: viser.ClientHandle) -> None:
        self.client = client
        self.gui = client.gui
        self.scene = client.scene
        self._connection = client._websock_connection
        self._window: tuple[int, int] | None = None
        self._faults: dict[str, viser.NotificationHandle] = {}  # that are shown, by what is wrong
        buffer = self._connection.get_message_buffer()
        before, buffer.message_event = buffer.message_event, Pulse()
        before.set()  # whoever waits for it goes on, and waits for the other from then on
        for unused in UPLOADS:
            self._connection.unregister_handler(unused)
        self.run(OVERLAY)

    @property
    def open(self) -> bool:
        """Whether the tab is still there. What is sent to one that is not is lost, and viser warns about it."""
        return not self._connection.get_message_buffer().done

    def perhaps_gone(self) -> AbstractContextManager[None]:
        """Within it, what is told to a tab that leaves meanwhile is lost without a warning."""
        return self._connection.get_message_buffer().sanctioned_dead_writes()

    @property
    def pose(self) -> Pose:
        camera = self.client.camera
        return Pose(*(tuple(map(float, values)) for values in (camera.position, camera.wxyz, camera.look_at)), float(camera.fov))  # type: ignore[arg-type]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a picture that fills the window, in pixels."""
        return self._window or (self.client.camera.image_width, self.client.camera.image_height)

    def on_camera(self, tell: Callable[[], None]) -> None:
        @self.client.camera.on_update
        async def _(_: viser.CameraHandle) -> None:
            tell()

    def on_sized(self, tell: Callable[[], None]) -> None:
        def sized(_: int, message: WindowSized) -> None:
            self._window = max(1, message.width), max(1, message.height)
            tell()

        self._connection.register_handler(WindowSized, sized)

    def on_shown(self, tell: Callable[[int], None]) -> None:
        self._connection.register_handler(PictureShown, lambda _, message: tell(message.number))

    def on_held(self, tell: Callable[[bool], None]) -> None:
        self._connection.register_handler(CameraHeld, lambda _, message: tell(bool(message.on)))

    def on_picked(self, tell: Callable[[float, float], None]) -> None:
        self._connection.register_handler(PointPicked, lambda _, message: tell(message.x, message.y))

    def on_split(self, tell: Callable[[float], None]) -> None:
        self._connection.register_handler(SplitMoved, lambda _, message: tell(float(message.at)))

    def show(self, picture: bytes, depth: bytes, number: int) -> None:
        """Put `picture` (JPEG) with `depth` (PNG in viser's packing) behind everything, at once; the page answers with `number`."""
        if not self.open:
            return
        with self.client.atomic():
            self._connection.queue_message(_messages.BackgroundImageMessage(format="jpeg", rgb_data=picture, depth_data=depth))
            self.run(f"__splatview.picture({number})")
        self.client.flush()

    def set_fov(self, fov_y: float) -> None:
        self.client.camera.fov = fov_y

    def home(self) -> None:
        """Go back to where the page was opened."""
        self.run("__splatview.home()")

    def look_at(self, point: tuple[float, float, float]) -> None:
        """Turn to `point` (page units), and about it from now on."""
        self.run(f"__splatview.lookAt({json.dumps(list(map(float, point)))})")

    def pick(self) -> None:
        """Wait for a click, and tell where it was; Escape or a second call ends the wait."""
        self.run("__splatview.pick()")

    def fly(self, on: bool) -> None:
        """Turn on the spot when dragged (fly), or about a point (orbit)."""
        self.run(f"__splatview.fly({json.dumps(on)})")

    def split(self, at: float | None) -> None:
        """Show a line to drag at the fraction `at` of the width; None: none."""
        self.run(f"__splatview.split({json.dumps(at)})")

    def accept_files(self, limit: int, page: int) -> None:
        """Take files of up to `limit` bytes that are dropped on the page, and send them to the door as those of `page`."""
        self.run(f"({UPLOAD.rstrip()})({limit}, {page})")

    def choose_file(self) -> None:
        """Ask for files to send: right after a click, or the browser refuses."""
        self.run("window.__splatviewFiles?.choose()")

    def download(self, name: str, content: bytes) -> None:
        if self.open:
            self.client.send_file_download(name, content, save_immediately=True)

    def fetch(self, address: str) -> None:
        """Save the file at `address` of the door, as if the person had clicked on a link to it."""
        self.run(f"Object.assign(document.createElement('a'), {{href: {json.dumps(address)}, download: ''}}).click()")

    def go(self, pose: Pose) -> None:
        """Ease the camera to `pose`."""
        self.run(f"__splatview.go({json.dumps([pose.position, pose.look_at])})")
        self.set_fov(pose.fov_y)

    def notice(self, title: str) -> Notice:
        """A message about something that takes a while."""
        return Notice(self, title)

    def notify(self, title: str, text: str) -> None:
        if self.open:
            self.client.add_notification(title, text, auto_close_seconds=6.0)

    def fault(self, text: str | None, what: str = "") -> None:
        """Say what is wrong ("": the picture could not be drawn) and why, until it is not any more (None)."""
        if not self.open:
            return
        if (before := self._faults.pop(what, None)) is not None:
            before.remove()
        if text is not None:
            self._faults[what] = self.client.add_notification(what or "The picture could not be drawn", text, color="red")

    def run(self, source: str) -> None:
        """Let the tab run `source`, if it is still there."""
        if self.open:
            self._connection.queue_message(script(source))


class Notice:
    """A message in a page that says how far something is. Any thread may tell it."""

    def __init__(self, page: Page, title: str) -> None:
        self._page, self._told_at = page, 0.0
        self._shown = page.client.add_notification(title, "", loading=True, with_close_button=False) if page.open else None

    def tell(self, fraction: float, text: str) -> None:
        """So much of it (0..1) is done; said four times a second at most."""
        if self._shown is not None and self._page.open and time.monotonic() - self._told_at > 0.25:
            self._told_at = time.monotonic()
            self._shown.body = f"{text}, {fraction:.0%}"

    def done(self) -> None:
        if self._shown is not None and self._page.open:
            self._shown.remove()

    def failed(self, text: str) -> None:
        """Say what is wrong, until the person closes it."""
        if self._shown is not None and self._page.open:
            self._shown.loading, self._shown.with_close_button, self._shown.color, self._shown.body = False, True, "red", text
