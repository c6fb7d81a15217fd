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
        mask = np.unpackbits(np.frombuffer(self._packed(), np.uint8), count=self.count).view(np.bool_)
        mask.flags.writeable = False
        return mask

    def check(self) -> None:
        """ValueError if the data holds another number of bits."""
        self._packed()

    def _packed(self) -> bytes:
        if not 0 <= self.count < LONGEST:
            raise ValueError(f"mask: expected fewer than {LONGEST} entries, got {self.count}")
        wanted, inflating = (self.count + 7) // 8, zlib.decompressobj()
        try:
            packed = inflating.decompress(self.data, wanted + 1)
        except zlib.error as error:
            raise ValueError(f"mask: the compressed bits are damaged ({error})") from error
        if len(packed) != wanted or not inflating.eof or inflating.unused_data:
            raise ValueError(f"mask: expected {wanted} bytes for {self.count} entries, got {len(packed)}, or more, or not the end of them")
        return packed
