"""Where tensors are on a GPU, how often it is waited for and what is sent there, told on one that is not there: see pretend_gpu.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_diffusion
import torch
from drawn_planes import drawn, looking
from pretend_gpu import PretendGpu
from test_stylize_diffusion import HEIGHT, STILL, WIDTH, a_frame
from torch.nn import functional
from warp_cases import CARDS

from splatview.stylize import models, profiling
from splatview.stylize.catalogue import Choice
from splatview.stylize.denoise import Asked
from splatview.stylize.diffusing import Phrase
from splatview.stylize.diffusion import Around, Diffusion
from splatview.stylize.networks import Denoiser
from splatview.stylize.noise import CarriedNoise
from splatview.stylize.parts import Model
from splatview.stylize.profiling import OneByOne, Streamed
from splatview.stylize.sending import sent
from splatview.stylize.temporal import Steady

pytestmark = [
    pytest.mark.xdist_group("diffusion"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of diffusers' Euler scheduler, with numpy 2
]

ONCE = ["to the processor"]  # the picture is waited for


@pytest.fixture(scope="module")
def gpu():
    return PretendGpu()


@pytest.fixture(scope="module")
def loaded(tiny_sd, tmp_path_factory, gpu):
    """Makes models that are read as they are for a GPU, in halves, and put there."""

    def load(family: str, controlnet: bool = False) -> Model:
        nets = ()
        if controlnet:
            folder = tmp_path_factory.mktemp("net")
            tiny_diffusion.controlnet(models.UNet2DConditionModel.from_pretrained(tiny_sd(family) / "unet")).save_pretrained(folder)
            nets = f"depth={folder}", f"edges={folder}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(models, "dtype_on", lambda device: torch.float16)
            model = models.load(Choice(str(tiny_sd(family)), device="cpu", controlnets=nets))
        for network in (model.unet, model.codec.encode, model.codec.decode, *model.encode_text.encoders):
            gpu.hold(network)

        def encode_text(text):
            with gpu:  # on whatever thread
                return texts(text)

        texts = model.encode_text
        return replace(model, device=torch.device("cuda"), encode_text=encode_text)

    return load


@pytest.fixture(scope="module")
def turbo(loaded):
    return loaded("turbo")


@pytest.fixture(scope="module")
def guided(loaded):
    """With ControlNets."""
    return loaded("turbo", True)


@pytest.fixture
def opened(gpu):
    """Makes stylizers, there, and closes them."""
    made = []
    with gpu:

        def open(model, controls=STILL, **around):
            made.append(Diffusion(model, controls, Around(accelerator="eager", **around)))
            return made[-1]

        yield open
    for one in made:
        one.close()


def a_deep_frame(seed: int):
    return a_frame(seed, depth=np.random.default_rng(seed).uniform(1, 5, (HEIGHT, WIDTH)).astype(np.float32))


def told(gpu, stylizer, frames) -> tuple[list[str], list[tuple[int, ...]]]:
    """What the last of `frames` makes the processor wait for, and what it sends."""
    for frame in frames:
        with gpu.counted():
            stylizer.style(frame)
    return gpu.waits, gpu.uploads


# The pretence itself


@pytest.mark.parametrize(
    "mix",
    [
        lambda there, here: there + here,
        lambda there, here: torch.cat([there, here]),
        lambda there, here: there + torch.tensor([1.0]),
        lambda there, here: functional.conv2d(there.half(), there),
        lambda there, here: functional.linear(there.half(), there[0, 0]),
        lambda there, here: functional.group_norm(there.half(), 1, there[0, :, 0, 0]),
        lambda there, here: there @ there.half(),
        lambda there, here: there[there > 0],  # how many there are is known on the device alone
        lambda there, here: there.nonzero(),
        lambda there, here: there.numpy(),
    ],
)
def test_what_a_gpu_refuses_is_refused(gpu, mix):
    with gpu, pytest.raises((RuntimeError, AssertionError, TypeError, NotImplementedError)):
        here = torch.ones(4, 4, 4, 4)
        mix(here.to("cuda"), here)


@pytest.mark.parametrize(
    ("use", "waits", "uploads"),
    [
        (lambda there, here: (2 * there)[:, 1:, None].flatten().softmax(0), 0, 0),
        (lambda there, here: torch.full((4,), 0.5, device=there.device), 0, 0),
        (lambda there, here: there.sum().item(), 1, 0),
        (lambda there, here: float(there.sum()) + int(there.sum()), 2, 0),
        (lambda there, here: 1 if there.sum() > 0 else 0, 1, 0),
        (lambda there, here: there.cpu().numpy(), 1, 0),
        (lambda there, here: there.to("cpu", torch.float16), 1, 0),
        (lambda there, here: here.to("cuda"), 1, 1),
        (lambda there, here: torch.tensor([1.0], device="cuda"), 1, 1),
        (lambda there, here: there.copy_(here), 1, 1),
        (lambda there, here: there.__setitem__(slice(0, 1), there[1:]), 0, 0),
        (lambda there, here: here.to("cuda", non_blocking=True), 0, 1),
        (lambda there, here: sent([1, 2], "cuda"), 0, 1),
    ],
)
def test_what_is_waited_for_and_sent_is_written_down(gpu, use, waits, uploads):
    with gpu:
        here = torch.ones(2, 3, 4)
        there = here.cuda()
        with gpu.counted():
            use(there, here)
    assert (len(gpu.waits), len(gpu.uploads)) == (waits, uploads)


def test_an_engine_that_is_wrong_is_found_out(gpu, turbo, opened):
    def waits(*inputs):
        found = turbo.unet(*inputs)
        assert not found.isfinite().all()  # zeros come back
        return found

    assert told(gpu, opened(replace(turbo, unet=waits)), [a_frame()])[0].count("__bool__") == 1
    with pytest.raises((RuntimeError, AssertionError)):
        opened(replace(turbo, unet=lambda *inputs: turbo.unet(*inputs) + torch.ones(1, 4, 8, 12))).style(a_frame())
    with pytest.raises(RuntimeError, match="same"):
        opened(replace(turbo, codec=replace(turbo.codec, decode=lambda clean: turbo.codec.decode.vae.decode(clean).sample))).style(
            a_frame()
        )


# Frames


@pytest.mark.parametrize("guidance", ["none", "full", "self", "initialize"])
def test_a_frame_waits_for_its_picture_alone_and_sends_itself_alone(gpu, turbo, opened, guidance):
    stylizer = opened(turbo)
    for steps, together in ((1, 1), (4, 1), (2, 2)):
        stylizer.take(replace(STILL, guidance=guidance, scale=1.5, steps=steps, buffer=together, seed_mix=0.3))
        stylizer.style(a_frame(0))
        for seed in (1, 2):
            waits, uploads = told(gpu, stylizer, [a_frame(seed)])
            assert waits in (([], ONCE) if together > 1 else (ONCE,)) and uploads == [(HEIGHT, WIDTH, 3)]
    assert told(gpu, stylizer, [a_frame(2)] * 4) == ([], [])  # it has settled


@pytest.mark.parametrize("family", ["xl", "lcm", "ancestral", "large"])
def test_other_families_wait_as_rarely(gpu, loaded, opened, family):
    stylizer = opened(loaded(family), replace(STILL, guidance="full", scale=2, steps=2))
    assert told(gpu, stylizer, map(a_frame, range(3))) == (ONCE, [(HEIGHT, WIDTH, 3)])


def test_a_scale_of_guidance_that_is_told_is_made_on_the_device(gpu, turbo, opened):
    denoiser = Denoiser(tiny_diffusion.unet(time_cond_proj_dim=8).half()).eval()
    gpu.hold(denoiser)
    stylizer = opened(replace(turbo, unet=denoiser, distilled_guidance=True), replace(STILL, scale=8))
    stylizer.style(a_frame(0))
    for scale in (8, 7.5):
        stylizer.take(replace(stylizer.controls, scale=scale))
        assert told(gpu, stylizer, [a_frame(1)]) == (ONCE, [(HEIGHT, WIDTH, 3)])
        stylizer.style(a_frame(2))


def test_frames_of_another_size_wait_as_rarely(gpu, turbo, opened):
    stylizer = opened(turbo, replace(STILL, size=64, mix=0.5))
    assert told(gpu, stylizer, [a_frame(seed, 100, 150) for seed in range(2)]) == (ONCE, [(100, 150, 3)])


def test_nothing_but_the_picture_is_waited_for_when_nothing_shall_change(gpu, turbo, opened):
    assert told(gpu, opened(turbo, replace(STILL, strength=0)), map(a_frame, range(2))) == (ONCE, [(HEIGHT, WIDTH, 3)])


def test_noise_that_lies_on_surfaces_is_sent(gpu, turbo, opened):
    stylizer = opened(turbo, noise=CarriedNoise)
    assert told(gpu, stylizer, map(a_deep_frame, range(2))) == (ONCE, [(HEIGHT, WIDTH, 3), (4, 8, 12)])


def test_controls_may_be_turned_without_a_wait(gpu, guided, opened):
    sends = [(HEIGHT, WIDTH, 3), *[(1, 1, HEIGHT, WIDTH)] * 2]
    controls = replace(STILL, guidance="self", scale=1.5, seed_mix=0.3, depth=0.5, edges=0.5)
    stylizer = opened(guided, controls)
    assert told(gpu, stylizer, map(a_deep_frame, range(2))) == (ONCE, sends)
    turned = ({"strength": 0.7}, 2), ({"steps": 2}, 2), ({"seed_mix": 0.4}, 0), ({"seed": 7}, 1), ({"scale": 2.0}, 0), ({"depth": 0.6}, 0)
    for change, more in turned:
        controls = replace(controls, **change)
        stylizer.take(controls)
        waits, uploads = told(gpu, stylizer, [a_deep_frame(2)])
        assert waits in ([], ONCE) and len(uploads) == len(sends) + more  # with two steps the first push gives nothing new


def test_prompts_pass_over_without_a_wait(gpu, guided, opened):
    now = iter(range(100))
    stylizer = opened(guided, replace(STILL, depth=0.5), clock=lambda: next(now))
    stylizer.style(a_deep_frame(0))
    stylizer.take(replace(stylizer.controls, prompt=(Phrase("a fox"), Phrase("snow", 0.5)), transition=9.0))
    assert stylizer._prompts.settle(10)
    before = stylizer._prompts.now()
    assert told(gpu, stylizer, [a_deep_frame(1)]) == (ONCE, [(HEIGHT, WIDTH, 3), (1, 1, HEIGHT, WIDTH)])
    assert stylizer._prompts.now() is not before


# Beside the engine


class Given:
    def style(self, frame):
        return frame.rgb8


@pytest.mark.parametrize("size", [1, 0.5, 2])
def test_an_average_is_waited_for_once(gpu, size):
    with gpu:
        steady = Steady(Given(), device="cuda")
        frames = [drawn(looking((0.1 * place, 0, -4), (0, 0, 1), *sides), CARDS) for place, sides in enumerate([(64, 96)] * 2)]
        frames.append(drawn(looking((0.2, 0, -4), (0, 0, 1), round(64 * size), round(96 * size)), CARDS))
        waits, uploads = told(gpu, steady, frames)
    assert waits == ONCE and len(uploads) == 5  # the picture, the frame, its depth, and two sizes


@pytest.mark.parametrize("kind", [OneByOne, Streamed])
def test_what_is_timed_is_on_the_device(gpu, turbo, kind, monkeypatch):
    monkeypatch.setattr(profiling, "_wait", lambda device: None)
    with gpu:
        asked = Asked(turbo.encode_text("a fox").rows)
        found = profiling.profile(turbo, kind(turbo, asked, 0.5, 2), torch.rand(1, 3, HEIGHT, WIDTH).to("cuda"), 2)
    assert found.picture.shape == (HEIGHT, WIDTH, 3)
