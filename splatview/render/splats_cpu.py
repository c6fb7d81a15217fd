"""The CPU backend: Gaussians drawn by the native tile rasteriser."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from splatview.arrays import Floats
from splatview.camera import Camera
from splatview.frame import Frame, Interrupt, Interrupted, Masks, RenderOptions, share
from splatview.gaussians import Gaussians
from splatview.render.parts import Part
from splatview.scene import Scene

try:
    from splatview.native import _splats, thread_count
except ImportError as error:  # most often: `pip install .`, and Python started in the checkout, where it finds the source first
    where = Path(__file__).parents[1]
    raise ImportError(
        f"the native renderer is not built in {where}: start Python in another folder, or pip install -e {where.parent}"
    ) from error

SHAPES = ("means", "quats", "log_scales", "opacity_logits")
MOST_REPACKED = 0.5  # of the rows: to pack everything afresh takes not much longer, and gives the better order
MOST_STRETCHED = 0.125  # of the blocks: afresh they are 1/16 at most


class CpuRenderer:
    """Draws splats on all cores. `SPLATVIEW_SIMD` forces avx512, avx2 or portable, `SPLATVIEW_THREADS` the number of threads."""

    def __init__(self) -> None:
        self._native = _splats.Renderer(os.environ.get("SPLATVIEW_SIMD", ""), thread_count())
        self._packed: weakref.WeakKeyDictionary[Gaussians, _splats.PackedScene] = weakref.WeakKeyDictionary()
        self.name = f"cpu {self._native.simd} x{self._native.threads}"

    def prepare(self, splats: Gaussians) -> _splats.PackedScene:
        """`splats` in the renderer's own layout; kept as long as they live and are not three changes old."""
        if splats not in self._packed:
            arrays = splats.means, splats.quats, splats.log_scales, splats.opacity_logits, splats.sh
            self._packed[splats] = self._repacked(splats, *arrays) or self._native.pack(*arrays)
            for old in splats.superseded():
                self._packed.pop(old, None)
        return self._packed[splats]

    def _repacked(self, splats: Gaussians, *arrays: Floats) -> _splats.PackedScene | None:
        """`splats` from an ancestor that is packed, with new rows where they differ; None if it is better to start afresh."""
        for ancestor, rows in splats.ancestors():
            if ancestor in self._packed:
                if np.count_nonzero(rows) > MOST_REPACKED * len(splats):
                    return None
                same_shapes = all(getattr(splats, name) is getattr(ancestor, name) for name in SHAPES)
                packed = self._native.repack(
                    self._packed[ancestor],
                    *arrays,
                    changed=rows.view(np.uint8),
                    same_shapes=same_shapes,
                    same_sh=splats.sh is ancestor.sh,
                )
                return packed if packed.stretched <= MOST_STRETCHED else None
        return None

    @property
    def nbytes(self) -> int:
        """Bytes of the frame buffers and of every packed scene."""
        return self._native.nbytes + sum(packed.nbytes for packed in self._packed.values())

    def render(self, scene: Scene, camera: Camera, options: RenderOptions = RenderOptions(), interrupt: Interrupt | None = None) -> Frame:
        """The picture, as `splatview.frame.Renderer` describes it."""
        places = {name: index for index, name in enumerate(scene.layers)}
        drawn = self._native.render(
            **self._view(scene, camera, options, interrupt),
            background=list(options.background),
            tint=list(options.tint or ()),
            outputs=list(options.outputs),
        )
        if drawn is None:
            raise Interrupted
        images, timings, counts = drawn
        if "id_layers" in images:  # the native renderer counts the visible layers only
            table = np.array([places[name] for name in scene.visible_layers] + [-1], np.int32)
            images["id_layers"] = table[images["id_layers"]]
        return Frame(camera, images, timings, counts)

    def render_divided(
        self, scene: Scene, camera: Camera, options: RenderOptions, divide: Floats, interrupt: Interrupt | None = None
    ) -> tuple[Part, Part]:
        """What is seen before z `divide` [H, W] and what is behind it, each over nothing: Gaussians belong to where their centres are."""
        drawn = self._native.render(
            **self._view(scene, camera, options, interrupt),
            background=[0.0, 0.0, 0.0],
            tint=list(options.tint or ()),
            outputs=["rgb", "alpha", "depth"],
            divide=divide,
        )
        if drawn is None:
            raise Interrupted
        images, front = drawn[0], drawn[0]["front"]
        alpha = np.ascontiguousarray(front[..., 3])
        depth = np.divide(front[..., 4], alpha, out=np.zeros_like(alpha), where=alpha > 0)
        return Part(front[..., :3], alpha, depth), Part(images["rgb"], images["alpha"], images["depth"]).alone(alpha)

    def contributors(
        self,
        scene: Scene,
        camera: Camera,
        region: ArrayLike,
        least: float,
        options: RenderOptions = RenderOptions(),
        interrupt: Interrupt | None = None,
    ) -> Masks:
        """Who is seen in a region, as `splatview.frame.Renderer` describes it. Only the part of the view around it is looked at."""
        pixels, least = camera.region(region), share(least)
        found = self._native.contributors(**self._view(scene, camera, options, interrupt), region=pixels.view(np.uint8), least=least)
        if found is None:
            raise Interrupted
        return Masks({name: mask.view(np.bool_) for name, mask in zip(scene.visible_layers, found, strict=True)})

    def gradient(self, splats: Gaussians, camera: Camera, weights: NDArray, frame: Frame) -> Floats:
        """How the sum over a picture of `weights` [H, W, 4] times its r, g, b and alpha, over black, grows with what `splats` are: [N, 13].

        By the mean 3, by a turn about the axes 3, by the log scales 3, by the opacity's logit 1, and by the colour as it is seen from there
        3. `frame`: the picture of these splats alone from `camera`, with the rgb and alpha. Weights of 1 and fewer are meant: sums are kept
        to 1e-11, the same in whatever order threads add to them. What is cut off, an alpha of less than 1 / 255 for one, pulls at nothing.
        """
        given = np.empty((*weights.shape[:2], 5), np.float32)
        given[..., :4] = weights
        given[..., 4] = np.einsum("hwc,hwc->hw", weights[..., :3], frame.rgb) + weights[..., 3] * frame.alpha
        pose = np.ascontiguousarray(camera.camera_from_world[:3])
        k, near, far = camera.K, RenderOptions.near, RenderOptions.far
        return self._native.gradient(
            _splats.Layer(self.prepare(splats), pose, splats.sh_degree, False, None, None),
            *(splats.means, splats.quats, splats.log_scales, splats.opacity_logits, splats.sh),
            camera_from_layer=pose,
            intrinsics=[k[0, 0], k[1, 1], k[0, 2], k[1, 2]],
            given=given,
            near=near,
            far=far,
        )

    def _view(self, scene: Scene, camera: Camera, options: RenderOptions, interrupt: Interrupt | None) -> dict[str, Any]:
        """What the native renderer must know of a view, whether it draws it or searches it."""
        layers = []
        for name, layer in scene.visible_layers.items():
            pose = np.ascontiguousarray((camera.camera_from_world @ layer.placement.matrix)[:3])
            antialiased = layer.splats.kind == "antialiased" if options.antialiased is None else options.antialiased
            degree = layer.splats.sh_degree if options.sh_degree is None else options.sh_degree
            hidden, tinted = (
                np.asarray(masks[name]).view(np.uint8) if name in masks else None for masks in (options.hidden, options.tinted)
            )
            layers.append(_splats.Layer(self.prepare(layer.splats), pose, degree, antialiased, hidden, tinted))
        k = camera.K
        return {
            "layers": layers,
            "intrinsics": [k[0, 0], k[1, 1], k[0, 2], k[1, 2]],
            "width": camera.width,
            "height": camera.height,
            "near": options.near,
            "far": options.far,
            "splat_scale": options.splat_scale,
            "style": options.style,
            "overdraw_limit": options.overdraw_limit or _splats.NO_LIMIT,
            "interrupt": interrupt.flag if interrupt else None,
        }

    def render_many(
        self, scene: Scene, cameras: Sequence[Camera], options: RenderOptions = RenderOptions(), interrupt: Interrupt | None = None
    ) -> list[Frame]:
        """A picture for each of `cameras`."""
        return [self.render(scene, camera, options, interrupt) for camera in cameras]
