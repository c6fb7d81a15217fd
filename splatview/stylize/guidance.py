"""How strongly a picture follows its prompt: classifier-free guidance (Ho and Salimans 2022), and residual guidance, which does without
most of its extra work (Kodaira et al. 2023).

Guided noise is unconditional + scale (conditional - unconditional). `full` asks the network for both, which doubles the work. `self`
takes for unconditional what would lead back to the picture itself, and `initialize` what would lead to the picture that the network, asked
once with the negative prompt, makes of it: for an anchor z that is delta (x - signal z) / noise, in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["none", "full", "self", "initialize"]


@dataclass(frozen=True)
class Guidance:
    """Which guidance, and how much; a scale of 1 is none."""

    kind: Kind = "none"
    scale: float = 1.0
    delta: float = 1.0  # of `self` and `initialize`: how much of the residual noise counts

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"guidance: expected one of {', '.join(get_args(Kind))}; got {self.kind!r}")

    @property
    def acting(self) -> Kind:
        return self.kind if self.scale > 1 else "none"

    def extra(self, steps: int, first: int = 0) -> int:
        """For how many of `steps`, of which the `first` comes first, the network is also asked with the negative prompt."""
        return {"full": steps, "initialize": int(first == 0)}.get(self.acting, 0)
