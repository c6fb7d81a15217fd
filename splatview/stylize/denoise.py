"""Denoising a stream (Kodaira et al. 2023): several frames, each at a step of its own, go through the network in one call.

A push takes frames in and gives those that came S - 1 pushes before, after their S steps: one call of the network a push, however many
steps. Between pushes a frame is kept as the best guess so far of what it becomes, with the noise that the network saw in it, and noise is
put on when its next step is taken; so the schedule may change at any time without anything being thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from splatview.stylize.guidance import Guidance
from splatview.stylize.schedule import Schedule
from splatview.stylize.sending import sent

Conditions = Mapping[str, Tensor]  # what a network is told beside the latents, by name: [rows, ...]
Unet = Callable[[Tensor, Tensor, Conditions], Tensor]  # latents [B, C, h, w], timesteps [B], conditions [B, ...] -> [B, C, h, w]
Prediction = Literal["epsilon", "v_prediction"]  # what a network tells: the noise n, or signal n - noise z


@dataclass(frozen=True, eq=False)
class Levels:
    """A schedule where the network is."""

    timesteps: Tensor  # [S] int64
    signal: Tensor  # [S, 1, 1, 1], as all that follow
    noise: Tensor
    skip: Tensor
    out: Tensor
    carried: Tensor
    fresh: Tensor
    noises: int  # that a frame needs: one for each step, if some are fresh in all of them

    @staticmethod
    def of(schedule: Schedule, device: torch.device | str = "cpu") -> Levels:
        parts = (schedule.signal, schedule.noise, schedule.skip, schedule.out, schedule.carried, schedule.fresh)
        levels = sent(np.stack(parts), device).view(len(parts), -1, 1, 1, 1).unbind()
        timesteps = sent(schedule.timesteps.astype(np.int64), device)
        return Levels(timesteps, *levels, noises=len(schedule) if schedule.fresh[1:].any() else 1)

    def __len__(self) -> int:
        return len(self.timesteps)

    def rows(self, counts: Sequence[int], first: int = 0) -> Levels:
        """Each step from the `first` on as many times as `counts` say."""
        parts = (getattr(self, one.name) for one in fields(self) if one.name != "noises")
        spread = (
            torch.cat([part[step : step + 1].expand(count, *part.shape[1:]) for step, count in enumerate(counts, first)]) for part in parts
        )
        return Levels(*spread, noises=self.noises)


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
    noise: Tensor  # [N, F, C, h, w] what is put on before each step, as far as it is fresh; the last one in all that follow
    hints: Conditions = field(default_factory=dict)  # what the network is told of these frames alone: [F, ...]
    tag: Any = None  # comes out again with them


@dataclass(frozen=True, eq=False)
class Flight:
    """Frames under way."""

    entered: Entering
    clean: Tensor  # [F, C, h, w] the best guess so far
    anchor: Tensor  # [F, C, h, w] see guidance.py
    seen: Tensor  # [F, C, h, w] the noise that the network saw in them last; at first what is put on
    steps: int  # taken so far

    @staticmethod
    def beginning(new: Entering) -> Flight:
        return Flight(new, new.clean, new.clean, new.noise[0], 0)

    def fresh(self, step: int) -> Tensor:
        return self.entered.noise[min(step, len(self.entered.noise) - 1)]

    def hint(self, name: str, newest: Tensor) -> Tensor:
        """Its own, or if it has none, what the newest has."""
        return self.entered.hints.get(name, _rows(newest[-1:], len(self.clean)))


@dataclass(frozen=True, eq=False)
class Arrived:
    """Frames that have taken the last step."""

    clean: Tensor  # [F, C, h, w]
    entered: Entering
    steps: int  # that they have taken: fewer than S while the stream begins


class StreamBatch:
    """Frames under way through `unet`. Where there are too few, the oldest stand in for those that would have come before them."""

    def __init__(self, unet: Unet, prediction: Prediction = "epsilon") -> None:
        self._unet, self._prediction = unet, prediction
        self._flights: list[Flight] = []  # the newest first
        self._rows: tuple[Levels, tuple[int, ...], Levels] | None = None  # the last levels, spread over rows

    def clear(self) -> None:
        """Forget all that is under way."""
        self._flights = []

    @torch.no_grad()
    def push(self, new: Entering, levels: Levels, asked: Asked) -> Arrived:
        """Take `new` in, of any number of frames, and every frame one step on."""
        moved = self._moved(self._lined_up(new, len(levels)), levels, asked)
        self._flights = moved[:-1]
        return Arrived(moved[-1].clean, moved[-1].entered, moved[-1].steps)

    @torch.no_grad()
    def alone(self, new: Entering, levels: Levels, asked: Asked) -> Arrived:
        """`new` after all its steps, with a call of the network for each; what is under way stays as it is."""
        flights = [Flight.beginning(new)]
        for step in range(len(levels)):
            flights = self._moved(flights, levels, asked, step)
        return Arrived(flights[0].clean, new, len(levels))

    def _lined_up(self, new: Entering, steps: int) -> list[Flight]:
        """One flight for each step, the new one first."""
        if self._flights and self._flights[0].clean.shape[1:] != new.clean.shape[1:]:
            self.clear()
        flights = [Flight.beginning(new), *self._flights][:steps]
        return flights + [flights[-1]] * (steps - len(flights))

    def _moved(self, flights: Sequence[Flight], levels: Levels, asked: Asked, first: int = 0) -> list[Flight]:
        """`flights` after one step more: the `first` of the levels, and those that follow it."""
        counts = tuple(len(flight.clean) for flight in flights)
        at = self._spread(levels, counts, first)
        seen, anchors = torch.cat([flight.seen for flight in flights]), torch.cat([flight.anchor for flight in flights])
        fresh = torch.cat([flight.fresh(step) for step, flight in enumerate(flights, first)])
        x = at.signal * torch.cat([flight.clean for flight in flights]) + at.noise * (at.carried * seen + at.fresh * fresh)
        hints = {name: torch.cat([flight.hint(name, value) for flight in flights]) for name, value in flights[0].entered.hints.items()}
        extra = sum(counts[: asked.guidance.extra(len(counts), first)])
        seen, anchors = self._guided(x, anchors, hints, at, asked, extra)
        clean = at.out * (x - at.noise * seen) / at.signal + at.skip * x
        parts = zip(flights, clean.split(counts), anchors.split(counts), seen.split(counts), strict=True)
        return [Flight(flight.entered, guess, anchor, noise, flight.steps + 1) for flight, guess, anchor, noise in parts]

    def _spread(self, levels: Levels, counts: tuple[int, ...], first: int) -> Levels:
        """`levels` for so many frames each; the same again as long as they are."""
        if first:
            return levels.rows(counts, first)
        if self._rows is None or self._rows[0] is not levels or self._rows[1] != counts:
            self._rows = levels, counts, levels.rows(counts)
        return self._rows[2]

    def _guided(self, x: Tensor, anchors: Tensor, hints: Conditions, at: Levels, asked: Asked, extra: int) -> tuple[Tensor, Tensor]:
        """The noise in `x` [B, C, h, w] as guidance wants it, and the anchors as they are now; `extra` rows are asked twice."""
        kind, scale, delta = asked.guidance.acting, asked.guidance.scale, asked.guidance.delta
        told = self._told(x, hints, at, asked, extra)
        unconditional, conditional = told[:extra], told[extra:]
        if kind == "none":
            return conditional, anchors
        if kind == "initialize" and extra:  # where the network would lead the new frames, asked with the negative prompt
            first = (x[:extra] - at.noise[:extra] * unconditional) / at.signal[:extra]
            anchors = torch.cat([first, anchors[extra:]])
        if kind != "full":
            unconditional = delta * (x - at.signal * anchors) / at.noise
        return unconditional + scale * (conditional - unconditional), anchors

    def _told(self, x: Tensor, hints: Conditions, at: Levels, asked: Asked, extra: int) -> Tensor:
        """The noise [extra + B, C, h, w] told, in the first `extra` rows by the negative prompt, then in all by the other."""
        again = lambda value: torch.cat([value[:extra], value]) if extra else value
        conditions = {name: _rows(value, len(x)) for name, value in asked.prompt.items()}
        if extra:
            conditions = {name: torch.cat([_rows(asked.negative[name], extra), value]) for name, value in conditions.items()}
        latents = again(x)
        told = self._unet(latents, again(at.timesteps), conditions | {name: again(hint) for name, hint in hints.items()})
        return told if self._prediction == "epsilon" else again(at.signal) * told + again(at.noise) * latents


def _rows(value: Tensor, count: int) -> Tensor:
    """One row as `count`."""
    return value.expand(count, *value.shape[1:])
