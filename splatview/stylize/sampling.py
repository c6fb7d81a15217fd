"""Many steps, one after another: what models do that are not distilled, and what quick ones are held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from splatview.stylize.denoise import Conditions
from splatview.stylize.parts import Model
from splatview.stylize.schedule import timesteps

GUIDANCE = 7.5  # classifier-free, as such models are used


@dataclass(frozen=True, eq=False)
class ManySteps:
    """Denoising without noise of its own (Song et al. 2021, DDIM with eta 0), with classifier-free guidance: two rows a call."""

    model: Model
    prompt: Conditions
    negative: Conditions
    scale: float = GUIDANCE
    strength: float = 0.5
    steps: int = 50
    tell: Callable[[int], None] = lambda step: None

    noises = late = 1

    @property
    def calls(self) -> int:
        return self.steps

    @torch.no_grad()
    def __call__(self, clean: Tensor, noise: Tensor) -> Tensor:
        """What latents [F, C, h, w] become that `noise` [S, F, C, h, w], of which the first counts, was put on."""
        at = timesteps("turbo", self.strength, self.steps, len(self.model.table))  # evenly spaced
        table = torch.tensor(self.model.table, dtype=torch.float32, device=clean.device)
        alphas = [float(table[step]) for step in at] + [1.0]
        told = {
            name: torch.cat([row.expand(len(clean), *row.shape[1:]) for row in (self.negative[name], self.prompt[name])])
            for name in self.prompt
        }
        x = alphas[0] ** 0.5 * clean + (1 - alphas[0]) ** 0.5 * noise[0]
        for number, (step, alpha, after) in enumerate(zip(at, alphas, alphas[1:], strict=False)):
            predicted = self.model.unet(torch.cat([x, x]), torch.full((2 * len(x),), step, device=x.device), told)
            if self.model.prediction == "v_prediction":
                predicted = alpha**0.5 * predicted + (1 - alpha) ** 0.5 * torch.cat([x, x])
            without, with_prompt = predicted.chunk(2)
            guided = without + self.scale * (with_prompt - without)
            x = after**0.5 * (x - (1 - alpha) ** 0.5 * guided) / alpha**0.5 + (1 - after) ** 0.5 * guided
            self.tell(number + 1)
        return x
