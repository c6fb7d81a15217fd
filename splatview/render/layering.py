"""Parts put over one another, pixel by pixel; see `composite`. For numpy's arrays and for tensors: `library` is theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from splatview.frame import RenderOptions
from splatview.render.begun import Drawn
from splatview.render.parts import Part

LEAST = 1 / 255  # of a pixel, that a field must be to be named: Gaussians of a lower alpha are not drawn either


def composed_of(
    library: Any, drawn: Drawn | None, splats: Sequence[Part], fields: Mapping[int, Sequence[Part]], options: RenderOptions
) -> dict[str, Any]:
    """The images that `options` ask for, of `splats` and of `fields` by the index of their layer.

    `drawn`: what only splats know (None: there are none).
    """
    images, wanted = {} if drawn is None else drawn.images, set(options.outputs)
    parts = [*splats, *(part for pieces in fields.values() for part in pieces)]
    lights = lights_of(library, parts)
    weights = [light * part.alpha for light, part in zip(lights, parts, strict=True)]
    alpha: Any = sum(weights)
    found: dict[str, Any] = {"alpha": alpha}
    if wanted & {"rgb", "rgb8"}:
        rgb: Any = sum(part.rgb if len(parts) == 1 else light[..., None] * part.rgb for light, part in zip(lights, parts, strict=True))
        rgb = rgb + 0  # it may be a part's own
        for channel, value in enumerate(options.background):
            rgb[..., channel] += (1 - alpha) * value
        found["rgb"] = rgb
        if "rgb8" in wanted:
            found["rgb8"] = library.asarray(rgb.clip(0, 1) * 255 + 0.5, dtype=library.uint8)
    if "depth" in wanted:
        found["depth"] = divided(library, sum(weight * part.depth for weight, part in zip(weights, parts, strict=True)), alpha)
    if "median_depth" in wanted:
        found["median_depth"] = _median(library, parts, lights, images.get("median_depth"), len(splats))
    nothing = library.zeros_like(alpha, dtype=library.int32)
    if "ids" in wanted:
        ids, layers = (images[name] if drawn else nothing - 1 for name in ("ids", "id_layers"))
        found["ids"], found["id_layers"] = _most(library, ids, layers, weights, len(splats), fields)
    if "overdraw" in wanted:
        found["overdraw"] = images["overdraw"] if drawn else nothing
    if "coverage" in wanted:
        found["coverage"] = _passed(library, drawn, weights[: len(splats)]) if drawn else library.zeros_like(alpha)
    kept = wanted | ({"id_layers"} if "ids" in wanted else set())
    return {name: image for name, image in found.items() if name in kept}


def _most(
    library: Any, ids: Any, layers: Any, weights: Sequence[Any], splats: int, fields: Mapping[int, Sequence[Part]]
) -> tuple[Any, Any]:
    """`ids` and `layers` [H, W], which are of splats, with the index of the field that weighs most where it outweighs all splats."""
    of_splats: Any = sum(weights[:splats], library.zeros_like(weights[0]))
    most, end = of_splats.clip(min=LEAST), splats
    for number, pieces in fields.items():
        begin, end = end, end + len(pieces)
        weight: Any = sum(weights[begin:end])
        here = weight > most
        most = library.where(here, weight, most)
        ids, layers = library.where(here, -1, ids), library.where(here, number, layers)
    return ids, layers


def _passed(library: Any, drawn: Drawn, weights: Sequence[Any]) -> Any:
    """[H, W] how much of each pixel is tinted splats, as far as the light of all of them passes the fields."""
    whole = drawn.images["alpha"]
    return drawn.images["coverage"] * library.where(whole > 0, divided(library, sum(weights), whole), 1)


def lights_of(library: Any, parts: Sequence[Part]) -> list[Any]:
    """For each part, the share [H, W] of its light that passes those in front of it."""
    lights = []
    for place, part in enumerate(parts):
        light = library.ones_like(part.alpha)
        for other_place, other in enumerate(parts):
            if other_place != place:
                before = other.depth <= part.depth if other_place < place else other.depth < part.depth
                light *= 1 - before * other.alpha
        lights.append(light)
    return lights


def reach_of(library: Any, parts: Sequence[Part]) -> Any:
    """[H, W] where the parts are expected, beyond everything where there is nothing."""
    weights = [light * part.alpha for light, part in zip(lights_of(library, parts), parts, strict=True)]
    alpha: Any = sum(weights)
    return place_of(library, alpha, divided(library, sum(weight * part.depth for weight, part in zip(weights, parts, strict=True)), alpha))


def place_of(library: Any, alpha: Any, depth: Any) -> Any:
    """[H, W] `depth`, beyond everything where `alpha` is 0."""
    return library.where(alpha > 0, depth, library.full_like(depth, float("inf")))


def _median(library: Any, parts: Sequence[Part], lights: Sequence[Any], of_splats: Any, splats: int) -> Any:
    """[H, W] the depth of the part at which the transmittance falls to 0.5, 0 where it never does; of splats their own median, if known."""
    median = library.zeros_like(lights[0])
    for number, (part, light) in enumerate(zip(parts, lights, strict=True)):
        here = (light > 0.5) & (light * (1 - part.alpha) <= 0.5)
        own = part.depth
        if number < splats and of_splats is not None:
            own = library.where(of_splats > 0, of_splats, own)
        median = library.where(here, own, median)
    return median


def divided(library: Any, sums: Any, alpha: Any) -> Any:
    """`sums` / `alpha`, 0 where both are."""
    return sums / library.where(alpha > 0, alpha, 1)
