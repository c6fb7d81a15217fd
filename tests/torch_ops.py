"""The stages of the CUDA backend in plain torch, so that its code runs on a CPU: gsplat's twins of its kernels, and a blend by tiles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from gsplat.cuda import _torch_impl as gsplat_torch
from torch import Tensor

from splatview.render.splats_cuda import Ops

torch.set_num_threads(1)  # tests share the processor


def project(means, covars, quats, scales, viewmats, Ks, width, height, *, near_plane, far_plane, calc_compensations, opacities):
    """As `gsplat.fully_fused_projection`, which leaves numbers of what is not drawn as they lay in memory."""
    assert covars is None and (opacities is None or opacities.shape == means.shape[:1])
    covars, _ = gsplat_torch._quat_scale_to_covar_preci(quats, scales, True, False)
    radii, *numbers = gsplat_torch._fully_fused_projection(
        means, covars, viewmats, Ks, width, height, near_plane=near_plane, far_plane=far_plane, calc_compensations=calc_compensations
    )
    unseen = (radii <= 0).any(-1)
    for numbers_of in numbers[:3]:
        numbers_of[unseen] = torch.nan
    return radii, *numbers


def evaluate(degree, directions, coefficients, mask):
    """As `gsplat.spherical_harmonics`, likewise."""
    assert mask.is_contiguous() and mask.shape == directions.shape[:1]
    colours = gsplat_torch._spherical_harmonics(degree, directions, coefficients)
    colours[~mask] = torch.nan
    return colours


@dataclass
class Tile:
    """One tile of one picture: the weights [P, n] of its n Gaussians at its P pixels, front to back."""

    image: int
    rows: slice
    columns: slice
    members: Tensor  # [n]
    before: Tensor  # [P, n] transmittance
    weights: Tensor

    def put(self, values: Tensor, picture: Tensor) -> None:
        """`values` [P, ...] where they belong in `picture` [C, H, W, ...]."""
        place = picture[self.image, self.rows, self.columns]
        place[:] = values.reshape(place.shape).to(picture.dtype)


def each_tile(means, conics, opacities, size, side, offsets, members, outlined=False):
    """A `Tile` for each list that holds something."""
    width, height = size
    ends = torch.cat([offsets.flatten()[1:], torch.tensor([len(members)], dtype=offsets.dtype)]).reshape(offsets.shape)
    means, conics, opacities = means.reshape(-1, 2), conics.reshape(-1, 3), opacities.reshape(-1)
    for image, down, across in torch.nonzero(ends > offsets).tolist():
        rows = slice(down * side, min((down + 1) * side, height))
        columns = slice(across * side, min((across + 1) * side, width))
        y, x = torch.meshgrid(torch.arange(rows.start, rows.stop) + 0.5, torch.arange(columns.start, columns.stop) + 0.5, indexing="ij")
        which = members[offsets[image, down, across] : ends[image, down, across]].long()
        dx, dy = x.reshape(-1, 1) - means[which, 0], y.reshape(-1, 1) - means[which, 1]
        xx, xy, yy = conics[which].T
        sigma = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
        alpha = (opacities[which] * torch.exp(-sigma)).clamp_max(0.999)
        alpha = torch.where((sigma >= 0) & (alpha >= 1 / 255), alpha, 0)
        if outlined:
            end = torch.log(255 * opacities[which]).clamp_max(4)
            radius = torch.sqrt(2 * end) * (xx * yy - xy * xy) ** -0.25
            rim = (end > 0) & (sigma <= end) & (sigma >= end * (1 - 1.5 / radius).clamp_min(0) ** 2)
            alpha = torch.where(rim, 0.6, alpha)
        after = torch.cumprod(1 - alpha, 1)
        before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], 1)
        yield Tile(image, rows, columns, which, before, torch.where(after > 1e-4, before * alpha, 0))


def blended(features, size, tiles):
    """`features` [C, N, F] as pictures [C, H, W, F] over black, and alpha [C, H, W, 1]."""
    shape = (len(features), size[1], size[0])
    picture, alpha = torch.zeros(*shape, features.shape[-1]), torch.zeros(*shape, 1)
    for tile in tiles:
        tile.put(tile.weights @ features.reshape(-1, features.shape[-1])[tile.members], picture)
        tile.put(tile.weights.sum(1), alpha)
    return picture, alpha


def rasterise(means, conics, colours, opacities, width, height, side, offsets, members, backgrounds):
    """As `gsplat.rasterize_to_pixels`."""
    for tensor in (means, conics, colours, opacities, offsets, members):
        assert tensor.is_contiguous(), "gsplat would copy it"
    assert backgrounds.shape == (len(means), colours.shape[-1])
    size = width, height
    picture, alpha = blended(colours, size, each_tile(means, conics, opacities, size, side, offsets, members))
    return picture + (1 - alpha) * backgrounds[:, None, None], alpha


@dataclass
class Found:
    """As `splatview.render.contributions.Contributions`."""

    ids: Tensor
    median_depth: Tensor
    overdraw: Tensor
    blended: Tensor | None = None
    alpha: Tensor | None = None
    coverage: Tensor | None = None


def contributions(means, conics, opacities, depths, features, size, side, offsets, members, *, outlined=False, tinted=None):
    """As `splatview.render.contributions.contributions`."""
    shape = (len(means), size[1], size[0])
    found = Found(torch.full(shape, -1, dtype=torch.int32), torch.zeros(shape), torch.zeros(shape, dtype=torch.int32))
    tiles = list(each_tile(means, conics, opacities, size, side, offsets, members, outlined))
    for tile in tiles:
        heaviest, at = tile.weights.max(1)
        tile.put(torch.where(heaviest > 0, tile.members[at] - tile.image * depths.shape[1], -1), found.ids)
        half = (tile.before > 0.5) & (tile.before - tile.weights <= 0.5) & (tile.weights > 0)
        tile.put(torch.where(half, depths.reshape(-1)[tile.members], 0).sum(1), found.median_depth)
        tile.put((tile.weights > 0).sum(1), found.overdraw)
    if tinted is not None:
        assert tinted.shape == depths.shape and tinted.is_contiguous()
        found.coverage = blended(tinted[..., None].float(), size, tiles)[0][..., 0].contiguous()
    if features is not None:
        found.blended, found.alpha = blended(features, size, tiles)
    return found


def seen_in(means, conics, opacities, region, least, side, offsets, members, *, outlined=False):
    """As `splatview.render.contributions.seen_in`."""
    found, size = torch.zeros(len(opacities), dtype=torch.uint8), region.shape[::-1]
    for tile in each_tile(means[None], conics[None], opacities[None], size, side, offsets[None], members, outlined):
        here = region[tile.rows, tile.columns].reshape(-1, 1).bool()
        found[tile.members[((tile.weights >= least) & here).any(0)]] = 1
    return found


TORCH_OPS = Ops(project, evaluate, gsplat_torch._isect_tiles, gsplat_torch._isect_offset_encode, rasterise, contributions, seen_in)
