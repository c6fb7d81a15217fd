"""Measures how fast styles are, for tools/bench.py: every filter as it comes, anchored and not, networks of ONNX files, and what is done
to pictures of any style while the camera moves."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

from splatview import Camera, load, open_renderer
from splatview.arrays import Bytes
from splatview.cli.flight import DRAWN, fly_through
from splatview.cli.sizes import Size
from splatview.frame import Frame
from splatview.stylize.carried import Carrier
from splatview.stylize.filters import FILTERS
from splatview.stylize.onnx_style import open_onnx
from splatview.stylize.temporal import Steady

STAGE = Path(__file__).resolve().parents[1] / "scenes" / "led_stage.spz"
SIZES = ((1280, 720), (640, 360))
LIVE = (640, 360)  # of networks
WARM, FRAMES, TURNS = 3, 25, 3
FLIGHT, FLOWN = 24, 6  # frames of a fly-through, and of its beginning
COLUMNS = [f"{what} at {width} x {height}" for width, height in SIZES for what in ("ms", "ms of all cores")]


def drawn(width: int, height: int) -> Frame:
    """The bundled stage, as the README of the scenes shows it, with depth."""
    camera = Camera.look_at((0.3, -9.5, 2.3), (0, 0, 1.75), (0, 0, 1), math.radians(49), width, height)
    return open_renderer("cpu").render(load(STAGE), camera, DRAWN)


def measured(call: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of a call, and those of all cores together: the least of some medians, as others may use the machine."""
    for _ in range(WARM):
        call()
    turns = []
    for _ in range(TURNS):
        times = []
        for _ in range(FRAMES):
            start, used = time.perf_counter(), time.process_time()
            call()
            times.append((1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - used)))
        turns.append(tuple(median(column) for column in zip(*times, strict=True)))
    return min(turns)


def styles() -> Iterator[tuple[str, Any]]:
    """Every filter with its own numbers; those that can be anchored both ways."""
    for name, kind in FILTERS.items():
        value = kind()
        for anchored in (True, False) if hasattr(value, "anchored") else (None,):
            yield (
                (name, value) if anchored is None else (f"{name}, {'' if anchored else 'not '}anchored", replace(value, anchored=anchored))
            )


class Negative:
    """The style that costs nothing: pictures that were made before."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._pictures = {frame: 255 - frame.rgb8 for frame in frames}

    def style(self, frame: Frame) -> Bytes:
        return self._pictures[frame]


def while_moving(width: int, height: int) -> dict[str, Callable[[], object]]:
    """What is done to a picture when the camera moves, there and back, about as fast as people fly."""
    renderer, scene = open_renderer("cpu"), load(STAGE)
    frames = [renderer.render(scene, camera, DRAWN) for camera in list(fly_through(FLIGHT, Size(width, height)))[:FLOWN]]
    style, way = Negative(frames), cycle([*frames, *frames[-2:0:-1]])
    steady, of = Steady(style), frames[1]
    carrier, others = Carrier(style.style(of), of), cycle((frames[0], frames[2]))
    return {
        "Steady, its stylizer apart": lambda: steady.style(next(way)),
        "a picture made ready to be laid onto frames": lambda: Carrier(style.style(of), of),
        "a picture laid onto a frame": lambda: carrier.onto(next(others)),
    }


def rows(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"| {' | '.join([title, *COLUMNS])} |", f"| --- |{' ---: |' * len(COLUMNS)}", *lines])


def cells(figures: Sequence[float]) -> str:
    return " | ".join(f"{figure:.1f}" for figure in figures)


def table(models: Sequence[Path] = ()) -> str:
    """The section for BENCHMARKS.md."""
    frames = {size: drawn(*size) for size in SIZES}
    lines, moving = [], []
    for name, style in styles():
        print(f"{name} ...", file=sys.stderr)
        lines.append(f"| {name} | {cells([figure for size in SIZES for figure in measured(partial(style.style, frames[size]))])} |")
    for path in models:
        print(f"{path.name} ...", file=sys.stderr)
        style = open_onnx(path)
        of = f"{path.name}, {style.controls.width} pixels wide"
        lines.append(f"| {of} | | | {cells(measured(partial(style.style, frames[LIVE])))} |")
    calls = [while_moving(*size) for size in SIZES]
    for name in calls[0]:
        print(f"{name} ...", file=sys.stderr)
        moving.append(f"| {name} | {cells([figure for each in calls for figure in measured(each[name])])} |")
    text = (
        "The bundled stage with depth, each style with the numbers it comes with, the median of a picture. Milliseconds of all cores say\n"
        "what a picture costs, whoever else uses the machine."
    )
    return f"{text}\n\n{rows('style', lines)}\n\nWhile the camera moves:\n\n{rows('what is done to a picture', moving)}"
