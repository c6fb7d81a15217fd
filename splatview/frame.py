"""What is asked of a renderer, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike

from splatview.arrays import Bools, Bytes, Floats, Ints, frozen
from splatview.camera import Camera
from splatview.scene import Scene

Output = Literal["rgb", "rgb8", "alpha", "depth", "median_depth", "ids", "overdraw", "coverage"]
Style = Literal["splats", "centres", "outlines"]  # centres: a dot for each Gaussian; outlines: its ellipse with a rim


class Masks(Mapping[str, Bools]):
    """A mask [N] of Gaussians for some of a scene's layers, by layer name; compared by the arrays' identity, never written."""

    def __init__(self, masks: Mapping[str, ArrayLike] | None = None) -> None:
        self._masks: dict[str, Bools] = {name: frozen(f"mask of {name!r}", mask, np.bool_, None) for name, mask in (masks or {}).items()}

    def __getitem__(self, name: str) -> Bools:
        return self._masks[name]

    def __iter__(self):
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def _content(self) -> frozenset[tuple[str, int]]:
        return frozenset((name, id(mask)) for name, mask in self._masks.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Masks) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())


@dataclass(frozen=True)
class RenderOptions:
    """How a scene is drawn. Compared by content, so that an unchanged request need not be drawn again.

    >>> from splatview import RenderOptions
    >>> RenderOptions(background=(1, 1, 1), sh_degree=0) == RenderOptions(background=(1, 1, 1), sh_degree=0)
    True
    """

    background: tuple[float, float, float] = (0.0, 0.0, 0.0)  # sRGB, 0..1
    antialiased: bool | None = None  # None: as each layer was trained
    sh_degree: int | None = None  # None: all there is
    near: float = 0.01  # scene units along the view axis
    far: float = 1e10
    splat_scale: float = 1.0  # multiplies every standard deviation
    style: Style = "splats"
    overdraw_limit: int | None = None  # about how many Gaussians, the nearest, may meet one tile: bounds the time; None: all
    field_detail: float = 1.0  # how many samples of fields are taken, of those that there are: over 0, up to 1
    field_share: float = 1.0  # of the pixels for which fields are asked: over 0, up to 1; the others are like those around them
    outputs: tuple[Output, ...] = ("rgb", "alpha", "depth")
    hidden: Mapping[str, ArrayLike] = Masks()  # by layer, [N], True: not drawn
    tinted: Mapping[str, ArrayLike] = Masks()  # by layer, [N], True: mixed half and half with `tint`
    tint: tuple[float, float, float] | None = (1.0, 0.75, 0.0)  # None: they keep their colour, and are seen in "coverage" alone

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", tuple(self.outputs))
        for name in ("hidden", "tinted"):
            masks = getattr(self, name)
            object.__setattr__(self, name, masks if isinstance(masks, Masks) else Masks(masks))
        for output in self.outputs:
            if output not in get_args(Output):
                raise ValueError(f"RenderOptions.outputs: expected some of {', '.join(get_args(Output))}; got {output!r}")
        if self.style not in get_args(Style):
            raise ValueError(f"RenderOptions.style: expected one of {', '.join(get_args(Style))}; got {self.style!r}")
        if self.overdraw_limit is not None and self.overdraw_limit < 1:
            raise ValueError(f"RenderOptions.overdraw_limit: expected 1 or more, or None; got {self.overdraw_limit}")
        for name in ("field_detail", "field_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"RenderOptions.{name}: expected a share over 0 and up to 1, got {getattr(self, name)}")
        if not 0 < self.near < self.far:
            raise ValueError(f"RenderOptions: expected 0 < near < far, got near {self.near}, far {self.far}")
        if not (np.isfinite(self.splat_scale) and self.splat_scale > 0):
            raise ValueError(f"RenderOptions.splat_scale: expected a number > 0, got {self.splat_scale}")
        if self.sh_degree is not None and self.sh_degree < 0:
            raise ValueError(f"RenderOptions.sh_degree: expected 0 to 4 or None, got {self.sh_degree}")


def share(least: float) -> float:
    """`least` as the least share of a pixel; ValueError if it is not over 0 and up to 1."""
    if not 0 < least <= 1:
        raise ValueError(f"least: expected a share of a pixel over 0 and up to 1, got {least}")
    return float(least)


@dataclass(frozen=True, eq=False)
class Frame:
    """A drawn picture with what belongs to it. An output that was not asked for is a ValueError when it is read."""

    camera: Camera
    images: Mapping[str, np.ndarray]  # by the names of RenderOptions.outputs
    timings: Mapping[str, float] = field(default_factory=dict)  # milliseconds per stage
    counts: Mapping[str, int] = field(default_factory=dict)  # "drawn": Gaussians in view, "pairs": of them and tiles; "samples" of fields

    def __post_init__(self) -> None:
        for name in ("images", "timings", "counts"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def _image(self, name: str) -> np.ndarray:
        if name not in self.images:
            raise ValueError(f"Frame.{name} was not drawn: expected it among RenderOptions.outputs, which were {tuple(self.images)}")
        return self.images[name]

    @property
    def rgb(self) -> Floats:
        """[H, W, 3] over the background, sRGB, not clamped."""
        return self._image("rgb")

    @property
    def rgb8(self) -> Bytes:
        """[H, W, 3] over the background, 0..255, rounded."""
        if "rgb8" in self.images:
            return self.images["rgb8"]
        return (np.clip(self.rgb, 0, 1) * 255 + 0.5).astype(np.uint8)

    @property
    def alpha(self) -> Floats:
        """[H, W] 1 - transmittance."""
        return self._image("alpha")

    @property
    def depth(self) -> Floats:
        """[H, W] expected z along the view axis (divided by alpha), scene units, 0 where alpha is 0."""
        return self._image("depth")

    @property
    def median_depth(self) -> Floats:
        """[H, W] z of the Gaussian (of a field: the expected z) at which the transmittance falls to 0.5, 0 where it never does."""
        return self._image("median_depth")

    @property
    def ids(self) -> Ints:
        """[H, W] index, within its layer, of the Gaussian that contributes most; -1: none, or a field contributes more than all of them."""
        return self._image("ids")

    @property
    def id_layers(self) -> Ints:
        """[H, W] index into `list(scene.layers)` of the layer that `ids` counts in, or of that field, where `ids` are -1; -1: nothing."""
        return self._image("id_layers")

    @property
    def overdraw(self) -> Ints:
        """[H, W] how many Gaussians were blended into each pixel."""
        return self._image("overdraw")

    @property
    def coverage(self) -> Floats:
        """[H, W] the share of each pixel that is tinted Gaussians: the sum of their weights, 0..1."""
        return self._image("coverage")


class Interrupted(Exception):
    """What was to be made was given up because somebody wanted that: a render, for instance, whose `Interrupt` was set."""


class Interrupt:
    """A flag that makes a running render stop at its next tile."""

    def __init__(self) -> None:
        self.flag = np.zeros(1, np.uint8)  # read by native threads while they draw

    def set(self) -> None:
        self.flag[0] = 1

    @property
    def is_set(self) -> bool:
        return bool(self.flag[0])


class Renderer(Protocol):
    """Draws scenes. One thread at a time; what it derives from a layer's content is cached by its identity."""

    name: str

    def render(self, scene: Scene, camera: Camera, options: RenderOptions = RenderOptions(), interrupt: Interrupt | None = None) -> Frame:
        """The picture; Interrupted if `interrupt` was set before it was finished."""
        ...

    def contributors(
        self,
        scene: Scene,
        camera: Camera,
        region: ArrayLike,
        least: float,
        options: RenderOptions = RenderOptions(),
        interrupt: Interrupt | None = None,
    ) -> Masks:
        """For each visible layer a mask [N]: the Gaussians that are seen in `region` [H, W], a mask of pixels of `camera`'s picture.

        Seen is what weighs at least `least` (over 0, up to 1) at one of these pixels: its alpha times the transmittance in front of it,
        as the picture with these `options` blends it, what is hidden left out. ValueError if `region` or `least` is none;
        Interrupted as in `render`.
        """
        ...
