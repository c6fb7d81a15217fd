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
    walls, timings, counts = [], [], {}
    for _ in range(frames):
        started = time.perf_counter()
        frame = renderer.render(scene, camera, options)
        walls.append(1000 * (time.perf_counter() - started))
        timings.append(frame.timings)
        counts = dict(frame.counts)
        del frame  # its pictures' memory is the next one's
    stages = {stage: median(each[stage] for each in timings) for stage in timings[-1]}
    return Measurement(camera.width, camera.height, median(walls), stages, counts)
