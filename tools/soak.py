"""Flies a camera through a running viewer for a long time and watches the server: `python tools/soak.py --minutes 60`.

Every `--every` seconds a row of the CSV: seconds since the start, resident memory, threads, open files, pictures per second. At the end
(or at Ctrl+C) a small table, and the slope of the memory after the warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from scripted_client import ScriptedClient

DEMO = Path(__file__).parents[1] / "scenes" / "led_stage.spz"
WARM_UP = 0.1  # of the whole time: pools fill, and the page's size and quality settle
TURN = 20.0  # seconds for a turn around the scene
REST = 0.7  # seconds at rest before each sample, so that pictures at rest are part of it


@dataclass(frozen=True)
class Sample:
    """The server at one moment."""

    seconds: float
    megabytes: float  # resident
    threads: int
    files: int
    fps: float  # since the sample before


@contextmanager
def server(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A `splatview view` with these words in a process of its own, and its address; it is ended with the block."""
    command = [sys.executable, "-m", "splatview", "view", *words, "--port", "0", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if "://" in line), "")
            if not line:
                raise RuntimeError(f"{' '.join(command)}: ended without an address")
            yield process, line.split()[-1]
        finally:
            process.terminate()


def looked_at(process: int) -> tuple[float, int, int]:
    """Resident megabytes, threads and open files of a process."""
    folder = Path(f"/proc/{process}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"]), len(list((folder / "fd").iterdir()))


async def fly(
    url: str, process: int, seconds: float, every: float, rate: float, size: tuple[int, int], tell: Callable[[Sample], None]
) -> None:
    """Turn around the scene with `rate` camera messages a second; `tell` a sample of `process` each `every` seconds."""
    async with ScriptedClient.connect(url, width=size[0], height=size[1]) as client:
        pictures = 0

        def count(_: object) -> None:
            nonlocal pictures
            pictures += 1

        client.on_picture = count
        began = time.monotonic()
        asked, sampled_at = began, began
        while asked - began < seconds:
            end = asked + every - REST
            while (now := time.monotonic()) < end:
                await client.orbit(6.283 * (now - began) / TURN)
                await asyncio.sleep(1 / rate)
            await asyncio.sleep(REST)
            asked = time.monotonic()
            tell(Sample(asked - began, *looked_at(process), pictures / (asked - sampled_at)))
            sampled_at, pictures = asked, 0
            del client.arrivals[:-1], client.scripts[:]  # this process is not to grow either


def slope(samples: Sequence[Sample]) -> float:
    """Megabytes per hour that the memory grows by after the warm-up: a straight line through it."""
    settled = [one for one in samples if one.seconds >= WARM_UP * samples[-1].seconds]
    if len(settled) < 2:
        return float("nan")
    return float(np.polyfit([one.seconds for one in settled], [one.megabytes for one in settled], 1)[0]) * 3600


def table(samples: Sequence[Sample], rows: int = 12) -> str:
    """About `rows` of the samples, evenly, and the slope."""
    lines = ["   seconds    MB  threads  files   fps"]
    for at in np.unique(np.linspace(0, len(samples) - 1, rows).round().astype(int)):
        one = samples[at]
        lines.append(f"{one.seconds:10.0f} {one.megabytes:5.0f} {one.threads:8d} {one.files:6d} {one.fps:5.1f}")
    lines.append(f"memory after the warm-up: {slope(samples):+.1f} MB per hour")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> list[Sample]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two samples")
    parser.add_argument("--rate", type=float, default=30.0, help="camera messages per second")
    parser.add_argument("--size", type=int, nargs=2, default=(960, 540), help="width and height of the window, in pixels")
    parser.add_argument("--csv", type=Path, default=Path("soak.csv"))
    parser.add_argument("--scene", type=Path, default=DEMO)
    asked = parser.parse_args(words)
    samples: list[Sample] = []
    with server(str(asked.scene)) as (process, url), asked.csv.open("w", newline="", encoding="ascii") as file:
        rows = csv.writer(file)
        rows.writerow(field.name for field in fields(Sample))

        def note(sample: Sample) -> None:
            samples.append(sample)
            rows.writerow(f"{value:.6g}" for value in astuple(sample))
            file.flush()

        with suppress(KeyboardInterrupt):
            asyncio.run(fly(url, process.pid, 60 * asked.minutes, asked.every, asked.rate, tuple(asked.size), note))
    if samples:
        print(table(samples))
    return samples


if __name__ == "__main__":
    main()
