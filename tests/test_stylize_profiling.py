"""What `bench --models` measures: ways to take steps that agree with one another and with diffusers, and models of true sizes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import small_fields
import tiny_diffusion
import torch
from safetensors.torch import save_file

import splatview
from splatview.cli import main, modelling, shares
from splatview.cli.sizes import Size
from splatview.scene import Layer, Scene
from splatview.stylize import models, untrained, weights
from splatview.stylize.catalogue import KNOWN, Choice
from splatview.stylize.denoise import Asked
from splatview.stylize.profiling import OneByOne, Streamed, profile
from splatview.stylize.sampling import ManySteps

pytestmark = [
    pytest.mark.xdist_group("diffusion"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of diffusers' Euler scheduler, with numpy 2
]


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """float32 on every machine, and one thread: several are slow where others work, too."""
    monkeypatch.setattr(models, "dtype_on", lambda device: torch.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def picture(height: int = 64, width: int = 48) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("prediction", "guidance"), [("epsilon", 7.5), ("v_prediction", 3.0)])
def test_many_steps_are_the_image_to_image_of_diffusers(tiny_sd, prediction, guidance):
    from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline

    with tiny_diffusion.quiet():
        parts = StableDiffusionPipeline.from_pretrained(tiny_sd("plain"), local_files_only=True).components
        settings = {
            "timestep_spacing": "trailing",
            "set_alpha_to_one": True,
            "clip_sample": False,
            "prediction_type": prediction,
            "steps_offset": 1,
        }
        scheduler = DDIMScheduler(**tiny_diffusion.NOISE, **settings)
        theirs = StableDiffusionImg2ImgPipeline(**{**parts, "scheduler": scheduler}, requires_safety_checker=False)
    theirs.set_progress_bar_config(disable=True)
    asked = {"strength": 0.5, "num_inference_steps": 20, "guidance_scale": guidance, "output_type": "pt", "negative_prompt": "grey"}
    expected = theirs("a fox", picture(), generator=torch.Generator().manual_seed(3), **asked).images

    model = replace(models.load(Choice(str(tiny_sd("plain")), device="cpu", plain=True)), prediction=prediction)
    counted = []
    told = [model.encode_text(text).rows for text in ("a fox", "grey")]
    way = ManySteps(model, *told, guidance, strength=0.5, steps=10, tell=counted.append)
    clean = model.codec.encode(picture())
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))[None]
    with torch.no_grad():
        found = model.codec.decode(way(clean, noise)).clamp(0, 1)
    assert torch.allclose(found, expected, atol=2e-5) and counted == list(range(1, 11)) and way.calls == 10


def test_steps_one_by_one_and_in_a_stream_make_the_same_picture(tiny_sd):
    model = models.load(Choice(str(tiny_sd("lcm")), device="cpu"))
    asked = Asked(model.encode_text("a fox").rows)
    one, other = (kind(model, asked, 0.5, 4) for kind in (OneByOne, Streamed))
    assert (one.calls, one.late, other.calls, other.late) == (4, 1, 1, 4)
    found = [profile(model, way, picture(), way.late).picture.astype(int) for way in (one, other)]
    assert np.abs(found[0] - found[1]).max() <= 1 and found[0].std() > 5
    early = profile(model, Streamed(model, asked, 0.5, 4), picture(), 1).picture
    assert np.abs(found[0] - early).max() > 5


# Models of true sizes


def test_shapes_have_as_many_numbers_as_the_models_that_are_published():
    counts = {name: [sum(value.numel() for value in one.parameters()) for one in untrained.networks(shape)] for name, shape in SHAPES}
    assert counts == {"sd15": [859_520_964, 123_060_480, 2_445_063], "sd-turbo": [865_910_724, 340_387_840, 2_445_063]}


SHAPES = list(untrained.SHAPES.items())
TINY = untrained.Shape(
    "tiny",
    "lcm",
    dict(tiny_diffusion.unet().config) | {"cross_attention_dim": 16},
    {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
)


def test_random_weights_are_whole_and_keep_numbers_as_large_as_they_are():
    model = untrained.untrained(TINY, "cpu")
    encoder = untrained.networks(TINY)[1]
    text = type(encoder)(encoder.config).eval()
    filled = untrained.filled(encoder, torch.device("cpu"), torch.float32)
    text.load_state_dict(filled.state_dict())
    with torch.no_grad():
        tokens = text(torch.arange(77)[None])[0]
        assert torch.equal(model.encode_text("whatever").rows["tokens"], tokens)
        clean = model.codec.encode(picture())
        predicted = model.unet(clean, torch.tensor([500]), {"tokens": tokens})
        assert model.codec.decode(predicted).isfinite().all() and clean.shape == (1, 4, 8, 6)
    assert 0.01 < float(predicted.std()) < 100 and 0.5 < float(tokens.std()) < 2
    assert model.table[0] == pytest.approx(1 - 0.00085) and model.table[-1] == pytest.approx(0.0047, abs=1e-4)
    assert not any(value.is_meta for value in (*model.unet.parameters(), *model.unet.buffers()))


# The command


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder of models."""
    monkeypatch.setenv("SPLATVIEW_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def scene(tmp_path, random_gaussians):
    splatview.save(Scene({"cloud": Layer(random_gaussians(300))}), tmp_path / "cloud.ply")
    return str(tmp_path / "cloud.ply")


def measured(capsys, tmp_path, *words):
    """The rows by name, what was printed, and what was said beside it."""
    assert (
        main(["bench", "--models", *words, "--frames", "1", "--size", "64x64", "--backend", "cpu", "--json", str(tmp_path / "x.json")]) == 0
    )
    told = capsys.readouterr()
    return {row["what"]: row for row in json.loads((tmp_path / "x.json").read_text())["rows"]}, told.out, told.err


def test_models_that_are_not_here_are_named_with_what_fetches_them(home, scene, capsys, tmp_path):
    rows, printed, _ = measured(capsys, tmp_path, scene)
    assert list(rows) == ["SD 1.5, 50 steps", "LCM, 4 steps", "LCM, 4 steps, stream batch", "SD-Turbo, 1 step", "splats", "hash grid"]
    for what, fetched in (("SD 1.5, 50 steps", "sd15-lcm"), ("LCM, 4 steps, stream batch", "sd15-lcm"), ("SD-Turbo, 1 step", "sd-turbo")):
        assert rows[what]["note"] == f"not here: splatview models --fetch {fetched}" and rows[what]["frame_ms"] is None
    assert printed.count("splatview models --fetch sd15-lcm") == 3
    assert rows["splats"]["frame_ms"] > 0 and rows["splats"]["size"] == "1920x1080" and "blend" in rows["splats"]["stages_ms"]
    assert rows["hash grid"]["note"] == "the scene has none"


def test_models_that_are_here_are_held_against_many_steps(home, scene, tiny_sd, capsys, tmp_path, monkeypatch):
    assert str(modelling.FIELD) == "800x800"
    monkeypatch.setattr(modelling, "FIELD", Size(80, 80))
    for name, family in (("sd15-lcm", "plain"), ("sd-turbo", "turbo")):
        shutil.copytree(tiny_sd(family), home / KNOWN[name].repo)
    lora = home / KNOWN["lcm-lora"].repo
    lora.mkdir(parents=True)
    key = "lora_unet_conv_in"
    pair = {f"{key}.lora_down.weight": torch.zeros(1, 4, 3, 3), f"{key}.lora_up.weight": torch.zeros(16, 1, 1, 1)}
    save_file({**pair, f"{key}.alpha": torch.tensor(1.0)}, lora / weights.LORA)
    field = tmp_path / "field.ingp"
    splatview.save(Scene({"field": Layer(small_fields.ball())}), field)
    rows, printed, _ = measured(capsys, tmp_path, scene, str(field))
    models_rows = list(rows.values())[:4]
    assert all(row["size"] == "64x64" and list(row["stages_ms"]) == ["encode", "noise", "denoise", "decode"] for row in models_rows)
    assert [row["calls"] for row in models_rows] == [50, 4, 1, 1] and all(row["text_ms"] > 0 for row in models_rows)
    for row in models_rows:
        late = 4 if "stream" in row["what"] else 1
        assert row["latency_ms"] == pytest.approx(late * row["frame_ms"])
        assert sum(row["stages_ms"].values()) == pytest.approx(row["frame_ms"], rel=0.5)
    quality = [row["psnr"] for row in rows.values()]
    assert [value is not None for value in quality] == [False, True, True, False, False, False]
    assert quality[1] == pytest.approx(quality[2], abs=0.5) and f"{quality[1]:.1f} dB" in printed and "SSIM: to 50 steps" in printed
    assert rows["hash grid"]["size"] == "80x80" and rows["hash grid"]["frame_ms"] > 0


def test_random_weights_are_measured_where_no_model_is(home, scene, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(untrained, "SHAPES", {"sd15": TINY, "sd-turbo": replace(TINY, family="turbo")})
    rows, printed, said = measured(capsys, tmp_path, scene, "--random-weights")
    assert said.count("\n") == 1 and "random weights: speeds are those of the real models" in said
    assert all(row["frame_ms"] > 0 for what, row in rows.items() if what != "hash grid")
    assert all(row["psnr"] is None for row in rows.values()) and "denoise 50 x" in printed and "SSIM" not in printed


def test_a_bar_has_as_much_of_a_stage_as_that_takes_of_the_time():
    rng = np.random.default_rng(0)
    for count in (1, 2, 4):
        spent = {str(number): float(value) for number, value in enumerate(rng.exponential(size=count) ** 2)}
        looks = {name: (chr(65 + place), "") for place, name in enumerate(spent)}
        drawn = shares.bar(spent, looks).plain
        assert len(drawn) == shares.BAR and list(drawn) == sorted(drawn, key=lambda letter: -spent[str(ord(letter) - 65)])
        for name, value in spent.items():
            assert drawn.count(looks[name][0]) == pytest.approx(shares.BAR * value / sum(spent.values()), abs=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--models", "--stylize"], "expected one of them"),
        (["--random-weights"], "expected --models, too"),
        (["--models", "--size", "100x100"], "--size: expected multiples of 8"),
        (["--models", "--frames", "0"], "--frames: expected 1 or more"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(capsys, words, message):
    assert main(["bench", *words]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
