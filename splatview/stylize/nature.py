"""What a model was made for, told by its settings alone: nothing of it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from splatview.stylize import hub
from splatview.stylize.diffusing import Diffusing, suited
from splatview.stylize.schedule import Family
from splatview.stylize.weights import settings


@dataclass(frozen=True)
class Nature:
    """How a model draws."""

    family: Family | None  # what it was distilled as; None: it was not
    distilled_guidance: bool  # it is told the scale of guidance


def nature_of(folder: Path) -> Nature:
    """That of the pipeline in `folder`."""
    scheduler = settings(folder / "scheduler" / "scheduler_config.json")
    told = settings(folder / "unet" / "config.json").get("time_cond_proj_dim") is not None
    if told or scheduler.get("_class_name") == "LCMScheduler":
        return Nature("lcm", told)
    return Nature("turbo" if scheduler.get("timestep_spacing") == "trailing" else None, told)


def usual_of(model: str) -> Diffusing:
    """What the model that `model` names does well with; of one that is not here, what the default model does."""
    folder = hub.find(model)
    if folder is None:
        return Diffusing()
    nature = nature_of(folder)
    return suited(nature.family or "lcm", nature.distilled_guidance)  # what was not distilled is made quick by an LCM-LoRA
