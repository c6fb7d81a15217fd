"""What a narrower network inherits from a wider one: laws that hold only if all layers mean the same channels."""

from __future__ import annotations

import pytest
import tiny_diffusion
import torch
from wide_networks import network, widened

from splatview.stylize.inherit import inherit, narrowed, narrower

pytestmark = pytest.mark.xdist_group("diffusion")

KINDS = {
    "SD 1": {},
    "SD 2": {"use_linear_projection": True, "attention_head_dim": (2, 4)},
    "SDXL": {"use_linear_projection": True, "transformer_layers_per_block": 2, **tiny_diffusion.LIKE_SDXL},
    "guided": {"time_cond_proj_dim": 8, "layers_per_block": 2},
    "equal widths": {"block_out_channels": (8, 16, 16), "down_block_types": ("CrossAttnDownBlock2D",) * 2 + ("DownBlock2D",)}
    | {"up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 2},
}


def told(net, seed: int = 0):
    """What it predicts for some latents."""
    draw = torch.Generator().manual_seed(seed)
    config, more = net.config, {}
    if config.addition_embed_type:
        more["added_cond_kwargs"] = {"text_embeds": torch.randn(2, 16, generator=draw), "time_ids": torch.rand(2, 6, generator=draw)}
    if config.time_cond_proj_dim:
        more["timestep_cond"] = torch.randn(2, config.time_cond_proj_dim, generator=draw)
    tokens = torch.randn(2, 5, config.cross_attention_dim, generator=draw)
    return net(torch.randn(2, 4, 8, 8, generator=draw), torch.tensor([30, 700]), tokens, **more).sample


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_hidden_in_a_wider_one_is_found(kind):
    more = {"block_out_channels": (8, 16), **KINDS[kind]}
    small = network(1, **more)
    wide = widened(small, **more)
    assert torch.allclose(told(wide), told(small), atol=1e-5)
    widths = narrowed(wide.config, 0.5)
    assert widths == small.config.block_out_channels
    student = narrower(wide, 0.5).eval()
    assert (told(student) - told(small)).abs().max() > 0.1
    kept = inherit(student, wide)
    assert set(kept) == {2 * width for width in widths} and all(len(index) == width / 2 for width, index in kept.items())
    assert torch.allclose(told(student), told(small), atol=1e-5)
    found = student.state_dict()
    assert all(
        torch.allclose(found[name], value) for name, value in small.state_dict().items() if "to_q" not in name and "to_k" not in name
    )


def test_all_of_a_network_is_that_network():
    teacher = network(1)
    student = network(2)
    inherit(student, teacher)
    assert narrowed(teacher.config, 1.0) == (16, 32) and torch.equal(told(student), told(teacher))


def inherited(teacher, ratio: float = 0.5):
    student = narrower(teacher, ratio)
    inherit(student, teacher)
    return student


def test_the_time_is_told_in_waves_of_the_same_frequencies():
    teacher, at = network(1), torch.arange(1000)
    for place in range(16):
        with torch.no_grad():
            teacher.time_embedding.linear_1.weight[:, place] = place
    student = inherited(teacher)
    columns = student.time_embedding.linear_1.weight.mean(0).round().long()
    assert len(columns) == 8 and torch.allclose(student.time_proj(at), teacher.time_proj(at)[:, columns], atol=1e-3)


def test_each_group_and_each_head_keeps_its_share_in_its_place():
    """Channels are marked by the group, the head or the block that they are of."""
    teacher = network(1)
    with torch.no_grad():
        for name, layer in teacher.named_modules():
            if name.endswith("norm2") and "resnets" in name:
                layer.weight.copy_(torch.arange(4).repeat_interleave(len(layer.weight) // 4))
            elif name.endswith("to_v"):
                marks = torch.arange(4).repeat_interleave(len(layer.weight) // 4)
                layer.weight.copy_(marks[:, None] + 0.1 * torch.rand_like(layer.weight))
    student = inherited(teacher)
    found = [
        layer.weight.view(len(layer.weight), -1).mean(1).floor().tolist()
        for name, layer in student.named_modules()
        if (name.endswith("norm2") and "resnets" in name) or name.endswith("to_v")
    ]
    assert len(found) > 10
    assert all(marks == torch.arange(4).repeat_interleave(len(marks) // 4).tolist() for marks in found)


def test_what_comes_over_a_shortcut_stays_behind_what_comes_from_below():
    more = {"block_out_channels": (16, 32), "layers_per_block": 2}
    teacher = network(1, **more)
    sides = {(0, 0): (32, 32), (0, 1): (32, 32), (0, 2): (32, 16), (1, 0): (32, 16), (1, 1): (16, 16), (1, 2): (16, 16)}
    for (number, place), (below, beside) in sides.items():
        with torch.no_grad():
            teacher.up_blocks[number].resnets[place].norm1.weight.copy_(torch.arange(below + beside))
    student = narrower(teacher, 0.5)
    kept = inherit(student, teacher)
    assert kept[16].tolist() != list(range(0, 16, 2)) and kept[32].tolist() != list(range(0, 32, 2))
    for (number, place), (below, beside) in sides.items():
        found = student.up_blocks[number].resnets[place].norm1.weight
        assert found.tolist() == [*kept[below].tolist(), *(below + kept[beside]).tolist()]


@pytest.mark.parametrize(
    ("config", "ratio", "widths"),
    [
        ({"block_out_channels": (320, 640, 1280, 1280), "attention_head_dim": 8, "norm_num_groups": 32}, 0.5, (160, 320, 640, 640)),
        ({"block_out_channels": (320, 640, 1280, 1280), "attention_head_dim": 8, "norm_num_groups": 32}, 0.3, (96, 192, 384, 384)),
        ({"block_out_channels": (320, 640, 1280), "attention_head_dim": (5, 10, 20), "norm_num_groups": 32}, 0.5, (160, 320, 640)),
        ({"block_out_channels": (320, 640, 1280), "attention_head_dim": (5, 10, 20), "norm_num_groups": 32}, 0.1, (160, 160, 160)),
    ],
)
def test_widths_can_be_divided_by_groups_and_heads(config, ratio, widths):
    assert narrowed(config, ratio) == widths


def test_sizes_that_nobody_named_are_cut_as_well():
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        half = narrower(UNet2DConditionModel(cross_attention_dim=768), 0.5)
    assert half.config.block_out_channels == (160, 320, 640, 640) and half.config.cross_attention_dim == 768
    assert 0.24 < sum(value.numel() for value in half.parameters()) / 859_520_964 < 0.27


@pytest.mark.parametrize("ratio", [0, -1, 1.5, float("nan")])
def test_a_share_of_channels_is_over_0_and_up_to_1(ratio):
    with pytest.raises(ValueError, match="expected a share of the channels"):
        narrowed({"block_out_channels": (16,), "attention_head_dim": 4, "norm_num_groups": 4}, ratio)
