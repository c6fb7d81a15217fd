"""A student as a folder of a diffusers pipeline, which splatview loads as it does any other."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import torch

from splatview.stylize.checkpoints import faults
from splatview.stylize.networks import Denoiser
from splatview.stylize.parts import Model
from splatview.stylize.weights import INDEX, MAYBE, NEEDED


def write(model: Model, teacher: Path, target: Path) -> None:
    """Write `model` to `target`, a new folder, with all but the denoiser from the folder of its `teacher`; weights in halves.

    All of it or nothing; OSError if it cannot be written. A teacher that a LoRA makes quick has given that to its student: it is told apart
    by its scheduler, as models that are distilled are.
    """
    partial = target.with_name(f".{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with faults(target):
            _write(model, teacher, partial)
        partial.rename(target)
    except shutil.Error as error:  # a list of what could not be copied
        raise OSError(f"{target}: {error.args[0][0][2]}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(model: Model, teacher: Path, folder: Path) -> None:
    assert isinstance(model.unet, Denoiser)
    for name in (*NEEDED, *MAYBE, "vae"):
        if name != "unet" and (teacher / name).is_dir():
            shutil.copytree(teacher / name, folder / name)
    network = copy.deepcopy(model.unet.network)
    for value in network.parameters():
        value.data = value.data.to(torch.float16, memory_format=torch.contiguous_format)
    network.save_pretrained(folder / "unet", safe_serialization=True)
    for file in (folder / "unet").glob("*.safetensors"):  # some versions write files that nobody else may read
        shutil.copymode(folder / "unet" / "config.json", file)
    index = json.loads((teacher / INDEX).read_bytes())
    settings = folder / "scheduler" / "scheduler_config.json"
    scheduler = json.loads(settings.read_bytes())
    if model.family == "lcm":
        scheduler["_class_name"], index["scheduler"] = "LCMScheduler", ["diffusers", "LCMScheduler"]
    settings.write_text(json.dumps(scheduler, indent=2) + "\n")
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")
