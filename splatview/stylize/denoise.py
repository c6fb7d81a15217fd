"""Denoising a stream (Kodaira et al. 2023): several frames, each at a step of its own, go through the network in one call.

A push takes a frame in and gives the frame that came S - 1 pushes before, after its S steps: one call of the network a frame, however
many steps. Between pushes a frame is kept as the best guess so far of what it becomes, and noise is put on when its next step is taken; so
the schedule may change at any time without anything being thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from splatview.stylize.guidance import Guidance
from splatview.stylize.schedule import Schedule

Conditions = Mapping[str, Tensor]  # what a network is told beside the latents, by name: [rows, ...]
Unet = Callable[[Tensor, Tensor, Conditions], Tensor]  # latents [B, C, h, w], timesteps [B], conditions [B, ...] -> [B, C, h, w]
Prediction = Literal["epsilon", "v_prediction"]  # what a network tells: the noise n, or signal n - noise z


@dataclass(frozen=True, eq=False)
class Levels:
    """A schedule where the network is."""

    timesteps: Tensor  # [S] int64
    signal: Tensor  # [S, 1, 1, 1, 1], as all that follow
    noise: Tensor
    skip: Tensor
    out: Tensor

    @staticmethod
    def of(schedule: Schedule, device: torch.device | str = "cpu") -> Levels:
        parts = (schedule.signal, schedule.noise, schedule.skip, schedule.out)
        levels = (torch.tensor(part, device=device).view(-1, 1, 1, 1, 1) for part in parts)
        return Levels(torch.tensor(schedule.timesteps, dtype=torch.int64, device=device), *levels)

    def __len__(self) -> int:
        return len(self.timesteps)


@dataclass(frozen=True, eq=False)
class Asked:
    """What the frames shall become. All that are under way follow it at once."""

    prompt: Conditions  # one row each
    negative: Conditions = field(default_factory=dict)  # the same names; needed for guidance of the kinds full and initialize
    guidance: Guidance = field(default_factory=Guidance)


@dataclass(frozen=True, eq=False)
class Entering:
    """F frames that enter together."""

    clean: Tensor  # [F, C, h, w] latents
    noise: Tensor  # [S, F, C, h, w] what is put on before each step
    hints: Conditions = field(default_factory=dict)  # what the network is told of these frames alone: [F, ...]
    tag: Any = None  # comes out again with them


@dataclass(frozen=True, eq=False)
class Flight:
    """Frames under way."""

    entered: Entering
    clean: Tensor  # [F, C, h, w] the best guess so far
    anchor: Tensor  # [F, C, h, w] see guidance.py
    steps: int  # taken so far


@dataclass(frozen=True, eq=False)
class Arrived:
    """Frames that have taken the last step."""

    clean: Tensor  # [F, C, h, w]
    entered: Entering
    steps: int  # that they have taken: fewer than S while the stream begins


class StreamBatch:
    """Frames under way through `unet`. Where there are too few, the oldest stands in for those that would have come before it."""

    def __init__(self, unet: Unet, prediction: Prediction = "epsilon") -> None:
        self._unet, self._prediction = unet, prediction
        self._flights: list[Flight] = []  # the newest first

    def clear(self) -> None:
        """Forget all that is under way."""
        self._flights = []

    @torch.no_grad()
    def push(self, new: Entering, levels: Levels, asked: Asked) -> Arrived:
        """Take `new` in and every frame one step on."""
        flights = self._lined_up(new, len(levels))
        noise = torch.stack([flight.entered.noise[min(step, len(flight.entered.noise) - 1)] for step, flight in enumerate(flights)])
        x = levels.signal * torch.stack([flight.clean for flight in flights]) + levels.noise * noise  # [S, F, C, h, w]
        hints = {name: torch.cat([flight.entered.hints.get(name, hint) for flight in flights]) for name, hint in new.hints.items()}
        anchors = torch.stack([flight.anchor for flight in flights])
        predicted, anchors = self._guided(x, anchors, hints, levels, asked)
        clean = levels.out * (x - levels.noise * predicted) / levels.signal + levels.skip * x
        moved = [Flight(flight.entered, clean[i], anchors[i], flight.steps + 1) for i, flight in enumerate(flights)]
        self._flights = moved[:-1]
        return Arrived(moved[-1].clean, moved[-1].entered, moved[-1].steps)

    def _lined_up(self, new: Entering, steps: int) -> list[Flight]:
        """One flight for each step, the new one first."""
        if self._flights and self._flights[0].clean.shape != new.clean.shape:
            self.clear()
        flights = [Flight(new, new.clean, new.clean, 0), *self._flights][:steps]
        return flights + [flights[-1]] * (steps - len(flights))

    def _guided(self, x: Tensor, anchors: Tensor, hints: Conditions, levels: Levels, asked: Asked) -> tuple[Tensor, Tensor]:
        """The noise in `x` [S, F, C, h, w] as guidance wants it, and the anchors as they are now."""
        kind, scale, delta = asked.guidance.acting, asked.guidance.scale, asked.guidance.delta
        extra = asked.guidance.extra(len(levels))
        told = self._told(x, extra, hints, levels, asked)
        unconditional, conditional = told[:extra], told[extra:]
        if kind == "none":
            return conditional, anchors
        if kind == "initialize":  # where the network would lead the new frame, asked with the negative prompt
            first = (x[:1] - levels.noise[:1] * unconditional) / levels.signal[:1]
            anchors = torch.cat([first, anchors[1:]])
        if kind != "full":
            unconditional = delta * (x - levels.signal * anchors) / levels.noise
        return unconditional + scale * (conditional - unconditional), anchors

    def _told(self, x: Tensor, extra: int, hints: Conditions, levels: Levels, asked: Asked) -> Tensor:
        """The noise [extra + S, F, C, h, w] told, in the first `extra` by the negative prompt, then in all by the other."""
        frames = x.shape[1]
        rows, more = x.shape[0] * frames, extra * frames
        latents, steps = x.flatten(0, 1), levels.timesteps.repeat_interleave(frames)
        conditions = {name: _rows(value, rows) for name, value in asked.prompt.items()} | dict(hints)
        if extra:
            negative = {name: _rows(asked.negative[name], more) for name in asked.prompt} | {name: hints[name][:more] for name in hints}
            conditions = {name: torch.cat([negative[name], value]) for name, value in conditions.items()}
            latents, steps = torch.cat([latents[:more], latents]), torch.cat([steps[:more], steps])
        told = self._unet(latents, steps, conditions).unflatten(0, (-1, frames))
        if self._prediction == "epsilon":
            return told
        signal, noise = (torch.cat([level[:extra], level]) for level in (levels.signal, levels.noise))
        return signal * told + noise * torch.cat([x[:extra], x])


def _rows(value: Tensor, count: int) -> Tensor:
    """One row as `count`."""
    return value.expand(count, *value.shape[1:])
