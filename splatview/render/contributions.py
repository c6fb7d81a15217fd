"""What gsplat's rasteriser does not tell: who contributes most to each pixel, where its median lies, how often it was drawn over, and
who weighs how much in a region.

One Triton program walks the list of one tile, front to back, with the arithmetic of gsplat's own kernel.
Imports Triton, so it is imported only by who is about to draw with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl

Tensor = Any  # torch's; this module needs no more of it than its methods

PATIENCE = tl.constexpr(32)  # Gaussians between two looks at whether a tile is finished
SMALLEST_ALPHA = tl.constexpr(1 / 255)
LARGEST_ALPHA = tl.constexpr(0.999)
LAST_TRANSMITTANCE = tl.constexpr(1e-4)
RIM_ALPHA = tl.constexpr(0.6)
RIM_WIDTH = tl.constexpr(1.5)  # pixels, on average around the ellipse
RIM_END = tl.constexpr(4.0)  # half the squared Mahalanobis distance


@dataclass(frozen=True, eq=False)
class Contributions:
    """Pictures [C, H, W] of C cameras."""

    ids: Tensor  # int32: the Gaussian, 0 to N - 1, with the largest weight, the first if there are two; -1: none
    median_depth: Tensor  # float32: depth of the Gaussian at which the transmittance falls to 0.5; 0: it never does
    overdraw: Tensor  # int32: how many Gaussians were blended
    blended: Tensor | None = None  # [C, H, W, F] float32, if there were features
    alpha: Tensor | None = None  # [C, H, W, 1] float32, likewise
    coverage: Tensor | None = None  # float32: the summed weight of what is tinted, if that was told


def contributions(
    means: Tensor,  # [C, N, 2] float32 pixels
    conics: Tensor,  # [C, N, 3] float32
    opacities: Tensor,  # [C, N] float32
    depths: Tensor,  # [C, N] float32
    features: Tensor | None,  # [C, N, F] float32, F up to 4: what is to be blended
    size: tuple[int, int],  # width, height
    tile: int,  # pixels a side
    offsets: Tensor,  # [C, down, across] int32: where the list of a tile begins
    members: Tensor,  # [M] int32: the lists, of Gaussians 0 to C N - 1, each sorted by depth
    *,
    outlined: bool = False,  # draw the rim of each ellipse over it
    tinted: Tensor | None = None,  # [C, N] uint8, where not 0: counts as covering
) -> Contributions:
    """Who contributes what to each pixel; with `features` also the picture, over black. All arrays contiguous and on one device."""
    width, height = size
    cameras, count = depths.shape
    down, across = offsets.shape[1:]
    shape = (cameras, height, width)
    ids, overdraw = members.new_empty(shape), members.new_empty(shape)
    median_depth = depths.new_empty(shape)
    channels = 0 if features is None else features.shape[-1]
    blended = None if features is None else features.new_empty((*shape, channels))
    alpha = None if features is None else features.new_empty((*shape, 1))
    coverage = None if tinted is None else depths.new_empty(shape)
    inputs = means, conics, opacities, depths, features, tinted, offsets, members
    outputs = ids, median_depth, overdraw, blended, alpha, coverage
    sizes = len(members), count, down * across, across, width, height
    launch: Any = walk_tiles[(cameras * down * across,)]
    launch(*inputs, *outputs, *sizes, channels, tile, outlined, tinted is not None, num_warps=8)
    return Contributions(ids, median_depth, overdraw, blended, alpha, coverage)


def seen_in(
    means: Tensor,  # [N, 2] float32 pixels
    conics: Tensor,  # [N, 3] float32
    opacities: Tensor,  # [N] float32
    region: Tensor,  # [H, W] uint8: 1 where it is
    least: float,
    tile: int,  # pixels a side
    offsets: Tensor,  # [down, across] int32: where the list of a tile begins
    members: Tensor,  # [M] int32: the lists, of Gaussians 0 to N - 1, each sorted by depth
    *,
    outlined: bool = False,
) -> Tensor:
    """[N] uint8: 1 for Gaussians that weigh at least `least` at a pixel of the region. All arrays contiguous and on one device."""
    (height, width), (down, across) = region.shape, offsets.shape
    found = region.new_zeros(len(opacities))
    launch: Any = search_tiles[(down * across,)]
    launch(
        means, conics, opacities, region, offsets, members, found, len(members), across, width, height, least, tile, outlined, num_warps=8
    )
    return found


@triton.jit
def alpha_of(gaussian, x, y, means, conics, opacities, OUTLINED: tl.constexpr):
    """What Gaussian `gaussian` covers of the pixels with centres `x`, `y`."""
    dx, dy = x - tl.load(means + 2 * gaussian), y - tl.load(means + 2 * gaussian + 1)
    xx, xy, yy = tl.load(conics + 3 * gaussian), tl.load(conics + 3 * gaussian + 1), tl.load(conics + 3 * gaussian + 2)
    opacity = tl.load(opacities + gaussian)
    sigma = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
    alpha = tl.minimum(opacity * tl.exp(-sigma), LARGEST_ALPHA)
    alpha = tl.where((sigma >= 0) & (alpha >= SMALLEST_ALPHA), alpha, 0.0)
    if OUTLINED:
        rim_end = tl.minimum(tl.log(opacity / SMALLEST_ALPHA), RIM_END)  # below 0: too faint for a rim
        span = tl.maximum(rim_end, 1e-6)
        per_radius = tl.sqrt(tl.sqrt(tl.maximum(xx * yy - xy * xy, 0.0)) / (2 * span))  # 1 / pixels
        hole = tl.maximum(1 - per_radius * RIM_WIDTH, 0.0)  # the tensor first: Triton's interpreter wants it so
        rim = (sigma >= span * hole * hole) & (sigma <= rim_end)
        alpha = tl.where(rim, RIM_ALPHA, alpha)
    return alpha


@triton.jit(do_not_specialize=["pairs", "across", "width", "height", "least"])
def search_tiles(
    means,
    conics,
    opacities,
    region,
    offsets,
    members,
    found,
    pairs,
    across,
    width,
    height,
    least,
    TILE: tl.constexpr,
    OUTLINED: tl.constexpr,
):
    tile = tl.program_id(0)
    at = tl.load(offsets + tile)
    end = tl.load(offsets + tile + 1, mask=tile + 1 < tl.num_programs(0), other=pairs)
    lane = tl.arange(0, TILE * TILE)
    column = tile % across * TILE + lane % TILE
    row = tile // across * TILE + lane // TILE
    inside = (column < width) & (row < height)
    x, y = column + 0.5, row + 0.5

    # The transmittance, 0 outside the region; no weight is larger than the light that is left.
    light = tl.where(tl.load(region + row.to(tl.int64) * width + column, mask=inside, other=0) != 0, 1.0, 0.0)
    enough = tl.maximum(light * 0.0 + least, LAST_TRANSMITTANCE)
    while (at < end) & (tl.max((light >= enough).to(tl.int32), 0) > 0):
        for index in range(at, tl.minimum(at + PATIENCE, end)):
            gaussian = tl.load(members + index).to(tl.int64)
            alpha = alpha_of(gaussian, x, y, means, conics, opacities, OUTLINED)
            after = light * (1 - alpha)
            weight = tl.where(after > LAST_TRANSMITTANCE, light * alpha, 0.0)
            one = (tl.max(weight, 0) >= least).to(tl.uint8)  # many tiles may write the same
            tl.store(found + gaussian, one, mask=one > 0)
            light = after
        at += PATIENCE


# Sizes change with every frame: were the kernel specialised on them, it would be compiled again and again.
@triton.jit(do_not_specialize=["pairs", "count", "tiles", "across", "width", "height"])
def walk_tiles(
    means,
    conics,
    opacities,
    depths,
    features,
    tinted,
    offsets,
    members,
    ids_out,
    median_out,
    overdraw_out,
    blended_out,
    alpha_out,
    coverage_out,
    pairs,
    count,
    tiles,
    across,
    width,
    height,
    CHANNELS: tl.constexpr,  # of the features, 0 to 4
    TILE: tl.constexpr,
    OUTLINED: tl.constexpr,
    COVERED: tl.constexpr,
):
    place = tl.program_id(0)
    image, tile = place // tiles, place % tiles
    at = tl.load(offsets + place)
    end = tl.load(offsets + place + 1, mask=place + 1 < tl.num_programs(0), other=pairs)

    lane = tl.arange(0, TILE * TILE)
    column = tile % across * TILE + lane % TILE
    row = tile // across * TILE + lane // TILE
    inside = (column < width) & (row < height)
    x, y = column + 0.5, row + 0.5

    light = tl.where(inside, 1.0, 0.0)  # the transmittance; it falls on and masks whatever comes later
    heaviest = tl.zeros_like(light)
    ids = tl.full(light.shape, -1, tl.int32)
    median = tl.zeros_like(light)
    overdraw = tl.zeros(light.shape, tl.int32)
    alpha_sum, coverage = tl.zeros_like(light), tl.zeros_like(light)
    f0, f1, f2, f3 = tl.zeros_like(light), tl.zeros_like(light), tl.zeros_like(light), tl.zeros_like(light)

    while (at < end) & (tl.max(light, 0) > LAST_TRANSMITTANCE):
        for index in range(at, tl.minimum(at + PATIENCE, end)):
            gaussian = tl.load(members + index).to(tl.int64)
            alpha = alpha_of(gaussian, x, y, means, conics, opacities, OUTLINED)
            after = light * (1 - alpha)
            weight = tl.where(after > LAST_TRANSMITTANCE, light * alpha, 0.0)
            more = weight > heaviest
            heaviest = tl.where(more, weight, heaviest)
            ids = tl.where(more, (gaussian - image.to(tl.int64) * count).to(tl.int32), ids)
            median = tl.where((light > 0.5) & (after <= 0.5), tl.load(depths + gaussian), median)
            overdraw += (weight > 0).to(tl.int32)
            alpha_sum += weight
            if COVERED:
                coverage += tl.where(tl.load(tinted + gaussian) != 0, weight, 0.0)
            if CHANNELS > 0:
                f0 += weight * tl.load(features + CHANNELS * gaussian)
            if CHANNELS > 1:
                f1 += weight * tl.load(features + CHANNELS * gaussian + 1)
            if CHANNELS > 2:
                f2 += weight * tl.load(features + CHANNELS * gaussian + 2)
            if CHANNELS > 3:
                f3 += weight * tl.load(features + CHANNELS * gaussian + 3)
            light = after
        at += PATIENCE

    pixel = (image * height + row).to(tl.int64) * width + column
    tl.store(ids_out + pixel, ids, mask=inside)
    tl.store(median_out + pixel, median, mask=inside)
    tl.store(overdraw_out + pixel, overdraw, mask=inside)
    if COVERED:
        tl.store(coverage_out + pixel, coverage, mask=inside)
    if CHANNELS > 0:
        tl.store(alpha_out + pixel, alpha_sum, mask=inside)
        tl.store(blended_out + CHANNELS * pixel, f0, mask=inside)
    if CHANNELS > 1:
        tl.store(blended_out + CHANNELS * pixel + 1, f1, mask=inside)
    if CHANNELS > 2:
        tl.store(blended_out + CHANNELS * pixel + 2, f2, mask=inside)
    if CHANNELS > 3:
        tl.store(blended_out + CHANNELS * pixel + 3, f3, mask=inside)
