"""Styles in the viewer: they are seen, they never slow the camera, and one that fails is in nobody's way."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from scripted_client import decoded
from style_steps import Negative
from test_viewer import coloured_ball, scripted

from splatview import RenderOptions, Scene, open_renderer
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings

OPTIONS = RenderOptions(outputs=("rgb8", "alpha", "depth"))


class Broken:
    def __init__(self):
        self.times = 0

    def style(self, frame):
        self.times += 1
        raise RuntimeError("no weights")


@pytest.fixture(scope="module")
def scene():
    return Scene({"ball": Layer(coloured_ball())})


@pytest.fixture
def viewer(scene):
    with Viewer(scene, ViewerSettings(port=0, open=False)) as viewer:
        yield viewer


async def styled_with(client, viewer, stylizer):
    await client.until(lambda: viewer.sessions and client.arrivals)
    [session] = viewer.sessions
    session.set_style(stylizer)
    session.change(shown="style")
    return session


def negative_of(viewer, session, size=(320, 180)):
    camera = session.camera(*size)
    drawn = open_renderer("cpu").render(viewer.world.scene, camera, OPTIONS)
    return 255 - drawn.rgb8


def test_a_picture_at_rest_is_in_the_style_however_slow_that_is(viewer):
    async def script(client):
        session = await styled_with(client, viewer, Negative(0.4))
        await client.orbit(0.7)
        await client.until(lambda: client.arrivals and client.arrivals[-1].pixels[2, 2].min() > 200)
        return session, await client.rest()

    session, last = scripted(viewer, script)
    assert last.size == (320, 180)
    difference = np.abs(last.pixels.astype(int) - negative_of(viewer, session))
    assert difference.mean() < 2, "as the stylizer made it of the very frame, but for the JPEG"


def test_the_camera_keeps_its_rate_with_a_slow_style_and_every_picture_shows_one(viewer):
    """As many pictures as without a style, though the stylizer makes only three a second."""

    async def fly(client, session):
        before = len(client.arrivals)
        for step in range(50):
            await client.orbit(0.7 + 0.006 * step)
            await asyncio.sleep(0.02)
        return client.arrivals[before:]

    async def script(client):
        await client.until(lambda: viewer.sessions and client.arrivals)
        [session] = viewer.sessions
        await client.rest()
        plain = await fly(client, session)
        slow = Negative(0.3)
        await styled_with(client, viewer, slow)
        await client.orbit(0.7)
        await client.until(lambda: client.arrivals[-1].pixels[2, 2].min() > 200)
        await client.rest()
        calls = len(slow.frames)
        styled = await fly(client, session)
        return plain, styled, len(slow.frames) - calls, session

    plain, styled, calls, session = scripted(viewer, script)
    assert calls <= 6, "the stylizer was slow, as it was meant to be"
    assert len(styled) > 0.6 * len(plain) and len(styled) > 3 * calls
    corners = [int(picture.pixels[2, 2].min()) for picture in styled]
    assert min(corners) > 90, f"black around the ball is bright in the style: {corners}"
    counts, pace, shown = session.styling.figures
    assert pace.p50_ms > 290 and counts.dropped > 0 and shown > calls


def test_a_style_beside_the_original_is_split_between_them(viewer):
    async def script(client):
        session = await styled_with(client, viewer, Negative())
        session.change(shown="colour", split=0.5)
        session.set_beside("style")
        await client.orbit(0.7)
        await client.until(lambda: client.arrivals[-1].pixels[2, -3].min() > 200)
        return await client.rest()

    last = scripted(viewer, script)
    assert last.pixels[:, :30].max() < 60 and last.pixels[:, -30:].min() > 200, "the background on both sides"
    assert np.abs(last.pixels[80:100, 150:158].astype(int) - (255 - last.pixels[80:100, 162:170])).mean() < 40, "and the ball"


def test_a_style_that_fails_is_told_until_it_works_or_is_turned_off_and_the_picture_goes_on_without_it(viewer):
    async def script(client):
        broken = Broken()
        session = await styled_with(client, viewer, broken)
        await client.orbit(0.7)
        said = await client.until(lambda: dict(client.notices.values()))
        last = await client.rest()
        session.set_style(Negative())
        await client.until(lambda: client.arrivals[-1].pixels[2, 2].min() > 200 and not client.notices)
        session.set_style(broken)
        await client.until(lambda: client.notices)
        session.change(shown="colour")
        await client.until(lambda: not client.notices)
        return said, last, broken.times

    said, last, times = scripted(viewer, script)
    assert said == {"The style failed": "no weights. The picture is shown without it."} and times >= 1
    assert last.pixels[2, 2].max() < 60, "the picture as it is"


def test_a_screenshot_is_in_the_style_and_keeps_nobody_waiting(viewer):
    """However long the style takes: the drawing thread is everybody's."""

    async def script(client):
        slow = Negative(0.6)
        session = await styled_with(client, viewer, slow)
        await client.orbit(0.7)
        await client.until(lambda: client.arrivals[-1].pixels[2, 2].min() > 200)
        await client.rest()
        slow.seconds, before = 1.5, len(slow.frames)
        session.screenshot(200, 100)
        while len(slow.frames) == before:
            await asyncio.sleep(0.01)
        count = len(client.arrivals)
        for step in range(40):
            await client.orbit(0.7 + 0.006 * step)
            await asyncio.sleep(0.02)
        moving = len(client.arrivals) - count
        assert not client.downloads and "Screenshot" in dict(client.notices.values()), "it is still being made, which is told"
        await client.until(lambda: client.downloads)
        return moving, client.downloads

    moving, downloads = scripted(viewer, script)
    assert moving > 5
    picture = decoded(downloads["splatview_200x100.png"])
    assert picture.shape == (100, 200, 3) and picture[2, 2].min() > 200


def test_a_style_is_changed_at_rest_and_what_is_drawn_is_not_drawn_again(viewer, monkeypatch):
    async def script(client):
        session = await styled_with(client, viewer, Negative())
        await client.orbit(0.7)
        await client.until(lambda: client.arrivals and client.arrivals[-1].pixels[2, 2].min() > 200)
        await client.rest()
        drawn = []
        render = viewer.renderer.render
        monkeypatch.setattr(viewer.renderer, "render", lambda *given: (drawn.append(given), render(*given))[1])

        class Grey:
            def style(self, frame):
                return np.full_like(frame.rgb8, 128)

        session.set_style(Grey())
        await client.until(lambda: np.abs(client.arrivals[-1].pixels.astype(int) - 128).max() < 4)
        return len(drawn)

    assert scripted(viewer, script) == 0
