"""The viewer without a browser: its space, its sessions, its front door, and a scripted client that speaks the page's protocol."""

import asyncio
import gc
import math
import socket
import threading
import time
import weakref

import bench_viewer
import cv2
import numpy as np
import pytest
from aiohttp import ClientSession, CookieJar, WSServerHandshakeError
from hypothesis import given
from hypothesis import strategies as st
from scripted_client import PROTOCOL, ScriptedClient, decoded
from test_viewer_world import no_tools

from splatview import Camera, Gaussians, RenderOptions, Scene, open_renderer
from splatview.framing import Framing
from splatview.outputs.guard import PortTaken, is_loopback
from splatview.scene import Layer
from splatview.stream.pipeline import Pipeline
from splatview.viewer import Viewer, ViewerSettings, serve
from splatview.viewer.page import Pulse
from splatview.viewer.session import Session
from splatview.viewer.space import (
    DEPTH_STEP,
    NEAR,
    RADIUS,
    Pose,
    nearest,
    packed_depth,
    page_from_world,
    page_pose,
    point_under,
    world_camera,
)
from splatview.viewer.world import World

AXES = ("x", "y", "z", "-x", "-y", "-z")


def coloured_ball(count=3000, seed=0):
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    sh = np.zeros((count, 4, 3))
    sh[:, 0] = 2 * directions
    sh[:, 1:] = rng.normal(0, 0.3, (count, 3, 3))
    return Gaussians(directions, rng.normal(size=(count, 4)), rng.normal(-3, 0.2, (count, 3)), rng.normal(2, 1, count), sh)


@pytest.fixture(scope="module")
def scene():
    return Scene({"ball": Layer(coloured_ball()), "twin": Layer(coloured_ball(seed=1), visible=False)})


@pytest.fixture(scope="module")
def viewer(scene):
    with Viewer(scene, ViewerSettings(port=0, up="z", open=False)) as running:
        yield running


def nobody_left(viewer):
    """Wait until the viewer has noticed that its clients are gone."""
    for _ in range(100):
        if not viewer.sessions:
            return
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def the_scene_as_it_was(request):
    yield
    if "viewer" in request.fixturenames:
        viewer = request.getfixturevalue("viewer")
        nobody_left(viewer)
        viewer.show(request.getfixturevalue("scene"))


# The page's space


@pytest.mark.parametrize("axis", AXES)
def test_the_page_is_upright_and_as_large_as_viser_likes_it(axis):
    framing = Framing((3.0, -2.0, 40.0), 250.0, axis)
    page = page_from_world(framing)
    assert page.apply(framing.centre) == pytest.approx([0, 0, 0], abs=1e-9)
    assert page.apply(np.asarray(framing.centre) + framing.up * framing.radius) == pytest.approx([0, 0, RADIUS], abs=1e-9)
    assert page.apply(np.asarray(framing.centre) + framing.front)[1] < 0


@pytest.mark.parametrize("axis", AXES)
def test_a_camera_comes_back_from_the_page_as_it_went(axis):
    framing = Framing((3.0, -2.0, 40.0), 250.0, axis)
    page = page_from_world(framing)
    camera = framing.camera(640, 360)
    back = world_camera(page_pose(camera, page, framing.centre), page, 640, 360)
    assert np.allclose(back.camera_from_world, camera.camera_from_world, atol=1e-6) and np.allclose(back.K, camera.K)


def test_a_pose_that_is_no_pose_is_refused():
    page = page_from_world(Framing((0, 0, 0), 1.0, "z"))
    for bad in (Pose((math.nan, 0, 0), (1, 0, 0, 0), (0, 0, 0), 1.0), Pose((0, 0, 0), (1, 0, 0, 0), (0, 0, 0), 4.0)):
        with pytest.raises(ValueError, match="expected"):
            world_camera(bad, page, 64, 64)


@given(st.floats(1e-4, 160), st.floats(1e-3, 1e3))
def test_depth_is_packed_as_viser_reads_it(distance, scale):
    red, green, blue = packed_depth(np.full((1, 1), distance / scale), scale)[0, 0] / 255.0
    assert blue * 0.00255 + green * 0.6528 + red * 167.1168 == pytest.approx(distance, abs=2 * DEPTH_STEP + 1e-6 * distance)


def test_nothing_is_as_far_as_viser_goes():
    assert (packed_depth(np.array([[0.0, 1e9]], np.float32), 1.0) == 255).all()


def test_the_small_depth_is_taken_evenly_and_never_grows():
    image = np.arange(720 * 1280).reshape(720, 1280)
    assert nearest(image, 160, 90).shape == (90, 160) and nearest(image, 160, 90)[0, 0] == 4 * 1280 + 4
    assert np.array_equal(nearest(image[:9, :16], 160, 90), image[:9, :16])


def test_the_point_under_the_cursor_is_on_the_ball(scene):
    camera = Camera.look_at((0, -4, 0), (0, 0, 0), (0, 0, 1), 0.8, 320, 180)
    depth = open_renderer("cpu").render(scene, camera).depth
    assert np.linalg.norm(point_under(0.5, 0.5, depth, camera)) == pytest.approx(1, abs=0.1)
    assert point_under(0.02, 0.02, depth, camera) is None


# Sessions


class FakePage:
    def __init__(self):
        self.pose = Pose((0.0, -9.0, 0.0), (math.sqrt(0.5), -math.sqrt(0.5), 0.0, 0.0), (0.0, 0.0, 0.0), 0.8)
        self.size = (320, 180)
        self.did = []

    def show(self, picture, depth, number):
        self.did.append(("show", picture, number))

    def __getattr__(self, name):
        return lambda *arguments: self.did.append((name, *arguments))

    def last(self, name):
        return next(entry for entry in reversed(self.did) if entry[0] == name)


@pytest.fixture
def visit(scene):
    clock = [10.0]
    pipeline = Pipeline(lambda: clock[0])
    page = FakePage()
    placing = page_from_world(Framing((0, 0, 0), 1.0, "z"))
    world = World(scene, no_tools())
    session = Session(page, world, placing, open_renderer("cpu"), pipeline, 33.0)

    def rest():
        for _ in range(4):
            clock[0] += 0.5
            while pipeline.step():
                session.picture_shown(page.did[-1][2]) if page.did and page.did[-1][0] == "show" else None
        return decoded(page.last("show")[1])

    session.refresh()
    yield session, page, rest
    world.close()


def test_a_session_shows_what_the_renderer_draws(visit, scene):
    session, _, rest = visit
    shown = rest()
    wanted = open_renderer("cpu").render(scene, session.camera(320, 180), RenderOptions(near=NEAR / RADIUS, outputs=("rgb8",))).rgb8
    assert shown.shape == wanted.shape and cv2.PSNR(shown, wanted) > 35


@pytest.mark.parametrize(
    "setting",
    [
        {"shown": "depth"},
        {"shown": "alpha"},
        {"sh_degree": 0},
        {"splat_scale": 0.4},
        {"background": (1.0, 0.0, 0.0)},
        {"antialiased": True},
    ],
    ids=str,
)
def test_every_setting_changes_the_picture_and_only_once(visit, setting):
    session, page, rest = visit
    before = rest()
    session.change(**setting)
    after = rest()
    assert np.abs(before.astype(int) - after).max() > 2
    count = len(page.did)
    session.change(**setting)
    rest()
    assert len(page.did) == count


def test_of_two_threads_that_want_a_picture_the_newest_scene_wins(visit, monkeypatch):
    """The camera moves as the scene changes: whoever read the scene first asks first."""
    session, _, _ = visit
    world, made, read = session._world, session._request, threading.Event()

    def slow(camera):
        request = made(camera)
        if not read.is_set():
            read.set()
            time.sleep(0.2)
        return request

    monkeypatch.setattr(session, "_request", slow)
    moving = threading.Thread(target=session.refresh)
    moving.start()
    read.wait(5)
    world.show(world.scene.shown("twin", True)).result(5)
    session.refresh()
    moving.join()
    assert session._pacer._newest.scene is world.scene


def test_render_size_is_of_the_window(visit):
    session, _, rest = visit
    session.change(render_size=0.5)
    assert rest().shape[:2] == (90, 160)


def test_focus_turns_to_the_point_that_was_seen(visit):
    session, page, rest = visit
    rest()
    session.point_picked(0.5, 0.5)
    point = page.last("look_at")[1]
    assert np.linalg.norm(point) == pytest.approx(RADIUS, rel=0.1) and point[1] < -0.9 * RADIUS
    session.point_picked(0.01, 0.01)
    assert page.did[-1][0] == "notify"
    count = len(page.did)
    session.point_picked(math.nan, 7.0)
    assert len(page.did) == count


def test_a_held_key_is_one_press(visit):
    session, page, _ = visit
    for _ in range(5):
        session.pick_focus()
    assert [entry[0] for entry in page.did].count("pick") == 1


def test_a_screenshot_is_the_renderers_own_picture(visit, scene):
    session, page, rest = visit
    done = session.screenshot(200, 100)
    while not done.done():
        rest()
    done.result()
    _, name, png = page.last("download")
    wanted = open_renderer("cpu").render(scene, session.camera(200, 100), RenderOptions(near=NEAR / RADIUS, outputs=("rgb8", "depth"))).rgb8
    assert name == "splatview_200x100.png" and np.array_equal(decoded(png), wanted)


def test_a_session_reports_figures(visit):
    session, _, rest = visit
    told = []
    session.report = lambda snapshot, picture: told.append((snapshot, picture))
    session.change(sh_degree=0)
    rest()
    assert told and told[-1][1].camera.width == 320 and told[-1][1].counts["drawn"] > 0 and "encode" in told[-1][1].timings


# The front door


async def status(url, **headers):
    async with ClientSession() as http, http.get(url, headers=headers, allow_redirects=False) as answer:
        return answer.status


async def socket_opens(url, **headers):
    async with ClientSession() as http:
        try:
            async with http.ws_connect(url, protocols=[PROTOCOL], headers=headers) as one:
                return (await one.receive(5)).type.name == "BINARY"
        except WSServerHandshakeError as refused:
            assert refused.status == 403
            return False


def test_the_page_is_served_without_anything_foreign(viewer):
    async def visit():
        async with ClientSession() as http, http.get(viewer.url) as answer:
            return answer.url, await answer.text(), answer.headers

    url, text, headers = asyncio.run(visit())
    assert "fixedDpr=1" in str(url) and "<html" in text
    assert "connect-src 'self'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Host": "evil.example:8080"}, {"Origin": "http://evil.example"}, {"Origin": "null"}]
)
def test_a_foreign_host_or_origin_is_refused(viewer, headers):
    assert asyncio.run(status(viewer.url, **headers)) == 403
    assert not asyncio.run(socket_opens(viewer.url, **headers))


def test_another_program_on_this_machine_is_another_origin(viewer):
    assert not asyncio.run(socket_opens(viewer.url, Origin="http://127.0.0.1:1"))


def test_the_own_origin_is_welcome(viewer):
    assert asyncio.run(socket_opens(viewer.url, Origin=viewer.url.rstrip("/")))
    assert asyncio.run(socket_opens(viewer.url))


def test_the_page_does_not_take_orders_from_another_server(viewer):
    async def visit():
        async with ClientSession() as http, http.get(viewer.url + "?fixedDpr=1&websocket=ws://evil.example/") as answer:
            return str(answer.url)

    assert "evil" not in asyncio.run(visit())


def test_viser_itself_answers_nobody_but_the_door(viewer):
    inner = f"http://127.0.0.1:{viewer._server.get_port()}/"
    assert asyncio.run(status(inner)) == 403
    assert not asyncio.run(socket_opens(inner))
    assert not asyncio.run(socket_opens(inner, **{"X-Splatview-Door": "guess"}))


@pytest.mark.parametrize(
    "host,own",
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("192.168.1.2", False), ("evil.example", False)],
)
def test_loopback_is_known(host, own):
    assert is_loopback(host) == own


def test_beyond_this_machine_a_token_is_asked_for(scene):
    with Viewer(scene, ViewerSettings(host="0.0.0.0", port=0, open=False)) as viewer:
        base = f"http://127.0.0.1:{viewer._door.port}/"
        token = viewer._door.token
        assert token in viewer.url

        async def with_cookie():
            async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as http:  # of an address, not a name
                async with http.get(f"{base}?token={token}") as page:
                    assert page.status == 200 and "token" not in str(page.url)
                async with http.ws_connect(base, protocols=[PROTOCOL]) as one:
                    return (await one.receive(5)).type.name

        assert asyncio.run(status(base)) == 403
        assert asyncio.run(status(f"{base}?token=wrong")) == 403
        assert not asyncio.run(socket_opens(base))
        assert asyncio.run(status(base, Host="evil.example")) == 403
        cookies = asyncio.run(with_cookie())
        assert cookies == "BINARY"


def test_a_taken_port_is_an_error_and_not_another_port(scene):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} on 127.0.0.1 is taken .* --port"):
            Viewer(scene, ViewerSettings(port=port, open=False))


def test_serve_says_one_line(scene, capfd):
    viewer = serve(scene, ViewerSettings(port=0, open=False), block=False)
    viewer.close()
    out = capfd.readouterr().out.splitlines()
    assert len(out) == 1 and viewer.url in out[0]


def test_a_closed_viewer_leaves_no_thread_and_no_port(scene):
    before = set(threading.enumerate())
    viewer = Viewer(scene, ViewerSettings(port=0, open=False))
    port = viewer._door.port
    viewer.close()
    left = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("splatview")]
    assert not left
    socket.create_server(("127.0.0.1", port)).close()


# Through the door, as the page does it


def scripted(viewer, script, **settings):
    async def run():
        async with ScriptedClient.connect(viewer.url, width=320, height=180, **settings) as client:
            await client.orbit(0)
            return await script(client)

    return asyncio.run(run())


def test_the_camera_moves_and_pictures_follow_and_rest_at_full_size(viewer):
    async def script(client):
        for step in range(60):
            await client.orbit(0.05 * step)
            await asyncio.sleep(0.02)
        return await client.rest()

    last = scripted(viewer, script)
    assert last.size == (320, 180) and last.number > 4
    assert decoded(last.depth).shape == (90, 160, 3)


def test_without_acknowledgement_one_picture_comes_and_the_rest_is_dropped(viewer):
    async def script(client):
        await client.until(lambda: client.arrivals)
        for step in range(25):
            await client.orbit(0.05 * step)
            await asyncio.sleep(0.01)
        [session] = viewer.sessions
        return len(client.arrivals), session._pacer.dropped

    arrived, dropped = scripted(viewer, script, acknowledging=False)
    assert arrived == 1 and dropped > 10


def test_viser_keeps_nothing_of_what_was_sent(viewer):
    """It remembers a key for each message that it takes to be the last of its kind."""

    async def script(client):
        await client.rest()
        [session] = viewer.sessions
        keys = session._page._connection.get_message_buffer().id_from_redundancy_key
        before = len(keys)
        for step in range(1, 61):
            number = len(client.arrivals)
            await client.orbit(0.05 * step)
            await client.until(lambda number=number: len(client.arrivals) > number)
        return len(client.arrivals), len(keys) - before

    pictures, kept = scripted(viewer, script)
    assert pictures > 60 and kept <= 5


def test_two_people_have_two_cameras(viewer):
    async def run():
        settings = {"width": 200, "height": 100}
        async with ScriptedClient.connect(viewer.url, **settings) as one, ScriptedClient.connect(viewer.url, **settings) as other:
            await one.orbit(0)
            await other.orbit(2)
            first, second = await one.rest(), await other.rest()
            return len(viewer.sessions), first.pixels, second.pixels

    count, first, second = asyncio.run(run())
    assert count == 2 and cv2.PSNR(first, second) < 30


def test_a_closed_tab_frees_everything(viewer):
    async def script(client):
        await client.rest()
        [session] = viewer.sessions
        return weakref.ref(session)

    session = scripted(viewer, script)
    nobody_left(viewer)
    gc.collect()
    assert not viewer.sessions and len(viewer._pipeline) == 0 and session() is None


def test_the_panel_changes_the_view(viewer):
    async def script(client):
        await client.until(lambda: "Background" in client.widgets)
        before = await client.rest()
        await client.set("Background", [255, 0, 0])
        await client.until(lambda: client.arrivals[-1].number > before.number)
        return (await client.rest()).pixels[0, 0]

    red, green, blue = scripted(viewer, script)
    assert red > 250 and green < 5 and blue < 5


def test_layers_are_hidden_and_removed_for_everybody(viewer):
    async def script(client):
        await client.until(lambda: "Remove" in client.widgets and client.arrivals)
        await client.set("ball", False)
        await client.until(lambda: client.arrivals[-1].pixels.max() < 5)
        await client.press("Remove")
        await client.until(lambda: "ball" not in client.widgets)
        return list(viewer.scene.layers)

    assert scripted(viewer, script) == ["twin"]


def test_the_screenshot_button_downloads_a_picture(viewer):
    async def script(client):
        await client.until(lambda: "Save PNG" in client.widgets)
        await client.set("Size", [160, 120])
        await client.press("Save PNG")
        await client.until(lambda: client.downloads)
        return client.downloads

    [(name, png)] = scripted(viewer, script).items()
    assert name == "splatview_160x120.png" and decoded(png).shape == (120, 160, 3)


def test_a_page_that_sends_nonsense_harms_nobody(viewer):
    async def script(client):
        await client.rest()
        await client.send("PointPicked", x=1e300, y=-5.0)
        await client.send("PictureShown", number=-1)
        await client.send("WindowSized", width=-7, height=10**9)
        await client.send("WindowSized", width=320, height=180)
        before = client.arrivals[-1].number
        await client.orbit(1.0)
        await client.until(lambda: client.arrivals[-1].number > before)
        return (await client.rest()).size

    assert scripted(viewer, script) == (320, 180)


def test_messages_of_other_threads_leave_the_loops_waiters_to_the_loop(viewer):
    async def pulsed():
        pulse, loop = Pulse(), asyncio.get_running_loop()
        waiting = asyncio.create_task(pulse.wait())
        await asyncio.sleep(0)
        await asyncio.to_thread(pulse.set)
        await asyncio.sleep(0)
        assert not waiting.done()
        await asyncio.to_thread(loop.call_soon_threadsafe, pulse.set)
        assert await asyncio.wait_for(waiting, 5)

    async def script(client):
        await client.rest()
        [session] = viewer.sessions
        assert isinstance(session._page._connection.get_message_buffer().message_event, Pulse)

    asyncio.run(pulsed())
    scripted(viewer, script)


def test_the_bench_tells_how_far_behind_pictures_are():
    """On a slow link pictures are late by what the link takes; never shown before they were asked for."""

    async def measured(url):
        async with bench_viewer.throttled(url, 1e6) as slow, ScriptedClient.connect(slow, width=640, height=360) as client:
            return await bench_viewer.lag(client, seconds=2)

    with Viewer(bench_viewer.planet(20_000), ViewerSettings(port=0, up="z", open=False)) as viewer:
        behind = asyncio.run(measured(viewer.url))
    assert len(behind) > 5 and min(behind) > -0.05 and np.median(behind) < 1
