"""Distillation: a narrower UNet learns to predict what its teacher does, on latents of our own frames.

It begins with the teacher's strongest channels (inherit.py), so that the features of its blocks can be held against those of the same
channels of the teacher. What is learned is the teacher's prediction and these features, at any time and for any of some prompts; both
errors are relative to the size of what the teacher says. What comes out is the average of the weights over the last steps.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from splatview.arrays import Bytes
from splatview.stylize.denoise import Asked, Conditions, Entering, StreamBatch
from splatview.stylize.inherit import inherit, narrower
from splatview.stylize.networks import Denoiser
from splatview.stylize.parts import Model
from splatview.stylize.schedule import timesteps
from splatview.stylize.sending import sent

RATE, BASE = 1e-4, 320  # Adam's, of a network whose narrowest blocks have so many channels; narrower ones take larger steps
WARM_UP = 20  # steps
AVERAGED = 0.999  # of the average stays in a step, once there have been many
HELD_OUT = 8  # one picture of so many
SCALES = 1.0, 10.0  # of guidance, told to those that are told one
SEED_OF_TEST = 12345
MOST = 16  # latents in a test
SHOWN = 4  # pictures that the student and its teacher redraw in the end

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Recipe:
    """How a student is made and taught."""

    compress: float = 0.5  # the share of the channels that is kept
    batch: int = 4
    features: float = 0.5  # how much the error of features counts beside that of predictions
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Lessons:
    """What is learned from."""

    latents: Tensor  # [N, C, h, w]
    held_out: Tensor  # [M, C, h, w], not learned from
    prompts: tuple[Conditions, ...]  # one row each


@torch.no_grad()
def lessons(model: Model, pictures: Iterable[Bytes], prompts: Iterable[str]) -> Lessons:
    """Pictures [H, W, 3] of one size, and their mirror images, as latents; one picture of eight is held out if there are two or more."""
    taught, held_out = [], []
    for place, picture in enumerate(pictures):
        for one in (picture, picture[:, ::-1]):
            pixels = torch.tensor(np.ascontiguousarray(one), device=model.device).permute(2, 0, 1)[None].float() / 255
            (held_out if place % HELD_OUT == 1 else taught).append(model.codec.encode(pixels).cpu())
    if not taught:
        raise ValueError("expected at least one picture")
    empty = taught[0][:0]
    rows = tuple({name: row.to(model.device) for name, row in model.encode_text(text).rows.items()} for text in prompts)
    return Lessons(torch.cat(taught), torch.cat([empty, *held_out]), rows)


class Distillation:
    """A student of `teacher`, whose UNet is one of diffusers."""

    def __init__(self, teacher: Model, lessons: Lessons, recipe: Recipe | None = None) -> None:
        assert isinstance(teacher.unet, Denoiser)
        self.teacher, self.lessons, self.recipe, self.steps = teacher, lessons, recipe or Recipe(), 0
        self._alphas = torch.tensor(teacher.table, dtype=torch.float32, device=teacher.device)
        self._random = torch.Generator().manual_seed(self.recipe.seed)
        self._teaching = old = teacher.unet.network
        network = narrower(old, self.recipe.compress)
        self._kept = {width: kept.to(teacher.device) for width, kept in inherit(network, old).items()}
        network = network.eval().to(teacher.device, memory_format=torch.channels_last).requires_grad_(True)
        self.student, self._average = Denoiser(network), Denoiser(copy.deepcopy(network).requires_grad_(False))
        halves = torch.cuda.is_bf16_supported(including_emulation=False) if teacher.device.type == "cuda" else old.dtype == torch.bfloat16
        self._precision = torch.autocast(teacher.device.type, torch.bfloat16, enabled=halves)
        self._optimiser = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self._rate = RATE * BASE / self.widths[0]

    def step(self, progress: float) -> Tensor:
        """Learn from some latents; `progress` (0..1) is how much of the training is over. The error: of predictions, and features."""
        clean, noise, timesteps, conditions = self._drawn(self.lessons.latents, self.recipe.batch, self._random)
        x = self._noisy(clean, noise, timesteps)
        with torch.no_grad(), features(self._teaching) as theirs:
            wanted = self.teacher.unet(x, timesteps, conditions)
        with self._precision, features(self.student.network) as mine:
            predicted = self.student(x, timesteps, conditions)
        kept = [one[:, self._kept[one.shape[1]]].float() for one in theirs]
        apart = torch.stack([_error(one.float(), other) for one, other in zip(mine, kept, strict=True)])
        error = _error(predicted, wanted)
        self._optimiser.zero_grad(set_to_none=True)
        (error + self.recipe.features * apart.mean()).backward()
        rate = self._rate * min(1.0, (self.steps + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self.steps += 1
        stays = min(AVERAGED, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for average, value in zip(self._average.parameters(), self.student.parameters(), strict=True):
                average.lerp_(value, 1 - stays)
        return torch.stack([error.detach(), apart.mean().detach()])

    @torch.no_grad()
    def error(self) -> float:
        """How far the averaged student is from its teacher on latents held out: the squared error, relative to the predictions."""
        random = torch.Generator().manual_seed(SEED_OF_TEST)
        latents = self.lessons.held_out if len(self.lessons.held_out) else self.lessons.latents
        off = size = 0.0
        for part in latents[:MOST].split(self.recipe.batch):
            clean, noise, timesteps, conditions = self._drawn(part, len(part), random)
            x = self._noisy(clean, noise, timesteps)
            wanted = self.teacher.unet(x, timesteps, conditions)
            with self._precision:
                off += float((self._average(x, timesteps, conditions) - wanted).square().sum())
            size += float(wanted.square().sum())
        return off / size

    def model(self) -> Model:
        """The teacher with the averaged student in the place of its UNet."""
        return replace(self.teacher, name=f"{self.teacher.name}, {self.recipe.compress:g} of its channels", unet=self._average)

    @property
    def widths(self) -> tuple[int, ...]:
        """The channels of the student's blocks."""
        return tuple(self.student.network.config.block_out_channels)

    @property
    def numbers(self) -> tuple[int, int]:
        """How many there are in the student, and in its teacher."""
        mine, theirs = (sum(value.numel() for value in one.parameters()) for one in (self.student.network, self._teaching))
        return mine, theirs

    def _drawn(self, latents: Tensor, count: int, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Conditions]:
        """Some of `latents`, noise, timesteps, and what the networks are told; drawn on the processor, the same everywhere."""
        device, model = self.teacher.device, self.teacher
        clean = latents[torch.randint(len(latents), (count,), generator=random)]
        noise = torch.randn(clean.shape, generator=random)
        timesteps = torch.randint(len(model.table), (count,), generator=random)
        rows = [self.lessons.prompts[place] for place in torch.randint(len(self.lessons.prompts), (count,), generator=random).tolist()]
        conditions = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
        if model.distilled_guidance:
            conditions["guidance"] = sent(SCALES[0] + (SCALES[1] - SCALES[0]) * torch.rand(count, generator=random), device)
        return sent(clean, device), sent(noise, device), sent(timesteps, device), conditions

    def _noisy(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        alphas = self._alphas[timesteps].view(-1, 1, 1, 1)
        return alphas.sqrt() * clean + (1 - alphas).sqrt() * noise

    @property
    def identity(self) -> dict[str, Any]:
        """What may not change while a student is taught."""
        shape = list(self.lessons.latents.shape)
        return {**asdict(self.recipe), "teacher": self.teacher.name, "latents": shape, "prompts": len(self.lessons.prompts)}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that `restore` needs to go on: tensors, and facts for JSON."""
        tensors = {"random": self._random.get_state()}
        for part, network in (("student", self.student), ("average", self._average)):
            tensors |= {f"{part}.{name}": value.detach() for name, value in network.state_dict().items()}
        for number, values in self._optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": value for name, value in values.items()}
        return tensors, {"recipe": self.identity, "steps": self.steps}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from there; ValueError if it is the state of another training, or not whole."""
        if facts.get("recipe") != self.identity:
            raise ValueError(f"expected a training of {self.identity}, found one of {facts.get('recipe')!r:.300}")
        part = lambda name: {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        moments: dict[int, dict[str, Tensor]] = {}
        try:
            parameters = list(self.student.network.parameters())
            for key, value in part("adam").items():
                number, _, name = key.partition(".")
                placed = torch.empty_like(parameters[int(number)]).copy_(value) if value.ndim else value  # in memory as these are
                moments.setdefault(int(number), {})[name] = placed
            if len(moments) != len(parameters):
                raise KeyError("what the optimiser knew")
            self.student.load_state_dict(part("student"))
            self._average.load_state_dict(part("average"))
            self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": moments})
            self._random.set_state(tensors["random"])
            self.steps = int(facts["steps"])
        except (KeyError, IndexError, TypeError, RuntimeError) as error:
            raise ValueError(f"expected a whole checkpoint ({' '.join(str(error).split()):.200})") from None


@contextmanager
def features(network: Any) -> Iterator[list[Tensor]]:
    """What the blocks of a UNet of diffusers hand on while it is called inside."""
    found: list[Tensor] = []
    take = lambda block, inputs, output: found.append(output[0] if isinstance(output, tuple) else output)
    blocks = (*network.down_blocks, network.mid_block, *network.up_blocks)
    handles = [block.register_forward_hook(take) for block in blocks]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def redrawn(model: Model, clean: Tensor, prompt: Conditions, strength: float = 0.5) -> Tensor:
    """Pictures [F, 3, H, W], 0..1, of latents [F, C, h, w] after one step of `model`, with noise that is always the same."""
    levels = model.levels(timesteps(model.family, strength, 1, len(model.table)))
    noise = torch.randn((1, *clean.shape), generator=torch.Generator().manual_seed(SEED_OF_TEST)).to(model.device)
    arrived = StreamBatch(model.unet, model.prediction).push(
        Entering(clean.to(model.device), noise), levels, Asked(_unguided(model, prompt))
    )
    return model.codec.decode(arrived.clean).clamp(0, 1)


def compared(student: Model, teacher: Model, lessons: Lessons, tell: Progress) -> tuple[float, float, float]:
    """How many dB pictures of one step are from the teacher's, and the seconds of a call: of the student, and of the teacher."""
    latents = lessons.held_out if len(lessons.held_out) else lessons.latents
    off, seconds = [], ([], [])
    for place, clean in enumerate(latents[:SHOWN]):
        prompt = lessons.prompts[place % len(lessons.prompts)]
        one, other = (redrawn(model, clean[None], prompt) for model in (student, teacher))
        off.append(float((one - other).square().mean()))
        for model, spent in zip((student, teacher), seconds, strict=True):
            spent.append(_seconds(model, clean[None], prompt))
        tell((place + 1) / SHOWN, "")
    return -10 * math.log10(max(1e-12, sum(off) / len(off))), min(seconds[0]), min(seconds[1])


@torch.no_grad()
def _seconds(model: Model, latents: Tensor, prompt: Conditions) -> float:
    """How long a call of its network takes."""
    x, at = latents.to(model.device), torch.tensor([len(model.table) // 2], device=model.device)
    told, began = _unguided(model, prompt), time.perf_counter()
    float(model.unet(x, at, told).sum())  # waits for the device
    return time.perf_counter() - began


def _unguided(model: Model, prompt: Conditions) -> Conditions:
    return {**prompt, "guidance": torch.ones(1, device=model.device)} if model.distilled_guidance else prompt


def _error(one: Tensor, other: Tensor) -> Tensor:
    """The squared difference of `one` from `other`, relative to the size of that."""
    return (one - other).square().mean() / other.square().mean().clamp_min(1e-12)
