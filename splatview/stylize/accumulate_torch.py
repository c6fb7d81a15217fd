"""`accumulate` on a device of PyTorch's: the same average, by `grid_sample`. Images are [C, H, W] here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from splatview.arrays import Bytes
from splatview.camera import Camera
from splatview.frame import Frame
from splatview.stylize.accumulate import ANOTHER, Accumulation
from splatview.stylize.sending import sent
from splatview.stylize.warp import between, nearness


@dataclass(frozen=True, eq=False)
class History:
    """The average so far, as `accumulate.History` has it."""

    camera: Camera
    marks: Tensor  # [4, H, W]
    picture: Tensor  # [3, H, W]
    count: Tensor  # [1, H, W]

    def shown(self) -> Bytes:
        """[H, W, 3] rounded."""
        return (self.picture + 0.5).to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()

    def smaller(self, scale: float) -> History:
        camera = self.camera.resized(max(1, round(scale * self.camera.width)), max(1, round(scale * self.camera.height)))
        images = (_area(image, (camera.height, camera.width)) for image in (self.marks, self.picture, self.count))
        return History(camera, *images)


@torch.inference_mode()
def renewed(history: History | None, frame: Frame, picture: Bytes, rule: Accumulation, device: torch.device) -> History:
    """`picture` [H, W, 3], the style of `frame`, averaged with what `history` has of it, on `device`."""

    def image(pixels: np.ndarray) -> Tensor:
        return sent(pixels, device).permute(2, 0, 1).float()

    new, marks = image(picture), torch.cat([image(frame.rgb8), image(nearness(frame)[..., None])])
    if history is None:
        return History(frame.camera, marks, new, torch.ones_like(new[:1]))
    finer = float(frame.camera.K[1, 1] / history.camera.K[1, 1])
    if finer * ANOTHER < 1:
        history = history.smaller(finer)
    at, expected = _places(frame.camera, marks[3], history.camera)
    known = _sampled(history.marks, at, "bilinear", "border")
    old = _cubic(history.picture, at)
    if finer > ANOTHER:
        known[:3] += _detail(marks[:3], finer)
        old += _detail(new, finer)
    count = _sampled(history.count, at, "nearest", "zeros")
    difference = (known - marks)[:3].abs().amax(0)
    count = count * (1.5 - difference / rule.change).clamp(0, 1)
    count = count * ((expected - known[3]).abs() <= rule.tolerance * known[3])
    count = (count + 1).clamp(max=1 / rule.floor)
    average = torch.lerp(old, new, 1 / count).clamp(0, 255)
    shown = torch.cat([torch.lerp(known[:3], marks[:3], 1 / count), marks[3:]])
    return History(frame.camera, shown, average, (count * min(1, finer**-2)).clamp(min=1))


def _places(now: Camera, near: Tensor, before: Camera) -> tuple[Tensor, Tensor]:
    """Where pixels of `now` are in `before`, [H, W, 2] from -1 to 1 between the picture's edges; and the nearness that they have there."""
    matrix = between(now, before).astype(np.float32).tolist()
    rows, columns = (torch.arange(size, dtype=torch.float32, device=near.device) for size in near.shape)
    x, y, ratio = (a * columns + (b * rows[:, None] + c) + d * near for a, b, c, d in matrix)
    ahead = ratio > 0
    inverse = 1 / torch.where(ahead, ratio, 1)
    size = sent([before.width, before.height], near.device)
    at = (2 * torch.stack([x * inverse, y * inverse], -1) + 1) / size - 1
    return torch.where(ahead[..., None], at, -1e4), near * inverse


def _sampled(image: Tensor, at: Tensor, mode: str, padding: str) -> Tensor:
    return grid_sample(image[None], at[None], mode=mode, padding_mode=padding, align_corners=False)[0]


def _cubic(image: Tensor, at: Tensor) -> Tensor:
    """By Keys' cubic convolution (1981) with a = -1/2; `grid_sample` has another a.

    The two taps in the middle have weights of one sign: they are a bilinear sample between them, so nine samples are all sixteen taps.
    """
    size = sent(image.shape[:0:-1], image.device)
    places = ((at + 1) * size - 1) / 2
    second = places.floor()
    t = places - second
    first, fourth = -t * (1 - t) ** 2 / 2, -(t**2) * (1 - t) / 2
    both, third = 1 - first - fourth, t * (1 + t * (4 - 3 * t)) / 2
    taps = [(2 * place + 1) / size - 1 for place in (second - 1, second + third / both, second + 2)]
    weights = first, both, fourth
    samples = (
        weights[i][..., 0] * weights[j][..., 1] * _sampled(image, torch.stack([taps[i][..., 0], taps[j][..., 1]], -1), "bilinear", "border")
        for i, j in product(range(3), repeat=2)
    )
    return reduce(torch.add, samples)


def _area(image: Tensor, size: tuple[int, int]) -> Tensor:
    """`image` made smaller, each pixel the mean of what it covers; interpolate's "area" takes whole pixels only."""
    for axis, small in zip((1, 2), size, strict=True):
        large = image.shape[axis]
        edges = torch.arange(small + 1, device=image.device, dtype=torch.float32) * (large / small)
        pixels = torch.arange(large, device=image.device)
        covered = (torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)).clamp(min=0)
        image = torch.movedim(torch.movedim(image, axis, -1) @ covered.T * (small / large), -1, axis)
    return image


def _detail(image: Tensor, times: float) -> Tensor:
    height, width = image.shape[1:]
    coarse = _area(image, (max(1, round(height / times)), max(1, round(width / times))))
    return image - interpolate(coarse[None], (height, width), mode="bicubic", align_corners=False)[0]
