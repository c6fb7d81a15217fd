"""Measures the viewer as its clients feel it: rates, waiting times, and lag on a slow link.

python tools/bench_viewer.py                                   a made scene of splats
python tools/bench_viewer.py --fields fox.ingp valley.ply      fields, alone or beside splats: how they move and come to rest
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import numpy as np
from chromium import CHROMIUM, CHROMIUM_FLAGS
from scripted_client import ScriptedClient, decoded
from soak import server

import splatview
from splatview import Gaussians, Scene
from splatview.scene import Layer

WINDOW = (1280, 720)
# A picture is painted in the page's frame that finds a new texture.
COUNT_PAINTS = """() => {
    let last = null;
    window.painted = 0;
    const count = () => {
        const now = __viserMutable.backgroundMaterial.uniforms.colorMap.value;
        if (now !== last) { last = now; painted += 1; }
        requestAnimationFrame(count);
    };
    count();
}"""


@dataclass(frozen=True)
class Row:
    """One measured figure and what it should be."""

    what: str
    value: float
    unit: str
    least: float | None = None
    most: float | None = None

    @property
    def holds(self) -> bool:
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    @property
    def target(self) -> str:
        return f">= {self.least:g}" if self.least is not None else "" if self.most is None else f"<= {self.most:g}"


def planet(count: int = 150_000) -> Scene:
    """A ball with a ring, of `count` Gaussians: symmetric about the origin, so that its depth tells how far away a camera is."""
    rng = np.random.default_rng(0)
    ball, ring = 2 * count // 3, count - 2 * count // 3
    directions = rng.normal(size=(ball, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    turn, reach = rng.uniform(0, 2 * np.pi, ring), rng.uniform(1.4, 3.0, ring)
    means = np.concatenate([directions, np.c_[reach * np.cos(turn), reach * np.sin(turn), rng.normal(0, 0.02, ring)]])
    sh = rng.normal(0, 0.05, (count, 16, 3))
    sh[:, 0] = np.sin(3 * means) + rng.normal(0, 0.3, (count, 3))
    quats, log_scales, logits = rng.normal(size=(count, 4)), rng.normal(-4.3, 0.4, (count, 3)), rng.normal(2, 2, count)
    means, quats, log_scales, logits, sh = (array.astype(np.float32) for array in (means, quats, log_scales, logits, sh))
    return Scene({"planet": Layer(Gaussians(means, quats, log_scales, logits, sh))})


@contextmanager
def viewer(*words: Path | str) -> Iterator[str]:
    """The address of a `splatview view` with these files and flags in a process of its own."""
    with server(*map(str, words), "--up", "z") as (_, url):
        yield url


async def moving(client: ScriptedClient, seconds: float = 5.0, rate: float = 100.0, distance: float = 7.0) -> float:
    """Pictures per second while the camera never rests, `distance` page units away."""
    await client.orbit(0, distance)
    await client.rest(timeout=30)
    began, before, step = time.perf_counter(), 0, 0
    while time.perf_counter() - began < seconds + 1:
        if not before and time.perf_counter() - began > 1:  # the first second finds the size
            before = len(client.arrivals)
        step += 1
        await client.orbit(0.3 * step / rate, distance)
        await asyncio.sleep(max(0.0, began + step / rate - time.perf_counter()))
    return (len(client.arrivals) - before) / seconds


async def waiting(client: ScriptedClient, times: int = 40) -> tuple[list[float], list[float]]:
    """Milliseconds from a camera message to the first picture, and to the one at rest, each time from rest."""
    first, rest = [], []
    for turn in range(times):
        await client.rest(0.45)
        client.arrivals.clear()
        asked = await client.orbit(5 + 0.1 * turn)
        await client.until(lambda: client.arrivals)
        first.append(1e3 * (client.arrivals[0].at - asked))
        rest.append(1e3 * ((await client.rest(0.45)).at - asked))
    return first, rest


async def full_frame(client: ScriptedClient) -> float:
    """Milliseconds that drawing and encoding one picture at rest take, by the viewer's own figures."""
    await client.orbit(1)
    await client.rest(1.0)
    figures = next(properties["content"] for _, properties in client.widgets.values() if "ms</td>" in str(properties.get("content")))
    cells = figures.replace("</td>", "|").replace("<", "\n<").split("|")
    texts = [cell.rsplit(">", 1)[-1] for cell in cells]
    return sum(float(value) for name, value in zip(texts[::2], texts[1::2], strict=False) if name.endswith(" ms") and name != "total ms")


def distance_shown(depth_png: bytes) -> float:
    """Page units to whatever is in the middle of the picture."""
    packed = decoded(depth_png)[..., ::-1].astype(np.int64)  # low byte first
    rows, columns = packed.shape[:2]
    middle = packed[rows // 2 - 4 : rows // 2 + 4, columns // 2 - 4 : columns // 2 + 4]
    return float(np.median(middle @ [1, 256, 65536])) * 1e-5


async def lag(client: ScriptedClient, seconds: float = 8.0, speed: float = 1.0) -> list[float]:
    """Seconds by which the pictures are behind, while the camera backs away: the distance in a picture tells when it was asked for."""
    await client.orbit(0, 4.0, 3.0)  # 5 units away, and not in the ring's plane
    offset = 5.0 - distance_shown((await client.rest()).depth)
    behind: list[float] = []
    began = time.perf_counter()
    client.on_picture = lambda arrival: behind.append(arrival.at - began - (distance_shown(arrival.depth) + offset - 5.0) / speed)
    while (elapsed := time.perf_counter() - began) < seconds:
        await client.orbit(0, 4.0 + 0.8 * speed * elapsed, 3.0 + 0.6 * speed * elapsed)
        await asyncio.sleep(0.02)
    client.on_picture = lambda arrival: None
    return behind


@asynccontextmanager
async def throttled(url: str, bytes_per_second: float) -> AsyncIterator[str]:
    """The address of a relay to `url` that passes on so many bytes per second, and holds few back."""
    host, port = urlsplit(url).hostname, urlsplit(url).port

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, rate: float | None) -> None:
        free_at = time.perf_counter()
        try:
            while data := await source.read(4096):
                if rate:
                    free_at = max(free_at, time.perf_counter()) + len(data) / rate
                    await asyncio.sleep(max(0.0, free_at - time.perf_counter()))
                target.write(data)
                await target.drain()
        finally:
            target.close()

    relays: list[asyncio.Task] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(host, port, limit=8192)
        pumps = pump(reader, up_writer, None), pump(up_reader, writer, bytes_per_second)
        relays.extend(asyncio.ensure_future(one) for one in pumps)

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for one in relays:
            one.cancel()
        await asyncio.gather(*relays, return_exceptions=True)


def painted(url: str, seconds: float = 6.0) -> float:
    """Pictures that headless Chromium shows per second while the mouse drags the view."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": WINDOW[0], "height": WINDOW[1]})
        page.goto(url)
        page.wait_for_function("window.__splatview && __viserMutable.backgroundMaterial?.uniforms.colorMap.value", timeout=60_000)
        page.wait_for_timeout(3000)
        page.evaluate(COUNT_PAINTS)
        page.mouse.move(200, 300)
        page.mouse.down()
        began, step, before, at = time.perf_counter(), 0, 0, 0.0
        while time.perf_counter() - began < seconds + 1:
            step += 1
            page.mouse.move(200 + 300 * (1 - np.cos(step / 40)), 300 + 50 * np.sin(step / 25))
            page.wait_for_timeout(16)
            if not at and time.perf_counter() - began > 1:
                before, at = page.evaluate("painted"), time.perf_counter()
        rate = (page.evaluate("painted") - before) / (time.perf_counter() - at)
        page.mouse.up()
        browser.close()
        return rate


async def _scripted(url: str) -> list[Row]:
    async with ScriptedClient.connect(url) as client:
        rate = await moving(client)
        first, rest = await waiting(client)
        full = await full_frame(client)
    async with throttled(url, 1e6) as slow, ScriptedClient.connect(slow) as client:
        behind = await lag(client)
    return [
        Row("moving pictures, scripted client, default budget", rate, "1/s", least=30),
        Row("camera message to first pixels, p95", float(np.quantile(first, 0.95)), "ms", most=60),
        Row("camera message to the picture at rest, p95", float(np.quantile(rest, 0.95)), "ms", most=300 + full),
        Row("lag on a 1 MB/s link, median", float(np.median(behind)), "s", most=0.3),
        Row("lag on a 1 MB/s link, p95", float(np.quantile(behind, 0.95)), "s", most=0.3),
        Row("moving pictures on a 1 MB/s link", len(behind) / 8, "1/s"),
    ]


async def _fast(url: str) -> Row:
    async with ScriptedClient.connect(url) as client:
        return Row("moving pictures, scripted client, --budget-ms 14", await moving(client), "1/s", least=60)


async def flown(client: ScriptedClient, distance: float, seconds: float = 5.0) -> tuple[float, float]:
    """Pictures per second around the scene, `distance` page units away, and their median width over the page's."""
    rate = await moving(client, seconds, distance=distance)
    return rate, float(np.median([one.size[0] for one in client.arrivals[-int(rate * seconds) :]])) / client.width


async def resting(client: ScriptedClient, distance: float, times: int = 8) -> tuple[float, float, float]:
    """Median seconds from the last message of a camera that stops to the first picture at full size, and to the last one.

    And the share of a picture's pixels that differ by more than 8 of 255 between the two.
    """
    first, last, apart = [], [], []
    for turn in range(times):
        asked = 0.0
        for step in range(20):
            asked = await client.orbit(2 + turn + 0.003 * step, distance)
            await asyncio.sleep(0.01)
        before = len(client.arrivals)
        end = await client.rest(3.0, timeout=60)
        whole = [one for one in client.arrivals[before:] if one.size[0] == client.width]
        first.append(whole[0].at - asked)
        last.append(end.at - asked)
        apart.append(float(np.mean(np.abs(whole[0].pixels.astype(int) - end.pixels).max(-1) > 8)))
    return median(first), median(last), median(apart)


async def interrupted(client: ScriptedClient, distance: float, times: int = 30) -> list[float]:
    """Milliseconds from a message of a camera that moves, while its last view is being refined, to the first picture of the new one."""
    waited, rng = [], np.random.default_rng(0)
    for turn in range(times):
        await client.orbit(turn, distance)
        await asyncio.sleep(0.35 + 0.4 * rng.random())
        before = len(client.arrivals)
        asked = await client.orbit(turn + 0.1, distance)
        await client.until(lambda before=before: any(one.size[0] < client.width for one in client.arrivals[before:]))
        waited.append(1e3 * (next(one for one in client.arrivals[before:] if one.size[0] < client.width).at - asked))
    return waited


async def _fields(url: str, distances: Sequence[float]) -> list[Row]:
    rows = []
    for distance in distances:
        async with ScriptedClient.connect(url, width=WINDOW[0], height=WINDOW[1]) as client:
            rate, width = await flown(client, distance)
            first, last, apart = await resting(client, distance)
            waited = await interrupted(client, distance)
        rows += [
            Row(f"moving pictures, {distance:g} units away", rate, "1/s", least=30),
            Row("their width, median", width, "of the page's"),
            Row("camera at rest to the first picture at full size, median", first, "s", most=0.3),
            Row("camera at rest to the last one, median", last, "s"),
            Row("pixels that differ visibly between the two, median", 100 * apart, "%"),
            Row("camera message during refinement to the first moving picture, median", float(np.median(waited)), "ms", most=50),
            Row("the same, p95", float(np.quantile(waited, 0.95)), "ms"),
        ]
    return rows


async def _delivered(url: str, width: int, height: int) -> tuple[float, float]:
    async with ScriptedClient.connect(url, width=width, height=height) as client:
        rate = await moving(client, seconds=8.0)
        await client.rest()
        sizes = [arrival.size[0] / width for arrival in client.arrivals[-400::8]]
    return rate, float(np.median(sizes))


def delivered(scene: Scene, width: int, height: int, *flags: str) -> tuple[float, float]:
    """Pictures of `scene` per second that reach a page of so many pixels while its camera moves, and their median width over the page's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.ply"
        splatview.save(scene, path)
        with viewer(path, *flags) as url:
            return asyncio.run(_delivered(url, width, height))


def measure(scene: Path | None = None, count: int = 150_000) -> list[Row]:
    """Every figure, for `scene` or for a planet of `count` Gaussians (which the lag needs to tell distances)."""
    with tempfile.TemporaryDirectory() as folder:
        if scene is None:
            scene = Path(folder) / "planet.ply"
            splatview.save(planet(count), scene)
        with viewer(scene) as url:
            rows = asyncio.run(_scripted(url))
        with viewer(scene, "--budget-ms", "14") as url:
            rows.insert(1, asyncio.run(_fast(url)))
        if CHROMIUM.exists():
            with viewer(scene) as url:
                rows.append(Row("pictures painted by headless Chromium while dragging", painted(url), "1/s", least=15))
    return rows


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| viewer, 1280 x 720 | measured | target |", "|---|---|---|"]
    return "\n".join(
        lines + [f"| {row.what} | {row.value:.3g} {row.unit} | {row.target}{'' if row.holds else ' MISSED'} |" for row in rows]
    )


def main(arguments: list[str] | None = None) -> list[Row]:
    """Measure, print a table, and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=150_000, help="Gaussians in the scene")
    parser.add_argument("--scene", type=Path, help="a file to show in place of the made scene")
    parser.add_argument("--fields", type=Path, nargs="+", metavar="FILE", help="measure how these are shown, of which one is a field")
    parser.add_argument("--distances", type=float, nargs="+", default=(7.0, 4.0), help="for --fields: of the camera, in page units")
    given = parser.parse_args(arguments)
    if given.fields:
        with viewer(*given.fields) as url:
            rows = asyncio.run(_fields(url, given.distances))
    else:
        rows = measure(given.scene, given.count)
    print(table(rows))
    return rows


if __name__ == "__main__":
    main()
