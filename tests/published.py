"""The repositories of the catalogue in miniature: the files, names, settings and layouts that they are published with, narrow networks.

The settings are those that the code branches on, and those of shape: kinds and numbers of blocks, heads, widths of tokens. What is not
wanted is there as a few bytes under its name: whoever loads it fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_diffusion
import torch
from diffusers import AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from splatview.stylize.catalogue import KNOWN, repo_of

DOWN, UP = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
FOUR: dict[str, Any] = {"down_block_types": DOWN, "up_block_types": UP, "norm_num_groups": 4, "sample_size": 64}
SD15: dict[str, Any] = {**FOUR, "block_out_channels": (8, 16, 32, 32), "attention_head_dim": 8, "cross_attention_dim": 768}
SD21: dict[str, Any] = {**FOUR, "block_out_channels": (20, 40, 80, 80), "attention_head_dim": (5, 10, 20, 20)}
SD21 |= {"cross_attention_dim": 1024, "use_linear_projection": True}
SDXL: dict[str, Any] = {"block_out_channels": (20, 40, 80), "attention_head_dim": (5, 10, 20), "cross_attention_dim": 2048}
SDXL |= {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), "transformer_layers_per_block": (1, 2, 10)}
SDXL |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816}
SDXL |= {"up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "use_linear_projection": True, "norm_num_groups": 4}

WORDS = 514  # of tiny_diffusion's tokenizer, the last two begin and end a text
TEXTS: dict[str, Any] = {"vocab_size": WORDS, "intermediate_size": 32, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
CLIP_L: dict[str, Any] = {"hidden_size": 768, "num_attention_heads": 12, "hidden_act": "quick_gelu", "projection_dim": 768}
OPEN_H: dict[str, Any] = {"hidden_size": 1024, "num_attention_heads": 16, "hidden_act": "gelu", "projection_dim": 512}
OPEN_G: dict[str, Any] = {"hidden_size": 1280, "num_attention_heads": 20, "hidden_act": "gelu", "projection_dim": 1280}

PNDM = {**tiny_diffusion.NOISE, "num_train_timesteps": 1000, "set_alpha_to_one": False, "steps_offset": 1, "trained_betas": None}
PNDM |= {"_class_name": "PNDMScheduler", "clip_sample": False, "skip_prk_steps": True}
EULER = {**PNDM, "_class_name": "EulerDiscreteScheduler", "interpolation_type": "linear", "prediction_type": "epsilon"}
EULER |= {"timestep_spacing": "trailing", "sample_max_value": 1.0, "use_karras_sigmas": False}
ANCESTRAL = {**EULER, "_class_name": "EulerAncestralDiscreteScheduler"}
LCM = {**PNDM, "_class_name": "LCMScheduler", "original_inference_steps": 50, "prediction_type": "epsilon", "thresholding": False}
LCM |= {"clip_sample_range": 1.0, "dynamic_thresholding_ratio": 0.995, "rescale_betas_zero_snr": False, "timestep_spacing": "leading"}

LORA_ON = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2", "conv_shortcut")
LORA_ON += ("downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj")


def sd_turbo(root: Path) -> Path:
    parts = {"scheduler": EULER, "unet": SD21, "text_encoder": OPEN_H, "tokenizer": "!"}
    folder = pipeline(root / repo_of("sd-turbo"), "StableDiffusionPipeline", parts, 0.18215)
    return nothing(folder, "sd_turbo.safetensors", "LICENSE.md", "output_tile.jpg")


def sdxl_turbo(root: Path) -> Path:
    parts = {"scheduler": ANCESTRAL, "unet": SDXL, "text_encoder": CLIP_L, "tokenizer": "<|endoftext|>"}
    parts |= {"text_encoder_2": OPEN_G, "tokenizer_2": "!"}
    folder = pipeline(root / repo_of("sdxl-turbo"), "StableDiffusionXLPipeline", parts, 0.13025, force_zeros_for_empty_prompt=True)
    return nothing(folder, "sd_xl_turbo_1.0.safetensors", "sd_xl_turbo_1.0_fp16.safetensors", "vae/diffusion_pytorch_model.onnx")


def sd15(root: Path) -> Path:
    parts = {"scheduler": PNDM, "unet": SD15, "text_encoder": CLIP_L, "tokenizer": "<|endoftext|>"}
    folder = pipeline(root / repo_of("sd15-lcm"), "StableDiffusionPipeline", parts, 0.18215)
    both = [
        f"{part}{half}.{end}"
        for part in ("text_encoder/pytorch_model", "safety_checker/model")
        for half in ("", ".fp16")
        for end in ("bin",)
    ]
    return nothing(folder, "v1-5-pruned-emaonly.safetensors", "unet/diffusion_pytorch_model.non_ema.safetensors", *both)


def dreamshaper(root: Path) -> Path:
    """Its weights are there in float32 alone."""
    parts = {"scheduler": LCM, "unet": {**SD15, "time_cond_proj_dim": 256}, "text_encoder": CLIP_L, "tokenizer": "<|endoftext|>"}
    folder = pipeline(root / repo_of("dreamshaper-lcm"), "LatentConsistencyModelPipeline", parts, 0.18215, halves=False)
    write(folder / "tokenizer" / "added_tokens.json", {"<|endoftext|>": WORDS - 1, "<|startoftext|>": WORDS - 2})
    return nothing(
        folder, "LCM_Dreamshaper_v7_4k.safetensors", "unet/model.onnx", "unet/model.onnx_data", "safety_checker/model.safetensors"
    )


def pipeline(folder: Path, kind: str, parts: dict[str, Any], scaling: float, halves: bool = True, **index: bool) -> Path:
    """One in `folder`: settings of its `parts`, of a tokenizer how it fills up."""
    torch.manual_seed(0)
    schedulers, two = parts["scheduler"], "text_encoder_2" in parts
    kinds = {
        "scheduler": schedulers["_class_name"],
        "unet": "UNet2DConditionModel",
        "vae": "AutoencoderKL",
        "text_encoder": "CLIPTextModel",
    }
    names = {part: ["diffusers" if part in ("scheduler", "unet", "vae") else "transformers", kind] for part, kind in kinds.items()}
    names |= {part: ["transformers", "CLIPTokenizer"] for part in parts if part.startswith("tokenizer")}
    names |= {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]} if two else {"safety_checker": [None, None]}
    write(folder / "model_index.json", {"_class_name": kind, **names, **index})
    write(folder / "scheduler" / "scheduler_config.json", schedulers)
    weights(UNet2DConditionModel(**parts["unet"]), folder / "unet", halves)
    for part in ("text_encoder", "text_encoder_2"):
        if part not in parts:
            continue
        made = CLIPTextModelWithProjection if part == "text_encoder_2" else CLIPTextModel
        config = CLIPTextConfig(**TEXTS, **parts[part], num_hidden_layers=2 if two else 1, max_position_embeddings=77)
        weights(made(config), folder / part, halves, as_then)
        tokenizer(folder / part.replace("text_encoder", "tokenizer"), parts[part.replace("text_encoder", "tokenizer")])
    vae = tiny_diffusion.large_vae()
    vae.register_to_config(scaling_factor=scaling, force_upcast=True)
    weights(vae, folder / "vae", halves)
    return folder


def weights(network: Any, folder: Path, halves: bool, layout: Callable[[Path], None] = lambda path: None) -> None:
    """A network as the libraries save it: in float32, or with `halves` in half precision beside that."""
    (nn.Module.to(network, torch.float16) if halves else network).save_pretrained(folder, variant="fp16" if halves else None)
    for path in folder.glob("*.safetensors"):
        layout(path)
        nothing(folder, path.name.replace(".fp16", "")) if halves else None


def as_then(path: Path) -> None:
    """Text encoders were saved with a prefix, and with the numbers of places."""
    state = {name if name.startswith("text_") else f"text_model.{name}": value for name, value in load_file(path).items()}
    save_file(state | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, path, {"format": "pt"})


def tokenizer(folder: Path, filler: str) -> None:
    """As four files; "!" is its first word."""
    words = tiny_diffusion.tokenizer().get_vocab()
    begin, end = "<|startoftext|>", "<|endoftext|>"
    write(folder / "vocab.json", words)
    (folder / "merges.txt").write_text("#version: 0.2\n")
    named = {"bos_token": begin, "eos_token": end, "pad_token": filler, "unk_token": end}
    write(folder / "special_tokens_map.json", {**named, "bos_token": {"content": begin, "normalized": True, "lstrip": False}})
    plain = {"lstrip": False, "rstrip": False, "single_word": False}
    added = {
        str(words[word]): {**plain, "content": word, "normalized": word == begin, "special": word == "!"} for word in {filler, begin, end}
    }
    how = {"add_prefix_space": False, "clean_up_tokenization_spaces": True, "do_lower_case": True, "errors": "replace"}
    how |= {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "added_tokens_decoder": added}
    write(folder / "tokenizer_config.json", {**how, **named})


def small_vae(root: Path, name: str) -> Path:
    """One of the small autoencoders, in its true size; beside it its halves under other names."""
    folder = root / repo_of(name)
    torch.manual_seed(1)
    AutoencoderTiny().save_pretrained(folder)
    return nothing(folder, f"{name}_encoder.safetensors", f"{name}_decoder.safetensors", "diffusion_pytorch_model.bin")


def lora(root: Path, name: str, network: nn.Module) -> dict[str, torch.Tensor]:
    """An LCM-LoRA for `network` as kohya's tools name it; the weights that it makes, by their names."""
    state, made, draw = {}, {}, torch.Generator().manual_seed(2)
    for module, layer in network.named_modules():
        if not (module.endswith(LORA_ON) and isinstance(layer, nn.Linear | nn.Conv2d)):
            continue
        weight = layer.weight.float()
        down = torch.randn(2, *weight.shape[1:], generator=draw) / 20
        up = torch.randn(len(weight), 2, *[1] * (weight.ndim - 2), generator=draw)
        key = f"lora_unet_{module.replace('.', '_')}"
        parts = {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(1.0)}
        state |= {part: value.half() for part, value in parts.items()}
        made[f"{module}.weight"] = weight + 0.5 * torch.einsum("or,r...->o...", up.half().float().flatten(1), down.half().float())
    folder = root / repo_of(name)
    folder.mkdir(parents=True)
    save_file(state, folder / "pytorch_lora_weights.safetensors")
    return made


def controlnet(root: Path, name: str, settings: dict[str, Any]) -> ControlNetModel:
    """One for a denoiser of `settings`, in both precisions; that of SD 2.1 is a file in the first layout. It does something."""
    network = ControlNetModel(**of_controlnets(settings))
    torch.manual_seed(3)
    for layer in [*network.controlnet_down_blocks, network.controlnet_mid_block, network.controlnet_cond_embedding.conv_out]:
        nn.init.normal_(layer.weight, std=0.5)
    network.half()
    place = root / repo_of(name)
    if place.suffix == ".safetensors":
        place.parent.mkdir(parents=True, exist_ok=True)
        save_file({first(key): value for key, value in network.state_dict().items()}, place)
        nothing(place.parent, "control_v11p_sd21_hed.ckpt", "control_v11p_sd21_depth.yaml")
    else:
        network.save_pretrained(place, variant="fp16")
        nothing(place, "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin", "images/control.png")
    return network.float()


SMALL: dict[str, Any] = {**SDXL, "down_block_types": ("DownBlock2D",) * 3, "transformer_layers_per_block": (0, 0, 0)}


def size(name: str) -> int:
    """Bytes of the weights of a model of the catalogue in its true width; in half precision where that is published."""
    known = KNOWN[name]
    small = known.kind == "controlnet" and known.base == "sdxl"
    settings = SMALL if small else {"sd15": SD15, "sd21": SD21, "sdxl": SDXL}[known.base]
    sides = (320, 640, 1280) if known.base == "sdxl" else (320, 640, 1280, 1280)
    settings = {**settings, "block_out_channels": sides, "norm_num_groups": 32}
    with torch.device("meta"):
        if known.kind == "controlnet":
            return 2 * count(ControlNetModel(**of_controlnets(settings)))
        if known.kind == "vae":
            return 4 * count(AutoencoderTiny())
        network = UNet2DConditionModel(**settings, time_cond_proj_dim=256 if name == "dreamshaper-lcm" else None)
        if known.kind == "lora":
            layers = [layer.weight for module, layer in network.named_modules() if module.endswith(LORA_ON) and hasattr(layer, "weight")]
            return 2 * sum(64 * (len(weight) + weight[0].numel()) + 1 for weight in layers)
        texts = {"sd15": [(CLIP_L, 12)], "sd21": [(OPEN_H, 23)], "sdxl": [(CLIP_L, 12), (OPEN_G, 32)]}[known.base]
        encoders = [true(config, layers) for config, layers in texts]
    return (4 if name == "dreamshaper-lcm" else 2) * sum(map(count, [network, *encoders]))


def true(config: dict[str, Any], layers: int) -> nn.Module:
    shape = {**config, "vocab_size": 49408, "intermediate_size": 4 * config["hidden_size"], "num_hidden_layers": layers}
    return (CLIPTextModelWithProjection if config is OPEN_G else CLIPTextModel)(CLIPTextConfig(**shape, max_position_embeddings=77))


def count(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


def of_controlnets(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in ("sample_size", "up_block_types")}


def first(key: str) -> str:
    """The name of a tensor of a ControlNet in the layout that they were first published in (Zhang et al. 2023)."""
    top, *rest = key.split(".")
    if top == "time_embedding":
        return f"time_embed.{2 * (int(rest[0][-1]) - 1)}.{rest[1]}"
    if top == "controlnet_cond_embedding":
        place = {"conv_in": 0, "conv_out": 14}.get(rest[0])
        return f"input_hint_block.{2 * (int(rest[1]) + 1) if place is None else place}.{rest[-1]}"
    if top == "controlnet_down_blocks":
        return f"zero_convs.{rest[0]}.0.{rest[1]}"
    if top in ("conv_in", "controlnet_mid_block"):
        return f"{'input_blocks.0' if top == 'conv_in' else 'middle_block_out'}.0.{rest[0]}"
    block, kind, number, *rest = rest if top == "down_blocks" else ["", *rest]
    if kind == "downsamplers":
        return f"input_blocks.{3 * (int(block) + 1)}.0.op.{rest[-1]}"
    place = f"input_blocks.{3 * int(block) + int(number) + 1}" if block else "middle_block"
    if kind == "attentions":
        return f"{place}.1.{'.'.join(rest)}"
    inside = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0"}
    inside |= {"conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
    return f"{place}.{0 if block else 2 * int(number)}.{inside[rest[0]]}.{rest[1]}"


def nothing(folder: Path, *names: str) -> Path:
    """Files that are not wanted."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"not wanted")
    return folder


def write(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
