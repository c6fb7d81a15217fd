"""Frozen, checked numpy arrays: what every value of splatview is made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]


def frozen(name: str, values: ArrayLike, dtype: type, *shape: int | None) -> NDArray:
    """`values` as a read-only, C-contiguous array; ValueError if its shape is not `shape` (None: any length).

    An array that already fits is shared, not copied, and becomes read-only.
    """
    array = np.ascontiguousarray(values, dtype)
    if array.ndim != len(shape) or any(want is not None and want != got for want, got in zip(shape, array.shape, strict=True)):
        wanted = ", ".join("N" if want is None else str(want) for want in shape)
        raise ValueError(f"{name}: expected an array of shape [{wanted}], got {list(array.shape)}")
    array.flags.writeable = False
    return array
