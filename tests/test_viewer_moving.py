"""Gizmos become motions: what is lifted, turned and scaled, and where volumes stand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hand_cases import CAMERA, PLACEMENTS
from hypothesis import given
from hypothesis import strategies as st
from test_viewer import coloured_ball

from splatview import RenderOptions, Scene, open_renderer
from splatview.edit.operations import Move
from splatview.edit.select import Selection
from splatview.edit.state import State
from splatview.edit.transform import about
from splatview.frame import Masks
from splatview.framing import Framing
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer.lifting import Lifted, middle_of_selection, motion
from splatview.viewer.panels.shape import placed
from splatview.viewer.space import page_from_world
from splatview.viewer.wireframes import box_lines, sphere_lines
from splatview.volumes import Box, Sphere


def picture(state):
    options = RenderOptions(hidden=state.undrawn, tinted=state.selected, outputs=("rgb8",))
    return open_renderer("cpu").render(state.scene, CAMERA, options).rgb8.astype(int)


def chosen_state(placement=Similarity(), share=0.3):
    rng = np.random.default_rng(1)
    scene = Scene({"a": Layer(coloured_ball(2000), placement), "b": Layer(coloured_ball(500, seed=2), Similarity(scale=0.5))})
    masks = Masks({"a": rng.uniform(size=2000) < share, "b": np.ones(500, bool)})
    return replace(State(scene), selected=masks)


@pytest.mark.parametrize("placement", [Similarity(), Similarity((0.8, 0.2, -0.4, 0.3), (0.2, 0.1, -0.3), 0.8)], ids=["plain", "placed"])
def test_a_lifted_selection_looks_as_the_moved_one_will(placement):
    state = chosen_state(placement)
    transform = about(Similarity((0.9, 0.1, 0.4, -0.2), (0.3, -0.2, 0.1), 1.3), (0.1, 0.2, 0.3))
    shown = Lifted(state).moved(transform)
    done = Move(transform, Selection.of(state)).apply(state, None)
    assert np.abs(picture(shown) - picture(done)).max() <= 3
    assert shown.selected_count == done.selected_count == state.selected_count and shown.scene.count > state.scene.count
    assert Lifted(state).moved(transform).scene.layers["b"].content is state.scene.layers["b"].content  # all of it: nothing is taken out


def test_lifting_without_moving_changes_nothing_that_is_seen():
    state = chosen_state()
    assert np.abs(picture(Lifted(state).moved(Similarity())) - picture(state)).max() <= 1


@given(PLACEMENTS)
def test_the_middle_of_a_selection_moves_with_it(transform):
    state = chosen_state()
    before = middle_of_selection(state)
    moved = middle_of_selection(Lifted(state).moved(Similarity(translation=transform.translation)))
    assert np.allclose(moved, before + transform.translation, atol=1e-4)
    assert middle_of_selection(replace(state, selected=Masks())) is None


PAGES = st.builds(
    lambda up, radius: page_from_world(Framing((1.0, -2.0, 3.0), radius, up)), st.sampled_from(["z", "-y", "x"]), st.floats(0.5, 50)
)
TRIPLES = st.lists(st.floats(-5, 5), min_size=3, max_size=3).map(np.array)


@given(PAGES, TRIPLES, TRIPLES)
def test_a_gizmo_moves_by_as_much_as_it_was_dragged(page, pivot, offset):
    transform = motion("move", pivot, page, page.quat, page.apply(pivot + offset))
    assert transform.quat == (1, 0, 0, 0) and transform.scale == 1 and np.allclose(transform.translation, offset, atol=3e-4)


@given(PAGES, TRIPLES, st.lists(st.floats(0.1, 1), min_size=4, max_size=4))
def test_a_gizmo_turns_about_its_pivot_along_the_worlds_axes(page, pivot, quat):
    turn = Similarity(tuple(quat))
    transform = motion("rotate", pivot, page, (page @ turn).quat, page.apply(pivot))
    assert transform.scale == 1 and np.allclose(transform.rotation, turn.rotation, atol=1e-9)
    assert np.allclose(transform.apply(pivot), pivot, atol=1e-9)


@given(PAGES, TRIPLES, st.floats(-2, 2))
def test_a_handle_scales_about_its_pivot_and_back(page, pivot, pull):
    at = page.apply(pivot) + page.rotation @ [pull, 0, 0]
    transform = motion("scale", pivot, page, page.quat, at)
    assert transform.scale == pytest.approx(2**pull, rel=1e-5) and np.allclose(transform.apply(pivot), pivot, atol=1e-9)
    assert transform.quat == (1, 0, 0, 0)


@given(PAGES, TRIPLES)
def test_a_gizmo_that_was_only_clicked_on_moves_nothing(page, pivot):
    for kind in ("move", "rotate", "scale"):  # a page keeps its numbers in 32 bits
        assert motion(kind, pivot, page, np.float32(page.quat), page.apply(pivot) + 1e-6) == Similarity()


def test_nonsense_of_a_page_is_no_motion():
    page = page_from_world(Framing((0, 0, 0), 1.0, "z"))
    for bad in ((math.nan, 0, 0), (math.inf, 0, 0)):
        with pytest.raises(ValueError, match="finite"):
            motion("move", np.zeros(3), page, page.quat, bad)


def test_wires_are_as_large_as_their_volumes():
    box, sphere = box_lines(), sphere_lines()
    assert box.shape == (12, 2, 3) and np.allclose(np.abs(box), 0.5) and np.allclose(np.linalg.norm(box[:, 0] - box[:, 1], axis=1), 1)
    assert len({tuple(sorted(map(tuple, edge.tolist()))) for edge in box}) == 12
    assert np.allclose(np.linalg.norm(sphere, axis=-1), 1, atol=1e-6)


@given(PLACEMENTS)
def test_a_volume_stands_in_the_page_where_it_stands_in_the_world(placement):
    page = page_from_world(Framing((1.0, -2.0, 3.0), 7.0, "-y"))
    box = Box(placement.translation, (1.0, 2.0, 3.0), placement.quat)
    at, size = placed(box, page)
    corners = at.apply(box_lines().reshape(-1, 3) * size / at.scale)
    assert np.allclose(np.abs((page.inverse().apply(corners) - box.centre) @ box.rotation), [0.5, 1.0, 1.5], atol=1e-5)
    at, size = placed(Sphere(placement.translation, 2.0, 1.0), page, falloff=True)
    assert np.allclose(np.asarray(size) / page.scale, 3) and np.allclose(
        page.inverse().apply(at.translation), placement.translation, atol=1e-6
    )
