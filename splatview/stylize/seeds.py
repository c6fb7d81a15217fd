"""Noise from seeds, the same on every device, and mixtures of it."""

from __future__ import annotations

import torch
from torch import Tensor


def noise(seed: int, shape: tuple[int, ...]) -> Tensor:
    """Gaussian noise of variance 1, on the processor."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def mixed(one: Tensor, other: Tensor, share: float) -> Tensor:
    """Between two noises, `share` of the way to the other. It is scaled so that it stays noise of variance 1: an average would fade."""
    return ((1 - share) * one + share * other) / ((1 - share) ** 2 + share**2) ** 0.5
