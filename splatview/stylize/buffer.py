"""The way of frames into the stream batch and out of it: they enter some at a time, and come out one by one, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from splatview.stylize.denoise import Asked, Entering, Levels, StreamBatch


@dataclass(frozen=True, eq=False)
class Out:
    """A frame that has come out."""

    clean: Tensor  # [1, C, h, w]
    tag: Any


@dataclass(frozen=True, eq=False)
class Going:
    """How frames go through at this moment."""

    levels: Levels
    asked: Asked
    together: int = 1  # frames that enter at once

    def __len__(self) -> int:
        """Pushes that a frame takes."""
        return len(self.levels)


class Buffer:
    """Frames on their way through a stream. One that is given again, as it stands still, waits for no others: copies of it do for them.

    So does the first one, and until it has taken all its steps it is shown as it is by then. Another size begins anew.
    """

    def __init__(self, stream: StreamBatch) -> None:
        self._stream = stream
        self._together = 1
        self.clear()

    def clear(self) -> None:
        """Forget all that is under way."""
        self._stream.clear()
        self._gathered: list[Entering] = []  # what shall enter next
        self._out: deque[Out] = deque()
        self._last: Entering | None = None  # that was given
        self._pushes = 0  # since that was given, it among what entered

    def settled(self, steps: int) -> bool:
        """Whether the last frame has taken so many, and everything has come out."""
        return not self._gathered and not self._out and self._pushes >= steps

    def take(self, new: Entering, going: Going) -> Out | None:
        """Take a frame in. What comes out next; None: nothing does."""
        first = self._last is None or self._last.clean.shape != new.clean.shape
        if first:
            self.clear()
        self._gathered.append(new)
        self._last, self._pushes = new, 0
        if first or len(self._gathered) >= going.together:
            self._push(going)
        return self._next(going)

    def again(self, going: Going, changed: Entering | None = None) -> Out | None:
        """The same for the last frame, once more; `changed`: for what it is by now."""
        if changed is not None:
            if self._last is None or self._last.clean.shape != changed.clean.shape:
                return self.take(changed, going)
            self._gathered[-1:] = [changed] if self._gathered else []
            self._last, self._pushes = changed, 0
        if not self._out and not self.settled(len(going)):
            self._push(going)
        return self._next(going)

    def _push(self, going: Going) -> None:
        """One step of the stream."""
        assert self._last is not None
        entering, self._gathered = self._gathered or [self._last], []
        try:
            arrived = self._stream.push(joined(entering, going.together), going.levels, going.asked)
        except Exception:  # no memory, perhaps: it would fail again
            self.clear()
            raise
        self._pushes += 1
        found = [Out(arrived.clean[place : place + 1], tag) for place, tag in enumerate(arrived.entered.tag)]
        if arrived.steps < len(going):  # they come again: one is shown, if there is nothing else
            found = [] if self._out else found[:1]
        self._out.extend(found[-going.together :])

    def _next(self, going: Going) -> Out | None:
        if going.together < self._together:  # nobody waits for as many any more
            self._out = deque(list(self._out)[-going.together :])
        self._together = going.together
        return self._out.popleft() if self._out else None


def joined(entering: Sequence[Entering], count: int) -> Entering:
    """Frames as one value, the last one repeated until there are `count` or more; it carries the tags of those that are no copies."""
    last, tags = entering[-1], tuple(one.tag for one in entering)
    rows = [*entering, *[last] * (count - len(entering))]
    if len(rows) == 1:
        return Entering(last.clean, last.noise, last.hints, tags)
    most = max(len(one.noise) for one in rows)
    noise = [torch.cat([one.noise, one.noise[-1:].expand(most - len(one.noise), *one.noise.shape[1:])]) for one in rows]
    hints = {name: torch.cat([one.hints.get(name, hint) for one in rows]) for name, hint in last.hints.items()}
    return Entering(torch.cat([one.clean for one in rows]), torch.cat(noise, 1), hints, tags)
