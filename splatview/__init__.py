"""splatview: fly through, edit and restyle captured 3D scenes in the browser."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from splatview.camera import Camera
from splatview.frame import Frame, RenderOptions
from splatview.gaussians import Gaussians
from splatview.hashgrid import HashGrid
from splatview.scene import Layer, Scene

if TYPE_CHECKING:
    from splatview.formats import load, save
    from splatview.render import open_renderer
    from splatview.viewer import serve

__version__ = "0.1.0"
__all__ = ["Camera", "Frame", "Gaussians", "HashGrid", "Layer", "RenderOptions", "Scene", "load", "open_renderer", "save", "serve"]

_LAZY = {"load": "splatview.formats", "save": "splatview.formats", "open_renderer": "splatview.render", "serve": "splatview.viewer"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'splatview' has no attribute {name!r}")
