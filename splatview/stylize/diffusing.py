"""What people may turn while a diffusion model redraws frames."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import get_args

from splatview.stylize.controls import check, slider
from splatview.stylize.guidance import Kind
from splatview.stylize.schedule import Family, at_indices

MOST_STEPS = 8
MOST_TOGETHER = 4  # frames


@dataclass(frozen=True)
class Phrase:
    """A text, and how much it counts beside others."""

    text: str
    weight: float = 1.0


def phrases_of(text: str) -> tuple[Phrase, ...]:
    """What people write: phrases between bars, each perhaps with a weight at its end: `an oil painting | snow: 0.5`."""
    found = []
    for part in text.split("|"):
        words, colon, weight = part.rpartition(":")
        try:
            found.append(Phrase(words.strip(), float(weight)) if colon else Phrase(part.strip()))
        except ValueError:  # a colon of the text
            found.append(Phrase(part.strip()))
    return tuple(phrase for phrase in found if phrase.text)


def text_of(phrases: tuple[Phrase, ...]) -> str:
    """And back."""
    return " | ".join(phrase.text if phrase.weight == 1 else f"{phrase.text}: {phrase.weight:g}" for phrase in phrases)


@dataclass(frozen=True)
class Diffusing:
    """How frames are redrawn. Values are compared by content, so what has not changed is not done again."""

    prompt: tuple[Phrase, ...] = (Phrase("a watercolour painting, soft light, paper texture"),)
    negative: str = field(default="", metadata={"help": "what shall not be seen; guidance full and initialize ask for it"})
    transition: float = slider(1.0, 0, 10, 0.1, "seconds from one prompt to the next")
    seed: int = field(default=0, metadata={"help": "of the noise"})
    other_seed: int = field(default=1, metadata={"help": "of the noise that is mixed in"})
    seed_mix: float = slider(0, 0, 1, 0.01, "how much of the other seed")
    strength: float = slider(0.5, 0, 1, 0.01, "how much may change: 0 nothing, 1 everything")
    steps: int = slider(1, 1, MOST_STEPS, 1, "steps of a frame; it comes so many frames late, less one")
    buffer: int = slider(1, 1, MOST_TOGETHER, 1, "frames that enter together: files are done sooner; what is live only comes later")
    indices: tuple[int, ...] = field(default=(), metadata={"help": "of timesteps, 0 to 49, instead of strength and steps: 32 45"})
    guidance: Kind = field(default="none", metadata={"help": "how the prompt is made to count more"})
    scale: float = slider(1.2, 1, 10, 0.1, "of guidance; 1 is none", "Guidance scale")
    delta: float = slider(1.0, 0, 2, 0.05, "how much of the residual noise counts, of guidance self and initialize")
    size: int = slider(512, 64, 1024, 64, "side of a square with as many pixels as are drawn")
    mix: float = slider(1.0, 0, 1, 0.01, "of the style with the picture: 0 the picture, 1 the style")
    depth: float = slider(0.8, 0, 2, 0.05, "how closely the depth is kept, where there is a ControlNet for it")
    edges: float = slider(0.0, 0, 2, 0.05, "how closely edges are kept, where there is a ControlNet for them")

    def __post_init__(self) -> None:
        check(self)
        if self.guidance not in get_args(Kind):
            raise ValueError(f"Diffusing.guidance: expected one of {', '.join(get_args(Kind))}; got {self.guidance!r}")
        if any(not 0 <= phrase.weight <= 100 for phrase in self.prompt):
            raise ValueError("Diffusing.prompt: expected weights from 0 to 100")
        if any(not 0 <= seed < 2**63 for seed in (self.seed, self.other_seed)):
            raise ValueError("Diffusing.seed: expected whole numbers from 0 on, below 2^63")
        for name in ("steps", "buffer", "size"):
            object.__setattr__(self, name, int(getattr(self, name)))
        object.__setattr__(self, "prompt", tuple(self.prompt))
        object.__setattr__(self, "indices", tuple(self.indices))
        if self.indices:
            at_indices(self.indices)

    def hints(self) -> dict[str, float]:
        """The scales of ControlNets, by hint."""
        return {hint: scale for hint, scale in (("depth", self.depth), ("edges", self.edges)) if scale > 0}


def suited(family: Family, distilled_guidance: bool = False) -> Diffusing:
    """What a model of `family` does well with; one that is told the scale of guidance was trained with large ones."""
    if distilled_guidance:
        return Diffusing(steps=2, scale=8.0)
    return Diffusing() if family == "turbo" else Diffusing(steps=2, guidance="self")


def followed(controls: Diffusing, before: Diffusing, now: Diffusing) -> Diffusing:
    """`controls` for another model: what is as it suited the one `before` is as it suits the one of `now`; what people chose stays."""
    same = [one.name for one in fields(now) if getattr(controls, one.name) == getattr(before, one.name)]
    return replace(controls, **{name: getattr(now, name) for name in same})
