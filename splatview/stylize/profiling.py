"""How long a frame of a diffusion model takes, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import torch
from torch import Tensor

from splatview.arrays import Bytes
from splatview.stylize import seeds
from splatview.stylize.denoise import Asked, Entering, StreamBatch
from splatview.stylize.parts import Model
from splatview.stylize.pictures import rounded
from splatview.stylize.schedule import timesteps

TEXTS = 3  # times that a prompt is encoded


class Way(Protocol):
    """How latents [F, C, h, w] are denoised with noise [noises, F, C, h, w]."""

    @property
    def noises(self) -> int:
        """Of a frame."""
        ...

    @property
    def calls(self) -> int:
        """Of the network, for a frame."""
        ...

    @property
    def late(self) -> int:
        """Frames that go in until the first one has come out."""
        ...

    def __call__(self, clean: Tensor, noise: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Profile:
    """Milliseconds: medians over frames that are warm."""

    frame_ms: float
    stages_ms: Mapping[str, float]  # of a frame: encode, noise, denoise, decode
    picture: Bytes  # [h, w, 3] of the last frame


class OneByOne:
    """The steps of a distilled model one after another: a call of the network for each."""

    def __init__(self, model: Model, asked: Asked, strength: float, steps: int) -> None:
        self._levels = model.levels(timesteps(model.family, strength, steps, len(model.table)))
        self._stream, self._asked = StreamBatch(model.unet, model.prediction), asked
        self.noises, self.calls, self.late = self._levels.noises, len(self._levels), 1

    def __call__(self, clean: Tensor, noise: Tensor) -> Tensor:
        return self._stream.alone(Entering(clean, noise), self._levels, self._asked).clean


class Streamed:
    """The steps of several frames in one call: what comes out is the frame of as many calls ago, less one."""

    def __init__(self, model: Model, asked: Asked, strength: float, steps: int) -> None:
        self._levels = model.levels(timesteps(model.family, strength, steps, len(model.table)))
        self._stream, self._asked = StreamBatch(model.unet, model.prediction), asked
        self.noises, self.calls, self.late = self._levels.noises, 1, len(self._levels)

    def __call__(self, clean: Tensor, noise: Tensor) -> Tensor:
        return self._stream.push(Entering(clean, noise), self._levels, self._asked).clean


@torch.no_grad()
def text_ms(model: Model, prompt: str) -> float:
    """How long a prompt takes to be encoded, which is done once."""
    spent = []
    for _ in range(TEXTS + 1):
        with _timed(spent, model.device):
            model.encode_text(prompt)
    return median(spent[1:])


@torch.no_grad()
def profile(model: Model, way: Way, pixels: Tensor, frames: int) -> Profile:
    """Time `way` on a picture [1, 3, h, w] of 0..1, again and again."""
    stages: dict[str, list[float]] = {name: [] for name in ("encode", "noise", "denoise", "decode")}
    whole: list[float] = []
    picture = None
    for _ in range(frames):
        with _timed(whole, model.device):
            with _timed(stages["encode"], model.device):
                clean = model.codec.encode(pixels)
            with _timed(stages["noise"], model.device):
                noise = seeds.noise(0, (way.noises, *clean.shape)).to(model.device)
            with _timed(stages["denoise"], model.device):
                clean = way(clean, noise)
            with _timed(stages["decode"], model.device):
                picture = rounded(model.codec.decode(clean))
    assert picture is not None
    medians = {name: median(times) for name, times in stages.items()}
    return Profile(median(whole), medians, picture[0].permute(1, 2, 0).cpu().numpy())


@contextmanager
def _timed(into: list[float], device: torch.device) -> Iterator[None]:
    """Milliseconds of what is done inside, all of it."""
    _wait(device)
    began = time.perf_counter()
    yield
    _wait(device)
    into.append(1000 * (time.perf_counter() - began))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()  # of the device as a whole it is an error while somebody records a graph
