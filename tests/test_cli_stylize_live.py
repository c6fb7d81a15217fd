"""`splatview stylize` of what is live: webcams, and files that are taken as if they were."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
import tiny_videos
from PIL import Image
from style_words import Capture, picture, pictures, stylize, until
from tiny_videos import smooth

from splatview.cli import inputs, kinds
from splatview.cli.faults import UserError
from splatview.cli.streaming import Stream
from splatview.cli.targets import Pictures
from splatview.stream.webcam import Webcam


@pytest.fixture
def video(tmp_path):
    return tiny_videos.write(tmp_path / "walk.mp4", count=10, sound="aac")


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
