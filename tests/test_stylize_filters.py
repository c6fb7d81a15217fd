"""Every filter: any size, the same each time, on any thread; controls that do something and have ends."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest
from stylized_frames import camera, clouds, frame, plane_depth

from splatview.camera import Camera
from splatview.cli.flight import Motion
from splatview.frame import Frame
from splatview.stylize.controls import sliders
from splatview.stylize.filters import FILTERS
from splatview.stylize.filters.drawn import Pencil
from splatview.stylize.filters.painterly import Oil, Watercolour

NAMES = list(FILTERS)
every_filter = pytest.mark.parametrize("name", NAMES)


def scene_frame(width=160, height=90, eye=(0.4, -4, 1.5), seed=0):
    """Half of it is a floor, the rest is empty."""
    view = camera(width, height, eye)
    depth = plane_depth(view, (0, 0, 1), 0)
    return frame(clouds(height, width, seed), depth, depth > 0, view)


def without_depth(one):
    return Frame(one.camera, {"rgb8": one.rgb8})


@every_filter
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (5, 7), (1, 300), (300, 1), (641, 359)])
def test_a_picture_of_any_size_is_styled_at_its_size(name, size):
    for one in (scene_frame(*size), without_depth(scene_frame(*size))):
        styled = FILTERS[name]().style(one)
        assert styled.shape == one.rgb8.shape and styled.dtype == np.uint8


@every_filter
def test_the_same_frame_gives_the_same_picture_and_is_left_as_it_was(name):
    one = scene_frame()
    before = {key: image.copy() for key, image in one.images.items()}
    first = FILTERS[name]().style(one).copy()
    FILTERS[name]().style(scene_frame(seed=1))
    assert (FILTERS[name]().style(one) == first).all()
    assert all((one.images[key] == image).all() for key, image in before.items())


@every_filter
def test_threads_do_not_meet_in_a_filter(name):
    frames = [scene_frame(seed=seed, width=160 + 32 * (seed % 2)) for seed in range(4)]
    alone = [FILTERS[name]().style(one) for one in frames]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(FILTERS[name]().style, frames * 4))
    assert all((a == b).all() for a, b in zip(alone * 4, together, strict=True))


@every_filter
def test_a_picture_of_floats_is_styled_as_its_bytes(name):
    one = scene_frame()
    floats = Frame(one.camera, {"rgb": one.rgb8 / np.float32(255), **{key: one.images[key] for key in ("depth", "alpha")}})
    assert (FILTERS[name]().style(one) == FILTERS[name]().style(floats)).all()


@every_filter
def test_every_slider_has_ends_and_does_something(name):
    one_frame = scene_frame(320, 180)
    for control, one in sliders(FILTERS[name]).items():
        least, most = (replace(FILTERS[name](), **{control: end}) for end in (one.least, one.most))
        assert (least.style(one_frame) != most.style(one_frame)).any(), control
        assert 2 <= len(sliders(FILTERS[name])) <= 4 and one.what
        for beyond in (one.least - one.step, one.most + one.step, float("nan")):
            with pytest.raises(ValueError, match=rf"^{FILTERS[name].__name__}\.{control}: expected .* to .*, got .*$"):
                replace(FILTERS[name](), **{control: beyond})


@every_filter
def test_controls_go_through_json(name):
    value = FILTERS[name]()
    assert FILTERS[name](**json.loads(json.dumps(asdict(value)))) == value


@pytest.mark.parametrize(
    ("style", "most"), [(Watercolour(edges=0, paper=1), 0.5), (Pencil(lines=0, grain=1, shading=1), 0.65), (Oil(), 0.75)]
)
@pytest.mark.parametrize("size", [(320, 180), (640, 360)])
def test_what_is_anchored_moves_as_the_surfaces_do_and_so_does_its_paper(style, most, size):
    """Over a floor of one colour, where nothing but patterns is seen: what differs from the frame before, moved as the floor is."""

    def seen(eye):
        view = Camera.look_at(eye, np.add(eye, (0.1, 1, -0.5)), (0, 0, 1), 0.9, *size)
        depth = plane_depth(view, (0, 0, 1), 0)
        return frame(np.full((size[1], size[0], 3), 150), depth, depth > 0, view)

    frames = seen((0, -3, 1.5)), seen((0.03, -2.95, 1.48))
    motion = Motion.between(frames[1], frames[0])
    assert motion.visible.mean() > 0.5 and motion.pixels > 2

    def changed(style):
        before, now = map(style.style, frames)
        return np.abs(now - motion.of(before)).mean(-1)[motion.visible].mean()

    assert changed(style) < most * changed(replace(style, anchored=False))


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(FILTERS[name](), "anchored")])
def test_without_depth_what_is_anchored_lies_on_the_screen(name):
    anchored, fixed = (replace(FILTERS[name](), anchored=stuck) for stuck in (True, False))
    one = scene_frame()
    assert (anchored.style(one) != fixed.style(one)).any()
    assert (anchored.style(without_depth(one)) == fixed.style(without_depth(one))).all()
