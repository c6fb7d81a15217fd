"""A viewer whose pages choose styles, and what the pages see."""

from __future__ import annotations

import time
from contextlib import contextmanager

from test_viewer import coloured_ball

from splatview import Scene
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings


class Negative:
    """Turns colours over, and takes its time for it."""

    def __init__(self, seconds=0.0):
        self.seconds, self.frames = seconds, []

    def style(self, frame):
        self.frames.append(frame)
        time.sleep(self.seconds)
        return 255 - frame.rgb8


async def shows(client, true, timeout=10.0):
    """Wait until the last picture is as `true` says."""
    await client.until(lambda: client.arrivals and true(client.arrivals[-1].pixels.astype(int)), timeout)


def htmls(client):
    return [properties.get("content", "") for _, properties in client.widgets.values() if isinstance(properties.get("content"), str)]


def seen(client, label):
    return client.widgets[label][1]["visible"]


def value(client, label):
    return client.widgets[label][1]["value"]


async def opened(client):
    await client.until(lambda: "Stylise" in client.widgets and client.arrivals)


def at_home(monkeypatch, tmp_path):
    """With settings and models of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SPLATVIEW_MODELS", str(tmp_path / "models"))


@contextmanager
def styled(monkeypatch, tmp_path):
    """A viewer of a ball, at home in `tmp_path`."""
    at_home(monkeypatch, tmp_path)
    with Viewer(Scene({"ball": Layer(coloured_ball())}), ViewerSettings(port=0, open=False)) as viewer:
        yield viewer
