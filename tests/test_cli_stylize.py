"""`splatview stylize`: scenes, networks and models come out in a style; and what is wrong is one line."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import small_fields
import tiny_onnx
import tiny_videos
from PIL import Image
from style_words import a_path, a_scene, drawn, picture, pictures, stylize
from stylized_frames import clouds
from test_viewer import coloured_ball
from tiny_videos import psnr

from splatview import RenderOptions, Scene, load, open_renderer, save
from splatview.formats import load_cameras
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.stylize.filters import FILTERS
from splatview.stylize.masks import DepthRange, Mask, Masked, Selection
from splatview.stylize.temporal import Steady


@pytest.fixture
def video(tmp_path):
    return tiny_videos.write(tmp_path / "walk.mp4", count=10, sound="aac")


@pytest.fixture
def scene(tmp_path):
    return a_scene(tmp_path)


@pytest.fixture
def path_file(tmp_path):
    return a_path(tmp_path)


# What is wrong


USER_ERRORS = {
    "nothing": ([], "expected a scene, pictures, a video"),
    "unknown style": (["{video}", "--style", "oill"], "did you mean oil?"),
    "number beyond its ends": (["{video}", "-o", "{tmp}/x.mp4", "--radius", "99"], "--radius: expected 1 to 12, got 99"),
    "its own name": (["{video}", "-o", "{tmp}/x.mp4", "--style", "pixel", "--pixel-size", "1"], "--pixel-size: expected 2 to 32"),
    "no such video": (["{tmp}/no.mp4", "-o", "{tmp}/x.mp4"], "no.mp4: there is no such file"),
    "no such picture": (["{tmp}/no.png", "-o", "{tmp}/x.png"], "no.png: there is no such file"),
    "no such pattern": (["{tmp}/no*.png", "-o", "{tmp}/x.png"], "there is no such picture"),
    "no such scene": (["{tmp}/no.ply", "-o", "{tmp}/x.mp4"], "no.ply"),
    "no video": (["{tmp}/text.mp4", "-o", "{tmp}/x.mp4"], "text.mp4: expected a video"),
    "no picture": (["{tmp}/text.png", "-o", "{tmp}/x.png"], "text.png: expected a picture"),
    "no camera": (["7", "-o", "{tmp}/x.mp4"], "webcam 7: there is none"),
    "no camera of so many": (["9" * 20, "-o", "{tmp}/x.mp4"], f"webcam {'9' * 20}: there is none"),
    "an empty name": (["", "-o", "{tmp}/x.mp4"], "got an empty name"),
    "an empty target": (["{video}", "-o", ""], "--output: expected a path, got an empty word"),
    "a file that is no folder": (["{video}", "-o", "{tmp}/file"], "file is none; names of files end in .png"),
    "frames beyond counting": (["{video}", "--frames", "9" * 20, "-o", "{tmp}/x.mp4"], "--frames: expected 1 to 1,000,000,000"),
    "frames around a scene": (["{scene}", "--frames", "100001", "-o", "{tmp}/x.mp4"], "at most 100,000 once around a scene, got 100,001"),
    "neither scene nor video": (["{tmp}/file", "-o", "{tmp}/x.mp4"], ".spz (Niantic spz)"),
    "no kind that is known": (["{tmp}/file", "-o", "{tmp}/x.mp4"], "a picture (.png"),
    "network of nothing": (["{video}", "--style", "{tmp}/empty.onnx", "-o", "{tmp}/x.mp4"], "empty.onnx: the file is empty"),
    "two videos": (["{video}", "{video}"], "expected one video"),
    "itself": (["{video}", "-o", "{video}"], "written over"),
    "its own folder": (["{tmp}/photos", "-o", "{tmp}/photos"], "written over"),
    "its own numbers": (["{tmp}/f_0000.png", "{tmp}/f_0001.png", "-o", "{tmp}/f_%04d.png"], "written over"),
    "its own number": (["{tmp}/f_0000.png", "-o", "{tmp}/other/../f_%04d.png"], "written over"),
    "numbers at its end": (["{tmp}/f_0001.png", "{tmp}/f_0000.png", "-o", "{tmp}/f.png"], "written over"),
    "one place for two": (["{tmp}/photos", "{tmp}/other", "-o", "{tmp}/out"], "several of the pictures"),
    "unknown target": (["{video}", "-o", "{tmp}/x.xyz"], ".webm"),
    "no such folder": (["{video}", "-o", "{tmp}/no/x.mp4"], "there is no folder"),
    "bad pattern": (["{video}", "-o", "{tmp}/%s%d.png"], "%04d"),
    "place of a video": (["{video}", "--where", "background", "-o", "{tmp}/x.mp4"], "--where is for scenes"),
    "no such place": (["{scene}", "--where", "left", "-o", "{tmp}/x.png"], "expected background, depth NEAR FAR, layer NAME, or selection"),
    "no such layer": (["{scene}", "--where", "layer", "cube", "-o", "{tmp}/x.png"], "expected one of ball"),
    "no such layer among others": (["{scene}", "--where", "layer", "ball", "cube", "-o", "{tmp}/x.png"], "expected one of ball; got cube"),
    "selection of a video": (["{video}", "--where", "selection", "opacity > 0", "-o", "{tmp}/x.mp4"], "--where is for scenes"),
    "no expression": (
        ["{scene}", "--where", "selection", "opacity <", "-o", "{tmp}/x.png"],
        "selection: expected something behind <",
    ),
    "no attribute": (["{tmp}/no.ply", "--where", "selection", "opacty < 1", "-o", "{tmp}/x.png"], "did you mean opacity"),
    "no such volume": (["{scene}", "--where", "selection", "within(box)", "-o", "{tmp}/x.png"], "--where selection: within(box): expected"),
    "depth from no camera": (["{scene}", "--where", "selection", "depth < 3", "-o", "{tmp}/x.png"], "--where selection: depth: expected a"),
    "selection of none": (["{scene}", "--where", "selection", "x > 9", "-o", "{tmp}/x.png"], "0 of 800 Gaussians are selected"),
    "selection of nothing": (
        ["{scene}", "--where", "selection", "-o", "{tmp}/x.png"],
        "selected: expected an EXPRESSION",
    ),
    "selection of a field": (["{field}", "--where", "selection", "x > 0", "-o", "{tmp}/x.png"], "expected Gaussians, found none"),
    "document and scene": (["{tmp}/no.splatview", "{scene}", "-o", "{tmp}/x.png"], "expected one document and nothing else"),
    "no such document": (["{tmp}/no.splatview", "-o", "{tmp}/x.png"], "no.splatview"),
    "depth in words": (["{scene}", "--where", "depth", "near", "far", "-o", "{tmp}/x.png"], "two numbers"),
    "depth that ends before it begins": (
        ["{scene}", "--where", "depth", "5", "2", "-o", "{tmp}/x.png"],
        "depth: expected 0 <= NEAR < FAR, got 5 2",
    ),
    "place before what is redrawn": (["--where", "depth", "0", "5", "{scene}", "-o", "{tmp}/x.png"], "before --where"),
    "cameras of a video": (["{video}", "--camera", "{tmp}/no.json", "-o", "{tmp}/x.mp4"], "--camera is for scenes, and"),
    "cameras that are none": (["{scene}", "--camera", "{tmp}/f_0000.png", "-o", "{tmp}/x.mp4"], "expected a JSON camera file"),
    "background of a picture": (["{tmp}/f_0000.png", "--background", "red", "-o", "{tmp}/x.png"], "--background is for scenes"),
    "minus first": (["{scene}", "--where", "selection", "-z > 0", "-o", "{tmp}/x.png"], "expected ' -z > 0', with a space first"),
    "level of a picture": (["{tmp}/f_0000.png", "--level", "0", "-o", "{tmp}/x.png"], "--level is for scenes"),
    "pace of a video": (["{video}", "--fps", "12", "-o", "{tmp}/x.mp4"], "--fps is for scenes and pictures"),
    "feather of nothing": (["{video}", "--feather", "5", "-o", "{tmp}/x.mp4"], "--where"),
    "both": (["{video}", "--steady", "--no-steady", "-o", "{tmp}/x.mp4"], "--no-steady"),
    "no frames": (["{video}", "--frames", "0", "-o", "{tmp}/x.mp4"], "--frames"),
    "no pace": (["{video}", "--fps", "0", "-o", "{tmp}/x.mp4"], "--fps"),
    "no such network": (["{video}", "--style", "onnx", "--model", "{tmp}/no.onnx", "-o", "{tmp}/x.mp4"], "no.onnx"),
    "no network of that name": (["{video}", "--style", "{tmp}/no.onnx", "-o", "{tmp}/x.mp4"], "no.onnx"),
    "no such model": (["{video}", "--style", "diffusion", "--model", "some/thing", "-o", "{tmp}/x.mp4"], "some/thing"),
    "nearly a model": (["{video}", "--style", "diffusion", "--model", "sd-turb", "-o", "{tmp}/x.mp4"], "did you mean sd-turbo?"),
    "no model": (["{video}", "--style", "diffusion", "--model", "", "-o", "{tmp}/x.mp4"], "there is no model ''"),
    "seed below 0": (["{video}", "--style", "diffusion", "--seed", "-1", "-o", "{tmp}/x.mp4"], "--seed: expected whole numbers"),
    "weights of a prompt": (["{video}", "--style", "diffusion", "--prompt", "a: nan", "-o", "{tmp}/x.mp4"], "--prompt: expected weights"),
    "amount of a LoRA": (["{video}", "--style", "diffusion", "--lora", "a=nan", "-o", "{tmp}/x.mp4"], "--lora: expected NAME"),
    "LoRA in words": (["{video}", "--style", "diffusion", "--lora", "a=b", "-o", "{tmp}/x.mp4"], "--lora"),
    "no port": (["{video}", "--no-open", "--port", "65536"], "--port: expected 0 to 65535, got 65536"),
    "half of https": (["{video}", "--no-open", "--tls-cert", "{tmp}/text.png"], "both or none"),
    "no certificate": (["{video}", "--no-open", "--tls-cert", "{tmp}/text.png", "--tls-key", "{tmp}/text.png"], "text.png"),
    "foreign address": (["{video}", "--no-open", "--host", "192.0.2.1"], "192.0.2.1"),
}


@pytest.mark.parametrize("name", USER_ERRORS)
def test_a_users_error_is_one_line_and_code_2(capfd, tmp_path, video, scene, name):
    for text in ("text.mp4", "text.png", "file"):
        (tmp_path / text).write_text("neither pictures nor video")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "other").mkdir()
    for name_of in ("photos/a.png", "other/a.bmp", "f_0000.png", "f_0001.png"):
        Image.fromarray(clouds(9, 9)).save(tmp_path / name_of)
    words, message = USER_ERRORS[name]
    field = tmp_path / "fox.ingp"
    if "{field}" in words:
        save(Scene({"fox": Layer(small_fields.ball())}), field)
    before = {one: one.read_bytes() for one in (video, tmp_path / "f_0000.png", tmp_path / "photos" / "a.png")}
    assert stylize(*(word.format(tmp=tmp_path, video=video, scene=scene, field=field) for word in words)) == 2
    printed = capfd.readouterr()
    assert printed.err.startswith("splatview: ") and printed.err.count("\n") == 1 and message in printed.err, printed.err
    assert {one: one.read_bytes() for one in before} == before and not list(tmp_path.glob("x.*")) and not list(tmp_path.glob(".*"))


def test_without_its_package_a_video_names_the_pip_line(video):
    code = (
        f"import sys; sys.modules['av'] = None; from splatview.cli import main; sys.exit(main(['stylize', {str(video)!r}, '-o', 'x.mp4']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "splatview: videos need PyAV: pip install 'splatview[stream]'\n")


# Networks and diffusion


def test_a_network_redraws(tmp_path, video, capsys):
    (tmp_path / "negative.onnx").write_bytes(tiny_onnx.mixed(-np.eye(3), (1, 1, 1)))
    for style in (["--style", "onnx", "--model", tmp_path / "negative.onnx"], ["--style", tmp_path / "negative.onnx"]):
        assert stylize(video, "-o", tmp_path / "out.mp4", *style, "--values", "0..1", "--channels", "RGB") == 0
        for one, of in zip(pictures(tmp_path / "out.mp4"), pictures(video), strict=True):
            assert psnr(one.rgb8, 255 - of.rgb8) > 30
        assert "\nRGB; 0..1; CPU\n" in capsys.readouterr().out


@pytest.mark.xdist_group("diffusion")
def test_a_diffusion_model_redraws_every_frame_of_a_video(tmp_path, video, tiny_sd, capsys):
    words = ["--style", "diffusion", "--model", tiny_sd("turbo"), "--diffusion-size", "64", "--steps", "3", "--mix", "0", "--device", "cpu"]
    assert stylize(video, "-o", tmp_path / "out.mp4", *words, "--prompt", f"{300 * 'snow '}| oil: 0.5", "--frames", "6") == 0
    assert "turbo on cpu; eager; the prompt is too long; what is lost of it: " in capsys.readouterr().out
    found = pictures(tmp_path / "out.mp4")
    assert len(found) == 6  # with a mix of 0 each is its own frame, although it comes two frames late
    assert min(psnr(one.rgb8, of.rgb8) for one, of in zip(found, pictures(video), strict=False)) > 30


# Scenes


def test_a_scene_is_seen_from_the_cameras_of_a_path_and_steadied(tmp_path, scene, path_file):
    frames = drawn(scene, load_cameras(path_file))
    style = FILTERS["toon"]()
    for words, stylizer in ((["--no-steady"], style), ([], Steady(style))):
        assert stylize(scene, "--camera", path_file, "-o", tmp_path / "out.png", "--style", "toon", *words) == 0
        for number, one in enumerate(frames):
            np.testing.assert_array_equal(picture(tmp_path / f"out_{number:04d}.png"), stylizer.style(one))


def test_a_scene_without_a_path_is_flown_around(capsys, tmp_path, scene):
    assert stylize(scene, "-o", tmp_path / "orbit.mp4", "--size", "64x64", "--frames", "8", "--fps", "8", "--up", "z", "--no-steady") == 0
    found = pictures(tmp_path / "orbit.mp4")
    assert [one.time for one in found] == [Fraction(number, 8) for number in range(8)]
    assert "draw " in capsys.readouterr().out
    assert stylize(scene, "-o", tmp_path / "o_%d.png", "--size", "64x64", "--fps", "0.4", "--up", "z", "--no-steady") == 0, "some pictures"
    for number in range(4):
        assert psnr(picture(tmp_path / f"o_{number}.png"), found[2 * number].rgb8) > 25
    assert stylize(scene, "-o", tmp_path / "slow.mp4", "--size", "64x64", "--fps", "0.01") == 0
    assert len(pictures(tmp_path / "slow.mp4")) == 1, "there is always one"
    assert stylize(scene, "-o", tmp_path / "front.png", "--size", "64x64", "--up", "z") == 0, "a picture is one view"
    assert psnr(picture(tmp_path / "front.png"), found[0].rgb8) > 25
    apart = [psnr(one.rgb8, found[0].rgb8) for one in found]
    assert apart[1] > apart[4] and apart[7] > apart[4], "once around"


def test_what_is_not_meant_stays_as_it_is(tmp_path, scene, path_file):
    [first, *_] = drawn(scene, load_cameras(path_file))
    style = FILTERS["pixel"]()
    words = ["--camera", path_file, "--frames", "1", "--style", "pixel", "--where", "depth", "0", "3.9"]
    assert stylize(scene, "-o", tmp_path / "near.png", *words) == 0
    assert stylize(scene, "-o", tmp_path / "far.png", *words, "--inverted") == 0
    share = DepthRange(0, 3.9).share(first)
    near, far = picture(tmp_path / "near.png"), picture(tmp_path / "far.png")
    assert 0.01 < share.mean() < 0.9
    np.testing.assert_array_equal(near, Masked((Mask(DepthRange(0, 3.9)), style)).style(first))
    np.testing.assert_array_equal(near[share == 0], first.rgb8[share == 0])
    np.testing.assert_array_equal(far[share == 0], style.style(first)[share == 0])


def test_of_a_scene_what_an_expression_selects_is_redrawn(capsys, tmp_path, scene, path_file):
    """As far as its Gaussians are seen, and of all layers; in the picture nothing else shows it."""
    save(Scene({"other": Layer(coloured_ball(500, seed=1), Similarity(translation=(1.5, 0, 0)))}), tmp_path / "other.ply")
    words = [scene, tmp_path / "other.ply", "--camera", path_file, "--frames", "1", "--style", "pixel"]
    assert stylize(*words, "-o", tmp_path / "out.png", "--where", "selection", "z > p60 and not red > 0.5") == 0
    content = load(scene).joined(load(tmp_path / "other.ply"))
    masks = {}
    for name, layer in content.layers.items():
        z = layer.placement.apply(layer.splats.means)[:, 2]
        masks[name] = (z > np.percentile(z, 60)) & ~(layer.splats.colours[:, 0] > 0.5)
    count = sum(np.count_nonzero(mask) for mask in masks.values())
    assert f"selected: {count} of 1,300 Gaussians\n" in capsys.readouterr().out
    outputs = ("rgb8", "alpha", "depth", "coverage")
    frame = open_renderer("cpu").render(content, load_cameras(path_file)[0], RenderOptions(outputs=outputs, tinted=masks, tint=None))
    assert 0.02 < (frame.coverage > 0.5).mean() < 0.5
    np.testing.assert_array_equal(picture(tmp_path / "out.png"), Masked((Mask(Selection()), FILTERS["pixel"]())).style(frame))
    np.testing.assert_array_equal(frame.rgb8, drawn(content, [frame.camera])[0].rgb8)
