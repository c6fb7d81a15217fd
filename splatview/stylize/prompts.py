"""Prompts as rows for a network: blended by weight, passing over into one another, and encoded off the path of frames."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from splatview.latest import Latest
from splatview.stylize.denoise import Conditions
from splatview.stylize.diffusing import Phrase
from splatview.stylize.parts import Encoded

log = logging.getLogger(__name__)

Encode = Callable[[str], Encoded]

KEPT = 64  # encoded texts
PARALLEL = 0.9995  # cosine over which an arc is a line


def slerp(one: Tensor, other: Tensor, share: float) -> Tensor:
    """From `one` [..., D] to `other` along the arc of their directions (Shoemake 1985), the length changing evenly; if near: a line."""
    lengths = one.norm(dim=-1, keepdim=True), other.norm(dim=-1, keepdim=True)
    units = one / lengths[0].clamp_min(1e-12), other / lengths[1].clamp_min(1e-12)
    cosine = (units[0] * units[1]).sum(-1, keepdim=True).clamp(-1, 1)
    angle = cosine.clamp(-PARALLEL, PARALLEL).acos()
    arc = (torch.sin((1 - share) * angle) * units[0] + torch.sin(share * angle) * units[1]) / torch.sin(angle)
    between = arc * ((1 - share) * lengths[0] + share * lengths[1])
    return torch.where(cosine.abs() > PARALLEL, (1 - share) * one + share * other, between)


def between(one: Conditions, other: Conditions, share: float) -> Conditions:
    """Rows `share` (0..1) of the way from `one` to `other`; at the ends exactly these."""
    if share <= 0 or share >= 1:
        return one if share <= 0 else other
    return {name: slerp(one[name], other[name], share) for name in other}


def blended(rows: Sequence[Conditions], weights: Sequence[float]) -> Conditions:
    """Rows as one, each by its weight; ValueError if there is none of weight over 0."""
    counting = [(row, weight) for row, weight in zip(rows, weights, strict=True) if weight > 0]
    if not counting:
        raise ValueError("blended: expected at least one weight over 0")
    blend, total = counting[0]
    for row, weight in counting[1:]:
        total += weight
        blend = between(blend, row, weight / total)
    return blend


@dataclass(frozen=True)
class Wanted:
    """What shall be seen, and not."""

    prompt: tuple[Phrase, ...]
    negative: str = ""
    seconds: float = 0.0  # that it takes from what is now

    def phrases(self) -> tuple[Phrase, ...]:
        """Those that count; nothing is a text as well."""
        return tuple(phrase for phrase in self.prompt if phrase.weight > 0) or (Phrase(""),)


@dataclass(frozen=True, eq=False)
class Told:
    """What a network is told. The same object as long as it is the same."""

    prompt: Conditions
    negative: Conditions


class Prompts:
    """What is asked for by any thread is encoded on a thread of its own; until that is done, and while it passes over, frames go on.

    The newest wins: what was asked for in between is left out. What a text lost, for want of room, is in `note`.
    """

    def __init__(self, encode: Encode, wanted: Wanted, clock: Callable[[], float] = time.monotonic, unwanted: Encode | None = None) -> None:
        """`unwanted` encodes negative prompts, if they are others."""
        self._encoders, self._clock = {True: encode, False: unwanted or encode}, clock
        self._texts: OrderedDict[tuple[bool, str], Encoded] = OrderedDict()
        self._lock = threading.Condition()  # of what follows
        self.note = ""
        self._target = self._told = self._from = self._rows(wanted)
        self._began, self._seconds = clock(), 0.0
        self._asked = self._answered = wanted
        self._box: Latest[Wanted] = Latest()
        self._thread = threading.Thread(target=self._work, name="prompts", daemon=True)
        self._thread.start()

    def ask(self, wanted: Wanted) -> None:
        """Pass over to `wanted` as soon as it is encoded."""
        with self._lock:  # what is put in last is what is waited for
            if wanted != self._asked:
                self._asked = wanted
                self._box.put(wanted)

    def now(self) -> Told:
        """What holds at this moment."""
        with self._lock:
            return self._passing()

    @property
    def pending(self) -> bool:
        """Whether something that was asked for is not encoded yet."""
        return self._answered != self._asked

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until everything that was asked for is encoded, or for `timeout` seconds; whether it is."""
        with self._lock:
            return self._lock.wait_for(lambda: not self.pending, timeout)

    def close(self) -> None:
        self._box.close()
        self._thread.join()

    def _passing(self) -> Told:
        if self._told is not self._target:
            share = (self._clock() - self._began) / self._seconds if self._seconds > 0 else 1.0
            pairs = ((self._from.prompt, self._target.prompt), (self._from.negative, self._target.negative))
            self._told = self._target if share >= 1 else Told(*(between(one, other, share) for one, other in pairs))
        return self._told

    def _work(self) -> None:
        while (wanted := self._box.take()) is not None:
            target = None
            try:
                target = self._rows(wanted)
            except Exception as error:  # a model that cannot: what was told before holds on
                self.note = f"the prompt could not be encoded: {' '.join(str(error).split()):.200}"
                log.warning(self.note)
            with self._lock:
                if target is not None:
                    self._from, self._target = self._passing(), target
                    self._began, self._seconds = self._clock(), wanted.seconds
                self._answered = wanted
                self._lock.notify_all()

    def _rows(self, wanted: Wanted) -> Told:
        phrases = wanted.phrases()
        encoded = [self._text(phrase.text) for phrase in phrases]
        lost = [one.lost for one in encoded if one.lost]
        self.note = f"the prompt is too long; what is lost of it: {lost[0]}" if lost else ""
        prompt = blended([one.rows for one in encoded], [phrase.weight for phrase in phrases])
        return Told(prompt, self._text(wanted.negative, wanted=False).rows)

    def _text(self, text: str, wanted: bool = True) -> Encoded:
        """`text` encoded, once."""
        key = wanted, text
        if key not in self._texts:
            self._texts[key] = self._encoders[wanted](text)
            while len(self._texts) > KEPT:
                self._texts.popitem(last=False)
        self._texts.move_to_end(key)
        return self._texts[key]
