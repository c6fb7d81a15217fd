"""The sound of a video: copied packet by packet where its new container takes it, encoded anew where not."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from splatview.outputs.containers import Container
from splatview.outputs.rising import Rising

MOST_A_SECOND = 48000  # samples of what is encoded anew
TOGETHER = ("matroska", "webm")  # where packets may have the same time


class Sound:
    """The sound of `source` on its way into `output`, both containers of the module `av`; `notes` says for people what is not as it was."""

    def __init__(self, source: Any, output: Any, kind: Container, av: Any) -> None:
        self.notes: tuple[str, ...] = ()
        self._source, self._output, self._broken = source, output, av.error.FFmpegError
        self._parts: dict[int, Copied | Encoded] = {}
        self._rising: dict[int, Rising] = {}
        least = 0 if kind.format in TOGETHER else 1
        for stream in self._source.streams.audio:
            if stream.codec_context is None or not stream.rate or not stream.layout.nb_channels:
                self.notes += ("a stream of its sound is left out: it is of a kind that nobody knows here",)
                continue
            codec = stream.codec_context.codec.canonical_name
            part = Copied(stream, output) if codec in kind.copies else Encoded(stream, output, kind, av)
            self._parts[stream.index] = part
            self._rising[stream.index] = Rising(float(1 / stream.time_base), least)
            if isinstance(part, Encoded):
                self.notes += (f"its sound is {codec}, which not every player takes of {kind.format}: encoded anew as {kind.sound}",)
        self._packets = self._source.demux(*(self._source.streams[index] for index in self._parts)) if self._parts else iter(())
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
            packet = next((packet for packet in self._packets if packet.dts is not None), None)
        except self._broken as error:
            self.notes += (f"the sound breaks off ({error.strerror})",)
            return None
        if packet is not None:
            shift = self._rising[packet.stream_index].of(packet.dts, packet.duration or 1) - packet.dts
            packet.dts += shift
            packet.pts = packet.dts if packet.pts is None else packet.pts + shift
        return packet

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()


class Copied:
    """A stream of sound that stays as it is."""

    def __init__(self, stream: Any, output: Any) -> None:
        self._stream = output.add_stream_from_template(stream)

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
