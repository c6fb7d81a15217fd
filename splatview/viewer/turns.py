"""The renderer for everybody but the drawing thread, which owns it: each call is a task between two pictures."""

from __future__ import annotations

from numpy.typing import ArrayLike

from splatview.camera import Camera
from splatview.frame import Frame, Interrupt, Masks, Renderer, RenderOptions
from splatview.scene import Scene
from splatview.stream.pipeline import Pipeline


class TakingTurns:
    """A renderer whose calls wait for their turn; pictures at rest make way. CancelledError once the viewer is closed."""

    def __init__(self, renderer: Renderer, pipeline: Pipeline) -> None:
        self.name = renderer.name
        self._renderer = renderer
        self._pipeline = pipeline

    def render(self, scene: Scene, camera: Camera, options: RenderOptions = RenderOptions(), interrupt: Interrupt | None = None) -> Frame:
        return self._pipeline.call(lambda: self._renderer.render(scene, camera, options, interrupt), at_once=True).result()

    def contributors(
        self,
        scene: Scene,
        camera: Camera,
        region: ArrayLike,
        least: float,
        options: RenderOptions = RenderOptions(),
        interrupt: Interrupt | None = None,
    ) -> Masks:
        return self._pipeline.call(
            lambda: self._renderer.contributors(scene, camera, region, least, options, interrupt), at_once=True
        ).result()
