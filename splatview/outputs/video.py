"""Videos, read and written. The one file that knows PyAV; importing it without is MissingExtra.

Colours are sRGB in memory and BT.709 in files, limited to 16..235 there. Times are those of the file, exactly, in seconds.
"""

from __future__ import annotations

import re
import threading
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

try:
    import av
    from av.error import FFmpegError
    from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
except ImportError as error:
    raise MissingExtra("videos need PyAV: pip install 'splatview[stream]'") from error

UNTAGGED = 2  # what FFmpeg calls a colour space that a file does not tell
HIGH = 720  # lines from which untagged video is BT.709; below it is BT.601
EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
SHORT = Fraction(1, 2)  # seconds that may be missing at a video's end
BT709 = 1  # as FFmpeg numbers matrices, primaries and transfer functions alike


class VideoReader:
    """A video that is open. ValueError if it is none; FileNotFoundError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._container = _opened(path)
        if not self._container.streams.video:
            self._container.close()
            raise ValueError(f"{path}: expected a video, found no pictures in it")
        self._stream = self._container.streams.video[0]
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
        stream = self._stream
        if stream.duration and stream.time_base:
            return stream.duration * Fraction(stream.time_base)
        told = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))  # Matroska
        return 3600 * int(told[1]) + 60 * int(told[2]) + Fraction(told[3]) if told else None

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
        last: Fraction | None = None
        count, frame = 0, self._first
        while frame is not None:
            time = None if frame.pts is None else frame.pts * Fraction(frame.time_base or form.time_base)
            if time is None or (last is not None and time <= last):
                time = Fraction(0) if last is None else last + 1 / form.rate if time is None else last + form.time_base
            last = time
            yield Picture(_upright(frame, colours), time)
            count += 1
            frame = next(self._frames, None)
        begin = self._stream.start_time * form.time_base if self._stream.start_time else Fraction(0)
        if self.seconds and last is not None and last - begin < self.seconds - max(SHORT, 3 / form.rate):
            raise ValueError(f"{self.path}: the video breaks off after {count} pictures ({float(last):.1f} of {float(self.seconds):.1f} s)")

    def close(self) -> None:
        self._container.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decoded(self) -> Iterator[Any]:
        count = 0
        try:
            for frame in self._container.decode(self._stream):
                yield frame
                count += 1
        except FFmpegError as error:
            raise ValueError(f"{self.path}: the video breaks off after {count} pictures ({error.strerror})") from error


class VideoWriter:
    """A video that is being written: inside of a `with`, at whose end the file is there, and nothing of it if that failed.

    `sound`: a video whose streams of sound go along, as they are where the container takes them. Pictures of an odd size get another row
    or column, like the last, as H.264 wants it. `notes` says for people what else is not as it was. OSError if it cannot be written.
    """

    def __init__(self, path: Path, form: VideoForm, sound: Path | None = None) -> None:
        kind = CONTAINERS.get(path.suffix.lower())
        if kind is None:
            raise ValueError(f"{path}: expected the name of a video, which ends in {', '.join(CONTAINERS)}")
        self.path = path
        self.count = 0
        self.notes: tuple[str, ...] = ()
        self.sound_until: Fraction | None = None  # seconds; None: to its end
        self._form, self._colours = form, VideoReformatter()
        self._odd = form.height % 2, form.width % 2
        self._using = threading.Lock()
        with ExitStack() as opened, self._faults():
            part = opened.enter_context(beside(path))
            self._container = opened.enter_context(_closing(av.open(str(part), "w", format=kind.format, container_options=kind.muxing)))
            self._stream = self._added(kind)
            self._sound = None if sound is None else opened.enter_context(_Sound(sound, self._container, kind))
            self._opened = opened.pop_all()

    def write(self, picture: Picture) -> None:
        """The next picture, of the form's size, after the one before; sound that belongs before it goes first."""
        rgb8 = np.pad(picture.rgb8, ((0, self._odd[0]), (0, self._odd[1]), (0, 0)), "edge") if any(self._odd) else picture.rgb8
        with self._using, self._faults():
            frame = self._colours.reformat(
                av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb8), "rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=EXACT,
            )
            frame.pts, frame.time_base = round(picture.time / self._form.time_base), self._form.time_base
            if self._sound is not None:
                self._sound.write(picture.time)
            self._container.mux(self._stream.encode(frame))
            self.count += 1

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._using, self._faults():  # whoever is writing still is let end
            if kind is not None:
                self._opened.__exit__(kind, error, trace)
                return
            with self._opened:
                self._container.mux(self._stream.encode(None))
                if self._sound is not None:
                    self._sound.write(self.sound_until)
                    self._sound.end()
                    self.notes = self._sound.notes

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


class _Sound:
    """The sound of a file on its way into another one."""

    def __init__(self, path: Path, output: Any, kind: Container) -> None:
        self.notes: tuple[str, ...] = ()
        self._output = output
        self._input = _opened(path)
        self._parts: dict[int, _Copied | _Encoded] = {}
        for stream in self._input.streams.audio:
            codec = stream.codec_context.codec.canonical_name
            part = _Copied(stream, output) if codec in kind.copies else _Encoded(stream, output, kind)
            self._parts[stream.index] = part
            if isinstance(part, _Encoded):
                self.notes += (f"its sound is {codec}, which {kind.format} does not hold for all players: encoded anew as {kind.sound}",)
        self._packets = self._input.demux(*self._input.streams.audio) if self._parts else iter(())
        self._next = self._taken()

    def write(self, until: Fraction | None) -> None:
        """What comes before `until` seconds (None: all)."""
        while (packet := self._next) is not None and (until is None or packet.dts * packet.time_base <= until):
            self._put(packet.stream_index, packet)
            self._next = self._taken()

    def end(self) -> None:
        """What the encoders still hold."""
        for index in self._parts:
            self._put(index, None)

    def _put(self, index: int, packet: Any) -> None:
        self._output.mux(self._parts[index].packets(packet))

    def _taken(self) -> Any:
        """The next packet; None: there are no more, or the file breaks off."""
        try:
            return next((packet for packet in self._packets if packet.dts is not None), None)
        except FFmpegError as error:
            self.notes += (f"the sound breaks off ({error.strerror})",)
            return None

    def __enter__(self) -> _Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()


class _Copied:
    """A stream of sound that stays as it is."""

    def __init__(self, stream: Any, output: Any) -> None:
        self._stream = output.add_stream_from_template(stream)

    def packets(self, packet: Any) -> list[Any]:
        if packet is None:
            return []
        packet.stream = self._stream
        return [packet]


class _Encoded:
    """A stream of sound that is encoded anew."""

    def __init__(self, stream: Any, output: Any, kind: Container) -> None:
        rate = kind.sample_rate or stream.rate
        self._stream = output.add_stream(kind.sound, rate=rate, layout=stream.layout.name)
        self._resampler: Any = None

    def packets(self, packet: Any) -> list[Any]:
        """Of a packet that came in; None: the last ones."""
        try:
            frames = [] if packet is None else packet.decode()
        except FFmpegError:  # one that is broken is silence
            frames = []
        context = self._stream.codec_context
        if self._resampler is None:
            context.open()
            self._resampler = av.AudioResampler(context.format, context.layout, context.rate, context.frame_size)
        given = [part for frame in (frames if packet is not None else [None]) for part in self._resampler.resample(frame)]
        found = [out for part in given for out in self._stream.encode(part)]
        return found if packet is not None else [*found, *self._stream.encode(None)]


def _upright(frame: Any, colours: VideoReformatter) -> Bytes:
    """[H, W, 3] sRGB, turned as the file says."""
    told: dict[str, Any] = {"src_colorspace": Colorspace.ITU709 if frame.height >= HIGH else Colorspace.ITU601}
    if frame.colorspace != UNTAGGED:
        told = {}
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
        return av.open(str(path))
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
