"""The CPU backend: Gaussians drawn by the native tile rasteriser."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from splatview.camera import Camera
from splatview.frame import Frame, Interrupt, Interrupted, RenderOptions
from splatview.gaussians import Gaussians
from splatview.scene import Scene

try:
    from splatview.native import _splats
except ImportError as error:  # most often: `pip install .`, and Python started in the checkout, where it finds the source first
    where = Path(__file__).parents[1]
    raise ImportError(
        f"the native renderer is not built in {where}: start Python in another folder, or pip install -e {where.parent}"
    ) from error


class CpuRenderer:
    """Draws splats on all cores. `SPLATVIEW_SIMD` forces avx512, avx2 or portable, `SPLATVIEW_THREADS` the number of threads."""

    def __init__(self) -> None:
        threads = os.environ.get("SPLATVIEW_THREADS") or str(len(os.sched_getaffinity(0)))
        if not threads.isdecimal() or not 1 <= int(threads) <= 1024:
            raise ValueError(f"SPLATVIEW_THREADS: expected a number of threads from 1 to 1024, got {threads!r}")
        self._native = _splats.Renderer(os.environ.get("SPLATVIEW_SIMD", ""), int(threads))
        self._packed: weakref.WeakKeyDictionary[Gaussians, _splats.PackedScene] = weakref.WeakKeyDictionary()
        self.name = f"cpu {self._native.simd} x{self._native.threads}"

    def prepare(self, splats: Gaussians) -> _splats.PackedScene:
        """`splats` in the renderer's own layout; kept as long as they live."""
        if splats not in self._packed:
            arrays = splats.means, splats.quats, splats.log_scales, splats.opacity_logits, splats.sh
            self._packed[splats] = self._native.pack(*arrays)
        return self._packed[splats]

    @property
    def nbytes(self) -> int:
        """Bytes of the frame buffers and of every packed scene."""
        return self._native.nbytes + sum(packed.nbytes for packed in self._packed.values())

    def render(self, scene: Scene, camera: Camera, options: RenderOptions = RenderOptions(), interrupt: Interrupt | None = None) -> Frame:
        """The picture, as `splatview.frame.Renderer` describes it."""
        places = {name: index for index, name in enumerate(scene.layers)}
        visible = scene.visible_layers
        layers = []
        for name, layer in visible.items():
            pose = np.ascontiguousarray((camera.camera_from_world @ layer.placement.matrix)[:3])
            antialiased = layer.content.kind == "antialiased" if options.antialiased is None else options.antialiased
            degree = layer.content.sh_degree if options.sh_degree is None else options.sh_degree
            hidden, tinted = (
                np.asarray(masks[name]).view(np.uint8) if name in masks else None for masks in (options.hidden, options.tinted)
            )
            layers.append(_splats.Layer(self.prepare(layer.content), pose, degree, antialiased, hidden, tinted))
        k = camera.K
        drawn = self._native.render(
            layers=layers,
            intrinsics=[k[0, 0], k[1, 1], k[0, 2], k[1, 2]],
            width=camera.width,
            height=camera.height,
            near=options.near,
            far=options.far,
            splat_scale=options.splat_scale,
            background=list(options.background),
            tint=list(options.tint),
            style=options.style,
            overdraw_limit=options.overdraw_limit or _splats.NO_LIMIT,
            outputs=list(options.outputs),
            interrupt=interrupt.flag if interrupt else None,
        )
        if drawn is None:
            raise Interrupted
        images, timings, counts = drawn
        if "id_layers" in images:  # the native renderer counts the visible layers only
            table = np.array([places[name] for name in visible] + [-1], np.int32)
            images["id_layers"] = table[images["id_layers"]]
        return Frame(camera, images, timings, counts)

    def render_many(
        self, scene: Scene, cameras: Sequence[Camera], options: RenderOptions = RenderOptions(), interrupt: Interrupt | None = None
    ) -> list[Frame]:
        """A picture for each of `cameras`."""
        return [self.render(scene, camera, options, interrupt) for camera in cameras]
