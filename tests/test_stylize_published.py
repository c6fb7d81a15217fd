"""The models of the catalogue as they are published, in miniature: which of their files are fetched, and that they load and work."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import published
import pytest
import tiny_hub
import torch
from safetensors.torch import load_file, save_file

from splatview.cli import main
from splatview.stylize import hub, models, weights
from splatview.stylize.catalogue import KNOWN, Choice, name_of, repo_of
from splatview.stylize.schedule import timesteps

pytestmark = [
    pytest.mark.xdist_group("diffusion"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of diffusers' Euler scheduler, with numpy 2
]

NETS = {"sd21": published.SD21, "sd15": published.SD15, "sdxl": published.SMALL}
WRITERS = {
    "sd-turbo": published.sd_turbo,
    "sdxl-turbo": published.sdxl_turbo,
    "sd15-lcm": published.sd15,
    "dreamshaper-lcm": published.dreamshaper,
}
TEXTS = {"vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json"}
UNET, TEXT, CODEC = "unet/diffusion_pytorch_model", "text_encoder/model", "diffusion_pytorch_model"
FETCHED = {  # beside settings and words
    "sd-turbo": {f"{UNET}.fp16", f"{TEXT}.fp16"},
    "sdxl-turbo": {f"{UNET}.fp16", f"{TEXT}.fp16", "text_encoder_2/model.fp16"},
    "sd15-lcm": {f"{UNET}.fp16", f"{TEXT}.fp16"},
    "dreamshaper-lcm": {UNET, TEXT},
    "taesd": {CODEC},
    "taesdxl": {CODEC},
    "lcm-lora": {"pytorch_lora_weights"},
    "lcm-lora-xl": {"pytorch_lora_weights"},
    "depth-sd21": {"control_v11p_sd21_depth", "control_v11p_sd21_canny"},
    "edges-sd21": {"control_v11p_sd21_depth", "control_v11p_sd21_canny"},
}
BYTES = {  # of files as they are published, with their headers
    "sd15-lcm": 1_719_125_304 + 246_144_152,
    "sdxl-turbo": 5_135_149_760 + 246_144_152 + 1_389_382_176,
    "taesd": 9_793_292,
    "lcm-lora": 134_621_556,
    "lcm-lora-xl": 393_855_224,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of all repositories as they are on the hub, the networks that are in some of them, and what LoRAs make of them."""
    root = tmp_path_factory.mktemp("hub")
    for write in WRITERS.values():
        write(root)
    for name in ("taesd", "taesdxl"):
        published.small_vae(root, name)
    nets = {name: published.controlnet(root, name, NETS[known.base]) for name, known in KNOWN.items() if known.kind == "controlnet"}
    unets = {lora: unet(root / repo_of(name)) for lora, name in (("lcm-lora", "sd15-lcm"), ("lcm-lora-xl", "sdxl-turbo"))}
    return root, nets, {lora: published.lora(root, lora, network) for lora, network in unets.items()}


@pytest.fixture(scope="module")
def fetched(whole, tmp_path_factory):
    """A folder of all models, each fetched by the real client."""
    home = tmp_path_factory.mktemp("home")
    with tiny_hub.serving(whole[0]) as address:
        for name in KNOWN:
            place = hub.fetch(name, home / hub.repository(name), endpoint=address)
            assert place == home / repo_of(name) and place.exists()
    return home


@pytest.fixture
def home(fetched, monkeypatch) -> Path:
    monkeypatch.setattr(models, "dtype_on", lambda device: torch.float32)
    monkeypatch.setenv("SPLATVIEW_MODELS", str(fetched))
    return fetched


def unet(folder: Path):
    found = models.UNet2DConditionModel.from_pretrained(folder / "unet", variant="fp16", local_files_only=True)
    return found.float()


def load(name: str, *controlnets: str, **more):
    return models.load(Choice(name, controlnets=controlnets, device="cpu", **more))


def step(model, **more: torch.Tensor) -> torch.Tensor:
    """What it predicts of some noise."""
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    told = (
        model.encode_text("a fox").rows | {"guidance": torch.tensor([7.5])} if model.distilled_guidance else model.encode_text("a fox").rows
    )
    return model.unet(noise, torch.tensor([499]), {**told, **more})


def shown(*hints: str) -> dict[str, torch.Tensor]:
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return {name: value for hint in hints for name, value in ((hint, picture), (f"{hint} scale", torch.tensor([0.5])))}


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_loaded_is_fetched_and_nothing_else(home, name):
    place = home / hub.repository(name)
    files = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file() and ".cache" not in path.parts}
    found = {file for file in files if not file.endswith((".json", ".txt"))}
    assert found == {f"{file}.safetensors" for file in FETCHED.get(name, {f"{CODEC}.fp16"})}
    if KNOWN[name].kind == "pipeline":
        assert {path.name for path in (place / "tokenizer").iterdir()} - {"added_tokens.json"} == TEXTS
        assert (place / "scheduler" / "scheduler_config.json").is_file() and not (place / "vae").exists()


def test_all_that_was_fetched_is_whole(home, capsys):
    assert main(["models", "--json"]) == 0
    here = json.loads(capsys.readouterr().out)["here"]
    assert list(here) == list(KNOWN), "and of one repository with several models no more"
    assert all(facts["kind"] == KNOWN[name].kind and not facts["problems"] for name, facts in here.items())


@pytest.mark.parametrize("name", KNOWN)
def test_sizes_are_those_of_the_files_that_are_fetched(name):
    size = published.size(name)
    assert KNOWN[name].gigabytes == pytest.approx(size / 1e9, abs=0.0051)
    assert size == pytest.approx(BYTES.get(name, size), rel=0.0015)


@pytest.mark.parametrize("name", WRITERS)
def test_texts_are_encoded_as_diffusers_encodes_them(home, whole, name):
    """Of the folder as it is published: four files of a tokenizer, encoders with a prefix, "!" to fill up with."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    kind = StableDiffusionXLPipeline if name == "sdxl-turbo" else StableDiffusionPipeline
    parts = {"add_watermarker": False} if name == "sdxl-turbo" else {"safety_checker": None, "feature_extractor": None}
    with published.tiny_diffusion.quiet():
        variant = None if name == "dreamshaper-lcm" else "fp16"
        theirs = kind.from_pretrained(whole[0] / repo_of(name), variant=variant, local_files_only=True, vae=None, unet=None, **parts)
    for part in ("text_encoder", "text_encoder_2"):
        if getattr(theirs, part, None) is not None:
            getattr(theirs, part).float()
    model = load(name, plain=True)
    for text in ("a fox", "A FOX! in oil!!", ""):
        expected = theirs.encode_prompt(text, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
        rows = model.encode_text(text).rows
        assert torch.equal(rows["tokens"], expected[0])
        assert name != "sdxl-turbo" or torch.equal(rows["pooled"], expected[2])
    fillers = [tokenizer("a", padding="max_length").input_ids[-1] for tokenizer in model.encode_text.tokenizers]
    assert fillers == {"sd-turbo": [0], "sdxl-turbo": [513, 0]}.get(name, [513])
    assert model.nothing_is_zeros == (name == "sdxl-turbo")


def test_models_are_what_they_were_distilled_as(home):
    found = {name: load(name) for name in WRITERS}
    assert {name: model.family for name, model in found.items()} == {
        "sd-turbo": "turbo",
        "sdxl-turbo": "turbo",
        "sd15-lcm": "lcm",
        "dreamshaper-lcm": "lcm",
    }
    assert {name for name, model in found.items() if model.ancestral} == {"sdxl-turbo"}
    assert {name for name, model in found.items() if model.distilled_guidance} == {"dreamshaper-lcm"}
    for model in found.values():
        assert model.prediction == "epsilon" and not model.notes and model.codec.channels == 4 and len(model.table) == 1000
        assert model.levels(timesteps(model.family, 0.5, 2)).noises > 0
        assert step(model).shape == (1, 4, 8, 8) and step(model).isfinite().all()
        assert model.codec.decode(model.codec.encode(torch.rand(1, 3, 64, 48))).shape == (1, 3, 64, 48)
        assert torch.isclose(torch.tensor(model.table[-1]), torch.tensor(0.0047), atol=1e-4)


def test_nothing_is_remarked_of_what_is_as_it_should_be(home, caplog, monkeypatch):
    logging.Logger.warning_once.cache_clear()  # of transformers: what was remarked before is so again
    for library in ("transformers", "diffusers"):
        monkeypatch.setattr(logging.getLogger(library), "propagate", True)
    for name, net in (
        ("sd-turbo", "depth-sd21"),
        ("sdxl-turbo", "edges-sdxl"),
        ("sd15-lcm", "edges-sd15"),
        ("dreamshaper-lcm", "depth-sd15"),
    ):
        model = load(name, net)
        assert model.encode_text("a fox! " * 40).lost
        step(model)
    assert not caplog.messages


@pytest.mark.parametrize(("lora", "name", "count"), [("lcm-lora", "sd15-lcm", 278), ("lcm-lora-xl", "sdxl-turbo", 788)])
def test_an_lcm_lora_reaches_all_its_layers(home, whole, lora, name, count):
    """Its files have three tensors of each: 834 and 2364 of them are published."""
    made = whole[2][lora]
    assert len(made) == count
    network = load(name, loras=((lora, 1.0),) if name == "sdxl-turbo" else ()).unet.network
    before, after = unet(home / repo_of(name)).state_dict(), network.state_dict()
    assert set(before) == set(after)
    for key, value in after.items():
        assert torch.allclose(value, made.get(key, before[key]), atol=1e-5), key


@pytest.mark.parametrize("name", [name for name, known in KNOWN.items() if known.kind == "controlnet"])
def test_controlnets_are_read_in_both_layouts(home, whole, name):
    hint, bases = KNOWN[name].hint, {"sd21": "sd-turbo", "sd15": "dreamshaper-lcm", "sdxl": "sdxl-turbo"}
    model = load(bases[KNOWN[name].base], name)
    found, expected = model.unet.nets[hint].state_dict(), whole[1][name].state_dict()
    assert set(found) == set(expected) and all(torch.equal(found[key], expected[key]) for key in expected)
    assert not torch.allclose(step(model), step(model, **shown(hint)), atol=1e-3)


def test_one_controlnet_is_what_diffusers_makes_of_its_file(home):
    from diffusers import ControlNetModel

    model = load("sd-turbo", "depth-sd21", "edges-sd21")
    place = home / "config"
    model.unet.nets["depth"].save_config(place)
    theirs = ControlNetModel.from_single_file(str(home / repo_of("depth-sd21")), config=str(place), local_files_only=True).float()
    shutil.rmtree(place)
    mine = model.unet.nets["depth"].state_dict()
    assert all(torch.equal(value, mine[key]) for key, value in theirs.state_dict().items())
    both = step(model, **shown("depth", "edges"))
    assert not torch.allclose(both, step(model, **shown("depth")), atol=1e-3)


def test_a_distilled_scale_is_told_to_the_model_and_not_to_its_controlnet(home):
    from diffusers import LatentConsistencyModelImg2ImgPipeline as Theirs

    model = load("dreamshaper-lcm", "depth-sd15")
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    tokens, picture, at = model.encode_text("a fox").rows["tokens"], shown("depth")["depth"], torch.tensor([499])
    scale = Theirs.get_guidance_scale_embedding(None, torch.tensor([6.5]), 256)
    with torch.no_grad():
        down, mid = model.unet.nets["depth"](noise, at, tokens, picture, conditioning_scale=0.5, return_dict=False)
        given = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid, "timestep_cond": scale}
        expected = model.unet.network(noise, at, tokens, **given).sample
    assert torch.allclose(step(model, **shown("depth")), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "net", "message"),
    [
        ("sd-turbo", "depth-sd15", r"control_v11f1p_sd15_depth: it is a ControlNet of sd15, the model is one of sd21$"),
        ("sdxl-turbo", "depth-sd21", r"control_v11p_sd21_depth.safetensors: it is a ControlNet of another model$"),
        ("dreamshaper-lcm", "edges-sdxl", r"controlnet-canny-sdxl-1.0-small: it is a ControlNet of sdxl, the model is one of sd15$"),
        ("sd-turbo", "depth=thibaud/controlnet-sd21", r"controlnet-sd21: no diffusion_pytorch_model.safetensors .* named with its folder$"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(home, name, net, message):
    with pytest.raises(ValueError, match=message) as error:
        load(name, net)
    assert "\n" not in str(error.value) and str(error.value).startswith(str(home)) and str(error.value).count(str(home)) == 1


def test_a_lora_of_another_model_is_said_in_one_line(home):
    for lora in ("lcm-lora", repo_of("lcm-lora")):
        with pytest.raises(ValueError, match=r"lcm-lora-sdv1-5: it is a LoRA of another model$"):
            load("sd-turbo", loras=((lora, 1.0),))


# Folders that people bring


@pytest.fixture
def brought(home, tmp_path, monkeypatch):
    """Copies a fetched model to a home of its own."""
    monkeypatch.setenv("SPLATVIEW_MODELS", str(tmp_path))

    def bring(*names: str) -> Path:
        for name in names:
            shutil.copytree(home / hub.repository(name), tmp_path / hub.repository(name), dirs_exist_ok=True)
        return tmp_path / repo_of(names[0])

    return bring


def test_weights_that_are_not_safetensors_are_refused_in_one_line(brought, capsys):
    place = brought("sd-turbo", "taesd", "depth-sd15")
    for folder in (place / "unet", place.parents[1] / repo_of("depth-sd15")):
        (file,) = folder.glob("*.safetensors")
        file.rename(folder / f"{CODEC}.bin")
        message = rf"no weights as safetensors, and splatview loads no others \({CODEC}.bin\)$"
        with pytest.raises(ValueError, match=message) as error:
            load("sd-turbo", *[] if "unet" in str(folder) else ["depth-sd15"])
        assert "\n" not in str(error.value)
        assert main(["models"]) == 2 and "problem: " in (told := capsys.readouterr()).out and told.err.count("\n") == 1
        file.parent.joinpath(f"{CODEC}.bin").rename(file)
    names = {"config.json": 1, f"{CODEC}.bin": 1_457_000_000, "README.md": 1}  # as of thibaud/controlnet-sd21-depth-diffusers
    with pytest.raises(ValueError, match="no weights as safetensors files, and splatview loads no others"):
        hub.wanted(names, "controlnet")


@pytest.mark.parametrize("halves", [True, False])
def test_weights_in_several_files_are_fetched_and_loaded(whole, brought, tmp_path, monkeypatch, halves):
    """Of one precision, if both are there; without one of the files it is not whole."""
    root, network = tmp_path / "hub", unet(whole[0] / repo_of("sd-turbo"))
    folder = root / repo_of("sd-turbo") / "unet"
    shutil.copytree(whole[0] / repo_of("sd-turbo"), folder.parent)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    network.save_pretrained(folder, max_shard_size="5MB")
    if halves:
        torch.nn.Module.to(network, torch.float16).save_pretrained(folder, variant="fp16", max_shard_size="2MB")
    home = Path(brought("taesd")).parents[1]
    with tiny_hub.serving(root) as address:
        place = hub.fetch("sd-turbo", home / repo_of("sd-turbo"), endpoint=address)
    files = sorted((place / "unet").glob("*.safetensors"))
    assert len(files) > 2 and all((".fp16-" in file.name) == halves for file in files)
    assert len(list((place / "unet").glob("*.index*.json"))) == 1 and not weights.look_through(place).problems
    found, expected = load("sd-turbo").unet.network.state_dict(), unet(whole[0] / repo_of("sd-turbo")).state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    files[1].unlink()
    with pytest.raises(ValueError, match=rf"unet: 1 of the {len(files)} files of its weights are not there, {files[1].name} for one$"):
        load("sd-turbo")


def test_a_folder_with_both_precisions_is_read_in_half(brought):
    place = brought("sd-turbo", "taesd")
    expected = load("sd-turbo").unet.network.state_dict()
    for part in ("unet", "text_encoder"):
        (file,) = (place / part).glob("*.safetensors")
        other = {name: torch.zeros_like(value, dtype=torch.float32) for name, value in load_file(file).items()}
        save_file(other, place / part / file.name.replace(".fp16", ""), {"format": "pt"})
    found = load("sd-turbo")
    assert all(torch.equal(value, expected[key]) for key, value in found.unet.network.state_dict().items())
    assert found.encode_text("a fox").rows["tokens"].any()
    assert not weights.look_through(place).problems


def test_one_file_of_a_repository_is_a_model_by_its_name(brought, capsys):
    """Also one that the catalogue does not know."""
    place = brought("sd-turbo", "taesd", "depth-sd21", "lcm-lora")
    home = place.parents[1]
    (home / "some" / "one").mkdir(parents=True)
    for name, other in (("depth-sd21", "net.safetensors"), ("lcm-lora", "lora.safetensors")):
        file = home / repo_of(name) if name == "depth-sd21" else home / repo_of(name) / weights.LORA
        shutil.copy(file, home / "some" / "one" / other)
    assert load("sd-turbo", "depth=some/one/net.safetensors").hints == {"depth"}
    assert main(["models", "--json"]) == 0
    here = json.loads(capsys.readouterr().out)["here"]
    kinds = {name: facts["kind"] for name, facts in here.items() if name not in KNOWN}
    assert kinds == {"some/one/lora.safetensors": "lora", "some/one/net.safetensors": "controlnet"}
    (home / "some" / "one" / "net.safetensors").write_bytes(b"cut off")
    assert main(["models"]) == 2 and "problem: net.safetensors: expected a safetensors file" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"net.safetensors: expected a ControlNet$"):
        load("sd-turbo", "depth=some/one/net.safetensors")


def test_one_file_of_a_repository_is_fetched_alone(whole, tmp_path):
    with tiny_hub.serving(whole[0]) as address:
        for name, message in (
            ("thibaud/controlnet-sd21/nothing.safetensors", "thibaud/controlnet-sd21: there is no nothing.safetensors"),
            ("thibaud/controlnet-sd21", "or a LoRA; one of its 2 files alone is named so: OWNER/NAME/control_v11p_sd21_"),
        ):
            with pytest.raises(ValueError, match=message):
                hub.fetch(name, tmp_path, endpoint=address)
    for name in ("a/../b.safetensors", "a/b/../../c.safetensors", "../../c.safetensors", "a/b/c.bin", "a/b/", "/a/b"):
        assert hub.REPO.fullmatch(name) is None
    assert hub.repository("a/b/c/d.safetensors") == "a/b" and hub.repository("edges-sd21") == "thibaud/controlnet-sd21"
    assert name_of(repo_of("edges-sd21")) == "edges-sd21"
