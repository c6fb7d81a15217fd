"""`splatview info`: what is in a scene file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from splatview.cli.flags import MaybeLevel
from splatview.cli.loading import load_scene
from splatview.cli.waiting import waiting


@dataclass(frozen=True)
class Command:
    """Tell what is in a scene file: how many Gaussians, how large, what kind, and what is wrong with them.

    Bounds and scales are in scene units; "robust" bounds hold the middle 96 % along each axis.
    """

    file: Positional[Path]
    """A scene: .ply, compressed .ply, .splat, .spz, ..."""
    level: MaybeLevel = None
    """Level of detail of a streamed scene, 0 the finest. Default: the finest with at most 20 million Gaussians."""
    json: bool = False
    """Print JSON instead of text, for scripts."""

    def run(self) -> None:
        facts = gather(self.file, self.level)
        if self.json:
            print(json.dumps(facts, indent=2))
        else:
            print_facts(facts)


def gather(path: Path, level: int | None = None) -> dict[str, Any]:
    """The facts about a scene file, as JSON holds them."""
    from splatview.formats import levels
    from splatview.framing import frame_scene
    from splatview.inspection import inspect

    scene = load_scene(path, level)
    with waiting(f"looking through {path}"):
        layers = {name: asdict(inspect(layer.content, layer.placement)) | {"notes": layer.notes} for name, layer in scene.layers.items()}
    return {
        "file": str(path),
        "bytes": path.stat().st_size if path.is_file() else None,
        "count": scene.count,
        "levels": levels(path),
        "up": frame_scene(scene).up_axis,
        "layers": layers,
    }


def print_facts(facts: dict[str, Any]) -> None:
    """Write `gather`'s facts for people."""
    size = f", {facts['bytes'] / 1e6:,.1f} MB" if facts["bytes"] is not None else ""
    print(f"{facts['file']}: {facts['count']:,} Gaussians{size}, up axis {facts['up']} (a guess)")
    for number, count in enumerate(facts["levels"]):
        print(f"  level {number}: {count:,} Gaussians")
    for name, layer in facts["layers"].items():
        print(f"\nlayer {name!r}: {layer['count']:,} Gaussians, SH degree {layer['sh_degree']}, trained for {layer['kind']} drawing")
        for note in layer["notes"]:
            print(f"  note: {note}")
        for title, key in (("bounds", "bounds"), ("robust bounds", "robust_bounds")):
            if layer[key]:
                print(f"  {title:<14} {_corner(layer[key]['low'])}  to  {_corner(layer[key]['high'])}")
        print(f"\n  {'attribute':<22}{'min':>12}{'median':>12}{'max':>12}")
        for attribute, values in layer["ranges"].items():
            print(f"  {attribute:<22}{values['low']:>12.5g}{values['median']:>12.5g}{values['high']:>12.5g}")
        print()
        for problem in layer["problems"]:
            print(f"  problem: {problem['count']:,} x {problem['what']}; {problem['advice']}")
        if not layer["problems"]:
            print("  no problems found")


def _corner(point: list[float]) -> str:
    return f"({', '.join(f'{value:.4g}' for value in point)})"
