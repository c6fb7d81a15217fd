"""A narrower UNet that begins with the strongest channels of a wider one.

A channel is written by some layers and read by others, and all of them must mean the same one. Such a bundle of channels is a space: what
all blocks of one width hand on to each other, what is inside of a block, what the heads of an attention compare, and what they carry. In
each part of a space (a group of a normalisation, a head) the same share is kept, so that groups and heads stay what they were; of a part
those channels whose norm is largest: that of the weights which write them times that of the weights which read them. Of the waves that
tell the time, those whose frequencies the narrower network has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

Role = Literal["writes", "reads", ""]


class Space:
    """Channels that are chosen together."""

    def __init__(self, size: int, parts: int = 1, kept: Tensor | None = None) -> None:
        self.size, self.parts, self.kept = size, parts, kept
        self.norms: dict[str, Tensor] = {}  # by role, squared

    def add(self, role: Role, squares: Tensor) -> None:
        self.norms[role] = self.norms.get(role, 0) + squares

    def choose(self, count: int) -> None:
        """Keep `count` of them."""
        if self.kept is None:
            score = torch.stack(list(self.norms.values())).prod(0).view(self.parts, -1)
            best = score.topk(count // self.parts, dim=1).indices.sort(1).values
            self.kept = (best + torch.arange(self.parts)[:, None] * score.shape[1]).flatten()


@dataclass(frozen=True)
class Tie:
    """A dimension of a tensor goes through channels, of one space after another."""

    name: str
    dim: int
    spaces: tuple[Space, ...]
    role: Role = ""
    compared: bool = False  # a sum over these channels is divided by the root of their number


def narrowed(config: Mapping[str, Any], ratio: float) -> tuple[int, ...]:
    """The widths of a UNet of that `config` when `ratio` of its channels are kept; ValueError for a ratio that is none.

    Each is a multiple of the groups of its normalisations and of the heads of its attentions.
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"expected a share of the channels over 0 and up to 1, got {ratio:g}")
    widths = config["block_out_channels"]
    heads = config.get("num_attention_heads") or config["attention_head_dim"]  # the latter is what diffusers calls the former
    each = [heads] * len(widths) if isinstance(heads, int) else heads
    units = [math.lcm(config["norm_num_groups"], count) for count in each]
    return tuple(min(width, max(1, round(ratio * width / unit)) * unit) for width, unit in zip(widths, units, strict=True))


def narrower(network: Any, ratio: float) -> Any:
    """A UNet like `network` with `ratio` of its channels, as it is when it is made."""
    config = {name: value for name, value in network.config.items() if not name.startswith("_")}
    return type(network)(**{**config, "block_out_channels": narrowed(config, ratio)})


@torch.no_grad()
def inherit(student: Any, teacher: Any) -> Mapping[int, Tensor]:
    """Fill `student` from `teacher`, both UNets of diffusers that differ in their widths: which channels are kept, by the teacher's width.

    Tensors that this file knows nothing of are taken over where their shapes are the same, and stay as they were where they are not.
    """
    theirs, mine = teacher.state_dict(), student.state_dict()
    walk = Walk(teacher, student.config.block_out_channels[0])
    ties = [tie for tie in walk if tie.name in theirs and tie.name in mine]  # blocks that are as wide as the one before need no shortcut
    for tie in ties:
        if tie.role:
            squares = theirs[tie.name].float().cpu().transpose(0, tie.dim).flatten(1).square().sum(1)
            for space, part in zip(tie.spaces, squares.split([space.size for space in tie.spaces]), strict=True):
                space.add(tie.role, part)
    for tie in ties:
        if len(set(tie.spaces)) == 1:
            tie.spaces[0].choose(mine[tie.name].shape[tie.dim] // len(tie.spaces))
    for tie in ties:
        starts = [sum(space.size for space in tie.spaces[:place]) for place in range(len(tie.spaces))]
        index = torch.cat([_kept(space) + start for space, start in zip(tie.spaces, starts, strict=True)])
        share = len(index) / theirs[tie.name].shape[tie.dim]
        theirs[tie.name] = theirs[tie.name].index_select(tie.dim, index.to(theirs[tie.name].device))
        if tie.compared:  # what is left out counts as nothing: the rest shall count as much as it did
            theirs[tie.name] = theirs[tie.name] * share**0.5
    student.load_state_dict({name: theirs[name] if theirs[name].shape == value.shape else value for name, value in mine.items()})
    return {width: _kept(space) for width, space in walk.streams.items()}


def _kept(space: Space) -> Tensor:
    assert space.kept is not None
    return space.kept


class Walk:
    """Through a UNet of diffusers, from layer to layer: all ties of its tensors. `streams`: what blocks hand on, by its width."""

    def __init__(self, network: Any, waves: int) -> None:
        self._network, self._groups = network, network.config.norm_num_groups
        self.streams: dict[int, Space] = {}
        base = network.config.block_out_channels[0]
        same = (torch.arange(waves // 2) * base / waves).round().long()  # frequencies: of sines, and once more of cosines
        self._waves = Space(base, kept=torch.cat([same, same + base // 2]))
        self._time = Space(network.time_embedding.linear_2.out_features)

    def __iter__(self) -> Iterator[Tie]:
        net = self._network
        yield from self._embeddings()
        now = self._stream(net.config.block_out_channels[0])
        yield from _layer("conv_in", (), (now,))
        skips = [now]
        for number, block in enumerate(net.down_blocks):
            for place, resnet in enumerate(block.resnets):
                yield from self._level(f"down_blocks.{number}", block, place, (now,))
                now = self._stream(resnet.out_channels)
                skips.append(now)
            if block.downsamplers:
                yield from _layer(f"down_blocks.{number}.downsamplers.0.conv", (now,), (now,))
                skips.append(now)
        for place in range(len(net.mid_block.resnets)):
            yield from self._level("mid_block", net.mid_block, place, (now,))
        for number, block in enumerate(net.up_blocks):
            for place, resnet in enumerate(block.resnets):
                yield from self._level(f"up_blocks.{number}", block, place, (now, skips.pop()))
                now = self._stream(resnet.out_channels)
            if block.upsamplers:
                yield from _layer(f"up_blocks.{number}.upsamplers.0.conv", (now,), (now,))
        yield from _norm("conv_norm_out", (now,))
        yield from _layer("conv_out", (now,), ())

    def _stream(self, width: int) -> Space:
        return self.streams.setdefault(width, Space(width, self._groups))

    def _embeddings(self) -> Iterator[Tie]:
        """Of the time, of a scale of guidance, and of SDXL's sizes."""
        for name, reads in (("time_embedding", (self._waves,)), ("add_embedding", ())):
            layers = getattr(self._network, name, None)
            if layers is not None:
                inside = Space(layers.linear_1.out_features)
                yield from _layer(f"{name}.linear_1", reads, (inside,))
                yield from _layer(f"{name}.linear_2", (inside,), (self._time,))
        yield from _layer("time_embedding.cond_proj", (), (self._waves,))

    def _level(self, name: str, block: Any, place: int, reads: tuple[Space, ...]) -> Iterator[Tie]:
        """A residual block, and the attentions that follow it."""
        resnet = block.resnets[place]
        now = self._stream(resnet.out_channels)
        yield from self._resnet(f"{name}.resnets.{place}", resnet, reads, now)
        attentions = getattr(block, "attentions", ())
        if place < len(attentions):
            yield from self._attention(f"{name}.attentions.{place}", attentions[place], now)

    def _resnet(self, name: str, resnet: Any, reads: tuple[Space, ...], now: Space) -> Iterator[Tie]:
        inside = Space(resnet.out_channels, self._groups)
        yield from _norm(f"{name}.norm1", reads)
        yield from _layer(f"{name}.conv1", reads, (inside,))
        shift = resnet.time_emb_proj.out_features // inside.size  # twice as many where the time also scales
        yield from _layer(f"{name}.time_emb_proj", (self._time,), (inside,) * shift)
        yield from _norm(f"{name}.norm2", (inside,))
        yield from _layer(f"{name}.conv2", (inside,), (now,))
        yield from _layer(f"{name}.conv_shortcut", reads, (now,))

    def _attention(self, name: str, attention: Any, now: Space) -> Iterator[Tie]:
        inside = (Space(attention.proj_in.weight.shape[0]),)
        yield from _norm(f"{name}.norm", (now,))
        yield from _layer(f"{name}.proj_in", (now,), inside)
        for number, block in enumerate(attention.transformer_blocks):
            within = f"{name}.transformer_blocks.{number}"
            for norm in ("norm1", "norm2", "norm3"):
                yield from _norm(f"{within}.{norm}", inside)
            for part, reads in (("attn1", inside), ("attn2", ())):  # the second reads the prompt
                heads = getattr(block, part).heads
                compared, carried = ((Space(inside[0].size, heads),) for _ in range(2))
                yield from (replace(tie, compared=tie.dim == 0) for tie in _layer(f"{within}.{part}.to_q", inside, compared))
                yield from _layer(f"{within}.{part}.to_k", reads, compared, "reads")
                yield from _layer(f"{within}.{part}.to_v", reads, carried)
                yield from _layer(f"{within}.{part}.to_out.0", carried, inside)
            wide = (Space(block.ff.net[2].in_features),)
            yield from _layer(f"{within}.ff.net.0.proj", inside, wide * 2)  # values, and gates
            yield from _layer(f"{within}.ff.net.2", wide, inside)
        yield from _layer(f"{name}.proj_out", inside, (now,))


def _layer(name: str, reads: tuple[Space, ...], writes: tuple[Space, ...], role: Role = "writes") -> Iterator[Tie]:
    """A linear layer or a convolution; no space: these channels are kept as they are."""
    if reads:
        yield Tie(f"{name}.weight", 1, reads, "reads")
    if writes:
        yield Tie(f"{name}.weight", 0, writes, role)
        yield Tie(f"{name}.bias", 0, writes)


def _norm(name: str, spaces: tuple[Space, ...]) -> Iterator[Tie]:
    yield Tie(f"{name}.weight", 0, spaces)
    yield Tie(f"{name}.bias", 0, spaces)
