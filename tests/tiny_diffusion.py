"""Stable Diffusion in miniature: the same parts and the same files as the real one, a few hundred kilobytes, with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import logging as log
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

PLAIN = [*range(33, 127), *range(161, 173), *range(174, 256)]  # bytes that CLIP writes as themselves
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LIKE_SDXL = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4, "projection_class_embeddings_input_dim": 6 * 4 + 16}


def write(folder: Path, family: str = "turbo", **more: int) -> Path:
    """Save one to `folder`, as diffusers saves them: turbo or ancestral, lcm, plain (many steps), xl or large (its autoencoder is).

    `more` is told to its denoiser.
    """
    torch.manual_seed(0)
    schedulers = {
        "lcm": lambda: LCMScheduler(**NOISE, set_alpha_to_one=False, steps_offset=1, clip_sample=False),
        "ancestral": lambda: EulerAncestralDiscreteScheduler(**NOISE, timestep_spacing="trailing", steps_offset=1),
        "plain": lambda: PNDMScheduler(**NOISE, set_alpha_to_one=False, steps_offset=1, skip_prk_steps=True),
    }
    scheduler = schedulers.get(family, lambda: EulerDiscreteScheduler(**NOISE, timestep_spacing="trailing", steps_offset=1))()
    parts = {"vae": large_vae() if family == "large" else vae(), "tokenizer": tokenizer(), "text_encoder": text_encoder()}
    with quiet():
        if family == "xl":
            more = {"tokenizer_2": tokenizer(), "text_encoder_2": text_encoder(CLIPTextModelWithProjection)}
            network = unet(**LIKE_SDXL, cross_attention_dim=32)
            pipeline = StableDiffusionXLPipeline(**parts, **more, unet=network, scheduler=scheduler, add_watermarker=False)
        else:
            nothing = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
            pipeline = StableDiffusionPipeline(**parts, unet=unet(**more), scheduler=scheduler, **nothing)
        pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


@contextmanager
def quiet() -> Iterator[None]:
    """Without diffusers' remarks: it did not expect a small autoencoder."""
    level = log.get_verbosity()
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(level)


def unet(**more) -> UNet2DConditionModel:
    shape = {"sample_size": 8, "layers_per_block": 1, "block_out_channels": (16, 32), "cross_attention_dim": 16, "attention_head_dim": 4}
    blocks = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
    return UNet2DConditionModel(**{**shape, **blocks, "norm_num_groups": 4, **more}).eval()


def vae() -> AutoencoderTiny:
    sides = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    made = AutoencoderTiny(**sides, num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4).eval()
    with torch.no_grad():  # latents and pictures of some contrast
        for layer, gain in ((made.encoder.layers[-1], 40), (made.decoder.layers[-1], 20)):
            layer.weight.sub_(layer.weight.mean((2, 3), keepdim=True)).mul_(gain)
        made.decoder.layers[-1].bias.fill_(0.5)
    return made


def large_vae() -> AutoencoderKL:
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    return AutoencoderKL(**blocks, block_out_channels=(8,) * 4, layers_per_block=1, norm_num_groups=4, latent_channels=4).eval()


def tokenizer() -> CLIPTokenizer:
    """CLIP's, without its merges: every letter is a token."""
    alphabet = [*(chr(byte) for byte in PLAIN), *(chr(256 + place) for place in range(256 - len(PLAIN)))]
    words = [*alphabet, *(letter + "</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: place for place, word in enumerate(words)}, merges=[], model_max_length=77)


def text_encoder(kind: type = CLIPTextModel):
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 77}
    words = {"vocab_size": 514, "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    return kind(CLIPTextConfig(**layers, **words, projection_dim=16)).eval()


def controlnet(network: UNet2DConditionModel, seed: int = 0) -> ControlNetModel:
    """One that does something: as it begins, it adds nothing."""
    made = ControlNetModel.from_unet(network, conditioning_channels=3)
    torch.manual_seed(seed)
    for layer in [*made.controlnet_down_blocks, made.controlnet_mid_block, made.controlnet_cond_embedding.conv_out]:
        torch.nn.init.normal_(layer.weight, std=0.5)
    return made.eval()
