"""The folder "Style" by its widgets: what each does, what is to be seen when, and what is told."""

from __future__ import annotations

import asyncio
import re
import threading
import time

import numpy as np
import pytest
import tiny_onnx
from aiohttp import ClientSession
from scripted_client import ScriptedClient
from test_viewer import coloured_ball, nobody_left, scripted

from splatview import Scene
from splatview.edit.operations import Place, Rename
from splatview.edit.select import Everything
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.stylize.filters import FILTERS
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.panels.diffuse import end
from splatview.viewer.styles import Styles, styles_file


@pytest.fixture(scope="module")
def scene():
    return Scene({"ball": Layer(coloured_ball())})


@pytest.fixture
def viewer(scene, monkeypatch, tmp_path):
    """With a home of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SPLATVIEW_MODELS", str(tmp_path / "models"))
    with Viewer(scene, ViewerSettings(port=0, open=False)) as viewer:
        yield viewer


async def shows(client, true, timeout=10.0):
    """Wait until the last picture is as `true` says."""
    await client.until(lambda: client.arrivals and true(client.arrivals[-1].pixels.astype(int)), timeout)


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


def test_only_a_part_of_the_picture_is_redrawn(viewer):
    """The background keeps its colour, the ball does not; and the other way round."""

    async def script(client):
        await client.until(lambda: "Stylise" in client.widgets and client.arrivals)
        await client.set("Background", (0, 200, 0))
        await client.orbit(0.7)
        plain = (await client.rest()).pixels.astype(int)
        await client.set("Colour", 0)  # no style of oil or water, but grey
        await client.set("Where", "layer ball")
        await client.set("Stylise", True)

        def grey(pixels):
            return np.ptp(pixels, -1).mean()

        await shows(client, lambda now: now.shape == plain.shape and grey(now[80:100, 150:170]) < 12 and grey(now[:20, :20]) > 150)
        await client.set("All but that", True)
        await shows(client, lambda now: now.shape == plain.shape and grey(now[:20, :20]) < 12 and grey(now[80:100, 150:170]) > 30)

    scripted(viewer, script)


def test_each_place_has_a_style_of_its_own(viewer):
    """The ball is grey, what is around it is turned into dots; then all of it is as the last one has it."""

    async def script(client):
        await client.until(lambda: "Stylise" in client.widgets and client.arrivals)
        await client.set("Background", (0, 200, 0))
        await client.orbit(0.7)
        await client.set("Stylise", True)
        await client.set("Colour", 0)
        await client.set("Where", "layer ball")
        await client.until(lambda: client.widgets["Keep it there, and choose another"][1]["visible"])
        await client.press("Keep it there, and choose another")
        await client.until(lambda: client.widgets["Where"][1]["value"] == "everywhere")
        await client.set("Kind", "pencil")

        def grey(pixels):
            return np.ptp(pixels, -1).mean()

        def paper(pixels):
            return pixels[:20, :20].min() > 150

        await shows(client, lambda now: now.shape == (180, 320, 3) and grey(now[80:100, 150:170]) < 12 and paper(now))
        before = client.arrivals[-1].pixels.astype(int)
        await client.press("Forget those kept")
        await shows(client, lambda now: now.shape == before.shape and np.abs(now - before)[80:100, 150:170].mean() > 5 and paper(now))

    scripted(viewer, script)


def test_layers_that_come_and_go_are_places_to_choose(viewer):
    async def script(client):
        await client.until(lambda: "Where" in client.widgets)
        assert "layer ball" in client.widgets["Where"][1]["options"]
        await client.set("Where", "layer ball")
        await client.until(lambda: client.widgets["Feather"][1]["visible"])
        viewer.world.do(Rename("ball", "globe"))
        await client.until(lambda: "layer globe" in client.widgets["Where"][1]["options"])
        await client.until(lambda: client.widgets["Where"][1]["value"] == "everywhere")

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


def htmls(client):
    return [properties.get("content", "") for _, properties in client.widgets.values() if isinstance(properties.get("content"), str)]


def seen(client, label):
    return client.widgets[label][1]["visible"]


def value(client, label):
    return client.widgets[label][1]["value"]


async def opened(client):
    await client.until(lambda: "Stylise" in client.widgets and client.arrivals)


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


def test_places_are_chosen_while_there_is_no_network_yet_and_none_is_kept(viewer):
    async def script(client):
        await opened(client)
        await client.set("Kind", "onnx")
        await client.set("Where", "a range of depth")
        await client.until(lambda: all(seen(client, label) for label in ("From depth", "To depth", "Feather", "All but that")))
        await client.press("Keep it there, and choose another")
        await client.until(lambda: "Not kept" in dict(client.notices.values()))
        assert not seen(client, "Forget those kept")

    scripted(viewer, script)


def test_what_is_everywhere_is_there_though_all_but_a_place_was_chosen_before(viewer):
    async def script(client):
        await opened(client)
        await client.set("Stylise", True)
        await client.set("Where", "layer ball")
        await client.until(lambda: seen(client, "Keep it there, and choose another"))
        await client.press("Keep it there, and choose another")
        await client.until(lambda: value(client, "Where") == "everywhere")
        await client.set("Where", "the background")
        await client.set("All but that", True)
        await client.set("Where", "everywhere")
        await client.set("Kind", "pencil")
        await shows(client, lambda now: now[:20, :20].min() > 150)

    scripted(viewer, script)


def test_a_range_of_depth_begins_where_it_is_seen(viewer):
    """Half of what is to be seen is in it, wherever the camera stands."""

    async def script(client):
        await client.orbit(0.7, distance=20.0)
        await opened(client)
        await client.rest()
        await client.set("Where", "a range of depth")
        [session] = viewer.sessions
        far = await client.until(lambda: value(client, "To depth") != pytest.approx(1, abs=0.2) and value(client, "To depth"))
        depth = session._sent.depth[session._sent.depth > 0]
        await client.set("To depth", 5.0)
        await client.set("Where", "everywhere")
        await client.set("Where", "a range of depth")
        await asyncio.sleep(0.1)
        assert value(client, "To depth") == 5.0, "what people chose stays"
        return far, depth

    far, depth = scripted(viewer, script)
    assert depth.min() < far < depth.max() and np.mean(depth <= far) == pytest.approx(0.5, abs=0.1)


def test_where_nothing_is_selected_that_is_told(viewer):
    async def script(client):
        await opened(client)
        [hint] = [
            uuid for uuid, (_, properties) in client.widgets.items() if "Nothing is selected: select" in str(properties.get("content"))
        ]
        assert not seen(client, hint)
        await client.set("Where", "the selection")
        await client.until(lambda: seen(client, hint))
        viewer.world.select(Everything())
        await client.until(lambda: not seen(client, hint))

    scripted(viewer, script)


def test_a_layer_that_moves_keeps_its_style_and_what_was_averaged_of_it(viewer):
    async def script(client):
        await opened(client)
        await client.set("Where", "layer ball")
        await client.set("Steady", True)
        await client.until(lambda: seen(client, "Newest counts"))
        [session] = viewer.sessions
        before = session.styling.stylizer
        viewer.world.do(Place("ball", Similarity(scale=1.5))).result(5)
        await client.rest()
        assert session.styling.stylizer is before
        viewer.world.do(Rename("ball", "globe")).result(5)
        await client.until(lambda: session.styling.stylizer is not before)

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


def test_whoever_leaves_with_a_style_kept_somewhere_leaves_nothing(viewer):
    async def script(client):
        await opened(client)
        await client.set("Stylise", True)
        await client.set("Where", "the background")
        await client.until(lambda: seen(client, "Keep it there, and choose another"))
        await client.press("Keep it there, and choose another")
        await client.until(lambda: seen(client, "Forget those kept"))
        await client.until(lambda: viewer.sessions[0].styling.figures[0].processed)
        return viewer.sessions[0]

    session = scripted(viewer, script)
    nobody_left(viewer)
    deadline = time.monotonic() + 5
    while not (session._leaving.is_set and not session.styling._stage._thread.is_alive()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_next_page_begins_with_the_style_that_was_drawn_last(scene, tmp_path, monkeypatch):
    """It is opened when it is turned on, and not before."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SPLATVIEW_MODELS", str(tmp_path / "models"))
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
