"""Measures how fast styles are, for tools/bench.py: every filter as it comes, anchored and not, and networks of ONNX files."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from splatview import Camera, RenderOptions, load, open_renderer
from splatview.frame import Frame
from splatview.stylize import Stylizer
from splatview.stylize.filters import FILTERS
from splatview.stylize.onnx_style import open_onnx

STAGE = Path(__file__).resolve().parents[1] / "scenes" / "led_stage.spz"
SIZES = ((1280, 720), (640, 360))
LIVE = (640, 360)  # of networks
WARM, FRAMES, TURNS = 3, 25, 3


def drawn(width: int, height: int) -> Frame:
    """The bundled stage, as the README of the scenes shows it, with depth."""
    camera = Camera.look_at((0.3, -9.5, 2.3), (0, 0, 1.75), (0, 0, 1), math.radians(49), width, height)
    return open_renderer("cpu").render(load(STAGE), camera, RenderOptions(outputs=("rgb8", "alpha", "depth")))


def measured(style: Stylizer, frame: Frame) -> tuple[float, float]:
    """Milliseconds of a picture, and those of all cores together: the least of some medians, as others may use the machine."""
    for _ in range(WARM):
        style.style(frame)
    turns = []
    for _ in range(TURNS):
        times = []
        for _ in range(FRAMES):
            start, used = time.perf_counter(), time.process_time()
            style.style(frame)
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


def table(models: Sequence[Path] = ()) -> str:
    """The section for BENCHMARKS.md."""
    frames = {size: drawn(*size) for size in SIZES}
    lines = []
    for name, style in styles():
        print(f"{name} ...", file=sys.stderr)
        cells = [f"{figure:.1f}" for size in SIZES for figure in measured(style, frames[size])]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for path in models:
        print(f"{path.name} ...", file=sys.stderr)
        style = open_onnx(path)
        of = f"{path.name}, {style.controls.width} pixels wide"
        lines.append(f"| {of} | | | {' | '.join(f'{figure:.1f}' for figure in measured(style, frames[LIVE]))} |")
    titles = ["style", *(f"{what} at {width} x {height}" for width, height in SIZES for what in ("ms", "ms of all cores"))]
    text = (
        "The bundled stage with depth, each style with the numbers it comes with, the median of a picture. Milliseconds of all cores say\n"
    )
    text += "what a picture costs, whoever else uses the machine."
    return "\n".join([text, "", f"| {' | '.join(titles)} |", f"| --- |{' ---: |' * (len(titles) - 1)}", *lines])
