"""The World: that undo is the way back of every change, and what becomes of changes that cannot be."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fields import ball

from splatview import Gaussians, Scene
from splatview.edit.document import Document
from splatview.edit.operations import (
    Delete,
    Hide,
    Place,
    RemoveLayer,
    Rename,
    Restore,
    Select,
    ShowHidden,
    ShowLayer,
)
from splatview.edit.select import Current, Everything, Not, OfLayer, Selection, Tools
from splatview.edit.state import Rows, State
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer.world import Busy, Cancelled, World


def dots(count=4, seed=0):
    rng = np.random.default_rng(seed)
    return Gaussians(rng.normal(size=(count, 3)), np.ones((count, 4)), np.zeros((count, 3)), np.zeros(count), np.zeros((count, 1, 3)))


def no_tools(load=None):
    """For operations that need no renderer and no files."""
    return Tools(lambda: pytest.fail("nothing is drawn here"), load or (lambda path, level: pytest.fail("nothing is read here")))


@contextmanager
def worlds(scene, changed=lambda: None, tools=None, **more):
    world = World(scene, tools or no_tools(), changed, **more)
    try:
        yield world
    finally:
        world.close()


@pytest.fixture
def scene():
    return Scene({"a": Layer(dots()), "b": Layer(dots(6, 1))})


@pytest.fixture
def world(scene):
    with worlds(scene) as world:
        yield world


def mask(count, *which):
    values = np.zeros(count, bool)
    values[list(which)] = True
    return values


def same(one: State, other: State) -> bool:
    """Whether two states hold the same: the very same Gaussians, and equal masks."""
    layers = [(name, layer.content, layer.placement, layer.visible) for name, layer in one.scene.layers.items()]
    kinds = ("selected", "hidden", "locked", "deleted")
    return layers == [(name, layer.content, layer.placement, layer.visible) for name, layer in other.scene.layers.items()] and all(
        same_masks(getattr(one, kind), getattr(other, kind)) for kind in kinds
    )


def same_masks(one, other):
    return set(one) == set(other) and all(np.array_equal(one[name], other[name]) for name in one)


CHANGES = {
    "hide a": ShowLayer("a", False),
    "show a": ShowLayer("a", True),
    "remove b": RemoveLayer("b"),
    "rename a": Rename("a", "c"),
    "rename c": Rename("c", "a"),
    "move a": Place("a", Similarity(scale=2.0)),
    "select all": Select(Selection(Everything())),
    "select b": Select(Selection(OfLayer("b")), "remove"),
    "invert": Select(Selection(Not(Current()))),
    "delete": Delete(),
    "hide": Hide(),
    "show hidden": ShowHidden(),
    "restore": Restore(),
}


@settings(max_examples=40)
@given(st.lists(st.sampled_from(sorted(CHANGES)), max_size=12), st.integers(0, 12))
def test_undo_is_the_way_back_and_redo_the_way_on(names, back):
    with worlds(Scene({"a": Layer(dots()), "b": Layer(dots(6, 1))})) as world:
        states = [world.state]
        for name in names:
            done = world.do(CHANGES[name])
            if done.exception() is None:
                states.append(done.result())
                assert world.state is states[-1] is world.edited
            else:
                assert isinstance(done.exception(), ValueError) and world.state is states[-1]
            for layer, hidden in world.hidden.items():  # masks always fit
                assert hidden.shape == (len(world.scene.layers[layer].content),) and hidden.any()
        at = len(states) - 1
        for _ in range(back):
            at = max(0, at - 1)
            assert world.undo().result() is states[at] is world.state
        for step in range(at, len(states)):
            assert same(world.jump(step).result(), states[step])
        assert world.redo().result() is states[-1] and world.document.cursor == len(states) - 1


def test_a_change_after_undo_ends_the_way_on(world, scene):
    world.do(ShowLayer("a", False))
    world.undo()
    world.do(RemoveLayer("b"))
    removed = world.redo().result()
    assert list(removed.scene.layers) == ["a"] and len(world.document.entries) == 1
    assert world.undo().result().scene is scene


def test_a_gesture_is_one_step_and_the_next_one_another(world, scene):
    first, second = object(), object()
    for step in range(1, 30):
        world.do(Place("a", Similarity(translation=(step, 0, 0))), gesture=first)
    world.do(Place("a", Similarity(translation=(0, 9, 0))), gesture=second).result()
    assert len(world.document.entries) == 2
    assert world.undo().result().scene.layers["a"].placement.translation == (29, 0, 0)
    assert world.undo().result().scene is scene


def test_a_gesture_that_somebody_came_between_goes_on_as_another(world):
    typing = object()
    world.do(Place("a", Similarity(scale=2.0)), gesture=typing)
    world.do(ShowLayer("b", False), "somebody else")
    world.do(Place("a", Similarity(scale=3.0)), gesture=typing)
    world.do(Place("a", Similarity(scale=4.0)), gesture=typing).result()
    assert [entry.operation.label for entry in world.document.entries] == ["Place layer a", "Hide layer b", "Place layer a"]
    assert world.undo().result().scene.layers["a"].placement.scale == 2.0


def test_a_gesture_that_was_undone_begins_again(world):
    typing = object()
    world.do(Place("a", Similarity(scale=2.0)), gesture=typing)
    world.undo()
    world.do(Place("a", Similarity(scale=3.0)), gesture=typing).result()
    assert len(world.document.entries) == 1
    assert world.undo().result().scene.layers["a"].placement.scale == 1.0


@pytest.mark.parametrize("wrong", [Place("nobody", Similarity()), Delete(), Rename("a", "b"), Select(Selection(OfLayer("nobody")))])
def test_what_raises_has_changed_nothing_and_was_not_kept(scene, wrong):
    kept = []
    with worlds(scene, record=lambda change, document: kept.append(change)) as world:
        before = world.state, world.document
        with pytest.raises(ValueError):
            world.do(wrong).result()
        assert (world.state, world.document) == before and not kept


def test_what_cannot_be_kept_has_not_happened(scene):
    def full(change, document):
        raise OSError(28, "No space left on device")

    with worlds(scene, record=full) as world:
        before = world.state, world.document
        with pytest.raises(OSError, match="No space left"):
            world.do(ShowLayer("a", False)).result()
        assert (world.state, world.document) == before


def test_it_is_kept_before_anybody_is_told(scene):
    order = []
    with worlds(scene, lambda: order.append("told"), record=lambda change, document: order.append("kept")) as world:
        done = world.do(ShowLayer("a", False))
        done.add_done_callback(lambda _: order.append("done"))
        done.result()
        world.call(lambda: None).result()
    assert order[:2] == ["kept", "told"] and "done" in order


def test_a_listener_that_fails_does_not_undo_what_was_done(scene, caplog):
    def fail():
        raise RuntimeError("a page in bad shape")

    with worlds(scene, fail) as world:
        assert not world.do(ShowLayer("a", False)).result().scene.layers["a"].visible
        with pytest.raises(ValueError):
            world.do(Rename("a", "b")).result()
        assert not world.state.scene.layers["a"].visible and "bad shape" in caplog.text


# Previews.


def test_a_preview_is_seen_and_is_no_part_of_the_document(scene):
    seen = threading.Event()
    with worlds(scene, seen.set) as world:
        world.preview(Place("a", Similarity(scale=5.0)))
        assert seen.wait(5) and world.scene.layers["a"].placement.scale == 5.0
        assert world.edited.scene is scene and not world.document.entries
        world.end_preview()
        assert world.scene is scene
        world.preview(Place("a", Similarity(scale=6.0)))
        world.do(ShowLayer("b", False)).result()
        assert world.scene.layers["a"].placement.scale == 1.0 and world.state is world.edited


def test_of_previews_that_come_too_fast_the_newest_is_shown(world, scene):
    going_on = threading.Event()
    world.call(lambda: going_on.wait(5))
    applied = []

    def state(number):
        applied.append(number)
        return State(scene.placed("a", Similarity(scale=1.0 + number)))

    for number in range(100):
        world.preview_state(lambda number=number: state(number))
    going_on.set()
    world.call(lambda: None).result()
    assert applied == [99] and world.scene.layers["a"].placement.scale == 100.0


def test_a_preview_that_is_ended_just_as_it_is_shown_is_not_seen_for_ever(world, scene):
    ended = []

    class Number(int):
        """Whoever compares it is overtaken by somebody who ends the preview."""

        __hash__ = int.__hash__

        def __eq__(self, other):
            if not ended:
                ended.append(threading.Thread(target=world.end_preview))
                ended[0].start()
                ended[0].join(0.2)
            return int.__eq__(self, other)

        def __ne__(self, other):
            return not self == other

    def state():
        world._previews = Number(world._previews)
        return State(Scene())

    world.preview_state(state)
    world.call(lambda: None).result(5)
    ended[0].join()
    assert world.scene is scene


def test_a_preview_that_cannot_be_shows_nothing(world, scene):
    world.preview(Place("nobody", Similarity()))
    world.call(lambda: None).result()
    assert world.state is world.edited and world.scene is scene


# Another scene.


def test_another_scene_has_no_way_back_and_is_not_kept(scene):
    kept = []
    with worlds(scene, record=lambda change, document: kept.append(change)) as world:
        world.select(OfLayer("a"))
        world.do(Hide()).result()
        assert len(kept) == 2
        other = world.show(Scene({"other": Layer(dots())})).result()
        assert list(other.scene.layers) == ["other"] and not other.hidden and not other.selected
        assert world.undo().result() is other and not world.document.entries
        world.do(ShowLayer("other", False)).result()
        assert len(kept) == 2


def test_a_document_that_is_restored_is_there_with_its_history(scene):
    with worlds(scene) as first:
        first.select(OfLayer("b"))
        first.do(Delete())
        first.do(ShowLayer("a", False))
        state, document = first.undo().result(), first.document
    with worlds(Scene()) as world:
        assert same(world.restore(scene, document).result(), state)
        assert world.document is document and not world.redo().result().scene.layers["a"].visible


def test_a_document_that_cannot_be_restored_leaves_everything_as_it_was(world, scene):
    document = Document().after(_do(RemoveLayer("nobody")))
    before = world.state, world.document
    with pytest.raises(ValueError, match="nobody"):
        world.restore(scene, document).result()
    assert (world.state, world.document) == before


def _do(operation):
    from splatview.edit.document import Do, Entry

    return Do(Entry.new(operation))


# Many at once.


def test_changes_of_many_threads_are_all_made():
    def load(path, level):
        return Scene({path: Layer(dots(1))})

    from splatview.edit.operations import AddLayers

    with worlds(Scene(), tools=no_tools(load)) as world:
        threads = [
            threading.Thread(target=lambda which=which: [world.do(AddLayers(f"{which} {step}")) for step in range(50)])
            for which in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        world.call(lambda: None).result()
        assert len(world.scene.layers) == 200 == len(world.document.entries)


def test_an_author_is_told_whose_change_was_taken_back(world):
    world.do(ShowLayer("a", False), "person 1")
    world.undo("person 2").result()
    assert world.undone == ("person 2", "undid 'Hide layer a' of person 1")
    world.redo("person 1").result()
    assert world.undone == ("person 1", "redid 'Hide layer a'")


# Work that takes long.


class Slow:
    """An operation that tells how far it is."""

    label = "Slow"

    def __init__(self, seconds=5.0):
        self.seconds, self.began = seconds, threading.Event()

    def apply(self, state, tools):
        self.began.set()
        for step in range(int(self.seconds * 100)):
            tools.progress(step / (self.seconds * 100), "slowly")
            time.sleep(0.01)
        return state


def test_what_takes_long_is_told_and_can_be_given_up(scene):
    with worlds(scene) as world:
        told = []
        world.busy_changed = lambda: told.append(world.busy)
        before, slow = (world.state, world.document), Slow()
        done = world.do(slow)
        end = time.monotonic() + 5
        while not any(busy and busy.text for busy in told) and time.monotonic() < end:
            time.sleep(0.01)
        world.cancel()
        with pytest.raises(Cancelled, match="nothing has changed"):
            done.result(5)
        assert told and isinstance(told[0], Busy) and world.busy is None and told[-1] is None
        assert (world.state, world.document) == before
        assert not world.do(ShowLayer("a", False)).result(5).scene.layers["a"].visible  # and the next one works


def test_what_tells_nothing_can_be_given_up_as_well_and_is_not_heard_afterwards(scene):
    free, ended = threading.Event(), threading.Event()

    class Silent(Slow):
        def apply(self, state, tools):
            self.began.set()
            free.wait(10)
            try:
                tools.progress(0.5, "too late")
            finally:
                ended.set()
            return state

    with worlds(scene) as world:
        before, silent, told = (world.state, world.document), Silent(), []
        world.busy_changed = lambda: told.append(world.busy)
        done = world.do(silent)
        assert silent.began.wait(5)
        world.cancel()
        with pytest.raises(Cancelled):
            done.result(5)
        assert (world.state, world.document) == before
        free.set()
        assert ended.wait(5) and not any(busy and "too late" in busy.text for busy in told)
        assert not world.do(ShowLayer("a", False)).result(5).scene.layers["a"].visible


def test_what_is_quick_is_not_told(scene):
    with worlds(scene) as world:
        told = []
        world.busy_changed = lambda: told.append(world.busy)
        for _ in range(50):
            world.do(ShowLayer("a", True))
        world.call(lambda: None).result()
        time.sleep(0.3)
        assert not told and world.busy is None


def test_a_world_that_is_closed_ends_at_once_and_its_thread_with_it(scene):
    before = set(threading.enumerate())
    world, slow = World(scene, no_tools()), Slow(30.0)
    under_way, waiting = world.do(slow), world.do(ShowLayer("a", False))
    assert slow.began.wait(5)
    began = time.monotonic()
    world.close()
    assert time.monotonic() - began < 0.5
    with pytest.raises(CancelledError):
        waiting.result(1)
    with pytest.raises(Cancelled):
        under_way.result(1)
    with pytest.raises(CancelledError):
        world.do(ShowLayer("a", False)).result(1)
    end = time.monotonic() + 5
    while left := [one for one in set(threading.enumerate()) - before if one.name.startswith("splatview")]:
        assert time.monotonic() < end, left
        time.sleep(0.01)


# A field that is being trained


def test_a_field_that_is_renewed_is_the_new_one_in_all_the_history():
    """Under whatever name, wherever it stands, before and after every operation; splats stay, and nothing is recorded."""
    first, second, third = (ball(radius=radius) for radius in (0.1, 0.2, 0.3))
    scene, recorded = Scene({"fox": Layer(first), "dots": Layer(dots())}), []
    with worlds(scene, record=lambda change, document: recorded.append(change)) as world:
        for operation in (Place("fox", Similarity(scale=2.0)), Rename("fox", "dog"), ShowLayer("dog", False), RemoveLayer("dots")):
            world.do(operation).result()
        world.undo().result()
        count, document = len(recorded), world.document
        world.renew(first, second).result()
        layer = world.scene.layers["dog"]
        assert layer.content is second and layer.placement.scale == 2 and not layer.visible
        assert world.document is document and len(recorded) == count
        world.preview(Place("dog", Similarity(scale=3.0)))
        world.renew(second, third).result()
        assert world.scene.layers["dog"].content is third and world.scene.layers["dog"].placement.scale == 3, "the preview goes on"
        world.end_preview()
        assert list(world.redo().result().scene.layers) == ["dog"]
        for cursor in range(4, -1, -1):
            state = world.jump(cursor).result()
            [layer] = state.scene.visible_fields.values() if cursor < 3 else [state.scene.layers["dog"]]
            assert layer.content is third and layer.placement.scale == (2 if cursor else 1)
            assert state.rows["fox" if cursor < 2 else "dog"].digest == Rows.of(third).digest
        assert world.scene.layers["dots"].content is scene.layers["dots"].content
        world.renew(first, second).result()
        assert world.scene.layers["fox"].content is third, "what nobody holds any more is not there to be renewed"
