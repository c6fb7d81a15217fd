"""How a scene is drawn, on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from splatview.cli.faults import UserError, users_fault
from splatview.cli.flags import MAYBE_NUMBER
from splatview.frame import Output, RenderOptions, Style


@dataclass(frozen=True)
class DrawingFlags:
    """How to draw."""

    background: str = "black"
    """A colour: a name, or #rrggbb."""
    antialiasing: Literal["as-trained", "on", "off"] = "as-trained"
    """Whether small splats fade instead of growing to a pixel."""
    style: Style = "splats"
    """What stands for a Gaussian: itself, a dot at its centre, or itself with the outline of its ellipse."""
    sh_degree: Annotated[int | None, MAYBE_NUMBER] = None
    """Draw the view-dependent colour up to this degree, 0 to 4. Default: all there is."""
    splat_scale: float = 1.0
    """Multiplies the size of every splat."""
    near: float = 0.01
    """Draw from this depth on, in scene units."""
    far: float = 1e10
    """Draw up to this depth, in scene units."""

    def options(self, *, alpha: bool, depth: bool) -> RenderOptions:
        """What to ask of the renderer; with `alpha` over black, as the colour is to be divided by the alpha. UserError for a bad value."""
        outputs: tuple[Output, ...] = (("rgb", "alpha") if alpha else ("rgb8",)) + (("depth",) if depth else ())
        with users_fault(ValueError):
            return RenderOptions(
                background=(0.0, 0.0, 0.0) if alpha else colour(self.background),
                antialiased={"as-trained": None, "on": True, "off": False}[self.antialiasing],
                sh_degree=self.sh_degree,
                splat_scale=self.splat_scale,
                near=self.near,
                far=self.far,
                style=self.style,
                outputs=outputs,
            )


def colour(text: str) -> tuple[float, float, float]:
    """The colour 0..1 of a name or #rrggbb; UserError if it is neither."""
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise UserError(f"--background: expected a colour name or #rrggbb, got {text!r}") from None
    return red / 255, green / 255, blue / 255
