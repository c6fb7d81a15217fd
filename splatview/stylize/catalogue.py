"""The models that splatview knows by name. Others do as well, by their hub id or folder, if they are of the same kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["pipeline", "vae", "lora", "controlnet"]
Base = Literal["sd15", "sd21", "sdxl"]  # the networks that a part fits


@dataclass(frozen=True)
class Known:
    """A model on the hub."""

    repo: str  # its id, OWNER/NAME; of one file of many that are there OWNER/NAME/FILE
    kind: Kind
    base: Base
    gigabytes: float  # to fetch, about
    what: str  # for people
    lora: str = ""  # of a pipeline: what makes it quick, fused when it is loaded
    hint: str = ""  # of a ControlNet: what it is shown


SD21_NETS = "thibaud/controlnet-sd21/control_v11p_sd21"  # its folders in the layout of diffusers have .bin files alone

KNOWN = {
    "sd-turbo": Known("stabilityai/sd-turbo", "pipeline", "sd21", 2.41, "one step, quick; the default"),
    "sdxl-turbo": Known("stabilityai/sdxl-turbo", "pipeline", "sdxl", 6.77, "one step, finer and slower"),
    "sd15-lcm": Known("stable-diffusion-v1-5/stable-diffusion-v1-5", "pipeline", "sd15", 1.97, "1 to 8 steps, with lcm-lora", "lcm-lora"),
    "dreamshaper-lcm": Known("SimianLuo/LCM_Dreamshaper_v7", "pipeline", "sd15", 3.93, "1 to 8 steps, painterly"),
    "taesd": Known("madebyollin/taesd", "vae", "sd15", 0.01, "small autoencoder for sd-turbo, sd15-lcm and all of SD 1 and 2"),
    "taesdxl": Known("madebyollin/taesdxl", "vae", "sdxl", 0.01, "small autoencoder for sdxl-turbo and all of SDXL"),
    "lcm-lora": Known("latent-consistency/lcm-lora-sdv1-5", "lora", "sd15", 0.13, "makes any SD 1.5 model quick"),
    "lcm-lora-xl": Known("latent-consistency/lcm-lora-sdxl", "lora", "sdxl", 0.39, "makes any SDXL model quick"),
    "depth-sd21": Known(f"{SD21_NETS}_depth.safetensors", "controlnet", "sd21", 0.73, "depth for sd-turbo", hint="depth"),
    "depth-sd15": Known("lllyasviel/control_v11f1p_sd15_depth", "controlnet", "sd15", 0.72, "depth for SD 1.5", hint="depth"),
    "depth-sdxl": Known("diffusers/controlnet-depth-sdxl-1.0-small", "controlnet", "sdxl", 0.32, "depth for SDXL", hint="depth"),
    "edges-sd21": Known(f"{SD21_NETS}_canny.safetensors", "controlnet", "sd21", 0.73, "edges for sd-turbo", hint="edges"),
    "edges-sd15": Known("lllyasviel/control_v11p_sd15_canny", "controlnet", "sd15", 0.72, "edges for SD 1.5", hint="edges"),
    "edges-sdxl": Known("diffusers/controlnet-canny-sdxl-1.0-small", "controlnet", "sdxl", 0.32, "edges for SDXL", hint="edges"),
}

DEFAULT = "sd-turbo"
SMALL_VAE: dict[Base, str] = {"sd15": "taesd", "sd21": "taesd", "sdxl": "taesdxl"}
LCM_LORA: dict[Base, str] = {"sd15": "lcm-lora", "sdxl": "lcm-lora-xl"}


@dataclass(frozen=True)
class Choice:
    """Which model, and what is added to it. Each is a name of the catalogue, a hub id or a folder."""

    model: str = DEFAULT
    vae: str = ""  # "": the small one that fits
    loras: tuple[tuple[str, float], ...] = ()  # with how much of each
    controlnets: tuple[str, ...] = ()  # "HINT=MODEL" for those that are not in the catalogue
    device: str = "auto"
    plain: bool = False  # as it is, even if that takes many steps


def quick(base: Base, choice: Choice) -> tuple[tuple[str, float], ...]:
    """The LoRA that makes a model of `base` quick; none if one of those that are given does. ValueError: there is none."""
    if any("lcm" in name.lower() for name, _ in choice.loras):
        return ()
    if base not in LCM_LORA:
        raise ValueError("it takes many steps, and there is no LCM-LoRA that fits it: choose sd-turbo, or another model")
    return ((LCM_LORA[base], 1.0),)


def with_companions(name: str) -> tuple[str, ...]:
    """`name`, and what it is used with: a pipeline needs a small autoencoder, and some need a LoRA."""
    known = KNOWN.get(name) or KNOWN.get(name_of(name))
    if known is None or known.kind != "pipeline":
        return (name,)
    return (name, SMALL_VAE[known.base], *([known.lora] if known.lora else []))


def repo_of(name: str) -> str:
    """The hub id that `name` means, and the file where it is one: a name of the catalogue, or the id itself."""
    return KNOWN[name].repo if name in KNOWN else name


def name_of(repo: str) -> str:
    """And back, for people."""
    return next((name for name, known in KNOWN.items() if known.repo == repo), repo)
