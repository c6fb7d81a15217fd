"""How `splatview stylize` ends: what is whole is kept, and what is not leaves nothing."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import ssl
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny_videos
from aiohttp import ClientSession, TCPConnector, WSMsgType
from style_words import a_scene, pictures, until
from test_viewer_door import certificate


@pytest.fixture
def video(tmp_path):
    return tiny_videos.write(tmp_path / "walk.mp4", count=10, sound="aac")


@pytest.fixture
def scene(tmp_path):
    return a_scene(tmp_path)


def started(*words, code=None):
    command = [sys.executable, *(["-c", code] if code else ["-m", "splatview"]), "stylize", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_file_that_is_interrupted_leaves_what_was_there(tmp_path, scene):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"what was there")
    with started(scene, "-o", target, "--frames", "3000", "--size", "640x360") as process:
        until(lambda: list(tmp_path.glob(".out*")))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert "Traceback" not in process.stderr.read()
    assert target.read_bytes() == b"what was there" and sorted(one.name for one in tmp_path.iterdir()) == ["ball.ply", "out.mp4"]


def test_a_file_that_is_interrupted_while_it_is_finished_leaves_none(tmp_path):
    """Its sound is much longer than what is seen, and is encoded anew."""
    source = tiny_videos.write(tmp_path / "in.mkv", count=5, sound="flac", seconds=600)
    with started(source, "-o", tmp_path / "out.webm") as process:
        until(lambda: any(one.stat().st_size > 300_000 for one in tmp_path.glob(".out*")))  # pictures take a hundredth of it
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 130
        assert process.stderr.read() == ""
    assert [one.name for one in tmp_path.iterdir()] == ["in.mkv"]


CAMERA = """
import sys
sys.path[:0] = {folders!r}
from style_words import Capture
from splatview.cli import inputs, main
of_webcam = inputs.of_webcam
inputs.of_webcam = lambda number, size, most: of_webcam(number, size, most, opened=lambda number: Capture(wait=0.02))
sys.exit(main())
"""


def test_the_recording_of_a_webcam_ends_as_a_whole_video(tmp_path, request):
    target = tmp_path / "out.mp4"
    folders = [str(request.path.parent), str(request.path.parents[1] / "tools")]
    with started("0", "-o", target, "--style", "toon", code=CAMERA.format(folders=folders)) as process:
        until(lambda: list(tmp_path.glob(".out*")))
        time.sleep(0.5)
        for _ in range(3):  # people who are in a hurry lose nothing
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        printed = process.stdout.read()
        assert "Traceback" not in process.stderr.read() and "captured" in printed
    found = pictures(target)
    times = np.diff([float(one.time) for one in found])
    assert len(found) > 5 and (times > 0).all() and np.median(times) < 0.2


async def look(url, trusted=None):
    """What the page is shown, and told."""
    async with ClientSession(connector=TCPConnector(ssl=ssl.create_default_context(cafile=trusted) if trusted else True)) as client:
        async with client.get(url) as answer:
            assert answer.status == 200 and "<canvas" in await answer.text()
        async with client.ws_connect(f"{url}pictures") as page, asyncio.timeout(20):
            seen, told = 0, {}
            while seen < 3 or told.get("counts", {}).get("shown", 0) < 3:
                message = await page.receive()
                if message.type is WSMsgType.BINARY:
                    seen += 1
                    await page.send_str("drawn")
                else:
                    told = json.loads(message.data)
            return told


@pytest.mark.parametrize(("kind", "code", "https"), [(signal.SIGINT, 130, False), (signal.SIGTERM, 143, True)])
def test_the_page_shows_a_video_over_and_over_until_it_is_ended(tmp_path, video, kind, code, https):
    cert, key = certificate(tmp_path) if https else (None, None)
    with started(
        video, "--style", "toon", "--port", "0", "--no-open", *(["--tls-cert", cert, "--tls-key", key] if https else [])
    ) as process:
        try:
            (url,) = re.findall(r"https?://\S+", process.stdout.readline())
            assert url.startswith("https") == https
            told = asyncio.run(look(url.replace("127.0.0.1", "localhost"), cert))
            assert told["error"] == "" and {one["name"] for one in told["stages"]} == {"read", "style", "show"}
            time.sleep(0.5)  # longer than the video
            process.send_signal(kind)
            assert process.wait(20) == code
            printed = process.stdout.read()
            assert int(re.search(r"captured (\d+)", printed)[1]) > 10 and printed.count("\n") == 1
            assert process.stderr.read() == ""
        finally:
            process.kill()
