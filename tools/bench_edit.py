"""Measures how soon an edit is seen: strokes of a scripted client to their tinted pictures. `python tools/bench_edit.py [SCENE]`.

Without SCENE: a procedural valley of a million Gaussians. Every time is the client's own, over loopback, from the last message of a stroke
to the arrival of the first picture with the new selection, at 1280 x 720.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from bench_viewer import viewer
from bench_worker import valley
from scripted_client import ScriptedClient

import splatview
from splatview import Scene
from splatview.scene import Layer

TIMES = 15
TINTED = 0.85  # of the way to the picture at rest: a picture while moving is coarser
Places = Sequence[tuple[float, float]]


def rectangle(turn: int) -> Places:
    """A rectangle over a ninth of the picture, each time elsewhere."""
    x, y = 0.25 + 0.03 * (turn % 8), 0.3 + 0.02 * (turn % 5)
    return [(x, y), (x + 0.1, y + 0.2), (x + 0.33, y + 0.33)]


def scribble(turn: int) -> Places:
    """A stroke of a second, as a mouse says it."""
    along = np.linspace(0, 1, 30)
    return list(zip((0.3 + 0.3 * along + 0.01 * (turn % 7)).tolist(), (0.5 + 0.1 * np.sin(9 * along + turn)).tolist(), strict=True))


def small(pixels: np.ndarray) -> np.ndarray:
    """A picture of any size at 160 x 90, to be compared."""
    return cv2.resize(pixels, (160, 90), interpolation=cv2.INTER_AREA).astype(np.float32)


def progress(pixels: np.ndarray, before: np.ndarray, after: np.ndarray, there: np.ndarray) -> float:
    """How far a picture is on the way from `before` to `after` (both [90, 160, 3]), where `there` [90, 160] holds."""
    change = (after - before)[there]
    return float(((small(pixels) - before)[there] * change).sum() / (change**2).sum())


async def strokes(client: ScriptedClient, tool: str, places: Sequence[Places], pause: float) -> list[float]:
    """Milliseconds from the end of each stroke to the first picture that is tinted as the one at rest will be."""
    found = []
    for one in places:
        await client.trigger("Select none")
        await asyncio.sleep(0.3)
        before = small((await client.rest(0.7)).pixels)
        client.arrivals.clear()
        asked = await client.stroke(tool, one, pause=pause, number=0)
        await client.until(lambda asked=asked: any(arrival.at > asked for arrival in client.arrivals), 20)
        after = small((await client.rest(0.7)).pixels)
        there = np.abs(after - before).max(-1) > 20
        if there.sum() < 20:
            raise RuntimeError(f"{tool}: the picture did not change")

        late = (arrival for arrival in client.arrivals if arrival.at > asked)
        found.append(next(1e3 * (arrival.at - asked) for arrival in late if progress(arrival.pixels, before, after, there) > TINTED))
    return found


async def measured(url: str) -> dict[str, list[float]]:
    """The figures of the viewer at `url`."""
    async with ScriptedClient.connect(url) as client:
        await client.orbit(0.4)
        await client.until(lambda: client.arrivals and "command Select none" in client.widgets, 120)
        await client.rest(1.5, 60)
        rectangles, scribbles = [rectangle(turn) for turn in range(TIMES)], [scribble(turn) for turn in range(TIMES)]
        await strokes(client, "rectangle", rectangles[:2], 0.0)  # warm
        return {
            "rectangle": await strokes(client, "rectangle", rectangles, 0.0),
            "brush, at its end": await strokes(client, "brush", scribbles, 0.033),
        }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", nargs="?", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.scene or Path(folder) / "valley.ply"
        if arguments.scene is None:
            splatview.save(Scene({"valley": Layer(valley(1_000_000))}), path)
        began = time.perf_counter()
        with viewer(path) as url:
            rows = asyncio.run(measured(url))
        print(f"{time.perf_counter() - began:.0f} s in all")
    print("| stroke | fastest ms | median ms | 90 % ms | slowest ms |\n| --- | ---: | ---: | ---: | ---: |")
    for what, values in rows.items():
        print(f"| {what} | {min(values):.0f} | {median(values):.0f} | {np.quantile(values, 0.9):.0f} | {max(values):.0f} |")


if __name__ == "__main__":
    main()
