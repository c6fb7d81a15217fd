"""What Gaussians are selected and counted by: columns of numbers [N], in the world where that matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from splatview.arrays import Bools, Doubles, Floats, frozen
from splatview.camera import Camera
from splatview.gaussians import Gaussians
from splatview.geometry import Similarity, multiply_quats, normalised

LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709, of the display's own primaries
THOMSEN = 1.6075  # the exponent of Knud Thomsen's formula (2004) for an ellipsoid's surface, within 1.1 %
MOST_BINS = 100_000


class Columns:
    """The columns of one set of Gaussians as they stand in the world; each is computed when it is first asked for, and kept.

    `camera` gives `depth`, and the eye that `distance` is from; `point` [3], in the world, is what it is from instead. Values that
    cannot be computed, as of broken Gaussians, are NaN or infinite.
    """

    def __init__(
        self, splats: Gaussians, placement: Similarity = Similarity(), camera: Camera | None = None, point: ArrayLike | None = None
    ) -> None:
        self.splats, self.placement, self.camera = splats, placement, camera
        if point is None:
            point = camera.position if camera else np.zeros(3)
        self.point = np.asarray(point, np.float64)
        if self.point.shape != (3,) or not np.isfinite(self.point).all():
            raise ValueError(f"distance: expected a point of three finite numbers, got {point}")
        self._kept: dict[str, Floats] = {}

    def __call__(self, name: str) -> Floats:
        """The column [N] of an attribute by its name in `ATTRIBUTES`, read-only; ValueError if there is none."""
        if name not in ATTRIBUTES:
            raise ValueError(f"attribute: expected one of {', '.join(ATTRIBUTES)}; got {name!r}")
        if name not in self._kept:
            with np.errstate(all="ignore"):
                self._kept[name] = frozen(name, ATTRIBUTES[name].of(self), np.float32, len(self.splats))
        return self._kept[name]

    @cached_property
    def means(self) -> Doubles:
        """[N, 3] in the world."""
        return self.placement.apply(self.splats.means.astype(np.float64))

    @cached_property
    def scales(self) -> Floats:
        """[N, 3] standard deviations in the world, smallest first."""
        return np.float32(self.placement.scale) * np.exp(np.sort(self.splats.log_scales, axis=1))

    @cached_property
    def colours(self) -> Floats:
        """[N, 3] as they are displayed but for what depends on the view."""
        return self.splats.colours

    @cached_property
    def quats(self) -> Doubles:
        """[N, 4] wxyz in the world, of length 1; of the two with one meaning the one with w >= 0."""
        turned = multiply_quats(self.placement.quat, normalised(self.splats.quats.astype(np.float64)))
        return np.where(turned[:, :1] < 0, -turned, turned)

    @cached_property
    def _hsv(self) -> tuple[Floats, Floats, Floats]:
        return hsv(self.colours)

    @property
    def hue(self) -> Floats:
        return self._hsv[0]

    @property
    def saturation(self) -> Floats:
        return self._hsv[1]

    @property
    def value(self) -> Floats:
        return self._hsv[2]

    @property
    def depth(self) -> NDArray:
        if self.camera is None:
            raise ValueError("depth: expected a camera to measure it from, got none")
        return self.means @ self.camera.forward + self.camera.camera_from_world[2, 3]


@dataclass(frozen=True)
class Attribute:
    """A number that every Gaussian has."""

    label: str
    unit: str  # as it is written behind a number; empty for a plain number
    of: Callable[[Columns], NDArray]  # [N]
    needs_camera: bool = False


ATTRIBUTES: dict[str, Attribute] = {
    "x": Attribute("Position x", "units", lambda at: at.means[:, 0]),
    "y": Attribute("Position y", "units", lambda at: at.means[:, 1]),
    "z": Attribute("Position z", "units", lambda at: at.means[:, 2]),
    "distance": Attribute("Distance", "units", lambda at: np.linalg.norm(at.means - at.point, axis=1)),
    "depth": Attribute("Depth", "units", lambda at: at.depth, needs_camera=True),
    "red": Attribute("Red", "", lambda at: at.colours[:, 0]),
    "green": Attribute("Green", "", lambda at: at.colours[:, 1]),
    "blue": Attribute("Blue", "", lambda at: at.colours[:, 2]),
    "luminance": Attribute("Luminance", "", lambda at: at.colours @ np.asarray(LUMA, np.float32)),
    "hue": Attribute("Hue", "°", lambda at: at.hue),
    "saturation": Attribute("Saturation", "", lambda at: at.saturation),
    "value": Attribute("Value", "", lambda at: at.value),
    "opacity": Attribute("Opacity", "", lambda at: at.splats.opacities),
    "scale_min": Attribute("Smallest scale", "units", lambda at: at.scales[:, 0]),
    "scale_mid": Attribute("Middle scale", "units", lambda at: at.scales[:, 1]),
    "scale_max": Attribute("Largest scale", "units", lambda at: at.scales[:, 2]),
    "volume": Attribute("Volume", "units³", lambda at: 4 / 3 * np.pi * at.scales.astype(np.float64).prod(axis=1)),
    "area": Attribute("Surface area", "units²", lambda at: surface(at.scales)),
    "anisotropy": Attribute("Anisotropy", "", lambda at: np.exp(np.ptp(at.splats.log_scales, axis=1))),
    "sh_energy": Attribute("View dependence", "", lambda at: sh_energy(at.splats)),
    "quat_w": Attribute("Quaternion w", "", lambda at: at.quats[:, 0]),
    "quat_x": Attribute("Quaternion x", "", lambda at: at.quats[:, 1]),
    "quat_y": Attribute("Quaternion y", "", lambda at: at.quats[:, 2]),
    "quat_z": Attribute("Quaternion z", "", lambda at: at.quats[:, 3]),
}


def column(
    name: str, splats: Gaussians, placement: Similarity = Similarity(), camera: Camera | None = None, point: ArrayLike | None = None
) -> Floats:
    """One column [N] of `Columns`."""
    return Columns(splats, placement, camera, point)(name)


def surface(scales: NDArray) -> NDArray:
    """The surface [...] of ellipsoids with the half axes `scales` [..., 3]; a quarter of it is the mean area of the shadow (Cauchy)."""
    a, b, c = np.moveaxis(np.asarray(scales, np.float64) ** THOMSEN, -1, 0)
    return 4 * np.pi * ((a * b + a * c + b * c) / 3) ** (1 / THOMSEN)


def sh_energy(splats: Gaussians) -> Floats:
    """[N] the square of what the view changes in the colour, averaged over all directions and the three channels (Parseval)."""
    rest = splats.sh[:, 1:].reshape(len(splats), 3 * (splats.sh.shape[1] - 1))
    return np.einsum("nk,nk->n", rest, rest) / np.float32(4 * np.pi * 3)


def hsv(colours: Floats) -> tuple[Floats, Floats, Floats]:
    """Hue [N] in degrees 0..360 (0 for greys), saturation [N] and value [N] in 0..1 of `colours` [N, 3], which are clamped to 0..1."""
    red, green, blue = np.clip(colours, 0, 1).T
    high, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    spread = high - low
    some = np.where(spread > 0, spread, 1)
    sixth = np.where(
        high == red,
        np.mod((green - blue) / some, np.float32(6)),
        np.where(high == green, (blue - red) / some + 2, (red - green) / some + 4),
    )
    hue = np.where(np.isfinite(high), 60 * np.where(spread > 0, sixth, 0), np.nan)
    return hue, spread / np.where(high > 0, high, 1), high


def histogram(
    values: NDArray, which: Bools | None = None, bins: int = 128, log: bool = False, span: tuple[float, float] | None = None
) -> tuple[NDArray[np.int64], Doubles]:
    """How many of `values` [N] (where `which` [N] is true) lie in each bin: counts [bins] and edges [bins + 1], rising.

    What is not finite is counted nowhere, nor is what lies outside `span`; without a span the bins hold all the rest. `log`: bins of one
    ratio, for values above 0 only.
    """
    if not 1 <= bins <= MOST_BINS:
        raise ValueError(f"histogram: expected 1 to {MOST_BINS} bins, got {bins}")
    if span is not None and not (np.isfinite(span).all() and (0 if log else -np.inf) < span[0] < span[1]):
        raise ValueError(f"histogram: expected a span that rises{' from above 0' if log else ''}, got {span}")
    some = np.asarray(values if which is None else np.asarray(values)[which], np.float64)
    some = some[np.isfinite(some) & ((some > 0) | (not log))]
    low, high = span or ((some.min(), some.max()) if some.size else (1.0, 10.0) if log else (0.0, 1.0))
    if log:
        some, low, high = np.log10(some), np.log10(low), np.log10(high)
    if not high - low > 1e-9 * max(abs(low), abs(high)):  # all the same
        low, high = low - 1e-6 * max(abs(low), 1), high + 1e-6 * max(abs(high), 1)
    counts, edges = np.histogram(some, bins, (low, high))
    return counts, 10**edges if log else edges


def in_range(values: NDArray, low: float, high: float) -> Bools:
    """[N] where `low` <= `values` [N] <= `high`; what is NaN is in no range."""
    return (values >= np.float64(low)) & (values <= np.float64(high))
