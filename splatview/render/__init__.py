"""Scene + Camera -> Frame: the backends and how one is chosen."""

from __future__ import annotations

from typing import Literal

from splatview.frame import Renderer

Backend = Literal["auto", "cpu", "cuda"]


def open_renderer(backend: Backend = "auto") -> Renderer:
    """A renderer that keeps its buffers between frames; ValueError for a backend that is not known or not here.

    >>> import splatview
    >>> splatview.open_renderer("cpu").name.split()[0]
    'cpu'
    """
    if backend in ("auto", "cpu"):
        from splatview.render.splats_cpu import CpuRenderer

        return CpuRenderer()
    if backend == "cuda":
        raise ValueError("backend cuda: this version draws on the CPU only; use --backend cpu or auto")
    raise ValueError(f"backend: expected auto, cpu or cuda, got {backend!r}")
