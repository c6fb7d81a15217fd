"""Hands on the document: who draws, from where, and how gizmos are dragged through the door."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import contextmanager

import numpy as np
from hypothesis import strategies as st
from test_viewer import coloured_ball, nobody_left

from splatview import Camera, Scene
from splatview.edit.select import Look
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.editor import Picking, query_of

CAMERA = Camera.look_at((0, -4, 0), (0, 0, 0), (0, 0, 1), 0.8, 320, 180)
LOOK = Look()
PLACEMENTS = st.builds(
    lambda quat, at, scale: Similarity(tuple(quat), tuple(at), scale),
    st.lists(st.floats(0.1, 1), min_size=4, max_size=4),
    st.lists(st.floats(-5, 5), min_size=3, max_size=3),
    st.floats(0.1, 10),
)


def points(*places):
    return np.array(places, np.float64)


def asks(tool, *places, **picking):
    return query_of(tool, points(*places), 0.1, CAMERA, Picking(**picking), LOOK)


class Hand:
    def __init__(self):
        self.used = []

    def use(self, tool, radius=None, hint=None):
        self.used.append((tool, hint))

    def radius(self, fraction):
        self.used.append(("radius", fraction))

    def notify(self, title, text):
        self.used.append((title, text))


class Visit:
    """A session that always saw the ball from the same place."""

    look = LOOK

    def __init__(self):
        self.asked = []

    def camera_of(self, number):
        self.asked.append(number)
        return CAMERA

    def point_at(self, number, x, y):
        found = Future()
        found.set_result(None if x > 0.9 else np.array([x, y, 0.0]))
        return found


def selected(state):
    return state.selected.get("ball", np.zeros(1000, bool))


def said(client, text):
    return any(text in str(properties.get("content", "")) for _, properties in client.widgets.values())


def scope(viewer):
    [one] = viewer._server.get_clients().values()
    return str(one.client_id)


async def drag(client, viewer, name, position, wxyz=(1.0, 0.0, 0.0, 0.0), end=True):
    owner = scope(viewer)
    await client.send("TransformControlsDragStartMessage", name=name, owner=owner)
    await client.send("TransformControlsUpdateMessage", name=name, wxyz=list(wxyz), position=[float(x) for x in position], owner=owner)
    if end:
        await client.send("TransformControlsDragEndMessage", name=name, owner=owner)


@contextmanager
def balls(tmp_path):
    """A viewer of a ball, whose pages may name files in `tmp_path`."""
    with Viewer(Scene({"ball": Layer(coloured_ball(3000))}), ViewerSettings(port=0, up="z", open=False, root=tmp_path)) as running:
        yield running
        nobody_left(running)
