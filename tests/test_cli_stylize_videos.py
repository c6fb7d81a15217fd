"""`splatview stylize` of videos: times and sound are kept, and every frame gets a picture of its own."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import tiny_videos
from PIL import Image
from style_words import picture, pictures, stylize, until
from stylized_frames import frame
from tiny_videos import psnr, smooth

from splatview.cli import inputs
from splatview.cli.redrawing import Redrawing
from splatview.cli.streaming import Stream
from splatview.cli.targets import Pictures
from splatview.stylize.filters import FILTERS


@pytest.fixture
def video(tmp_path):
    return tiny_videos.write(tmp_path / "walk.mp4", count=10, sound="aac")


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
