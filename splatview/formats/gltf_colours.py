"""Colours that glTF keeps in linear light, for a renderer that blends as displays show them (sRGB)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from splatview import harmonics
from splatview.arrays import Floats
from splatview.formats.packing import BLOCK

_DIRECTIONS = 64  # where colours are compared: more than twice the largest number of coefficients


def srgb_from_linear(light: NDArray) -> NDArray:
    """Display values of linear `light` (IEC 61966-2-1); above 1 the curve goes on, below 0 is black."""
    light = np.maximum(light, 0)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def display_harmonics(sh: Floats) -> Floats:
    """Harmonics [N, K, 3] of the sRGB colours of Gaussians whose harmonics `sh` [N, K, 3] give linear light.

    Exact without view dependence; else the best of the same degree over all directions, by least squares.
    """
    degree = harmonics.degree_of(sh.shape[1])
    steps = np.arange(_DIRECTIONS if degree else 1) + 0.5  # a Fibonacci sphere
    heights, turns = 1 - 2 * steps / len(steps), np.pi * (1 + 5**0.5) * steps
    radius = np.sqrt(1 - heights**2)
    basis = harmonics.basis(np.stack([radius * np.cos(turns), radius * np.sin(turns), heights], -1), degree)
    fit = np.linalg.pinv(basis)
    result = np.empty_like(sh)
    for start in range(0, len(sh), BLOCK):
        colours = 0.5 + np.einsum("dk,nkc->ndc", basis, sh[start : start + BLOCK], optimize=True)
        result[start : start + BLOCK] = np.einsum("kd,ndc->nkc", fit, srgb_from_linear(colours) - 0.5, optimize=True)
    return result
