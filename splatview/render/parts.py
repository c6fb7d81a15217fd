"""Pieces of rays: what is seen of each, over nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from splatview.arrays import Floats


class Part(NamedTuple):
    """What is seen of a piece of each ray, over nothing."""

    rgb: Floats  # [H, W, 3] sRGB times alpha
    alpha: Floats  # [H, W]
    depth: Floats  # [H, W] expected z along the view axis, in the world, 0 where alpha is 0

    def alone(self, before: Floats) -> Part:
        """This as it is without what stands before it, if it is what passes that: an alpha of `before` [H, W]."""
        passes = 1 - before
        share = np.divide(1, passes, out=np.zeros_like(passes), where=passes > 0)
        return Part(self.rgb * share[..., None], self.alpha * share, self.depth)
