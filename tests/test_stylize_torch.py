"""The average over frames by PyTorch is that by OpenCV, up to the steps of 1/32 pixel that OpenCV 4 takes places in."""

import numpy as np
import pytest
from drawn_planes import Card, drawn, looking

from splatview.frame import Frame
from splatview.stylize.temporal import Steady

CARDS = [Card((0, 0, 3), phase=0.4, tilt=0.3), Card((0.1, 0, 1.6), (0.35, 0.3), phase=5.0)]


class Tinted:
    """Another brightness in each frame."""

    def __init__(self):
        self.number = 0

    def style(self, frame):
        self.number += 1
        return (frame.rgb8 * (0.5 + 0.1 * (self.number % 4))).astype(np.uint8)


def agree(ours, theirs):
    """How many pixels in a hundred are about the same: at the edges of things a step of 1/32 pixel decides which of two is seen."""
    return 100 * np.mean(np.abs(ours.astype(int) - theirs).max(-1) <= 2)


@pytest.mark.parametrize("sizes", [[(97, 64)] * 8, [(192, 128), (192, 128), (64, 43), (64, 43), (131, 87), (131, 87)]])
def test_both_give_the_same_pictures(sizes):
    one, two = Steady(Tinted()), Steady(Tinted(), device="cpu")
    for step, (width, height) in enumerate(sizes):
        camera = looking((0.1 * step - 0.4, 0.05 * step, -1 + 0.1 * step), width=width, height=height, offset=(3.3, -2.1))
        frame = drawn(camera, CARDS)
        ours, theirs = one.style(frame), two.style(frame)
        assert theirs.dtype == np.uint8 and theirs.shape == ours.shape and agree(ours, theirs) > 98
    assert np.median(one._history.count) == pytest.approx(np.median(two._history.count.numpy()), rel=1e-3)
    assert np.abs(one._history.marks[..., 3] - two._history.marks[3].numpy()).max() == 0


def test_both_begin_anew_behind_the_camera_and_without_depth():
    one, two = Steady(Tinted()), Steady(Tinted(), device="cpu")
    for target in ((0, 0, 1), (0, 0.1, -1), (0.3, 0.1, -1)):
        frame = drawn(looking((0, 0, 0), target), CARDS)
        assert agree(one.style(frame), two.style(frame)) > 98
    video = Frame(frame.camera, {"rgb": frame.rgb8 / np.float32(255)})
    assert agree(one.style(video), two.style(video)) > 98
