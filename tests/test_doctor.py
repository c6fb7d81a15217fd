"""`splatview doctor` tells what works here."""

import json
import shutil
from importlib.util import find_spec

import pytest

from splatview.cli import main
from splatview.cli.doctor import cuda, proof
from splatview.cli.doctor_styles import filtered
from splatview.render.backends import driver
from splatview.stylize.filters import FILTERS


def test_the_cpu_works_and_says_how(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "backend cpu: works" in text and "drawn by cpu " in text and "--backend auto takes" in text


def test_json_says_the_same(capsys):
    assert main(["doctor", "--json"]) == 0
    backends = json.loads(capsys.readouterr().out)["backends"]
    assert backends["cpu"]["works"] is True and set(backends) == {"cpu", "cuda"}
    assert all(set(check) == {"what", "works", "found", "advice"} for part in backends.values() for check in part["checks"])


def test_styles_are_told_with_what_they_lack(capsys, monkeypatch, tiny_sd, tmp_path):
    def told():
        assert main(["doctor", "--json"]) == 0
        return json.loads(capsys.readouterr().out)["styles"]

    home = tmp_path / "models" / "ours"
    monkeypatch.setenv("SPLATVIEW_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    found = told()
    assert list(found) == ["filters", "onnx", "diffusion", "videos"]
    assert [kind for kind, of in found.items() if not of["works"]] == ["diffusion"]
    [lacking] = [check for check in found["diffusion"]["checks"] if not check["works"]]
    assert lacking["what"] == "models" and lacking["advice"] == "splatview models --fetch sd-turbo"
    shutil.copytree(tiny_sd("turbo"), home / "tiny")
    found = told()
    assert (
        found["diffusion"]["works"]
        and {"what": "models", "works": True, "found": "ours/tiny", "advice": ""} in found["diffusion"]["checks"]
    )
    monkeypatch.setattr("splatview.render.backends.find_spec", lambda name: None if "onnx" in name else find_spec(name))
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "style onnx: does not work here" in text and text.count("to do: pip install 'splatview[onnx]'") == 1


def test_a_filter_that_draws_nonsense_is_found_out(monkeypatch):
    kuwahara = next(iter(FILTERS.values()))
    monkeypatch.setattr(kuwahara, "style", lambda self, frame: frame.rgb8 // 2)
    assert not filtered().works


def test_what_is_missing_comes_with_advice():
    if driver().works:
        pytest.skip("there is a GPU here")
    missing = [check for check in cuda() if not check.works]
    assert missing[0].what == "NVIDIA GPU" and all(check.advice for check in missing)


def test_who_has_the_networks_of_fields_is_told(monkeypatch):
    def told():
        [check] = [check for check in cuda() if check.what == "tiny-cuda-nn"]
        return check

    monkeypatch.setenv("SPLATVIEW_NETWORKS", "triton")
    assert told().works and "Triton" in told().found and not told().advice
    monkeypatch.setenv("SPLATVIEW_NETWORKS", "numpy")
    assert not told().works and "numpy" in told().found and "SPLATVIEW_NETWORKS" in told().advice


def test_a_backend_that_draws_the_wrong_picture_is_found_out(monkeypatch):
    from splatview.render.splats_cpu import CpuRenderer

    render = CpuRenderer.render
    monkeypatch.setattr(CpuRenderer, "render", lambda self, scene, *rest: render(self, type(scene)(), *rest))
    assert not proof("cpu", "install it again").works
