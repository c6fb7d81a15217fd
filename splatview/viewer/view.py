"""What one person wants to see: the settings of a panel, and the request that follows from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from splatview.camera import Camera
from splatview.frame import Masks, Output, RenderOptions, Style
from splatview.outputs.images import Colormap
from splatview.scene import Scene

Marked = Literal["tint", "outline", "nothing"]
Shown = Literal["colour", "depth", "alpha", "normals", "centres", "outlines", "overdraw", "ids", "style"]

OUTPUTS: dict[Shown, tuple[Output, ...]] = {  # what a picture is made of; the depth goes along for viser's own objects
    "colour": ("rgb8", "depth"),
    "depth": ("depth",),
    "alpha": ("alpha", "depth"),
    "normals": ("depth",),
    "centres": ("rgb8", "depth"),
    "outlines": ("rgb8", "depth"),
    "overdraw": ("overdraw", "depth"),
    "ids": ("ids", "depth"),
    "style": ("rgb8", "alpha", "depth"),
}
STYLES: dict[Shown, Style] = {"centres": "centres", "outlines": "outlines"}


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
    beside: Shown | None = None  # right of the split; None: the picture is not split
    split: float = 0.5  # of the width
    selection: Marked = "tint"  # how selected Gaussians are shown
    style_needs: tuple[Output, ...] = ()  # what the style is made of, beside the picture

    @property
    def styles(self) -> bool:
        """Whether a style is to be seen."""
        return "style" in (self.shown, self.beside)

    def options(self, near: float, shown: tuple[Shown, ...]) -> RenderOptions:
        """How to draw what is `shown`, all of one style; `near` in world units."""
        wanted: list[Output] = [output for one in shown for output in (*OUTPUTS[one], *(self.style_needs if one == "style" else ()))]
        return RenderOptions(
            background=self.background,
            antialiased=self.antialiased,
            sh_degree=self.sh_degree,
            splat_scale=self.splat_scale,
            near=near,
            style=STYLES.get(shown[0], "splats"),
            outputs=tuple(dict.fromkeys(wanted)),
        )


@dataclass(frozen=True)
class Request:
    """A picture that somebody wants; drawn again only when it differs from the last one."""

    scene: Scene
    camera: Camera  # at full size
    view: View
    near: float  # world units
    hidden: Masks = Masks()  # not drawn
    selected: Masks = Masks()

    def options(self, *shown: Shown) -> RenderOptions:
        options = replace(self.view.options(self.near, shown), hidden=self.hidden)
        if "coverage" in options.outputs:  # for the style, which is not to see a tint
            return replace(options, tinted=self.selected, tint=None)
        if not self.selected or self.view.selection == "nothing":
            return options
        if self.view.selection == "tint":
            return replace(options, tinted=self.selected)
        return replace(options, tinted=self.selected, tint=None, outputs=(*options.outputs, "coverage"))
