"""One person's visit: where they stand, what they want to see, and the pictures they are sent. Knows no widgets and no sockets."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from splatview.arrays import Doubles, Floats
from splatview.camera import Camera
from splatview.edit import select
from splatview.frame import Interrupt, Interrupted, Output, Renderer
from splatview.geometry import Similarity
from splatview.outputs.images import encode_png
from splatview.stream.pacing import Draws, Pacer, Turn
from splatview.stream.pipeline import Channel, Pipeline
from splatview.stream.resolution import Guard
from splatview.stream.stats import Snapshot
from splatview.stylize import Stylizer
from splatview.viewer.faults import Faults
from splatview.viewer.picture import Picture, Recent, Saved, Styled, draw, encoded
from splatview.viewer.preview import Preview
from splatview.viewer.settings import Draw
from splatview.viewer.space import NEAR, Pose, point_under, world_camera
from splatview.viewer.styling import Styling
from splatview.viewer.turns import TakingTurns
from splatview.viewer.view import Request, Shown, View
from splatview.viewer.worker import Worker
from splatview.viewer.world import World

LARGEST = 8192  # pixels a side of a screenshot
REPORT = 0.5  # seconds between two reports while pictures flow
REPEAT = 0.25  # seconds in which a held key's repetitions are one press
PICK_WIDTH = 320  # pixels of the picture that finds what was clicked on where the browser draws
SLOW_MS = 500.0  # a style that takes longer is told of before a screenshot is made in it
SEEN = 32  # pictures whose cameras are kept: a stroke that begins on one is told a little later
SERVER_DRAWS: dict[Draw, Draws] = {"server": "always", "hybrid": "at rest", "browser": "never"}

log = logging.getLogger(__name__)


class PageLike(Protocol):
    """What a session needs of a browser tab."""

    @property
    def pose(self) -> Pose: ...
    @property
    def size(self) -> tuple[int, int]: ...
    def show(self, picture: bytes, depth: bytes, number: int) -> None: ...
    def set_fov(self, fov_y: float) -> None: ...
    def home(self) -> None: ...
    def look_at(self, point: tuple[float, float, float]) -> None: ...
    def pick(self) -> None: ...
    def fly(self, on: bool) -> None: ...
    def split(self, at: float | None) -> None: ...
    def download(self, name: str, content: bytes) -> None: ...
    def notify(self, title: str, text: str) -> None: ...
    def fault(self, text: str | None, what: str = "") -> None: ...


class Session:
    """The methods are called by the page's callbacks (short, never waiting) and by the drawing thread."""

    def __init__(self, page: PageLike, world: World, placing: Similarity, renderer: Renderer, pipeline: Pipeline, budget_ms: float) -> None:
        self.view = View()
        self.report: Callable[[Snapshot, Picture], None] = lambda snapshot, picture: None  # set by the panel
        self.preview: Preview | None = None  # the browser's own drawing, if there is any
        self._page = page
        self._world = world
        self._placing = placing
        self._renderer = renderer
        self._pipeline = pipeline
        self._pacer: Pacer[Request] = Pacer(budget_ms)
        self._channel: Channel[Request, Picture] = pipeline.open(self._draw, self._send, self._pacer)
        self._channel.failed = self._failed
        self._faults = Faults()
        self._styling: Styling | None = None
        self._recent: Recent | None = None  # while pictures are styled: what comes of a picture at rest later is laid over the same frame
        self._photos = Worker("splatview-screenshot")
        self._leaving = Interrupt()
        self._guard = Guard()
        self._lock = threading.Lock()
        self._wanting = threading.Lock()  # or of two threads the one with the older request might ask last
        self._sent: Picture | None = None
        self.resting_seconds = 0.0  # that drawing pictures at rest has taken, all together
        self._seen: Picture | None = None  # the last one that the page shows
        self._cameras: OrderedDict[int, Camera] = OrderedDict()  # of the last pictures, by their numbers
        self._reported_at = -1e9
        self._pressed_at: dict[str, float] = {}
        self.flying = False

    # What the page tells.

    def camera_moved(self) -> None:
        self._channel.awake()
        self.refresh()

    def picture_shown(self, number: int) -> None:
        self._seen = self._sent
        self._channel.acknowledge(number)

    def camera_held(self, on: bool) -> None:
        self._channel.hold(on)

    def point_picked(self, x: float, y: float) -> None:
        """Turn to what lies under the fractions `x`, `y` of the picture that the person saw."""
        if not (0 <= x < 1 and 0 <= y < 1):
            return
        if self._pacer.draws != "always":  # the person saw splats
            self._pipeline.call(lambda: self._draw_and_turn_to(x, y))
        elif self._seen is not None:
            self._turn_to(x, y, self._seen.depth, self._seen.camera)

    def _draw_and_turn_to(self, x: float, y: float) -> None:
        width, height = self._page.size
        camera = self.camera(PICK_WIDTH, max(1, round(PICK_WIDTH * height / max(1, width))))
        self._turn_to(x, y, draw(self._renderer, self._request(camera), camera)[0].depth, camera)

    def _turn_to(self, x: float, y: float, depth: Floats, camera: Camera) -> None:
        point = point_under(x, y, depth, camera)
        if point is None:
            self._page.notify("Nothing there", "The click met no splat. Press F and click on a part of the scene.")
        else:
            self._page.look_at(tuple(self._placing.apply(point).tolist()))

    # What the panel and the keys ask for.

    def change(self, **settings: Any) -> None:
        """Change some of the view's settings and show the result."""
        with self._lock:
            self.view = replace(self.view, **settings)
        self.refresh()

    def set_beside(self, what: Shown | None) -> None:
        """Split the picture, with `what` on the right; None: do not."""
        self.change(beside=what)
        self._page.split(None if what is None else self.view.split)

    def split_moved(self, at: float) -> None:
        """The person dragged the split to the fraction `at` of the width."""
        if 0 <= at <= 1:
            self.change(split=at)

    @property
    def styling(self) -> Styling | None:
        """What redraws the pictures, once a style was chosen."""
        return self._styling

    def set_style(self, stylizer: Stylizer, needs: tuple[Output, ...] = ()) -> None:
        """Let the view "style" show pictures of `stylizer`, which needs these outputs of frames beside the usual ones."""
        if self._styling is None:
            self._styling = Styling(stylizer, needs)
            self._styling.changed = self._channel.renew
            self._styling.failed = self._style_failed
            self._channel.renew()  # it may be waited for
        else:
            self._styling.use(stylizer, needs)
        if needs != self.view.style_needs:
            self.change(style_needs=needs)

    def _style_failed(self, error: Exception | None) -> None:
        """The pictures go on as they are."""
        if error is None:
            self._page.fault(None, "The style failed")
        else:
            self._page.fault(f"{(str(error) or type(error).__name__).rstrip('. ')}. The picture is shown without it.", "The style failed")
            log.error("the style failed", exc_info=error)

    @property
    def budget_ms(self) -> float:
        return self._pacer.budget_ms

    @property
    def quality(self) -> int:
        return self._pacer.best_quality

    def set_budget(self, milliseconds: float) -> None:
        self._pacer.budget_ms = milliseconds

    def set_quality(self, quality: int) -> None:
        self._pacer.best_quality = quality

    def set_fov(self, fov_y: float) -> None:
        self._page.set_fov(fov_y)

    @property
    def middle_depth(self) -> float | None:
        """Half of what the last picture shows is nearer: scene units along the view axis; None: it shows nothing."""
        sent = self._sent
        depth = np.zeros(0) if sent is None else sent.depth[sent.depth > 0]
        return float(np.median(depth)) if len(depth) else None

    def home(self) -> None:
        self._page.home()

    def pick_focus(self) -> None:
        if self.pressed("focus"):
            self._page.pick()

    def set_flying(self, on: bool) -> None:
        if on != self.flying:
            self.flying = on
            self._page.fly(on)

    def pressed(self, key: str) -> bool:
        """Whether this is a new press of `key`, and not the repetition of one that is held."""
        now, before = time.monotonic(), self._pressed_at.get(key, -1e9)
        self._pressed_at[key] = now
        return now - before > REPEAT

    def refresh(self) -> None:
        """Want the picture that fits the camera, the view and the scene as they are now."""
        with self._wanting:
            width, height = (max(1, round(side * self.view.render_size)) for side in self._page.size)
            try:
                camera = self.camera(min(width, LARGEST), min(height, LARGEST))
            except ValueError:  # a page may send anything
                return
            if self.preview is not None:
                self._channel.limit(SERVER_DRAWS[self.preview.settle(self.view)])
            request = self._request(camera)
            self._channel.expect_fields(bool(request.scene.visible_fields))
            self._channel.ask(request)

    def world_changed(self) -> None:
        """The scene is another one."""
        if self.preview is not None:
            self.preview.world_changed()
        self.refresh()

    def _request(self, camera: Camera) -> Request:
        state = self._world.state
        return Request(state.scene, camera, self.view, NEAR / self._placing.scale, state.undrawn, state.selected)

    def camera(self, width: int, height: int) -> Camera:
        """The page's camera, in the world."""
        return world_camera(self._page.pose, self._placing, width, height)

    def camera_of(self, number: int) -> Camera:
        """The camera of picture `number` at the size of a picture at rest; of the newest one, if that is not known any more."""
        width, height = (min(max(1, round(side * self.view.render_size)), LARGEST) for side in self._page.size)
        with self._lock:
            seen = self._cameras.get(number) or next(reversed(self._cameras.values()), None)
        if seen is None or self._pacer.draws != "always":  # the person saw splats, from where the page is
            return self.camera(width, height)
        return seen.resized(width, height)

    @property
    def look(self) -> select.Look:
        """The settings of the view that change what is seen."""
        return select.Look(self.view.antialiased, NEAR / self._placing.scale, self.view.splat_scale)

    def point_at(self, number: int, x: float, y: float) -> Future[Doubles | None]:
        """The world point [3] under the fractions `x`, `y` of picture `number`; None where nothing is."""
        try:
            camera = self.camera_of(number)
        except ValueError as error:  # a page may send anything
            failed: Future[Doubles | None] = Future()
            failed.set_exception(error)
            return failed
        request = self._request(camera)
        at = x * camera.width, y * camera.height
        k = camera.K.copy()
        k[:2, 2] -= np.floor(at)  # a picture of that pixel alone
        one = Camera(k, camera.camera_from_world, 1, 1)
        options = replace(request.options("colour"), outputs=("median_depth", "depth"))

        def find() -> Doubles | None:
            frame = self._renderer.render(request.scene, one, options)
            depth = float(frame.median_depth[0, 0] or frame.depth[0, 0])
            return camera.unproject(at, depth) if depth > 0 else None

        return self._pipeline.call(find, at_once=True)

    def screenshot(self, width: int, height: int) -> Future[None]:
        """Draw the view at `width` x `height` and hand it to the browser as a PNG; everybody's pictures go on meanwhile."""
        width, height = (min(max(1, side), LARGEST) for side in (width, height))
        request = self._request(self.camera(width, height))
        turns = TakingTurns(self._renderer, self._pipeline)

        def take() -> None:
            try:
                styling = self._styling if request.view.styles else None
                if styling is not None and styling.figures[1].p50_ms > SLOW_MS:
                    self._page.notify("Screenshot", "It is redrawn in the style first, which takes a while.")
                styled = None if styling is None else styling.exactly
                pixels = draw(turns, request, request.camera, self._leaving, styled=styled)[1]
                self._page.download(f"splatview_{width}x{height}.png", encode_png(pixels))
            except Exception as error:
                self._page.notify("No screenshot", str(error) or "the viewer was closed")
                raise

        return self._photos.call(take)

    def close(self) -> None:
        """Let go of everything that was drawn for the page, and of what is being drawn."""
        self._leaving.set()
        self._photos.close(0.0)
        self._channel.close()
        if self._styling is not None:
            self._styling.close()
        if self.preview is not None:
            self.preview.close()
        self._sent = self._seen = None

    # What the drawing thread does.

    def _draw(self, turn: Turn[Request], interrupt: Interrupt) -> Picture:
        began = time.perf_counter()
        try:
            return self._drawn(turn, interrupt)
        finally:
            if turn.still:
                self.resting_seconds += time.perf_counter() - began

    def _drawn(self, turn: Turn[Request], interrupt: Interrupt) -> Picture:
        request, camera = turn.request, turn.request.camera
        if turn.scale < 1:
            camera = camera.resized(max(1, round(camera.width * turn.scale)), max(1, round(camera.height * turn.scale)))
        saved = Saved(None if turn.still else self._guard.limit, turn.detail, turn.share)
        styled = self._styled_by(request.view, turn.still)
        frame, pixels = draw(self._recent or self._renderer, request, camera, interrupt, saved, styled)
        if interrupt.is_set:
            raise Interrupted
        self._pacer.fields_ms = frame.timings.get("fields", 0.0)
        if not turn.still:
            blending = frame.timings.get("bin", 0.0) + frame.timings.get("blend", 0.0)
            self._guard.observe(sum(frame.timings.values()), blending, self.budget_ms, turn.smallest)
        encoder = getattr(self._renderer, "encode_jpeg", None)  # where it draws on a GPU
        return encoded(frame, pixels, self._placing.scale, None if turn.still else turn.quality, saved, encoder)

    def _styled_by(self, view: View, still: bool) -> Styled | None:
        """What gives a frame's style, if the view shows any; otherwise the stylizer rests."""
        if self._styling is None:
            return None
        if view.styles:
            self._recent = self._recent or Recent(self._renderer)
            return partial(self._styling.show, still=still)
        self._recent = None
        self._styling.pause()
        return None

    def _failed(self, turn: Turn[Request], error: Exception) -> None:
        if self._faults.note(error, turn):
            self._page.fault(self._faults.now)

    def _send(self, picture: Picture, number: int) -> None:
        if self._faults.clear():
            self._page.fault(None)
        self._sent = picture
        with self._lock:
            self._cameras[number] = picture.camera
            while len(self._cameras) > SEEN:
                self._cameras.popitem(last=False)
        if self.preview is not None:
            self.preview.sending(picture.camera)
        self._page.show(picture.jpeg, picture.depth_png, number)
        now = self._pipeline.clock()
        self._pacer.stats.carried(len(picture.jpeg) + len(picture.depth_png), now)
        if picture.still or now - self._reported_at > REPORT:
            self._reported_at = now
            self.report(self._pacer.stats.snapshot(now, self._pacer.dropped), picture)
