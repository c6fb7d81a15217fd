"""Scene + Camera -> Frame: the backends and how one is chosen."""

from __future__ import annotations

import logging
from typing import Literal

from splatview.frame import Renderer

Backend = Literal["auto", "cpu", "cuda"]

log = logging.getLogger(__name__)


def open_renderer(backend: Backend = "auto") -> Renderer:
    """A renderer that keeps its buffers between frames; ValueError for a backend that is not known or not here.

    "auto" takes the GPU if there is one and everything it needs is installed, and otherwise the CPU; with a GPU it says why in the log.

    >>> from splatview import Camera, Gaussians, Layer, Scene, open_renderer
    >>> grey = Gaussians([[0, 0, 0]], [[1, 0, 0, 0]], [[-1, -1, -1]], opacity_logits=[9.0], sh=[[[0, 0, 0]]])
    >>> camera = Camera.look_at(eye=(0, -4, 0), target=(0, 0, 0), up=(0, 0, 1), fov_y=0.8, width=320, height=180)
    >>> frame = open_renderer("cpu").render(Scene({"ball": Layer(grey)}), camera)
    >>> frame.rgb.shape, frame.alpha.shape, round(float(frame.depth[90, 160]), 3)
    ((180, 320, 3), (180, 320), 4.0)
    """
    if backend not in ("auto", "cpu", "cuda"):
        raise ValueError(f"backend: expected auto, cpu or cuda, got {backend!r}")
    if backend == "cuda":
        return _cuda_renderer()
    if backend == "auto":
        from splatview.render.backends import driver

        if driver().works:
            try:
                return _cuda_renderer()
            except ValueError as error:
                log.warning("the GPU is not used: %s", error)
    return _cpu_renderer()


def _cpu_renderer() -> Renderer:
    from splatview.render.splats_cpu import CpuRenderer  # isort: skip  # first: it says so if nothing native is built
    from splatview.render.composite import CompositeRenderer
    from splatview.render.field_cpu import FieldCpu

    return CompositeRenderer(CpuRenderer(), FieldCpu)


def _cuda_renderer() -> Renderer:
    """ValueError with what is missing, in one line."""
    from splatview.render.backends import cuda_needs

    lacking = next((need for need in cuda_needs() if not need.works), None)
    if lacking is not None:
        raise ValueError(f"backend cuda: {lacking.what}: {lacking.found}; {lacking.advice} (splatview doctor tells more)")
    from splatview.render.composite_cuda import CompositeCuda
    from splatview.render.field_cuda import FieldCuda
    from splatview.render.splats_cuda import CudaRenderer

    return CompositeCuda(CudaRenderer(), FieldCuda)
