"""Frames redrawn by a diffusion model: a frame becomes latents, goes through the stream batch and becomes a picture again.

With S steps of F frames together the picture of a frame comes S F - 1 frames late. Whoever shows pictures asks `shown` which frame the
last one is of, and gives a frame that stands still again as long as the stylizer is not `settled`; after that nothing is computed until
something changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from splatview.arrays import Bytes
from splatview.frame import Frame
from splatview.stylize import seeds
from splatview.stylize.acceleration import Acceleration, Accelerator, ways
from splatview.stylize.buffer import Buffer, Going
from splatview.stylize.denoise import Asked, Entering, Levels, StreamBatch
from splatview.stylize.diffusing import Diffusing, suited
from splatview.stylize.guidance import Guidance
from splatview.stylize.hints import HINTS
from splatview.stylize.noise import Noise
from splatview.stylize.parts import Model
from splatview.stylize.pictures import alike, blended, fitting, floats, rounded, sized
from splatview.stylize.prompts import Prompts, Told, Wanted
from splatview.stylize.schedule import at_indices, timesteps
from splatview.stylize.sending import sent
from splatview.stylize.similar import Similar


@dataclass(frozen=True, eq=False)
class Around:
    """What a stylizer is given beside its model."""

    noise: Callable[[int], Noise] | None = None  # by its seed: it is asked for C channels for each step that takes fresh noise. None: fixed
    similar: Similar | None = None  # of frames from outside
    accelerator: Accelerator = "auto"
    clock: Callable[[], float] = time.monotonic  # seconds


@dataclass(frozen=True, eq=False)
class Result:
    """The picture of a frame, before it is mixed."""

    frame: Frame
    styled: Tensor  # [1, 3, h, w] bytes, at the size that is drawn


class Diffusion:
    """A stylizer. `style` is for one thread; controls may be given by any."""

    def __init__(self, model: Model, controls: Diffusing | None = None, around: Around | None = None) -> None:
        self._around = around or Around()
        self._acceleration = Acceleration(model, ways(self._around.accelerator, model))
        model = self._model = self._acceleration.model
        self.usual = suited(model.family, model.distilled_guidance)
        self.told_guidance = model.distilled_guidance  # the scale is all that counts of guidance
        self.controls = controls or self.usual
        self._prompts = Prompts(model.encode_text, _wanted(self.controls), self._around.clock, model.unwanted)
        self._buffer = Buffer(StreamBatch(model.unet, model.prediction))
        self._grains: dict[int, Noise] = {}  # by seed
        self._cache: dict[str, tuple[Any, Any]] = {}  # of each kind of thing the last, with what it was made of
        self._last: tuple[Frame, Any] | None = None  # what was taken last: the frame, and all that its picture depends on
        self._result: Result | None = None
        self._composed: tuple[Any, Bytes] | None = None

    def take(self, controls: Diffusing) -> None:
        """Go on with `controls`: from the next frame on, of prompts as soon as they are encoded."""
        self.controls = controls
        self._prompts.ask(_wanted(controls))

    def close(self) -> None:
        """End its threads."""
        self._prompts.close()
        self._acceleration.close()

    @property
    def shown(self) -> Frame | None:
        """The frame that the last picture is of."""
        return self._result.frame if self._result else None

    @property
    def settled(self) -> bool:
        """Whether the last frame, given again, would give the same picture again."""
        if self._last is None or self._composed is None or self._prompts.pending:
            return False
        controls = self.controls
        same = _depends(controls, self._prompts.now()) == self._last[1] and self._composed[0][1] == controls.mix
        return same and self._buffer.settled(len(self._levels(controls) or ()))

    @property
    def about(self) -> tuple[str, ...]:
        """For people: where the model is, how much memory of a GPU is taken, how it is run, and what is not as it could be."""
        device, notes = self._model.device, [self.in_use, *self._model.notes, self.note]
        taken = f", {torch.cuda.memory_allocated(device) / 1e9:.1f} GB of its memory" if device.type == "cuda" else ""
        return (f"{self._model.name} on {device}{taken}", *(note for note in notes if note))

    @property
    def in_use(self) -> str:
        """How the model's networks are run, and what faster way is being made or does not work, in one line."""
        return self._acceleration.in_use

    @property
    def note(self) -> str:
        """What people should know of the prompt; mostly nothing."""
        return self._prompts.note

    @torch.no_grad()
    def style(self, frame: Frame) -> Bytes:
        """[H, W, 3] of `frame`'s size: the picture of `shown`. One that shows less change than it will is what a stream begins with."""
        controls, told = self.controls, self._prompts.now()  # as they are now, whoever changes them meanwhile
        depends, before = _depends(controls, told), self._last
        similar = self._around.similar is not None and self._around.similar.skips(frame.rgb8)
        if not (similar and before is not None and before[1] == depends):
            self._last = None  # until it has gone well
            still = before is not None and alike(before[0], frame)
            self._go_on(frame, controls, told, still, before is not None and still and before[1] == depends)
            self._last = frame, depends
        return self._picture(frame, controls.mix)

    def _go_on(self, frame: Frame, controls: Diffusing, told: Told, still: bool, same: bool) -> None:
        """Have the next result; the frame stands `still`, and all that it depends on is the `same`."""
        levels = self._levels(controls)
        if levels is None:  # nothing shall change
            self._buffer.clear()
            if not same:
                self._result = Result(frame, rounded(self._model.codec.decode(self._encoded(frame, controls))))
            return
        going = Going(levels, self._asked(told, controls, frame), controls.buffer)
        if same:
            out = self._buffer.again(going)
        else:
            entering = self._entering(frame, controls, levels)
            out = self._buffer.again(going, entering) if still else self._buffer.take(entering, going)
        if out is not None:
            self._result = Result(out.tag, rounded(self._model.codec.decode(out.clean)))

    def _encoded(self, frame: Frame, controls: Diffusing) -> Tensor:
        """[1, C, h, w]."""
        pixels = self._sent(frame.rgb8).permute(2, 0, 1)[None]
        return self._model.codec.encode(floats(sized(pixels, fitting(frame.camera.height, frame.camera.width, controls.size))))

    def _entering(self, frame: Frame, controls: Diffusing, levels: Levels) -> Entering:
        clean, size = self._encoded(frame, controls), fitting(frame.camera.height, frame.camera.width, controls.size)
        hints = {hint: self._sent(HINTS[hint](frame, *size)).expand(-1, 3, -1, -1) for hint in self._hints(controls, frame)}
        return Entering(clean, self._noise(frame, controls, levels.noises, clean), hints, frame)

    def _sent(self, values: Any) -> Tensor:
        """An array or a tensor where the model is; nobody waits for it."""
        return sent(values, self._model.device)

    def _picture(self, frame: Frame, mix: float) -> Bytes:
        """The last result, mixed with its own frame, at the size of `frame`."""
        assert self._result is not None
        key = (self._result, mix, frame.camera.height, frame.camera.width)
        if self._composed is None or self._composed[0] != key:
            size = key[2:]
            pixels = sized(self._result.styled, size)[0].permute(1, 2, 0).contiguous().cpu().numpy()  # here the device is waited for
            if mix < 1:
                pixels = blended(self._result.frame.rgb8, pixels, mix)
            self._composed = key, pixels
        return self._composed[1]

    def _kept(self, name: str, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` makes, made again only when `key` is another."""
        if name not in self._cache or self._cache[name][0] != key:
            self._cache[name] = key, make()
        return self._cache[name][1]

    def _levels(self, controls: Diffusing) -> Levels | None:
        """The schedule of `controls`; None where nothing shall change."""
        model, length = self._model, len(self._model.table)
        key = (controls.strength, controls.steps, controls.indices)

        def make() -> Levels | None:
            steps = at_indices(key[2], length) if key[2] else timesteps(model.family, key[0], key[1], length)
            return model.levels(steps) if steps else None

        return self._kept("levels", key, make)

    def _noise(self, frame: Frame, controls: Diffusing, count: int, clean: Tensor) -> Tensor:
        """Noise [count, 1, C, h, w] for the steps of `frame`, which is `clean` [1, C, h, w]."""
        _, channels, height, width = shape = (count, *clean.shape[1:])
        kind, seed, other = self._around.noise, controls.seed, controls.other_seed
        share = controls.seed_mix if other != seed else 0.0
        if kind is not None:
            self._grains = {one: self._grains.get(one) or kind(one) for one in ((seed, other) if share else (seed,))}

        def of(name: str, seed: int) -> Tensor:
            if kind is None:
                return self._kept(name, (seed, shape), lambda: self._sent(seeds.noise(seed, shape))[:, None])
            noise = self._grains[seed](frame, (count * channels, height, width))
            return self._sent(noise).float().view(count, 1, channels, height, width)

        if not share:
            return of("noise", seed)
        mix = lambda: seeds.mixed(of("noise", seed), of("other noise", other), share)
        return mix() if kind is not None else self._kept("mixed noise", (seed, other, share, shape), mix)

    def _hints(self, controls: Diffusing, frame: Frame) -> Mapping[str, float]:
        """The ControlNets that work on `frame`, with their scales."""
        return {hint: scale for hint, scale in controls.hints().items() if hint in self._model.hints and HINTS[hint].fits(frame)}

    def _asked(self, told: Told, controls: Diffusing, frame: Frame) -> Asked:
        distilled = self._model.distilled_guidance
        scales = {f"{hint} scale": scale for hint, scale in self._hints(controls, frame).items()}
        more = scales | ({"guidance": controls.scale} if distilled else {})
        guidance = Guidance("none" if distilled else controls.guidance, controls.scale, controls.delta)

        def make() -> Asked:
            device = self._model.device  # made there: nothing is sent
            rows = {name: torch.full((1,), value, dtype=torch.float32, device=device) for name, value in more.items()}
            return Asked({**told.prompt, **rows}, {**told.negative, **rows}, guidance)

        return self._kept("asked", (told, tuple(more.items()), guidance), make)


def _depends(controls: Diffusing, told: Told) -> Any:
    """All but the frame that its picture before it is mixed depends on, to be compared."""
    return told, replace(controls, prompt=(), negative="", transition=0.0, mix=0.0, buffer=1)


def _wanted(controls: Diffusing) -> Wanted:
    return Wanted(controls.prompt, controls.negative, controls.transition)
