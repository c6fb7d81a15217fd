"""What a diffusion stylizer is made of: callables, so that the engine knows no library of models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from splatview.arrays import Floats
from splatview.stylize.denoise import Conditions, Levels, Prediction, Unet
from splatview.stylize.schedule import Family, schedule

FACTOR = 8  # pixels along a latent


@dataclass(frozen=True, eq=False)
class Codec:
    """Pictures to latents and back; the sides of pictures are multiples of 8."""

    name: str
    encode: Callable[[Tensor], Tensor]  # sRGB [F, 3, H, W], 0..1 -> [F, C, H / 8, W / 8], in the units that the denoiser was trained in
    decode: Callable[[Tensor], Tensor]  # and back; not clamped
    channels: int  # C


@dataclass(frozen=True, eq=False)
class Encoded:
    """A text as a network takes it."""

    rows: Conditions  # one row each
    lost: str = ""  # the end of the text, which there was no room for


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model. Latents are float32 everywhere outside; inside a callable they are whatever it likes."""

    name: str
    family: Family
    unet: Unet
    codec: Codec
    encode_text: Callable[[str], Encoded]
    table: Floats  # [T] alpha bar
    prediction: Prediction = "epsilon"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    hints: frozenset[str] = frozenset()  # of which it has ControlNets
    distilled_guidance: bool = False  # it is told the scale of guidance (condition "guidance" [1]) and needs no other
    ancestral: bool = False  # of Turbo: some of the noise between steps is fresh
    nothing_is_zeros: bool = False  # an empty negative prompt is told by zeros, as most SDXL models were trained with
    notes: tuple[str, ...] = ()  # for people: what is not as it could be

    def levels(self, timesteps: Sequence[int]) -> Levels:
        """The schedule of `timesteps`, where the model is."""
        return Levels.of(schedule(self.table, self.family, timesteps, self.ancestral), self.device)

    def unwanted(self, text: str) -> Encoded:
        """A negative prompt as the network takes it."""
        encoded = self.encode_text(text)
        if text.strip() or not self.nothing_is_zeros:
            return encoded
        return Encoded({name: torch.zeros_like(row) for name, row in encoded.rows.items()})
