"""Pieces of rays: what is seen of each, over nothing."""

from __future__ import annotations

from typing import Any, NamedTuple


class Part(NamedTuple):
    """What is seen of a piece of each ray, over nothing: arrays, or tensors of one device."""

    rgb: Any  # [H, W, 3] sRGB times alpha; None: nobody asked for it
    alpha: Any  # [H, W]
    depth: Any  # [H, W] expected z along the view axis, in the world, 0 where alpha is 0

    def alone(self, before: Any) -> Part:
        """This as it is without what stands before it, if it is what passes that: an alpha of `before` [H, W]."""
        passes = 1 - before
        share = (passes > 0) / passes.clip(min=1e-30)
        return Part(self.rgb * share[..., None], self.alpha * share, self.depth)
