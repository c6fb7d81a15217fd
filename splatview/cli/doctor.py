"""`splatview doctor`: which backends and styles work on this machine, and why not."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import splatview
from splatview.cli.doctor_styles import VIDEOS, styles
from splatview.render import Backend
from splatview.render.backends import Check


@dataclass(frozen=True)
class Command:
    """Tell which backends and styles work on this machine and, where one does not, why not and what to do.

    Each backend that can draws a small picture.
    """

    json: bool = False
    """Print JSON instead of text, for scripts."""

    def run(self) -> None:
        backends, kinds = {"cpu": cpu(), "cuda": cuda()}, styles()
        if self.json:
            found = {name: {kind: told(checks) for kind, checks in of.items()} for name, of in (("backends", backends), ("styles", kinds))}
            print(json.dumps({"splatview": splatview.__version__, "python": platform.python_version(), **found}, indent=2))
            return
        print(f"splatview {splatview.__version__}, Python {platform.python_version()}, {platform.machine()}")
        for name, checks in backends.items():
            show(f"backend {name}", checks)
        print(f"\n--backend auto takes {'cuda' if works(backends['cuda']) else 'cpu'}")
        for name, checks in kinds.items():
            show(name if name == VIDEOS else f"style {name}", checks)


def works(checks: list[Check]) -> bool:
    return all(check.works for check in checks)


def told(checks: list[Check]) -> dict[str, Any]:
    """For scripts."""
    return {"works": works(checks), "checks": [asdict(check) for check in checks]}


def show(what: str, checks: list[Check]) -> None:
    """And for people."""
    print(f"\n{what}: {'works' if works(checks) else 'does not work here'}")
    for advice, alike in groupby(checks, lambda check: "" if check.works else check.advice):
        for check in alike:
            print(f"  {'ok' if check.works else 'no':<3} {check.what}: {check.found}")
        if advice:
            print(f"      to do: {advice}")


def cpu() -> list[Check]:
    """What the CPU backend needs: nothing but itself."""
    return [proof("cpu", "install splatview again: its native module does not run on this machine")]


def cuda() -> list[Check]:
    """What the CUDA backend needs, up to the first thing that is missing; a picture last."""
    from splatview.render.backends import cuda_needs

    checks = list(cuda_needs())
    if all(check.works for check in checks):
        checks.append(proof("cuda", "read the reason above; pip install --force-reinstall 'splatview[cuda]' builds gsplat again"))
    return checks


def proof(backend: Backend, advice: str) -> Check:
    """Whether a backend draws a ball as it should look."""
    import numpy as np

    from splatview import Camera, Gaussians, Layer, RenderOptions, Scene, open_renderer

    what = "a picture"
    origin, sh = np.zeros((1, 3), np.float32), np.array([[[1, 0, -1]]], np.float32)
    ball = Gaussians(origin, np.eye(1, 4, dtype=np.float32), origin - 1, np.full(1, 4, np.float32), sh)
    camera = Camera.look_at((0, -4, 0), (0, 0, 0), (0, 0, 1), 0.8, 64, 64)
    try:
        renderer = open_renderer(backend)
        frame = renderer.render(Scene({"ball": Layer(ball)}), camera, RenderOptions(outputs=("rgb", "depth")))
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        return Check(what, False, " ".join(str(error).split()), advice)
    expected = np.array([0.782, 0.5, 0.218]) * (1 / (1 + np.exp(-4.0)))
    if not (np.allclose(frame.rgb[32, 32], expected, atol=0.02) and abs(frame.depth[32, 32] - 4) < 0.01):
        return Check(what, False, f"drawn by {renderer.name}, and wrong: {frame.rgb[32, 32].round(3).tolist()} in the middle", advice)
    return Check(what, True, f"drawn by {renderer.name}")
