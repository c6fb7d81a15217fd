"""Stable Diffusion in miniature: the same parts and the same files as the real one, a few hundred kilobytes, with random weights."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

PLAIN = [*range(33, 127), *range(161, 173), *range(174, 256)]  # bytes that CLIP writes as themselves


def write(folder: Path, family: str = "lcm") -> Path:
    """Save one to `folder`, as diffusers saves them."""
    from diffusers import EulerDiscreteScheduler, LCMScheduler, StableDiffusionPipeline

    torch.manual_seed(0)
    noise = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    lcm = LCMScheduler(**noise, set_alpha_to_one=False, steps_offset=1, clip_sample=False)
    parts = {"vae": vae(), "unet": unet(), "tokenizer": tokenizer(), "text_encoder": text_encoder()}
    scheduler = lcm if family == "lcm" else EulerDiscreteScheduler(**noise, timestep_spacing="trailing", steps_offset=1)
    log = logging.getLogger("diffusers")
    level, _ = log.level, log.setLevel(logging.ERROR)  # it says that a small VAE is not the large one
    pipeline = StableDiffusionPipeline(
        **parts, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    log.setLevel(level)
    return folder


def unet(**more):
    from diffusers import UNet2DConditionModel

    shape = {"sample_size": 8, "layers_per_block": 1, "block_out_channels": (16, 32), "cross_attention_dim": 16, "attention_head_dim": 4}
    down, up = ("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
    return UNet2DConditionModel(**shape, down_block_types=down, up_block_types=up, norm_num_groups=4, **more).eval()


def vae():
    from diffusers import AutoencoderTiny

    channels, blocks = (8, 8, 8, 8), (1, 1, 1, 1)
    return AutoencoderTiny(
        encoder_block_out_channels=channels, decoder_block_out_channels=channels, num_encoder_blocks=blocks, num_decoder_blocks=blocks
    ).eval()


def tokenizer():
    """CLIP's, without its merges: every letter is a token."""
    from transformers import CLIPTokenizer

    alphabet = [*(chr(byte) for byte in PLAIN), *(chr(256 + place) for place in range(256 - len(PLAIN)))]
    words = [*alphabet, *(letter + "</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: place for place, word in enumerate(words)}, merges=[], model_max_length=77)


def text_encoder():
    from transformers import CLIPTextConfig, CLIPTextModel

    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 77}
    return CLIPTextModel(CLIPTextConfig(vocab_size=514, **layers, bos_token_id=512, eos_token_id=513, pad_token_id=513)).eval()
