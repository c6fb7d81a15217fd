"""`bench --stylize`: what moves is told exactly, and the ways to steady a noisy style keep their order."""

import json
from itertools import pairwise

import cv2
import numpy as np
import pytest
from drawn_planes import Card, drawn, looking, rays

from splatview.cli import grain, kinds, main
from splatview.cli.flicker import Noisy, Painterly, figures
from splatview.cli.flight import Motion, consensus

WALL = Card((0, 0, 3))
BOX = Card((0.1, 0, 1.6), (0.35, 0.3), phase=5.0)


def seen_from(eye, target):
    return drawn(looking(eye, target, offset=(2.5, -3.1)), [WALL, BOX])


def test_motion_is_that_of_points_on_surfaces():
    before, now = seen_from((-0.2, 0, -1), (-0.1, 0, 2)), seen_from((0.2, 0.1, -0.9), (0.1, 0, 2))
    motion = Motion.between(now, before)
    eye, directions = rays(now.camera)
    points = eye + now.depth[..., None].astype(float) * directions
    away = points - before.camera.position
    blocked = np.zeros(motion.x.shape, bool)
    for card in (WALL, BOX):
        blocked |= card.hit(before.camera.position, away)[0] < 0.999
    assert motion.hidden.mean() > 0.005 and motion.visible.mean() > 0.5
    assert blocked[motion.hidden].all() and not blocked[motion.visible].any()
    pixels = np.stack([motion.x, motion.y], -1) + 0.5
    local = away @ before.camera.camera_from_world[:3, :3].T
    assert np.allclose(before.camera.unproject(pixels, local[..., 2]), points, atol=1e-9)
    assert np.abs(motion.of(before.rgb8) - now.rgb8)[motion.visible].mean() < 2
    assert 1 < motion.pixels < 10


def test_without_motion_pictures_are_held_against_themselves():
    frame = seen_from((0, 0, -1), (0, 0, 2))
    motion = Motion.between(frame, frame)
    assert motion.visible.mean() > 0.8 and not motion.hidden.any() and motion.pixels < 1e-9
    dark, bright = frame.rgb8 // 2, frame.rgb8 // 2 + 10
    assert figures("", [dark, bright], [dark, dark], [motion], 0.0).warp_error == pytest.approx(10)
    assert figures("", [dark, bright], [dark, dark], [motion], 0.0).error == pytest.approx(10)


def test_noise_is_the_same_from_every_start_and_another_in_every_picture():
    frame = seen_from((0, 0, -1), (0, 0, 2))
    one, two = Noisy(Painterly()), Noisy(Painterly())
    first, second = one.style(frame), one.style(frame)
    assert np.array_equal(two.style(frame), first)
    assert 5 < np.abs(first.astype(int) - second).mean() < 25


def test_what_pictures_have_in_common_is_what_lies_on_the_surfaces():
    frames = [seen_from((x, 0, -1), (0, 0, 2)) for x in (-0.2, -0.1, 0, 0.1, 0.2)]
    plain = [frame.rgb8 for frame in frames]
    noise = np.random.default_rng(0).normal(0, 12, (len(plain), *plain[0].shape))
    clean, noisy = (
        consensus(frames, pictures, lambda done: None)
        for pictures in (plain, [np.clip(picture + one, 0, 255).astype(np.uint8) for picture, one in zip(plain, noise, strict=True)])
    )
    off = [np.abs(one - picture).mean() for one, picture in zip(clean, plain, strict=True)]
    assert max(off) < 2, "what does not flicker stays"
    left = [(one - other).std() for one, other in zip(noisy, clean, strict=True)]
    assert max(left) < 0.6 * 12, "five pictures have less noise than one"
    motions = [Motion.between(now, before) for before, now in pairwise(frames)]
    flicker = [figures("", pictures, noisy, motions, 0.0).warp_error for pictures in (plain + noise, noisy)]
    assert flicker[1] < flicker[0] / 3


def test_ours_steadies_a_network(data, tmp_path):
    report = tmp_path / "flicker.json"
    words = ["--style", str(data / "weights" / "fns_mosaic.onnx"), "--size", "320x184", "--frames", "16", "--backend", "cpu"]
    assert main(["bench", "--stylize", *words, "--json", str(report)]) == 0
    rows = {row.pop("way"): row for row in json.loads(report.read_text())["ways"]}
    raw, ours = rows["raw"], rows["ours"]
    assert "without noise" not in rows and raw["warp_error"] > 5, "its own flicker is measured"
    assert ours["warp_error"] < raw["warp_error"] / 3
    assert ours["error"] < raw["error"] * 0.75
    assert ours["error_uncovered"] < raw["error_uncovered"] * 1.02


def test_ours_steadies_a_noisy_style_without_ghosts(capsys, tmp_path):
    report = tmp_path / "flicker.json"
    assert main(["bench", "--stylize", "--size", "256x144", "--frames", "24", "--backend", "cpu", "--json", str(report)]) == 0
    printed = capsys.readouterr().out
    assert "painterly with noise, 24 frames of 256x144" in printed and "uncovered" in printed
    rows = {row.pop("way"): row for row in json.loads(report.read_text())["ways"]}
    raw, ours, screen, blind = (rows[name] for name in ("raw", "ours", "screen average", "warp, no depth test"))
    assert ours["warp_error"] < raw["warp_error"] / 3
    assert ours["error"] < raw["error"] * 2 / 3
    assert ours["error_uncovered"] < raw["error_uncovered"] * 1.02
    assert screen["error"] > raw["error"]
    assert blind["error_uncovered"] > 1.5 * raw["error_uncovered"]


SIGMA = 12.0  # levels


class Speckled:
    """The picture with as much noise as it asks for, a value for each block of 8 x 8 pixels; it comes two frames late."""

    def __init__(self, noise):
        self._noise, self._waiting, self.shown = noise, [], None

    @property
    def settled(self):
        return len(self._waiting) == 3 and self._waiting[0][0] is self._waiting[-1][0]

    def style(self, frame):
        height, width = frame.rgb8.shape[:2]
        values = self._noise(frame, (3, height // 8, width // 8)).transpose(1, 2, 0)
        speckles = cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST)
        picture = np.clip(frame.rgb8 * 0.5 + 64 + SIGMA * speckles + 0.5, 0, 255).astype(np.uint8)
        self._waiting = [*self._waiting, (frame, picture)][-3:]
        self.shown, picture = self._waiting[0]
        return picture


def test_noise_is_told_from_what_is_there_whatever_the_noise_and_where_it_lies_shows():
    steps = np.linspace(0, 1, 12)
    frames = [drawn(looking((-0.5 + t, 0.1 * t, -1.5 + 0.5 * t), width=192, height=128, offset=(3.3, -5.1)), [WALL, BOX]) for t in steps]
    motions = [Motion.between(now, before) for before, now in pairwise(frames)]
    noise, told = grain.Switched(), []
    found = grain.measure(frames, motions, Speckled(noise), noise, 8, lambda fraction, text: told.append(fraction))
    assert told == sorted(told) and told[0] == 0 and told[-1] < 1
    rows, raw = {}, ""
    for row in found:
        raw, key = (raw, f"{raw}, {row.way.strip()}") if row.way.startswith(" ") else (row.way, row.way)
        rows[key] = row
    mean = SIGMA * np.sqrt(2 / np.pi)  # of what is off, if noise is
    for name in grain.GRAINS:
        assert rows[f"noise {name}"].error == pytest.approx(mean * np.sqrt(1 + 1 / 8), rel=0.1)
    fresh, screen, surfaces = (rows[f"noise {name}"] for name in ("fresh", "on the screen", "on surfaces"))
    assert fresh.warp_error == pytest.approx(mean * np.sqrt(2), rel=0.2)  # between pixels there is less of it
    assert max(surfaces.warp_error, screen.warp_error) < 0.5 * fresh.warp_error
    assert rows["mean"].error < 0.5 * fresh.error and rows["mean"].warp_error < 0.4 * fresh.warp_error
    steady, average = rows["noise fresh, ours"], rows["noise fresh, screen average"]
    assert steady.warp_error < 0.4 * fresh.warp_error and steady.error < 0.7 * fresh.error
    assert average.error > steady.error and rows["noise on surfaces, ours"].warp_error < surfaces.warp_error


@pytest.mark.xdist_group("diffusion")
def test_a_diffusion_model_is_measured_by_its_own_noise(capsys, tmp_path, tiny_sd):
    words = ["--style", "diffusion", "--model", str(tiny_sd("lcm")), "--diffusion-size", "64", "--steps", "2", "--buffer", "2"]
    more = ["--size", "96x64", "--frames", "5", "--noises", "3", "--backend", "cpu", "--json", str(tmp_path / "x.json")]
    assert main(["bench", "--stylize", *words, *more]) == 0
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "x.json").read_text())["ways"]
    assert [row["way"] for row in rows if row["way"].startswith("noise")] == [f"noise {name}" for name in grain.GRAINS]
    raw = [row for row in rows if row["way"].startswith("noise")]
    assert all(row["error"] > 1 and row["warp_error"] > 0 and row["frame_ms"] > 0 for row in raw)
    assert raw[0]["warp_error"] > max(row["warp_error"] for row in rows if row["way"].strip() == "ours")
    assert "diffusion with noise, 5 frames of 96x64" in printed and "to the mean over 3 other noises" in printed


@pytest.mark.parametrize("name", ["painterly", *kinds.KINDS])
def test_every_style_that_is_measured_explains_its_flags(capsys, name):
    with pytest.raises(SystemExit) as exit:
        main(["bench", "--stylize", "--style", name, "--help"])
    printed = capsys.readouterr().out
    assert exit.value.code == 0 and "--noises" in printed and "its noise sticks to" not in printed
    assert ("--model " in printed) == (name in ("onnx", "diffusion")) and ("--strength" in printed) == (name in ("onnx", "diffusion"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--style", "diffusion", "--model", "some/thing"], "some/thing"),
        (["--style", "diffusion", "--noises", "0"], "--noises: expected 1 or more"),
        (["--style", "oil", "--noises", "4"], "--noises: expected 1 or more, with --stylize --style diffusion"),
        (["--style", "oil", "--length", "9999"], "--length: expected"),
    ],
)
def test_what_cannot_be_measured_of_a_style_is_said_in_a_line(capsys, words, message):
    assert main(["bench", "--stylize", *words]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("splatview: ") and message in printed and printed.count("\n") == 1


@pytest.mark.parametrize("words", [["--style", "nobody"], ["--frames", "1"]])
def test_what_cannot_be_measured_is_said_in_a_line(capsys, words):
    assert main(["bench", "--stylize", *words]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"splatview: {words[0]}: expected") and printed.count("\n") == 1
