"""`splatview stylize`: what comes in, in a style, comes out: pictures, videos with their times and sound, scenes, webcams, and a page."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import signal
import ssl
import struct
import subprocess
import sys
import threading
import time
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
import small_fields
import tiny_onnx
import tiny_videos
from aiohttp import ClientSession, TCPConnector, WSMsgType
from PIL import Image
from stylized_frames import clouds, frame
from test_viewer import coloured_ball
from test_viewer_door import certificate
from tiny_videos import psnr, smooth

from splatview import Camera, RenderOptions, Scene, load, open_renderer, save
from splatview.cli import inputs, kinds, main
from splatview.cli.faults import UserError
from splatview.cli.redrawing import Redrawing
from splatview.cli.streaming import Stream
from splatview.cli.targets import Pictures
from splatview.edit import archive
from splatview.edit.document import Document
from splatview.edit.editing import Editing
from splatview.edit.operations import Delete, Hide, Place, SaveSet
from splatview.edit.select import Range, Tools
from splatview.edit.state import State
from splatview.formats import load_cameras, save_cameras
from splatview.geometry import Similarity
from splatview.outputs.video import VideoReader
from splatview.scene import Layer
from splatview.stream.webcam import Webcam
from splatview.stylize.filters import FILTERS
from splatview.stylize.masks import DepthRange, Layers, Mask, Masked, Selection
from splatview.stylize.temporal import Steady
from splatview.viewer.desk import sources_of


def picture(path):
    with Image.open(path) as image:
        return np.array(image)


def pictures(path):
    with VideoReader(path) as video:
        return list(video.pictures())


def stylize(*words):
    return main(["stylize", *map(str, words)])


@pytest.fixture
def video(tmp_path):
    return tiny_videos.write(tmp_path / "walk.mp4", count=10, sound="aac")


@pytest.fixture
def scene(tmp_path):
    save(Scene({"ball": Layer(coloured_ball(800))}), tmp_path / "ball.ply")
    return tmp_path / "ball.ply"


@pytest.fixture
def path_file(tmp_path):
    cameras = [Camera.look_at((np.sin(a) * 4, -np.cos(a) * 4, 1), (0, 0, 0), (0, 0, 1), 0.8, 64, 36) for a in np.linspace(0, 0.3, 4)]
    save_cameras(cameras, tmp_path / "path.json")
    return tmp_path / "path.json"


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
    for text in ("text.mp4", "text.png"):
        (tmp_path / text).write_text("neither pictures nor video")
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


# Pictures


def test_pictures_keep_their_alpha_and_stand_upright(tmp_path):
    rgba = np.dstack([clouds(40, 60), np.tile(np.linspace(0, 255, 60).astype(np.uint8), (40, 1))])
    Image.fromarray(rgba).save(tmp_path / "soft.png")
    assert stylize(tmp_path / "soft.png", "-o", tmp_path / "out.png", "--style", "oil") == 0
    np.testing.assert_array_equal(picture(tmp_path / "out.png")[..., 3], rgba[..., 3])
    turned = Image.fromarray(smooth(0, 40, 60))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right makes it upright
    turned.save(tmp_path / "phone.jpg", exif=exif, quality=98, subsampling=0)
    assert stylize(tmp_path / "phone.jpg", "-o", tmp_path / "phone.png", "--radius", "1", "--colour", "1") == 0
    assert psnr(picture(tmp_path / "phone.png"), np.rot90(smooth(0, 40, 60), -1)) > 25


def test_large_pictures_are_read_without_remarks_and_floats_are_told(monkeypatch, tmp_path):
    Image.fromarray(smooth(0, 30, 40)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # of 1200
    np.testing.assert_array_equal(inputs.read_picture(tmp_path / "large.png")[0], smooth(0, 30, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(ValueError, match=r"large\.png: expected a picture .*exceeds limit"):
        inputs.read_picture(tmp_path / "large.png")
    Image.fromarray(np.ones((4, 6), np.float32)).save(tmp_path / "floats.tif")
    with pytest.raises(ValueError, match=r"floats\.tif: expected a picture \(it has floats"):
        inputs.read_picture(tmp_path / "floats.tif")


def test_pictures_of_other_shapes_keep_them_in_a_video(tmp_path):
    Image.fromarray(np.full((40, 64, 3), 200, np.uint8)).save(tmp_path / "0.png")
    Image.fromarray(np.full((80, 40, 3), 200, np.uint8)).save(tmp_path / "1.png")
    Image.fromarray(np.full((20, 32, 3), 200, np.uint8)).save(tmp_path / "2.png")
    assert stylize(tmp_path / "?.png", "-o", tmp_path / "out.mkv", "--radius", "1", "--colour", "1") == 0
    first, tall, small = (one.rgb8.astype(int) for one in pictures(tmp_path / "out.mkv"))
    assert min(first.min(), small.min()) > 190, "they fill it"
    middle = tall[:, 24:40]
    assert middle.min() > 190 and max(tall[:, :20].max(), tall[:, 44:].max()) < 10 and middle.shape == (40, 16, 3)


def test_what_nobody_sees_of_a_picture_does_not_run_into_the_rest(tmp_path):
    rgba = np.zeros((40, 60, 4), np.uint8)
    rgba[:, :30] = (200, 120, 40, 255)
    rgba[:, 30:, :3] = (0, 255, 0)  # clear, and of a colour that nobody sees
    Image.fromarray(rgba).save(tmp_path / "half.png")
    assert stylize(tmp_path / "half.png", "-o", tmp_path / "out.png", "--colour", "1") == 0
    assert np.abs(picture(tmp_path / "out.png")[:, :30, :3].astype(int) - (200, 120, 40)).max() <= 1


def profile(colorants, name=b"turned"):
    """An ICC profile (version 2) of a display with sRGB's curve, and colorants [3, 3] in XYZ of D50, one a row."""

    def xyz(values):
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    levels = np.linspace(0, 1, 1024)
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    curve = b"curv\0\0\0\0" + struct.pack(">I1024H", 1024, *np.round(linear * 65535).astype(int))
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(79),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz(D50),
    }
    tags |= {letter + b"XYZ": xyz(row) for letter, row in zip((b"r", b"g", b"b"), colorants, strict=True)}
    tags |= {letter + b"TRC": curve for letter in (b"r", b"g", b"b")}
    place, table, body = 132 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        table += tag + struct.pack(">2I", place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", place + len(body), bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    return head.ljust(68, b"\0") + xyz(D50)[8:] + bytes(48) + struct.pack(">I", len(tags)) + table + body


D50 = (0.9642, 1.0, 0.8249)
COLORANTS = np.array([(0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)])  # sRGB's


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_those_that_a_pictures_profile_tells(tmp_path, mode):
    """Of a display whose red is blue and whose blue is red."""
    rgb = clouds(40, 60)
    image = Image.fromarray(rgb)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.linspace(1, 255, 2400).reshape(40, 60).astype(np.uint8)))
    named = {"turned": (profile(COLORANTS[::-1]), rgb[..., ::-1]), "ours": (profile(COLORANTS[::-1], b"sRGB"), rgb), "none": (b"no", rgb)}
    for name, (icc, expected) in named.items():
        image.save(tmp_path / f"{name}.png", icc_profile=icc)
        found, alpha = inputs.read_picture(tmp_path / f"{name}.png")
        assert np.abs(found.astype(int) - expected).max() <= (2 if name == "turned" else 0)
        assert (alpha is not None) == (mode == "RGBA") and (alpha is None or np.array_equal(alpha, np.array(image)[..., 3]))


@pytest.mark.parametrize("what", ["folder", "pattern", "names"])
def test_several_pictures_keep_their_names(tmp_path, what):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(smooth(number)).save(folder / f"photo {number}.{'jpg' if number == 1 else 'png'}", quality=95)
    words = {"folder": [folder], "pattern": [folder / "*.png"], "names": sorted(folder.iterdir())}[what]
    assert stylize(*words, "-o", tmp_path / "out" / "deep", "--style", "toon") == 0
    names = sorted(one.name for one in (tmp_path / "out" / "deep").iterdir())
    assert names == (["photo 0.png", "photo 2.png"] if what == "pattern" else ["photo 0.png", "photo 1.jpg", "photo 2.png"])
    np.testing.assert_array_equal(picture(tmp_path / "out" / "deep" / "photo 2.png"), FILTERS["toon"]().style(frame(smooth(2))))


def test_one_picture_that_cannot_be_read_does_not_keep_the_others(capsys, tmp_path):
    for number in range(3):
        Image.fromarray(smooth(number)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_text("broken")
    assert stylize(tmp_path / "?.png", "-o", tmp_path / "out") == 2
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["0.png", "2.png"]
    assert "1.png: expected a picture" in capsys.readouterr().err


# Videos


def test_a_video_keeps_its_times_and_its_sound(capsys, tmp_path):
    source = tiny_videos.write(tmp_path / "in.mp4", count=10, sound="aac", times=[0, 40, 41, 100, 200, 240, 280, 500, 540, 700])
    assert stylize(source, "-o", tmp_path / "out.mp4", "--style", "watercolour") == 0
    before, after = pictures(source), pictures(tmp_path / "out.mp4")
    assert [one.time for one in after] == [one.time for one in before]
    assert tiny_videos.sounds(tmp_path / "out.mp4") == tiny_videos.sounds(source)
    style = FILTERS["watercolour"]()
    assert min(psnr(one.rgb8, style.style(frame(of.rgb8))) for one, of in zip(after, before, strict=True)) > 30
    printed = capsys.readouterr().out
    assert "64 x 36, 10 frames" in printed and "captured 10, processed 10, shown 10, dropped 0, skipped 0, failed 0" in printed
    assert re.search(r"read [\d.]+/[\d.]+, style [\d.]+/[\d.]+, write [\d.]+/[\d.]+", printed)


def test_what_is_left_out_of_a_video_is_told(capsys, tmp_path):
    source = tiny_videos.write(tmp_path / "in.mkv", sound="flac", subtitles=["hello"])
    assert stylize(source, "-o", tmp_path / "out.mov") == 0
    printed = capsys.readouterr().out
    assert "\nnote: its sound is flac" in printed and "\nnote: its subtitles are subrip, which mov does not hold: left out\n" in printed


def test_frames_of_a_video_become_pictures_and_pictures_a_video(tmp_path, video):
    assert stylize(video, "-o", tmp_path / "f_%03d.png", "--frames", "4", "--style", "toon") == 0
    names = [f"f_{number:03d}.png" for number in range(4)]
    assert sorted(one.name for one in tmp_path.glob("f_*")) == names
    of = pictures(video)[3].rgb8
    np.testing.assert_array_equal(picture(tmp_path / "f_003.png"), FILTERS["toon"]().style(frame(of)))
    assert stylize(*(tmp_path / name for name in names), "-o", tmp_path / "slides.mov", "--fps", "2") == 0
    assert [one.time for one in pictures(tmp_path / "slides.mov")] == [Fraction(number, 2) for number in range(4)]


def test_a_part_of_a_video_has_a_part_of_its_sound(tmp_path, video):
    assert stylize(video, "-o", tmp_path / "part.mp4", "--frames", "5", "--size", "32x32") == 0
    assert pictures(tmp_path / "part.mp4")[-1].rgb8.shape == (18, 32, 3), "as large as fits"
    whole, part = tiny_videos.sounds(video)[0][2], tiny_videos.sounds(tmp_path / "part.mp4")[0][2]
    assert whole / 3 < part < whole * 2 / 3


def test_frames_that_hardly_change_are_left_out_and_their_place_is_filled(capsys, tmp_path):
    source = tiny_videos.write(tmp_path / "still.mp4", count=30, rate=30)
    assert stylize(source, "-o", tmp_path / "out.mp4", "--skip-similar") == 0
    counts = {name: int(count) for name, count in re.findall(r"(\w+) (\d+)[,;]", capsys.readouterr().out)}
    assert counts["captured"] == counts["shown"] == 30 and counts["skipped"] > 5
    assert counts["processed"] + counts["skipped"] == 30
    assert [one.time for one in pictures(tmp_path / "out.mp4")] == [Fraction(number, 30) for number in range(30)]


def test_of_a_video_that_breaks_off_what_there_is_is_kept(capsys, tmp_path):
    whole = tiny_videos.write(tmp_path / "whole.mkv", count=60, sound="flac").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    assert stylize(tmp_path / "cut.mkv", "-o", tmp_path / "out.mp4") == 2
    err = capsys.readouterr().err
    count = int(re.search(r"breaks off after (\d+) pictures", err)[1])
    assert err.count("\n") == 1 and 5 < count < 60 and len(pictures(tmp_path / "out.mp4")) == count


class Late:
    """Its pictures come two calls late, as a stream batch's do, and the first frame's is finished only then; each says whose it is."""

    def __init__(self):
        self.given = []
        self.shown = None

    @property
    def settled(self):
        return len(self.given) > 2 and self.given[-3:] == [self.given[-1]] * 3

    def style(self, frame):
        self.given.append(frame)
        self.shown = self.given[max(0, len(self.given) - 3)]
        unfinished = len(self.given) < 3
        return np.broadcast_to(self.shown.rgb8[:1, :1] // (2 if unfinished else 1), frame.rgb8.shape)  # of the size of what is given


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("skipping", [False, True])
def test_every_frame_gets_its_own_picture_however_late(count, skipping):
    shots = [inputs.Shot(inputs.frame_of(np.full((4, 6, 3), 10 + 20 * number, np.uint8)), Fraction(number), "") for number in range(count)]
    calls = iter(range(count))
    redrawing = Redrawing(Late(), live=False, similar=(lambda picture: next(calls) % 3 == 2) if skipping else None)
    done = []
    for shot in shots:
        made = redrawing.work(shot)
        done += (redrawing.instead(shot, None) or []) if made is None else made
    done += redrawing.rest()
    assert [one.shot for one in done] == shots
    of = [number - (skipping and number % 3 == 2) for number in range(count)]
    assert [one.picture[0, 0, 0] for one in done] == [10 + 20 * number for number in of]


@pytest.mark.parametrize("each", [1, 2, 3, 5])
@pytest.mark.parametrize("skipping", [False, True])
def test_pictures_of_many_sizes_keep_theirs_however_late(each, skipping):
    """A picture has the size of the frame that is given, not of the one that it is of."""
    sizes = [(4 + number // each, 6) for number in range(9)]
    frames = [inputs.frame_of(np.full((*size, 3), 10 + 20 * number, np.uint8)) for number, size in enumerate(sizes)]
    shots = [inputs.Shot(one, Fraction(number), "") for number, one in enumerate(frames)]
    redrawing = Redrawing(Late(), live=False, similar=(lambda picture: picture[0, 0, 0] > 10) if skipping else None)
    done = []
    for shot in shots:
        made = redrawing.work(shot)
        done += (redrawing.instead(shot, None) or []) if made is None else made
    done += redrawing.rest()
    assert [one.shot for one in done] == shots and [one.picture.shape[:2] for one in done] == sizes
    of = [number - skipping * (number % each) for number in range(9)]  # of another size, none is like the one before
    assert [one.picture[0, 0, 0] for one in done] == [10 + 20 * number for number in of]


def test_of_a_picture_that_stands_still_not_every_frame_is_remembered():
    """A stylizer that sees that nothing has changed says that its picture is of the first of these frames."""

    class Idle:
        shown = None

        def style(self, frame):
            if self.shown is None or (self.shown.rgb8 != frame.rgb8).any():
                self.shown = frame
            return self.shown.rgb8

    levels = [10] * 100 + [20] * 100
    shots = [inputs.Shot(inputs.frame_of(np.full((4, 6, 3), level, np.uint8)), Fraction(n), "") for n, level in enumerate(levels)]
    redrawing, done, late = Redrawing(Idle(), live=False), [], 0
    for number, shot in enumerate(shots):
        done += redrawing.work(shot)
        late = max(late, number + 1 - len(done))
    done += redrawing.rest()
    assert [one.shot for one in done] == shots and [one.picture[0, 0, 0] for one in done] == levels and late < 50


def test_nobody_waits_for_the_last_pictures_of_what_was_given_up(tmp_path):
    class Endless:
        """Never comes to rest, and takes its time."""

        settled, shown, calls = False, None, 0

        def style(self, frame):
            self.calls += 1
            return frame.rgb8

    style = Endless()
    source = inputs.Source("a picture", lambda forever: iter([inputs.Shot(inputs.frame_of(smooth(0)), Fraction(0), "0")]), lambda shot: 0.0)
    stream = Stream(source, style, Pictures(tmp_path / "out", source), live=False)
    stream.start()
    until(lambda: not stream.running)
    before = style.calls
    stream.finish(lambda: style.calls == before + 3)
    assert style.calls == before + 3
    stream.finish(lambda: True)
    assert style.calls == before + 3
    stream.close()


def test_what_has_come_to_rest_is_shown_when_it_is_finished():
    shot = inputs.Shot(inputs.frame_of(np.full((4, 6, 3), 90, np.uint8)), Fraction(0), "")
    redrawing = Redrawing(Late(), live=True)
    [first] = redrawing.work(shot)
    [last] = redrawing.settle()
    assert first.shot is last.shot is shot and first.picture[0, 0, 0] == 45 and last.picture[0, 0, 0] == 90
    assert redrawing.settle() == []


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "png"])
def test_a_disk_that_is_full_is_one_line_and_nothing_is_left(tmp_path, video, suffix):
    """Files may have 1000 bytes; of what is so short some containers notice it only at the end."""
    full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    words = [sys.executable, "-B", "-m", "splatview", "stylize", str(video), "-o", str(tmp_path / f"out.{suffix}"), "--frames", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=full)
    assert (done.returncode, done.stderr) == (2, f"splatview: {tmp_path / f'out.{suffix}'}: File too large\n")
    assert [one.name for one in tmp_path.iterdir()] == [video.name]


def test_what_is_too_large_for_a_format_is_one_line(capfd, tmp_path):
    Image.fromarray(np.zeros((2, 16500, 3), np.uint8)).save(tmp_path / "wide.png")
    for target in ("a.webp", "a.mp4"):
        assert stylize(tmp_path / "wide.png", "-o", tmp_path / target, "--radius", "1") == 2
        err = capfd.readouterr().err
        assert err.count("\n") == 1 and f"{target}: expected at most 16384" in err.replace("16383", "16384"), err
    assert [one.name for one in tmp_path.iterdir()] == ["wide.png"]


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


def drawn(scene, cameras):
    options = RenderOptions(outputs=("rgb8", "alpha", "depth"))
    draw, content = open_renderer("cpu"), scene if isinstance(scene, Scene) else load(scene)
    return [draw.render(content, camera, options) for camera in cameras]


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


@pytest.fixture
def document(tmp_path, scene):
    """The ball without its lower third, a part of it hidden and another selected and kept, and moved."""
    content = load(scene).read_from(str(scene))
    editing = Editing(State(content), Tools(lambda: open_renderer("cpu"), lambda *_: Scene()), Document(sources_of(content)))
    for query, operation in ((Range("z", -9, -0.3), Delete()), (Range("x", 0.5, 9.0), Hide())):
        editing.select(query)
        editing.do(operation)
    editing.select(Range("y", -9, 0.0))
    editing.do(SaveSet("front"))
    editing.select(Range("z", 0.2, 9.0))
    editing.do(Place("ball", Similarity(translation=(0.3, 0, 0))))
    archive.write(tmp_path / "ball.splatview", editing.document)
    return tmp_path / "ball.splatview", editing.state


@pytest.mark.parametrize(
    ("words", "of"),
    [
        ([], None),
        (["--where", "selection"], "selected"),
        (["--where", "selection", "within(front)"], "front"),
        (["--where", "layer", "ball"], "all"),
    ],
)
def test_a_document_is_redrawn_as_it_is_shown(capsys, tmp_path, document, path_file, words, of):
    path, state = document
    masks = {"selected": state.selected, "front": state.sets["front"]}.get(of, {})
    options = RenderOptions(outputs=("rgb8", "alpha", "depth", "ids", "coverage"), hidden=state.undrawn, tinted=masks, tint=None)
    frame, style = open_renderer("cpu").render(state.scene, load_cameras(path_file)[0], options), FILTERS["pixel"]()
    place = {None: None, "all": Layers.named(state.scene, ["ball"])}.get(of, Selection())
    expected = style.style(frame) if place is None else Masked((Mask(place), style)).style(frame)
    assert stylize(path, "--camera", path_file, "--frames", "1", "--style", "pixel", "-o", tmp_path / "out.png", *words) == 0
    np.testing.assert_array_equal(picture(tmp_path / "out.png"), expected)
    assert (f"selected: {state.count(masks)} of " in capsys.readouterr().out) == bool(masks)
    assert main(["render", str(path), "--camera", str(path_file), "-o", str(tmp_path / "as_it_is.png")]) == 0
    np.testing.assert_array_equal(picture(tmp_path / "as_it_is_0000.png"), frame.rgb8)
    assert (frame.rgb8 != drawn(state.scene, [frame.camera])[0].rgb8).any(), "the document changes something"


# What is live


class Capture:
    """What OpenCV gives of a camera: pictures in BGR."""

    def __init__(self, count=None, wait=0.0):
        self.count, self.wait, self.given, self.told = count, wait, 0, {}

    def isOpened(self):
        return True

    def set(self, name, value):
        self.told[name] = value

    def get(self, name):
        return 25.0

    def read(self):
        time.sleep(self.wait)
        if self.given == self.count:
            return False, None
        self.given += 1
        return True, smooth(self.given)[..., ::-1]

    def release(self):
        self.count = self.given


def test_a_webcam_gives_pictures_until_it_is_gone():
    capture = Capture(count=5)
    camera = Webcam(3, (640, 360), opened=lambda number: capture)
    found = []
    with pytest.raises(OSError, match="webcam 3: it gives no pictures any more"):
        found.extend(camera.pictures())
    assert len(found) == 5 and camera.rate == 25 and {640.0, 360.0} <= set(capture.told.values())
    np.testing.assert_array_equal(found[0], smooth(1))


@pytest.mark.parametrize("answers", [0.1, 0.9])
def test_a_webcam_is_not_let_go_while_it_is_read(answers):
    """OpenCV would crash. One that does not answer in time is let go when it does."""

    class Slow(Capture):
        reading, released, at_once = False, 0, False

        def read(self):
            self.reading = True
            time.sleep(answers)
            self.reading = False
            return super().read()

        def release(self):
            self.released += 1
            self.at_once = self.at_once or self.reading

    capture = Slow()
    camera = Webcam(0, opened=lambda number: capture)
    reader = threading.Thread(target=lambda: list(camera.pictures()))
    reader.start()
    until(lambda: capture.reading)
    began = time.monotonic()
    camera.close()
    assert time.monotonic() - began < 0.8
    reader.join(10)
    assert not reader.is_alive() and capture.released and not capture.at_once


def test_a_pattern_that_makes_no_sense_is_told_of_a_webcam_before_it_begins(tmp_path):
    source = inputs.of_webcam(0, None, opened=lambda number: Capture(count=1))
    with pytest.raises(UserError, match="%04d"):
        Pictures(tmp_path / "a%d%d.png", source)


def test_that_there_is_no_webcam_is_said_with_those_that_are(tmp_path):
    for number in (0, 2):
        (tmp_path / f"video{number}").touch()
    with pytest.raises(OSError, match=r"webcam 1: there is none, or another program has it \(here: 0, 2\)"):
        Webcam(1, opened=lambda number: type("None", (), {"isOpened": lambda self: False})(), devices=str(tmp_path))


def test_the_first_pictures_are_shown_over_and_over_as_a_whole_video_is(tmp_path, video):
    names = [tmp_path / f"{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        Image.fromarray(smooth(number)).save(name)
    for source in (inputs.of_video(video, None, 3), inputs.of_pictures(names, Fraction(25), None, 3)):
        draw = source.draw or (lambda shot: shot)
        shots = [draw(value) for value in islice(source.values(True), 7)]
        assert source.count == 3 and [shot.time for shot in shots] == [Fraction(number, 25) for number in range(7)]
        assert [np.array_equal(shot.frame.rgb8, shots[0].frame.rgb8) for shot in shots] == [number % 3 == 0 for number in range(7)]
        assert len(list(source.values(False))) == 3
    assert len(list(inputs.of_webcam(0, None, 2, opened=lambda number: Capture()).values(True))) == 2


def run_stream(stream):
    stream.start()
    while stream.running:
        time.sleep(0.005)
    stream.finish()
    stream.close()


def test_what_is_live_is_dropped_when_it_comes_too_soon(tmp_path):
    """The times of those that are not are their own."""

    class Slow:
        def style(self, frame):
            time.sleep(0.05)
            return frame.rgb8

    source = inputs.of_video(tiny_videos.write(tmp_path / "in.mp4", count=30, rate=60), None)
    target = Pictures(tmp_path / "out", source)
    stream = Stream(source, Slow(), target, live=True)
    began = time.monotonic()
    run_stream(stream)
    assert time.monotonic() - began > 0.45, "by the clock"
    totals = stream.totals
    assert totals.captured == 30 == totals.processed + totals.dropped and totals.dropped > 10
    names = sorted(int(one.stem) for one in (tmp_path / "out").iterdir())
    assert len(names) == totals.shown == totals.processed
    originals = pictures(tmp_path / "in.mp4")
    for number in names:
        np.testing.assert_array_equal(picture(tmp_path / "out" / f"{number:06d}.png"), originals[number].rgb8)


class Fragile:
    """Fails at some frames."""

    def __init__(self):
        self.calls = 0

    def style(self, frame):
        self.calls += 1
        if self.calls in (2, 3):
            raise RuntimeError("no more memory")
        return 255 - frame.rgb8


def test_of_what_is_live_a_frame_that_fails_goes_on_as_it_came_and_the_page_is_told(tmp_path):
    def one_by_one():
        for number in range(6):
            yield inputs.Shot(inputs.frame_of(smooth(number)), Fraction(number), f"{number}")
            until(lambda number=number: stream.totals.shown > number)

    source = inputs.Source("pictures", lambda forever: one_by_one(), lambda shot: 0.0)
    told = []

    class Watched(Pictures):
        def put(self, styled):
            told.append(stream.figures["error"])
            return super().put(styled)

    stream = Stream(source, Fragile(), Watched(tmp_path / "out", source), live=True)
    run_stream(stream)
    assert stream.totals.failed == 2 and stream.totals.shown == 6 and stream.failed is None
    assert [bool(one) for one in told] == [False, True, True, False, False, False]
    assert told[1] == "style: RuntimeError: no more memory; the picture goes on unstylised"
    for number in range(6):
        expected = smooth(number) if number in (1, 2) else 255 - smooth(number)
        np.testing.assert_array_equal(picture(tmp_path / "out" / f"{number}.png"), expected)


def test_of_a_file_a_style_that_fails_is_the_end_and_nothing_is_left(capsys, monkeypatch, tmp_path, video):
    monkeypatch.setattr(kinds, "opened", lambda name, flags: Fragile())
    assert stylize(video, "-o", tmp_path / "out.mp4") == 1
    assert "RuntimeError: no more memory" in capsys.readouterr().err
    assert sorted(one.name for one in tmp_path.iterdir()) == [video.name]


# The end


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


def started(*words, code=None):
    command = [sys.executable, *(["-c", code] if code else ["-m", "splatview"]), "stylize", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_file_that_is_interrupted_leaves_what_was_there(tmp_path, scene):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"what was there")
    with started(scene, "-o", target, "--frames", "3000", "--size", "640x360") as process:
        until(lambda: list(tmp_path.glob(".out*")))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert "Traceback" not in process.stderr.read()
    assert target.read_bytes() == b"what was there" and sorted(one.name for one in tmp_path.iterdir()) == ["ball.ply", "out.mp4"]


def test_a_file_that_is_interrupted_while_it_is_finished_leaves_none(tmp_path):
    """Its sound is much longer than what is seen, and is encoded anew."""
    source = tiny_videos.write(tmp_path / "in.mkv", count=5, sound="flac", seconds=600)
    with started(source, "-o", tmp_path / "out.webm") as process:
        until(lambda: any(one.stat().st_size > 300_000 for one in tmp_path.glob(".out*")))  # pictures take a hundredth of it
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 130
        assert process.stderr.read() == ""
    assert [one.name for one in tmp_path.iterdir()] == ["in.mkv"]


CAMERA = """
import sys
sys.path[:0] = {folders!r}
from test_cli_stylize import Capture
from splatview.cli import inputs, main
of_webcam = inputs.of_webcam
inputs.of_webcam = lambda number, size, most: of_webcam(number, size, most, opened=lambda number: Capture(wait=0.02))
sys.exit(main())
"""


def test_the_recording_of_a_webcam_ends_as_a_whole_video(tmp_path, request):
    target = tmp_path / "out.mp4"
    folders = [str(request.path.parent), str(request.path.parents[1] / "tools")]
    with started("0", "-o", target, "--style", "toon", code=CAMERA.format(folders=folders)) as process:
        until(lambda: list(tmp_path.glob(".out*")))
        time.sleep(0.5)
        for _ in range(3):  # people who are in a hurry lose nothing
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        printed = process.stdout.read()
        assert "Traceback" not in process.stderr.read() and "captured" in printed
    found = pictures(target)
    times = np.diff([float(one.time) for one in found])
    assert len(found) > 5 and (times > 0).all() and np.median(times) < 0.2


async def look(url, trusted=None):
    """What the page is shown, and told."""
    async with ClientSession(connector=TCPConnector(ssl=ssl.create_default_context(cafile=trusted) if trusted else True)) as client:
        async with client.get(url) as answer:
            assert answer.status == 200 and "<canvas" in await answer.text()
        async with client.ws_connect(f"{url}pictures") as page, asyncio.timeout(20):
            seen, told = 0, {}
            while seen < 3 or told.get("counts", {}).get("shown", 0) < 3:
                message = await page.receive()
                if message.type is WSMsgType.BINARY:
                    seen += 1
                    await page.send_str("drawn")
                else:
                    told = json.loads(message.data)
            return told


@pytest.mark.parametrize(("kind", "code", "https"), [(signal.SIGINT, 130, False), (signal.SIGTERM, 143, True)])
def test_the_page_shows_a_video_over_and_over_until_it_is_ended(tmp_path, video, kind, code, https):
    cert, key = certificate(tmp_path) if https else (None, None)
    with started(
        video, "--style", "toon", "--port", "0", "--no-open", *(["--tls-cert", cert, "--tls-key", key] if https else [])
    ) as process:
        try:
            (url,) = re.findall(r"https?://\S+", process.stdout.readline())
            assert url.startswith("https") == https
            told = asyncio.run(look(url.replace("127.0.0.1", "localhost"), cert))
            assert told["error"] == "" and {one["name"] for one in told["stages"]} == {"read", "style", "show"}
            time.sleep(0.5)  # longer than the video
            process.send_signal(kind)
            assert process.wait(20) == code
            printed = process.stdout.read()
            assert int(re.search(r"captured (\d+)", printed)[1]) > 10 and printed.count("\n") == 1
            assert process.stderr.read() == ""
        finally:
            process.kill()
