"""Scene + Camera -> Frame: the backends and how one is chosen."""

from __future__ import annotations

from typing import Literal

from splatview.frame import Renderer

Backend = Literal["auto", "cpu", "cuda"]


def open_renderer(backend: Backend = "auto") -> Renderer:
    """A renderer that keeps its buffers between frames; ValueError for a backend that is not known or not here.

    >>> from splatview import Camera, Gaussians, Layer, Scene, open_renderer
    >>> grey = Gaussians([[0, 0, 0]], [[1, 0, 0, 0]], [[-1, -1, -1]], opacity_logits=[9.0], sh=[[[0, 0, 0]]])
    >>> camera = Camera.look_at(eye=(0, -4, 0), target=(0, 0, 0), up=(0, 0, 1), fov_y=0.8, width=320, height=180)
    >>> frame = open_renderer("cpu").render(Scene({"ball": Layer(grey)}), camera)
    >>> frame.rgb.shape, frame.alpha.shape, round(float(frame.depth[90, 160]), 3)
    ((180, 320, 3), (180, 320), 4.0)
    """
    if backend in ("auto", "cpu"):
        from splatview.render.splats_cpu import CpuRenderer

        return CpuRenderer()
    if backend == "cuda":
        raise ValueError("backend cuda: this version draws on the CPU only; use --backend cpu or auto")
    raise ValueError(f"backend: expected auto, cpu or cuda, got {backend!r}")
