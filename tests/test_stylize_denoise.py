"""Schedules, guidance and the stream batch: held to diffusers' schedulers, to textbook formulas, and to frames that are denoised alone."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_diffusion
import torch
from hypothesis import given
from hypothesis import strategies as st

from splatview.stylize import schedule
from splatview.stylize.denoise import Asked, Entering, Levels, StreamBatch
from splatview.stylize.guidance import Guidance

pytestmark = pytest.mark.xdist_group("diffusion")  # importing diffusers takes seconds

KINDS = ["none", "full", "self", "initialize"]
SHAPE = (4, 8, 6)


@pytest.fixture(scope="module")
def lcm():
    from diffusers import LCMScheduler

    scheduler = LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", set_alpha_to_one=False, steps_offset=1)
    scheduler.set_timesteps(50)
    return scheduler


@pytest.fixture(scope="module")
def table(lcm):
    return lcm.alphas_cumprod.numpy()


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return tiny_diffusion.unet()


@pytest.fixture(scope="module")
def unet(network):
    def told(latents, timesteps, conditions):
        return network(latents, timesteps, encoder_hidden_states=conditions["tokens"]).sample

    return told


def prompt(seed: int):
    return {"tokens": torch.randn(1, 7, 16, generator=torch.Generator().manual_seed(seed))}


def gaussian(*shape: int, seed: int = 0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def levels(table, indices, again="fresh"):
    family = "lcm" if again == "fresh" else "turbo"
    return Levels.of(schedule.schedule(table, family, schedule.at_indices(indices), again == "ancestral"))


# Schedules


def test_the_grid_is_that_of_lcm(lcm):
    assert schedule.grid().tolist() == lcm.timesteps.tolist()


def test_levels_are_those_of_lcm(lcm, table):
    steps = schedule.at_indices([0, 16, 32, 45, 49])
    ours = schedule.schedule(table, "lcm", steps)
    x, n = gaussian(5, *SHAPE), gaussian(5, *SHAPE, seed=1)
    theirs = lcm.add_noise(x, n, torch.tensor(steps)).numpy()
    assert np.allclose(ours.signal[:, None, None, None] * x.numpy() + ours.noise[:, None, None, None] * n.numpy(), theirs, atol=1e-6)
    skip, out = np.transpose([lcm.get_scalings_for_boundary_condition_discrete(step) for step in steps])
    assert np.allclose(ours.skip, skip, rtol=1e-5) and np.allclose(ours.out, out, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers, with numpy 2
@pytest.mark.parametrize("count", [1, 2, 4, 10])
@pytest.mark.parametrize("taken", [1, 2, 3, 4])
def test_turbo_takes_the_timesteps_of_its_own_image_to_image(count, taken):
    from diffusers import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(count)
    taken = min(taken, count)
    assert schedule.timesteps("turbo", taken / count, taken) == tuple(scheduler.timesteps[count - taken :].int().tolist())


@given(st.sampled_from(["lcm", "turbo"]), st.floats(0, 1), st.integers(1, 8))
def test_the_slider_picks_steps_that_fall_and_more_noise_for_more_strength(family, strength, steps):
    found = schedule.timesteps(family, strength, steps)
    assert len(found) in (0, steps) and list(found) == sorted(found, reverse=True) and all(0 <= step < 1000 for step in found)
    assert bool(found) == (strength * 1000 > 0.5)
    if found:
        assert found[0] <= schedule.timesteps(family, min(1, strength + 0.1), steps)[0]
        if family == "lcm":
            assert len(set(found)) == steps and set(found) <= set(schedule.grid().tolist())


def test_full_strength_begins_with_noise_and_none_takes_no_step():
    assert schedule.timesteps("lcm", 1, 4)[0] == schedule.timesteps("turbo", 1, 1)[0] == 999
    assert schedule.indices(1, 4) == (0, 15, 30, 45) and schedule.indices(0.35, 2) == (32, 45)
    assert schedule.timesteps("lcm", 0, 4) == ()


@pytest.mark.parametrize("steps", [(), (3, 5), (1000,), (5, -1)])
def test_what_are_no_timesteps_is_said(table, steps):
    with pytest.raises(ValueError, match="999 to 0"):
        schedule.schedule(table, "lcm", steps)


@pytest.mark.parametrize("indices", [[], [5, 5], [7, 3], [0, 50], [-1, 2]])
def test_what_are_no_indices_is_said(indices):
    with pytest.raises(ValueError, match="rising numbers from 0 to 49"):
        schedule.at_indices(indices)


def test_a_model_whose_last_timestep_is_only_noise_is_refused():
    with pytest.raises(ValueError, match="alpha bar over 0"):
        schedule.schedule(np.linspace(1, 0, 1000), "turbo", [999])


# Denoising


def put_on(again, noise, told, before, now):
    """The noise that a step begins with, where `told` was seen; `before` and `now`: noise for each signal (Karras et al. 2022)."""
    if again == "fresh":
        return noise
    up = now * (before**2 - now**2).sqrt() / before if again == "ancestral" else 0 * now
    return ((now**2 - up**2).sqrt() * told + up * noise) / now


def alone(unet, frame, noise, levels, asked, again="fresh"):
    """One frame, step after step, with calls of its own: the textbook's guidance, and Kodaira's recurrence for residual noise."""
    kind, scale, delta = asked.guidance.acting, asked.guidance.scale, asked.guidance.delta
    x, stock = levels.signal[0] * frame + levels.noise[0] * noise[0], noise[0]
    for step, (timestep, a, b) in enumerate(zip(levels.timesteps, levels.signal, levels.noise, strict=True)):
        clean_of = lambda noisy, told: levels.out[step] * (noisy - b * told) / a + levels.skip[step] * noisy  # noqa: B023
        told = unet(x, timestep, asked.prompt)
        if kind == "full":
            unconditional = unet(x, timestep, asked.negative)
            told = unconditional + scale * (told - unconditional)
        elif kind != "none":
            if kind == "initialize" and step == 0:
                stock = unet(x, timestep, asked.negative)
            told = delta * stock + scale * (told - delta * stock)
        clean = clean_of(x, told)
        if step + 1 < len(levels):
            a_next, b_next = levels.signal[step + 1], levels.noise[step + 1]
            added = put_on(again, noise[step + 1], told, b / a, b_next / a_next)
            stock = added + clean_of(b * stock, told) * a_next / b_next
            x = a_next * clean + b_next * added
    return clean


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("indices", [[35], [32, 45], [18, 26, 35, 45]])
@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("again", ["fresh", "carried", "ancestral"])
def test_a_frame_of_the_stream_is_the_frame_denoised_alone(table, unet, kind, indices, together, again):
    steps, at = len(indices), levels(table, indices, again)
    asked = Asked(prompt(1), prompt(2), Guidance(kind, 1.4, 0.8))
    stream = StreamBatch(unet)
    frames = [gaussian(together, *SHAPE, seed=10 + k) for k in range(steps + 3)]
    noises = [gaussian(steps, together, *SHAPE, seed=50 + k) for k in range(steps + 3)]
    for k, (frame, noise) in enumerate(zip(frames, noises, strict=True)):
        arrived = stream.push(Entering(frame, noise, tag=k), at, asked)
        if k >= steps - 1:
            late = k - steps + 1
            assert (arrived.entered.tag, arrived.steps) == (late, steps)
            for one in range(together):
                with torch.no_grad():
                    expected = alone(unet, frames[late][one : one + 1], noises[late][:, one : one + 1], at, asked, again)
                assert (arrived.clean[one] - expected[0]).abs().max() <= 1e-5 * (expected.max() - expected.min())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("again", ["fresh", "carried", "ancestral"])
def test_a_frame_by_itself_is_the_frame_of_the_stream_which_goes_on(table, unet, kind, again):
    at, asked = levels(table, [18, 35, 45], again), Asked(prompt(1), prompt(2), Guidance(kind, 1.4, 0.8))
    frames = [Entering(gaussian(2, *SHAPE, seed=k), gaussian(3, 2, *SHAPE, seed=9 + k), tag=k) for k in range(5)]
    plain, disturbed = StreamBatch(unet), StreamBatch(unet)
    for frame in frames:
        expected, found = (stream.push(frame, at, asked) for stream in (plain, disturbed))
        assert torch.equal(expected.clean, found.clean)
        alone = disturbed.alone(frames[expected.entered.tag], at, asked)
        assert alone.steps == 3 and (alone.entered is expected.entered)
        if expected.steps == 3:
            assert (alone.clean - expected.clean).abs().max() <= 1e-5 * (expected.clean.max() - expected.clean.min())


@pytest.mark.parametrize("kind", KINDS)
def test_frames_may_enter_in_any_number(table, unet, kind):
    at, asked = levels(table, [18, 35, 45], "ancestral"), Asked(prompt(1), prompt(2), Guidance(kind, 1.4, 0.8))
    stream, waiting = StreamBatch(unet), []
    for count in (1, 3, 2, 4, 1, 1, 2):
        frames = [Entering(gaussian(1, *SHAPE, seed=k), gaussian(3, 1, *SHAPE, seed=9 + k)) for k in range(10 * count, 11 * count)]
        clean, noise = torch.cat([one.clean for one in frames]), torch.cat([one.noise for one in frames], 1)
        waiting.append(frames)
        arrived = stream.push(Entering(clean, noise), at, asked)
        if len(waiting) == 3:
            for found, frame in zip(arrived.clean, waiting.pop(0), strict=True):
                with torch.no_grad():
                    expected = alone(unet, frame.clean, frame.noise, at, asked, "ancestral")[0]
                assert (found - expected).abs().max() <= 1e-5 * (expected.max() - expected.min())


@pytest.mark.parametrize("again", ["fresh", "carried", "ancestral"])
def test_noise_between_steps_keeps_its_size(table, again):
    at = levels(table, [3, 18, 26, 35, 45], again)
    assert torch.allclose(at.carried**2 + at.fresh**2, torch.ones(5, 1, 1, 1)) and at.carried[0] == 0
    assert at.noises == (1 if again == "carried" else 5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_still_frame_shows_at_once_and_is_right_after_its_steps(table, unet, kind):
    at, asked = levels(table, [18, 26, 35, 45]), Asked(prompt(1), prompt(2), Guidance(kind, 1.5))
    frame, noise = gaussian(1, *SHAPE), gaussian(4, 1, *SHAPE, seed=1)
    stream, shown = StreamBatch(unet), []
    for _ in range(6):
        shown.append(stream.push(Entering(frame, noise), at, asked))
    assert [arrived.steps for arrived in shown] == [1, 2, 3, 4, 4, 4]
    assert torch.isfinite(shown[0].clean).all()
    with torch.no_grad():
        expected = alone(unet, frame, noise, at, asked)
    assert torch.allclose(shown[3].clean, expected, atol=1e-5 * float(expected.max() - expected.min()))


def test_residual_guidance_of_one_step_does_not_run_away(table, unet):
    """As published, what `self` adds in one step comes back into it with the next frame."""
    at, asked, stream = levels(table, [35]), Asked(prompt(1), guidance=Guidance("self", 1.4)), StreamBatch(unet)
    entering = Entering(gaussian(1, *SHAPE), gaussian(1, 1, *SHAPE, seed=1))
    first, *_, last = (stream.push(entering, at, asked).clean for _ in range(6))
    assert torch.equal(first, last)


def test_lcm_steps_are_those_of_diffusers(lcm, table, unet, monkeypatch):
    indices = [0, 12, 25, 37]  # as set_timesteps(4) takes them of 50
    noise = gaussian(4, 1, *SHAPE, seed=1)
    later = iter(noise[1:])
    monkeypatch.setattr("diffusers.schedulers.scheduling_lcm.randn_tensor", lambda *_, **__: next(later))
    lcm.set_timesteps(4)
    assert lcm.timesteps.tolist() == list(schedule.at_indices(indices))
    frame = gaussian(1, *SHAPE)
    x = lcm.add_noise(frame, noise[0], lcm.timesteps[:1])
    with torch.no_grad():
        for step in lcm.timesteps:
            x, clean = lcm.step(unet(x, step, prompt(1)), step, x, return_dict=False)
    stream, at = StreamBatch(unet), levels(table, indices)
    for _ in range(4):
        arrived = stream.push(Entering(frame, noise), at, Asked(prompt(1)))
    assert (arrived.clean - clean).abs().max() <= 1e-5 * (clean.max() - clean.min())


def test_a_network_that_tells_v_gives_what_it_gives_told_as_noise(table, unet):
    at = levels(table, [18, 35])
    level = {int(t): (a.view(()), b.view(())) for t, a, b in zip(at.timesteps, at.signal, at.noise, strict=True)}

    def told_as_v(latents, timesteps, conditions):
        rows = [level[int(timestep)] for timestep in timesteps]
        signal, noise = (torch.stack(column).view(-1, 1, 1, 1) for column in zip(*rows, strict=True))
        return (unet(latents, timesteps, conditions) - noise * latents) / signal

    asked = Asked(prompt(1), prompt(2), Guidance("full", 2.0))
    streams = StreamBatch(unet), StreamBatch(told_as_v, "v_prediction")
    for k in range(3):
        entering = Entering(gaussian(1, *SHAPE, seed=k), gaussian(2, 1, *SHAPE, seed=9))
        one, other = (stream.push(entering, at, asked).clean for stream in streams)
        assert torch.allclose(one, other, atol=1e-4 * float(one.abs().max()))


def test_the_network_is_asked_once_a_frame_with_the_rows_that_guidance_needs(table, unet):
    calls = []

    def counted(latents, timesteps, conditions):
        calls.append((len(latents), len(timesteps), len(conditions["tokens"]), len(conditions["hint"])))
        return unet(latents, timesteps, conditions)

    expected = {"none": 4, "self": 4, "initialize": 5, "full": 8}
    for kind, rows in expected.items():
        for scale in (1.0, 1.5):
            stream, asked = StreamBatch(counted), Asked(prompt(1), prompt(2), Guidance(kind, scale))
            calls.clear()
            entering = Entering(gaussian(1, *SHAPE), gaussian(4, 1, *SHAPE), {"hint": torch.ones(1, 3)})
            for _ in range(2):
                stream.push(entering, levels(table, [18, 26, 35, 45]), asked)
            assert calls == [(rows if scale > 1 else 4,) * 4] * 2


def test_hints_stay_with_their_frames(table):
    seen = []

    def telling(latents, timesteps, conditions):
        seen.append(conditions["hint"][:, 0].tolist())
        return latents

    stream = StreamBatch(telling)
    for k in range(4):
        hint = {"hint": torch.full((1, 1), float(k))}
        stream.push(Entering(gaussian(1, *SHAPE), gaussian(3, 1, *SHAPE), hint), levels(table, [18, 35, 45]), Asked(prompt(1)))
    assert seen == [[0, 0, 0], [1, 0, 0], [2, 1, 0], [3, 2, 1]]


def test_the_schedule_may_change_under_way(table, unet):
    stream, asked = StreamBatch(unet), Asked(prompt(1))
    entering = Entering(gaussian(1, *SHAPE), gaussian(4, 1, *SHAPE, seed=1))
    for indices in ([18, 26, 35, 45], [40, 45], [10], [18, 26, 35, 45], [18, 26, 35, 45], [18, 26, 35, 45], [18, 26, 35, 45]):
        arrived = stream.push(entering, levels(table, indices), asked)
    with torch.no_grad():
        expected = alone(unet, entering.clean, entering.noise, levels(table, [18, 26, 35, 45]), asked)
    assert arrived.steps == 4 and torch.allclose(arrived.clean, expected, atol=1e-5 * float(expected.max() - expected.min()))


def test_another_size_begins_anew(table, unet):
    stream, at, asked = StreamBatch(unet), levels(table, [18, 35]), Asked(prompt(1))
    for _ in range(3):
        stream.push(Entering(gaussian(1, *SHAPE), gaussian(2, 1, *SHAPE)), at, asked)
    arrived = stream.push(Entering(gaussian(1, 4, 4, 4), gaussian(2, 1, 4, 4, 4), tag="small"), at, asked)
    assert arrived.clean.shape == (1, 4, 4, 4) and (arrived.entered.tag, arrived.steps) == ("small", 1)
