"""Printed filters: dots as dark as the picture in the mean, on the screen or stuck to the scene; blocks of one colour."""

import numpy as np
import pytest
from stylized_frames import camera, clouds, frame, plane_depth

from splatview.camera import Camera
from splatview.stylize.filters.screens import Halftone, Pixel, evened, shown
from splatview.stylize.filters.tones import scale

SIZE = (180, 320)


def flat(tone, **more):
    return frame(np.full((*SIZE, 3), tone), **more)


@pytest.mark.parametrize("sharpness", [0, 0.6, 1])
@pytest.mark.parametrize("anchored", [False, True])
def test_a_print_is_as_dark_as_the_picture(sharpness, anchored):
    view = camera(SIZE[1], SIZE[0], eye=(0, 0.01, 5))  # from above, onto the floor
    style = Halftone(size=12, sharpness=sharpness, contrast=0, anchored=anchored)
    depth = plane_depth(view, (0, 0, 1), 0)
    means = [style.style(flat(tone, depth=depth, view=view)).mean() for tone in range(0, 256, 15)]
    np.testing.assert_allclose(means, range(0, 256, 15), atol=8 if anchored else 4)
    assert (np.diff(means) > 0).all()


@pytest.mark.parametrize("inks", ["colours", "black"])
def test_a_darker_picture_is_printed_darker_whatever_the_contrast(inks):
    for contrast in (0.0, 0.5, 1.0):
        means = [Halftone(inks=inks, contrast=contrast).style(flat(tone, depth=4.0)).mean() for tone in range(0, 256, 15)]
        assert (np.diff(means) > 0).all() and means[-1] - means[0] > 180


def test_each_ink_prints_its_own_colour():
    for channel, colour in enumerate(np.eye(3) * 120):
        printed = Halftone(contrast=0).style(flat(255 - colour))
        assert printed[..., channel].std() > 40 and np.delete(printed, channel, -1).min() > 250


def test_white_and_black_are_printed_white_and_black():
    picture = np.array([[0, 255]], np.uint8).repeat(256, axis=0)
    screen = np.arange(256, dtype=np.uint8)[:, None].repeat(2, axis=1)
    for sharp in (0.0, 0.5, 1.0, 4.0):
        assert (shown(picture, screen, sharp) == picture).all()
    tones = np.arange(256, dtype=np.uint8)[None].repeat(256, axis=0)
    assert (shown(tones, screen.repeat(128, axis=1), 0.0) == tones).all()


@pytest.mark.parametrize("sharp", [0.0, 0.7, 3.0, 14.0])
def test_tones_are_evened_so_that_their_mean_stays(sharp):
    thresholds = np.linspace(0, 255, 511).astype(np.uint8)[:, None]
    means = shown(evened(sharp)[None].repeat(511, axis=0), thresholds.repeat(256, axis=1), sharp).mean(axis=0)
    np.testing.assert_allclose(means, np.arange(256), atol=2.5)


@pytest.mark.parametrize("style", [Halftone(size=24, anchored=True), Halftone(size=24)])
def test_dots_stick_to_the_floor_only_if_they_are_anchored(style):
    """The camera moves by some pixels over a grey floor: its dots move with it."""
    distance, moved = 5.0, 9
    frames = []
    for aside in (0.0, 1.0):
        first = camera(320, 180, eye=(0, 0.001, distance))
        offset = aside * moved * distance / first.K[0, 0]
        pose = first.camera_from_world.copy()
        pose[0, 3] += offset
        view = Camera(first.K, pose, 320, 180)
        frames.append(frame(np.full((180, 320, 3), 140), plane_depth(view, (0, 0, 1), 0), view=view))
    still, slid = (style.style(one).astype(float) for one in frames)
    inside = slice(30, -30)
    back = np.roll(slid, -moved, axis=1)
    with_floor, with_screen = (np.abs(still - other)[inside, inside].mean() for other in (back, slid))
    assert with_floor < 0.35 * with_screen if style.anchored else with_screen == 0 and with_floor > 20


@pytest.mark.parametrize("size", [(180, 320), (45, 77), (3, 500)])
@pytest.mark.parametrize("control", [2, 6, 31])
def test_a_block_has_one_colour_that_of_its_mean(size, control):
    picture = clouds(*size)
    side = max(1, round(control * scale(*size)))
    styled = Pixel(size=control, dither=0, levels=16, colour=1).style(frame(picture)).astype(float)
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            block = np.s_[top : top + side, left : left + side]
            assert np.ptp(styled[block].reshape(-1, 3), axis=0).max() == 0
            if top + side <= size[0] and left + side <= size[1]:
                assert np.abs(styled[block][0, 0] - picture[block].reshape(-1, 3).mean(0)).max() <= 0.5 * 255 / 15 + 1.5


@pytest.mark.parametrize("levels", [2, 5, 16])
def test_a_picture_of_blocks_has_so_many_tones(levels):
    styled = Pixel(levels=levels, dither=1).style(frame(clouds(180, 320)))
    assert set(np.unique(styled)) <= set(np.round(np.arange(levels) * 255 / (levels - 1)).astype(int))


def test_dither_keeps_the_mean_where_levels_do_not():
    errors = [abs(Pixel(size=2, levels=2, dither=dither, colour=1).style(flat(100)).mean() - 100) for dither in (0, 1)]
    assert errors[0] == 100 and errors[1] < 10


def test_other_inks_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^Halftone\.inks: expected colours or black, got 'gold'$"):
        Halftone(inks="gold")
