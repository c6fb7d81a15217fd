"""The viewer: one scene, one renderer, and everybody who looks at it."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import viser

from splatview.edit.document import Document
from splatview.edit.progress import Progress, silent
from splatview.edit.select import Tools
from splatview.frame import Renderer
from splatview.framing import frame_scene
from splatview.outputs.guard import announce, listen
from splatview.render import open_renderer
from splatview.scene import Scene
from splatview.stream.pipeline import Pipeline
from splatview.viewer import networks
from splatview.viewer.desk import Desk
from splatview.viewer.door import Door
from splatview.viewer.editor import Editor
from splatview.viewer.loading import Loading
from splatview.viewer.page import Page, quiet, start_viser
from splatview.viewer.panels import Panel
from splatview.viewer.preview import Preview
from splatview.viewer.remembered import Remembered
from splatview.viewer.session import Session
from splatview.viewer.settings import ViewerSettings
from splatview.viewer.space import page_from_world, page_pose
from splatview.viewer.splat_page import SplatPage
from splatview.viewer.studio import Studio
from splatview.viewer.tools import ToolPage
from splatview.viewer.turns import TakingTurns
from splatview.viewer.uploads import Uploads
from splatview.viewer.webgl import Packer
from splatview.viewer.worker import Worker
from splatview.viewer.world import World


class Viewer:
    """A running viewer. `url` is the address of its page; `scene` may be replaced at any time.

    `key` names the scene, by the files it came from, say: with it, the panel's settings, saved views, and how layers of files stand
    are remembered for the next viewer with the same key, and edits are journalled. `document` is what was made of `scene` in the file
    `path`; doing its operations again tells `progress`.
    """

    def __init__(
        self,
        scene: Scene,
        settings: ViewerSettings = ViewerSettings(),
        *,
        renderer: Renderer | None = None,
        key: str | None = None,
        document: Document | None = None,
        path: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        listener = listen(settings.host, settings.port)  # first: a taken port is told before anything is loaded
        begun = ExitStack()  # what has to be closed if something fails further on
        begun.callback(listener.close)
        try:
            self.renderer = renderer or open_renderer(settings.backend)
            remembered = Remembered(key, self._bookmarks_changed)
            scene = remembered.restored(scene) if document is None else scene
            self.framing = frame_scene(scene, settings.up)
            self.placing = page_from_world(self.framing)
            self._settings = settings
            self._sessions: dict[int, tuple[Session, Panel]] = {}
            self._lock = threading.Lock()
            self._closed = threading.Event()
            self._pipeline = Pipeline()
            self._pipeline.start()
            begun.callback(self._pipeline.close)
            turns = TakingTurns(self.renderer, self._pipeline)
            self.desk = Desk(scene, key, document, path)
            begun.callback(self.desk.close)
            self._tools = Tools(lambda: turns, self.desk.load, progress)
            self.world = World(scene, self._tools, self._world_changed, self.desk.document, self.desk.record)
            begun.callback(self.world.close)
            self.world.busy_changed = self._busy_changed
            self._people = itertools.count(1)
            self._packer = Packer()
            limit, loading = settings.upload_limit_mb * 10**6, Loading(self.world, self.desk, self._world_changed)
            self.studio = Studio(
                self.world, self.desk, self.placing, loading, remembered, Worker("splatview-doctor"), settings.root, limit > 0
            )
            self.studio.live.changed = self._training_changed
            self.studio.styles.changed = self._styles_changed
            loading.learn(scene)
            secret = secrets.token_urlsafe(24)
            self._server = start_viser(secret)
            self._set_home()
            self._server.on_client_connect(self._connected)
            self._server.on_client_disconnect(self._gone)
            self._networks = Worker("splatview-networks")
            self._uploads = Uploads(limit, self._received) if limit else None
            self._door = Door(listener, self._server.get_port(), secret, self._uploads, settings.tls(), self.studio.downloads)
            self._door.start()
        except BaseException:
            begun.close()
            raise

    @property
    def url(self) -> str:
        return self._door.url

    @property
    def sessions(self) -> list[Session]:
        """The visits of now."""
        with self._lock:
            return [session for session, _ in self._sessions.values()]

    @property
    def scene(self) -> Scene:
        return self.world.scene

    def show(self, scene: Scene) -> None:
        """Show `scene` to everybody from now on; the page's space stays as it is."""
        self.world.show(scene).result()

    def _world_changed(self) -> None:
        self.studio.remembered.note(self.world.scene)
        pages = self._open_pages()
        for session, _ in pages:  # first: the pictures are what people wait for
            session.world_changed()
        for _, panel in pages:
            panel.world_changed()

    def _busy_changed(self) -> None:
        for _, panel in self._open_pages():
            panel.busy_changed()

    def _training_changed(self) -> None:
        for _, panel in self._open_pages():
            panel.training_changed()

    def _styles_changed(self) -> None:
        for _, panel in self._open_pages():
            panel.styles_changed()

    def _bookmarks_changed(self) -> None:
        for _, panel in self._open_pages():
            panel.bookmarks_changed()

    def _open_pages(self) -> list[tuple[Session, Panel]]:
        with self._lock:
            return [(session, panel) for session, panel in self._sessions.values() if panel.page.open]

    def wait(self) -> None:
        """Return when the viewer was closed."""
        while not self._closed.is_set():
            time.sleep(0.1)  # not the event's own wait: a signal as that takes its lock would leave it taken, and `close` stuck

    def close(self) -> None:
        """Close every page, free the port and stop drawing."""
        if self._closed.is_set():
            return
        self._closed.set()
        for session in self.sessions:
            session.close()  # first: a picture that is being drawn is given up
        parts = self.studio.close, self._networks.close, self._door.close, self._stop_viser, self._pipeline.close, self._packer.close
        closing = [threading.Thread(target=part, name="splatview-close", daemon=True) for part in parts]  # each may have to wait a little
        for one in closing:
            one.start()
        for one in closing:
            one.join()
        if self._uploads is not None:
            self._uploads.close()

    def _stop_viser(self) -> None:
        with quiet():
            self._server.stop()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _set_home(self) -> None:
        pose = page_pose(self.framing.camera(1280, 720), self.placing, self.framing.centre)
        home = self._server.initial_camera
        home.position, home.look_at, home.fov = pose.position, pose.look_at, pose.fov_y

    async def _connected(self, client: viser.ClientHandle) -> None:
        page = Page(client)
        if not page.open:  # it left before its first message was read; viser will not say so again
            return
        session = Session(page, self.world, self.placing, self.renderer, self._pipeline, self._settings.budget_ms)
        splats = SplatPage(page)
        preview = session.preview = Preview(splats, self.world, self.placing, self._packer, session.refresh)
        splats.on_able(preview.told_able)
        splats.on_arrived(preview.arrived)
        hand = ToolPage(page)
        editor = Editor(page, hand, session, self.world, self._tools, f"person {next(self._people)}")
        panel = Panel(page, session, self.studio, editor, hand)
        panel.add_drawer(preview, self._settings.draw)
        with self._lock:
            self._sessions[client.client_id] = session, panel
        page.on_camera(session.camera_moved)
        page.on_sized(session.refresh)
        page.on_shown(session.picture_shown)
        page.on_held(session.camera_held)
        page.on_picked(session.point_picked)
        if self._uploads is not None:
            page.accept_files(self._uploads.limit, client.client_id)
        page.on_split(session.split_moved)
        session.refresh()
        if not page.open:  # it left in the meantime
            self._leave(client.client_id)

    def _received(self, path: Path, page: str) -> Future[str]:
        """A file was sent from a page: layers for everybody, or a network that this page draws with from now on."""
        if path.suffix.lower() != networks.SUFFIX:
            return self.studio.loading.add(path, stays=False)

        def take() -> str:
            place = networks.kept(path)
            with self._lock:
                panel = next((panel for client, (_, panel) in self._sessions.items() if str(client) == page), None)
            if panel is not None:
                panel.network_arrived(place)
            return f"the network {place.name}"

        return self._networks.call(take)

    async def _gone(self, client: viser.ClientHandle) -> None:
        self._leave(client.client_id)

    def _leave(self, client_id: int) -> None:
        with self._lock:
            session, panel = self._sessions.pop(client_id, (None, None))
        if session is not None and panel is not None:
            try:
                panel.close()
            finally:
                session.close()


def serve(
    scene: Scene,
    settings: ViewerSettings = ViewerSettings(),
    *,
    renderer: Renderer | None = None,
    key: str | None = None,
    document: Document | None = None,
    path: Path | None = None,
    progress: Progress = silent,
    block: bool = True,
) -> Viewer:
    """Show `scene` in the browser; returns when the viewer is closed or Ctrl+C is pressed, at once if not `block`.

    Prints one line with the page's address when it is ready. OSError if the port is taken.
    """
    viewer = Viewer(scene, settings, renderer=renderer, key=key, document=document, path=path, progress=progress)
    announce(viewer.url, settings.open)
    if block:
        try:
            viewer.wait()
        finally:
            viewer.close()
    return viewer
