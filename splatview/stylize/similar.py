"""Leaving out frames of a video that hardly differ (Kodaira et al. 2023).

A camera's noise lets no two frames be the same: the more alike one is to the last that was drawn, the likelier it is left out. Of frames of
our own nothing is guessed: they are compared.
"""

from __future__ import annotations

import cv2
import numpy as np

from splatview.arrays import Bytes, Floats

SIDE = 64  # pixels of what is compared


class Similar:
    """Tells which frames to leave out."""

    def __init__(self, threshold: float = 0.98, most: int = 10, seed: int | None = None) -> None:
        """`threshold`: the likeness (cosine) from which on frames are left out at times; `most`: how many in a row."""
        if not (0 <= threshold < 1 and most >= 1):
            raise ValueError(f"expected a threshold of 0 to 1 and 1 or more frames, got {threshold} and {most}")
        self._threshold, self._most = threshold, most
        self._random = np.random.default_rng(seed)
        self._drawn: Floats | None = None
        self._left_out = 0

    def skips(self, picture: Bytes) -> bool:
        """Whether the frame with `picture` [H, W, 3] can be left out; one that is not is taken for drawn."""
        small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel() / 127.5 - 1
        if self._drawn is not None and self._left_out < self._most:
            lengths = float(np.linalg.norm(small) * np.linalg.norm(self._drawn))
            likeness = float(small @ self._drawn) / lengths if lengths else 0.0
            chance = max(0.0, 1 - (1 - likeness) / (1 - self._threshold))
            if chance > 0 and self._random.random() <= chance:
                self._left_out += 1
                return True
        self._drawn, self._left_out = small, 0
        return False
