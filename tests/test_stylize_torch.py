"""The average over frames by PyTorch is that of the specification, and so that of the native kernels."""

import numpy as np
import numpy_warps
import pytest
import torch
from drawn_planes import drawn, looking
from warp_cases import CARDS, VIEWS, agree, any_history, any_picture

from splatview.frame import Frame
from splatview.stylize import accumulate_torch
from splatview.stylize.accumulate import Accumulation
from splatview.stylize.temporal import Steady


class Tinted:
    """Another brightness in each frame."""

    def __init__(self):
        self.number = 0

    def style(self, frame):
        self.number += 1
        return (frame.rgb8 * (0.5 + 0.1 * (self.number % 4))).astype(np.uint8)


@pytest.mark.parametrize("view", sorted(VIEWS.keys() - {"finer"}))  # noise tells how PyTorch resizes from how OpenCV does
def test_an_average_is_that_of_the_specification(view):
    before, now = VIEWS[view]
    history, picture, rule = any_history(before), any_picture(now.rgb8.shape[1::-1]), Accumulation()
    marks, average = (torch.from_numpy(image).permute(2, 0, 1) for image in (history.marks, history.average))
    theirs = accumulate_torch.History(before.camera, marks, average[:3], average[3:])
    after = accumulate_torch.renewed(theirs, now, picture, rule, torch.device("cpu"))
    marks, average, count = numpy_warps.averaged(history, now, picture, rule)
    assert agree(after.marks.permute(1, 2, 0), marks, 0.03) and agree(after.picture.permute(1, 2, 0), average, 0.03)
    assert agree(after.count[0], count, 0.02)


@pytest.mark.parametrize("sizes", [[(97, 64)] * 8, [(192, 128), (192, 128), (64, 43), (64, 43), (131, 87), (131, 87)]])
def test_both_give_the_same_pictures(sizes):
    one, two = Steady(Tinted()), Steady(Tinted(), device="cpu")
    for step, (width, height) in enumerate(sizes):
        camera = looking((0.1 * step - 0.4, 0.05 * step, -1 + 0.1 * step), width=width, height=height, offset=(3.3, -2.1))
        frame = drawn(camera, CARDS)
        ours, theirs = one.style(frame), two.style(frame)
        assert theirs.dtype == np.uint8 and theirs.shape == ours.shape and agree(ours, theirs, 1)
    assert np.median(one._history.count) == pytest.approx(np.median(two._history.count.numpy()), rel=1e-3)
    assert np.abs(one._history.marks[..., 3] - two._history.marks[3].numpy()).max() == 0


def test_both_begin_anew_behind_the_camera_and_without_depth():
    one, two = Steady(Tinted()), Steady(Tinted(), device="cpu")
    for target in ((0, 0, 1), (0, 0.1, -1), (0.3, 0.1, -1)):
        frame = drawn(looking((0, 0, 0), target), CARDS)
        assert agree(one.style(frame), two.style(frame), 1)
    video = Frame(frame.camera, {"rgb": frame.rgb8 / np.float32(255)})
    assert agree(one.style(video), two.style(video), 1)
