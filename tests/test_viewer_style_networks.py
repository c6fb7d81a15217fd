"""Networks and places in the folder "Style": networks that are kept, forgotten and given up, and fields that are redrawn alone."""

from __future__ import annotations

import asyncio
import time

import cv2
import numpy as np
import pytest
import tiny_onnx
from small_fields import ball
from test_viewer import coloured_ball, scripted
from test_viewer_style_panel import htmls, shows

from splatview import Scene
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings


@pytest.fixture(scope="module")
def scene():
    return Scene({"ball": Layer(coloured_ball())})


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A home of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SPLATVIEW_MODELS", str(tmp_path / "models"))


def test_of_two_fields_with_splats_between_one_is_redrawn_alone():
    near, far = (Similarity(translation=(-0.5, y, z), scale=1.2) for y, z in ((-2.2, -0.9), (1.2, 0.1)))
    layers = {
        "red": Layer(ball(), near),
        "splats": Layer(coloured_ball(), Similarity(scale=0.6)),
        "blue": Layer(ball((0.1, 0.1, 0.9)), far),
    }

    async def script(client):
        await client.until(lambda: "Stylise" in client.widgets and client.arrivals)
        await client.orbit(-0.3, 5.0)
        plain = (await client.rest()).pixels.astype(int)
        saturated = {"red": np.abs(plain - [230, 26, 26]).max(-1) < 40, "blue": np.abs(plain - [26, 26, 230]).max(-1) < 40}
        rest = (np.ptp(plain, -1) > 60) & ~saturated["red"] & ~saturated["blue"]
        inner = {name: cv2.erode(mask.astype(np.uint8), np.ones((5, 5))) > 0 for name, mask in {**saturated, "splats": rest}.items()}
        assert min(mask.mean() for mask in inner.values()) > 0.005, "the case shows nothing"
        await client.set("Colour", 0)
        await client.set("Radius", 1)
        await client.set("Stylise", True)
        for name in layers:
            await client.set("Where", f"layer {name}")

            def alone(now, name=name):
                greys = {other: np.median(np.ptp(now[mask], -1)) for other, mask in inner.items()} if now.shape == plain.shape else {}
                return greys and greys.pop(name) < 8 and min(greys.values()) > 60

            await shows(client, alone)

    with Viewer(Scene(layers), ViewerSettings(port=0, open=False, up="z")) as viewer:
        scripted(viewer, script)


def test_a_network_that_is_kept_in_a_place_and_forgotten_goes_on_elsewhere(scene, tmp_path):
    (tmp_path / "negative.onnx").write_bytes(tiny_onnx.mixed(-tiny_onnx.SAME, (1, 1, 1)))

    async def script(client):
        await client.until(lambda: "Kind" in client.widgets and client.arrivals)
        await client.orbit(0.7)
        await client.rest()
        await client.set("Kind", "onnx")
        await client.set("Values", "0..1")
        await client.set("Channels", "RGB")
        await client.set("ONNX file", "negative.onnx")
        await client.until(lambda: any("negative.onnx: RGB, 0..1, CPU" in html for html in htmls(client)))
        await client.set("Steady", False)
        await client.set("Stylise", True)
        await shows(client, lambda now: now[2, 2].min() > 200)
        await client.set("Where", "the background")
        await client.press("Keep it there, and choose another")
        await client.set("Kind", "onnx")
        await shows(client, lambda now: now[2, 2].min() > 200)
        await client.press("Forget those kept")
        await client.set("Kind", "kuwahara")
        await shows(client, lambda now: now[2, 2].max() < 60)
        await client.set("Kind", "onnx")
        await shows(client, lambda now: now[2, 2].min() > 200)
        return viewer.sessions[0].styling.figures[0].failed

    with Viewer(scene, ViewerSettings(port=0, open=False, root=tmp_path)) as viewer:
        assert scripted(viewer, script) == 0


def test_a_slow_network_ends_when_another_style_is_chosen_and_with_its_page(scene, tmp_path):
    (tmp_path / "slow.onnx").write_bytes(tiny_onnx.slow(256))

    async def script(client):
        await client.until(lambda: "Kind" in client.widgets and client.arrivals)
        await client.rest()
        await client.set("Kind", "onnx")
        await client.set("Values", "0..1")
        await client.set("ONNX file", "slow.onnx")
        await client.until(lambda: any("slow.onnx: RGB, 0..1, CPU" in html for html in htmls(client)), 60)
        await client.set("Stylise", True)
        [session] = viewer.sessions
        for _ in range(2):
            await until(lambda: working(session))
            before = session.styling.figures[0].skipped
            await client.set("Kind", "toon")
            await until(lambda before=before: session.styling.figures[0].skipped > before)
            await until(lambda: not busy(session))
            await client.set("Kind", "onnx")
        await until(lambda: working(session))
        return session

    async def until(true):
        """No page is told of it."""
        async with asyncio.timeout(30):
            while not true():
                await asyncio.sleep(0.01)

    def working(session):
        """Whether the network itself is in the middle of a picture."""
        stylizer = session.styling.stylizer
        network = getattr(getattr(stylizer, "stylizer", stylizer), "network", None)
        return network is not None and bool(network.calls._now)

    def busy(session):
        counts = session.styling.figures[0]
        return counts.captured > counts.processed + counts.skipped + counts.failed + counts.dropped

    with Viewer(scene, ViewerSettings(port=0, open=False, root=tmp_path)) as viewer:
        session = scripted(viewer, script)
        deadline = time.monotonic() + 10
        while busy(session) and time.monotonic() < deadline:
            time.sleep(0.01)
        counts = session.styling.figures[0]
    assert not busy(session) and counts.skipped >= 3 and not counts.failed


def test_a_page_opens_although_the_folder_of_models_cannot_be_read(scene, monkeypatch, tmp_path):
    monkeypatch.setenv("SPLATVIEW_MODELS", str(tmp_path / ("deep/" * 900)))

    async def script(client):
        await client.until(lambda: "Surprise me" in client.widgets and client.arrivals)
        await client.set("Kind", "diffusion")
        await client.until(lambda: any("sd-turbo" in text for text in htmls(client)))

    with Viewer(scene, ViewerSettings(port=0, open=False)) as viewer:
        scripted(viewer, script)
