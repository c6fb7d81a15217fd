"""`bench --stylize`: what moves is told exactly, and the ways to steady a noisy style keep their order."""

import json
from itertools import pairwise

import numpy as np
import pytest
from drawn_planes import Card, drawn, looking, rays

from splatview.cli import main
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


@pytest.mark.parametrize("words", [["--style", "nobody"], ["--frames", "1"]])
def test_what_cannot_be_measured_is_said_in_a_line(capsys, words):
    assert main(["bench", "--stylize", *words]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"splatview: {words[0]}: expected") and printed.count("\n") == 1
