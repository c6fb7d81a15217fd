"""Parts put over one another, pixel by pixel; see `composite` for what they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from splatview.arrays import Floats
from splatview.frame import Frame, RenderOptions
from splatview.render.parts import Part

PASSES = 0.5  # of the splats' light, from which on a pixel is theirs


def composed_of(
    frame: Frame | None, splats: Sequence[Part], fields: Sequence[Part], options: RenderOptions, shape: tuple[int, int]
) -> dict[str, np.ndarray]:
    """The images that `options` ask for, of `splats` and `fields`; `frame`: what only splats know (None: there are none)."""
    images, wanted = {} if frame is None else frame.images, set(options.outputs)
    parts = [*splats, *fields]
    lights = lights_of(parts)
    weights = [light * part.alpha for light, part in zip(lights, parts, strict=True)]
    alpha = np.add.reduce(weights)
    own = np.ones(shape, np.float32)  # of the splats' light, what passes
    if frame is not None:
        own = np.divide(np.add.reduce(weights[: len(splats)]), frame.alpha, out=own, where=frame.alpha > 0)
    found: dict[str, np.ndarray] = {"alpha": alpha}
    if wanted & {"rgb", "rgb8"}:
        found["rgb"] = rgb = (1 - alpha)[..., None] * np.array(options.background, np.float32)
        for light, part in zip(lights, parts, strict=True):
            rgb += part.rgb if len(parts) == 1 else light[..., None] * part.rgb
        if "rgb8" in wanted:
            found["rgb8"] = (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
    if "depth" in wanted:
        found["depth"] = divided_by(np.add.reduce([weight * part.depth for weight, part in zip(weights, parts, strict=True)]), alpha)
    if "median_depth" in wanted:
        found["median_depth"] = _median(parts, lights, images.get("median_depth"), len(splats))
    if "ids" in wanted:
        nobody, here = np.full(shape, -1, np.int32), own >= PASSES
        found |= {name: nobody if frame is None else np.where(here, images[name], nobody) for name in ("ids", "id_layers")}
    if "overdraw" in wanted:
        found["overdraw"] = np.zeros(shape, np.int32) if frame is None else images["overdraw"]
    if "coverage" in wanted:
        found["coverage"] = np.zeros(shape, np.float32) if frame is None else own * images["coverage"]
    kept = wanted | ({"id_layers"} if "ids" in wanted else set())
    return {name: image for name, image in found.items() if name in kept}


def lights_of(parts: Sequence[Part]) -> list[Floats]:
    """For each part, the share [H, W] of its light that passes those in front of it."""
    lights = []
    for place, part in enumerate(parts):
        light = np.ones_like(part.alpha)
        for other_place, other in enumerate(parts):
            if other_place != place:
                before = other.depth <= part.depth if other_place < place else other.depth < part.depth
                light *= np.where(before, 1 - other.alpha, np.float32(1))
        lights.append(light)
    return lights


def _median(parts: Sequence[Part], lights: Sequence[Floats], of_splats: Floats | None, splats: int) -> Floats:
    """[H, W] the depth of the part at which the transmittance falls to 0.5, 0 where it never does; of splats their own median, if known."""
    median = np.zeros_like(lights[0])
    for number, (part, light) in enumerate(zip(parts, lights, strict=True)):
        here = (light > 0.5) & (light * (1 - part.alpha) <= 0.5)
        own = part.depth
        if number < splats and of_splats is not None:
            between = of_splats > 0 if splats == 1 else (of_splats > 0) & (part.alpha > 0)
            own = np.where(between, of_splats, own)
        median = np.where(here, own, median)
    return median


def divided_by(sums: Floats, alpha: Floats) -> Floats:
    return np.divide(sums, alpha, out=np.zeros_like(alpha), where=alpha > 0)
