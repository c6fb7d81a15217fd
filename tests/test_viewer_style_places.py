""" "Where" in the folder "Style": parts of the picture that are redrawn, each in a style of its own."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
from style_steps import htmls, opened, seen, shows, styled, value
from test_viewer import nobody_left, scripted

from splatview.edit.operations import Place, RemoveLayer, Rename
from splatview.edit.select import Everything
from splatview.geometry import Similarity


@pytest.fixture
def viewer(monkeypatch, tmp_path):
    with styled(monkeypatch, tmp_path) as viewer:
        yield viewer


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
        await client.until(lambda: client.widgets["Where"][1]["value"] == "layer globe")
        viewer.world.do(RemoveLayer("globe"))
        await client.until(lambda: client.widgets["Where"][1]["value"] == "everywhere")
        assert "layer globe" not in client.widgets["Where"][1]["options"]

    scripted(viewer, script)


def test_a_style_stays_on_a_layer_that_is_renamed_and_back(viewer):
    async def script(client):
        await opened(client)
        await client.set("Background", (0, 200, 0))
        await client.set("Stylise", True)
        await client.set("Colour", 0)
        await client.set("Where", "layer ball")
        await client.until(lambda: seen(client, "Keep it there, and choose another"))
        await client.press("Keep it there, and choose another")
        await client.set("Kind", "pencil")

        def both(now):
            return now.shape == (180, 320, 3) and np.ptp(now[80:100, 150:170], -1).mean() < 12 and now[:20, :20].min() > 150

        await shows(client, both)
        viewer.world.do(Rename("ball", "globe"))
        await client.until(lambda: any("layer globe: kuwahara" in html for html in htmls(client)))
        await shows(client, both)
        viewer.world.undo()
        await client.until(lambda: any("layer ball: kuwahara" in html for html in htmls(client)))
        await shows(client, both)

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


def test_a_layer_that_moves_or_is_renamed_keeps_its_style_and_what_was_averaged_of_it(viewer):
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
        await client.until(lambda: value(client, "Where") == "layer globe")
        await client.rest()
        assert session.styling.stylizer is before
        viewer.world.do(RemoveLayer("globe")).result(5)
        await client.until(lambda: session.styling.stylizer is not before)

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
