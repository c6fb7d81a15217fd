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
):
    """A video of `count` frames; `times` in thousandths of a second; `sound`: the codec of a sine as long as the video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(video, rate=rate, options={"crf": "10"} if video == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        sounds = [container.add_stream(sound, rate=RATES.get(sound, 44100), layout=layout) for _ in range(streams)] if sound else []
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(smooth(number, size[1], size[0]), "rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        for pitch, one in enumerate(sounds):
            _sing(container, one, count / rate, 440 * (pitch + 1))
        container.mux(stream.encode(None))
    return path


def _sing(container, stream, seconds, hertz):
    rate = stream.rate
    wave = (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
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


def psnr(one, other):
    return 10 * np.log10(255**2 / max(np.mean((one.astype(np.float64) - other) ** 2), 1e-9))
