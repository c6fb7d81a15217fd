"""`splatview view`: fly through scenes in the browser."""

from __future__ import annotations

from dataclasses import dataclass, field

from tyro.conf import OmitArgPrefixes

from splatview.cli.faults import users_fault
from splatview.cli.flags import ScenePaths
from splatview.cli.loading import demo_scene, load_scenes, renderer
from splatview.viewer import ViewerSettings


@dataclass(frozen=True)
class Command:
    """Fly through scenes in the browser.

    Prints one line with the address when the page is ready. Ctrl+C ends it.
    """

    scenes: ScenePaths = ()
    """Scene files; each becomes a layer. None: the bundled demo scene."""
    settings: OmitArgPrefixes[ViewerSettings] = field(default_factory=ViewerSettings)

    def run(self) -> None:
        from splatview.viewer import serve

        scene, draw = load_scenes(self.scenes or [demo_scene()]), renderer(self.settings.backend)
        with users_fault(OSError):  # a busy port, an address that is not ours
            serve(scene, self.settings, renderer=draw)
