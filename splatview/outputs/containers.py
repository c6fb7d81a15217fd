"""What kinds of video there are, and what one is like. Needs no codecs."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from splatview.arrays import Bytes

READ = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".ogv", ".3gp", ".gif")


@dataclass(frozen=True)
class Container:
    """What goes into the files with a suffix."""

    format: str
    video: str  # the encoder
    options: dict[str, str]  # of it
    copies: frozenset[str]  # codecs of sound that players expect there
    sound: str  # the encoder for others
    sample_rate: int | None = None  # of that, None: as it was
    muxing: dict[str, str] = field(default_factory=dict)
    largest: int = 16384  # pixels a side that the encoder takes
    subtitles: frozenset[str] = frozenset({"mov_text"})  # codecs of those that it holds


_H264 = {"crf": "18", "preset": "veryfast", "bf": "0"}  # no B-frames: with uneven times, an mp4 would be told to be too short
_VP9 = {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"}
_MPEG4 = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
_TEXTS = frozenset({"subrip", "ass", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"})
_MORE = frozenset({"opus", "vorbis", "flac", "dts", "truehd", "mp2", "pcm_s16le", "pcm_s24le"})

CONTAINERS = {
    ".mp4": Container("mp4", "libx264", _H264, _MPEG4 | {"opus", "flac"}, "aac", muxing={"movflags": "faststart"}),
    ".m4v": Container("mp4", "libx264", _H264, _MPEG4, "aac", muxing={"movflags": "faststart"}),
    ".mov": Container("mov", "libx264", _H264, _MPEG4 | {"pcm_s16le", "pcm_s24le"}, "aac"),
    ".mkv": Container("matroska", "libx264", _H264, _MPEG4 | _MORE, "aac", subtitles=_TEXTS),
    ".webm": Container(
        "webm", "libvpx-vp9", _VP9, frozenset({"opus", "vorbis"}), "libopus", 48000, largest=65536, subtitles=frozenset({"webvtt"})
    ),
}


@dataclass(frozen=True)
class VideoForm:
    """What a video is like."""

    width: int  # pixels, as it is seen
    height: int
    rate: Fraction = Fraction(30)  # frames a second, about
    time_base: Fraction = Fraction(1, 90000)  # seconds that times are whole numbers of
    pixel_aspect: Fraction = Fraction(1)  # width by height of a pixel


@dataclass(frozen=True, eq=False)
class Picture:
    """A frame of a video."""

    rgb8: Bytes  # [H, W, 3]
    time: Fraction  # seconds
