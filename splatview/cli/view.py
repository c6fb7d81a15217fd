"""`splatview view`: fly through scenes in the browser."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from tyro.conf import OmitArgPrefixes

from splatview.cli.faults import users_fault
from splatview.cli.flags import MaybeLevel, ScenePaths
from splatview.cli.loading import demo_scene, load_scenes, renderer
from splatview.viewer import ViewerSettings


@dataclass(frozen=True)
class Command:
    """Fly through scenes in the browser.

    Prints one line with the address when the page is ready. Ctrl+C ends it, and SIGTERM (exit code 143). Without --root, what the page
    may name lies in the first scene's folder, as long as only this machine reaches the page; beyond it, nothing may be named. The panel's
    settings, saved views, and names and places of layers are remembered for the next time that the same files are opened.
    """

    scenes: ScenePaths = ()
    """Scene files; each becomes a layer. None: the bundled demo scene."""
    level: MaybeLevel = None
    """Level of detail of streamed scenes, 0 the finest. Default: the finest with at most 20 million Gaussians."""
    settings: OmitArgPrefixes[ViewerSettings] = field(default_factory=ViewerSettings)

    def run(self) -> None:
        from splatview.viewer import serve
        from splatview.viewer.door import is_loopback

        with ended_by_signals():
            paths, settings = self.scenes or [demo_scene()], self.settings
            scene, draw = load_scenes(paths, self.level), renderer(settings.backend)
            if settings.root is None and is_loopback(settings.host):
                settings = replace(settings, root=paths[0] if paths[0].is_dir() else paths[0].parent)
            with users_fault(OSError):  # a busy port, an address that is not ours
                serve(scene, settings, renderer=draw, key="\n".join(sorted(str(path.resolve()) for path in paths)))


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM leaves the block as Ctrl+C does, so that everything is closed on the way; then the process ends without delay."""

    def leave(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    handler, threads = signal.signal(signal.SIGTERM, leave), set(threading.enumerate())
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as left:
        if any(one.name.startswith("splatview") for one in set(threading.enumerate()) - threads):
            # Native code that cannot be interrupted is at work there: Python would abort while it takes itself down around it.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(left.code if isinstance(left, SystemExit) and isinstance(left.code, int) else 128 + signal.SIGINT)
        raise
    finally:
        signal.signal(signal.SIGTERM, handler)
