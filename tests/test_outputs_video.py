"""Videos: what is written is read again, times and sound are kept, and broken files are one line."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import tiny_videos
from tiny_videos import psnr, smooth

from splatview.outputs.containers import CONTAINERS, Picture, VideoForm
from splatview.outputs.rising import Rising
from splatview.outputs.tracks import going_on
from splatview.outputs.video import VideoReader, VideoWriter


def read(path):
    with VideoReader(path) as video:
        return video.form, list(video.pictures())


def copied(source, target, form=None):
    """`source` written again; the notes."""
    with VideoReader(source) as video, VideoWriter(target, form or video.form, source) as writer:
        for picture in video.pictures():
            writer.write(picture)
    return writer.notes


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_pictures_and_times_come_back(tmp_path, suffix):
    form = VideoForm(64, 36, Fraction(25), Fraction(1, 1000))
    times = [Fraction(t, 1000) for t in (0, 40, 80, 81, 300, 333, 700, 1500)]  # uneven, as of phones and of screens
    with VideoWriter(tmp_path / f"a{suffix}", form) as writer:
        for number, time in enumerate(times):
            writer.write(Picture(smooth(number), time))
    found, pictures = read(tmp_path / f"a{suffix}")
    assert (found.width, found.height) == (64, 36)
    assert [picture.time for picture in pictures] == times
    assert min(psnr(picture.rgb8, smooth(number)) for number, picture in enumerate(pictures)) >= 35
    with av.open(str(tmp_path / f"a{suffix}")) as container:
        assert container.duration / 1e6 == pytest.approx(1.54, abs=0.05), "as long as its pictures, the last one included"
    assert [one.name for one in tmp_path.iterdir()] == [f"a{suffix}"]


def test_colours_are_those_of_bt709_and_the_file_says_so(tmp_path):
    """Red is 219 x 0.2126 + 16 in luma (ITU-R BT.709); of BT.601 it would be 81."""
    with VideoWriter(tmp_path / "red.mp4", VideoForm(32, 32)) as writer:
        writer.write(Picture(np.full((32, 32, 3), (255, 0, 0), np.uint8), Fraction(0)))
    with av.open(str(tmp_path / "red.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (1, 1, 1, 1)
        assert frame.to_ndarray()[0, 0] == pytest.approx(62.6, abs=1.5)
    assert np.abs(read(tmp_path / "red.mp4")[1][0].rgb8.astype(int) - (255, 0, 0)).max() <= 3


def test_videos_that_do_not_tell_their_colours_are_taken_for_what_their_size_suggests(tmp_path):
    for lines, matrix in ((64, "601"), (720, "709")):
        kr, kb = {"601": (0.299, 0.114), "709": (0.2126, 0.0722)}[matrix]
        luma = 16 + 219 * kr
        cb, cr = 128 + 224 * (0 - kr) / (2 * (1 - kb)), 128 + 224 * 0.5
        planes = np.concatenate([np.full(lines * 64, luma), np.full(lines * 16, cb), np.full(lines * 16, cr)])
        frame = av.VideoFrame.from_ndarray(np.rint(planes).astype(np.uint8).reshape(lines * 3 // 2, 64), "yuv420p")
        with av.open(str(tmp_path / "plain.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, lines, "yuv420p"
            container.mux([*stream.encode(frame), *stream.encode(None)])
        assert np.abs(read(tmp_path / "plain.mkv")[1][0].rgb8.astype(int) - (255, 0, 0)).max() <= 3, lines


def test_high_dynamic_range_is_brought_to_a_screens(tmp_path):
    """White on paper is 75 % of HLG and 58 % of PQ (ITU-R BT.2408), and so it is on a screen; as they are, they would be grey."""
    for trc, signal in ((18, 0.75), (16, 0.58)):
        frame = av.VideoFrame(64, 32, "yuv420p10le")
        for plane, level in zip(frame.planes, (4 * (16 + 219 * signal), 512, 512), strict=True):
            plane.update(np.full((plane.height, plane.line_size // 2), round(level), np.uint16).tobytes())
        frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries = 9, 1, trc, 9
        with av.open(str(tmp_path / "hdr.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p10le"
            context = stream.codec_context
            context.colorspace, context.color_range, context.color_trc, context.color_primaries = 9, 1, trc, 9
            container.mux([*stream.encode(frame), *stream.encode(None)])
        assert read(tmp_path / "hdr.mkv")[1][0].rgb8.min() >= 240, trc


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_pictures_are_upright(tmp_path, turn):
    upright = tiny_videos.write(tmp_path / "upright.mp4", count=3)
    turned = tiny_videos.write(tmp_path / "turned.mp4", count=3, rotation=turn)
    form, pictures = read(turned)
    assert (form.width, form.height) == ((64, 36) if turn == 180 else (36, 64))
    for picture, plain in zip(pictures, read(upright)[1], strict=True):
        np.testing.assert_array_equal(picture.rgb8, np.rot90(plain.rgb8, turn // 90 % 4))


def test_odd_sizes_get_one_more_row_and_column_like_the_last(tmp_path):
    picture = smooth(0, 35, 63)
    with VideoWriter(tmp_path / "odd.mp4", VideoForm(63, 35)) as writer:
        writer.write(Picture(picture, Fraction(0)))
    form, [found] = read(tmp_path / "odd.mp4")
    assert (form.width, form.height) == (64, 36)
    assert psnr(found.rgb8[:35, :63], picture) >= 35 and psnr(found.rgb8[35, :63], picture[34]) >= 30


def test_the_shape_of_pixels_is_kept(tmp_path):
    with VideoWriter(tmp_path / "wide.mp4", replace(VideoForm(64, 36), pixel_aspect=Fraction(16, 15))) as writer:
        writer.write(Picture(smooth(0), Fraction(0)))
    assert read(tmp_path / "wide.mp4")[0].pixel_aspect == Fraction(16, 15)


@pytest.mark.parametrize(
    ("source", "codec", "target"),
    [("a.mp4", "aac", "b.mp4"), ("a.mov", "pcm_s16le", "b.mov"), ("a.mkv", "libmp3lame", "b.mp4"), ("a.webm", "libopus", "b.webm")],
)
def test_sound_that_the_container_takes_stays_as_it_is(tmp_path, source, codec, target):
    video = "libvpx" if source.endswith("webm") else "libx264"
    tiny_videos.write(tmp_path / source, video=video, sound=codec)
    assert copied(tmp_path / source, tmp_path / target) == ()
    [(*before, begins)], [(*after, begun)] = (tiny_videos.sounds(tmp_path / name) for name in (source, target))
    assert after == before and abs(begun - begins) < 0.001
    pictures, again = read(tmp_path / source)[1], read(tmp_path / target)[1]
    assert [one.time for one in again] == [one.time for one in pictures]


def test_all_streams_of_sound_go_along(tmp_path):
    tiny_videos.write(tmp_path / "a.mp4", sound="aac", streams=2)
    copied(tmp_path / "a.mp4", tmp_path / "b.mp4")
    first, second = tiny_videos.sounds(tmp_path / "b.mp4")
    assert [first, second] == tiny_videos.sounds(tmp_path / "a.mp4") and first[1] != second[1]


TEXTS = ["hello", "☃ & co", "good bye"]


@pytest.mark.parametrize(
    ("source", "target", "codec"),
    [("a.mkv", "b.mkv", "subrip"), ("a.mp4", "b.mp4", "mov_text"), ("a.mp4", "b.mov", "mov_text"), ("a.webm", "b.mkv", "webvtt")],
)
@pytest.mark.parametrize("sound", [True, False])
def test_subtitles_that_the_container_holds_stay_as_they_are(tmp_path, source, target, codec, sound):
    webm = source.endswith("webm")
    audio = ("libopus" if webm else "aac") if sound else None
    tiny_videos.write(tmp_path / source, count=50, video="libvpx" if webm else "libx264", sound=audio, subtitles=TEXTS)
    assert copied(tmp_path / source, tmp_path / target) == ()
    expected = [(text, 0.5 * place) for place, text in enumerate(TEXTS)]
    for name in (source, target):
        [(found, _, texts)] = tiny_videos.subtitles(tmp_path / name)
        assert (found, texts) == (codec, expected), name
    before, after = (tiny_videos.sounds(tmp_path / name) for name in (source, target))
    assert [one[:3] for one in before] == [one[:3] for one in after] and len(after) == sound


def test_subtitles_that_it_does_not_hold_are_left_out_and_that_is_said(tmp_path):
    tiny_videos.write(tmp_path / "a.mkv", count=50, sound="aac", subtitles=TEXTS)
    assert copied(tmp_path / "a.mkv", tmp_path / "b.mp4") == ("its subtitles are subrip, which mp4 does not hold: left out",)
    assert tiny_videos.subtitles(tmp_path / "b.mp4") == [] and len(tiny_videos.sounds(tmp_path / "b.mp4")) == 1


def test_subtitles_that_come_after_the_end_are_cut_off_as_the_sound_is(tmp_path):
    source = tiny_videos.write(tmp_path / "a.mkv", count=50, sound="aac", subtitles=TEXTS)
    with VideoReader(source) as video, VideoWriter(tmp_path / "b.mkv", video.form, source) as writer:
        for _, picture in zip(range(20), video.pictures(), strict=False):
            writer.write(picture)
        writer.along_until = Fraction(20, 25)
    [(_, _, texts)] = tiny_videos.subtitles(tmp_path / "b.mkv")
    assert [text for text, _ in texts] == TEXTS[:2] and tiny_videos.span(tmp_path / "b.mkv")[1] == pytest.approx(0.8, abs=0.1)


def test_people_find_their_language(tmp_path):
    source = tiny_videos.write(tmp_path / "a.mkv", count=20, sound="flac", streams=2, subtitles=TEXTS, languages=("fra", "eng", "ita"))
    for target in ("b.mkv", "b.mov"):  # as it is, and encoded anew
        copied(source, tmp_path / target)
        with av.open(str(tmp_path / target)) as container:
            assert [one.metadata.get("language") for one in container.streams.audio] == ["fra", "eng"]
            assert [one.metadata.get("language") for one in container.streams.subtitles] == ["ita"] * (target == "b.mkv")


@pytest.mark.parametrize(("suffix", "codec"), [(".webm", "opus"), (".mp4", "aac")])
def test_other_sound_is_encoded_anew_and_that_is_said(tmp_path, suffix, codec):
    tiny_videos.write(tmp_path / "a.mov", count=25, sound="pcm_s16le")
    [note] = copied(tmp_path / "a.mov", tmp_path / f"b{suffix}")
    assert "pcm_s16le" in note and "\n" not in note
    [(found, _, _, _)] = tiny_videos.sounds(tmp_path / f"b{suffix}")
    assert found == codec
    tones = [tiny_videos.loudness(tmp_path / name) for name in ("a.mov", f"b{suffix}")]
    assert tones[0] == pytest.approx(0.3, rel=0.02) and tones[1] == pytest.approx(0.3, rel=0.1)


def test_sound_ends_where_it_is_told_to(tmp_path):
    source = tiny_videos.write(tmp_path / "a.mp4", count=50, sound="aac")
    with VideoReader(source) as video, VideoWriter(tmp_path / "b.mp4", video.form, source) as writer:
        for _, picture in zip(range(10), video.pictures(), strict=False):
            writer.write(picture)
        writer.along_until = Fraction(10, 25)
    whole, part = tiny_videos.sounds(source)[0][2], tiny_videos.sounds(tmp_path / "b.mp4")[0][2]
    assert part == pytest.approx(whole / 5, abs=2)


def test_a_video_that_failed_leaves_what_was_there(tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"what was there")
    with pytest.raises(KeyboardInterrupt), VideoWriter(target, VideoForm(64, 36)) as writer:
        writer.write(Picture(smooth(0), Fraction(0)))
        raise KeyboardInterrupt
    assert target.read_bytes() == b"what was there" and [one.name for one in tmp_path.iterdir()] == ["out.mp4"]


def test_places_that_cannot_be_written_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        VideoWriter(tmp_path / "nowhere" / "out.mp4", VideoForm(64, 36))
    with pytest.raises(ValueError, match=r"ends in \.mp4"):
        VideoWriter(tmp_path / "out.xyz", VideoForm(64, 36))
    with pytest.raises(ValueError, match=r"out\.mp4: expected at most 16384 pixels a side.*got 16386 x 36"):
        VideoWriter(tmp_path / "out.mp4", VideoForm(16386, 36))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_the_largest_pictures_that_a_container_holds_are_written(tmp_path, suffix):
    most = CONTAINERS[suffix].largest
    with VideoWriter(tmp_path / f"a{suffix}", VideoForm(most, 2)) as writer:
        writer.write(Picture(np.zeros((2, most, 3), np.uint8), Fraction(0)))
    assert read(tmp_path / f"a{suffix}")[0].width == most


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_video_that_breaks_off_says_where_after_what_there_is(tmp_path, suffix):
    source = tiny_videos.write(tmp_path / "a.mkv", count=60)
    copied(source, tmp_path / f"whole.{suffix}")  # in an mp4 of ours the table of contents comes first
    data = (tmp_path / f"whole.{suffix}").read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(data[: len(data) * 2 // 3])
    found = []
    with pytest.raises(ValueError, match="breaks off after") as raised, VideoReader(tmp_path / f"cut.{suffix}") as video:
        found.extend(video.pictures())
    assert 10 < len(found) < 60 and f"cut.{suffix}" in str(raised.value) and "\n" not in str(raised.value)


def test_a_video_that_begins_late_is_whole(tmp_path):
    for name in ("a.mkv", "a.mp4"):
        source = tiny_videos.write(tmp_path / name, count=10, times=[700 + 40 * number for number in range(10)])
        assert [float(one.time) for one in read(source)[1]] == pytest.approx([0.7 + 0.04 * number for number in range(10)])


@pytest.mark.parametrize(
    ("name", "video", "sound"), [("a.mkv", "libx264", "flac"), ("a.webm", "libvpx", "libopus"), ("a.mp4", "libx264", "aac")]
)
def test_sound_that_is_longer_than_the_pictures_is_no_reason_to_miss_some(tmp_path, name, video, sound):
    """Of a Matroska file FFmpeg may take the whole's length for that of the pictures."""
    source = tiny_videos.write(tmp_path / name, count=5, video=video, sound=sound, seconds=20)
    assert len(read(source)[1]) == 5
    copied(source, tmp_path / f"b{source.suffix}")
    assert tiny_videos.span(tmp_path / f"b{source.suffix}")[1] == pytest.approx(20, abs=0.1)


def test_times_go_on_where_videos_were_put_together(tmp_path):
    """Of a broadcast as a file there may be several, one after another, and each begins at its own time."""
    part = tiny_videos.write(tmp_path / "a.ts", count=50, sound="aac")
    (tmp_path / "twice.ts").write_bytes(2 * part.read_bytes())
    times = [one.time for one in read(part)[1]]
    step = Fraction(1, 25)
    assert [one.time for one in read(tmp_path / "twice.ts")[1]] == [*times, *(one + times[-1] + step - times[0] for one in times)]
    for suffix in ("mp4", "mkv", "webm"):
        copied(tmp_path / "twice.ts", tmp_path / f"b.{suffix}")
        begin, end = tiny_videos.span(tmp_path / f"b.{suffix}")
        assert begin == pytest.approx(float(times[0]), abs=0.1) and end == pytest.approx(float(times[0]) + 4, abs=0.1), suffix


def test_packets_of_streams_that_come_later_in_a_file_are_passed_over():
    """PyAV raises IndexError for each, and what it gave is over: begun again, it goes on from there."""
    packets = iter([0, 1, None, None, 2, 3, None])

    def demux():
        for packet in packets:
            if packet is None:
                raise IndexError("list index out of range")
            yield packet

    assert list(going_on(demux)) == [0, 1, 2, 3]


def test_sound_that_begins_late_or_changes_its_kind_is_encoded_anew(tmp_path):
    tiny_videos.write(tmp_path / "late.mkv", count=50, sound="flac", silence=1.0)
    for suffix in ("mov", "webm"):
        copied(tmp_path / "late.mkv", tmp_path / f"b.{suffix}")
        assert tiny_videos.span(tmp_path / f"b.{suffix}")[0] == pytest.approx(1, abs=0.03)
    for name, layout in (("one.ts", "mono"), ("other.ts", "stereo")):
        tiny_videos.write(tmp_path / name, count=50, sound="mp2", layout=layout)
    (tmp_path / "both.ts").write_bytes((tmp_path / "one.ts").read_bytes() + (tmp_path / "other.ts").read_bytes())
    copied(tmp_path / "both.ts", tmp_path / "b.mp4")
    begin, end = tiny_videos.span(tmp_path / "b.mp4")
    assert end - begin == pytest.approx(4, abs=0.15) and tiny_videos.loudness(tmp_path / "b.mp4") > 0.1


@pytest.mark.parametrize("least", [0, 1])
def test_times_that_rise_stay_and_all_others_are_made_to(least):
    rising = Rising(1000, least)
    times = [7, 47, 87, 300, 1500]
    assert [rising.of(time, 40) for time in times] == times
    assert [rising.of(time, 40) for time in (1500, 1460, None, 1700)] == [1500 + least, 1500 + 2 * least, 1540 + 2 * least, 1700]
    assert [rising.of(time, 40) for time in (7, 47, 2000)] == [1740, 1780, 3733], "a jump back"
    assert [Rising(1000).of(None, 40), Rising(1000).of(-80, 40)] == [0, -80]


def test_what_is_no_video_is_one_line(tmp_path):
    whole = tiny_videos.write(tmp_path / "whole.mp4").read_bytes()
    tiny_videos.write(tmp_path / "sound.mkv", sound="flac")
    with av.open(str(tmp_path / "only.mka"), "w") as container:
        tiny_videos._sing(container, container.add_stream("flac", rate=44100, layout="mono"), 0.2, 440)
    for name, content in {"empty.mp4": b"", "text.mp4": b"not a video " * 99, "head.mp4": whole[: len(whole) // 2]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name) as raised:
            VideoReader(tmp_path / name)
        assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="no pictures"):
        VideoReader(tmp_path / "only.mka")
    with pytest.raises(ValueError, match="folder"):
        VideoReader(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        VideoReader(Path(tmp_path / "nope.mp4"))


def test_how_many_pictures_there_are_is_known_about(tmp_path):
    for name in ("a.mp4", "a.mkv"):
        with VideoReader(tiny_videos.write(tmp_path / name, count=30)) as video:
            assert video.count == pytest.approx(30, abs=1) and float(video.form.rate) == pytest.approx(25, rel=0.01)


def test_without_its_package_the_pip_line_is_named():
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from splatview.extras import MissingExtra\n"
        "try:\n    import splatview.outputs.video\n"
        "except MissingExtra as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "videos need PyAV: pip install 'splatview[stream]'\n"


def test_sound_all_around_becomes_stereo_when_it_is_encoded_anew(tmp_path):
    tiny_videos.write(tmp_path / "a.mkv", count=25, sound="flac", layout="5.1")
    for suffix in ("mov", "webm"):
        copied(tmp_path / "a.mkv", tmp_path / f"b.{suffix}")
        with av.open(str(tmp_path / f"b.{suffix}")) as container:
            assert container.streams.audio[0].layout.nb_channels == 2
        assert tiny_videos.loudness(tmp_path / f"b.{suffix}") > 0.05
