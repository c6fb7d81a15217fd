"""On a GPU: the diffusion stylizer does there what it does on a processor, in every way that it is made faster."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from test_stylize_diffusion import STILL, a_frame

from splatview.stylize import models
from splatview.stylize.catalogue import Choice
from splatview.stylize.diffusion import Around, Diffusion
from splatview.stylize.recording import Graph

# What compilers warn of is not ours.
pytestmark = [pytest.mark.gpu, pytest.mark.xdist_group("diffusion"), pytest.mark.filterwarnings("default")]


def opened(tiny_sd, device: str, accelerator: str = "eager", **controls) -> Diffusion:
    return Diffusion(models.load(Choice(str(tiny_sd("turbo")), device=device)), replace(STILL, **controls), Around(accelerator=accelerator))


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("guidance", ["none", "full", "initialize"])
def test_pictures_are_those_of_the_processor(tiny_sd, steps, guidance):
    mine, theirs = (opened(tiny_sd, device, steps=steps, guidance=guidance, scale=1.5) for device in ("cuda", "cpu"))
    for _ in range(steps):
        pictures = mine.style(a_frame()).astype(int), theirs.style(a_frame()).astype(int)
    assert np.abs(pictures[0] - pictures[1]).mean() < 4  # halves of two kinds
    mine.close(), theirs.close()


KINDS = ["graphs", pytest.param("compile", marks=pytest.mark.slow)]
KINDS.append(pytest.param("tensorrt", marks=[pytest.mark.slow, pytest.mark.skipif(not find_spec("tensorrt"), reason="no TensorRT here")]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_faster_way_gives_the_same_pictures_frame_after_frame(tiny_sd, kind, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plain, faster = opened(tiny_sd, "cuda", steps=2), opened(tiny_sd, "cuda", kind, steps=2)
    for seed in range(3):
        plain.style(a_frame(seed)), faster.style(a_frame(seed))
    assert faster._acceleration.settle(600)
    names = {"graphs": "CUDA graphs", "compile": "torch.compile", "tensorrt": "TensorRT"}
    assert faster.in_use == names[kind]
    for seed in range(3, 9):  # pictures stay what they are while the next ones are made
        expected, found = plain.style(a_frame(seed)), faster.style(a_frame(seed))
        assert np.abs(expected.astype(int) - found).mean() < 2
    plain.close(), faster.close()


def test_a_frame_waits_for_the_gpu_once(tiny_sd, recwarn):
    stylizer = opened(tiny_sd, "cuda", steps=2)
    for seed in range(3):
        stylizer.style(a_frame(seed))
    recwarn.clear()
    torch.cuda.set_sync_debug_mode("warn")
    for seed in range(3, 8):
        stylizer.style(a_frame(seed))
    torch.cuda.set_sync_debug_mode("default")
    assert len([warning for warning in recwarn if "synchroniz" in str(warning.message)]) <= 5
    stylizer.close()


def test_what_is_recorded_takes_new_inputs_and_gives_away_its_results():
    layer = torch.nn.Linear(8, 8).cuda().requires_grad_(False)
    graph = Graph(layer, [torch.zeros(2, 8, device="cuda")])
    one, other = (torch.randn(2, 8, device="cuda") for _ in range(2))
    first, second = graph(one), graph(other)
    assert torch.allclose(first, layer(one), atol=1e-5) and torch.allclose(second, layer(other), atol=1e-5)
