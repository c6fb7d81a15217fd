"""Loaded networks as the callables that the engine takes. Only the calling conventions of their library are known here."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from splatview.stylize.denoise import Conditions
from splatview.stylize.parts import FACTOR, Encoded

GUIDANCE_UNIT = 1000.0  # of the scale that a model with distilled guidance is told
LONGEST_WAVE = 10000.0


class Denoiser(nn.Module):
    """A UNet with its ControlNets: latents [B, C, h, w], timesteps [B], conditions -> what it predicts [B, C, h, w], float32.

    Conditions: "tokens" [B, L, D]; of SDXL "pooled" [B, P]; with distilled guidance "guidance" [B]; and for each ControlNet that shall work
    its hint, a picture [B, 3, 8 h, 8 w] in 0..1, by its name, and "NAME scale" [B].
    """

    def __init__(self, network: Any, nets: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.network, self.nets = network, nn.ModuleDict(nets or {})

    def forward(self, latents: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
        dtype = self.network.dtype
        x = latents.to(dtype)
        told: dict[str, Any] = {"encoder_hidden_states": conditions["tokens"].to(dtype), "return_dict": False}
        if "pooled" in conditions:
            told["added_cond_kwargs"] = {"text_embeds": conditions["pooled"].to(dtype), "time_ids": _sizes(latents).to(dtype)}
        corrections = [self._corrections(hint, x, timesteps, conditions, told) for hint in self.nets if hint in conditions]
        if "guidance" in conditions:  # ControlNets are not told: they are those of models without
            told["timestep_cond"] = waves(conditions["guidance"] - 1, self.network.config.time_cond_proj_dim).to(dtype)
        if corrections:
            down, mid = zip(*corrections, strict=True)
            told["down_block_additional_residuals"] = [sum(parts) for parts in zip(*down, strict=True)]
            told["mid_block_additional_residual"] = sum(mid)
        return self.network(x, timesteps, **told)[0].float()

    def _corrections(
        self, hint: str, x: Tensor, timesteps: Tensor, conditions: Conditions, told: Mapping[str, Any]
    ) -> tuple[list[Tensor], Tensor]:
        """What the ControlNet of `hint` adds to the UNet's blocks."""
        shown, scale = conditions[hint].to(x.dtype), conditions[f"{hint} scale"].to(x.dtype).view(-1, 1, 1, 1)
        down, mid = self.nets[hint](x, timesteps, controlnet_cond=shown, **told)
        return [scale * part for part in down], scale * mid


def waves(numbers: Tensor, count: int) -> Tensor:
    """`numbers` [B] as sines and cosines [B, count] of falling frequencies: how networks are told a scale (Meng et al. 2023)."""
    half = count // 2
    steps = torch.arange(half, device=numbers.device, dtype=torch.float32) / (half - 1)
    angles = GUIDANCE_UNIT * numbers.float()[:, None] * LONGEST_WAVE**-steps
    return nn.functional.pad(torch.cat([angles.sin(), angles.cos()], 1), (0, count % 2))


def _sizes(latents: Tensor) -> Tensor:
    """What SDXL is told of a picture [B, 6]: the size it had, where it was cut, the size it shall have."""
    height, width = (FACTOR * side for side in latents.shape[-2:])
    numbers = (height, width, 0, 0, height, width)
    return torch.stack(
        [torch.full((latents.shape[0],), number, device=latents.device) for number in numbers], 1
    )  # made there: nothing is sent


class Encoder(nn.Module):
    """The first half of an autoencoder of diffusers, from sRGB 0..1; where it tells a distribution, its mean (Kingma and Welling 2014)."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pixels: Tensor) -> Tensor:
        told = self.vae.encode((2 * pixels - 1).to(self.vae.dtype))
        latents = told.latents if hasattr(told, "latents") else told.latent_dist.mode()
        return ((latents - _shift(self.vae)) * self.vae.config.scaling_factor).float()


class Decoder(nn.Module):
    """The other half, not clamped."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> Tensor:
        units = latents / self.vae.config.scaling_factor + _shift(self.vae)
        return (self.vae.decode(units.to(self.vae.dtype)).sample.float() + 1) / 2


def _shift(vae: Any) -> float:
    return vae.config.get("shift_factor") or 0.0


class Texts:
    """Text encoders with their tokenizers: one, or SDXL's two."""

    def __init__(self, tokenizers: Sequence[Any], encoders: Sequence[Any]) -> None:
        self.tokenizers, self.encoders = list(tokenizers), list(encoders)
        self._using = threading.Lock()  # a tokenizer keeps how it was asked to cut and to fill up: several stylizers have the same

    @torch.no_grad()
    def __call__(self, text: str) -> Encoded:
        """`text` as rows: its tokens [1, L, D], and of SDXL their sum [1, P]."""
        with self._using:
            return self._encoded(text)

    def _encoded(self, text: str) -> Encoded:
        told, lost = [], ""
        for tokenizer, encoder in zip(self.tokenizers, self.encoders, strict=True):
            room = tokenizer.model_max_length
            ids = tokenizer(text, padding="max_length", max_length=room, truncation=True, return_tensors="pt").input_ids
            whole = tokenizer(text, verbose=False).input_ids
            lost = lost or tokenizer.decode(whole[room - 1 : -1]).strip()
            told.append(encoder(ids.to(encoder.device), output_hidden_states=len(self.encoders) > 1))
        if len(told) == 1:
            return Encoded({"tokens": told[0][0].float()}, lost)
        tokens = torch.cat([one.hidden_states[-2] for one in told], -1)  # SDXL was trained with the last layer but one
        return Encoded({"tokens": tokens.float(), "pooled": told[-1][0].float()}, lost)
