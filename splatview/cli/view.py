"""`splatview view`: fly through scenes in the browser."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from tyro.conf import OmitArgPrefixes

from splatview.cli.documents import DocumentFlags, document_among
from splatview.cli.ending import ended_by_signals
from splatview.cli.faults import UserError, users_fault
from splatview.cli.flags import MaybeLevel, ScenePaths
from splatview.cli.loading import demo_scene, load_scenes, renderer
from splatview.cli.waiting import waiting
from splatview.edit.journal import Locked
from splatview.outputs.guard import is_loopback
from splatview.viewer import ViewerSettings, serve
from splatview.viewer.desk import open_document


@dataclass(frozen=True)
class Command:
    """Fly through scenes in the browser.

    Prints one line with the address when the page is ready. Ctrl+C ends it, and SIGTERM (exit code 143). Without --root, what the page
    may name lies in the first scene's folder, as long as only this machine reaches the page; beyond it, nothing may be named. The panel's
    settings, saved views, and names and places of layers are remembered for the next time that the same files are opened. Edits are on
    the disk as soon as the page shows them; those that were not saved are offered the next time.
    """

    scenes: ScenePaths = ()
    """Scene files, each becomes a layer; or one document (.splatview). None: the bundled demo scene."""
    level: MaybeLevel = None
    """Level of detail of streamed scenes, 0 the finest. Default: the finest with at most 20 million Gaussians."""
    documents: OmitArgPrefixes[DocumentFlags] = field(default_factory=DocumentFlags)
    settings: OmitArgPrefixes[ViewerSettings] = field(default_factory=ViewerSettings)

    def run(self) -> None:
        with ended_by_signals():
            paths, settings = self.scenes or (demo_scene(),), self.settings
            if settings.root is None and is_loopback(settings.host):
                settings = replace(settings, root=paths[0] if paths[0].is_dir() else paths[0].parent)
            if (document := document_among(paths, self.level)) is not None:
                self._edit(document, settings)
                return
            scene, draw = load_scenes(paths, self.level), renderer(settings.backend)
            with users_fault(OSError, Locked):  # a busy port, an address that is not ours
                serve(scene, settings, renderer=draw, key="\n".join(sorted(str(path.resolve()) for path in paths)))

    def _edit(self, path: Path, settings: ViewerSettings) -> None:
        """Open a document."""
        with users_fault(ValueError, OSError, ImportError), waiting(f"reading {path}"):
            scene, document = open_document(path, self.documents.changed, self.documents.sources)
        draw = renderer(settings.backend)
        try:
            with users_fault(OSError, ValueError), waiting(f"opening {path}") as progress:
                known = {"key": str(path.resolve()), "document": document, "path": path}
                viewer = serve(scene, settings, renderer=draw, progress=progress, block=False, **known)
        except Locked as error:
            raise UserError(f"{path}: {error}") from error
        with viewer:
            viewer.wait()
