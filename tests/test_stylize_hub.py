"""Where models are looked for, what is said of those that are nowhere, and fetching them from a hub of our own, by the real client."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_hub
import torch
from safetensors.torch import save_file

from splatview import extras
from splatview.cli import main
from splatview.cli.doctor_styles import styles
from splatview.cli.models import Command
from splatview.stylize import hub, weights
from splatview.stylize.catalogue import KNOWN, SMALL_VAE, name_of, repo_of, with_companions

pytestmark = pytest.mark.xdist_group("diffusion")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SPLATVIEW_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def served(tmp_path, tiny_sd):
    """The address of a hub, with sd-turbo and taesd on it."""
    root = tmp_path / "hub"
    repo = root / repo_of("sd-turbo")
    repo.mkdir(parents=True)
    for part in tiny_sd("turbo").rglob("*"):
        if part.is_file():
            target = repo / part.relative_to(tiny_sd("turbo"))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(part.read_bytes())
    whole = repo / "unet" / "diffusion_pytorch_model.safetensors"
    whole.with_name("diffusion_pytorch_model.fp16.safetensors").write_bytes(whole.read_bytes())
    (repo / "sd_turbo.safetensors").write_bytes(b"everything once more")
    small = root / repo_of("taesd")
    small.mkdir(parents=True)
    (small / "config.json").write_text('{"_class_name": "AutoencoderTiny"}')
    save_file({"a": torch.ones(2)}, small / "diffusion_pytorch_model.safetensors")
    for name in ("depth-sd21", "edges-sd21"):
        file = root / repo_of(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({"input_hint_block.0.weight": torch.ones(2)}, file)
    with tiny_hub.serving(root) as address:
        yield address


def test_a_model_is_fetched_as_far_as_it_is_needed(served, home):
    told = []
    place = hub.fetch("sd-turbo", home / repo_of("sd-turbo"), lambda fraction, text: told.append((fraction, text)), served)
    assert place == hub.find("sd-turbo") == hub.find("stabilityai/sd-turbo") == home / "stabilityai" / "sd-turbo"
    files = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file() and ".cache" not in path.parts}
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in files
    assert not files & {"sd_turbo.safetensors", "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"}
    assert not weights.look_through(place).problems
    assert told[-1][0] == pytest.approx(1) and [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)


def test_a_model_is_fetched_into_the_cache_of_the_hub(served, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    code = "import sys; from splatview.stylize import hub; "
    code += (
        "[print(hub.fetch(name, endpoint=sys.argv[1]), hub.find(name)) for name in ('taesd', 'depth-sd21')]; print(hub.find('edges-sd21'))"
    )
    environment = {"HF_HOME": str(cache), "PATH": "/usr/bin", "SPLATVIEW_MODELS": str(tmp_path / "none")}
    done = subprocess.run([sys.executable, "-c", code, served], capture_output=True, text=True, check=True, env=environment)
    fetched, found, file, same, other = done.stdout.split()
    assert fetched == found and str(cache) in found and (Path(found) / "config.json").is_file()
    assert file == same and str(cache) in file and Path(file).is_file() and other == "None"


def test_what_the_hub_has_not_is_said_in_one_line(served):
    for name in ("nobody/nothing", "sdxl-turbo"):
        with pytest.raises(OSError, match="cannot be fetched") as error:
            hub.fetch(name, endpoint=served)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="hub id"):
        hub.fetch("not a name", endpoint=served)
    with pytest.raises(OSError, match="hf download madebyollin/taesd"):
        hub.fetch("taesd", endpoint="http://127.0.0.1:9")
    by_hand = "hf download thibaud/controlnet-sd21 control_v11p_sd21_depth.safetensors --local-dir FOLDER"
    with pytest.raises(OSError, match=by_hand):
        hub.fetch("depth-sd21", endpoint="http://127.0.0.1:9")
    with pytest.raises(hub.NotHere, match=f"{by_hand}.*/thibaud/controlnet-sd21$"):
        hub.located("depth-sd21")


def test_a_store_of_large_files_that_is_out_of_reach_is_said_in_one_line(served, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "1")
    with (
        tiny_hub.serving(tmp_path / "hub", tiny_hub.Elsewhere) as address,
        pytest.raises(OSError, match="taesd cannot be fetched") as error,
    ):
        hub.fetch("taesd", tmp_path / "taesd", endpoint=address)
    assert "127.0.0.1:9" in str(error.value) and "\n" not in str(error.value)


def test_bytes_are_counted_once_although_they_arrive_twice():
    """On their way from the store of large files, and on the disk: the client has a bar for each."""
    from huggingface_hub.utils._xet_progress_reporting import XetDownloadProgressReporter

    told = []
    with XetDownloadProgressReporter(reconstruction_desc="a file", total=100, log_level=30, tqdm_class=hub.counted(told.append)) as bars:
        for arrived, written in ((50, 0), (80, 40), (100, 100)):
            parts = {"total_bytes": 100, "total_bytes_completed": written, "total_transfer_bytes_completed": arrived}
            bars.update_progress(SimpleNamespace(**parts, total_bytes_completion_rate=None, total_transfer_bytes_completion_rate=1.0))
    assert told == [40, 100]


def test_a_fetching_that_goes_on_begins_where_it_was(served, home):
    told = []
    for _ in range(2):
        told.append([])
        hub.fetch("sd-turbo", home / repo_of("sd-turbo"), lambda fraction, text: told[-1].append(fraction), served)
    assert told[1][-1] == 1 and told[1] == sorted(told[1]) and told[0][-1] == 1
    bar = hub.counted(told[0].append)(initial=7, total=10, name="a file")
    bar.update(3)
    assert told[0][-1] == 10


def test_what_is_nowhere_says_how_to_get_it(home):
    with pytest.raises(hub.NotHere) as error:
        hub.located("sd-turbo")
    for part in ("splatview models --fetch sd-turbo", "hf download stabilityai/sd-turbo", str(home / "stabilityai" / "sd-turbo")):
        assert part in str(error.value)
    with pytest.raises(hub.NotHere, match="expected one of sd-turbo"):
        hub.located("no such thing")
    with pytest.raises(hub.NotHere, match="did you mean sd-turbo"):
        hub.located("sd_turbo")
    assert hub.find("") is None, "not the folder that one is in"


@pytest.mark.parametrize("name", ["sd_turbo", "", "../../etc"])
def test_what_can_be_no_model_is_not_asked_of_the_hub(name):
    with pytest.raises(ValueError, match=f"there is no model {name!r}: expected one of sd-turbo"):
        hub.fetch(name, endpoint="http://127.0.0.1:9")


def test_a_folder_is_a_model_by_its_path(tiny_sd):
    assert hub.find(str(tiny_sd("turbo"))) == tiny_sd("turbo")


def test_only_safetensors_are_wanted():
    half = {"unet/config.json": 1, "unet/diffusion_pytorch_model.bin": 9, "text_encoder/model.safetensors": 9}
    for names in (half, {"a.bin": 1}, {}):
        with pytest.raises(ValueError, match="no weights as safetensors"):
            hub.wanted(names, "pipeline")
    single = {"config.json": 1, "diffusion_pytorch_model.fp16.safetensors": 5, "diffusion_pytorch_model.safetensors": 9, "readme.md": 1}
    assert set(hub.wanted(single, "controlnet")) == {"config.json", "diffusion_pytorch_model.fp16.safetensors"}
    assert hub.wanted({weights.LORA: 1, "lcm_sdxl.bin": 2}, "lora") == [weights.LORA]


def test_the_catalogue_is_of_one_piece():
    for name, known in KNOWN.items():
        assert name_of(known.repo) == name and repo_of(name) == known.repo
        assert (known.kind == "controlnet") == bool(known.hint)
        assert all(companion in KNOWN and KNOWN[companion].base in (known.base, "sd15") for companion in with_companions(name))
    assert with_companions("sd15-lcm") == ("sd15-lcm", "taesd", "lcm-lora") and with_companions("a/b") == ("a/b",)
    assert all(KNOWN[name].kind == "vae" for name in SMALL_VAE.values())


# The command


def test_the_list_has_what_is_here_and_what_is_to_be_had(home, tiny_sd, capsys):
    (home / "mine").mkdir(parents=True)
    (home / "mine" / "own").symlink_to(tiny_sd("turbo"))
    assert main(["models"]) == 0
    here, there = capsys.readouterr().out.split("to be had")
    assert "mine/own" in here and "pipeline" in here and "M numbers, F32" in here and "problem" not in here
    assert all(name in there for name in KNOWN) and str(home) in there
    assert main(["models", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["here"]["mine/own"]["kind"] == "pipeline" and facts["known"]["sd-turbo"]["repo"] == "stabilityai/sd-turbo"


def test_a_model_that_is_not_whole_is_a_users_error(home, capsys):
    folder = home / repo_of("taesd")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"_class_name": "AutoencoderTiny"}')
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(b"cut off")
    assert main(["models"]) == 2
    printed = capsys.readouterr()
    assert "problem: diffusion_pytorch_model.safetensors: expected a safetensors file" in printed.out and "not whole" in printed.err


def test_whatever_is_in_the_files_of_a_model_it_is_told_in_one_line(home, tiny_sd, capsys):
    spoilt = {
        "an index that says little": ("model_index.json", '{"text_encoder_2": null, "tokenizer_2": []}', ""),
        "an index that is a list": ("model_index.json", "[1]", ""),
        "nested": ("unet/config.json", "[" * 100_000, "unet/config.json: expected JSON, it is nested too deeply"),
        "no JSON": ("unet/config.json", "{", "unet/config.json: Expecting"),
    }
    for name, (file, text, problem) in spoilt.items():
        folder = home / "mine" / name.replace(" ", "-")
        shutil.copytree(tiny_sd("turbo"), folder)
        (folder / file).write_text(text)
        found = weights.look_through(folder)
        assert found.kind == "pipeline" and (
            [one[: len(problem)] for one in found.problems] == [problem] if problem else not found.problems
        )
    (home / "mine" / "deep").mkdir()
    (home / "mine" / "deep" / "config.json").write_text('{"a":' * 100_000)
    assert weights.kind_of(home / "mine" / "deep") is None
    assert main(["models"]) == 2 and capsys.readouterr().err.count("\n") == 1


def test_trainings_that_are_not_over_are_no_models(home, tiny_sd, capsys):
    for name in ("made.ckpt", ".made.part"):
        (home / "distilled" / name).mkdir(parents=True)
    shutil.copytree(tiny_sd("turbo"), home / "distilled" / "other")
    assert [name for name in hub.here() if name.startswith("distilled")] == ["distilled/other"]
    assert main(["models"]) == 0


def test_models_are_fetched_with_what_they_are_used_with(served, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(hub, "fetch", partial(hub.fetch, endpoint=served))
    Command(fetch=("sd-turbo",), folder=tmp_path / "carried").run()
    assert "taesd: fetched to" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "carried").glob("*/*")} == {"sd-turbo", "taesd"}


def test_without_the_extra_its_pip_line_is_named(monkeypatch, capsys):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert main(["models", "--fetch", "taesd"]) == 2
    assert "pip install 'splatview[stylize]'" in capsys.readouterr().err
    assert main(["models", "--folder", "anywhere"]) == 2


def test_no_torch_is_needed_to_look_for_models():
    code = "import sys; from splatview.stylize import controls, hub, schedule, weights; list(hub.here()); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_a_folder_of_models_that_cannot_be_read_is_told_of_in_one_line(capsys, monkeypatch, tmp_path):
    """Models are looked for wherever else they may be."""
    (tmp_path / "file").touch()
    for place, why in ((tmp_path / "file", "Not a directory"), (tmp_path / ("deep/" * 900), "File name too long")):
        monkeypatch.setenv("SPLATVIEW_MODELS", str(place))
        assert hub.pipelines() == [] and hub.find("sd-turbo") is None
        assert main(["models"]) == 2 and main(["stylize", "x.png", "-o", "y.png", "--style", "diffusion"]) == 2
        printed = capsys.readouterr()
        assert printed.err.count("\n") == 2 and all(why in line or "x.png" in line for line in printed.err.splitlines()), printed.err
        with pytest.raises(hub.NotHere, match=why):
            hub.located("sd-turbo")
        [check] = [one for one in styles()["diffusion"] if one.what == "models"]
        assert not check.works and why in check.found


@pytest.mark.parametrize("name", ["a" * 5000, "~nobody-has-this-name/model"], ids=["long", "of nobody"])
def test_what_is_no_path_at_all_is_no_model(name):
    assert hub.find(name) is None
