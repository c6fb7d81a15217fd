"""The small autoencoders of the TAESD family (Ollin Boer Bohan, MIT), from the `.pth` files that they are published as.

Residual blocks with a convolution between resolutions: an encoder from pixels of 0..1 to latents an eighth as wide and high, and its mirror
image. Later members (FLUX.2's) have a branch of wide 1 x 1 convolutions in the blocks at the lowest resolution. The file tells which it is.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from splatview.stylize.parts import Codec

WIDTH = 64
BLOCKS = 3  # at each resolution
GROUPS = 4
LIMIT = 3.0  # of latents, which the decoder bends towards it


def load(encoder: Path, decoder: Path, device: torch.device | str = "cpu") -> Codec:
    """The autoencoder in two files; ValueError if they are not such ones, or not of one pair."""
    one, other = _state(encoder), _state(decoder)
    channels = one[f"{max(_numbers(one))}.weight"].shape[0]
    if other["1.weight"].shape[1] != channels:
        raise ValueError(f"{decoder}: expected the decoder of {channels} channels beside {encoder}, got {other['1.weight'].shape[1]}")
    into = _filled(encoder_layers(channels, _wide(one)), one, encoder).to(device)
    back = _filled(decoder_layers(channels, _wide(other)), other, decoder).to(device)
    return Codec(encoder.stem.removesuffix("_encoder"), into, back, channels)


def encoder_layers(channels: int, wide: bool = False) -> nn.Sequential:
    """From [F, 3, H, W] to [F, channels, H / 8, W / 8]; `wide`: with the branch of later members."""
    layers: list[nn.Module] = [_conv(3, WIDTH), Block()]
    for level in range(3):
        layers += [_conv(WIDTH, WIDTH, stride=2, bias=False), *(Block(wide and level == 2) for _ in range(BLOCKS))]
    return nn.Sequential(*layers, _conv(WIDTH, channels))


def decoder_layers(channels: int, wide: bool = False) -> nn.Sequential:
    """And back, not clamped."""
    layers: list[nn.Module] = [Bend(), _conv(channels, WIDTH), nn.ReLU()]
    for level in range(3):
        layers += [*(Block(wide and level == 0) for _ in range(BLOCKS)), nn.Upsample(scale_factor=2), _conv(WIDTH, WIDTH, bias=False)]
    return nn.Sequential(*layers, Block(), _conv(WIDTH, 3))


class Block(nn.Module):
    """Three convolutions beside a shortcut, after the wide branch where there is one."""

    def __init__(self, wide: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH))
        inner = 4 * WIDTH
        branch = (nn.Conv2d(WIDTH, inner, 1, bias=False), nn.GroupNorm(GROUPS, inner), nn.ReLU(), nn.Conv2d(inner, WIDTH, 1, bias=False))
        self.pool = nn.Sequential(*branch) if wide else None

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.pool is None else x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class Bend(nn.Module):
    """Latents within their limit, softly."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / LIMIT) * LIMIT


def _conv(inputs: int, outputs: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=bias)


def _state(path: Path) -> Mapping[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        known = isinstance(state, dict) and {"0.weight", "1.weight"} & set(state) and max(_numbers(state)) > 1
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path}: expected the weights of a small autoencoder ({' '.join(str(error).split()):.200})") from None
    if not known:
        raise ValueError(f"{path}: expected the weights of a small autoencoder, its layers numbered")
    return state


def _numbers(state: Mapping[str, Tensor]) -> set[int]:
    return {int(name.partition(".")[0]) for name in state}


def _wide(state: Mapping[str, Tensor]) -> bool:
    return any(".pool." in name for name in state)


def _filled(layers: nn.Sequential, state: Mapping[str, Tensor], path: Path) -> nn.Module:
    try:
        layers.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path}: expected the layers of a small autoencoder ({' '.join(str(error).split()):.200})") from None
    channels_last: nn.Module = layers.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return channels_last
