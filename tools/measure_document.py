"""Measures what a long edit costs: memory, files and times after many operations. `python tools/measure_document.py --count 1000000`.

The operations are those of a day: selections of every size, grades, paint, moves, deleted and hidden parts. Memory is the process's own
(VmRSS) beyond the scene's; the peak is that of the whole run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from splatview import Gaussians, Scene
from splatview.arrays import Floats
from splatview.edit import archive
from splatview.edit.document import Document
from splatview.edit.editing import Editing, _arrays
from splatview.edit.grade import Grading, Painting
from splatview.edit.journal import Journal
from splatview.edit.operations import AnyOperation, Delete, Grade, Hide, Move, Paint, Restore, Select, ShowHidden
from splatview.edit.select import Everything, Inside, Matching, Range, Selection, Tools
from splatview.edit.state import State
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.volumes import Sphere

MB = 1e6


def cloud(count: int, degree: int) -> Scene:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Floats:
        return rng.standard_normal(shape, np.float32)

    sh = normal(count, (degree + 1) ** 2, 3) * np.float32(0.2)
    return Scene({"cloud": Layer(Gaussians(normal(count, 3), normal(count, 4), normal(count, 3) - np.float32(5), normal(count), sh))})


def day(number: int) -> list[AnyOperation]:
    """A turn of what a person does, each time elsewhere."""
    rng = np.random.default_rng(number)
    x, y, z = (float(value) for value in rng.normal(0, 1, 3))
    ball = Sphere((x, y, z), 0.6)
    return [
        Select(Selection(Inside(ball))),
        Grade(Grading(exposure=0.05, saturation=1.02)),
        Select(Selection(Range("x", x, x + 0.4)), "add"),
        Paint(Painting((1.0, 0.5, 0.2), 0.2)),
        Select(Selection(Matching(f"opacity > {abs(y) / 4:.3f} and y < {z:.3f}"))),
        Hide(),
        ShowHidden(),
        Select(Selection(Inside(ball))),
        Move(Similarity(translation=(0.01, 0.0, 0.0))),
        Delete(),
        Restore(),
        Select(Selection(Everything())),
        Grade(Grading(exposure=-0.01)),
    ]


def memory(what: str = "VmRSS") -> float:
    """Megabytes of this process."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[what].split()[0]) / 1024 * 1.024**2


def held(editing: Editing) -> float:
    """Megabytes of all arrays that the states at hand hold, each once."""
    found: dict[int, int] = {}
    for state in (editing.start, editing.state, *editing._shelf.states):
        found.update(_arrays(state))
    return sum(found.values()) / MB


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return 1000 * (time.perf_counter() - began), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="Gaussians")
    parser.add_argument("--degree", type=int, default=3)
    parser.add_argument("--operations", type=int, default=200)
    flags = parser.parse_args()
    scene = cloud(flags.count, flags.degree)
    tools = Tools(lambda: 1 / 0, lambda path, level: scene)  # type: ignore[arg-type, return-value]
    start = State(scene)
    digest, _ = timed(lambda: [rows.digest for rows in start.rows.values()])
    base = memory()
    size = sum(_arrays(start).values()) / MB
    print(
        f"{flags.count:,} Gaussians of degree {flags.degree}: {size:,.0f} MB; digest {digest:,.0f} ms; process {base:,.0f} MB", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "edits.journal")
        journal.begin(Document())
        editing, taken, longest = Editing(start, tools, record=journal.record), [], ("", 0.0)
        turn = 0
        while len(editing.document.entries) < flags.operations:
            for operation in day(turn)[: flags.operations - len(editing.document.entries)]:
                took, _ = timed(lambda operation=operation: editing.do(operation))
                taken.append(took)
                longest = max(longest, (operation.label, took), key=lambda one: one[1])
            turn += 1
            if turn % 4 == 0:
                print(f"  {len(taken):4d} operations: {held(editing):6,.0f} MB of arrays, {memory() - base:6,.0f} MB over", flush=True)
        print(f"{len(taken)} operations: median {np.median(taken):,.0f} ms, longest {longest[1]:,.0f} ms ({longest[0]})")
        print(
            f"  arrays of all states {held(editing):,.0f} MB; process {memory() - base:,.0f} MB over, peak {memory('VmHWM') - base:,.0f} MB"
        )
        selections = [getattr(entry.operation, "selection", None) for entry in editing.document.entries]
        bits = sum(len(one.data) for selection in selections if selection for one in selection.masks.values())
        saved, _ = timed(lambda: archive.write(Path(folder) / "one.splatview", editing.document))
        sizes = [(Path(folder) / name).stat().st_size / MB for name in ("edits.journal", "one.splatview")]
        print(f"  masks {bits / MB:,.1f} MB; journal {sizes[0]:,.1f} MB; document {sizes[1]:,.1f} MB, saved in {saved:,.0f} ms")
        undone = [timed(editing.undo)[0] for _ in range(len(taken))]
        print(
            f"  undo of all: median {np.median(undone):,.0f} ms, longest {max(undone):,.0f} ms; {memory() - base:,.0f} MB over afterwards"
        )
        opened, document = timed(lambda: archive.read(Path(folder) / "one.splatview"))
        journal.close()
        replayed, _ = timed(lambda: Editing(start, tools, document))
        print(f"  opened in {opened:,.0f} ms, replayed in {replayed:,.0f} ms; peak {memory('VmHWM') - base:,.0f} MB over")


if __name__ == "__main__":
    main()
