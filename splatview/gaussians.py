"""The Gaussians value: N splats as they were trained."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from splatview import harmonics
from splatview.arrays import Bools, Bytes, Floats, frozen
from splatview.geometry import Similarity, multiply_quats, normalised

Kind = Literal["classic", "antialiased", "2dgs"]
MOST_STEPS = 32  # changes that a value remembers: a bit for each splat and change


@dataclass(frozen=True, eq=False)
class Gaussians:
    """N splats, stored in the raw space they were trained in; compared by identity.

    >>> import numpy as np
    >>> from splatview import Gaussians
    >>> one = Gaussians(means=[[0, 0, 0]], quats=[[1, 0, 0, 0]], log_scales=[[-3, -3, -3]], opacity_logits=[2.0], sh=np.zeros((1, 1, 3)))
    >>> len(one), one.sh_degree
    (1, 0)
    """

    means: Floats  # [N, 3] world, scene units
    quats: Floats  # [N, 4] wxyz, any length
    log_scales: Floats  # [N, 3] log of the standard deviation
    opacity_logits: Floats  # [N]
    sh: Floats  # [N, K, 3] K = (degree + 1)^2, DC first
    kind: Kind = "classic"  # the rasteriser that the model was trained for
    # What this was changed from, newest first, each with a bit for every row that may differ from it to the next newer.
    _steps: tuple[tuple[weakref.ref[Gaussians], Bytes], ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.means)
        shapes = {"means": (count, 3), "quats": (count, 4), "log_scales": (count, 3), "opacity_logits": (count,), "sh": (count, None, 3)}
        for name, shape in shapes.items():
            object.__setattr__(self, name, frozen(f"Gaussians.{name}", getattr(self, name), np.float32, *shape))
        harmonics.degree_of(self.sh.shape[1])
        if self.kind not in get_args(Kind):
            raise ValueError(f"Gaussians.kind: expected one of {get_args(Kind)}, got {self.kind!r}")

    def __len__(self) -> int:
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        return harmonics.degree_of(self.sh.shape[1])

    @property
    def scales(self) -> Floats:
        """Standard deviations [N, 3] in scene units."""
        return np.exp(self.log_scales)

    @property
    def opacities(self) -> Floats:
        """Opacities [N] in 0..1."""
        return (0.5 * (1 + np.tanh(0.5 * self.opacity_logits))).astype(np.float32)

    @property
    def colours(self) -> Floats:
        """View-independent colours [N, 3] of the DC term, not clamped."""
        return 0.5 + np.float32(harmonics.C0) * self.sh[:, 0]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(a.nbytes for a in (self.means, self.quats, self.log_scales, self.opacity_logits, self.sh))

    def take(self, which: ArrayLike) -> Gaussians:
        """The splats at an index array, or where a mask [N] is true, in that order."""
        at = np.asarray(which)
        at = at if at.size else np.zeros(0, np.intp)  # an empty list has no type of its own
        return Gaussians(self.means[at], self.quats[at], self.log_scales[at], self.opacity_logits[at], self.sh[at], self.kind)

    def changed(self, which: ArrayLike, **arrays: ArrayLike) -> Gaussians:
        """The same splats but for the rows `which` (a mask [N]) at most: `arrays` by name, whole, of the same shapes; others are shared.

        The result remembers, weakly, what it was made from: a renderer that still has that prepares only these rows anew.

        >>> import numpy as np
        >>> from splatview import Gaussians
        >>> two = Gaussians(np.zeros((2, 3)), np.eye(2, 4), np.zeros((2, 3)), opacity_logits=[2, 2], sh=np.zeros((2, 1, 3)))
        >>> fainter = two.changed([True, False], opacity_logits=[-1, 2])
        >>> fainter.sh is two.sh, [rows.tolist() for _, rows in fainter.ancestors()]
        (True, [[True, False]])
        """
        mask = frozen("Gaussians.changed: which", np.array(which, np.bool_), np.bool_, len(self))
        result = replace(self, **arrays)
        if result.sh.shape != self.sh.shape:  # the other arrays' shapes follow
            raise ValueError(f"Gaussians.changed: expected harmonics of shape {list(self.sh.shape)}, got {list(result.sh.shape)}")
        steps = (weakref.ref(self), np.packbits(mask)), *self._steps
        object.__setattr__(result, "_steps", steps[:MOST_STEPS])
        return result

    def ancestors(self) -> Iterator[tuple[Gaussians, Bools]]:
        """What these were `changed` from and is still in use, newest first, with the rows [N] that may differ from these."""
        differ: Bytes | None = None
        for ancestor, rows in self._steps:
            differ = rows if differ is None else differ | rows
            if (alive := ancestor()) is not None:
                yield alive, np.unpackbits(differ, count=len(self)).view(np.bool_)

    def superseded(self) -> list[Gaussians]:
        """The ancestors that are more than two changes back: what was derived from them may go, lest a long history fill the memory."""
        return [alive for ancestor, _ in self._steps[2:] if (alive := ancestor()) is not None]

    def with_max_degree(self, degree: int) -> Gaussians:
        """The same splats with the harmonics above `degree` cut off."""
        return self if degree >= self.sh_degree else replace(self, sh=self.sh[:, : harmonics.coefficients(degree)])

    def transformed(self, placement: Similarity) -> Gaussians:
        """The splats moved by `placement`: means, orientations, sizes and the view-dependent colour with them."""
        if placement.is_identity:
            return self
        upright = Similarity(placement.quat).is_identity
        return replace(
            self,
            means=placement.apply(self.means.astype(np.float64)),
            quats=self.quats if upright else multiply_quats(placement.quat, normalised(self.quats.astype(np.float64))),
            log_scales=self.log_scales + np.float32(np.log(placement.scale)),
            sh=self.sh if upright else harmonics.rotate(self.sh, placement.rotation),
        )


def concatenate(parts: Sequence[Gaussians]) -> Gaussians:
    """All splats of `parts` (one or more), in order, with the highest degree among them; the first one's kind."""
    count = max(part.sh.shape[1] for part in parts)

    def joined(name: str) -> Floats:
        return np.concatenate([getattr(part, name) for part in parts])

    sh = np.concatenate([np.pad(part.sh, ((0, 0), (0, count - part.sh.shape[1]), (0, 0))) for part in parts])
    return Gaussians(joined("means"), joined("quats"), joined("log_scales"), joined("opacity_logits"), sh, parts[0].kind)
