"""What one person wants to see: the settings of a panel, and the request that follows from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from splatview.camera import Camera
from splatview.frame import Masks, Output, RenderOptions
from splatview.outputs.images import Colormap
from splatview.scene import Scene

Shown = Literal["colour", "depth", "alpha"]


@dataclass(frozen=True)
class View:
    """The settings of one person's panel."""

    shown: Shown = "colour"
    colormap: Colormap = "turbo"
    sh_degree: int | None = None  # None: all there is
    splat_scale: float = 1.0
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    antialiased: bool | None = None  # None: as trained
    render_size: float = 1.0  # of the window, at rest

    def options(self, near: float) -> RenderOptions:
        """How to draw it; `near` in world units."""
        picture: dict[Shown, tuple[Output, ...]] = {"colour": ("rgb8", "depth"), "depth": ("depth",), "alpha": ("alpha", "depth")}
        return RenderOptions(
            background=self.background,
            antialiased=self.antialiased,
            sh_degree=self.sh_degree,
            splat_scale=self.splat_scale,
            near=near,
            outputs=picture[self.shown],
        )


@dataclass(frozen=True)
class Request:
    """A picture that somebody wants; drawn again only when it differs from the last one."""

    scene: Scene
    camera: Camera  # at full size
    view: View
    near: float  # world units
    hidden: Masks = Masks()  # not drawn

    @property
    def options(self) -> RenderOptions:
        return replace(self.view.options(self.near), hidden=self.hidden)
