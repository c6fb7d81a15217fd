"""Models from disk, as the callables that the engine takes. The one file that imports diffusers, transformers and peft.

Parts are loaded one by one, from safetensors files alone: the text encoders, the denoiser with its LoRAs fused, a small autoencoder where
there is one, ControlNets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.model_loading_utils import load_state_dict
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_lcm import LCMScheduler
from diffusers.utils import logging as diffusers_log
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging as transformers_log

from splatview.arrays import Floats
from splatview.stylize import hub, tiny_autoencoder, weights
from splatview.stylize.catalogue import SMALL_VAE, Base, Choice, name_of, quick
from splatview.stylize.denoise import Prediction
from splatview.stylize.hints import hinted
from splatview.stylize.nature import nature_of
from splatview.stylize.networks import Decoder, Denoiser, Encoder, Texts
from splatview.stylize.parts import Codec, Model

FITS: dict[int, Base] = {768: "sd15", 1024: "sd21", 2048: "sdxl"}  # by the width of the tokens that a denoiser takes


def load(choice: Choice) -> Model:
    """The model of `choice`. NotHere: something is not on this machine. ValueError: it is not such a model, or it is broken."""
    device = device_of(choice.device)
    dtype = dtype_on(device)
    folder = hub.located(choice.model)
    problems = weights.look_through(folder).problems
    if weights.kind_of(folder) != "pipeline" or problems:
        raise ValueError(f"{folder}: expected a whole diffusers pipeline; {problems[0] if problems else 'there is no model_index.json'}")
    with _quiet(), _one_line(folder):
        texts = _texts(folder, dtype)
        network = _part(UNet2DConditionModel, folder / "unet", dtype)
        config = _json(folder / "scheduler" / "scheduler_config.json")
        base = FITS.get(network.config.cross_attention_dim, "sdxl" if len(texts.encoders) > 1 else "sd15")
        nature = nature_of(folder)
        family = nature.family
        loras = choice.loras if family or choice.plain else (*quick(base, choice), *choice.loras)
        _fuse(network, texts, loras)
        codec, notes = _codec(choice, folder, base, device)
        table, prediction = _noise(config)
        nets = {hint: _placed(_controlnet(hub.located(name), network, dtype), device) for hint, name in map(hinted, choice.controlnets)}
        denoiser = Denoiser(_placed(network, device), nets).eval()
        for encoder in texts.encoders:
            encoder.to(device)
        nothing_is_zeros = len(texts.encoders) > 1 and bool(_json(folder / weights.INDEX).get("force_zeros_for_empty_prompt", True))
    if codec.channels != network.config.in_channels:
        raise ValueError(
            f"{folder}: its denoiser takes {network.config.in_channels} channels, the autoencoder {codec.name} has {codec.channels}"
        )
    return Model(
        name_of(choice.model),
        family or "lcm",
        denoiser,
        codec,
        texts,
        table,
        prediction,
        device,
        frozenset(nets),
        nature.distilled_guidance,
        family == "turbo" and config.get("_class_name") == "EulerAncestralDiscreteScheduler",
        nothing_is_zeros,
        notes,
    )


def device_of(name: str) -> torch.device:
    """The device that `name` means; auto: a GPU if there is one. ValueError: it is not there."""
    there = torch.cuda.is_available()
    if name.startswith("cuda") and not there:
        raise ValueError(f"the device {name}: PyTorch {torch.__version__} finds no GPU that it can use; auto takes the processor then")
    return torch.device(("cuda" if there else "cpu") if name == "auto" else name)


def dtype_on(device: torch.device) -> torch.dtype:
    """Halves on a GPU; on a processor bfloat16 where it has products of them, otherwise it would be slower than float32."""
    if device.type == "cuda":
        return torch.float16
    quick = (
        getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)() or getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    )
    return torch.bfloat16 if quick else torch.float32


def _part(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A network of `kind` from its folder; ValueError if its weights are not those that its configuration asks for."""
    how = {"local_files_only": True, "use_safetensors": True, "variant": "fp16" if weights.half(folder) else None, "dtype": dtype}
    try:
        found, report = kind.from_pretrained(folder, **how, output_loading_info=True)
    except (RuntimeError, ValueError) as error:  # of tensors of another shape
        raise ValueError(f"{folder.name}: its weights do not fit its config.json") from error
    if report["missing_keys"]:
        raise ValueError(f"{folder.name}: its weights lack {len(report['missing_keys'])} tensors, {min(report['missing_keys'])} for one")
    return found.eval().requires_grad_(False)


def _controlnet(place: Path, network: Any, dtype: torch.dtype) -> Any:
    """A ControlNet for `network`, from its folder, or from a file in the layout that they were first published in."""
    with _one_line(place):
        if place.is_file():
            return _controlnet_of_file(place, network, dtype)
        if wrong := weights.lacking(place):
            raise ValueError(wrong)
        found = _part(ControlNetModel, place, dtype)
        takes, given = (FITS.get(each.config.cross_attention_dim, each.config.cross_attention_dim) for each in (found, network))
        if takes != given:
            raise ValueError(f"it is a ControlNet of {takes}, the model is one of {given}")
    return found


def _controlnet_of_file(place: Path, network: Any, dtype: torch.dtype) -> Any:
    """Such files say nothing of their settings: they are those of the model that they correct."""
    if weights.kind_of(place) != "controlnet":
        raise ValueError("expected a ControlNet")
    with torch.device("meta"):
        found: Any = ControlNetModel.from_unet(network, load_weights_from_unet=False)
    state = convert_controlnet_checkpoint(load_state_dict(place), found.config)
    try:
        found.load_state_dict({name: value.to(dtype) for name, value in state.items() if value is not None}, assign=True)
    except RuntimeError as error:
        raise ValueError("it is a ControlNet of another model") from error
    return found.eval().requires_grad_(False)


def _placed(network: Any, device: torch.device) -> Any:
    return network.to(device, memory_format=torch.channels_last)


def _texts(folder: Path, dtype: torch.dtype) -> Texts:
    """The text encoders, on the processor still. A tokenizer that was read wrongly has another number of words than its encoder."""
    kinds = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
    kinds = {part: kind for part, kind in kinds.items() if (folder / part).is_dir()}
    how: Any = {"local_files_only": True, "clean_up_tokenization_spaces": False}  # published ones say True, and are remarked upon
    tokenizers = [CLIPTokenizer.from_pretrained(folder / part.replace("text_encoder", "tokenizer"), **how) for part in kinds]
    encoders = [_part(kind, folder / part, dtype) for part, kind in kinds.items()]
    for tokenizer, encoder in zip(tokenizers, encoders, strict=True):
        if len(tokenizer) != encoder.config.vocab_size:
            raise ValueError(f"its tokenizer has {len(tokenizer)} words, its text encoder {encoder.config.vocab_size}")
    return Texts(tokenizers, encoders)


def _fuse(network: Any, texts: Texts, loras: tuple[tuple[str, float], ...]) -> None:
    """Add LoRAs to the weights for good, so that they cost nothing later."""
    if not loras:
        return
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline  # here: this takes seconds
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    encoders = dict(zip(("text_encoder", "text_encoder_2"), texts.encoders, strict=False))
    tokenizers = dict(zip(("tokenizer", "tokenizer_2"), texts.tokenizers, strict=False))
    parts: dict[str, Any] = {"vae": None, "unet": network, "scheduler": LCMScheduler(steps_offset=1), **encoders, **tokenizers}
    if len(encoders) == 1:
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipeline: Any = (StableDiffusionPipeline if len(encoders) == 1 else StableDiffusionXLPipeline)(**parts)
    for name, amount in loras:
        place = hub.located(name)
        folder, file = (place.parent, place.name) if place.is_file() else (place, weights.LORA)
        with _one_line(place):
            try:
                pipeline.load_lora_weights(folder, weight_name=file, local_files_only=True)
            except RuntimeError as error:  # of tensors of another shape
                raise ValueError("it is a LoRA of another model") from error
            pipeline.fuse_lora(lora_scale=amount)
        pipeline.unload_lora_weights()  # what is fused stays


def _codec(choice: Choice, folder: Path, base: Base, device: torch.device) -> tuple[Codec, tuple[str, ...]]:
    """The autoencoder, and what people should know of it."""
    own = folder / "vae"
    if choice.vae:
        return load_codec(hub.located(choice.vae), device), ()
    if _json(own / "config.json").get("_class_name") == "AutoencoderTiny":
        return load_codec(own, device), ()
    small = hub.find(SMALL_VAE[base])
    if small is None and list(own.glob("*.safetensors")):
        note = (
            f"{SMALL_VAE[base]} is not here, the model's own autoencoder is many times slower: splatview models --fetch {SMALL_VAE[base]}"
        )
        return load_codec(own, device), (note,)
    return load_codec(hub.located(SMALL_VAE[base]), device), ()


def load_codec(folder: Path, device: torch.device | str = "cpu") -> Codec:
    """The autoencoder in `folder`: diffusers' AutoencoderTiny or AutoencoderKL, or the two `.pth` files of a small one."""
    halves = [next(iter(sorted(folder.glob(f"*_{half}.pth"))), None) for half in ("encoder", "decoder")]
    if halves[0] and halves[1]:
        return tiny_autoencoder.load(halves[0], halves[1], device)
    kinds = {"AutoencoderTiny": AutoencoderTiny, "AutoencoderKL": AutoencoderKL}
    config = _json(folder / "config.json")
    kind = kinds.get(config.get("_class_name", ""))
    if kind is None:
        raise ValueError(f"{folder}: expected the config.json of an {' or '.join(kinds)}, or an encoder and a decoder as .pth files")
    exact = kind is AutoencoderKL and config.get("force_upcast", True)  # its halves overflow
    with _quiet(), _one_line(folder):
        vae = _placed(_part(kind, folder, torch.float32 if exact else dtype_on(torch.device(device))), torch.device(device))
    return Codec(config.get("_name_or_path") or folder.name, Encoder(vae), Decoder(vae), vae.config.latent_channels)


def _noise(config: Mapping[str, Any]) -> tuple[Floats, Prediction]:
    """The table alpha bar [T] that a model was trained with, and what it predicts."""
    scheduler: Any = LCMScheduler.from_config({name: value for name, value in config.items() if not name.startswith("_")})
    prediction = scheduler.config.prediction_type
    if prediction not in ("epsilon", "v_prediction"):
        raise ValueError(f"expected a model that predicts epsilon or v_prediction, got {prediction!r}")
    return scheduler.alphas_cumprod.numpy(), prediction


def _json(path: Path) -> Mapping[str, Any]:
    """What is in a file of settings; nothing if it is not there."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except RecursionError:
        raise ValueError(f"{path.name}: expected JSON, it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path.parent.name}/{path.name}: expected settings by name, got {found!r:.40}")
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """The libraries' remarks about what is as it should be are left out while a model is loaded."""
    levels = diffusers_log.get_verbosity(), transformers_log.get_verbosity()
    bars = transformers_log.is_progress_bar_enabled()
    diffusers_log.set_verbosity_error()
    transformers_log.set_verbosity_error()
    transformers_log.disable_progress_bar()
    try:
        yield
    finally:
        diffusers_log.set_verbosity(levels[0])
        transformers_log.set_verbosity(levels[1])
        if bars:
            transformers_log.enable_progress_bar()


class _Told(ValueError):
    """One line, which names the folder or file that it is about."""


@contextmanager
def _one_line(place: Path) -> Iterator[None]:
    """What the libraries say of a folder or file that they cannot read, as ValueError in one line; NotHere passes."""
    try:
        yield
    except (hub.NotHere, _Told):
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise _Told(f"{place}: {' '.join(str(error).split()):.300}") from error
