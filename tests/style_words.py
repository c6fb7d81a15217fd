"""`splatview stylize` as tests call it, and what it is given."""

from __future__ import annotations

import time

import numpy as np
from PIL import Image
from test_viewer import coloured_ball
from tiny_videos import smooth

from splatview import Camera, RenderOptions, Scene, load, open_renderer, save
from splatview.cli import main
from splatview.formats import save_cameras
from splatview.outputs.video import VideoReader
from splatview.scene import Layer


def picture(path):
    with Image.open(path) as image:
        return np.array(image)


def pictures(path):
    with VideoReader(path) as video:
        return list(video.pictures())


def stylize(*words):
    return main(["stylize", *map(str, words)])


def a_scene(folder):
    """A file of a ball in it."""
    save(Scene({"ball": Layer(coloured_ball(800))}), folder / "ball.ply")
    return folder / "ball.ply"


def a_path(folder):
    """A file of cameras around it."""
    cameras = [Camera.look_at((np.sin(a) * 4, -np.cos(a) * 4, 1), (0, 0, 0), (0, 0, 1), 0.8, 64, 36) for a in np.linspace(0, 0.3, 4)]
    save_cameras(cameras, folder / "path.json")
    return folder / "path.json"


def drawn(scene, cameras):
    options = RenderOptions(outputs=("rgb8", "alpha", "depth"))
    draw, content = open_renderer("cpu"), scene if isinstance(scene, Scene) else load(scene)
    return [draw.render(content, camera, options) for camera in cameras]


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


class Capture:
    """What OpenCV gives of a camera: pictures in BGR."""

    def __init__(self, count=None, wait=0.0):
        self.count, self.wait, self.given, self.told = count, wait, 0, {}

    def isOpened(self):
        return True

    def set(self, name, value):
        self.told[name] = value

    def get(self, name):
        return 25.0

    def read(self):
        time.sleep(self.wait)
        if self.given == self.count:
            return False, None
        self.given += 1
        return True, smooth(self.given)[..., ::-1]

    def release(self):
        self.count = self.given
