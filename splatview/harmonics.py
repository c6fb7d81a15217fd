"""Real spherical harmonics of 3D Gaussian Splatting, degrees 0 to 4.

Signs and order are those of the trained files: within a band m = -l .. l, with the Condon-Shortley phase,
the polynomials of Sloan, "Efficient Spherical Harmonic Evaluation" (JCGT 2013).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from splatview.geometry import normalised

C0 = 0.28209479177387814
MAX_DEGREE = 4


def coefficients(degree: int) -> int:
    """How many coefficients per colour channel a degree has."""
    return (degree + 1) ** 2


def degree_of(count: int) -> int:
    """The degree with `count` coefficients per channel; ValueError if there is none up to 4."""
    for degree in range(MAX_DEGREE + 1):
        if coefficients(degree) == count:
            return degree
    raise ValueError(f"spherical harmonics: expected 1, 4, 9, 16 or 25 coefficients per channel, got {count}")


def basis(directions: ArrayLike, degree: int) -> NDArray:
    """The basis functions [..., (degree + 1)^2] at unit `directions` [..., 3]."""
    x, y, z = np.moveaxis(np.asarray(directions), -1, 0)
    bands = [np.full_like(x, C0)]
    if degree >= 1:
        bands += [-0.48860251190291987 * y, 0.48860251190291987 * z, -0.48860251190291987 * x]
    xx, yy, zz = x * x, y * y, z * z
    if degree >= 2:
        bands += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (3 * zz - 1),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
        ]
    if degree >= 3:
        bands += [
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (5 * zz - 1),
            0.3731763325901154 * z * (5 * zz - 3),
            -0.4570457994644658 * x * (5 * zz - 1),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ]
    if degree >= 4:
        bands += [
            2.5033429417967046 * x * y * (xx - yy),
            -1.7701307697799304 * y * z * (3 * xx - yy),
            0.9461746957575601 * x * y * (7 * zz - 1),
            -0.6690465435572892 * y * z * (7 * zz - 3),
            0.10578554691520431 * (35 * zz * zz - 30 * zz + 3),
            -0.6690465435572892 * x * z * (7 * zz - 3),
            0.47308734787878004 * (xx - yy) * (7 * zz - 1),
            -1.7701307697799304 * x * z * (xx - 3 * yy),
            0.6258357354491761 * (xx * (xx - 3 * yy) - yy * (3 * xx - yy)),
        ]
    return np.stack(bands, -1)


def evaluate(sh: ArrayLike, directions: ArrayLike) -> NDArray:
    """Colours [N, 3] of `sh` [N, K, 3] seen along `directions` [N, 3] (any length): max(0, 0.5 + sum of the basis)."""
    array = np.asarray(sh)
    at = basis(normalised(directions), degree_of(array.shape[1]))
    return np.maximum(0.5 + np.einsum("nk,nkc->nc", at, array), 0)


def rotation_blocks(rotation: ArrayLike, degree: int) -> list[NDArray]:
    """For each band l = 1 .. degree the matrix [2l+1, 2l+1] that rotates its coefficients by `rotation` [3, 3].

    A rotated function at d is the function at R^-1 d, and a band is closed under rotation, so the matrix follows
    from the basis at enough directions: B(R d) M = B(d).
    """
    count = 64
    steps = np.arange(count) + 0.5  # a Fibonacci sphere
    heights, turns = 1 - 2 * steps / count, np.pi * (1 + 5**0.5) * steps
    radius = np.sqrt(1 - heights**2)
    directions = np.stack([radius * np.cos(turns), radius * np.sin(turns), heights], -1)
    before, after = basis(directions, degree), basis(directions @ np.asarray(rotation, np.float64).T, degree)
    bands = [slice(l * l, (l + 1) ** 2) for l in range(1, degree + 1)]
    return [np.linalg.lstsq(after[:, band], before[:, band], rcond=None)[0] for band in bands]


def rotate(sh: ArrayLike, rotation: ArrayLike) -> NDArray:
    """Coefficients [N, K, 3] of the same functions turned by `rotation` [3, 3]."""
    array = np.asarray(sh)
    degree = degree_of(array.shape[1])
    turned = array.copy()
    for l, block in enumerate(rotation_blocks(rotation, degree), 1):
        band = slice(l * l, (l + 1) ** 2)
        turned[:, band] = np.einsum("ij,njc->nic", block.astype(array.dtype), array[:, band], optimize=True)
    return turned
