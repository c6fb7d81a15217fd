"""Who draws for one person: the server, their browser, or the browser while they move and the server at rest.

The browser draws what it has been sent and nothing else; until it has all that is to be seen, the server draws.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from splatview.arrays import Bools, Ints
from splatview.camera import Camera
from splatview.geometry import Similarity
from splatview.scene import Layer, Scene
from splatview.viewer.settings import Draw
from splatview.viewer.space import Pose, page_pose
from splatview.viewer.view import View
from splatview.viewer.webgl import Packed, Packer, Words
from splatview.viewer.world import World

MOST = 4_000_000  # splats: 128 MB on the way, and as much on the browser's GPU
LARGE = 16 * 2**20  # bytes from which on the person is told how far it is

log = logging.getLogger(__name__)


class SplatPageLike(Protocol):
    """What a preview needs of a browser tab."""

    def begin(self) -> None: ...
    def draw(self, who: Draw, background: tuple[float, float, float]) -> None: ...
    def expect(self, pose: Pose) -> None: ...
    def place(self, node: str, where: Similarity, visible: bool) -> None: ...
    def send(self, node: str, chunk: int, records: Words, scale: float, number: int) -> None: ...
    def scale(self, node: str, chunk: int, scale: float) -> None: ...
    def remove(self, node: str, chunks: Iterable[int]) -> None: ...
    def notify(self, title: str, text: str) -> None: ...
    def busy(self, title: str, text: str | None) -> None: ...


@dataclass(eq=False)
class Node:
    """A layer on the page."""

    path: str
    name: str  # of the layer
    packed: Packed
    where: Similarity  # page from content
    visible: bool
    hidden: Bools | None = None  # [N]
    sent: dict[int, Bools | None] = field(default_factory=dict)  # by chunk: what was hidden when it was sent

    def lacks(self, chunk: int) -> bool:
        """Whether the page has to be sent the chunk: it is seen, and was not sent yet, or with other splats hidden."""
        if not self.visible or chunk not in self.sent:
            return self.visible
        before, which = self.sent[chunk], self.packed.chunks[chunk].which
        return before is not self.hidden and not np.array_equal(_of(before, which), _of(self.hidden, which))


class Preview:
    """Keeps one page's splats as the world is. Any thread may call its methods, and none waits: what takes long is done by `packer`."""

    def __init__(self, page: SplatPageLike, world: World, placing: Similarity, packer: Packer, changed: Callable[[], None]) -> None:
        self._changed = changed  # who draws may have changed
        self.wish: Draw = "server"
        self._page = page
        self._world = world
        self._placing = placing
        self._packer = packer
        self._lock = threading.RLock()
        self._able: bool | None = None  # whether the browser has a GPU; None: it was not asked, or did not answer yet
        self._drawing = False  # the browser is to draw
        self._nodes: list[Node] = []
        self._queue: list[tuple[Node, int]] = []  # chunks to send
        self._flying: int | None = None  # the number of the one under way
        self._done = 0  # bytes sent since there was nothing to send
        self._numbers = itertools.count(1)
        self._told: tuple[Draw, tuple[float, float, float]] = "server", (0.0, 0.0, 0.0)
        self._fields_told = False  # the person knows that fields are not for browsers
        self._closed = False

    def choose(self, wish: Draw) -> None:
        """Draw so from now on, as far as the browser can."""
        with self._lock:
            self.wish = wish
            if wish != "server" and self._able is None:
                self._page.begin()
            elif wish != "server":
                self._say_unable()
        self.world_changed()

    def told_able(self, able: bool) -> None:
        """The browser has a GPU to draw with, or has none."""
        with self._lock:
            if able == self._able:
                return
            self._able = able
            self._say_unable()
        self.world_changed()

    def _say_unable(self) -> None:
        if not self._able:
            self._page.notify("The server draws", "This browser has no graphics card to draw with, and would be too slow.")

    def _say_fields(self) -> None:
        if not self._fields_told:
            self._page.notify("The server draws", "Browsers draw splats only: as long as a hash-grid field is shown, the server draws.")
        self._fields_told = True

    def settle(self, view: View) -> Draw:
        """Who draws `view` now; the page is told when that is new."""
        plain = view.shown == "colour" and view.beside is None and view.splat_scale == 1
        with self._lock:
            ready = self._drawing and plain and self._flying is None and not self._queue
            told: tuple[Draw, tuple[float, float, float]] = (self.wish if ready else "server"), view.background
            if told != self._told and {told[0], self._told[0]} != {"server"}:
                self._page.draw(*told)
            self._told = told
            return told[0]

    def sending(self, camera: Camera) -> None:
        """A picture from `camera` is sent next."""
        if self.wish != "server" and self._able is not False:
            self._page.expect(page_pose(camera, self._placing, camera.position))

    def world_changed(self) -> None:
        """Bring the page to where the world is, soon."""
        if (self.wish != "server" or self._nodes) and not self._closed:
            self._packer.soon(self._follow)

    def arrived(self, number: int) -> None:
        """The page has what was sent under `number`."""
        with self._lock:
            if number != self._flying:
                return
            self._flying = None
            self._pump()
        self._changed()

    def close(self) -> None:
        """The page is gone: let go of everything."""
        with self._lock:
            self._closed, self._drawing, self._nodes, self._queue = True, False, [], []

    # What the packer's thread does.

    def _follow(self) -> None:
        try:
            self._bring()
        except CancelledError:
            return
        except Exception as error:
            log.exception("could not prepare the splats for a browser")
            self._page.notify("The server draws", str(error))
        self._changed()

    def _bring(self) -> None:
        state = self._world.state
        scene, hidden = state.scene, state.undrawn
        seen = scene.visible_layers
        count = sum(len(layer.splats) for layer in seen.values())
        drawing = self.wish != "server" and bool(self._able)
        if drawing and count > MOST:
            self._page.notify("The server draws", f"{count:,} splats are too many for the browser: at most {MOST:,} are sent.")
            drawing = False
        if drawing and scene.visible_fields:
            self._say_fields()
            drawing = False
        packed = {name: self._packer.packed(layer.splats) for name, layer in seen.items()} if drawing else {}
        with self._lock:
            if self._closed:
                return
            self._arrange(scene if drawing else Scene(), packed, MOST - count)
            for node in self._nodes:
                mask = hidden.get(node.name)
                node.hidden = mask if mask is not None and len(mask) == len(node.packed.content) else None
            self._queue = [(node, chunk) for node in self._nodes for chunk in range(len(node.packed.chunks)) if node.lacks(chunk)]
            self._drawing = drawing
            self._pump()

    def _arrange(self, scene: Scene, packed: Mapping[str, Packed], room: int) -> None:
        """A node for every layer that is packed; those that were sent and are hidden now stay, if there is `room` for their splats."""
        before, self._nodes = self._nodes, []
        for name, layer in scene.layers.items():
            alike = [node for node in before if node.packed.content is layer.content]
            node = min(alike, key=lambda node: node.name != name, default=None)  # by another name: it was renamed
            if name not in packed:
                if node is None or len(layer.splats) > room:
                    continue
                room -= len(layer.splats)
            if node is not None:
                before.remove(node)
                self._move(node, layer)
                node.name = name
            else:
                node = Node(f"/splats {next(self._numbers)}", name, packed[name], self._placing @ layer.placement, layer.visible)
                self._page.place(node.path, node.where, node.visible)
            self._nodes.append(node)
        for node in before:
            self._page.remove(node.path, node.sent)

    def _move(self, node: Node, layer: Layer) -> None:
        where = self._placing @ layer.placement
        if where.scale != node.where.scale:
            for chunk in node.sent:
                self._page.scale(node.path, chunk, where.scale * node.packed.chunks[chunk].unit)
        if (where, layer.visible) != (node.where, node.visible):
            self._page.place(node.path, where, layer.visible)
        node.where, node.visible = where, layer.visible

    def _pump(self) -> None:
        """Send one chunk, if the page has the one before."""
        if self._flying is not None:
            return
        left = sum(node.packed.chunks[chunk].records.nbytes for node, chunk in self._queue)
        if (whole := self._done + left) > LARGE:
            self._page.busy("Sending splats to your browser", f"{self._done / 1e6:.0f} of {whole / 1e6:.0f} MB" if left else None)
        if not self._queue:
            self._done = 0
            return
        node, chunk = self._queue.pop(0)
        piece = node.packed.chunks[chunk]
        self._flying = next(self._numbers)
        self._page.send(node.path, chunk, piece.without(node.hidden), node.where.scale * piece.unit, self._flying)
        node.sent[chunk] = node.hidden
        self._done += piece.records.nbytes


def _of(hidden: Bools | None, which: Ints) -> Bools:
    return np.zeros(len(which), bool) if hidden is None else hidden[which]
