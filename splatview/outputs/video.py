"""Videos, read and written. The one file that knows PyAV; importing it without is MissingExtra.

Colours are sRGB in memory and BT.709 in files, limited to 16..235 there. Times are those of the file, exactly, in seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from splatview.arrays import Bytes
from splatview.extras import MissingExtra
from splatview.outputs.beside import beside
from splatview.outputs.containers import CONTAINERS, Container, Picture, VideoForm
from splatview.outputs.rising import Rising
from splatview.outputs.tracks import Tracks, going_on

try:
    import av
    from av.error import FFmpegError
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter
except ImportError as error:
    raise MissingExtra("videos need PyAV: pip install 'splatview[stream]'") from error

UNTAGGED = 2  # what FFmpeg calls a colour space that a file does not tell
HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)  # PQ and HLG, as phones record: what is brighter than white becomes white
HIGH = 720  # lines from which untagged video is BT.709; below it is BT.601
EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
SHORT = Fraction(1, 2)  # seconds that may be missing at a video's end
BT709 = 1  # as FFmpeg numbers matrices, primaries and transfer functions alike


class VideoReader:
    """A video that is open. ValueError if it is none; FileNotFoundError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._container = _opened(path)
        stream: Any = self._container.streams.best("video")  # not the picture on a cover
        if stream is None:
            self._container.close()
            raise ValueError(f"{path}: expected a video, found no pictures in it")
        self._stream = stream
        self._stream.thread_type = "AUTO"
        self._first: Any = None  # a frame that was decoded to see how it is turned
        self._frames = self._decoded()
        try:
            self._first = next(self._frames, None)
        except ValueError:
            self.close()
            raise
        if self._first is None:
            self.close()
            raise ValueError(f"{path}: expected a video, found no picture that can be decoded")

    @property
    def form(self) -> VideoForm:
        stream, aside = self._stream, _turns(self._first) % 2
        width, height = self._first.width, self._first.height
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        return VideoForm(
            height if aside else width,
            width if aside else height,
            Fraction(stream.average_rate or stream.guessed_rate or 30),
            Fraction(stream.time_base or Fraction(1, 90000)),
            1 / aspect if aside else aspect,
        )

    @property
    def seconds(self) -> Fraction | None:
        """How long its pictures last, as the file says; None: it does not."""
        stream, streams = self._stream, self._container.streams
        told = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))  # Matroska, where it is when they end
        if told:
            return 3600 * int(told[1]) + 60 * int(told[2]) + Fraction(told[3]) - self._begin
        own = len(streams) == 1 or "matroska" not in self._container.format.name  # there FFmpeg may give it the length of the whole
        return stream.duration * Fraction(stream.time_base) if own and stream.duration and stream.time_base else None

    @property
    def _begin(self) -> Fraction:
        """When the first picture comes, in seconds."""
        stream = self._stream
        return stream.start_time * Fraction(stream.time_base) if stream.start_time and stream.time_base else Fraction(0)

    @property
    def count(self) -> int | None:
        """About how many pictures there are; None: nobody knows."""
        if self._stream.frames:
            return self._stream.frames
        whole = self._container.duration
        seconds = self.seconds or (Fraction(whole, av.time_base) if whole else None)
        return None if seconds is None else max(1, round(seconds * self.form.rate))

    def pictures(self) -> Iterator[Picture]:
        """The pictures from here on, upright, their times rising. ValueError where the file breaks off."""
        form, colours = self.form, VideoReformatter()
        rising, step = Rising(float(1 / form.time_base)), max(1, round(1 / form.rate / form.time_base))
        last: Fraction | None = None
        count, frame = 0, self._first
        while frame is not None:
            last = rising.of(frame.pts, step) * form.time_base
            yield Picture(_upright(frame, colours), last)
            count += 1
            frame = next(self._frames, None)
        whole, begin = self.seconds, self._begin
        if whole and last is not None and last - begin < whole - max(SHORT, 3 / form.rate):
            raise ValueError(
                f"{self.path}: the video breaks off after {count} pictures ({float(last - begin):.1f} of {float(whole):.1f} s)"
            )

    def close(self) -> None:
        self._container.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decoded(self) -> Iterator[Any]:
        count = 0
        try:
            for frame in going_on(lambda: self._container.decode(self._stream)):
                yield frame
                count += 1
        except FFmpegError as error:
            raise ValueError(f"{self.path}: the video breaks off after {count} pictures ({error.strerror})") from error


class VideoWriter:
    """A video that is being written: inside of a `with`, at whose end the file is there, and nothing of it if that failed.

    `along`: a video whose sound and subtitles go along, as they are where the container takes them. Pictures of an odd size get another row
    or column, like the last, as H.264 wants it. `notes` says for people what else is not as it was. OSError if it cannot be written,
    ValueError if there is no video of that name or size.
    """

    def __init__(self, path: Path, form: VideoForm, along: Path | None = None) -> None:
        kind = CONTAINERS.get(path.suffix.lower())
        if kind is None:
            raise ValueError(f"{path}: expected the name of a video, which ends in {', '.join(CONTAINERS)}")
        if max(form.width, form.height) > kind.largest:
            raise ValueError(
                f"{path}: expected at most {kind.largest} pixels a side, as {kind.video} has it, got {form.width} x {form.height}"
            )
        self.path = path
        self.count = 0
        self.notes: tuple[str, ...] = ()
        self.along_until: Fraction | None = None  # seconds; None: to its end
        self._form, self._colours = form, VideoReformatter()
        self._odd = form.height % 2, form.width % 2
        with ExitStack() as opened, self._faults():
            part = opened.enter_context(beside(path))
            self._container = opened.enter_context(
                _closing(av.open(str(part.absolute()), "w", format=kind.format, container_options=kind.muxing))
            )
            self._stream = self._added(kind)
            self._tracks = None if along is None else Tracks(opened.enter_context(_opened(along)), self._container, kind, av)
            self._opened = opened.pop_all()

    def write(self, picture: Picture) -> None:
        """The next picture, of the form's size, after the one before; sound and subtitles that belong before it go first."""
        rgb8 = np.pad(picture.rgb8, ((0, self._odd[0]), (0, self._odd[1]), (0, 0)), "edge") if any(self._odd) else picture.rgb8
        with self._faults():
            frame = self._colours.reformat(
                av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb8), "rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=EXACT,
            )
            frame.pts, frame.time_base = round(picture.time / self._form.time_base), self._form.time_base
            if self._tracks is not None:
                self._tracks.write(picture.time)
            self._container.mux(self._stream.encode(frame))
            self.count += 1

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._faults():
            if kind is not None:
                self._opened.__exit__(kind, error, trace)
                return
            with self._opened:
                self._container.mux(self._stream.encode(None))
                if self._tracks is not None:
                    self._tracks.write(self.along_until)
                    self._tracks.end()
                    self.notes = self._tracks.notes

    def _added(self, kind: Container) -> Any:
        form = self._form
        stream: Any = self._container.add_stream(kind.video, rate=form.rate, options=dict(kind.options))
        stream.width, stream.height, stream.pix_fmt = form.width + self._odd[1], form.height + self._odd[0], "yuv420p"
        context = stream.codec_context
        context.time_base, context.sample_aspect_ratio = form.time_base, form.pixel_aspect
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = ColorRange.MPEG
        return stream

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What FFmpeg says as OSError with the file's name."""
        try:
            yield
        except FFmpegError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error


def _upright(frame: Any, colours: VideoReformatter) -> Bytes:
    """[H, W, 3] sRGB, turned as the file says."""
    told: dict[str, Any] = {}
    if frame.colorspace == UNTAGGED:
        told = {"src_colorspace": Colorspace.ITU709 if frame.height >= HIGH else Colorspace.ITU601}
    if frame.color_trc in HDR:
        told |= {"dst_color_trc": ColorTrc.IEC61966_2_1, "dst_color_primaries": ColorPrimaries.BT709}
    rgb8 = colours.reformat(frame, format="rgb24", dst_color_range=ColorRange.JPEG, interpolation=EXACT, **told).to_ndarray()
    return np.ascontiguousarray(np.rot90(rgb8, _turns(frame)), np.uint8)


def _turns(frame: Any) -> int:
    """Quarter turns to the left by which it becomes upright."""
    return round(frame.rotation / 90) % 4


def _opened(path: Path) -> Any:
    """ValueError if it is nothing that FFmpeg reads; OSError if it cannot be read."""
    if path.is_dir():
        raise ValueError(f"{path}: expected a video, this is a folder")
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        return av.open(str(path.absolute()))  # not a name that FFmpeg takes for an address
    except FFmpegError as error:
        raise ValueError(f"{path}: expected a video file ({error.strerror})") from error


@contextmanager
def _closing(container: Any) -> Iterator[Any]:
    """Its file is finished in the end; if something failed, it does not matter."""
    try:
        yield container
    except BaseException:
        with suppress(FFmpegError):
            container.close()
        raise
    container.close()
