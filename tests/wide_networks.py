"""Small UNets, and wider ones that predict the same."""

from __future__ import annotations

import tiny_diffusion
import torch


def network(seed: int, **more):
    torch.manual_seed(seed)
    made = tiny_diffusion.unet(**more)
    with torch.no_grad():
        for value in made.parameters():  # not the ones and zeros that normalisations and biases begin with
            value.add_(0.1 * torch.randn_like(value))
    return made.eval().requires_grad_(False)


def widened(small, **more):
    """A network of twice the width that predicts the same: each channel is there twice, and only one of the two is read."""
    made = tiny_diffusion.unet(**{**more, "block_out_channels": tuple(2 * width for width in small.config.block_out_channels)})
    state = {}
    for name, value in small.state_dict().items():
        wanted = made.state_dict()[name].shape
        if value.shape[0] != wanted[0]:
            value = value.repeat_interleave(2, 0)
            if "to_k" in name:  # what is compared is divided by the root of their number
                value[::2], value[1::2] = value[::2] * 2**0.5, 0
        if value.ndim > 1 and value.shape[1] != wanted[1]:
            value = torch.stack([value, torch.zeros_like(value)], 2).flatten(1, 2)
        state[name] = value
    made.load_state_dict(state)
    return made.eval().requires_grad_(False)
