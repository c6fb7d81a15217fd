"""Bad days: renderers that fail, clients that read nothing or come and go, and the end in the middle of everything."""

import asyncio
import csv
import gc
import logging
import os
import time
from contextlib import AsyncExitStack, contextmanager

import many_clients
import numpy as np
import pytest
import soak
from scripted_client import ScriptedClient
from test_viewer import coloured_ball, nobody_left, visit  # noqa: F401 (a fixture)

from splatview import Scene, open_renderer, save
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings, door, passage
from splatview.viewer.session import Session


@pytest.fixture(scope="module")
def scene():
    return Scene({"ball": Layer(coloured_ball(500))})


@pytest.fixture(scope="module")
def scene_file(scene, tmp_path_factory):
    path = tmp_path_factory.mktemp("scene") / "ball.ply"
    save(scene, path)
    return path


@contextmanager
def viewing(scene, renderer=None, **settings):
    with Viewer(scene, ViewerSettings(port=0, up="z", open=False, **settings), renderer=renderer) as viewer:
        yield viewer
        nobody_left(viewer)


# A renderer that fails


class Moody:
    """The CPU renderer, except where `mood(camera)` has something against it."""

    def __init__(self, mood):
        self._renderer, self.mood, self.name = open_renderer("cpu"), mood, "cpu"

    def render(self, scene, camera, *rest):
        if error := self.mood(camera):
            raise error
        return self._renderer.render(scene, camera, *rest)


@pytest.mark.parametrize("kind,words", [(RuntimeError, ["the tiles are on fire"]), (MemoryError, [])])
def test_an_error_is_shown_in_the_page_and_logged_once_and_the_picture_recovers(scene, caplog, kind, words):
    error = kind(*words)
    moody = Moody(lambda camera: None)

    async def script(viewer):
        async with ScriptedClient.connect(viewer.url, width=160, height=90) as client:
            await client.orbit(0)
            await client.rest()
            before = len(client.arrivals)
            moody.mood = lambda camera: error
            for step in range(10):
                await client.orbit(0.1 * step + 0.1)
                await asyncio.sleep(0.03)
            await client.until(lambda: client.notices)
            await asyncio.sleep(0.7)  # at rest, too
            assert len(client.arrivals) == before and len(client.notices) == 1
            [(title, text)] = client.notices.values()
            moody.mood = lambda camera: None
            await client.orbit(2)
            await client.until(lambda: not client.notices)
            assert (await client.rest()).size == (160, 90)
            return title, text

    with caplog.at_level(logging.ERROR), viewing(scene, moody) as viewer:
        title, text = asyncio.run(script(viewer))
    assert "could not be drawn" in title and type(error).__name__ in text and str(error) in text
    [record] = caplog.records
    assert record.exc_info[1] is error
    for context in ("160 x 90", "ball (500 splats)", "View(", "camera_from_world"):
        assert context in record.getMessage()


def test_an_error_that_happens_once_is_over_at_rest(scene, caplog):
    """The picture at rest is another try of the same view."""
    moods = [RuntimeError("once")]
    with caplog.at_level(logging.ERROR), viewing(scene, Moody(lambda camera: moods.pop() if moods else None)) as viewer:

        async def script():
            async with ScriptedClient.connect(viewer.url, width=160, height=90) as client:
                await client.orbit(0)
                await client.rest()
                return client.notices

        assert not asyncio.run(script())
    assert len(caplog.records) == 1


def test_one_persons_error_is_nobody_elses(scene, caplog):
    with (
        caplog.at_level(logging.ERROR),
        viewing(scene, Moody(lambda camera: ValueError("not from here") if camera.width == 200 else None)) as viewer,
    ):

        async def script():
            settings = {"height": 90}
            async with (
                ScriptedClient.connect(viewer.url, width=200, **settings) as unlucky,
                ScriptedClient.connect(viewer.url, width=160, **settings) as lucky,
            ):
                for step in range(10):
                    await unlucky.orbit(0.1 * step)
                    await lucky.orbit(0.1 * step)
                    await asyncio.sleep(0.03)
                await unlucky.until(lambda: unlucky.notices)
                await lucky.until(lambda: len(lucky.arrivals) > 1)
                await lucky.rest()
                return len(lucky.arrivals), lucky.notices

        count, notices = asyncio.run(script())
    assert count > 1 and not notices
    assert len(caplog.records) == 1


def test_errors_of_two_places_are_both_logged_and_never_again(visit, monkeypatch, caplog):  # noqa: F811
    session, page, rest = visit
    rest()

    def fails(*_):
        raise TypeError("the depth is no depth")

    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            for place in ("encoded", "draw"):
                with monkeypatch.context() as patched:
                    patched.setattr(f"splatview.viewer.session.{place}", fails if place == "draw" else lambda *_: 1 / 0)
                    session.change(splat_scale=np.random.default_rng().uniform(0.5, 2))
                    rest()
                    assert [entry for entry in page.did if entry[0] == "fault"][-1][1] is not None
                session.change(splat_scale=np.random.default_rng().uniform(0.5, 2))
                rest()
                assert [entry for entry in page.did if entry[0] == "fault"][-1][1] is None
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError, TypeError]


# A client that reads nothing


def test_a_client_that_reads_nothing_is_dropped_and_the_others_get_every_picture(scene, monkeypatch):
    monkeypatch.setattr(passage, "STALLED", 2.0)
    monkeypatch.setattr(door, "STALLED", 2.0)
    size = 160, 90

    async def script(viewer):
        async with many_clients.stalled(viewer.url, size) as asking:
            while not viewer.sessions:
                await asyncio.sleep(0.02)
            [stuck] = viewer.sessions
            [buffer] = [state.message_buffer for state in viewer._server._websock_server._client_state_from_id.values()]
            stuck._page.download("large", os.urandom(30 * 2**20))  # more than the system's own buffers hold, and nothing to compress
            waiting = []
            async with ScriptedClient.connect(viewer.url, width=size[0], height=size[1]) as client:
                await client.orbit(0)
                before = len(client.arrivals)
                while not asking.done():
                    before = len(client.arrivals)
                    await client.orbit(before + 1)
                    await client.until(lambda before=before: len(client.arrivals) > before)
                    assert (await client.rest(0.3)).size == size
                    viewer.show(viewer.scene.shown("ball", len(waiting) % 2 == 0))  # the panel changes, too
                    waiting.append(len(buffer.message_from_id))
            return waiting, asking.result()

    with viewing(scene) as viewer:
        waiting, _ = asyncio.run(asyncio.wait_for(script(viewer), 20))
        nobody_left(viewer)
        assert not viewer.sessions and not viewer._door._pages
    assert len(waiting) > 2 and max(waiting) < 500


def test_what_was_sent_is_kept_nowhere(scene):
    """In an hour a page is sent a hundred thousand messages."""

    async def script(viewer):
        async with ScriptedClient.connect(viewer.url, width=160, height=90) as client:
            turning = asyncio.create_task(many_clients.keep_turning(client))
            sizes = []
            for pictures in (10, 40):
                await client.until(lambda pictures=pictures: len(client.arrivals) >= pictures)
                [state] = viewer._server._websock_server._client_state_from_id.values()
                kept = state.message_buffer
                sizes.append(len(kept.message_from_id) + len(kept.id_from_redundancy_key) + len(kept.ids_from_entity_state_key))
            turning.cancel()
            return sizes

    with viewing(scene) as viewer:
        early, late = asyncio.run(script(viewer))
    assert late - early < 10


def test_a_client_that_says_nothing_is_dropped(scene, monkeypatch):
    """One that went away without a word: its machine was switched off, say."""
    monkeypatch.setattr(door, "STALLED", 0.5)

    async def script(viewer):
        async with many_clients.Mute.connect(viewer.url) as mute:
            await ScriptedClient(mute, 160, 90).orbit(0)
            while not viewer.sessions:
                await asyncio.sleep(0.02)
            while viewer.sessions:
                await asyncio.sleep(0.02)

    with viewing(scene) as viewer:
        asyncio.run(asyncio.wait_for(script(viewer), 10))
        assert not viewer._door._pages


def test_turns_are_fair(scene):
    """Of eight clients that move all the time, nobody gets less than half of another's pictures, and each its picture at rest."""

    async def everybody(url):
        async with AsyncExitStack() as visits:
            settings = {"width": 160, "height": 90}
            clients = [await visits.enter_async_context(ScriptedClient.connect(url, **settings)) for _ in range(8)]
            turning = [asyncio.create_task(many_clients.keep_turning(client, 20)) for client in clients]
            for client in clients:
                await client.until(lambda client=client: client.arrivals, 30)
            began = [len(client.arrivals) for client in clients]
            await clients[0].until(lambda: len(clients[0].arrivals) - began[0] > 15, 30)
            counts = [len(client.arrivals) - before for client, before in zip(clients, began, strict=True)]
            for one in turning:
                one.cancel()
            return counts, [(await client.rest()).size for client in clients]

    with viewing(scene) as viewer:
        counts, sizes = asyncio.run(everybody(viewer.url))
    assert min(counts) * 2 >= max(counts) > 5 and set(sizes) == {(160, 90)}


# Clients that come and go


async def come_and_go(url, times, at_once=5):
    """Visits of all kinds: some stay for a picture, some leave at once, some are cut off."""

    async def one(kind):
        if kind % 2:
            async with many_clients.Mute.connect(url) as mute:
                await ScriptedClient(mute, 160, 90).orbit(0)
                await asyncio.sleep(0.05 * (kind % 3))
            return  # without a word, and without having read anything
        async with ScriptedClient.connect(url, width=160, height=90) as client:
            await client.orbit(0)
            if kind % 3:
                await client.until(lambda: client.arrivals)

    for begin in range(0, times, at_once):
        await asyncio.gather(*(one(begin + kind) for kind in range(at_once)))


def test_fifty_visits_leave_memory_threads_and_files_where_they_were(scene_file):
    with soak.server(str(scene_file)) as (process, url):
        asyncio.run(come_and_go(url, 50, at_once=10))  # pools fill
        time.sleep(0.5)
        megabytes, threads, files = soak.looked_at(process.pid)
        asyncio.run(come_and_go(url, 50, at_once=10))
        time.sleep(0.5)
        after = soak.looked_at(process.pid)
    assert after[1:] == (threads, files) and after[0] - megabytes < 15


def test_visits_that_end_before_they_begin_leave_no_session(scene):
    with viewing(scene) as viewer:
        asyncio.run(come_and_go(viewer.url, 30, at_once=10))
        nobody_left(viewer)
        gc.collect()
        assert not viewer.sessions and len(viewer._pipeline) == 0 and not viewer._door._pages
        assert not [one for one in gc.get_objects() if type(one) is Session and one._pipeline is viewer._pipeline]


def test_an_end_that_is_told_before_the_beginning_leaves_nothing(scene):
    """viser awaits its callbacks: one that is slow lets the end overtake the beginning."""
    told = []

    async def slow(client):
        while not client._websock_connection.get_message_buffer().done:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)

    async def script(viewer):
        async with ScriptedClient.connect(viewer.url, width=160, height=90) as client:
            await client.orbit(0)
            await asyncio.sleep(0.2)
        while len(told) < 2:
            await asyncio.sleep(0.01)

    with viewing(scene) as viewer:
        ours = viewer._connected

        async def connected(client):
            await ours(client)
            told.append("begin")

        async def gone(_):
            told.append("end")

        viewer._server._client_connect_cb[:] = [slow, connected]
        viewer._server.on_client_disconnect(gone)
        asyncio.run(asyncio.wait_for(script(viewer), 10))
        assert told == ["end", "begin"] and not viewer.sessions and len(viewer._pipeline) == 0


# A short form of tools/soak.py, which flies for an hour


def test_a_short_soak(scene_file, tmp_path):
    words = ["--minutes", "0.08", "--every", "1", "--size", "160", "90", "--csv", f"{tmp_path}/soak.csv", "--scene", str(scene_file)]
    samples = soak.main(words)
    assert len(samples) >= 4 and all(one.fps > 0 for one in samples)
    assert samples[-1].threads == samples[1].threads and samples[-1].files == samples[1].files
    assert samples[-1].megabytes - samples[1].megabytes < 15
    with (tmp_path / "soak.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["megabytes"]) for row in rows] == pytest.approx([one.megabytes for one in samples], rel=1e-3)


def test_the_slope_is_per_hour():
    flat = [soak.Sample(10.0 * n, 200.0 + 0.01 * n, 8, 14, 20.0) for n in range(100)]
    assert soak.slope(flat) == pytest.approx(3.6) and "+3.6 MB per hour" in soak.table(flat)
