"""Small videos, written with PyAV itself, and what is in one."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from stylized_frames import clouds

RATES = {"libopus": 48000}


def smooth(number, height=36, width=64):
    """The picture [H, W, 3] of a frame: soft forms that wander, so that codecs keep them."""
    wide = cv2.GaussianBlur(clouds(height, 2 * width, 3), (0, 0), 4)
    return np.ascontiguousarray(np.roll(wide, -2 * number, 1)[:, :width])


def write(
    path: Path,
    count=12,
    size=(64, 36),
    *,
    video="libx264",
    sound: str | None = None,
    times=None,
    rotation=0,
    rate=25,
    streams=1,
    layout="mono",
    subtitles=(),
    silence=0.0,
    languages=(),
    seconds=None,
):
    """A video of `count` frames; `times` in thousandths of a second; `sound`: the codec of a sine as long as it, or so many `seconds`.

    `subtitles`: texts, one after each half of a second, for a quarter of one. The sound begins after so many seconds of `silence`.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(video, rate=rate, options={"crf": "10"} if video == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        sounds = [container.add_stream(sound, rate=RATES.get(sound, 44100), layout=layout) for _ in range(streams)] if sound else []
        text = _written(container, path) if subtitles else None
        for one, language in zip([*sounds, text], languages, strict=False):
            one.metadata["language"] = language
        for place, one in enumerate(subtitles):
            container.mux(_subtitle(text, one, place))
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(smooth(number, size[1], size[0]), "rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        for pitch, one in enumerate(sounds):
            _sing(container, one, seconds or count / rate, 440 * (pitch + 1), silence)
        container.mux(stream.encode(None))
    return path


def _written(container, path):
    """A stream of subtitles, of the kind that belongs there."""
    if path.suffix == ".mp4":
        stream = container.add_stream("mov_text")
        stream.codec_context.subtitle_header = b"[Script Info]\n[V4+ Styles]\nFormat: Name, Fontname\nStyle: Default,Arial\n[Events]\n"
        return stream
    source = path.with_suffix(".vtt" if path.suffix == ".webm" else ".srt")
    source.write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nx\n" if path.suffix == ".webm" else "1\n00:00:01,000 --> 00:00:02,000\nx\n")
    with av.open(str(source)) as texts:
        stream = container.add_stream_from_template(texts.streams.subtitles[0])
    source.unlink()
    return stream


def _subtitle(stream, text, place):
    content = text.encode()
    packet = av.Packet(len(content).to_bytes(2, "big") + content if stream.name == "mov_text" else content)
    packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = stream, Fraction(1, 1000), *2 * [500 * place], 250
    return packet


def subtitles(path):
    """For each stream of subtitles its codec, its language, and its texts with when they begin, in seconds."""
    with av.open(str(path)) as container:
        found = {
            one.index: (one.codec_context.codec.canonical_name, one.metadata.get("language"), []) for one in container.streams.subtitles
        }
        for packet in container.demux(*container.streams.subtitles) if found else ():
            if packet.dts is not None and len(bytes(packet)) > 2:
                content = bytes(packet)[2 if found[packet.stream_index][0] == "mov_text" else 0 :]
                found[packet.stream_index][2].append((content.decode(), float(packet.pts * packet.time_base)))
    return list(found.values())


def _sing(container, stream, seconds, hertz, begin=0.0):
    rate = stream.rate
    wave = (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, round(begin * rate), Fraction(1, rate)
    context = stream.codec_context
    if not context.is_open:
        context.open()
    resampler = av.AudioResampler(context.format, context.layout, rate, context.frame_size or None)
    for part in (*resampler.resample(frame), *resampler.resample(None)):
        container.mux(stream.encode(part))
    container.mux(stream.encode(None))


def sounds(path):
    """For each stream of sound its codec, a hash of its packets, how many they are, and when the first begins, in seconds."""
    with av.open(str(path)) as container:
        found = {one.index: (one.codec_context.codec.canonical_name, hashlib.sha1(), []) for one in container.streams.audio}
        for packet in container.demux(*container.streams.audio) if found else ():
            if packet.dts is not None:
                found[packet.stream_index][1].update(bytes(packet))
                found[packet.stream_index][2].append(packet.pts * packet.time_base)
    return [(codec, digest.hexdigest(), len(times), times[0]) for codec, digest, times in found.values()]


def loudness(path, hertz=440.0):
    """How much of a tone [0..1] there is in the sound, decoded."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("fltp", "mono", 44100)
        parts = [part.to_ndarray()[0] for frame in container.decode(stream) for part in resampler.resample(frame)]
    wave = np.concatenate(parts)
    tone = np.exp(2j * np.pi * hertz * np.arange(len(wave)) / 44100)
    return 2 * abs((wave * tone).mean())


def span(path):
    """When the sound of a video begins and ends, in seconds."""
    with av.open(str(path)) as container:
        times = [(float(one.pts * one.time_base), one.samples / one.sample_rate) for one in container.decode(container.streams.audio[0])]
    return times[0][0], sum(times[-1])


def psnr(one, other):
    return 10 * np.log10(255**2 / max(np.mean((one.astype(np.float64) - other) ** 2), 1e-9))
