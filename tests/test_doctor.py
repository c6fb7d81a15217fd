"""`splatview doctor` tells what works here."""

import json

import pytest

from splatview.cli import main
from splatview.cli.doctor import cuda, proof
from splatview.render.backends import driver


def test_the_cpu_works_and_says_how(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "backend cpu: works" in text and "drawn by cpu " in text and "--backend auto takes" in text


def test_json_says_the_same(capsys):
    assert main(["doctor", "--json"]) == 0
    backends = json.loads(capsys.readouterr().out)["backends"]
    assert backends["cpu"]["works"] is True and set(backends) == {"cpu", "cuda"}
    assert all(set(check) == {"what", "works", "found", "advice"} for part in backends.values() for check in part["checks"])


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
