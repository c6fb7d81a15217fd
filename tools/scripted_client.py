"""A page without a browser: speaks viser's protocol through the front door, moves the camera and acknowledges pictures."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import cv2
import msgspec.msgpack
import numpy as np
import viser
import zstandard
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from splatview.geometry import quat_from_matrix

PROTOCOL = f"viser-v{viser.__version__}"
PICTURE = re.compile(r"__splatview\.picture\((\d+)\)")


@dataclass
class Arrival:
    """A picture as it came in."""

    number: int
    at: float  # time.perf_counter()
    jpeg: bytes
    depth: bytes

    @property
    def pixels(self) -> np.ndarray:
        """[H, W, 3] RGB."""
        return decoded(self.jpeg)

    @cached_property
    def size(self) -> tuple[int, int]:
        height, width = self.pixels.shape[:2]
        return width, height


@dataclass
class ScriptedClient:
    """One connection. Every picture is acknowledged as it arrives, unless `acknowledging` is off."""

    socket: ClientWebSocketResponse
    width: int = 1280
    height: int = 720
    acknowledging: bool = True
    arrivals: list[Arrival] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    widgets: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)  # by label: uuid and properties
    downloads: dict[str, bytes] = field(default_factory=dict)
    notices: dict[str, tuple[str, str]] = field(default_factory=dict)  # by uuid, those that are shown: title and text
    on_picture: Callable[[Arrival], None] = lambda arrival: None
    _pending: dict[str, tuple[str, int, list[bytes]]] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _listening: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str, **settings: Any) -> AsyncIterator[Self]:
        """A client of the viewer at `url` (http://...), listening until the block ends."""
        async with ClientSession() as http, http.ws_connect(url, protocols=[PROTOCOL], max_msg_size=0, compress=0) as socket:
            client = cls(socket, **settings)
            listening = client._listening = asyncio.create_task(client._listen())
            listening.add_done_callback(lambda _: client._changed.set())
            try:
                yield client
            finally:
                listening.cancel()

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send_bytes(msgspec.msgpack.encode({"type": kind, **fields}))

    async def orbit(self, angle: float, distance: float = 7.0, height: float = 1.7) -> float:
        """Stand at `angle` (radians) around the origin of the page and look at it; returns when that was sent."""
        eye = np.array([distance * np.cos(angle), distance * np.sin(angle), height])
        forward = -eye / np.linalg.norm(eye)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward], 1)
        at = time.perf_counter()
        await self.send(
            "ViewerCameraMessage",
            wxyz=quat_from_matrix(rotation).tolist(),
            position=eye.tolist(),
            fov=0.9,
            near=0.01,
            far=1000.0,
            image_height=self.height,
            image_width=self.width,
            look_at=[0.0, 0.0, 0.0],
            up_direction=[0.0, 0.0, 1.0],
        )
        return at

    async def set(self, label: str, value: Any) -> None:
        """Give the widget called `label` a value, as its user would."""
        uuid, properties = self.widgets[label]
        properties["value"] = value
        await self.send("GuiUpdateMessage", uuid=uuid, updates={"value": value})

    async def press(self, label: str) -> None:
        await self.set(label, True)

    async def trigger(self, command: str) -> None:
        """Choose a command of the palette, or press its key."""
        await self.send("CommandTriggerMessage", uuid=self.widgets[f"command {command}"][0])

    async def stroke(
        self,
        tool: str,
        points: Sequence[tuple[float, float]],
        *,
        held: Sequence[str] = (),
        radius: float = 0.05,
        number: int | None = None,
        pause: float = 0.0,
        end: str = "end",
    ) -> float:
        """Draw along `points` (fractions of the picture) as a page tells it, a message for each; returns when the end was sent.

        `number` is that of the picture it is drawn on; None: the last one. `pause` seconds lie between the messages.
        """
        number = (self.arrivals[-1].number if self.arrivals else 0) if number is None else number
        common = {"tool": tool, "modifiers": list(held), "radius": radius, "number": number}
        for place, point in enumerate(points):
            await self.send("ToolStroke", phase="move" if place else "start", points=list(point), **common)
            await asyncio.sleep(pause)
        at = time.perf_counter()
        await self.send("ToolStroke", phase=end, points=[], **common)
        return at

    async def until(self, true: Callable[[], Any], timeout: float = 10.0) -> Any:
        """Wait until `true()` is, and return it; TimeoutError if it never is."""
        async with asyncio.timeout(timeout):
            while not (found := true()):
                self._check()
                self._changed.clear()
                await self._changed.wait()
            return found

    def _check(self) -> None:
        """ConnectionError if nothing will come any more, with what there is to say about it."""
        if self._listening is not None and self._listening.done():
            error = None if self._listening.cancelled() else self._listening.exception()
            raise ConnectionError(f"the server has closed the connection ({self.socket.close_code})") from error

    async def rest(self, quiet: float = 0.8, timeout: float = 10.0) -> Arrival:
        """The last picture, once no other has come for `quiet` seconds, and for as many turns of the loop as those have when it is idle."""
        last, turns = None, 0
        async with asyncio.timeout(max(timeout, 4 * quiet)):
            while last is None or time.perf_counter() - last.at < quiet or turns < 50 * quiet:
                self._check()
                await asyncio.sleep(0.02)
                last, turns = (last, turns + 1) if self.arrivals and self.arrivals[-1] is last else (next(reversed(self.arrivals), None), 0)
        return last

    async def _listen(self) -> None:
        async for message in self.socket:
            if message.type is WSMsgType.BINARY:
                for one in unpacked(message.data):
                    await self._heed(one)
                self._changed.set()

    async def _heed(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "BackgroundImageMessage" if message["rgb_data"]:
                self.arrivals.append(Arrival(0, time.perf_counter(), message["rgb_data"], message["depth_data"]))
            case "RunJavascriptMessage":
                self.scripts.append(message["source"])
                if shown := PICTURE.fullmatch(message["source"]):
                    self.arrivals[-1].number = int(shown[1])
                    self.on_picture(self.arrivals[-1])
                    if self.acknowledging:
                        await self.send("PictureShown", number=int(shown[1]))
            case "FileTransferStartDownload":
                self._pending[message["transfer_uuid"]] = message["filename"], message["part_count"], []
            case "FileTransferPart":
                name, count, parts = self._pending[message["transfer_uuid"]]
                parts.append(message["content"])
                if len(parts) == count:
                    self.downloads[name] = b"".join(parts)
            case "GuiUpdateMessage" | "GuiRemoveMessage":
                for label, (uuid, properties) in list(self.widgets.items()):
                    if uuid == message["uuid"]:
                        properties.update(message.get("updates", {}))
                        if message["type"] == "GuiRemoveMessage":
                            del self.widgets[label]
            case kind if kind.startswith("Gui") and "uuid" in message and "props" in message:
                properties = message["props"]
                self.widgets[properties.get("label") or message["uuid"]] = message["uuid"], {**properties, "value": message.get("value")}
            case "NotificationShowMessage" | "NotificationUpdateMessage":
                self.notices[message["uuid"]] = message["props"]["title"], message["props"]["body"]
            case "RemoveNotificationMessage":
                self.notices.pop(message["uuid"], None)
            case "RegisterCommandMessage":
                self.widgets[f"command {message['props']['label']}"] = message["uuid"], message["props"]
            case _:
                pass


def decoded(picture: bytes) -> np.ndarray:
    """The pixels [H, W, 3] RGB of a JPEG or PNG."""
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise ValueError("expected a JPEG or PNG, got something else")
    return pixels


def unpacked(data: bytes) -> list[dict[str, Any]]:
    """The messages of one websocket frame of viser's: sizes, then compressed msgpack (arrays behind it are not read)."""
    size, packed = (int.from_bytes(data[at : at + 8], "little") for at in (0, 8))
    plain = zstandard.ZstdDecompressor().decompress(data[16 : 16 + packed], max_output_size=size)
    return list(msgspec.msgpack.decode(plain)["messages"])
