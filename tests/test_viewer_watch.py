"""A field is looked at while it is trained: in a page of its own, and by `splatview fit --watch` as people run it."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import urllib.request

import captures
import numpy as np
import pytest
from scripted_client import ScriptedClient
from small_fields import ball
from test_viewer import nobody_left, scripted

import splatview
from splatview import Scene
from splatview.cli import main
from splatview.edit.operations import ShowLayer
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.live import MOST, Live, Moment


def red(pixels):
    return (np.abs(pixels.astype(int) - [230, 26, 26]).max(-1) < 40).sum()


def test_the_page_shows_the_field_as_it_grows_and_stops_it_when_asked():
    small, large = ball(radius=0.2), ball(radius=0.3)
    with Viewer(Scene({"fox": Layer(small)}), ViewerSettings(port=0, open=False)) as viewer:
        live = viewer.studio.live

        async def script(client):
            before = red((await client.rest()).pixels)
            assert "Stop and save" not in client.widgets
            live.tell({"step": "1,234"}, Moment(0.1, 0.5, None))
            await client.until(lambda: "Stop and save" in client.widgets)
            seconds = [viewer.sessions[0].resting_seconds]
            viewer.world.renew(small, large)
            await client.until(lambda: red(client.arrivals[-1].pixels) > 1.5 * before > 0)
            await client.rest()
            seconds.append(viewer.sessions[0].resting_seconds)
            await asyncio.sleep(0.2)
            seconds.append(viewer.sessions[0].resting_seconds)
            assert 0 < seconds[0] < seconds[1] == seconds[2], "what it costs to look is counted, and nothing else"
            assert viewer.world.document.cursor == 0 and not viewer.world.document.entries, "there is nothing to undo"
            await asyncio.wrap_future(viewer.world.do(ShowLayer("fox", False)))
            viewer.world.renew(large, small)
            assert not red((await client.rest()).pixels), "hidden is hidden, whatever it becomes"
            assert not live.stopping
            await client.press("Stop and save")
            await client.until(lambda: live.stopping)
            live.tell({"step": "1,300"}, Moment(0.2, 0.4, 20.0), over=True)
            await client.until(lambda: client.widgets["Stop and save"][1].get("disabled"))
            await client.until(lambda: any("1,300" in str(one.get("content")) for _, one in client.widgets.values()))

        scripted(viewer, script)
        nobody_left(viewer)

        async def late(client):
            await client.rest()
            assert client.widgets["Stop and save"][1]["disabled"]

        scripted(viewer, late)


def test_curves_stay_short_and_keep_their_ends():
    live, told = Live(), []
    live.changed = lambda: told.append(len(live.moments))
    for number in range(5 * MOST):
        live.tell({"step": str(number)}, Moment(float(number), 1.0, None))
    minutes = [one.minutes for one in live.moments]
    assert max(told) <= MOST and len(told) == 5 * MOST
    assert minutes[0] == 0 and minutes[-1] == 5 * MOST - 1 and minutes == sorted(minutes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return captures.write(tmp_path_factory.mktemp("capture") / "ball", photos=9)


def fit(folder, target, *flags):
    words = [sys.executable, "-m", "splatview", "fit", str(folder), str(target), "--watch", "--port", "0", "--no-open"]
    more = ["--device", "cpu", "--log2-size", "10", *flags]
    return subprocess.Popen([*words, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def line_with(process, text):
    return next(line for line in process.stdout if text in line)


def test_whoever_ends_a_training_from_the_page_gets_its_file(folder, tmp_path):
    target = tmp_path / "ball.ingp"
    with fit(folder, target, "--minutes", "10") as process:
        try:
            [address] = re.findall(r"http://\S+", line_with(process, "splatview is ready"))
            asyncio.run(under_way(address, stop=True))
            line_with(process, "is written; the page shows it until Ctrl+C")
            with urllib.request.urlopen(address, timeout=20) as page:
                assert page.status == 200
            assert list(splatview.load(target).visible_fields) == ["ball"] and list(tmp_path.iterdir()) == [target]
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130 and "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_ctrl_c_interrupts_a_training_that_is_watched(folder, tmp_path):
    with fit(folder, tmp_path / "ball.ingp", "--minutes", "10") as process:
        try:
            [address] = re.findall(r"http://\S+", line_with(process, "splatview is ready"))
            asyncio.run(under_way(address, stop=False))
            process.send_signal(signal.SIGINT)
            line_with(process, "--resume goes on with")
            assert process.wait(20) == 130 and "Traceback" not in process.stderr.read()
        finally:
            process.kill()
    assert [path.name for path in tmp_path.iterdir()] == ["ball.ingp.ckpt"]


async def under_way(address, stop):
    """Wait until the page says that something was learned."""
    async with ScriptedClient.connect(address, width=64, height=36) as client:
        await client.orbit(0)
        await client.until(lambda: any(">loss<" in str(one.get("content")) for _, one in client.widgets.values()), timeout=60)
        if stop:
            await client.press("Stop and save")


def test_a_taken_port_is_one_line(folder, tmp_path, capsys):
    with Viewer(Scene(), ViewerSettings(port=0, open=False)) as viewer:
        port = re.findall(r":(\d+)", viewer.url)[0]
        flags = ["--watch", "--no-open", "--steps", "1", "--port", port, "--device", "cpu", "--log2-size", "10"]
        assert main(["fit", str(folder), str(tmp_path / "ball.ingp"), *flags]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and port in said
