"""`splatview bench`: how fast this machine draws a scene."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes

from splatview.cli.cameras import CameraFlags
from splatview.cli.faults import UserError, users_fault
from splatview.cli.flags import MAYBE_FILE, MaybeLevel, ScenePaths
from splatview.cli.loading import contents, load_scenes, renderer
from splatview.cli.measuring import Measurement, measure
from splatview.cli.sizes import Size
from splatview.cli.waiting import counted
from splatview.render import Backend

SIZES = (Size(640, 360), Size(1280, 720), Size(1920, 1080))


@dataclass(frozen=True)
class Command:
    """Measure how fast this machine draws a scene: the median milliseconds of a warm frame, whole and by stage, at several sizes.

    The first camera of --camera is used, or the default view.
    """

    scenes: ScenePaths
    """Scene files; several are drawn together."""
    level: MaybeLevel = None
    """Level of detail of streamed scenes, 0 the finest. Default: the finest with at most 20 million Gaussians."""
    json: Annotated[Path | None, MAYBE_FILE] = None
    """Also write the figures to this file."""
    frames: int = 15
    """Frames that are measured at each size, after two to warm up."""
    backend: Backend = "auto"
    """What draws."""
    viewpoint: OmitArgPrefixes[CameraFlags] = field(default_factory=CameraFlags)

    def run(self) -> None:
        if self.frames < 1:
            raise UserError(f"--frames: expected 1 or more, got {self.frames}")
        scene = load_scenes(self.scenes, self.level)
        camera = self.viewpoint.cameras(scene)[0]
        views = [camera] if self.viewpoint.size else [size.fit(camera) for size in SIZES]
        draw = renderer(self.backend)
        rows = [measure(draw, scene, view, frames=self.frames) for view in counted(views, "measuring")]
        print_rows(contents(scene), draw.name, rows)
        if self.json is not None:
            with users_fault(OSError):
                self.json.write_text(
                    json.dumps({"gaussians": scene.count, "backend": draw.name, "sizes": [asdict(row) for row in rows]}, indent=2) + "\n"
                )


def print_rows(what: str, backend: str, rows: list[Measurement]) -> None:
    """Write the figures for people."""
    stages = list(rows[0].stages_ms)
    print(f"{what}, backend {backend}; median milliseconds of a warm frame")
    print("".join(f"{title:>12}" for title in ("size", "frame", "per second", *stages)))
    for row in rows:
        numbers = (row.frame_ms, 1000 / row.frame_ms, *(row.stages_ms[stage] for stage in stages))
        print(f"{row.width}x{row.height}".rjust(12) + "".join(f"{number:>12.2f}" for number in numbers))
