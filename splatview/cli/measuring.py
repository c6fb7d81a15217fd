"""Timing a renderer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from splatview.camera import Camera
from splatview.frame import Renderer, RenderOptions
from splatview.scene import Scene

WARM_UP = 2  # frames
DRAWN = RenderOptions(outputs=("rgb8",))


@dataclass(frozen=True)
class Measurement:
    """Medians over warm frames of one view."""

    width: int
    height: int
    frame_ms: float  # wall time of the whole call
    stages_ms: dict[str, float]
    counts: dict[str, int]  # Frame.counts of the last one


def measure(renderer: Renderer, scene: Scene, camera: Camera, frames: int = 15, options: RenderOptions = DRAWN) -> Measurement:
    """How long `renderer` takes for one view of `scene`."""
    for _ in range(WARM_UP):
        renderer.render(scene, camera, options)
    walls, drawn = [], []
    for _ in range(frames):
        started = time.perf_counter()
        drawn.append(renderer.render(scene, camera, options))
        walls.append(1000 * (time.perf_counter() - started))
    stages = {stage: median(frame.timings[stage] for frame in drawn) for stage in drawn[-1].timings}
    return Measurement(camera.width, camera.height, median(walls), stages, dict(drawn[-1].counts))
