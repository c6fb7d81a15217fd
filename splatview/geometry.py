"""Rotations and similarity transforms.

Conventions, everywhere in splatview: right-handed world, OpenCV cameras (x right, y down, z forward),
quaternions wxyz, `a_from_b` maps points of b into a, angles in radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from splatview.arrays import Doubles


def normalised(vectors: ArrayLike) -> NDArray:
    """`vectors` [..., D] scaled to length 1; a zero vector stays zero."""
    array = np.asarray(vectors)
    length = np.linalg.norm(array, axis=-1, keepdims=True)
    return array / np.where(length > 0, length, 1)


def matrix_from_quat(quats: ArrayLike) -> NDArray:
    """Rotation matrices [..., 3, 3] of quaternions wxyz [..., 4] of any length but zero (zero gives the identity)."""
    w, x, y, z = np.moveaxis(normalised(quats), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def quat_from_matrix(matrices: ArrayLike) -> NDArray:
    """Unit quaternions wxyz [..., 4] of rotation matrices [..., 3, 3], the largest component positive (Shepperd's method)."""
    m = np.asarray(matrices)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    rows = np.stack(  # row k is 4 q_k q: the row of the largest q_k is the most accurate
        [
            np.stack([1 + xx + yy + zz, wx, wy, wz], -1),
            np.stack([wx, 1 + xx - yy - zz, xy, xz], -1),
            np.stack([wy, xy, 1 - xx + yy - zz, yz], -1),
            np.stack([wz, xz, yz, 1 - xx - yy + zz], -1),
        ],
        -2,
    )
    largest = np.argmax(np.diagonal(rows, axis1=-2, axis2=-1), -1)
    return normalised(np.take_along_axis(rows, largest[..., None, None], -2)[..., 0, :])


def multiply_quats(a: ArrayLike, b: ArrayLike) -> NDArray:
    """The Hamilton product a b of quaternions wxyz [..., 4]: rotates by b first."""
    aw, ax, ay, az = np.moveaxis(np.asarray(a), -1, 0)
    bw, bx, by, bz = np.moveaxis(np.asarray(b), -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def rotation_about(axis: ArrayLike, angle: float) -> Doubles:
    """The rotation matrix [3, 3] by `angle` (right-handed) about `axis` [3]."""
    unit = normalised(np.asarray(axis, np.float64))
    return matrix_from_quat(np.array([np.cos(angle / 2), *(np.sin(angle / 2) * unit)]))


def rotation_between(source: ArrayLike, target: ArrayLike) -> Doubles:
    """The smallest rotation [3, 3] that takes the direction `source` [3] to `target` [3]."""
    a, b = normalised(np.asarray(source, np.float64)), normalised(np.asarray(target, np.float64))
    if a @ b < -1 + 1e-12:  # opposite: half a turn about any perpendicular axis
        return rotation_about(np.cross(a, np.eye(3)[np.argmin(np.abs(a))]), np.pi)
    return matrix_from_quat(np.array([1 + a @ b, *np.cross(a, b)]))


@dataclass(frozen=True)
class Similarity:
    """A rotation, a uniform scale > 0 and a translation: x -> scale * rotate(x) + translation."""

    quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)  # wxyz, unit length
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0

    def __post_init__(self) -> None:
        quat = np.asarray(self.quat, np.float64)
        translation = np.asarray(self.translation, np.float64)
        if quat.shape != (4,) or not np.isfinite(quat).all() or not quat.any():
            raise ValueError(f"Similarity: expected a quaternion wxyz that is finite and not zero, got {self.quat}")
        if translation.shape != (3,) or not np.isfinite(translation).all():
            raise ValueError(f"Similarity: expected a translation of three finite numbers, got {self.translation}")
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"Similarity: expected a scale > 0, got {self.scale}")
        if abs(quat @ quat - 1) > 1e-12:  # a unit one keeps its bits, so that a similarity that was saved is the same one again
            quat = normalised(quat)
        object.__setattr__(self, "quat", tuple(quat.tolist()))
        object.__setattr__(self, "translation", tuple(translation.tolist()))
        object.__setattr__(self, "scale", float(self.scale))

    @staticmethod
    def from_matrix(matrix: ArrayLike) -> Similarity:
        """The similarity with this matrix [4, 4] or [3, 4]; ValueError if it shears, mirrors or scales unevenly."""
        m = np.asarray(matrix, np.float64)
        if m.shape not in ((4, 4), (3, 4)) or not np.isfinite(m).all():
            raise ValueError(f"Similarity: expected a finite matrix [4, 4] or [3, 4], got shape {list(m.shape)}")
        linear = m[:3, :3]
        scale = np.cbrt(np.linalg.det(linear))
        if not scale > 0 or not np.allclose(linear @ linear.T, scale**2 * np.eye(3), atol=1e-4 * scale**2):
            raise ValueError("Similarity: expected a rotation times a uniform scale > 0, got a matrix that shears, mirrors or stretches")
        if m.shape == (4, 4) and not np.allclose(m[3], [0, 0, 0, 1]):
            raise ValueError(f"Similarity: expected the last row 0 0 0 1, got {m[3].tolist()}")
        return Similarity(tuple(quat_from_matrix(linear / scale).tolist()), tuple(m[:3, 3].tolist()), float(scale))

    @property
    def rotation(self) -> Doubles:
        """The rotation matrix [3, 3]."""
        return matrix_from_quat(np.asarray(self.quat))

    @property
    def matrix(self) -> Doubles:
        """The matrix [4, 4] for column vectors."""
        m = np.eye(4)
        m[:3, :3] = self.scale * self.rotation
        m[:3, 3] = self.translation
        return m

    @property
    def is_identity(self) -> bool:
        return self == Similarity()

    def apply(self, points: ArrayLike) -> NDArray:
        """`points` [..., 3] moved."""
        return self.scale * (np.asarray(points) @ self.rotation.T) + np.asarray(self.translation)

    def inverse(self) -> Similarity:
        w, x, y, z = self.quat
        back = Similarity((w, -x, -y, -z), scale=1 / self.scale)
        return Similarity(back.quat, tuple((-back.apply(self.translation)).tolist()), back.scale)

    def __matmul__(self, other: Similarity) -> Similarity:
        """First `other`, then this."""
        quat = multiply_quats(self.quat, other.quat)
        return Similarity(tuple(quat.tolist()), tuple(self.apply(other.translation).tolist()), self.scale * other.scale)
