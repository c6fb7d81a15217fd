"""A student as a folder of a diffusers pipeline, which splatview loads as it does any other."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import torch

from splatview.stylize.networks import Denoiser
from splatview.stylize.parts import Model
from splatview.stylize.weights import INDEX, MAYBE, NEEDED


def write(model: Model, teacher: Path, target: Path) -> None:
    """Write `model` to `target`, a new folder, with all but the denoiser from the folder of its `teacher`; weights in halves.

    A teacher that a LoRA makes quick has given that to its student: it is told apart by its scheduler, as models that are distilled are.
    """
    assert isinstance(model.unet, Denoiser)
    partial = target.with_name(f".{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    for name in (*NEEDED, *MAYBE, "vae"):
        if name != "unet" and (teacher / name).is_dir():
            shutil.copytree(teacher / name, partial / name)
    network = copy.deepcopy(model.unet.network)
    for value in network.parameters():
        value.data = value.data.to(torch.float16, memory_format=torch.contiguous_format)
    network.save_pretrained(partial / "unet", safe_serialization=True)
    for file in (partial / "unet").glob("*.safetensors"):  # some versions write files that nobody else may read
        shutil.copymode(partial / "unet" / "config.json", file)
    index = json.loads((teacher / INDEX).read_bytes())
    settings = partial / "scheduler" / "scheduler_config.json"
    scheduler = json.loads(settings.read_bytes())
    if model.family == "lcm":
        scheduler["_class_name"], index["scheduler"] = "LCMScheduler", ["diffusers", "LCMScheduler"]
    settings.write_text(json.dumps(scheduler, indent=2) + "\n")
    (partial / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    partial.rename(target)
