"""Operations: each makes a whole state or says in one line why not, whatever numbers it was given."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from edit_values import instances
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small_fields import ball
from test_edit_document import ARRAYS, KINDS, OPERATIONS, TURNED, bits_of, splats, tools, two_layers

from splatview import Scene
from splatview.edit.codec import NAMED
from splatview.edit.editing import Editing, edit
from splatview.edit.grade import Grading
from splatview.edit.operations import (
    HERE,
    AddLayers,
    AnyOperation,
    Bake,
    Crop,
    Delete,
    Expose,
    Grade,
    Hide,
    Lock,
    Merge,
    Move,
    Rename,
    Restore,
    SaveSet,
    Select,
    Separate,
    SetBackground,
    ShowHidden,
    SwapLevel,
    Unlock,
    bound,
)
from splatview.edit.select import Everything, Inside, OfLayer, Range, Selection
from splatview.edit.state import State
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.volumes import MOST_CUTS, Box, Cut, Sphere

OPERATION_CLASSES = sorted(kind.__name__ for kind in AnyOperation.__args__)  # type: ignore[attr-defined]


def loads(path, level):
    return Scene({"found": Layer(splats(10, 3), source=path)})


def begun():
    """Something is selected, and one layer has a file."""
    layers = two_layers().layers
    state = State(Scene({"a": layers["a"].__class__(layers["a"].content, source="/a.ply"), "b": layers["b"]}))
    return Select(Selection(Range("x", -1.0, 1.0))).apply(state, tools())


def check(state: State) -> None:
    """What is true of every state."""
    assert set(state.rows) == set(state.scene.layers)
    for kind in KINDS:
        for name, mask in getattr(state, kind).items():
            assert mask.shape == (len(state.scene.layers[name].content),) and mask.dtype == np.bool_ and mask.any(), (kind, name)
    for masks in state.sets.values():
        for name, mask in masks.items():
            assert mask.shape == (len(state.scene.layers[name].content),)
    assert state.selected_count <= state.living_count == state.result().count
    for layer in state.scene.layers.values():
        for array in ARRAYS:
            assert not getattr(layer.content, array).flags.writeable


@pytest.mark.parametrize("name", OPERATION_CLASSES)
def test_whatever_an_operation_holds_it_makes_a_whole_state_or_says_why_not(name):
    start = begun()
    before = bits_of(start)

    @settings(max_examples=12, suppress_health_check=list(HealthCheck))
    @given(instances(NAMED[name]))
    def does(operation):
        assume(getattr(operation, "degree", 0) is not None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # numbers may be too large for what is done with them
            try:
                state = bound(operation, start, tools(loads)).apply(start, tools(loads))
            except ValueError as error:
                assert str(error) and "\n" not in str(error)
            else:
                check(state)
                assert isinstance(operation.label, str) and operation.label
        assert bits_of(start) == before  # nothing is written in place

    does()


@settings(max_examples=30)
@given(st.lists(st.sampled_from(sorted(OPERATIONS)), max_size=10))
def test_every_state_of_an_edit_is_whole(names):
    state = State(two_layers())
    for name in names:
        try:
            state = OPERATIONS[name]().apply(state, tools())
        except ValueError:
            continue
        check(state)


def select(state, query):
    return Select(Selection(query)).apply(state, tools())


PAIRS = {"hide": (Hide, ShowHidden), "lock": (Lock, Unlock), "delete": (Delete, Restore)}


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_put_out_of_reach_is_brought_back(name):
    away, back = PAIRS[name]
    state = select(State(two_layers()), Range("x", 0.0, 9.0))
    count = state.selected_count
    gone = away().apply(state, tools())
    assert not gone.selected and gone.count(gone.untouchable) == count
    assert select(gone, Everything()).selected_count == 100 - count
    again = back().apply(gone, tools())
    assert not again.untouchable and select(again, Everything()).selected_count == 100
    only_b = back("b").apply(gone, tools())
    assert set(only_b.untouchable) == {"a"}


def test_a_move_and_its_inverse_restore_within_a_hundred_thousandth():
    state = select(State(two_layers()), Inside(Sphere((0.0, 0.0, 0.0), 1.0)))
    back = Move(TURNED.inverse()).apply(Move(TURNED).apply(state, tools()), tools())
    for name, layer in state.scene.layers.items():
        for array in ("means", "log_scales", "sh"):
            assert np.allclose(getattr(back.scene.layers[name].content, array), getattr(layer.content, array), atol=1e-5)


def test_a_grade_that_changes_nothing_shares_everything():
    state = select(State(two_layers()), Everything())
    graded = Grade(Grading()).apply(state, tools())
    for name, layer in state.scene.layers.items():
        assert graded.scene.layers[name].content.sh is layer.content.sh


def test_only_what_is_selected_changes():
    state = select(State(two_layers()), Range("x", 0.0, 9.0))
    graded = Grade(Grading(exposure=1.0)).apply(state, tools())
    for name, layer in state.scene.layers.items():
        rest = ~state.selected[name]
        assert np.array_equal(graded.scene.layers[name].content.sh[rest], layer.content.sh[rest])
        assert not np.array_equal(graded.scene.layers[name].content.sh, layer.content.sh)


def test_separate_and_merge_keep_every_gaussian():
    state = select(State(two_layers()), OfLayer("b"))
    parted = Separate("c").apply(state, tools())
    assert parted.living_count == 100 and parted.count(parted.deleted) == 40 and set(parted.selected) == {"c"}
    assert parted.scene.layers["c"].placement == TURNED
    merged = Merge(("a", "b", "c"), "all").apply(parted, tools())
    assert list(merged.scene.layers) == ["all"] and merged.living_count == 100 and not merged.deleted
    copied = Separate("copy", keep=True).apply(state, tools())
    assert copied.living_count == 140


def test_a_bake_is_what_was_seen():
    state = Delete().apply(select(State(two_layers()), Range("x", 0.0, 9.0)), tools())
    baked = Bake().apply(state, tools())
    wanted = state.result()
    for name, layer in baked.scene.layers.items():
        assert layer.placement == Similarity() and not baked.deleted
        old = wanted.layers[name]
        assert np.allclose(layer.content.means, old.placement.apply(old.content.means.astype(float)), atol=1e-5)


def test_masks_follow_their_layer_to_another_name():
    state = SaveSet("kept").apply(select(State(two_layers()), OfLayer("b")), tools())
    renamed = Rename("b", "c").apply(Hide().apply(state, tools()), tools())
    assert set(renamed.hidden) == {"c"} == set(renamed.sets["kept"]) and set(renamed.rows) == {"a", "c"}
    assert renamed.rows["c"].digest == state.rows["b"].digest


def test_a_field_is_cropped_exposed_and_backed_as_a_layer():
    """Its content stays what it is, and each operation is one step back."""
    grid, cuts = ball(), (Cut(Box((0, 0, 0), (1, 1, 1), falloff=0.1)), Cut(Sphere((0, 0, 0), 0.2), keeps=False))
    editing = Editing(State(two_layers().with_layer("fox", Layer(grid, TURNED))), tools())
    began = editing.state
    for operation in (Crop("fox", cuts), Expose("fox", -1.5), SetBackground("fox", (0.1, 0.2, 0.3)), Crop("fox")):
        editing.do(operation)
    fox = editing.jump(3).scene.layers["fox"]
    assert fox.content is grid and (fox.cuts, fox.exposure, fox.background, fox.placement) == (cuts, -1.5, (0.1, 0.2, 0.3), TURNED)
    assert editing.jump(4).scene.layers["fox"].cuts == ()
    assert editing.state.scene.background == (0.1, 0.2, 0.3) and editing.state.scene.shown("fox", False).background is None
    assert editing.jump(0).scene.layers["fox"] == began.scene.layers["fox"]


@pytest.mark.parametrize("operation", [Crop("a"), Expose("a", 1.0), SetBackground("a")])
def test_what_is_for_fields_is_refused_for_gaussians(operation):
    with pytest.raises(ValueError, match="a: expected a hash-grid field, found a layer of Gaussians, for which there is"):
        operation.apply(State(two_layers()), tools())


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Crop, ((Cut(Sphere((0, 0, 0), 1)),) * (MOST_CUTS + 1),)),
        (Expose, (21.0,)),
        (Expose, (np.nan,)),
        (SetBackground, ((0.0, 1.1, 0.0),)),
        (SetBackground, ((0.0, np.nan, 0.0),)),
    ],
)
def test_what_no_field_can_be_shown_by_is_refused(kind, values):
    with pytest.raises(ValueError, match="expected"):
        kind("fox", *values)


def test_files_are_added_and_swapped_by_what_reads_them():
    read = []

    def load(path, level):
        read.append((path, level))
        return Scene({"x": Layer(splats(10 + (level or 0), 3), source=path)})

    state = AddLayers("/x.ply", ("mine",)).apply(State(two_layers()), tools(load))
    assert len(state.scene.layers["mine"].content) == 10
    swapped = SwapLevel("mine", 2).apply(state, tools(load))
    assert len(swapped.scene.layers["mine"].content) == 12 and read == [("/x.ply", None), ("/x.ply", 2)]
    with pytest.raises(ValueError, match="already"):
        AddLayers("/x.ply", ("a",)).apply(state, tools(load))
    with pytest.raises(ValueError, match="expected 2 layers, found 1"):
        AddLayers("/x.ply", ("p", "q")).apply(state, tools(load))


def test_an_operation_owns_its_inputs_once_it_was_done():
    editing = Editing(State(two_layers()), tools())
    editing.select(Range("x", 0.0, 9.0))
    editing.do(Delete())
    assert HERE.rows is None
    owned = editing.document.entries[-1].operation.selection
    assert owned.rows is not None and owned.masks and owned.fits(State(two_layers()))


def test_the_example_of_editing_from_python_holds():
    scene = two_layers()
    from splatview import open_renderer

    editing = edit(scene, open_renderer("cpu"))
    with pytest.raises(ValueError, match="cannot be added here"):
        editing.do(AddLayers("/x.ply"))
    assert editing.state.scene is scene
