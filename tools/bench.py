"""Measures the renderer, and keeps the tables in tools/BENCHMARKS.md: cost over Gaussians and over pixels, memory, the viewer.

    python tools/bench.py                                          both curves and the memory
    python tools/bench.py --viewer                                 and the viewer's rates (tools/bench_viewer.py)
    python tools/bench.py --only target --device cuda              a million Gaussians at 1080p: drawn, and delivered to a page
    python tools/bench.py --reference TIMER --scene P --camera C   and ours against another renderer's timer, in turn
    python tools/bench.py --only fields --reference TIMER          fields (tools/bench_fields.py), with or without another's timer
    python tools/bench.py --only stylize --onnx FILE...            filters, and networks of ONNX files (tools/bench_stylize.py)

TIMER is a program that is called as `TIMER splats SCENE CAMERA` and prints JSON with its milliseconds per frame as "ms", or as
`TIMER hashgrid`, and prints its million samples a second as "msamples_per_s".
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import splatview

HERE = Path(__file__).resolve().parent
TABLES = HERE / "BENCHMARKS.md"
COUNTS = (100_000, 250_000, 500_000, 1_000_000, 2_000_000, 4_000_000)
SIZES = ("854x480", "1280x720", "1920x1080", "2560x1440", "3840x2160")
ALTERNATIONS = 5
TITLE = "# Benchmarks\n\nWritten by `python tools/bench.py`; each table says when and where it was measured.\n"


def drawn(*flags: str) -> dict[str, Any]:
    """What one worker process found."""
    done = subprocess.run([sys.executable, HERE / "bench_worker.py", *flags], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [titles, ["---:"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def times(row: dict[str, Any]) -> list[str]:
    """The frame's milliseconds and those of its stages."""
    return [f"{row['frame_ms']:.1f}", *(f"{value:.1f}" for value in row["stages_ms"].values())]


def over_gaussians(device: str, counts: Sequence[int]) -> str:
    """The curve over Gaussians with the memory, at 1280 x 720."""
    results = []
    for count in counts:
        print(f"{count:,} Gaussians ...", file=sys.stderr)
        results.append(drawn("--device", device, "--count", str(count), "--sizes", "1280x720"))
    rows = [
        [
            f"{result['count']:,}",
            *times(result["rows"][0]),
            f"{1e6 * result['rows'][0]['frame_ms'] / result['count']:.0f}",
            f"{result['arrays'] / 1e6:,.0f}",
            f"{result['extra'] / result['arrays']:.2f}",
        ]
        for result in results
    ]
    stages = list(results[0]["rows"][0]["stages_ms"])
    titles = ["Gaussians", "frame ms", *(f"{stage} ms" for stage in stages), "ns per Gaussian", "scene MB", "memory on top / scene"]
    text = "A procedural valley, SH degree 3, splats of the same size at every count, 1280 x 720, median of warm frames, 8-bit output.\n"
    text += "Memory on top: the peak of resident memory while packing and drawing, over that with the scene's arrays loaded."
    return f"{text} Renderer: {results[0]['renderer']}.\n\n{table(titles, rows)}"


def over_pixels(device: str, count: int) -> str:
    """The curve over pixels."""
    print(f"{', '.join(SIZES)} ...", file=sys.stderr)
    result = drawn("--device", device, "--count", str(count), "--sizes", *SIZES)
    stages = list(result["rows"][0]["stages_ms"])
    rows = [
        [f"{row['width']} x {row['height']}", *times(row), f"{1e6 * row['frame_ms'] / (row['width'] * row['height']):.0f}"]
        for row in result["rows"]
    ]
    titles = ["size", "frame ms", *(f"{stage} ms" for stage in stages), "ns per pixel"]
    return f"The same valley with {count:,} Gaussians. Renderer: {result['renderer']}.\n\n{table(titles, rows)}"


def target(device: str, count: int) -> str:
    """How fast 1920 x 1080 is drawn, by stage and with everything that a frame may hold, and how fast it reaches a page."""
    import bench_viewer
    from bench_worker import valley

    from splatview.scene import Layer

    rows = []
    for what, flags in (("8-bit picture", ()), ("every output", ("--everything",))):
        result = drawn("--device", device, "--count", str(count), "--sizes", "1920x1080", "--frames", "100", *flags)
        row = result["rows"][0]
        stages = ", ".join(f"{stage} {value:.2f}" for stage, value in row["stages_ms"].items())
        rows.append([what, f"{1000 / row['frame_ms']:.0f} 1/s", f"{row['frame_ms']:.2f} ms: {stages}; {row['counts']['pairs']:,} pairs"])
    scene = splatview.Scene({"valley": Layer(valley(count))})
    rate, width = bench_viewer.delivered(scene, 1920, 1080, "--backend", device, "--budget-ms", "14")
    rows.append(["delivered to a page", f"{rate:.0f} 1/s", f"--budget-ms 14; the median picture has {width:.2f} of the page's width"])
    text = f"The valley with {count:,} Gaussians, SH degree 3, 1920 x 1080, medians. Renderer: {result['renderer']}."
    return f"{text}\n\n{table(['what', 'rate', 'of which'], rows)}"


def against(timer: Path, device: str, scene: Path, camera: Path) -> str:
    """Ours and another renderer in turn on one scene, so that both meet the same weather."""
    results, pairs = [], []
    for turn in range(ALTERNATIONS):
        command = [sys.executable] if timer.suffix == ".py" else []
        done = subprocess.run([*command, timer, "splats", scene, camera], stdout=subprocess.PIPE, check=True)
        theirs = json.loads(done.stdout)["ms"]
        results.append(drawn("--device", device, "--scene", str(scene), "--camera", str(camera)))
        ours = results[-1]["rows"][0]
        pairs.append((ours, theirs))
        print(f"turn {turn + 1}: ours {ours['frame_ms']:.1f} ms, theirs {theirs:.1f} ms: {ours['frame_ms'] / theirs:.2f}", file=sys.stderr)
    rows = [[*times(ours), f"{theirs:.1f}", f"{ours['frame_ms'] / theirs:.2f}"] for ours, theirs in pairs]
    ratio = median(ours["frame_ms"] for ours, _ in pairs) / median(theirs for _, theirs in pairs)
    first = pairs[0][0]
    text = f"{results[0]['count']:,} Gaussians at {first['width']} x {first['height']}, in turn; ratio of the medians: {ratio:.2f}."
    return f"{text}\n\n{table(['frame ms', *(f'{stage} ms' for stage in first['stages_ms']), 'reference ms', 'ratio'], rows)}"


def machine() -> str:
    """When and on what this runs, in one line."""
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists() and (found := re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)):
        cpu = found[1]
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    today = datetime.datetime.now(datetime.UTC).date()
    python = f"Python {platform.python_version()}, numpy {np.__version__}, splatview {splatview.__version__}"
    return f"{today}, {cpu}, {len(os.sched_getaffinity(0))} cores, {gigabytes:.0f} GB, {python}"


def with_section(document: str, heading: str, body: str) -> str:
    """`document` with the section under `heading` replaced, or put at its end."""
    start, *parts = re.split(r"^## ", document, flags=re.MULTILINE)
    sections = {**dict(part.split("\n", 1) for part in parts), heading: body}
    return "\n\n".join([start.strip(), *(f"## {name}\n\n{text.strip()}" for name, text in sections.items())]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="Gaussians of the first curve")
    parser.add_argument(
        "--only", choices=("target", "gaussians", "pixels", "reference", "viewer", "fields", "stylize"), help="measure this alone"
    )
    parser.add_argument("--reference", type=Path, metavar="TIMER", help="another renderer's timer, to be held against")
    parser.add_argument("--scene", type=Path, help="for --reference: the scene, a .ply")
    parser.add_argument("--camera", type=Path, help="for --reference: the camera, JSON of ours")
    parser.add_argument("--viewer", action="store_true", help="measure the viewer, too")
    parser.add_argument(
        "--onnx", type=Path, nargs="+", default=(), metavar="FILE", help="for --only stylize: networks that redraw pictures"
    )
    parser.add_argument("--dry", action="store_true", help=f"print the tables, leave {TABLES.name} as it is")
    given = parser.parse_args()
    if given.reference and given.only != "fields" and not (given.scene and given.camera):
        parser.error("--reference needs --scene and --camera")

    def wanted(name: str, asked: object = True) -> bool:
        return bool(asked) and given.only in (None, name)

    sections = {}
    if wanted("target", given.only == "target" or given.device == "cuda"):
        sections[f"A million Gaussians at 1920 x 1080 ({given.device})"] = target(given.device, 1_000_000)
    if wanted("gaussians"):
        sections[f"Cost over Gaussians ({given.device})"] = over_gaussians(given.device, given.counts)
    if wanted("pixels"):
        sections[f"Cost over pixels ({given.device})"] = over_pixels(given.device, 1_000_000)
    if wanted("reference", given.reference):
        sections["Against a reference renderer"] = against(given.reference, given.device, given.scene, given.camera)
    if wanted("viewer", given.viewer):
        import bench_viewer

        sections["The viewer"] = bench_viewer.table(bench_viewer.main([]))

    if wanted("fields", given.only == "fields"):
        import bench_fields

        title = "Fields (cpu)" if given.device == "cpu" else "A random field (cuda)"
        sections[title] = bench_fields.table(given.reference, given.device)
    if wanted("stylize", given.only == "stylize"):
        import bench_stylize

        sections["Styles (cpu)"] = bench_stylize.table(given.onnx)

    document = TABLES.read_text() if TABLES.exists() else TITLE
    for heading, body in sections.items():
        body = f"{body}\n\nMeasured {machine()}."
        print(f"## {heading}\n\n{body}\n")
        document = with_section(document, heading, body)
    if not given.dry:
        TABLES.write_text(document)


if __name__ == "__main__":
    main()
