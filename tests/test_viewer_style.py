"""Styles in the viewer: they are seen, they never slow the camera, and one that fails is in nobody's way."""

from __future__ import annotations

import asyncio
import threading
import time

import cv2
import numpy as np
import pytest
import tiny_onnx
from small_fields import ball
from test_viewer import coloured_ball, scripted

from splatview import Camera, RenderOptions, Scene, open_renderer
from splatview.edit.operations import Rename
from splatview.frame import Interrupted
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.styling import Styling

OPTIONS = RenderOptions(outputs=("rgb8", "alpha", "depth"))


class Negative:
    """Turns colours over, and takes its time for it."""

    def __init__(self, seconds=0.0):
        self.seconds, self.frames = seconds, []

    def style(self, frame):
        self.frames.append(frame)
        time.sleep(self.seconds)
        return 255 - frame.rgb8


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


@pytest.fixture(scope="module")
def frame(scene):
    renderer = open_renderer("cpu")

    def drawn(angle=0.0, size=(96, 54)):
        eye = 4 * np.cos(angle), 4 * np.sin(angle), 0.5
        return renderer.render(scene, Camera.look_at(eye, (0, 0, 0), (0, 0, 1), 0.8, *size), OPTIONS)

    return drawn


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


def test_a_style_that_fails_is_told_and_the_picture_goes_on_without_it(viewer):
    async def script(client):
        broken = Broken()
        session = await styled_with(client, viewer, broken)
        told = []
        session._page.fault = told.append
        await client.orbit(0.7)
        await client.until(lambda: told)
        last = await client.rest()
        session.set_style(Negative())
        await client.until(lambda: client.arrivals[-1].pixels[2, 2].min() > 200)
        return told, last, broken.times

    told, last, times = scripted(viewer, script)
    assert "no weights" in told[0] and told[-1] is None and len(told) == 2 and times >= 1
    assert last.pixels[2, 2].max() < 60, "the picture as it is"


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


def test_a_quick_style_is_that_of_the_very_frame(frame):
    styling = Styling(Negative())
    try:
        styling.show(frame())
        deadline = time.monotonic() + 5
        while not styling.figures[0].processed and time.monotonic() < deadline:
            time.sleep(0.01)
        for angle in np.linspace(0.1, 1, 10):
            now = frame(angle)
            assert np.array_equal(styling.show(now), 255 - now.rgb8)
    finally:
        styling.close()


def test_a_frame_is_styled_until_the_stylizer_has_settled_and_no_more(frame):
    class Converging(Negative):
        @property
        def settled(self):
            return len(self.frames) >= 3

    stylizer, told, done = Converging(), [], threading.Event()
    styling = Styling(stylizer)
    styling.changed = lambda: (told.append(len(stylizer.frames)), len(stylizer.frames) >= 3 and done.set())
    try:
        now = frame()
        styling.show(now)
        assert done.wait(5)
        time.sleep(0.05)
        for _ in range(3):
            styling.show(now)
        time.sleep(0.05)
        assert len(stylizer.frames) == 3 and all(one is now for one in stylizer.frames) and told[-1] == 3
    finally:
        styling.close()


def test_pictures_that_come_late_are_laid_onto_the_frame_that_is_shown(frame):
    """As of a stream that works on two frames at once: of a still view the picture is its own in the end."""

    class Late(Negative):
        shown, settled = None, False

        def style(self, frame):
            self.frames.append(frame)
            self.settled = len(self.frames) > 1 and self.frames[-2] is frame
            self.shown = self.frames[-2] if len(self.frames) > 1 else frame
            return 255 - self.shown.rgb8

    styling = Styling(Late())
    try:
        first, second = frame(), frame(0.02)
        for one in (first, second):
            styling.show(one)
            end = time.monotonic() + 5
            while not (styling._newest and styling._newest.given is one and styling._newest.settled) and time.monotonic() < end:
                time.sleep(0.01)
            assert np.array_equal(styling.show(one), 255 - one.rgb8)
        moved = frame(0.04)
        now = styling.show(moved).astype(int)
        assert np.abs(now - (255 - moved.rgb8)).mean() < 12, "meanwhile the one before, where it lies now"
    finally:
        styling.close()


def test_closing_leaves_no_thread(frame):
    styling = Styling(Negative(0.01))
    styling.show(frame())
    styling.close()
    deadline = time.monotonic() + 2
    while any(thread.name == "splatview-style" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(thread.name == "splatview-style" for thread in threading.enumerate())


def test_a_style_that_is_told_to_end_is_no_fault_and_the_next_one_begins(frame):
    class Endless:
        """Works until it is told to end."""

        def __init__(self):
            self.begun, self.ended = threading.Event(), threading.Event()

        def style(self, frame):
            self.begun.set()
            assert self.ended.wait(10)
            raise Interrupted

    endless, told = Endless(), []
    styling = Styling(endless)
    styling.failed = told.append
    try:
        now = frame()
        styling.show(now)
        assert endless.begun.wait(5)
        styling.use(Negative())
        endless.ended.set()
        deadline = time.monotonic() + 5
        while not np.array_equal(styling.show(now), 255 - now.rgb8) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert np.array_equal(styling.show(now), 255 - now.rgb8)
        assert not told and (styling.figures[0].failed, styling.figures[0].skipped) == (0, 1)
    finally:
        styling.close()


# The folder of the panel, by its widgets.


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
        skipped = lambda: session.styling.figures[0].skipped
        for number in (1, 2):
            await client.until(lambda: busy(session))
            await client.set("Kind", "toon")
            await client.until(lambda number=number: skipped() == number)
            await client.until(lambda: not busy(session))
            await client.set("Kind", "onnx")
        await client.until(lambda: busy(session))
        return session

    def busy(session):
        counts = session.styling.figures[0]
        return counts.captured > counts.processed + counts.skipped + counts.failed + counts.dropped

    with Viewer(scene, ViewerSettings(port=0, open=False, root=tmp_path)) as viewer:
        session = scripted(viewer, script)
        deadline = time.monotonic() + 10
        while busy(session) and time.monotonic() < deadline:
            time.sleep(0.01)
        counts = session.styling.figures[0]
    assert counts.skipped == 3 and not counts.failed


def htmls(client):
    return [properties.get("content", "") for _, properties in client.widgets.values() if isinstance(properties.get("content"), str)]
