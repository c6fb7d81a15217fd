"""The diffusion stylizer as a whole, on a tiny model: what a frame's picture is, when it comes, and what is not done again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from splatview import Camera, extras
from splatview.frame import Frame
from splatview.stylize import models, prompts, seeds
from splatview.stylize.catalogue import Choice
from splatview.stylize.diffusing import Diffusing, Phrase, followed, suited
from splatview.stylize.diffusion import Around, Diffusion
from splatview.stylize.nature import Nature, nature_of, usual_of
from splatview.stylize.noise import CarriedNoise, HashedNoise
from splatview.stylize.opening import open_diffusion
from splatview.stylize.parts import Encoded
from splatview.stylize.pictures import alike, fitting, floats
from splatview.stylize.prompts import Prompts, Wanted, blended, slerp
from splatview.stylize.similar import Similar

pytestmark = [
    pytest.mark.xdist_group("diffusion"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of diffusers' Euler scheduler, with numpy 2
]

HEIGHT, WIDTH = 64, 96
STILL = Diffusing(size=80, transition=0)  # 80: a frame is drawn as it is, 96 x 64


def a_frame(seed: int = 0, height: int = HEIGHT, width: int = WIDTH, **images) -> Frame:
    camera = Camera.look_at((seed, -3, 1), (0, 0, 0), (0, 0, 1), 0.8, width, height)
    rgb = np.random.default_rng(seed).random((height, width, 3), np.float32)
    return Frame(camera, {"rgb": rgb, **images})


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Several are slow where others work, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tiny_sd):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "dtype_on", lambda device: torch.float32)
        return models.load(Choice(str(tiny_sd("turbo")), device="cpu"))


@pytest.fixture
def calls():
    """How many frames went into the network, by call."""
    return []


@pytest.fixture
def opened(model, calls):
    """Makes stylizers, and closes them."""
    made = []

    def open(controls=STILL, around=None, **changes):
        def counted(latents, timesteps, conditions):
            calls.append(len(latents))
            return model.unet(latents, timesteps, conditions)

        made.append(Diffusion(replace(model, **{"unet": counted, **changes}), controls, around))
        return made[-1]

    yield open
    for one in made:
        one.close()


def close_to(one, other, steps: int = 1) -> bool:
    """Whether bytes differ by at most so many steps: calls of other batches round otherwise."""
    return np.abs(one.astype(int) - other).max() <= steps


# What a picture is


def test_strength_nothing_is_the_way_through_the_autoencoder(model, opened, calls):
    frame = a_frame()
    shown = opened(replace(STILL, strength=0)).style(frame)
    with torch.no_grad():
        expected = model.codec.decode(model.codec.encode(floats(torch.tensor(frame.rgb8).permute(2, 0, 1)[None]))).clamp(0, 1)
    assert np.array_equal(shown, (expected[0].permute(1, 2, 0) * 255).round().byte().numpy()) and not calls


def test_one_step_is_the_image_to_image_of_diffusers(tiny_sd, opened):
    import tiny_diffusion
    from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline

    with tiny_diffusion.quiet():
        parts = StableDiffusionPipeline.from_pretrained(tiny_sd("turbo"), local_files_only=True).components
        theirs = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    theirs.set_progress_bar_config(disable=True)
    frame = a_frame()
    controls = replace(STILL, prompt=(Phrase("a fox in oil"),), seed=3)
    shown = opened(controls).style(frame)
    settings = {"strength": 0.5, "num_inference_steps": 2, "guidance_scale": 0.0, "output_type": "np"}
    expected = theirs(
        "a fox in oil", floats(torch.tensor(frame.rgb8).permute(2, 0, 1)[None]), generator=torch.Generator().manual_seed(3), **settings
    ).images[0]
    assert close_to(shown, expected * 255, 1)


@pytest.mark.parametrize("steps", [2, 4])
@pytest.mark.parametrize("kind", ["none", "full", "self", "initialize"])
def test_a_moving_frame_becomes_what_it_becomes_standing_still(opened, steps, kind):
    controls = replace(STILL, steps=steps, guidance=kind, scale=1.5, negative="grey")
    moving, frames = opened(controls), [a_frame(seed) for seed in range(steps + 2)]
    pictures = [(moving.style(frame), moving.shown) for frame in frames]
    for late, (picture, shown) in enumerate(pictures[steps - 1 :]):
        assert shown is frames[late]
        standing = opened(controls)
        for _ in range(steps):
            still = standing.style(frames[late])
        assert close_to(picture, still) and standing.settled


def test_a_still_view_comes_to_rest_and_then_costs_nothing(opened, calls):
    stylizer = opened(replace(STILL, steps=4))
    for _ in range(3):
        stylizer.style(a_frame(1))
    frame, settled, seen = a_frame(2), [], []
    for _ in range(6):
        seen.append(stylizer.style(frame))
        settled.append(stylizer.settled)
    assert settled == [False, False, False, True, True, True] and stylizer.shown is not None
    assert len(calls) == 3 + 4 and seen[4] is seen[3] is seen[5]
    assert not np.array_equal(seen[0], seen[3])


def test_the_same_view_drawn_again_is_no_work_and_another_pixel_is(opened, calls):
    stylizer = opened()
    frame = a_frame()
    stylizer.style(frame)
    stylizer.style(Frame(a_frame().camera, {"rgb": frame.rgb.copy()}))
    assert len(calls) == 1
    other = frame.rgb.copy()
    other[5, 5] = 1 - other[5, 5]
    stylizer.style(Frame(frame.camera, {"rgb": other}))
    assert len(calls) == 2
    assert not alike(frame, Frame(a_frame(1).camera, {"rgb": frame.rgb})) and not alike(frame, a_frame(depth=frame.rgb[..., 0]))


CHANGES = [
    {"strength": 0.8},
    {"seed": 5},
    {"seed_mix": 0.5},
    {"size": 128},
    {"indices": (20,)},
    {"prompt": (Phrase("a dog"),)},
    {"prompt": (Phrase("a cat"), Phrase("a dog", 0.3))},
    {"guidance": "self", "scale": 3.0},
    {"guidance": "full", "scale": 3.0},
]


@pytest.mark.parametrize("change", CHANGES, ids=[" ".join(change) for change in CHANGES])
def test_a_changed_control_is_seen_on_the_next_frame(opened, calls, change):
    stylizer, frame = opened(), a_frame()
    before = stylizer.style(frame)
    stylizer.take(replace(STILL, **change))
    assert stylizer._prompts.settle(5) and not stylizer.settled
    after = stylizer.style(frame)
    assert len(calls) == 2 and not np.array_equal(before, after) and stylizer.settled
    stylizer.take(STILL)
    stylizer._prompts.settle(5)
    assert close_to(stylizer.style(frame), before, 0)


def test_more_steps_are_taken_up_on_the_way(opened):
    stylizer, frame = opened(), a_frame()
    for steps in (1, 4, 2, 3):
        stylizer.take(replace(STILL, steps=steps))
        for _ in range(steps):
            shown = stylizer.style(frame)
        fresh = opened(replace(STILL, steps=steps))
        for _ in range(steps):
            expected = fresh.style(frame)
        assert close_to(shown, expected)


def test_a_mixture_is_made_of_the_frame_that_is_shown(opened, calls):
    stylizer = opened(replace(STILL, steps=2, mix=0))
    frames = [a_frame(seed) for seed in range(3)]
    shown = [stylizer.style(frame) for frame in frames]
    assert np.array_equal(shown[1], frames[0].rgb8) and np.array_equal(shown[2], frames[1].rgb8)
    stylizer.style(frames[2])
    worked = len(calls)
    stylizer.take(replace(STILL, steps=2))
    assert not stylizer.settled
    styled = stylizer.style(frames[2])
    stylizer.take(replace(STILL, steps=2, mix=0.25))
    assert close_to(stylizer.style(frames[2]), 0.25 * styled + 0.75 * frames[2].rgb8)
    assert len(calls) == worked and stylizer.settled  # of a view that stands still, the mixture alone is made again


def test_a_picture_has_the_size_of_its_frame(opened):
    stylizer = opened(replace(STILL, steps=2, size=64))
    for height, width in ((64, 96), (48, 72), (100, 150), (33, 50)):
        assert stylizer.style(a_frame(height=height, width=width)).shape == (height, width, 3)


@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from([64, 256, 512, 1024]))
def test_pictures_are_drawn_at_about_the_size_in_multiples_of_8(height, width, size):
    high, wide = fitting(height, width, size)
    assert high % 8 == wide % 8 == 0 and min(high, wide) >= 64 and high * wide <= 4 * size**2  # of a line, too
    if size >= 256 and max(height, width) < 4 * min(height, width):
        assert abs(np.log(high * wide / size**2)) < 0.1


# Noise


@pytest.mark.parametrize(("family", "ancestral", "noises"), [("lcm", False, 2), ("turbo", False, 1), ("turbo", True, 2)])
def test_noise_may_come_with_the_frame(opened, family, ancestral, noises):
    asked, kind = [], {"family": family, "ancestral": ancestral}

    def noise(seed):
        def of(frame, shape):
            asked.append((seed, shape))
            return np.asarray(seeds.noise(seed, shape))

        return of

    shape = (4 * noises, 8, 12)
    controls = replace(STILL, steps=2, seed=7, other_seed=8)
    for share, wanted in ((0.0, [(7, shape)]), (0.3, [(7, shape), (8, shape)])):
        asked.clear()
        given_noise, seeded = (opened(replace(controls, seed_mix=share), around, **kind) for around in (Around(noise), None))
        for _ in range(2):
            shown, expected = given_noise.style(a_frame()), seeded.style(a_frame())
        assert asked == wanted and close_to(shown, expected, 0)  # each once a frame


@pytest.mark.parametrize("noise", [None, HashedNoise, CarriedNoise])
def test_a_seed_mixed_with_itself_is_itself(opened, noise):
    pictures = [opened(replace(STILL, seed=7, other_seed=7, seed_mix=share), Around(noise)).style(a_frame()) for share in (0.0, 0.5)]
    assert close_to(*pictures, 0)


def test_noise_that_sticks_to_the_scene_stays_when_another_is_mixed_in(opened):
    made = []

    def noise(seed):
        made.append(seed)
        return CarriedNoise(seed)

    stylizer = opened(replace(STILL, seed=7, other_seed=8), Around(noise))
    for share in (0.0, 0.2, 0.9, 0.9):
        stylizer.take(replace(stylizer.controls, seed_mix=share))
        stylizer.style(a_frame())
    assert made == [7, 8]


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 1])
def test_mixed_noise_is_noise(share):
    shape = (4, 64, 64)
    mixed = seeds.mixed(seeds.noise(0, shape), seeds.noise(1, shape), share)
    assert mixed.std() == pytest.approx(1, abs=0.02) and mixed.mean() == pytest.approx(0, abs=0.03)
    if share in (0, 1):
        assert torch.equal(mixed, seeds.noise(int(share), shape))


# Prompts


def test_slerp_keeps_to_the_arc():
    draw = torch.Generator().manual_seed(0)
    one, other = torch.randn(3, 16, generator=draw), 2 * torch.randn(3, 16, generator=draw)
    assert torch.allclose(slerp(one, other, 0), one, atol=1e-6) and torch.allclose(slerp(one, other, 1), other, atol=1e-5)
    angle = lambda a, b: torch.nn.functional.cosine_similarity(a, b, -1).acos()
    for share in (0.25, 0.5, 0.9):
        there = slerp(one, other, share)
        assert torch.allclose(there.norm(dim=-1), (1 - share) * one.norm(dim=-1) + share * other.norm(dim=-1), rtol=1e-4)
        assert torch.allclose(angle(one, there), share * angle(one, other), atol=1e-3)
        assert torch.allclose(there, slerp(other, one, 1 - share), atol=1e-5)
    assert torch.allclose(slerp(one, 3 * one, 0.5), 2 * one, atol=1e-5)


def test_blends_follow_their_weights():
    rows = [{"tokens": torch.randn(1, 2, 8, generator=torch.Generator().manual_seed(seed))} for seed in range(3)]
    assert blended(rows, [0, 2, 0]) is rows[1]
    assert torch.allclose(blended(rows[:2], [1, 3])["tokens"], slerp(rows[0]["tokens"], rows[1]["tokens"], 0.75))
    same = blended([rows[0]] * 3, [1, 2, 3])["tokens"]
    assert torch.allclose(same, rows[0]["tokens"], atol=1e-6)
    with pytest.raises(ValueError, match="weight over 0"):
        blended(rows, [0, 0, 0])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def asked():
    """Prompts with texts of one number, an encoder that waits while `held`, and a clock."""
    clock, go, encoded = Clock(), threading.Event(), []
    go.set()

    def encode(text: str) -> Encoded:
        assert go.wait(5)
        if text == "broken":
            raise RuntimeError("no memory")
        encoded.append(text)
        return Encoded({"tokens": torch.tensor([[[float(text or 0), 1.0]]])}, "the rest" if text == "9" else "")

    made = Prompts(encode, Wanted((Phrase("0"),)), clock)
    made.clock, made.go, made.encoded = clock, go, encoded
    yield made
    go.set()
    made.close()


def number(made: Prompts) -> float:
    return float(made.now().prompt["tokens"][0, 0, 0])


def test_frames_go_on_while_a_prompt_is_encoded(asked):
    asked.go.clear()
    for text in ("1", "2", "3"):
        asked.ask(Wanted((Phrase(text),)))
    assert number(asked) == 0 and asked.now() is asked.now()
    asked.go.set()
    assert asked.settle(5) and number(asked) == 3
    assert len(asked.encoded) <= 4  # what lies in between is left out


def test_what_two_ask_for_at_once_is_encoded_in_the_order_in_which_it_counts(asked, monkeypatch):
    """Or what is waited for would never be there."""
    put, first = asked._box.put, threading.Event()

    def slow(wanted):
        if not first.is_set():
            first.set()
            time.sleep(0.1)
        put(wanted)

    monkeypatch.setattr(asked._box, "put", slow)
    thread = threading.Thread(target=asked.ask, args=(Wanted((Phrase("1"),)),))
    thread.start()
    assert first.wait(5)
    asked.ask(Wanted((Phrase("2"),)))
    thread.join()
    time.sleep(0.1)
    assert asked.settle(5) and number(asked) == 2 and not asked.pending


def test_prompts_pass_over_in_their_time(asked):
    asked.ask(Wanted((Phrase("1"),), seconds=2))
    asked.settle(5)
    seen = []
    for asked.clock.now in (0, 0.5, 1, 1.5, 2, 3):
        seen.append(number(asked))
    assert seen[0] == 0 and seen[-2:] == [1, 1] and seen == sorted(seen) and len(set(seen)) == 5
    assert asked.now() is asked.now()


def test_a_new_prompt_begins_where_the_last_one_was(asked):
    asked.ask(Wanted((Phrase("1"),), seconds=2))
    asked.settle(5)
    asked.clock.now = 1
    halfway = number(asked)
    asked.ask(Wanted((Phrase("5"),), seconds=2))
    asked.settle(5)
    assert number(asked) == pytest.approx(halfway)
    asked.clock.now = 3
    assert number(asked) == 5


def test_what_goes_wrong_with_a_prompt_is_told_and_the_old_one_stays(asked):
    asked.ask(Wanted((Phrase("broken"),)))
    assert asked.settle(5) and number(asked) == 0 and "no memory" in asked.note
    asked.ask(Wanted((Phrase("9"),)))
    assert asked.settle(5) and number(asked) == 9 and "the rest" in asked.note
    asked.ask(Wanted((), negative="4"))
    assert asked.settle(5) and number(asked) == 0 and asked.note == "" and asked.now().negative["tokens"][0, 0, 0] == 4


def test_texts_are_encoded_once_and_not_kept_for_ever(asked, monkeypatch):
    monkeypatch.setattr(prompts, "KEPT", 4)
    for text in "1212":
        asked.ask(Wanted((Phrase(text),)))
        asked.settle(5)
    assert asked.encoded.count("1") == asked.encoded.count("2") == 1
    for text in "345678":
        asked.ask(Wanted((Phrase(text),)))
        asked.settle(5)
    assert len(asked._texts) == 4


# Frames from outside


def test_similar_frames_are_left_out_now_and_then():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (60, 80, 3), np.uint8)
    noisy = lambda: np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
    similar = Similar(0.98, most=5, seed=1)
    skips = [similar.skips(noisy()) for _ in range(200)]
    assert not skips[0] and 0.6 < np.mean(skips) <= 5 / 6
    runs = "".join("x" if skip else "." for skip in skips).split(".")
    assert max(map(len, runs)) == 5
    assert not similar.skips(255 - picture) and not Similar().skips(picture)
    same = Similar(0.98, most=3, seed=1)
    assert [same.skips(picture) for _ in range(8)] == [False, True, True, True] * 2
    for threshold, most in ((1, 1), (-1, 1), (0.5, 0)):
        with pytest.raises(ValueError, match="threshold"):
            Similar(threshold, most)


def test_a_frame_that_is_left_out_costs_nothing_unless_a_control_changed(opened, calls):
    stylizer = opened(STILL, Around(similar=Similar(0.5, most=100, seed=0)))
    pictures = [Frame(a_frame().camera, {"rgb8": np.clip(a_frame().rgb8 + np.uint8(k % 2), 0, 255)}) for k in range(10)]
    shown = [stylizer.style(frame) for frame in pictures]
    assert 1 <= len(calls) < 4 and shown[1] is shown[0]
    before = len(calls)
    stylizer.take(replace(STILL, seed=4))
    stylizer.style(pictures[0])
    assert len(calls) == before + 1


# Controls


@pytest.mark.parametrize(
    "wrong",
    [
        {"strength": 1.1},
        {"steps": 0},
        {"guidance": "much"},
        {"prompt": (Phrase("a", -1),)},
        {"seed": -1},
        {"indices": (5, 3)},
        {"mix": np.nan},
    ],
)
def test_what_no_control_can_be_is_said(wrong):
    with pytest.raises(ValueError, match="expected"):
        Diffusing(**wrong)


def test_a_model_begins_with_what_suits_it():
    assert suited("turbo").steps == 1 and suited("turbo").guidance == "none" and suited("lcm").steps > 1
    assert suited("lcm", distilled_guidance=True).scale > 3
    assert Diffusing(steps=2.0) == Diffusing(steps=2) and Diffusing(depth=0).hints() == {}


@pytest.mark.parametrize(("family", "expected"), [("turbo", suited("turbo")), ("lcm", suited("lcm")), ("plain", suited("lcm"))])
def test_what_suits_a_model_is_told_before_it_is_loaded(tiny_sd, family, expected):
    assert usual_of(str(tiny_sd(family))) == expected
    if family != "plain":  # it needs a LoRA first
        stylizer = open_diffusion(Choice(str(tiny_sd(family)), device="cpu"))
        assert stylizer.controls == stylizer.usual == expected
        stylizer.close()


def test_a_model_that_is_told_its_guidance_is_known_by_its_settings(tiny_sd, tmp_path):
    folder = shutil.copytree(tiny_sd("lcm"), tmp_path / "told")
    settings = json.loads((folder / "unet" / "config.json").read_text()) | {"time_cond_proj_dim": 8}
    (folder / "unet" / "config.json").write_text(json.dumps(settings))
    assert nature_of(folder) == Nature("lcm", True) and usual_of(str(folder)).scale == 8
    assert usual_of(str(tmp_path / "none")) == Diffusing()


def test_numbers_follow_the_model_unless_people_chose_them():
    turbo, lcm = suited("turbo"), suited("lcm")
    mine = replace(turbo, strength=0.8, seed=3)
    assert followed(mine, turbo, lcm) == replace(lcm, strength=0.8, seed=3)
    assert followed(followed(mine, turbo, lcm), lcm, turbo) == mine
    assert followed(replace(turbo, steps=4), turbo, lcm) == replace(lcm, steps=4)


def test_opening_one_loads_its_model_or_says_what_is_missing(tiny_sd, monkeypatch):
    stylizer = open_diffusion(Choice(str(tiny_sd("turbo")), device="cpu"))
    assert stylizer.style(a_frame()).shape == (HEIGHT, WIDTH, 3) and stylizer.note == ""
    stylizer.close()
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "diffusers" else True)
    with pytest.raises(extras.MissingExtra, match=r"needs diffusers: pip install 'splatview\[stylize\]'"):
        open_diffusion(Choice(str(tiny_sd("turbo"))))


def test_controls_and_the_door_need_no_torch():
    code = "import sys; from splatview.stylize import diffusing, opening, similar; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
