"""Moving some of the splats: by a similarity, about a pivot, within a layer; and the similarities that measurements ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from splatview import harmonics
from splatview.arrays import Bools, Doubles, Floats
from splatview.framing import UpAxis, axis_vector
from splatview.gaussians import Gaussians
from splatview.geometry import Similarity, multiply_quats, normalised, quat_from_matrix, rotation_between

ORIGIN = (0.0, 0.0, 0.0)
BLOCK = 512  # splats: a block stays in the cache, and its products are too small to wake other threads


def moved(splats: Gaussians, which: Bools, transform: Similarity, pivot: ArrayLike | None = None) -> dict[str, Floats]:
    """The arrays that change when the splats where `which` [N] is true move by `transform`, turned and scaled about `pivot` [3].

    Among means, quats, log_scales and sh; an array in which nothing changes is not listed, and other rows keep their bits, so
    `replace(splats, **moved(...))` is the result. No pivot: the origin. The harmonics turn with their splats.
    """
    chosen = np.asarray(which)
    if chosen.dtype != np.bool_ or chosen.shape != (len(splats),):
        raise ValueError(f"which: expected a mask of {len(splats)} splats, got {chosen.dtype} of shape {list(chosen.shape)}")
    placement = transform if pivot is None else about(transform, pivot)
    rows = np.flatnonzero(chosen)
    if placement.is_identity or not len(rows):
        return {}
    changed = {"means": _with_rows(splats.means, rows, lambda means: placement.apply(means.astype(np.float64)))}
    if placement.scale != 1:
        changed["log_scales"] = _with_rows(splats.log_scales, rows, lambda sizes: sizes + np.float32(np.log(placement.scale)))
    if Similarity(placement.quat).is_identity:
        return changed
    changed["quats"] = _with_rows(splats.quats, rows, lambda quats: multiply_quats(placement.quat, normalised(quats.astype(np.float64))))
    if splats.sh_degree > 0:
        blocks = harmonics.rotation_blocks(placement.rotation, splats.sh_degree)
        # A band's channels lie side by side: one product turns the three of them as they lie.
        turns = [np.kron(block.T, np.eye(3)).astype(np.float32) for block in blocks]
        changed["sh"] = _with_rows(splats.sh, rows, lambda sh: _turned(sh, turns))
    return changed


def about(transform: Similarity, pivot: ArrayLike) -> Similarity:
    """`transform` with its turn and its scale about `pivot` [3] instead of the origin: the pivot itself moves by the translation alone."""
    point = _point("pivot", pivot)
    turned = replace(transform, translation=ORIGIN).apply(point)
    return replace(transform, translation=_triple(np.asarray(transform.translation) + (point - turned)))


def in_layer(transform: Similarity, placement: Similarity) -> Similarity:
    """What a `transform` of the world does to the points of a layer that stands in the world by `placement`."""
    return transform if transform.is_identity else placement.inverse() @ transform @ placement


def rescale_from(a: ArrayLike, b: ArrayLike, length: float, pivot: ArrayLike = ORIGIN) -> Similarity:
    """The scale about `pivot` [3] after which the points `a` and `b` [3] are `length` apart; ValueError if they coincide.

    About the origin by default, so that a ground plane through it stays.
    """
    distance = float(np.linalg.norm(_point("b", b) - _point("a", a)))
    if not distance > 0:
        raise ValueError(f"rescale: expected two points apart, got the same one twice: {np.asarray(a).tolist()}")
    if not (np.isfinite(length) and length > 0):
        raise ValueError(f"rescale: expected a length > 0, got {length}")
    return about(Similarity(scale=length / distance), pivot)


def align_plane(p: ArrayLike, q: ArrayLike, r: ArrayLike, up: ArrayLike) -> Similarity:
    """The motion after which the points `p`, `q`, `r` [3] lie in the plane through the origin with the normal `up` [3].

    The smallest turn that does it, about `p`, which then goes straight down (or up) to the ground; ValueError if the three lie on a line.
    """
    at, second, third = _point("p", p), _point("q", q), _point("r", r)
    vertical = _direction("up", up)
    normal = np.cross(second - at, third - at)
    size = np.linalg.norm(normal)
    if not size > 1e-9 * np.linalg.norm(second - at) * np.linalg.norm(third - at):
        raise ValueError("align plane: expected three points that are not on one line")
    rotation = rotation_between(normal if normal @ vertical >= 0 else -normal, vertical)
    foot = at - (at @ vertical) * vertical
    return Similarity(_quat(rotation), _triple(foot - rotation @ at))


def up_axis(axis: UpAxis, up: UpAxis = "z") -> Similarity:
    """The smallest turn about the origin that takes the scene's `axis` to the world's `up`."""
    return Similarity(_quat(rotation_between(axis_vector(axis), axis_vector(up))))


def _with_rows(source: Floats, rows: NDArray, change: Callable[[Floats], NDArray]) -> Floats:
    """A copy of `source` [N, ...] in which `rows` [n] went through `change`, a block at a time."""
    result = source.copy()
    with np.errstate(invalid="ignore", over="ignore"):  # broken splats stay broken, and are nobody's warning
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            result[part] = change(np.take(source, part, 0))
    return result


def _turned(sh: Floats, turns: list[NDArray]) -> Floats:
    """The rows `sh` [n, K, 3] with band l multiplied by `turns` [3 (2l+1), 3 (2l+1)] from the right."""
    flat = sh.reshape(len(sh), -1)
    for l, turn in enumerate(turns, 1):
        band = slice(3 * l * l, 3 * (l + 1) ** 2)
        flat[:, band] = flat[:, band] @ turn
    return sh


def _point(name: str, values: ArrayLike) -> Doubles:
    point = np.asarray(values, np.float64)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise ValueError(f"{name}: expected three finite numbers, got {values}")
    return point


def _direction(name: str, values: ArrayLike) -> Doubles:
    vector = _point(name, values)
    length = np.linalg.norm(vector)
    if not length > 0:
        raise ValueError(f"{name}: expected a direction, got {values}")
    return vector / length


def _quat(rotation: Doubles) -> tuple[float, float, float, float]:
    w, x, y, z = quat_from_matrix(rotation).tolist()
    return w, x, y, z


def _triple(values: Doubles) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
