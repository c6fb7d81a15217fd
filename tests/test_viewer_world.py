"""The World: what it keeps together, and that undo is the inverse of every change."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splatview import Gaussians, Scene
from splatview.frame import Masks
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer import world as world_module
from splatview.viewer.world import STEPS, State, World, renamed


def dots(count=4, seed=0):
    rng = np.random.default_rng(seed)
    return Gaussians(rng.normal(size=(count, 3)), np.ones((count, 4)), np.zeros((count, 3)), np.zeros(count), np.zeros((count, 1, 3)))


@pytest.fixture
def scene():
    return Scene({"a": Layer(dots()), "b": Layer(dots(6, 1))})


def mask(count, *which):
    values = np.zeros(count, bool)
    values[list(which)] = True
    return values


def same(one: State, other: State) -> bool:
    return one == other and list(one.scene.layers) == list(other.scene.layers)


CHANGES = {
    "hide a": lambda state: state.with_scene(state.scene.shown("a", False)) if "a" in state.scene.layers else state,
    "remove b": lambda state: state.with_scene(state.scene.without("b")),
    "rename a": lambda state: state.with_scene(renamed(state.scene, "a", "c")),
    "name c a": lambda state: state.with_scene(renamed(state.scene, "c", "a")),
    "add": lambda state: state.with_scene(state.scene.joined(Scene({"b": Layer(dots(3, 7))}))),
    "hide splats": lambda state: state.hiding("b", mask(len(state.scene.layers["b"].content), 0)) if "b" in state.scene.layers else state,
    "drop splats": lambda state: state.keeping("b", np.arange(2)) if "b" in state.scene.layers else state,
    "move a": lambda state: state.with_scene(state.scene.placed("a", Similarity(scale=2.0))) if "a" in state.scene.layers else state,
}


@given(st.lists(st.sampled_from(sorted(CHANGES)), max_size=12), st.integers(0, 12))
def test_undo_is_the_way_back_and_redo_the_way_on(names, back):
    told = []
    world = World(Scene({"a": Layer(dots()), "b": Layer(dots(6, 1))}), lambda: told.append(world.state))
    states = [world.state]
    for name in names:
        world.edit(CHANGES[name])
        if not same(world.state, states[-1]):
            states.append(world.state)
        for layer, hidden in world.hidden.items():  # masks always fit
            assert hidden.shape == (len(world.scene.layers[layer].content),) and hidden.any()
    assert len(told) == len(states) - 1
    at = len(states) - 1
    for _ in range(back):
        assert world.undo() == (at > 0)
        at = max(0, at - 1)
        assert same(world.state, states[at])
    while world.redo():
        at += 1
        assert same(world.state, states[at])
    assert at == len(states) - 1


def test_a_change_after_undo_ends_the_way_on(scene):
    world = World(scene)
    world.change(lambda scene: scene.shown("a", False))
    world.undo()
    world.change(lambda scene: scene.without("b"))
    assert not world.redo() and world.undo() and world.scene == scene


def test_a_drag_is_one_step_and_the_next_drag_another(scene):
    world, first, second = World(scene), object(), object()
    for step in range(1, 30):
        world.change(lambda scene, step=step: scene.placed("a", Similarity(translation=(step, 0, 0))), first)
    world.change(lambda scene: scene.placed("a", Similarity(translation=(0, 9, 0))), second)
    assert world.undo() and world.scene.layers["a"].placement.translation == (29, 0, 0)
    assert world.undo() and world.scene == scene and not world.undo()


def test_what_raises_has_changed_nothing(scene):
    world = World(scene, lambda: pytest.fail("nothing has changed"))
    with pytest.raises(KeyError):
        world.change(lambda scene: scene.placed("nobody", Similarity()))
    assert world.scene is scene and not world.undo()


def test_masks_follow_their_gaussians(scene):
    hidden = mask(6, 1, 4)
    state = State(scene).hiding("b", hidden)
    assert np.array_equal(state.with_scene(renamed(scene, "b", "c")).hidden["c"], hidden)
    assert not state.with_scene(scene.without("b")).hidden
    assert not state.with_scene(scene.with_layer("b", Layer(dots(6, 3)))).hidden  # other Gaussians, though as many
    assert np.array_equal(state.keeping("b", ~mask(6, 0, 4)).hidden["b"], mask(4, 0))
    assert not state.keeping("b", ~hidden).hidden.get("b", np.zeros(1)).any()
    assert state.with_content("b", replace(scene.layers["b"].content)).hidden == state.hidden
    moved = state.with_scene(scene.placed("b", Similarity(scale=3.0)))
    assert moved.hidden == state.hidden  # the same array: nothing is drawn again for it


def test_hiding_and_showing_again_are_unions_and_differences(scene):
    state = State(scene).hiding("b", mask(6, 0, 1)).hiding("b", mask(6, 1, 2))
    assert np.array_equal(state.hidden["b"], mask(6, 0, 1, 2))
    assert np.array_equal(state.hiding("b", mask(6, 1), False).hidden["b"], mask(6, 0, 2))
    assert state.hiding("b", np.ones(6, bool), False) == State(scene)
    assert State(scene).hiding("b", np.ones(6, bool), False) == State(scene)


def test_a_name_that_is_taken_gets_a_number_and_a_blank_one_is_none(scene):
    assert list(renamed(scene, "a", "b").layers) == ["b 2", "b"]
    assert list(renamed(scene, "a", " new ").layers) == ["new", "b"]
    assert renamed(scene, "a", "a") == scene and renamed(scene, "a", "  ") is scene and renamed(scene, "x", "y") is scene


def test_the_history_is_bounded_in_steps_and_in_bytes(scene, monkeypatch):
    world = World(scene)
    for step in range(STEPS + 20):
        world.change(lambda scene, step=step: scene.placed("a", Similarity(translation=(step + 1, 0, 0))))
    assert sum(world.undo() for _ in range(2 * STEPS)) == STEPS
    monkeypatch.setattr(world_module, "HISTORY_BYTES", 3 * scene.layers["b"].content.nbytes)
    world = World(scene)
    for seed in range(10):
        world.change(lambda scene, seed=seed: scene.with_layer("b", Layer(dots(6, seed + 5))))
    assert sum(world.undo() for _ in range(20)) == 3
    monkeypatch.setattr(world_module, "HISTORY_BYTES", 0)
    world = World(scene)
    world.change(lambda scene: scene.without("b"))
    assert world.undo() and world.scene == scene  # the last step is always there


def test_another_scene_has_no_way_back(scene):
    world = World(scene)
    world.hide(Masks({"a": mask(4, 0)}))
    world.show(Scene({"other": Layer(dots())}))
    assert not world.undo() and not world.hidden and list(world.scene.layers) == ["other"]


def test_changes_of_many_threads_are_all_made(scene):
    world = World(Scene())

    def add(which):
        for step in range(50):
            world.change(lambda scene, step=step: scene.with_layer(f"{which} {step}", Layer(dots(1))))

    threads = [threading.Thread(target=add, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.scene.layers) == 200
