"""Models of the true sizes with random weights: as fast as the real ones, and nothing to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from splatview.stylize import models
from splatview.stylize.networks import Decoder, Denoiser, Encoder
from splatview.stylize.parts import Codec, Encoded, Model
from splatview.stylize.schedule import Family

WORDS, LENGTH = 49408, 77  # of CLIP's tokenizer, and of a prompt
BETAS = 0.00085, 0.012  # noise from step to step, at the first and the last of a thousand
BLOCK = 1 << 20  # random numbers, used over and over


@dataclass(frozen=True)
class Shape:
    """The sizes of a published model; what is not said is as diffusers and transformers have it."""

    name: str
    family: Family
    unet: Mapping[str, Any]
    text: Mapping[str, Any]


SHAPES = {
    "sd15": Shape(
        "SD 1.5",
        "lcm",
        {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
        {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    ),
    "sd-turbo": Shape(
        "SD-Turbo",
        "turbo",
        {"sample_size": 64, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
        {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16, "hidden_act": "gelu"},
    ),
}


def networks(shape: Shape) -> tuple[Any, Any, Any]:
    """Denoiser, text encoder and small autoencoder of that shape, without memory."""
    config: Any = models.CLIPTextModel.config_class
    with torch.device("meta"):
        network = models.UNet2DConditionModel(**shape.unet)
        encoder = models.CLIPTextModel(config(vocab_size=WORDS, max_position_embeddings=LENGTH, **shape.text))
        vae = models.AutoencoderTiny()
    return network, encoder, vae


def untrained(shape: Shape, device: str = "auto") -> Model:
    """A model of that shape."""
    place = models.device_of(device)
    network, encoder, vae = (filled(part, place, models.dtype_on(place)) for part in networks(shape))
    ids = torch.arange(LENGTH, device=place)[None]
    table = np.cumprod(1 - np.linspace(BETAS[0] ** 0.5, BETAS[1] ** 0.5, 1000) ** 2).astype(np.float32)
    codec = Codec("TAESD", Encoder(vae), Decoder(vae), vae.config.latent_channels)
    texts = torch.no_grad()(lambda text: Encoded({"tokens": encoder(ids)[0].float()}))
    return Model(f"{shape.name}, random weights", shape.family, Denoiser(network).eval(), codec, texts, table, device=place)


@torch.no_grad()
def filled(network: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """`network` with memory on `device`, and random weights of a size that keeps what goes through it about as large as it was."""
    network = nn.Module.to(network.requires_grad_(False), dtype).to_empty(device=device)  # diffusers' own `to` warns
    block = torch.randn(BLOCK, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    for name, value in network.named_parameters():
        if value.ndim < 2:
            value.fill_(1.0 if name.endswith("weight") else 0.0)
            continue
        for part in value.view(-1).split(BLOCK):
            part.copy_(block[: len(part)])
        value.mul_(value[0].numel() ** -0.5)
    for value in network.buffers():  # places in a text
        value.copy_(torch.arange(value.numel(), device=device).view_as(value))
    return network.eval().to(memory_format=torch.channels_last)
