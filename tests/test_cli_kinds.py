"""Styles on the command line: the flags of each, and the names of those that were saved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_onnx
from PIL import Image
from stylized_frames import clouds, frame

from splatview.cli import kinds, main
from splatview.cli.faults import UserError
from splatview.stylize.diffusing import Phrase, suited
from splatview.stylize.filters import FILTERS
from splatview.stylize.library import LOOKS, Library
from splatview.viewer.styles import SAVED, styles_file


@pytest.fixture(autouse=True)
def saved(monkeypatch, tmp_path):
    """Styles that nobody else saves."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Library(styles_file(), SAVED)


def picture(path):
    with Image.open(path) as image:
        return np.array(image)


def stylize(*words):
    return main(["stylize", *map(str, words)])


def controls(name, *words):
    """What `--style name` draws with."""
    from splatview.cli.parsing import parsed

    words = ("--style", name, *words)
    return kinds.controls_of(name, parsed(kinds.flags_of(name, words), "", words[2:]))


@pytest.mark.parametrize("name", kinds.KINDS)
def test_every_style_explains_its_flags(capsys, name):
    with pytest.raises(SystemExit) as exit:
        stylize("--help", "--style", name)
    printed = capsys.readouterr().out
    assert exit.value.code == 0 and all(f"\u2502   {one}" in printed or f" {one} " in printed for one in kinds.KINDS)
    if name in FILTERS:
        for field in FILTERS[name].__dataclass_fields__:
            assert field in printed


@pytest.mark.parametrize(
    ("words", "style"),
    [
        (["--style", "oil", "--length", "12", "--relief", "0.2"], FILTERS["oil"](length=12, relief=0.2)),
        (["--halftone-size", "5", "--inks", "black", "--style=halftone"], FILTERS["halftone"](size=5, inks="black")),
        (["--passes", "2"], FILTERS["kuwahara"](passes=2)),
    ],
)
def test_flags_of_a_style_are_its_controls(tmp_path, words, style):
    Image.fromarray(clouds(48, 80)).save(tmp_path / "in.png")
    assert stylize(tmp_path / "in.png", "-o", tmp_path / "out.png", *words) == 0
    np.testing.assert_array_equal(picture(tmp_path / "out.png"), style.style(frame(clouds(48, 80))))


def test_styles_that_were_saved_in_the_viewer_are_known_by_name(capsys, saved, tmp_path):
    saved.save("thick paint", FILTERS["oil"](length=20, relief=0.9))
    Image.fromarray(clouds(48, 80)).save(tmp_path / "in.png")
    for words, style in (([], {}), (["--relief", "0.1"], {"relief": 0.1})):
        assert stylize(tmp_path / "in.png", "-o", tmp_path / "out.png", "--style", "thick paint", *words) == 0
        expected = FILTERS["oil"](**{"length": 20, "relief": 0.9, **style})
        np.testing.assert_array_equal(picture(tmp_path / "out.png"), expected.style(frame(clouds(48, 80))))
    with pytest.raises(SystemExit):
        stylize("--style", "winter", "--help")  # one that comes with the viewer
    assert "deep winter" in " ".join(capsys.readouterr().out.replace("\u2502", "").split())


def test_a_saved_network_brings_its_file(saved, tmp_path):
    (tmp_path / "negative.onnx").write_bytes(tiny_onnx.mixed(-np.eye(3), (1, 1, 1)))
    saved.save("night", SAVED["onnx"](file=str(tmp_path / "negative.onnx")))
    Image.fromarray(clouds(64, 96)).save(tmp_path / "in.png")
    assert stylize(tmp_path / "in.png", "-o", tmp_path / "out.png", "--style", "night", "--values", "0..1") == 0
    assert np.abs(picture(tmp_path / "out.png").astype(int) - (255 - clouds(64, 96))).max() <= 2


@pytest.mark.parametrize("words", [[], ["--strength", "0.8"]])
@pytest.mark.parametrize("family", ["turbo", "lcm"])
def test_numbers_are_those_that_suit_the_model(tiny_sd, family, words):
    expected = suited(family)
    for name, prompt in (("diffusion", expected.prompt), ("winter", (Phrase(LOOKS["winter"]),))):
        found = controls(name, "--model", str(tiny_sd(family)), *words)
        assert (found.steps, found.guidance, found.prompt) == (expected.steps, expected.guidance, prompt)
        assert found.strength == (0.8 if words else expected.strength)


def test_the_numbers_of_a_style_that_was_saved_are_those_whatever_the_model(saved, tiny_sd):
    mine = replace(suited("turbo"), seed=3)
    saved.save("mine", mine)
    assert controls("mine", "--model", str(tiny_sd("lcm"))) == mine


def test_a_style_with_the_name_of_another_is_told_with_its_kind(saved):
    saved.save("ink", FILTERS["oil"](length=20))
    assert controls("ink") == FILTERS["ink"]() and controls("ink (oil)") == FILTERS["oil"](length=20)
    saved.remove("ink")
    assert controls("ink (diffusion)").prompt == (Phrase(LOOKS["ink"]),)
    with pytest.raises(UserError, match="expected one of"):
        controls("ink (oil)")
