"""What goes along with the pictures of a video, its sound and its subtitles.

Both are copied packet by packet where their new container takes them; where not, sound is encoded anew and subtitles are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, TypeVar

from splatview.outputs.containers import Container
from splatview.outputs.rising import Rising

T = TypeVar("T")

MOST_A_SECOND = 48000  # samples of what is encoded anew
TOGETHER = ("matroska", "webm")  # where packets may have the same time


def going_on(begun: Callable[[], Iterator[T]]) -> Iterator[T]:
    """What PyAV reads of a file, also where streams come that were not there at its beginning, as in broadcasts: it does not know them."""
    while True:
        try:
            yield from begun()
            return
        except IndexError:
            continue


class Tracks:
    """Those of `source` on their way into `output`, both containers of the module `av`; `notes` says for people what is not as it was."""

    def __init__(self, source: Any, output: Any, kind: Container, av: Any) -> None:
        self.notes: tuple[str, ...] = ()
        self._output, self._kind, self._av = output, kind, av
        self._sounds: dict[int, Copied | Encoded] = {}
        self._subtitles: dict[int, Copied] = {}
        for stream in source.streams.audio:
            self._add_sound(stream)
        for stream in source.streams.subtitles:
            self._add_subtitles(stream)
        self._parts = {**self._sounds, **self._subtitles}
        streams = [source.streams[index] for index in self._parts]
        self._rising = {one.index: Rising(float(1 / one.time_base), 0 if kind.format in TOGETHER else 1) for one in streams}
        self._packets = going_on(lambda: source.demux(*streams)) if streams else iter(())
        self._aside: list[Any] = []  # subtitles that lie before sound of an earlier time
        self._next = self._taken()

    def _add_sound(self, stream: Any) -> None:
        codec = _codec(stream)
        if not codec or not stream.rate or not stream.layout.nb_channels:
            self._note("a stream of its sound is left out: it is of a kind that nobody knows here")
        elif codec in self._kind.copies:
            self._sounds[stream.index] = Copied(stream, self._output)
        else:
            self._sounds[stream.index] = Encoded(stream, self._output, self._kind, self._av)
            self._note(f"its sound is {codec}, which not every player takes of {self._kind.format}: encoded anew as {self._kind.sound}")

    def _add_subtitles(self, stream: Any) -> None:
        codec = _codec(stream) or "of a kind that nobody knows here"
        if codec in self._kind.subtitles:
            self._subtitles[stream.index] = Copied(stream, self._output)
        else:
            self._note(f"its subtitles are {codec}, which {self._kind.format} does not hold: left out")

    def _note(self, text: str) -> None:
        self.notes += (text,) if text not in self.notes else ()

    def write(self, until: Fraction | None) -> None:
        """What comes before `until` seconds (None: all)."""
        is_due = lambda packet: until is None or packet.dts * packet.time_base <= until
        aside, self._aside = self._aside, []
        for packet in aside:
            self._put_or_wait(packet, is_due(packet))
        while self._next is not None and (is_due(self._next) or (self._sounds and self._next.stream_index in self._subtitles)):
            self._put_or_wait(self._next, is_due(self._next))
            self._next = self._taken()

    def end(self) -> None:
        """What the encoders still hold."""
        for index in self._parts:
            self._output.mux(self._parts[index].packets(None))

    def _put_or_wait(self, packet: Any, is_due: bool) -> None:
        if is_due:
            self._output.mux(self._parts[packet.stream_index].packets(packet))
        else:
            self._aside.append(packet)

    def _taken(self) -> Any:
        """The next packet; None: there are no more, or the file breaks off."""
        try:
            packet = next((packet for packet in self._packets if packet.dts is not None), None)
        except self._av.error.FFmpegError as error:
            self._note(f"its sound breaks off ({error.strerror})")
            return None
        if packet is not None:
            shift = self._rising[packet.stream_index].of(packet.dts, packet.duration or 1) - packet.dts
            packet.dts += shift
            packet.pts = packet.dts if packet.pts is None else packet.pts + shift
        return packet


def _codec(stream: Any) -> str:
    """The name of its codec; "": nobody knows it here."""
    return stream.codec_context.codec.canonical_name if stream.codec_context is not None else ""


class Copied:
    """A stream that stays as it is."""

    def __init__(self, stream: Any, output: Any) -> None:
        self._stream = output.add_stream_from_template(stream)
        _name(self._stream, stream)

    def packets(self, packet: Any) -> list[Any]:
        if packet is None:
            return []
        packet.stream = self._stream
        return [packet]


class Encoded:
    """A stream of sound that is encoded anew, with at most two channels."""

    def __init__(self, stream: Any, output: Any, kind: Container, av: Any) -> None:
        self._av = av
        layout = stream.layout.name if stream.layout.nb_channels <= 2 else "stereo"
        self._stream = output.add_stream(kind.sound, rate=kind.sample_rate or min(stream.rate, MOST_A_SECOND), layout=layout)
        _name(self._stream, stream)
        self._resampler: Any = None
        self._kind: tuple[str, str, int] | None = None  # of what came in

    def packets(self, packet: Any) -> list[Any]:
        """Of a packet that came in; None: the last ones."""
        try:
            frames = [] if packet is None else packet.decode()
        except self._av.error.FFmpegError:  # one that is broken is silence
            frames = []
        context = self._stream.codec_context
        if not context.is_open:  # it is, once there is a picture
            context.open()
        given = [part for frame in (frames if packet is not None else [None]) for part in self._resampled(frame)]
        found = [out for part in given for out in self._stream.encode(part)]
        return found if packet is not None else [*found, *self._stream.encode(None)]

    def _resampled(self, frame: Any) -> list[Any]:
        """What the encoder takes of a frame; None: of what is left."""
        context = self._stream.codec_context
        kind = self._kind if frame is None else (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or kind != self._kind:  # of another kind than before, as broadcasts change it
            self._kind = kind
            self._resampler = self._av.AudioResampler(context.format, context.layout, context.rate, context.frame_size)
        return self._resampler.resample(frame)


def _name(stream: Any, source: Any) -> None:
    """People choose by these."""
    stream.metadata.update({name: source.metadata[name] for name in ("language", "title") if name in source.metadata})
    stream.disposition = source.disposition
