"""The command line: what it prints, writes and answers."""

from __future__ import annotations

import functools
import json
import math
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from small_fields import ball

from splatview import Camera, Gaussians, RenderOptions, Scene, load, open_renderer, save, tcnn
from splatview.cli import COMMANDS, main, splatting, waiting
from splatview.cli.pictures import depth_steps, numbered
from splatview.cli.sizes import Size
from splatview.edit.state import digest_of
from splatview.formats import MissingExtra, save_cameras
from splatview.framing import frame_scene
from splatview.geometry import Similarity
from splatview.hashgrid import HashGrid, Marching, Network, Occupancy
from splatview.ngp import level_shapes
from splatview.render import splatted
from splatview.render.backends import Check
from splatview.render.splatted import Effort
from splatview.scene import Layer


@pytest.fixture
def splats():
    rng = np.random.default_rng(3)
    count = 500
    return Gaussians(
        rng.normal(0, 1, (count, 3)),
        rng.normal(size=(count, 4)),
        rng.normal(-2.5, 0.3, (count, 3)),
        rng.normal(1, 2, count),
        rng.normal(0, 0.3, (count, 16, 3)),
    )


@pytest.fixture
def scene_file(tmp_path, splats):
    path = tmp_path / "cloud.ply"
    save(Scene({"cloud": Layer(splats)}), path)
    return path


def read(path) -> Gaussians:
    (layer,) = load(path).layers.values()
    return layer.content


def picture(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_the_overview_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(capsys, name):
    with pytest.raises(SystemExit) as exit:
        main([name, "--help"])
    assert exit.value.code == 0
    assert f"splatview {name}" in capsys.readouterr().out


def test_the_help_texts_name_the_promised_flags(capsys):
    promised = {
        "view": "--port --host --up --backend --draw --budget-ms --root --no-open",
        "info": "--json",
        "convert": "--max-sh --crop-box --transform --min-opacity",
        "render": "-o --camera --size --depth --alpha --fov --background --backend",
        "bench": "--json --camera",
        "stylize": "-o --style --steady --no-steady --where --live --camera --size --port",
    }
    for name, flags in promised.items():
        with pytest.raises(SystemExit):
            main([name, "--help"])
        words = set(re.split(r"[\s│,]+", capsys.readouterr().out))
        assert set(flags.split()) <= words, name


def test_python_m_splatview_is_the_command_line_and_its_overview_is_light():
    code = "import sys; from splatview.cli import main; main(['--help']); sys.exit(int('viser' in sys.modules or 'torch' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
    done = subprocess.run([sys.executable, "-m", "splatview", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"splatview \d+\.\d+\.\d+\n", done.stdout)


USER_ERRORS = {
    "no command": ([], "expected a command"),
    "unknown command": (["veiw"], "did you mean 'view'"),
    "no scene": (["render", "-o", "{tmp}/out.png"], "expected a scene file"),
    "missing file": (["info", "{tmp}/nope.ply"], "nope.ply"),
    "missing file to view": (["view", "{tmp}/nope.ply"], "nope.ply"),
    "busy port": (["view", "{scene}", "--no-open", "--port", "{busy}"], "{busy}"),
    "foreign address": (["view", "{scene}", "--no-open", "--host", "192.0.2.1"], "192.0.2.1"),
    "no such backend here": (["render", "{scene}", "-o", "{tmp}/out.png", "--backend", "cuda"], "cuda"),
    "no such backend here to view": (["view", "{scene}", "--no-open", "--backend", "cuda"], "cuda"),
    "folder": (["info", "{tmp}"], "folder"),
    "unknown format": (["info", "{tmp}/notes.txt"], "unknown format"),
    "broken file": (["info", "{tmp}/broken.ply"], "broken.ply"),
    "unknown target format": (["convert", "{scene}", "{tmp}/out.xyz"], "out.xyz"),
    "no such target folder": (["convert", "{scene}", "{tmp}/nowhere/out.ply"], "nowhere"),
    "nothing left": (["convert", "{scene}", "{tmp}/out.ply", "--min-opacity", "1"], "nothing is left"),
    "inverted box": (["convert", "{scene}", "{tmp}/out.ply", "--crop-box", "1", "0", "0", "0", "1", "1"], "--crop-box"),
    "impossible degree": (["convert", "{scene}", "{tmp}/out.ply", "--max-sh", "7"], "--max-sh"),
    "impossible opacity": (["convert", "{scene}", "{tmp}/out.ply", "--min-opacity", "2"], "--min-opacity"),
    "impossible scale": (["convert", "{scene}", "{tmp}/out.ply", "--max-scale", "0"], "--max-scale"),
    "half a matrix": (["convert", "{scene}", "{tmp}/out.ply", "--transform", "1 0 0"], "12 or 16 numbers"),
    "words for a matrix": (["convert", "{scene}", "{tmp}/out.ply", "--transform", "left a bit"], "--transform"),
    "mirroring matrix": (["convert", "{scene}", "{tmp}/out.ply", "--transform", "-1 0 0 0 0 1 0 0 0 0 1 0"], "mirrors"),
    "missing matrix": (["convert", "{scene}", "{tmp}/out.ply", "--transform", "{tmp}/nope.json"], "nope.json"),
    "unknown picture": (["render", "{scene}", "-o", "{tmp}/out.gif"], ".png"),
    "transparent jpeg": (["render", "{scene}", "-o", "{tmp}/out.jpg", "--alpha"], "transparency"),
    "bad pattern": (["render", "{scene}", "-o", "{tmp}/%s%d.png"], "%04d"),
    "unknown colour": (["render", "{scene}", "-o", "{tmp}/out.png", "--background", "blurple"], "blurple"),
    "flat view": (["render", "{scene}", "-o", "{tmp}/out.png", "--fov", "180"], "--fov"),
    "near behind far": (["render", "{scene}", "-o", "{tmp}/out.png", "--near", "5", "--far", "4"], "near"),
    "missing camera": (["render", "{scene}", "-o", "{tmp}/out.png", "--camera", "{tmp}/nope.json"], "nope.json"),
    "no camera file": (["render", "{scene}", "-o", "{tmp}/out.png", "--camera", "{tmp}/notes.txt"], "notes.txt"),
    "place that cannot be written": (["render", "{scene}", "-o", "{scene}/out.png"], "cloud.ply"),
    "no frames": (["bench", "{scene}", "--frames", "0"], "--frames"),
    "report that cannot be written": (["bench", "{scene}", "--size", "8x8", "--frames", "1", "--json", "{tmp}/no/x.json"], "x.json"),
}


@pytest.mark.parametrize("name", USER_ERRORS)
def test_a_users_error_is_one_line_and_code_2(capsys, monkeypatch, tmp_path, scene_file, name):
    monkeypatch.setattr("splatview.render.backends.driver", lambda: Check("NVIDIA GPU", False, "taken away for this test"))
    (tmp_path / "notes.txt").write_text("not a scene, and no cameras either")
    (tmp_path / "broken.ply").write_bytes(scene_file.read_bytes()[:-1000])
    words, message = USER_ERRORS[name]
    with socket.create_server(("127.0.0.1", 0)) as busy:
        places = {"tmp": tmp_path, "scene": scene_file, "busy": busy.getsockname()[1]}
        assert main([word.format(**places) for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("splatview: ") and printed.err.count("\n") == 1 and message.format(**places) in printed.err


def test_that_a_report_cannot_be_written_is_told_before_anything_is_measured(monkeypatch, capsys, tmp_path, scene_file):
    monkeypatch.setattr("splatview.cli.bench.measure", lambda *_, **__: pytest.fail("measured"))
    assert main(["bench", str(scene_file), "--json", str(tmp_path / "no" / "x.json")]) == 2
    assert capsys.readouterr().err == f"splatview: {tmp_path / 'no' / 'x.json'}: nothing can be written in {tmp_path / 'no'}\n"


def test_a_missing_extra_is_a_users_error(capsys, monkeypatch, scene_file):
    def without(*_, **__):
        raise MissingExtra("this format needs a package: pip install 'splatview[more]'")

    monkeypatch.setattr("splatview.formats.load", without)
    assert main(["info", str(scene_file)]) == 2
    assert capsys.readouterr().err == "splatview: this format needs a package: pip install 'splatview[more]'\n"


@pytest.mark.parametrize("words", [["info", "{scene}"], ["render", "{scene}", "{scene}", "-o", "{tmp}/out.png"]])
def test_a_level_that_no_scene_has_is_refused(tmp_path, capsys, scene_file, words):
    assert main([word.format(scene=scene_file, tmp=tmp_path) for word in [*words, "--level", "1"]]) == 2
    assert "no levels of detail" in capsys.readouterr().err


@pytest.mark.parametrize("style", ["centres", "outlines"])
def test_render_draws_centres_and_outlines(tmp_path, scene_file, style):
    for name, flags in (("plain.png", []), ("other.png", ["--style", style])):
        assert main(["render", str(scene_file), "-o", str(tmp_path / name), "--size", "160x90", *flags]) == 0
    plain, other = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("plain.png", "other.png"))
    assert np.abs(plain - other).mean() > 0.5


MISREAD = {  # words: what is told of them, before the hint at the help text
    "render x.ply": "expected --output PICTURE",
    "info": "expected PATH",
    "distill": "expected --teacher NAME and --data PICTURES",
    "render x.ply -o y.png --size big": "--size: expected WIDTHxHEIGHT such as 1280x720, 1 to 32768 pixels a side, got 'big'",
    "render x.ply -o y.png --size": "expected --size WIDTHxHEIGHT, got nothing after it",
    "render x.ply -o y.png --fov wide": "--fov: expected a number, got 'wide'",
    "view x.ply --port x": "--port: expected a whole number, got 'x'",
    "view x.ply --port 70000": "port: expected 0 to 65535, got 70000",
    "bench --frames 1.5": "--frames: expected a whole number, got '1.5'",
    "bench --level": "expected --level LEVEL, got nothing after it",
    "doctor again": "expected nothing more, got 'again'",
    "info x.ply --backend gpu": "--backend: there is no such flag; splatview info --help tells all",
    "bench --backend cdua": "--backend: expected one of auto, cpu, cuda; got 'cdua'; did you mean cuda?",
    "bench --bakcend=cpu": "--bakcend: there is no such flag; did you mean --backend?",
    "stylize --length 3": "--length: there is no such flag; it belongs to --style oil",
    "stylize --style onnx": "expected --model FILE",
    "stylize --style diffusion --modle x": "--modle: there is no such flag; did you mean --model?",
}


@pytest.mark.parametrize("words", MISREAD)
def test_flags_that_do_not_parse_are_one_line_and_code_2(capsys, words):
    assert main(words.split()) == 2
    printed = capsys.readouterr().err
    help_of = "" if "no such flag" in MISREAD[words] else f" (splatview {words.split()[0]} --help)"
    assert printed == f"splatview: {MISREAD[words]}{help_of}\n"


def test_where_the_parser_tells_nothing_of_its_errors_it_shows_them_itself(capsys, monkeypatch):
    from splatview.cli import parsing

    monkeypatch.setattr(parsing, "events", None)
    with pytest.raises(SystemExit) as exit:
        main(["render"])
    assert exit.value.code == 2 and "--output" in capsys.readouterr().err


def test_an_error_of_ours_is_code_1_and_shows_where(capsys, monkeypatch, scene_file):
    monkeypatch.setattr("splatview.inspection.inspect", lambda *_: 1 / 0)
    assert main(["info", str(scene_file)]) == 1
    printed = capsys.readouterr().err
    assert "Traceback" in printed and "ZeroDivisionError" in printed and "report it" in printed


def test_ctrl_c_is_code_130(monkeypatch, scene_file):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("splatview.inspection.inspect", interrupted)
    assert main(["info", str(scene_file)]) == 130


def test_view_serves_the_page_until_ctrl_c(scene_file):
    words = [sys.executable, "-m", "splatview", "view", str(scene_file), "--port", "0", "--no-open"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        try:
            ready = process.stdout.readline()
            (address,) = re.findall(r"http://\S+", ready)
            with urllib.request.urlopen(address, timeout=20) as page:
                assert page.status == 200 and b"<html" in page.read().lower()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_info_tells_the_facts_as_json(capsys, scene_file, splats):
    assert main(["info", str(scene_file), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    layer = facts["layers"]["cloud"]
    assert (facts["count"], layer["count"], layer["sh_degree"], layer["kind"]) == (500, 500, 3, "classic")
    assert facts["bytes"] == scene_file.stat().st_size
    assert facts["up"] in ("x", "y", "z", "-x", "-y", "-z")
    assert np.allclose([layer["bounds"]["low"], layer["bounds"]["high"]], [splats.means.min(0), splats.means.max(0)])
    assert (np.array(layer["robust_bounds"]["high"]) < layer["bounds"]["high"]).all()
    opacity = layer["ranges"]["opacity"]
    assert np.allclose([opacity["low"], opacity["median"], opacity["high"]], np.quantile(splats.opacities, [0, 0.5, 1]), atol=1e-6)
    assert layer["ranges"]["largest scale"]["high"] == pytest.approx(splats.scales.max())


def test_info_tells_people_the_same(capsys, scene_file):
    assert main(["info", str(scene_file)]) == 0
    printed = capsys.readouterr().out
    assert "500 Gaussians" in printed and "SH degree 3" in printed and "bounds" in printed and "opacity" in printed


def test_info_ends_quietly_when_nobody_reads_on(scene_file):
    process = subprocess.Popen([sys.executable, "-m", "splatview", "info", str(scene_file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 0
    process.stderr.close()


@pytest.fixture
def broken(splats):
    """Splats with every problem that `info` looks for, in numbers that differ."""
    means, quats, log_scales, logits, sh = (
        np.array(getattr(splats, name)) for name in ("means", "quats", "log_scales", "opacity_logits", "sh")
    )
    logits = np.maximum(logits, -4)  # visible
    means[:2, 1] = np.nan
    quats[2:5] = 0
    log_scales[5:9, 2] = 4
    logits[9:14] = -9
    means[14:20] += 1000
    sh[20:27, 3, 0] = np.inf
    log_scales[27:35, 0] = np.nan
    logits[35:44] = np.nan
    quats[44:54, 0] = -np.inf
    return replace(splats, means=means, quats=quats, log_scales=log_scales, opacity_logits=logits, sh=sh)


def test_info_counts_every_problem_and_its_advice_removes_it(capsys, tmp_path, broken):
    path = tmp_path / "broken.ply"
    save(Scene({"broken": Layer(broken)}), path)

    def problems() -> dict[str, dict]:
        assert main(["info", str(path), "--json"]) == 0
        (layer,) = json.loads(capsys.readouterr().out)["layers"].values()
        return {
            problem["what"].split(":")[0].split(" is ")[0] + (" zero" if "zero" in problem["what"] else ""): problem
            for problem in layer["problems"]
        }

    found = problems()
    counts = {name: problem["count"] for name, problem in found.items()}
    expected = {
        "position": 2,
        "quaternion zero": 3,
        "giant": 4,
        "invisible": 5,
        "stray": 6,
        "colour": 7,
        "scale": 8,
        "opacity": 9,
        "quaternion": 10,
    }
    assert counts == expected
    for name in ("position", "giant", "invisible"):
        flags = found[name]["advice"].split("convert ")[1].split()
        assert main(["convert", str(path), str(path), *flags]) == 0
        capsys.readouterr()
        assert name not in problems()
    assert "quaternion zero" not in problems() and "colour" not in problems()  # --drop-broken took them as well
    assert main(["convert", str(path), str(path), "--crop-box", "-9", "-9", "-9", "9", "9", "9"]) == 0
    capsys.readouterr()
    assert problems() == {}


def test_convert_without_flags_keeps_every_number(tmp_path, scene_file, splats):
    target = tmp_path / "copy.ply"
    assert main(["convert", str(scene_file), str(target)]) == 0
    assert target.read_bytes() == scene_file.read_bytes()


def test_convert_cuts_crops_and_filters(tmp_path, scene_file, splats):
    target = str(tmp_path / "cut.ply")
    flags = ["--max-sh", "1", "--crop-box", "-1", "-0.5", "-2", "1.5", "2", "0.9", "--min-opacity", "0.3", "--max-scale", "0.15"]
    assert main(["convert", str(scene_file), target, *flags]) == 0
    inside = ((splats.means >= [-1, -0.5, -2]) & (splats.means <= [1.5, 2, 0.9])).all(1)
    expected = splats.take(inside & (splats.opacities >= 0.3) & (splats.scales.max(1) <= 0.15)).with_max_degree(1)
    got = read(target)
    assert 0 < len(got) < len(splats)
    assert all(np.array_equal(getattr(got, name), getattr(expected, name)) for name in ("means", "sh", "opacity_logits", "log_scales"))


@pytest.mark.parametrize("given", ["words", "file"])
def test_convert_moves(tmp_path, scene_file, splats, given):
    placement = Similarity((0.5, 0.5, -0.5, 0.5), (1, 2, 3), 0.5)
    if given == "words":
        text = " ".join(map(str, placement.matrix[:3].ravel()))
    else:
        (tmp_path / "matrix.json").write_text(json.dumps(placement.matrix.tolist()))
        text = str(tmp_path / "matrix.json")
    assert main(["convert", str(scene_file), str(tmp_path / "moved.ply"), "--transform", text]) == 0
    got, expected = read(tmp_path / "moved.ply"), splats.transformed(placement)
    assert np.allclose(got.means, expected.means, atol=1e-6) and np.allclose(got.sh, expected.sh, atol=1e-5)
    assert np.allclose(got.log_scales, expected.log_scales)


def test_convert_says_what_was_lost(capsys, tmp_path, scene_file):
    assert main(["convert", str(scene_file), str(tmp_path / "small.splat")]) == 0
    printed = capsys.readouterr().out
    assert "note: " in printed and "500 Gaussians" in printed


@pytest.fixture
def field_file(tmp_path):
    """A field of two levels, as a snapshot of Instant-NGP."""
    rng, shapes = np.random.default_rng(0), level_shapes(2, 4, 2, 2.0)
    levels = tcnn.levels(rng.normal(size=2 * sum(entries for *_, entries in shapes)), 2, 2, 4, 2, 2.0)
    networks = (
        Network((rng.normal(size=(16, 4)), rng.normal(size=(16, 16)))),
        Network((rng.normal(size=(16, 32)), rng.normal(size=(3, 16)))),
    )
    half = np.zeros((1, 2, 2, 2), bool)
    half[0, 0] = True
    box = np.array([[0, 0, 0], [1, 1, 1]])
    field = HashGrid(levels, *networks, box, Marching(3**0.5 / 1024, near=0.05), Occupancy(half, box[None]))
    save(Scene({"fox": Layer(field, exposure=1.5)}), tmp_path / "fox.ingp")
    return tmp_path / "fox.ingp"


def test_info_tells_what_a_field_is_made_of(capsys, field_file):
    assert main(["info", str(field_file)]) == 0
    printed = capsys.readouterr().out
    for told in ("1 hash-grid field", "4 - 16 - 16", "32 - 16 - 3", "occupied 50 %", "cone 0", "1.5 stops", "hashed"):
        assert told in printed
    assert "Gaussians" not in printed and "up axis z" in printed
    assert main(["info", "--json", str(field_file)]) == 0
    facts = json.loads(capsys.readouterr().out)
    field = facts["layers"]["fox"]["field"]
    assert facts["count"] == 0 and field["occupancy"] == {"cells": [128, 128, 128], "occupied": [0.5]} and len(field["levels"]) == 2
    assert field["box"] == [[0, 0, 0], [1, 1, 1]] and not field["hdr"] and field["parameters"] > 500


def test_convert_moves_a_field_and_changes_nothing_else_of_it(capsys, tmp_path, field_file):
    target = tmp_path / "moved.ingp"
    assert main(["convert", str(field_file), str(target), "--transform", "2 0 0 1  0 2 0 2  0 0 2 3"]) == 0
    assert "moved.ingp: a hash-grid field" in capsys.readouterr().out
    [before], [after] = load(field_file).layers.values(), load(target).layers.values()
    assert np.allclose(after.placement.apply([0.1, 0.2, 0.3]), 2 * before.placement.apply([0.1, 0.2, 0.3]) + [1, 2, 3])
    points = np.random.default_rng(0).uniform(0.1, 0.9, (50, 3))
    assert all(map(np.array_equal, before.content.query(points, points), after.content.query(points, points)))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["convert", "FIELD", "TARGET.ply"], "--gaussians N makes N Gaussians of it; as a field it is saved as .ingp"),
        (["convert", "FIELD", "TARGET.ply", "--gaussians", "0"], "--gaussians: expected 1 or more, got 0"),
        (["convert", "FIELD", "TARGET.ingp", "--gaussians", "9"], "expected a target that holds Gaussians"),
        (["convert", "FIELD", "TARGET/none.ply", "--gaussians", "9"], "there is no folder"),
        (["convert", "SPLATS", "TARGET.ply", "--gaussians", "9"], "expected a hash-grid field to be made into splats, found none"),
        (["convert", "FIELD", "TARGET.ingp", "--max-sh", "1", "--drop-broken"], "--max-sh, --drop-broken: expected a scene of Gaussians"),
        (["convert", "SPLATS", "TARGET.ingp"], "found only Gaussians"),
        (["edit", "FIELD", "--script", "EDITS", "-o", "TARGET.ingp"], "Normalise quaternions: expected a layer of Gaussians"),
        (["edit", "FIELD", "--script", "NOTHING", "-o", "TARGET.ply"], "a hash-grid field is saved as .ingp"),
    ],
)
def test_what_cannot_be_done_with_a_field_is_one_line(capsys, tmp_path, scene_file, field_file, words, why):
    (tmp_path / "edits.json").write_text(json.dumps({"operations": [{"is": "Normalise", "layer": "fox"}]}))
    (tmp_path / "nothing.json").write_text(json.dumps({"operations": []}))
    given = {"FIELD": str(field_file), "SPLATS": str(scene_file)}
    given |= {"EDITS": str(tmp_path / "edits.json"), "NOTHING": str(tmp_path / "nothing.json")}
    assert main([given.get(word, word).replace("TARGET", str(tmp_path / "target")) for word in words]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert why in line and not list(tmp_path.glob("target*"))


@pytest.fixture
def ball_file(tmp_path):
    """A red ball in the middle of the unit cube."""
    save(Scene({"ball": Layer(ball())}), tmp_path / "ball.ingp")
    return tmp_path / "ball.ingp"


def test_convert_crops_a_field_to_a_box_of_the_world(capsys, tmp_path, ball_file):
    """Half of a ball is left, where it stands; it is cropped already then."""
    half, out = tmp_path / "half.ingp", tmp_path / "half.png"
    box = ["--crop-box", "-9", "-9", "-9", "9", "9", "0.5"]
    assert main(["convert", str(ball_file), str(half), *box, "--transform", "1 0 0 4  0 1 0 0  0 0 1 0"]) == 0
    [layer] = load(half).layers.values()
    low, high = layer.placement.apply(layer.bounds)
    assert low[2] < 0.1 and high[2] == pytest.approx(0.5), "what is above is gone"
    assert main(["render", str(half), "-o", str(out), "--size", "64x48"]) == 0 and picture(out).max() > 200
    assert main(["convert", str(half), str(half), *box]) == 2
    assert "not cropped yet" in capsys.readouterr().err


def test_edit_crops_exposes_and_backs_a_field(tmp_path, ball_file):
    cut = {"is": "Cut", "volume": {"is": "Sphere", "centre": [0.5, 0.5, 0.5], "radius": 0.2}, "keeps": False}
    crop, expose = {"is": "Crop", "layer": "ball", "cuts": [cut]}, {"is": "Expose", "layer": "ball", "stops": -1}
    behind = {"is": "SetBackground", "layer": "ball", "colour": [0, 0.5, 1]}
    (tmp_path / "edits.json").write_text(json.dumps({"operations": [crop, expose, behind]}))
    target, out = tmp_path / "out.ingp", tmp_path / "out.png"
    assert main(["edit", str(ball_file), "--script", str(tmp_path / "edits.json"), "-o", str(target)]) == 0
    [layer] = load(target).layers.values()
    assert (layer.exposure, layer.background) == (-1, (0, 0.5, 1)) and not layer.content.occupancy.at([[0.5, 0.5, 0.5]]).any()
    assert main(["render", str(target), "-o", str(out), "--size", "64x48"]) == 0
    pixels = picture(out).astype(int)
    assert np.abs(pixels[2, 2] - [0, 128, 255]).max() <= 2, "the background is the layer's"
    assert np.abs(pixels[24, 32] - [167, 16, 16]).max() <= 4, "half the light of (230, 26, 26)"


def test_convert_makes_splats_of_a_field_and_tells_how_alike_they_are(capsys, monkeypatch, tmp_path, ball_file):
    quick = Effort(views=8, width=48, height=32, rounds=15)
    monkeypatch.setattr(splatted, "splatted", functools.partial(splatted.splatted, effort=quick))
    monkeypatch.setattr(splatting, "VIEWS", 2)
    target = tmp_path / "ball.ply"
    assert (
        main(["convert", str(ball_file), str(target), "--gaussians", "400", "--max-sh", "1", "--transform", "2 0 0 0  0 2 0 0  0 0 2 0"])
        == 0
    )
    told = capsys.readouterr().out
    assert re.search(r"ball\.ply: 400 Gaussians, [\d.]+ MB; \d\d\.\d dB against the field over an orbit of 2 views", told), told
    [before], [after] = load(ball_file).layers.values(), load(target).layers.values()
    middle = 2 * before.placement.apply([0.5, 0.5, 0.5])
    distance = np.linalg.norm(after.splats.means - middle, axis=1) / before.placement.scale
    assert after.splats.sh_degree == 1 and abs(np.median(distance) - 0.6) < 0.05


def test_render_draws_a_field(tmp_path, ball_file):
    out = tmp_path / "out.png"
    assert main(["render", str(ball_file), "-o", str(out), "--size", "64x48", "--background", "blue", "--depth"]) == 0
    pixels, depth = picture(out).astype(int), np.load(tmp_path / "out_depth.npy")
    assert np.abs(pixels[24, 32] - [230, 26, 26]).max() <= 3 and np.abs(pixels[0, 0] - [0, 0, 255]).max() <= 1
    seen = pixels[..., 0] > 128
    assert 0.1 < seen.mean() < 0.8 and seen[24].sum() == pytest.approx(seen[:, 32].sum(), abs=3), "a ball is round, and whole"
    assert depth[24, 32] > 0 and depth[0, 0] == 0


def test_splats_and_fields_are_drawn_together(capsys, tmp_path, scene_file, ball_file):
    both, out = [str(scene_file), str(ball_file)], tmp_path / "out.png"
    assert main(["render", *both, "-o", str(out), "--size", "64x48"]) == 0
    scene = load(scene_file).joined(load(ball_file))
    camera = frame_scene(scene).camera(64, 48)
    assert np.array_equal(picture(out), open_renderer("cpu").render(scene, camera, RenderOptions(outputs=("rgb8",))).rgb8)
    capsys.readouterr()
    assert main(["bench", *both, "--frames", "1", "--size", "64x48", "--json", str(tmp_path / "figures.json")]) == 0
    printed = capsys.readouterr().out
    assert "500 Gaussians and 1 hash-grid field, backend" in printed and "fields" in printed
    assert json.loads((tmp_path / "figures.json").read_text())["sizes"][0]["counts"]["samples"] > 0


def test_edit_places_a_field_and_leaves_it_as_it_is(capsys, tmp_path, ball_file):
    operations = [
        {"is": "Place", "layer": "ball", "placement": {"is": "Similarity", "translation": [1, 2, 3]}},
        {"is": "Bake"},
        {"is": "CapDegree", "degree": 0},
    ]
    (tmp_path / "edits.json").write_text(json.dumps({"operations": operations}))
    target = tmp_path / "moved.ingp"
    assert main(["edit", str(ball_file), "--script", str(tmp_path / "edits.json"), "-o", str(target)]) == 0
    assert "1 hash-grid field" in capsys.readouterr().out
    [before], [after] = load(ball_file).layers.values(), load(target).layers.values()
    assert after.placement.translation == pytest.approx((1, 2, 3)) and digest_of(after.content) == digest_of(before.content)


@pytest.fixture
def path_file(tmp_path):
    """Three cameras on an arc."""
    path = tmp_path / "path.json"
    save_cameras([Camera.look_at((x, -5, 1), (0, 0, 0), (0, 0, 1), 0.8, 80, 60) for x in (-1, 0, 1)], path)
    return path


def test_render_draws_what_the_renderer_draws(tmp_path, scene_file, path_file):
    target = tmp_path / "out_%04d.png"
    words = ["render", str(scene_file), "-o", str(target), "--camera", str(path_file), "--background", "#ff8000", "--depth"]
    assert main(words) == 0
    from splatview.formats import load_cameras

    options = RenderOptions(background=(1, 128 / 255, 0), outputs=("rgb8", "depth"))
    renderer = open_renderer("cpu")
    for index, camera in enumerate(load_cameras(path_file)):
        frame = renderer.render(load(scene_file), camera, options)
        assert np.array_equal(picture(tmp_path / f"out_{index:04d}.png"), frame.rgb8)
        assert np.array_equal(np.load(tmp_path / f"out_{index:04d}_depth.npy"), frame.depth)
        steps = picture(tmp_path / f"out_{index:04d}_depth.png")
        assert np.abs(steps / 1000 - frame.depth).max() <= 0.0005 + 1e-6
    assert not (tmp_path / "out_0003.png").exists()


def test_render_shows_the_whole_scene_without_a_camera(tmp_path, scene_file):
    target = tmp_path / "new" / "out.png"
    assert main(["render", str(scene_file), "--output", str(target), "--size", "160x90", "--fov", "40", "--up", "z"]) == 0
    scene = load(scene_file)
    frame = open_renderer("cpu").render(scene, frame_scene(scene, "z").camera(160, 90, math.radians(40)))
    drawn = picture(target)
    assert np.array_equal(drawn, frame.rgb8)
    assert drawn[30:60, 60:100].mean() > 20, "the middle is empty"


def test_render_leaves_the_background_transparent(tmp_path, scene_file, path_file):
    """Laid over any background the transparent picture is the opaque one, within the rounding of its 8 bits."""
    camera = ["--camera", str(path_file)]
    assert main(["render", str(scene_file), "-o", str(tmp_path / "clear.png"), *camera, "--alpha"]) == 0
    assert main(["render", str(scene_file), "-o", str(tmp_path / "over.png"), *camera, "--background", "#20c040"]) == 0
    clear, over = picture(tmp_path / "clear_0001.png").astype(float), picture(tmp_path / "over_0001.png")
    assert clear.shape == (60, 80, 4) and clear[..., 3].min() == 0
    alpha = clear[..., 3:] / 255
    laid = clear[..., :3] * alpha + np.array([0x20, 0xC0, 0x40]) * (1 - alpha)
    unclipped = clear[..., :3].max(axis=-1) < 255  # 8 bits hold no colour over 1
    assert unclipped.mean() > 0.5
    assert np.abs(laid - over)[unclipped].max() <= 1.5


def test_render_draws_several_scenes_together(tmp_path, scene_file, splats, path_file):
    other = tmp_path / "other.ply"
    moved = Scene({"other": Layer(splats, Similarity(translation=(1, 0, 0)))})
    save(moved, other)
    assert main(["render", str(scene_file), str(other), "-o", str(tmp_path / "both.png"), "--camera", str(path_file)]) == 0
    from splatview.formats import load_cameras

    frame = open_renderer("cpu").render(load(scene_file).joined(load(other)), load_cameras(path_file)[2])
    assert np.array_equal(picture(tmp_path / "both_0002.png"), frame.rgb8)


def test_numbered_names(tmp_path):
    assert [path.name for path in numbered(tmp_path / "a.png", 1)] == ["a.png"]
    assert [path.name for path in numbered(tmp_path / "a.png", 2)] == ["a_0000.png", "a_0001.png"]
    assert [path.name for path in numbered(tmp_path / "a%02d.png", 2)] == ["a00.png", "a01.png"]
    assert [path.name for path in numbered(tmp_path / "a%02d.png", 1)] == ["a00.png"]


def test_depth_pictures_keep_nothing_apart_from_near_and_far():
    assert depth_steps(np.array([0, 1e-9, 0.001, 1.2344, 65.534, 1e9])).tolist() == [0, 1, 1, 1234, 65534, 65534]


def test_another_size_keeps_the_middle_and_the_vertical_view():
    camera = Camera.look_at((1, -5, 1), (0, 0, 0), (0, 0, 1), 0.8, 80, 60)
    wide = Size.parse("320x120").fit(camera)
    assert (wide.width, wide.height) == (320, 120) and wide.fov_y == pytest.approx(camera.fov_y)
    middle = wide.unproject([160, 60], 2.0)
    assert np.allclose(middle, camera.unproject([40, 30], 2.0))
    assert wide.K[0, 0] / wide.K[1, 1] == pytest.approx(camera.K[0, 0] / camera.K[1, 1])


@pytest.mark.parametrize("text", ["", "12", "x", "12x", "0x5", "-3x5", "40000x10", "12x34x56", "1.5x2"])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="1280x720"):
        Size.parse(text)


def test_bench_reports_every_stage(capsys, tmp_path, scene_file):
    report = tmp_path / "bench.json"
    assert main(["bench", str(scene_file), "--frames", "2", "--json", str(report)]) == 0
    facts = json.loads(report.read_text())
    assert facts["gaussians"] == 500 and [size["width"] for size in facts["sizes"]] == [640, 1280, 1920]
    for size in facts["sizes"]:
        assert size["stages_ms"] and sum(size["stages_ms"].values()) <= 1.5 * size["frame_ms"] + 1
    printed = capsys.readouterr().out
    assert "1920x1080" in printed and all(stage in printed for stage in facts["sizes"][0]["stages_ms"])


def test_progress_shows_on_a_terminal_after_a_while(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(waiting, "PATIENCE", 0.01)
    with waiting.waiting("reading cloud.ply") as progress:
        progress(0.5, "half of it")
        time.sleep(0.3)
    shown = capsys.readouterr().err
    assert "reading cloud.ply" in shown and "half of it" in shown


def test_progress_is_silent_for_what_is_quick_or_not_watched(capsys, monkeypatch):
    with waiting.waiting("reading"):
        time.sleep(0.05)
    assert list(waiting.counted([1, 2], "drawing")) == [1, 2]
    monkeypatch.setenv("FORCE_COLOR", "1")
    with waiting.waiting("reading"):
        pass
    assert capsys.readouterr() == ("", "")
