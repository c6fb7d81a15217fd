"""Models from disk: tiny ones by the real path, held to the pipelines of diffusers, and what is said of those that do not do."""

from __future__ import annotations

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tiny_diffusion
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from splatview.stylize import hub, models, tiny_autoencoder, weights
from splatview.stylize.catalogue import KNOWN, Choice
from splatview.stylize.denoise import Asked, Entering, StreamBatch
from splatview.stylize.diffusing import Phrase
from splatview.stylize.guidance import Guidance
from splatview.stylize.networks import waves
from splatview.stylize.parts import Encoded
from splatview.stylize.prompts import Prompts, Wanted
from splatview.stylize.schedule import timesteps

pytestmark = [
    pytest.mark.xdist_group("diffusion"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of diffusers' Euler scheduler, with numpy 2
]


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """float32 on every machine."""
    monkeypatch.setattr(models, "dtype_on", lambda device: torch.float32)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty folder of models."""
    monkeypatch.setenv("SPLATVIEW_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def load(folder, **more):
    return models.load(Choice(str(folder), device="cpu", **more))


def picture(seed: int = 0, height: int = 64, width: int = 48) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


# What is loaded


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("count", "strength"), [(1, 1.0), (2, 0.5), (4, 0.25), (10, 0.1)])
def test_one_step_of_turbo_is_the_image_to_image_of_diffusers(copied, count, strength, prediction):
    from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline

    change(copied / "scheduler" / "scheduler_config.json", prediction_type=prediction)
    with tiny_diffusion.quiet():
        pipeline = StableDiffusionPipeline.from_pretrained(copied, local_files_only=True)
        theirs = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    theirs.set_progress_bar_config(disable=True)
    image, draw = picture(), lambda: torch.Generator().manual_seed(3)
    settings = {"strength": strength, "num_inference_steps": count, "guidance_scale": 0.0, "generator": draw(), "output_type": "pt"}
    expected = theirs("a fox in oil", image, **settings).images

    model = load(copied)
    assert model.prediction == prediction
    clean = model.codec.encode(image)
    entering = Entering(clean, torch.randn(clean.shape, generator=draw())[None])
    at = model.levels(timesteps(model.family, strength, 1))
    arrived = StreamBatch(model.unet, model.prediction).push(entering, at, Asked(model.encode_text("a fox in oil").rows))
    assert torch.allclose(model.codec.decode(arrived.clean).clamp(0, 1), expected, atol=2e-6)


@pytest.mark.parametrize("family", ["turbo", "ancestral"])
@pytest.mark.parametrize(("count", "strength"), [(2, 1.0), (4, 1.0), (4, 0.5), (10, 0.4)])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_several_steps_of_turbo_are_the_image_to_image_of_diffusers(tiny_sd, family, count, strength, guidance):
    """Of a frame by itself, and of the same frame in a stream of others."""
    from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline

    with tiny_diffusion.quiet():
        pipeline = StableDiffusionPipeline.from_pretrained(tiny_sd(family), local_files_only=True)
        theirs = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    theirs.set_progress_bar_config(disable=True)
    image, draw, steps = picture(), torch.Generator().manual_seed(3), round(count * strength)
    settings = {"strength": strength, "num_inference_steps": count, "guidance_scale": guidance, "negative_prompt": "grey"}
    expected = theirs("a fox in oil", image, generator=torch.Generator().manual_seed(3), output_type="latent", **settings).images

    model = load(tiny_sd(family))
    assert model.family == "turbo" and model.ancestral == (family == "ancestral")
    asked = Asked(model.encode_text("a fox in oil").rows, model.unwanted("grey").rows, Guidance("full", guidance))
    at = model.levels(timesteps(model.family, strength, steps))
    assert at.noises == (steps if model.ancestral else 1)
    clean = model.codec.encode(image)
    noise = torch.stack([torch.randn(clean.shape, generator=draw) for _ in range(at.noises)])
    stream, entering = StreamBatch(model.unet, model.prediction), Entering(clean, noise)
    others = [Entering(model.codec.encode(picture(seed)), noise.flip(1)) for seed in range(1, 2 * steps)]
    found = [stream.push(one, at, asked).clean for one in [*others[:steps], entering, *others[steps:]]]
    units = float(expected.max() - expected.min())
    for mine in (found[2 * steps - 1], stream.alone(entering, at, asked).clean):
        assert (mine - expected * theirs.vae.config.scaling_factor).abs().max() <= 1e-5 * units


def test_sdxl_is_told_what_diffusers_tells_it(tiny_sd):
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    with tiny_diffusion.quiet():
        pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_sd("xl"), local_files_only=True)
        theirs = StableDiffusionXLImg2ImgPipeline(**pipeline.components, add_watermarker=False)
    theirs.set_progress_bar_config(disable=True)
    image, draw = picture(height=64, width=64), lambda: torch.Generator().manual_seed(3)
    settings = {"strength": 0.5, "num_inference_steps": 2, "guidance_scale": 0.0, "generator": draw(), "output_type": "pt"}
    expected = theirs("a fox in oil", image=image, **settings).images

    model = load(tiny_sd("xl"))
    clean = model.codec.encode(image)
    entering = Entering(clean, torch.randn(clean.shape, generator=draw())[None])
    at = model.levels(timesteps(model.family, 0.5, 1))
    arrived = StreamBatch(model.unet, model.prediction).push(entering, at, Asked(model.encode_text("a fox in oil").rows))
    assert torch.allclose(model.codec.decode(arrived.clean).clamp(0, 1), expected, atol=2e-6)


@pytest.mark.parametrize("zeros", [True, False])
def test_no_negative_prompt_of_sdxl_is_what_it_is_for_diffusers(tiny_sd, tmp_path, zeros):
    from diffusers import StableDiffusionXLPipeline

    folder = Path(shutil.copytree(tiny_sd("xl"), tmp_path / "xl"))
    change(folder / "model_index.json", force_zeros_for_empty_prompt=zeros)
    with tiny_diffusion.quiet():
        theirs = StableDiffusionXLPipeline.from_pretrained(folder, local_files_only=True)
    model = load(folder)
    for negative in ("", "grey"):
        tokens, unwanted, pooled, pooled_unwanted = theirs.encode_prompt("a fox", negative_prompt=negative or None)
        told = Prompts(model.encode_text, Wanted((Phrase("a fox"),), negative), unwanted=model.unwanted)
        mine = told.now()
        told.close()
        assert torch.allclose(mine.prompt["tokens"], tokens, atol=1e-6) and torch.allclose(mine.prompt["pooled"], pooled, atol=1e-6)
        assert torch.allclose(mine.negative["tokens"], unwanted, atol=1e-6)
        assert torch.allclose(mine.negative["pooled"], pooled_unwanted, atol=1e-6)
        assert mine.negative["tokens"].any() == mine.negative["pooled"].any() == (bool(negative) or not zeros)
    assert model.encode_text("").rows["tokens"].any()  # asked for, nothing is a text as any other
    assert not load(tiny_sd("turbo")).nothing_is_zeros


def test_a_negative_prompt_of_nothing_passes_over_into_another():
    rows = lambda text: Encoded({"tokens": torch.full((1, 2, 3), float(len(text)))})
    clock = lambda: clock.now
    clock.now = 0.0
    prompts = Prompts(rows, Wanted((), ""), clock, lambda text: rows(text) if text else Encoded({"tokens": torch.zeros(1, 2, 3)}))
    prompts.ask(Wanted((), "four", seconds=2))
    assert prompts.settle(5)
    seen = []
    for clock.now in (0.0, 0.5, 1.0, 1.5, 2.0):
        seen.append(float(prompts.now().negative["tokens"].mean()))
    prompts.close()
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] == 4 and len(set(seen)) == 5


def test_a_distilled_scale_of_guidance_is_told_as_diffusers_tells_it():
    from diffusers import LatentConsistencyModelImg2ImgPipeline

    scales = torch.tensor([1.0, 7.5])
    for count in (16, 7):
        theirs = LatentConsistencyModelImg2ImgPipeline.get_guidance_scale_embedding(None, scales, count)
        assert torch.allclose(waves(scales, count), theirs, atol=2e-3)  # sines of thousands, in float32
    network = tiny_diffusion.unet(time_cond_proj_dim=16)
    x, told = torch.randn(2, 4, 8, 8), {"tokens": torch.randn(2, 5, 16), "guidance": torch.tensor([1.0, 8.0])}
    denoiser = models.Denoiser(network)
    with torch.no_grad():
        mine, theirs = (
            denoiser(x, torch.tensor([9, 9]), told),
            network(x, torch.tensor([9, 9]), told["tokens"], timestep_cond=waves(told["guidance"] - 1, 16)),
        )
    assert torch.equal(mine, theirs.sample)


def test_texts_are_encoded_whole_or_what_is_lost_is_told(tiny_sd):
    model = load(tiny_sd("turbo"))
    assert model.encode_text("a fox").rows["tokens"].shape == (1, 77, 16) and model.encode_text("a fox").lost == ""
    assert model.encode_text(("a" * 75) + " end").lost == "end"
    assert torch.equal(model.encode_text("A  FOX").rows["tokens"], model.encode_text("a fox").rows["tokens"])


def test_several_threads_may_have_texts_encoded_at_once(tiny_sd, monkeypatch):
    """Tokenizers remember how they were asked to cut and to fill up."""
    encode, at_once = load(tiny_sd("turbo")).encode_text, []

    def tokenize(self, text, **how):
        at_once.append(threading.get_ident())
        time.sleep(0.01)
        assert set(at_once) == {threading.get_ident()}, "another thread's settings"
        found = call(self, text, **how)
        at_once.pop()
        return found

    call = type(encode.tokenizers[0]).__call__
    texts = [f"{'abc ' * (30 * number)}{number}" for number in range(4)]
    expected = [encode(text) for text in texts]
    monkeypatch.setattr(type(encode.tokenizers[0]), "__call__", tokenize)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(encode, texts))
    for one, other in zip(found, expected, strict=True):
        assert one.lost == other.lost and torch.equal(one.rows["tokens"], other.rows["tokens"])


def test_tokens_are_those_of_clip(data, tmp_path):
    from transformers import CLIPTokenizer

    for mine, theirs in (("vocab.json", "sd1_tokenizer_vocab.json"), ("merges.txt", "sd1_tokenizer_merges.txt")):
        shutil.copy(data / "text" / theirs, tmp_path / mine)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path, model_max_length=77, pad_token="<|endoftext|>")
    assert len(tokenizer) == 49408
    expected = [49406, 320, 1125, 539, 550, 18376, 6765, 267, 279, 330, 256, 49407]
    ids = tokenizer("A photo of an Astronaut riding, 8k!", padding="max_length", max_length=77).input_ids
    assert ids == expected + [49407] * (77 - len(expected))


def test_the_large_autoencoder_does_where_there_is_no_small_one(tiny_sd, home):
    model = load(tiny_sd("large"))
    assert "splatview models --fetch taesd" in model.notes[0]
    vae = model.codec.encode.vae
    with torch.no_grad():
        expected = vae.encode(2 * picture() - 1).latent_dist.mode() * vae.config.scaling_factor
        assert torch.allclose(model.codec.encode(picture()), expected, atol=1e-6)
        assert torch.allclose(model.codec.decode(expected), (vae.decode(expected / vae.config.scaling_factor).sample + 1) / 2, atol=1e-6)
    tiny_diffusion.vae().save_pretrained(home / KNOWN["taesd"].repo)
    assert not load(tiny_sd("large")).notes


def test_a_plain_model_is_made_quick_by_a_lora_that_is_fused(tiny_sd, home):
    """Files as the training tools write them: names with underscores; the weights are W + alpha / rank * up @ down."""
    with pytest.raises(hub.NotHere, match="splatview models --fetch lcm-lora"):
        load(tiny_sd("plain"))
    before = models._part(models.UNet2DConditionModel, tiny_sd("plain") / "unet", torch.float32).state_dict()
    names = [name.removesuffix(".weight") for name in before if name.endswith(("to_q.weight", "conv1.weight"))]
    state, expected = {}, dict(before)
    for place, name in enumerate(names):
        draw = torch.Generator().manual_seed(place)
        weight = before[f"{name}.weight"]
        down = torch.randn(2, *weight.shape[1:], generator=draw) / 10
        up = torch.randn(weight.shape[0], 2, *([1, 1] if weight.ndim == 4 else []), generator=draw)
        key = f"lora_unet_{name.replace('.', '_')}"
        state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(1.0)}
        expected[f"{name}.weight"] = weight + 0.5 * torch.einsum("or,r...->o...", up.view(len(up), 2), down)
    folder = home / KNOWN["lcm-lora"].repo
    folder.mkdir(parents=True)
    save_file(state, folder / weights.LORA)

    model = load(tiny_sd("plain"))
    assert model.family == "lcm"
    fused = model.unet.network.state_dict()
    assert set(fused) == set(expected) and len(names) > 4
    assert all(torch.allclose(fused[name], expected[name], atol=1e-6) for name in expected)
    assert load(tiny_sd("plain"), loras=((str(folder / weights.LORA), 1.0),)).family == "lcm"  # by its file


# Small autoencoders


def test_taesd_files_are_read_as_diffusers_reads_taesd(tmp_path):
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    theirs = AutoencoderTiny().eval()
    halves = {
        "encoder": (theirs.encoder.layers, 0),
        "decoder": (theirs.decoder.layers, 1),
    }  # of the published decoder, the first layer bends
    for name, (layers, shift) in halves.items():
        numbered = {f"{int(key.split('.')[0]) + shift}.{key.split('.', 1)[1]}": value for key, value in layers.state_dict().items()}
        torch.save(numbered, tmp_path / f"taesd_{name}.pth")
    codec = models.load_codec(tmp_path)
    assert codec.channels == 4 and codec.name == "taesd"
    with torch.no_grad():
        latents = theirs.encode(2 * picture() - 1).latents
        assert torch.allclose(codec.encode(picture()), latents, atol=1e-5)
        assert torch.allclose(2 * codec.decode(latents) - 1, theirs.decode(latents).sample, atol=1e-5)


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(-10 * torch.log10((one - other).square().mean()))


def through(codec, pixels: np.ndarray) -> float:
    image = torch.tensor(pixels).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        return psnr(codec.decode(codec.encode(image)).clamp(0, 1), image)


def test_real_weights_keep_a_portrait_and_a_rendered_frame(data):
    from splatview import load as load_scene
    from splatview import open_renderer
    from splatview.framing import frame_scene

    codec = tiny_autoencoder.load(data / "weights" / "taef2_encoder.pth", data / "weights" / "taef2_decoder.pth")
    with Image.open(data / "face" / "astronaut.png") as portrait:
        assert through(codec, np.asarray(portrait.convert("RGB"))) >= 31
    scene = load_scene(Path(__file__).parents[1] / "scenes" / "led_stage.spz")
    camera = frame_scene(scene).camera(512, 288)
    assert through(codec, open_renderer("cpu").render(scene, camera).rgb8) >= 30


def test_what_is_no_small_autoencoder_is_said(tmp_path, tiny_sd):
    good, bad = tmp_path / "a_encoder.pth", tmp_path / "a_decoder.pth"
    torch.save(tiny_autoencoder.encoder_layers(4).state_dict(), good)
    for content, message in (
        (b"nothing", "weights of a small"),
        ({"a": 1}, "weights of a small"),
        ({"0.weight": torch.ones(2)}, "numbered"),
    ):
        bad.write_bytes(content) if isinstance(content, bytes) else torch.save(content, bad)
        with pytest.raises(ValueError, match=message):
            models.load_codec(tmp_path)
    torch.save(tiny_autoencoder.decoder_layers(8).state_dict(), bad)
    with pytest.raises(ValueError, match="decoder of 4 channels"):
        models.load_codec(tmp_path)
    state = tiny_autoencoder.decoder_layers(4).state_dict()
    torch.save({name: value for name, value in state.items() if not name.startswith("8.")}, bad)
    with pytest.raises(ValueError, match="the layers of a small autoencoder"):
        models.load_codec(tmp_path)
    torch.save(tiny_autoencoder.encoder_layers(8).state_dict(), good)
    torch.save(tiny_autoencoder.decoder_layers(8).state_dict(), bad)
    with pytest.raises(ValueError, match="takes 4 channels, the autoencoder a has 8"):
        load(tiny_sd("turbo"), vae=str(tmp_path))


# What is said of models that do not do


@pytest.fixture
def copied(tiny_sd, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_sd("turbo"), tmp_path / "copy"))


def change(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def thin(path: Path) -> None:
    save_file({name: value for name, value in load_file(path).items() if name != "conv_in.bias"}, path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), "pipeline; expected model_index.json"),
        (lambda folder: (folder / "unet" / "config.json").write_text("{"), "unet/config.json: Expecting"),
        (lambda folder: (folder / "scheduler" / "scheduler_config.json").write_text("[]"), "expected settings by name, got \\[\\]"),
        (lambda folder: (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink(), "unet: no weights as safetensors"),
        (lambda folder: (folder / "tokenizer" / "tokenizer.json").unlink(), "tokenizer: expected tokenizer.json"),
        (lambda folder: (folder / "scheduler" / "scheduler_config.json").unlink(), "scheduler: no scheduler_config.json"),
        (lambda folder: change(folder / "text_encoder" / "config.json", vocab_size=600), "text_encoder: its weights do not fit"),
        (lambda folder: change(folder / "scheduler" / "scheduler_config.json", prediction_type="sample"), "epsilon or v_prediction"),
        (lambda folder: change(folder / "unet" / "config.json", layers_per_block=2), "unet: its weights do not fit"),
        (lambda folder: thin(folder / "unet" / "diffusion_pytorch_model.safetensors"), "unet: its weights lack 1 tensors, conv_in.bias"),
    ],
)
def test_a_broken_model_is_refused_in_one_line(copied, spoil, message):
    spoil(copied)
    with pytest.raises(ValueError, match=message) as error:
        load(copied)
    assert "\n" not in str(error.value) and str(copied) in str(error.value)


def test_weights_that_are_cut_off_are_found_without_loading_them(copied):
    path = copied / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.look_through(copied)
    assert whole.kind == "pipeline" and not whole.problems and whole.types == ("F32",)
    network = tiny_diffusion.unet()
    assert whole.numbers > sum(value.numel() for value in network.state_dict().values())
    data = path.read_bytes()
    length = 8 + int.from_bytes(data[:8], "little")
    for content in (data[:-1], data + b"0", data[:100], b"", b"\xff" * 9, data[:8] + b"[" * (length - 8) + data[length:]):
        path.write_bytes(content)
        assert any("safetensors" in problem for problem in weights.look_through(copied).problems)


def test_a_tokenizer_that_is_read_wrongly_is_refused(copied):
    """The library takes a vocabulary under a wrong name, says nothing, and knows two words."""
    from transformers import CLIPTokenizer

    CLIPTokenizer(vocab_file="anything", merges_file="anything").save_pretrained(copied / "tokenizer")
    with pytest.raises(ValueError, match="its tokenizer has"):
        load(copied)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said_in_a_line(tiny_sd):
    with pytest.raises(ValueError, match=r"the device cuda: PyTorch .* finds no GPU") as error:
        models.load(Choice(str(tiny_sd("turbo")), device="cuda"))
    assert "\n" not in str(error.value)


def test_a_device_that_has_no_room_is_said_in_a_line(tiny_sd, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB")

    monkeypatch.setattr(models, "_placed", full)
    with pytest.raises(ValueError, match=r"turbo.*: CUDA out of memory\. Tried to allocate"):
        load(tiny_sd("turbo"))


def test_a_controlnet_needs_to_be_told_what_it_is_shown(tiny_sd):
    with pytest.raises(ValueError, match="HINT=MODEL"):
        load(tiny_sd("turbo"), controlnets=("mine",))
    with pytest.raises(ValueError, match="a HINT of depth or edges"):
        load(tiny_sd("turbo"), controlnets=("colour=mine",))
