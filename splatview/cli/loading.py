"""Scenes and renderers for the commands, with the user's errors told apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import splatview
from splatview.cli.faults import UserError, users_fault
from splatview.cli.waiting import waiting
from splatview.frame import Renderer
from splatview.render import Backend, open_renderer
from splatview.scene import Scene

DEMO = Path("scenes/led_stage.spz")


def demo_scene() -> Path:
    """The bundled scene: in the package once it is installed, beside it in a checkout."""
    package = Path(splatview.__file__).parent
    return next((path for path in (package / DEMO, package.parent / DEMO) if path.exists()), package / DEMO)


def contents(scene: Scene) -> str:
    """What is in a scene, hidden layers included: 1,000 Gaussians and 1 hash-grid field."""
    fields = len(scene.layers) - len(scene.splat_layers)
    parts = [f"{scene.count:,} Gaussians"] if scene.count or not fields else []
    return " and ".join(parts + ([f"{fields} hash-grid field{'s' if fields > 1 else ''}"] if fields else []))


def load_scene(path: Path, level: int | None = None) -> Scene:
    """The scene in a file or folder, at a `level` of detail where it has several; UserError if it is missing, broken or unknown."""
    from splatview.formats import load

    with users_fault(ValueError, OSError, ImportError), waiting(f"reading {path}") as progress:
        scene = load(path, progress, level=level)
        return scene.read_from(str(path.resolve()))


def load_scenes(paths: Sequence[Path], level: int | None = None) -> Scene:
    """The layers of all files, each as it was placed, those with levels of detail at `level`; UserError if there is no path."""
    if not paths:
        raise UserError("expected a scene file, got none; for example: splatview view scenes/led_stage.spz")
    from splatview.formats import levels

    with users_fault(ValueError, OSError, ImportError):
        streamed = [path for path in paths if level is not None and levels(path)] or paths  # if none has levels, the first says so
    scene = Scene()
    for path in paths:
        scene = scene.joined(load_scene(path, level if path in streamed else None))
    return scene


def renderer(backend: Backend) -> Renderer:
    """The renderer of a backend; UserError if this machine cannot run it."""
    with users_fault(ValueError, ImportError, RuntimeError):
        return open_renderer(backend)
