"""Masks as operations keep them: one bit a Gaussian, compressed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from splatview.arrays import Bools

LONGEST = 1 << 31  # entries of a mask


@dataclass(frozen=True, eq=False)
class Bits:
    """A mask [count]; compared by identity."""

    count: int
    data: bytes  # zlib of the bits, eight a byte, the first one highest

    @staticmethod
    def of(mask: ArrayLike) -> Bits:
        """The compressed form of a mask [N]."""
        array = np.asarray(mask, np.bool_)
        return Bits(len(array), zlib.compress(np.packbits(array).tobytes(), 1))

    @property
    def mask(self) -> Bools:
        """The mask [count], read-only; ValueError if the data holds another number of bits."""
        if not 0 <= self.count < LONGEST:
            raise ValueError(f"mask: expected fewer than {LONGEST} entries, got {self.count}")
        wanted = (self.count + 7) // 8
        try:
            packed = zlib.decompressobj().decompress(self.data, wanted + 1)
        except zlib.error as error:
            raise ValueError(f"mask: the compressed bits are damaged ({error})") from error
        if len(packed) != wanted:
            raise ValueError(f"mask: expected {wanted} bytes for {self.count} entries, got {len(packed)} or more")
        mask = np.unpackbits(np.frombuffer(packed, np.uint8), count=self.count).view(np.bool_)
        mask.flags.writeable = False
        return mask
