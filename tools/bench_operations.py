"""Measures selections and operations of a document: `python tools/bench_operations.py [--counts 100000 1000000 5000000]`.

On procedural valleys with SH degree 3, drawn at 1280 x 720. For each operation: the time that it takes in memory (a journal adds the disk's
own), and that of the first picture after it. Medians of several; the first selection, which packs the scene, is not among them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median

from bench_worker import valley

from splatview import Camera, Scene, open_renderer
from splatview.edit.editing import Editing, edit
from splatview.edit.grade import Grading, Painting
from splatview.edit.operations import AnyOperation, Delete, Grade, Hide, Move, Paint, Relight, Select, Separate, Simplify
from splatview.edit.region import Rectangle, Stroke
from splatview.edit.relight import Directional
from splatview.edit.select import (
    AnyQuery,
    Connected,
    Drawn,
    Floaters,
    Flooded,
    Grown,
    Inside,
    Matching,
    Selection,
    Surface,
    Through,
    Under,
)  # fmt: skip
from splatview.frame import Renderer, RenderOptions
from splatview.framing import frame_scene
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.volumes import Sphere

COUNTS = (100_000, 1_000_000, 5_000_000)
RECTANGLE = Rectangle(0.3, 0.4, 0.6, 0.7)
STROKE = Stroke(tuple((0.3 + 0.01 * i, 0.5 + 0.002 * (i % 9)) for i in range(30)), 0.05)


def selections(camera: Camera, centre: tuple[float, float, float], radius: float) -> dict[str, AnyQuery]:
    """By what people do."""
    return {
        "click": Under(camera, 0.5, 0.6),
        "rectangle, surface": Drawn(RECTANGLE, camera, Surface()),
        "brush, surface": Drawn(STROKE, camera, Surface()),
        "rectangle, through, centres": Drawn(RECTANGLE, camera, Through()),
        "brush, through, ellipses": Drawn(STROKE, camera, Through(), "ellipse"),
        "flood": Flooded(camera, 0.5, 0.6),
        "sphere": Inside(Sphere(centre, radius / 4)),
        "expression": Matching("scale_max > p99 and opacity < 0.5"),
        "grown": Grown(Drawn(RECTANGLE, camera)),
        "connected": Connected(Under(camera, 0.5, 0.6)),
        "floaters": Floaters(),
    }


def operations(count: int) -> dict[str, AnyOperation]:
    """On the Gaussians in a sphere, but for the last two."""
    everything = Selection(Matching("opacity >= 0"))
    return {
        "delete": Delete(),
        "hide": Hide(),
        "move": Move(Similarity(translation=(0.0, 0.0, 0.1))),
        "rotate": Move(Similarity((0.9, 0.1, 0.2, 0.3))),
        "grade": Grade(Grading(exposure=0.5, saturation=0.8)),
        "paint": Paint(Painting((1.0, 0.2, 0.1))),
        "separate": Separate("part"),
        "grade everything": Grade(Grading(exposure=0.5), everything),
        "relight": Relight((Directional((0.3, 0.2, -1.0)),), (0.4, 0.4, 0.4)),
        "simplify to a half": Simplify(count // 2),
    }


def milliseconds(what: Callable[[], object], times: int) -> float:
    """The median of `times` runs."""

    def once() -> float:
        began = time.perf_counter()
        what()
        return 1e3 * (time.perf_counter() - began)

    return median(once() for _ in range(times))


def picture(renderer: Renderer, editing: Editing, camera: Camera) -> None:
    state = editing.state
    renderer.render(state.scene, camera, RenderOptions(hidden=state.undrawn, tinted=state.selected, outputs=("rgb8",)))


def measured(count: int, times: int) -> dict[str, tuple[str, ...]]:
    """A row for each selection and operation: milliseconds, and those of the next picture."""
    scene = Scene({"valley": Layer(valley(count))})
    renderer, framing = open_renderer("cpu"), frame_scene(scene)
    camera = framing.camera(1280, 720)
    editing = edit(scene, renderer)
    editing.select(Inside(Sphere(framing.centre, framing.radius / 4)))
    picture(renderer, editing, camera)
    rows = {}
    state = editing.state
    for name, query in selections(camera, framing.centre, framing.radius).items():
        rows[name] = (f"{milliseconds(lambda query=query: Select.asked(query, state, editing.tools), times):.0f}", "")
    sphere = Select(Selection(Inside(Sphere(framing.centre, framing.radius / 4))))
    for name, operation in operations(count).items():
        slow = isinstance(operation, (Relight, Simplify))
        done, seen = [], []
        for _ in range(1 if slow else min(times, 3)):
            editing.do(sphere)
            picture(renderer, editing, camera)
            done.append(milliseconds(lambda operation=operation: editing.do(operation), 1))
            seen.append(milliseconds(lambda: picture(renderer, editing, camera), 1))
            editing.undo()
            editing.undo()
        rows[name] = (f"{median(done):.0f}", f"{median(seen):.0f}")
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--times", type=int, default=5)
    chosen = parser.parse_args(arguments)
    found = {count: measured(count, chosen.times) for count in chosen.counts}
    print("| what | " + " | ".join(f"{count:,}: ms | next picture ms" for count in found) + " |")
    print("| --- |" + " ---: | ---: |" * len(found))
    for name in next(iter(found.values())):
        print(f"| {name} | " + " | ".join(f"{rows[name][0]} | {rows[name][1]}" for rows in found.values()) + " |")


if __name__ == "__main__":
    main()
