"""Drawn filters: lines where the picture or the scene has an edge and nowhere else, tones as dark as they were."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stylized_frames import camera, clouds, frame, plane_depth

from splatview.geometry import normalised
from splatview.stylize.filters.drawn import Ink, Pencil, Toon, steps
from splatview.stylize.filters.lines import both_lines, drawn_lines, form_lines

GREY = np.full((90, 160, 3), 140, np.uint8)


def stepped(near=2.0, far=3.0):
    """Depth [90, 160] that steps in the middle."""
    return np.where(np.arange(160) < 80, near, far) * np.ones((90, 1))


@pytest.mark.parametrize("style", [Ink(black=0), Toon(), Pencil(shading=0, grain=0)])
def test_a_line_is_drawn_where_the_depth_steps_between_equal_colours(style):
    with_step, without = style.style(frame(GREY, stepped())), style.style(frame(GREY))
    dark = with_step.astype(int).mean(-1) < without.astype(int).mean(-1) - 60
    assert dark[:, 74:86].any(axis=1).all()
    assert not dark[:, :70].any() and not dark[:, 90:].any()
    assert np.ptp(without.astype(int), axis=(0, 1)).max() == 0


@pytest.mark.parametrize("far", [2.4, 5.0, 0.0])
def test_the_line_of_a_step_is_on_its_nearer_side(far):
    lines = form_lines(frame(GREY, stepped(2.0, far)), 2.0, 0.6) > 100
    assert lines[:, 76:80].any(axis=1).all() and not lines[:, 81:].any()


@given(direction=st.tuples(*[st.floats(-1, 1)] * 3), detail=st.floats(0, 1), width=st.floats(0.5, 5))
@example(direction=(0.75, 1.0, 0.5), detail=1.0, width=1.0)
@example(direction=(0.625, 1.0, 0.875), detail=1.0, width=1.0)
def test_a_plane_has_no_lines_however_it_lies(direction, detail, width):
    view = camera(160, 90, eye=(0, -3, 0))
    depth = plane_depth(view, normalised(np.array([*direction[:2], direction[2] + 1e-3])), 0.2)
    everywhere = (depth > 0).all() and depth.max() < 1000
    assert not everywhere or form_lines(frame(GREY, depth, view=view), width, detail).max() < 20


def test_a_ridge_between_two_planes_is_a_line_and_a_valley_is_none():
    view = camera(160, 90, eye=(0, -3, 0))
    left, right = (plane_depth(view, normalised(np.array([side, -1.0, 0.0])), 0.5) for side in (-0.8, 0.8))
    assert form_lines(frame(GREY, np.minimum(left, right), view=view), 3.0, 1.0).max() == 0
    lines = form_lines(frame(GREY, np.maximum(left, right), view=view), 3.0, 1.0)
    assert lines[5:-5, 76:84].max(axis=1).min() > 60 and lines[5:-5, :60].max() == lines[5:-5, 100:].max() == 0


@given(brightness=st.floats(0.5, 1), detail=st.floats(0.4, 0.8))
def test_lines_are_as_many_in_the_dark(brightness, detail):
    tone = clouds(90, 160)[..., 1] // 2 + 120
    bright, dark = (drawn_lines(one, 2.0, detail).astype(int) for one in (tone, (tone * brightness).astype(np.uint8)))
    assert bright.mean() > 1 and abs(dark.mean() / bright.mean() - 1) < 0.25


def test_an_edge_has_a_line_on_its_darker_side_and_another_on_the_lighter():
    tone = np.where(np.arange(100) < 50, 80, 180).astype(np.uint8) * np.ones((60, 1), np.uint8)
    darker, lighter = both_lines(tone, 2.0, 0.6)
    assert darker[:, 46:50].max(axis=1).min() > 100 and darker[:, 50:].max() == 0
    assert lighter[:, 50:54].max(axis=1).min() > 100 and lighter[:, :50].max() == 0
    assert (drawn_lines(tone, 2.0, 0.6) == darker).all()


@given(tone=st.integers(0, 255), detail=st.floats(0, 1))
def test_one_tone_has_no_line(tone, detail):
    assert drawn_lines(np.full((40, 60), tone, np.uint8), 2.0, detail).max() == 0


@pytest.mark.parametrize("levels", [2, 3, 6, 12])
def test_toon_has_so_many_tones(levels):
    table = steps(levels).astype(int)
    assert table[0] == 0 and table[255] == 255 and (np.diff(table) >= 0).all()
    wanted = np.round(np.arange(levels) * 255 / (levels - 1))
    assert np.isin(table, wanted).mean() > 0.6
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 60, axis=0).repeat(3, axis=2).repeat(2, axis=1)
    styled = Toon(levels=levels, lines=0, colour=1).style(frame(ramp))
    assert np.isin(styled[..., 1], wanted).mean() > 0.5


@pytest.mark.parametrize("coloured", [False, True])
def test_a_pencil_draws_what_is_darker_darker(coloured):
    styled = [Pencil(coloured=coloured, grain=0).style(frame(np.full((90, 160, 3), tone), 3.0)).mean() for tone in range(0, 256, 32)]
    assert (np.diff(styled) > -2).all() and styled[-1] - styled[0] > 40


def test_coloured_pencils_have_the_colour_and_a_grey_one_has_none():
    red = frame(np.full((90, 160, 3), (150, 30, 30)), 3.0)
    tint = [np.diff(Pencil(coloured=coloured).style(red).mean((0, 1)))[0] for coloured in (True, False)]
    assert tint[0] < -20 and abs(tint[1]) < 5


@pytest.mark.parametrize("style", [Pencil(grain=0), Ink()])
def test_paper_is_left_where_the_scene_is_empty(style):
    alpha = np.where(np.arange(160) < 80, 1.0, 0.0) * np.ones((90, 1))
    rgb8 = np.where(alpha[..., None] > 0, (100, 100, 100), 0)
    styled = style.style(frame(rgb8, 2 * alpha, alpha))
    assert styled[:, 100:].min() > 235 and styled[:, 60:82].min() < 160


def test_ink_fills_the_dark_and_leaves_white_lines_in_it():
    rgb8 = np.full((90, 160, 3), 200, np.uint8)
    rgb8[:, 80:] = 10
    rgb8[40:44, 90:150] = 60
    styled = Ink().style(frame(rgb8)).astype(int).mean(-1)
    assert styled[10:30, 90:150].max() < 60 and styled[10:80, 10:60].min() > 200
    assert styled[38:46, 100:140].max(axis=0).min() > 120


def test_more_black_is_more_ink():
    one = frame(clouds(90, 160), 3.0)
    means = [Ink(black=black).style(one).mean() for black in (0, 0.6, 0.8, 1)]
    assert (np.diff(means) < 0).all()
