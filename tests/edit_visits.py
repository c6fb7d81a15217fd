"""Viewers whose scenes are edited, and what their pages are told."""

from __future__ import annotations

import re
from contextlib import contextmanager

import numpy as np
from aiohttp import ClientSession
from test_viewer import coloured_ball, nobody_left

from splatview import Scene, load, save
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.desk import open_document


def same(one, other):
    names = "means", "quats", "log_scales", "opacity_logits", "sh"
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


async def fetched(viewer, client, after=0):
    """The answer to the download that the page was told of: its status, name and content."""
    told = await client.until(lambda: [found for one in client.scripts[after:] if (found := re.search(r'"(/download/[^"]+)"', one))])
    async with ClientSession() as http, http.get(viewer.url.rstrip("/") + told[-1][1]) as answer:
        return answer.status, answer.headers.get("Content-Disposition", ""), await answer.read()


@contextmanager
def edited(tmp_path):
    """A viewer of two layers, one of them hidden, whose pages may name files in `tmp_path`."""
    scene = Scene({"ball": Layer(coloured_ball(400)), "twin": Layer(coloured_ball(50, seed=1), visible=False)})
    with Viewer(scene, ViewerSettings(port=0, up="z", open=False, root=tmp_path)) as running:
        yield running
        nobody_left(running)


def dressed(scene, tmp_path):
    """The scene with its layers read from a file, as the command line does."""
    path = tmp_path / "ball.ply"
    save(scene, path)
    return load(path).read_from(str(path))


def opened_again(path, **settings):
    scene, document = open_document(path)
    return Viewer(scene, ViewerSettings(port=0, open=False, **settings), key="again", document=document, path=path)


def told(client, text):
    return any(text in str(props.get("content")) for _, props in client.widgets.values()) or any(
        text in body for _, body in client.notices.values()
    )
