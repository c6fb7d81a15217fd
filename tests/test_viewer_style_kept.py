"""Styles that are kept: by name, as a file that was sent, and for the next page."""

from __future__ import annotations

import asyncio
import re

import pytest
import tiny_onnx
from aiohttp import ClientSession
from scripted_client import ScriptedClient
from style_steps import at_home, htmls, opened, seen, shows, styled, value
from test_viewer import coloured_ball, nobody_left, scripted

from splatview import Scene
from splatview.scene import Layer
from splatview.stylize.filters import FILTERS
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.styles import Styles, styles_file


@pytest.fixture(scope="module")
def scene():
    return Scene({"ball": Layer(coloured_ball())})


@pytest.fixture
def viewer(monkeypatch, tmp_path):
    with styled(monkeypatch, tmp_path) as viewer:
        yield viewer


def test_a_saved_network_is_found_again(viewer, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    for name, sign in (("negative", -1), ("same", 1)):
        (folder / f"{name}.onnx").write_bytes(tiny_onnx.mixed(sign * tiny_onnx.SAME, (0.5 - 0.5 * sign,) * 3))

    async def script(client):
        await opened(client)
        await client.set("Kind", "onnx")
        await client.until(lambda: any("negative.onnx: " in html for html in htmls(client)))
        await client.set("Strength", 0.9)
        await client.set("Style name", "mine")
        await client.press("Save this style")
        await client.until(lambda: "mine (onnx)" in client.widgets["Saved styles"][1]["options"])
        await client.set("Network", "same.onnx")
        await client.until(lambda: any("same.onnx: " in html for html in htmls(client)))
        await client.set("Saved styles", "mine (onnx)")
        await client.until(lambda: value(client, "Network") == "negative.onnx" and any("negative.onnx: " in html for html in htmls(client)))
        await shows(client, lambda now: now[2, 2].min() > 200)

    scripted(viewer, script)


def test_a_network_that_is_sent_is_kept_and_drawn_with_by_the_page_that_sent_it(viewer, tmp_path):
    async def run():
        settings = {"width": 160, "height": 90}
        origin = viewer.url.rstrip("/")
        async with (
            ScriptedClient.connect(viewer.url, **settings) as one,
            ScriptedClient.connect(viewer.url, **settings) as other,
            ClientSession(headers={"Origin": origin}) as http,
        ):
            for client in (one, other):
                await client.orbit(0)
                await opened(client)

            async def send(client, name, data):
                page = next(found[1] for text in client.scripts if (found := re.search(r"\)\(\d+, (\d+)\)$", text)))
                answer = await http.post(f"{origin}/upload?name={name}&page={page}", data=data)
                return await answer.json()

            negative = tiny_onnx.mixed(-tiny_onnx.SAME, (1, 1, 1))
            assert await send(one, "negative.onnx", negative) == {"added": "the network negative.onnx"}
            await shows(one, lambda now: now[2, 2].min() > 200)
            assert await send(one, "negative.onnx", negative) == {"added": "the network negative.onnx"}, "it is there"
            assert await send(other, "negative.ONNX", tiny_onnx.mixed(tiny_onnx.SAME)) == {"added": "the network negative 2.onnx"}
            assert "expected an ONNX model" in (await send(one, "text.onnx", b"text"))["error"]
            await other.until(lambda: value(other, "Network") == "negative 2.onnx")
            assert value(one, "Network") == "negative.onnx"

    asyncio.run(run())
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["negative 2.onnx", "negative.onnx"]


def test_saved_styles_are_everybodys_until_they_are_forgotten(viewer):
    async def run():
        settings = {"width": 160, "height": 90}
        async with ScriptedClient.connect(viewer.url, **settings) as one, ScriptedClient.connect(viewer.url, **settings) as other:
            for client in (one, other):
                await client.orbit(0)
                await opened(client)
                assert "watercolour (diffusion)" in client.widgets["Saved styles"][1]["options"]
            await one.set("Style name", "broad")
            assert not seen(one, "Forget the style of that name")
            await one.press("Save this style")
            await other.until(lambda: "broad (kuwahara)" in other.widgets["Saved styles"][1]["options"])
            await one.until(lambda: seen(one, "Forget the style of that name") and "Saved" in dict(one.notices.values()))
            await one.press("Forget the style of that name")
            await one.until(lambda: any("gone for everybody" in html for html in htmls(one)))
            await one.set("Forget the style?", "Forget")
            await other.until(lambda: "broad (kuwahara)" not in other.widgets["Saved styles"][1]["options"])
            await one.until(lambda: not seen(one, "Forget the style of that name"))

    asyncio.run(run())


def test_a_file_of_styles_that_is_none_is_told_before_anybody_saves(viewer):
    styles_file().parent.mkdir(parents=True, exist_ok=True)
    styles_file().write_text("{broken")

    async def script(client):
        await opened(client)
        assert client.widgets["Saved styles"][1]["options"] == ["choose"]
        assert any("styles.json: expected a JSON file of styles" in html for html in htmls(client))
        styles_file().unlink()
        Styles().save("fine", FILTERS["oil"]())
        await client.set("Style name", "finer")
        await client.press("Save this style")
        await client.until(lambda: {"fine (oil)", "finer (kuwahara)"} < set(client.widgets["Saved styles"][1]["options"]))
        assert not any("styles.json" in html for html in htmls(client))

    scripted(viewer, script)


def test_the_next_page_begins_with_the_style_that_was_drawn_last(scene, tmp_path, monkeypatch):
    """It is opened when it is turned on, and not before."""
    at_home(monkeypatch, tmp_path)
    (tmp_path / "models").mkdir()
    for name in ("a", "b"):
        (tmp_path / "models" / f"{name}.onnx").write_bytes(tiny_onnx.mixed(-tiny_onnx.SAME, (1, 1, 1)))

    async def first(client):
        await opened(client)
        assert value(client, "Kind") == "kuwahara"
        await client.set("Kind", "halftone")
        await client.until(lambda: "Sharpness" in client.widgets)
        await client.set("Sharpness", 0.9)
        await client.set("Steady", True)
        await client.until(lambda: seen(client, "Newest counts"))

    async def second(client):
        await opened(client)
        assert (value(client, "Kind"), value(client, "Sharpness"), value(client, "Steady")) == ("halftone", 0.9, True)
        await client.set("Kind", "onnx")
        await client.set("Network", "b.onnx")
        await client.set("Width", 480)
        await client.until(lambda: any("b.onnx: " in html for html in htmls(client)))

    async def third(client):
        await opened(client)
        assert (value(client, "Kind"), value(client, "Network"), value(client, "Width")) == ("onnx", "b.onnx", 480)
        await client.rest()
        assert not any("b.onnx" in html for html in htmls(client)) and client.arrivals[-1].pixels[2, 2].max() < 60
        await client.trigger("Style on or off")
        await shows(client, lambda now: now[2, 2].min() > 200)

    with Viewer(scene, ViewerSettings(port=0, open=False), key="ball") as viewer:
        scripted(viewer, first)
    with Viewer(scene, ViewerSettings(port=0, open=False), key="ball") as viewer:
        for visit in (second, third):
            scripted(viewer, visit)
            nobody_left(viewer)
        viewer.studio.remembered.set("Style", {"kind": "poem"})

        async def last(client):
            await opened(client)
            assert value(client, "Kind") == "kuwahara"

        scripted(viewer, last)
