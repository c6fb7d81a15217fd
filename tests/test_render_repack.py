"""An edit prepares only what it changed, and the picture is the one of splats that were prepared afresh."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from render_cases import EVERYTHING, cloud, shot
from torch_ops import TORCH_OPS

from splatview import Gaussians, RenderOptions, Scene
from splatview.render.splats_cpu import CpuRenderer
from splatview.render.splats_cuda import CudaRenderer
from splatview.scene import Layer

OPTIONS = RenderOptions(outputs=EVERYTHING)
CAMERA = shot(160, 120)


@pytest.fixture(scope="module")
def cpu():
    return CpuRenderer()


@pytest.fixture(scope="module")
def cuda():
    return CudaRenderer("cpu", TORCH_OPS)


@pytest.fixture(params=["cpu", "cuda"])
def renderer(request):
    return request.getfixturevalue(request.param)


def drawn(renderer, splats: Gaussians):
    return renderer.render(Scene({"cloud": Layer(splats)}), CAMERA, OPTIONS)


def afresh(splats: Gaussians) -> Gaussians:
    return replace(splats)


def agree(renderer, edited: Gaussians) -> None:
    got, expected = drawn(renderer, edited), drawn(renderer, afresh(edited))
    assert np.mean(np.abs(got.rgb - expected.rgb).max(-1) <= 1e-4) >= 0.999
    assert np.mean(got.ids == expected.ids) >= 0.999
    assert got.counts["drawn"] == expected.counts["drawn"]


@pytest.fixture
def whole(monkeypatch):
    """Counts how often a scene is prepared whole."""
    count = []
    pack, upload = CpuRenderer._repacked, CudaRenderer._changed

    def noted(original):
        def prepare(*given):
            if (found := original(*given)) is None:
                count.append(given[1])
            return found

        return prepare

    monkeypatch.setattr(CpuRenderer, "_repacked", noted(pack))
    monkeypatch.setattr(CudaRenderer, "_changed", noted(upload))
    return count


def edited(splats: Gaussians, which: NDArray, names: tuple[str, ...], seed: int = 1, by: float = 0.5) -> Gaussians:
    rng = np.random.default_rng(seed)
    arrays = {}
    for name in names:
        arrays[name] = getattr(splats, name).copy()
        arrays[name][which] += rng.normal(0, by, arrays[name][which].shape).astype(np.float32)
    return splats.changed(which, **arrays)


EVERY = ("means", "quats", "log_scales", "opacity_logits", "sh")


@pytest.mark.parametrize("names", [*((name,) for name in EVERY), ("means", "quats", "sh"), EVERY])
@pytest.mark.parametrize("degree", [0, 2])
def test_a_changed_scene_is_drawn_as_a_fresh_one(renderer, whole, names, degree):
    splats = cloud(3000, degree)
    drawn(renderer, splats)
    whole.clear()
    which = np.random.default_rng(0).random(3000) < 0.1
    after = edited(splats, which, names)
    picture = drawn(renderer, after)
    assert not whole, "it was prepared whole"
    agree(renderer, after)
    assert not np.allclose(picture.rgb, drawn(renderer, splats).rgb, atol=0.01), "the edit is not seen"


def test_what_moved_far_is_drawn_where_it_is(renderer):
    splats = cloud(4000)
    drawn(renderer, splats)
    which = np.arange(4000) % 97 == 0
    for by in (3.0, 50.0, 1e6):
        agree(renderer, edited(splats, which, ("means",), by=by))
    near = splats.means[:, 0] > 0.5  # a compact part, out of the picture and back into it
    away = splats.changed(near, means=splats.means + np.float32(100) * near[:, None].astype(np.float32))
    agree(renderer, away)
    back = away.changed(near, means=splats.means)
    assert np.array_equal(drawn(renderer, back).ids, drawn(renderer, splats).ids)


def test_several_edits_between_two_pictures(renderer, whole):
    splats = cloud(2000)
    drawn(renderer, splats)
    whole.clear()
    after = splats
    for step in range(5):
        after = edited(after, np.random.default_rng(step).random(2000) < 0.03, EVERY, step)
    gc.collect()
    drawn(renderer, after)
    assert not whole
    agree(renderer, after)


def test_a_chain_of_pictures(renderer):
    after = cloud(2000)
    for step in range(5):
        before = after
        drawn(renderer, before)
        after = edited(before, np.random.default_rng(step).random(2000) < 0.03, EVERY, step)
    agree(renderer, after)


def test_without_an_ancestor_everything_is_prepared(renderer, whole):
    splats = cloud(500)
    drawn(renderer, splats)
    after = edited(splats, np.arange(500) < 20, ("sh",))
    del splats
    gc.collect()
    whole.clear()
    drawn(renderer, after)
    assert len(whole) == 1
    agree(renderer, after)


@pytest.mark.parametrize("name", EVERY)
def test_splats_that_break_and_are_mended(renderer, name):
    """A broken row goes, a mended one comes back, whatever was broken in it."""
    splats, which = cloud(1000), np.arange(1000) % 50 == 0
    array = getattr(splats, name).copy()
    array[which] = np.nan
    broken = splats.changed(which, **{name: array})
    drawn(renderer, splats)
    agree(renderer, broken)
    assert drawn(renderer, broken).counts["drawn"] < drawn(renderer, splats).counts["drawn"]
    mended = broken.changed(which, **{name: getattr(splats, name)})
    del splats  # so that only the broken ones are there to start from
    gc.collect()
    agree(renderer, mended)


@pytest.mark.parametrize("kept", ["_packed", "_resident"])
def test_a_long_history_does_not_fill_the_memory(kept):
    """However many values somebody keeps for undoing; the newest and those one and two changes back are at hand."""
    renderer = CpuRenderer() if kept == "_packed" else CudaRenderer("cpu", TORCH_OPS)
    gc.collect()
    history = [cloud(200)]
    for step in range(6):
        renderer.prepare(history[-1])
        history.append(edited(history[-1], np.arange(200) % 50 == step, ("sh",), step))
    newest = renderer.prepare(history[-1])
    assert set(getattr(renderer, kept)) == set(history[-3:]) and renderer.prepare(history[-1]) is newest
    agree(renderer, history[0])


def test_what_is_equal_is_shared(cpu, cuda):
    splats = cloud(5000, degree=3)
    for renderer in (cpu, cuda):
        renderer.prepare(splats)
    fainter = splats.changed(np.arange(5000) < 50, opacity_logits=splats.opacity_logits - (np.arange(5000) < 50))
    assert cuda.prepare(fainter).sh is cuda.prepare(splats).sh and cuda.prepare(fainter).means is cuda.prepare(splats).means
    assert cuda.prepare(fainter).opacities is not cuda.prepare(splats).opacities
    agree(cpu, fainter)


def test_a_scene_that_is_torn_apart_is_packed_anew(cpu, whole):
    """Or its blocks would lie across the whole picture, each of them."""
    splats = cloud(20_000)
    drawn(cpu, splats)
    whole.clear()
    after = edited(splats, np.random.default_rng(0).random(20_000) < 0.3, ("means",), by=1000)
    drawn(cpu, after)
    assert len(whole) == 1 and cpu.prepare(after).stretched < 0.0626
    most = edited(splats, np.random.default_rng(0).random(20_000) < 0.7, ("sh",))
    drawn(cpu, most)
    assert len(whole) == 2
