"""The folder "Style" by its widgets: what each does, what is to be seen when, and what is told."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest
import tiny_onnx
from style_steps import htmls, opened, seen, shows, styled, value
from test_viewer import coloured_ball, scripted

from splatview import Scene
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.panels.diffuse import end


@pytest.fixture(scope="module")
def scene():
    return Scene({"ball": Layer(coloured_ball())})


@pytest.fixture
def viewer(monkeypatch, tmp_path):
    with styled(monkeypatch, tmp_path) as viewer:
        yield viewer


def test_the_panel_turns_a_style_on_and_off_and_changes_its_numbers(viewer):
    async def script(client):
        await client.until(lambda: "Stylise" in client.widgets and client.arrivals)
        await client.orbit(0.7)
        plain = (await client.rest()).pixels.astype(int)
        assert client.widgets["Kind"][1]["options"][0] == "kuwahara" and "Radius" in client.widgets
        await client.set("Stylise", True)
        await shows(client, lambda now: now.shape == plain.shape and np.abs(now - plain).mean() > 2)
        first = (await client.rest()).pixels.astype(int)
        await client.set("Radius", 12)
        await shows(client, lambda now: now.shape == plain.shape and np.abs(now - first).mean() > 1)
        await client.trigger("Style on or off")
        await shows(client, lambda now: now.shape == plain.shape and np.abs(now - plain).mean() < 1)
        assert client.widgets["Stylise"][1]["value"] is False
        await client.set("Kind", "oil")
        assert viewer.sessions[0].view.shown == "colour", "it is chosen, not turned on"
        await client.until(lambda: "Bristles" in client.widgets or "Relief" in client.widgets)
        await client.trigger("Style beside the original")
        await shows(client, lambda now: now.shape == plain.shape and np.abs(now - plain)[:, 170:].mean() > 2)
        last = (await client.rest()).pixels.astype(int)
        assert np.abs(last - plain)[:, :150].mean() < 1, "the original on the left"

    scripted(viewer, script)


def test_a_network_of_a_file_below_the_root_redraws_and_one_elsewhere_does_not(scene, tmp_path_factory):
    root, elsewhere = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("elsewhere")
    for folder in (root, elsewhere):
        (folder / "negative.onnx").write_bytes(tiny_onnx.mixed(-tiny_onnx.SAME, (1, 1, 1)))

    async def script(client):
        await client.until(lambda: "Kind" in client.widgets and client.arrivals)
        await client.orbit(0.7)
        await client.rest()
        await client.set("Kind", "onnx")
        await client.set("Values", "0..1")
        await client.set("ONNX file", str(elsewhere / "negative.onnx"))
        await client.until(lambda: any("below" in text for _, text in client.notices.values()))
        await client.set("ONNX file", "negative.onnx")
        await client.until(lambda: any("negative.onnx: RGB, 0..1, CPU" in html for html in htmls(client)))
        await client.set("Stylise", True)
        await shows(client, lambda now: now.shape == (180, 320, 3) and now[2, 2].min() > 200)

    with Viewer(scene, ViewerSettings(port=0, open=False, root=root)) as viewer:
        scripted(viewer, script)


def test_a_style_beside_the_original_is_turned_off_like_any_other(viewer):
    async def script(client):
        await opened(client)
        [session] = viewer.sessions

        async def shows(shown, beside):
            await client.until(lambda: (session.view.shown, session.view.beside) == (shown, beside))
            await client.until(lambda: value(client, "Stylise") is session.view.styles)
            await asyncio.sleep(0.3)  # a held key repeats in less

        await client.trigger("Style beside the original")
        await shows("colour", "style")
        await client.set("Stylise", False)
        await shows("colour", None)
        await client.trigger("Style beside the original")
        await shows("colour", "style")
        await client.trigger("Style on or off")
        await shows("colour", None)
        await client.trigger("Style on or off")
        await shows("style", None)

    scripted(viewer, script)


def test_the_key_explains_itself_once(viewer):
    async def script(client):
        await opened(client)
        told = []
        for _ in range(3):
            await client.trigger("Style on or off")
            await asyncio.sleep(0.3)
            told += [title for title, _ in client.notices.values() if title not in told]
            assert list(client.notices.values()).count(("Style: kuwahara", client.notices[next(iter(client.notices))][1])) == 1
        return told

    assert scripted(viewer, script) == ["Style: kuwahara"]


def test_figures_of_a_style_go_when_it_is_turned_off(viewer):
    async def script(client):
        await opened(client)
        await client.set("Stylise", True)
        await client.until(lambda: any("styles per second" in html for html in htmls(client)))
        await client.set("Stylise", False)
        await client.until(lambda: not any("styles per second" in html for html in htmls(client)))

    scripted(viewer, script)


def test_kinds_that_flicker_are_steadied_and_the_others_as_people_left_them(viewer):
    async def script(client):
        await opened(client)
        first = [("onnx", True, None), ("oil", False, True), ("ink", False, None)]
        for kind, steady, then in (*first, ("onnx", True, False), ("oil", True, None), ("onnx", False, None)):
            await client.set("Kind", kind)
            await client.until(lambda steady=steady: value(client, "Steady") is steady)
            if then is not None:
                await client.set("Steady", then)

    scripted(viewer, script)


def test_an_error_that_nobody_thought_of_is_told_and_a_network_may_be_opened_again(viewer, monkeypatch, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "negative.onnx").write_bytes(tiny_onnx.mixed(-tiny_onnx.SAME, (1, 1, 1)))

    async def script(client):
        await opened(client)
        with monkeypatch.context() as patch:
            patch.setattr("splatview.viewer.panels.network.open_onnx", lambda *_: 1 / 0)
            await client.set("Kind", "onnx")
            await client.until(lambda: dict(client.notices.values()).get("No network") == "division by zero")
        await client.set("Kind", "oil")
        await client.set("Kind", "onnx")
        await client.until(lambda: any("negative.onnx: RGB, 0..1" in html for html in htmls(client)))
        assert client.widgets["Network"][1]["options"] == ["negative.onnx", "another file"] and not seen(client, "ONNX file")

    scripted(viewer, script)


def test_a_stylizer_that_takes_its_time_to_end_keeps_nobody_waiting():
    go_on = threading.Event()

    class Busy:
        def close(self):
            go_on.wait(5)

    began = time.monotonic()
    end(Busy())
    end(None)
    assert time.monotonic() - began < 0.5
    go_on.set()
