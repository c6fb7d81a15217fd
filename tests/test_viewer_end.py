"""The end of a viewer, in the middle of everything: processes of their own, ended by Ctrl+C and SIGTERM."""

import asyncio
import gc
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from contextlib import contextmanager
from pathlib import Path

import many_clients
import numpy as np
import pytest
from aiohttp import ClientSession
from scripted_client import ScriptedClient
from test_viewer import coloured_ball, nobody_left
from test_viewer_bad_days import come_and_go, viewing

from splatview import Gaussians, Scene, load, save
from splatview.scene import Layer

SECOND = max(1.0, 1.5 * os.getloadavg()[0] / (os.cpu_count() or 1))  # in which the viewer ends; more where others keep the machine busy


@pytest.fixture(scope="module")
def scene_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("scene") / "ball.ply"
    save(Scene({"ball": Layer(coloured_ball(500))}), path)
    return path


@pytest.fixture(scope="module")
def large_file(tmp_path_factory):
    """What takes seconds to read, and to draw at the largest size."""
    count = 1_500_000
    rng = np.random.default_rng(0)
    sh = np.zeros((count, 1, 3), np.float32)
    means = rng.normal(size=(count, 3)).astype(np.float32)
    quats = np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1))
    path = tmp_path_factory.mktemp("large") / "large.ply"
    save(Scene({"large": Layer(Gaussians(means, quats, np.full((count, 3), -3.5, np.float32), np.full(count, -2, np.float32), sh))}), path)
    yield path
    path.unlink()


@contextmanager
def started(path, ready=True, **more):
    words = [sys.executable, "-m", "splatview", "view", str(path), "--port", "0", "--no-open", "--up", "z"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, env=os.environ | more, **pipes) as process:
        assert process.stdout
        try:
            url = re.findall(r"http://\S+", process.stdout.readline())[0] if ready else ""
            yield process, url
        finally:
            process.kill()


def ends(process, number):
    """Seconds that the end took; the process ended as it should, and said nothing."""
    began = time.monotonic()
    process.send_signal(number)
    code = process.wait(20)
    took = time.monotonic() - began
    assert code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert process.stderr.read() == "" and process.stdout.read() == ""
    return took


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_with_clients_one_of_them_stuck_and_an_upload(scene_file, tmp_path, number):
    async def script(process, url):
        port = int(url.rstrip("/").rsplit(":", 1)[1])
        async with ScriptedClient.connect(url, width=160, height=90) as client, many_clients.stalled(url, (160, 90)):
            turning = asyncio.create_task(many_clients.keep_turning(client))
            await client.until(lambda: len(client.arrivals) > 3)
            with socket.create_connection(("127.0.0.1", port)) as upload:
                origin = f"http://127.0.0.1:{port}"
                head = f"POST /upload?name=x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: {origin}\r\nContent-Length: 9000000\r\n\r\n"
                upload.sendall(head.encode() + b"x" * 500_000)
                await asyncio.sleep(0.3)
                assert list(tmp_path.rglob("x"))
                took = await asyncio.to_thread(ends, process, number)
            turning.cancel()
            await asyncio.gather(turning, return_exceptions=True)
            return took

    with started(scene_file, TMPDIR=str(tmp_path)) as (process, url):
        took = asyncio.run(script(process, url))
    assert took < SECOND and not list(tmp_path.iterdir())


def reads(process, path):
    """Wait until the process has the file open."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                if link.readlink() == path:
                    return
            except OSError:  # closed in the meantime
                pass
        time.sleep(0.005)
    raise AssertionError(f"{path} was never opened")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_while_a_file_is_read(large_file, number):
    with started(large_file, ready=False) as (process, _):
        reads(process, large_file)
        time.sleep(0.2)
        assert ends(process, number) < SECOND


def test_the_end_while_a_picture_at_rest_and_a_screenshot_are_drawn(large_file):
    async def script(process, url):
        async with ScriptedClient.connect(url, width=8000, height=6000) as client:
            await client.orbit(0)
            await client.until(lambda: "Save PNG" in client.widgets, 20)
            await client.set("Size", [8000, 8000])
            await client.press("Save PNG")
            await asyncio.sleep(0.6)
            return await asyncio.to_thread(ends, process, signal.SIGTERM)

    with started(large_file) as (process, url):
        assert asyncio.run(script(process, url)) < SECOND


def test_waiting_takes_no_lock_that_the_end_needs(scene_file, monkeypatch):
    """A signal between the taking and the giving back would leave it taken: so one viewer hung for ever."""
    with viewing(load(scene_file)) as viewer:
        monkeypatch.setattr(viewer._closed, "wait", lambda *_: pytest.fail("the event's lock was taken"))
        closing = threading.Timer(0.3, viewer.close)
        closing.start()
        viewer.wait()
        closing.join()


def test_a_closed_viewer_leaves_no_thread(scene_file):
    before = set(threading.enumerate())
    with viewing(load(scene_file)) as viewer:
        viewer.studio.loading.add(scene_file).result(10)
        asyncio.run(come_and_go(viewer.url, 2, at_once=2))
    time.sleep(0.1)
    assert not [one for one in set(threading.enumerate()) - before if one.name.startswith("splatview")]


def test_a_closed_viewer_lets_go_of_its_scene(scene_file):
    """Also after an upload: whatever aiohttp and viser keep of a viewer, it is not what costs memory."""

    async def script(viewer):
        await come_and_go(viewer.url, 3, at_once=3)
        await asyncio.to_thread(nobody_left, viewer)  # viser warns of what is told to a page that is just leaving
        async with ClientSession(headers={"Origin": viewer.url.rstrip("/")}) as http:
            answer = await http.post(f"{viewer.url}upload?name=ball.ply", data=scene_file.read_bytes())
            assert await answer.json() == {"added": "ball 2"}

    with viewing(load(scene_file)) as viewer:
        asyncio.run(script(viewer))
        held = [weakref.ref(one) for one in (viewer, viewer.renderer, *(layer.content for layer in viewer.scene.layers.values()))]
    del viewer
    gc.collect()
    assert len(held) == 4 and not any(one() for one in held)
