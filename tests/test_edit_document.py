"""The document and its editing: undo is the way back to the very same values, and a replay is the same to the last bit."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splatview import Gaussians, Scene, open_renderer
from splatview.edit import document as documents
from splatview.edit import editing as editing_module
from splatview.edit.bits import Bits
from splatview.edit.document import EMPTY, Amend, Do, Document, Entry, Jump, Reorder, Source, Switch, decode, encode
from splatview.edit.editing import Editing
from splatview.edit.grade import Grading, Painting
from splatview.edit.operations import (
    Bake,
    CapDegree,
    Delete,
    Grade,
    Hide,
    Lock,
    Merge,
    Move,
    Paint,
    Place,
    PlaceAll,
    RemoveLayer,
    Rename,
    Restore,
    SaveSet,
    Select,
    Separate,
    ShowHidden,
    ShowLayer,
    Unlock,
)
from splatview.edit.select import Everything, Inside, Matching, Not, Nothing, OfLayer, Range, Saved, Selection, Tools
from splatview.edit.state import State, digest_of
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.volumes import Sphere

ARRAYS = ("means", "quats", "log_scales", "opacity_logits", "sh")
KINDS = ("selected", "hidden", "locked", "deleted")
TURNED = Similarity((0.9, 0.1, -0.3, 0.2), (0.5, 0.0, -1.0), 1.5)


def splats(count=60, seed=0, degree=1):
    rng = np.random.default_rng(seed)
    sh = rng.normal(0, 0.3, (count, (degree + 1) ** 2, 3))
    return Gaussians(
        rng.normal(0, 1, (count, 3)), rng.normal(size=(count, 4)), rng.normal(-3, 0.5, (count, 3)), rng.normal(0, 2, count), sh
    )


def two_layers():
    return Scene({"a": Layer(splats()), "b": Layer(splats(40, 1), TURNED)})


def tools(load=None):
    return Tools(lambda: open_renderer("cpu"), load or (lambda path, level: pytest.fail("nothing is read here")))


def bits_of(state: State):
    """Everything that a state is, as bytes."""
    layers = [
        (name, layer.placement, layer.visible, *(getattr(layer.content, array).tobytes() for array in ARRAYS))
        for name, layer in state.scene.layers.items()
    ]
    masks = [sorted((name, mask.tobytes()) for name, mask in getattr(state, kind).items()) for kind in KINDS]
    sets = sorted((key, sorted((name, mask.tobytes()) for name, mask in one.items())) for key, one in state.sets.items())
    return layers, masks, sets, {name: rows.digest for name, rows in state.rows.items()}


GRADING = Grading(exposure=0.5, saturation=0.3, opacity=0.8)
OPERATIONS = {
    "all": lambda: Select(Selection(Everything())),
    "none": lambda: Select(Selection(Nothing())),
    "bright": lambda: Select(Selection(Matching("opacity > 0.5"))),
    "ball": lambda: Select(Selection(Inside(Sphere((0.0, 0.0, 0.0), 1.0))), "add"),
    "not a": lambda: Select(Selection(OfLayer("a")), "remove"),
    "range": lambda: Select(Selection(Not(Range("x", -1.0, 0.5))), "intersect"),
    "save": lambda: SaveSet("kept"),
    "saved": lambda: Select(Selection(Saved("kept"))),
    "delete": lambda: Delete(),
    "hide": lambda: Hide(),
    "lock": lambda: Lock(),
    "show": lambda: ShowHidden(),
    "unlock": lambda: Unlock(),
    "restore": lambda: Restore(),
    "move": lambda: Move(TURNED),
    "grade": lambda: Grade(GRADING, volume=Sphere((0.5, 0.0, 0.0), 0.5, 1.0)),
    "paint": lambda: Paint(Painting((1.0, 0.2, 0.1), 0.5, 0.9)),
    "cap": lambda: CapDegree(0),
    "off": lambda: ShowLayer("a", False),
    "on": lambda: ShowLayer("a", True),
    "rename": lambda: Rename("a", "c"),
    "back": lambda: Rename("c", "a"),
    "place": lambda: Place("b", Similarity(scale=2.0)),
    "place all": lambda: PlaceAll(TURNED),
    "remove": lambda: RemoveLayer("b"),
    "separate": lambda: Separate("new"),
    "copy": lambda: Separate("copy", keep=True),
    "merge": lambda: Merge(("a", "b"), "both"),
    "bake": lambda: Bake(),
}
NAMES = st.lists(st.sampled_from(sorted(OPERATIONS)), max_size=12)


def edited(names, start=None):
    """An editing in which what can be done of `names` was done, and the state after each."""
    editing = Editing(start or State(two_layers()), tools())
    states = [editing.state]
    for name in names:
        before = editing.state, editing.document
        try:
            states.append(editing.do(OPERATIONS[name]()))
        except ValueError as error:
            assert "\n" not in str(error) and (editing.state, editing.document) == before
    return editing, states


@settings(max_examples=25)
@given(NAMES)
def test_undo_gives_the_identical_value_and_redo_too(names):
    editing, states = edited(names)
    for state in reversed(states[:-1]):
        assert editing.undo() is not None and editing.state is state
    assert editing.undo() is None and editing.state is states[0]
    for state in states[1:]:
        assert editing.redo() is not None and editing.state is state
    assert editing.redo() is None


@settings(max_examples=25)
@given(NAMES, st.integers(0, 12))
def test_a_document_that_was_saved_replays_to_the_last_bit(names, back):
    editing, states = edited(names)
    for _ in range(back):
        editing.undo()
    text = json.dumps(encode(editing.document), allow_nan=False)
    document = decode(json.loads(text))
    again = Editing(State(two_layers()), tools(), document)  # other objects, the same numbers
    assert bits_of(again.state) == bits_of(editing.state)
    assert json.dumps(encode(again.document)) == text
    while again.redo():
        pass
    assert bits_of(again.state) == bits_of(states[-1])


@settings(max_examples=25)
@given(NAMES, st.randoms(use_true_random=False))
def test_switching_reordering_and_amending_recompute_or_change_nothing(names, random):
    editing, _ = edited(names)
    for _ in range(6):
        entries = editing.document.entries
        if not entries:
            return
        entry = random.choice(entries)
        change = random.choice(
            [
                Switch(entry.id, not entry.on),
                Reorder(entry.id, random.randrange(len(entries))),
                Amend(entry.id, OPERATIONS[random.choice(sorted(OPERATIONS))]()),
                Jump(random.randrange(len(entries) + 1)),
            ]
        )
        before = editing.state, editing.document
        try:
            editing.change(change)
        except ValueError as error:
            assert "\n" not in str(error) and (editing.state, editing.document) == before
        else:
            replayed = Editing(State(two_layers()), tools(), editing.document)
            assert bits_of(replayed.state) == bits_of(editing.state)


def test_an_operation_that_is_switched_off_and_on_again_leaves_no_trace():
    editing, states = edited(["bright", "grade", "all", "move", "hide"])
    grade = editing.document.entries[1]
    without = editing.switch(grade.id, False)
    assert without is not states[-1]
    assert not np.array_equal(without.scene.layers["a"].content.sh, states[-1].scene.layers["a"].content.sh)
    assert editing.switch(grade.id, True) is states[-1]


def test_what_an_operation_further_on_needs_is_said():
    editing, _ = edited(["all", "copy"])
    copied = editing.document.entries[1]
    editing.do(Place("copy", TURNED))
    before = editing.state, editing.document
    with pytest.raises(ValueError, match="expected a layer called 'copy'"):
        editing.switch(copied.id, False)
    assert (editing.state, editing.document) == before
    editing.do(ShowLayer("a", False))
    with pytest.raises(ValueError, match="Place layer copy, further on, would no longer work: expected a layer called 'copy'"):
        editing.switch(copied.id, False)


def test_an_amended_grade_is_a_grade_that_was_made_so():
    editing, _ = edited(["bright", "grade", "none"])
    grade = editing.document.entries[1]
    amended = editing.amend(grade.id, Grade(Grading(exposure=-1.0), grade.operation.selection))
    other = Editing(State(two_layers()), tools())
    other.select(Matching("opacity > 0.5"))
    other.do(Grade(Grading(exposure=-1.0)))
    other.select(Nothing())
    assert bits_of(amended) == bits_of(other.state)


def test_a_change_that_is_not_recorded_has_not_happened():
    full = [False]

    def record(change):
        if full[0]:
            raise OSError(28, "No space left on device")

    editing = Editing(State(two_layers()), tools(), record=record)
    editing.select(Everything())
    before = editing.state, editing.document
    full[0] = True
    for change in (lambda: editing.do(Delete()), editing.undo, lambda: editing.switch(editing.document.entries[0].id, False)):
        with pytest.raises(OSError):
            change()
        assert (editing.state, editing.document) == before
    full[0] = False
    assert editing.do(Delete()).living_count == 0


def test_unchanged_arrays_are_shared():
    _, states = edited(["bright", "grade", "place", "hide", "off"])
    start, end = states[0].scene.layers["a"].content, states[-1].scene.layers["a"].content
    assert end.means is start.means and end.quats is start.quats and end.log_scales is start.log_scales
    assert end.sh is not start.sh


# How much is kept.


def long_edit(monkeypatch, steps=60, states=8, **more):
    """An edit of which few states fit: each step makes harmonics of its own for both layers."""
    monkeypatch.setattr(editing_module, "BYTES", states * (splats().sh.nbytes + splats(40).sh.nbytes))
    editing = Editing(State(two_layers()), tools(), **more)
    editing.select(Everything())
    digests = [bits_of(editing.state)]
    for step in range(steps):
        digests.append(bits_of(editing.do(Grade(Grading(exposure=0.001 * (step + 1))))))
    return editing, digests


def test_states_beyond_the_limits_are_forgotten_and_made_again(monkeypatch):
    editing, digests = long_edit(monkeypatch)
    for digest in reversed(digests[:-1]):
        editing.undo()
        assert bits_of(editing.state) == digest
    for digest in digests[1:]:
        editing.redo()
        assert bits_of(editing.state) == digest


def test_no_more_than_the_limits_is_held_at_any_time(monkeypatch):
    """Also while a long document is replayed."""
    most, each = [0], splats().sh.nbytes + splats(40).sh.nbytes
    put = editing_module.Shelf.put

    def watched(shelf, *arguments):
        put(shelf, *arguments)
        most[0] = max(most[0], shelf.bytes)
        arrays = {}
        for state in shelf.states:
            arrays.update(editing_module._arrays(state))
        start = editing_module._arrays(State(two_layers()))
        assert shelf.bytes <= sum(arrays.values()) <= shelf.bytes + sum(start.values())

    monkeypatch.setattr(editing_module.Shelf, "put", watched)
    editing, digests = long_edit(monkeypatch)
    assert 7 * each < most[0] <= 8 * each
    again = Editing(State(two_layers()), tools(), editing.document)
    assert most[0] <= 8 * each and bits_of(again.state) == digests[-1]
    again.jump(0)
    again.jump(61)
    assert most[0] <= 8 * each


def test_going_back_by_a_few_operations_does_a_few_again(monkeypatch):
    """Also when the history is long and few of its states fit."""
    done = [0]
    apply = Grade.apply

    def counted(self, state, tools):
        done[0] += 1
        return apply(self, state, tools)

    monkeypatch.setattr(Grade, "apply", counted)
    editing, digests = long_edit(monkeypatch, steps=200)
    for back in (1, 2, 5, 12, 30, 80):
        replayed = Editing(State(two_layers()), tools(), editing.document)
        done[0] = 0
        assert bits_of(replayed.jump(201 - back)) == digests[200 - back]
        assert done[0] <= 4 * back, back


def test_a_state_that_is_aside_goes_first_and_the_present_one_never(monkeypatch):
    monkeypatch.setattr(editing_module, "BYTES", 0)
    editing, _ = edited(["all", "grade", "grade", "grade"])
    present = editing.state
    editing.undo()
    assert editing.redo() is not None and editing.state is present  # one step back and on again is always at hand
    editing.undo()
    editing.do(Delete())
    assert editing.state.living_count == 0 and len(editing._shelf.states) == 2


def test_many_changes_stay_quick():
    """A long day: thousands of small operations, and none waits for those before it."""
    editing = Editing(State(two_layers()), tools())
    began = time.process_time()
    for step in range(500):
        editing.do(Place("a", Similarity(translation=(step + 1.0, 0.0, 0.0))))
    assert time.process_time() - began < 5
    began = time.process_time()
    decode(json.loads(json.dumps(encode(editing.document))))
    assert time.process_time() - began < 5


# The value itself.


CHANGES = st.one_of(
    st.builds(lambda visible: Do(Entry.new(ShowLayer("a", visible))), st.booleans()),
    st.builds(Jump, st.integers(-1, 6)),
    st.tuples(st.integers(0, 5), st.booleans()),
    st.tuples(st.integers(0, 5), st.integers(-1, 6)),
    st.tuples(st.integers(0, 5), st.sampled_from(["b", "c"])),
)


def with_id(document, change):
    """Some changes name an entry, by its place."""
    if not isinstance(change, tuple):
        return change
    id = document.entries[change[0]].id if change[0] < len(document.entries) else "nobody"
    if isinstance(change[1], bool):
        return Switch(id, change[1])
    return Reorder(id, change[1]) if isinstance(change[1], int) else Amend(id, ShowLayer(change[1], True))


@given(st.lists(CHANGES, max_size=15))
def test_changes_fit_or_are_refused_and_come_back_from_json(changes):
    document = read = EMPTY
    for change in changes:
        change = with_id(document, change)
        try:
            document = document.after(change)
        except ValueError:
            with pytest.raises(ValueError):
                read.after(change)
            continue
        read = read.after(documents.decode_change(json.loads(json.dumps(documents.encode_change(change)))))
        assert encode(read) == encode(document)
        assert 0 <= document.cursor <= len(document.entries)


def test_a_change_after_undo_forgets_what_was_undone():
    document = EMPTY
    for name in "abc":
        document = document.after(Do(Entry.new(ShowLayer(name, True))))
    document = document.after(Jump(1)).after(Do(Entry.new(ShowLayer("d", True))))
    assert [entry.operation.layer for entry in document.entries] == ["a", "d"] and document.cursor == 2


def test_sources_come_back_as_they_were():
    source = Source("/x/ünï.ply", ("0" * 32, "1" * 32), ("a", "b"), (Similarity(), TURNED), 2)
    document = Document((source, Source("b.ply")))
    assert decode(json.loads(json.dumps(encode(document)))).sources == document.sources


def test_a_script_by_hand_needs_only_operations():
    document = decode({"operations": [{"is": "Select", "selection": "opacity < 0.5"}, {"is": "Delete"}]})
    assert document.cursor == 2 and len({entry.id for entry in document.entries}) == 2
    state = Editing(State(two_layers()), tools(), document).state
    for name, layer in state.result().layers.items():
        assert (layer.content.opacities >= 0.5).all(), name


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"operations": {}},
        {"operations": [None]},
        {"operations": [[]]},
        {"operations": [{}]},
        {"operations": [{"operation": None}]},
        {"operations": [{"is": "Delete", "at": "x"}], "version": []},
        {"operations": [], "version": 2},
        {"operations": [], "version": "1"},
        {"operations": [], "cursor": 1},
        {"operations": [], "cursor": -1},
        {"operations": [], "cursor": 0.0},
        {"operations": [], "cursor": True},
        {"operations": [], "cursor": 10**400},
        {"operations": [], "sources": {}},
        {"operations": [], "sources": [3]},
        {"operations": [], "sources": [{"path": 3}]},
        {"operations": [], "sources": [{"path": "a", "digests": "ab"}]},
        {"operations": [], "sources": [{"path": "a", "level": -1.5}]},
        {"operations": [], "sources": [{"path": "a", "placements": [{"is": "Similarity", "scale": 0}]}]},
        {"operations": [{"operation": {"is": "Delete"}, "id": 3}]},
        {"operations": [{"operation": {"is": "Delete"}, "id": "a"}, {"operation": {"is": "Delete"}, "id": "a"}]},
        {"operations": [{"operation": {"is": "Delete"}, "on": "yes"}]},
        {"operations": [{"operation": {"is": "Delete"}, "author": []}]},
        {"operations": [{"operation": {"is": "Delete"}, "at": 10**400}]},
        {"operations": [{"is": "Delete"}] * (documents.MOST + 1)},
    ],
    ids=lambda data: repr(data)[:70],
)
def test_what_is_no_document_is_refused(data):
    with pytest.raises(ValueError) as told:
        decode(data)
    assert "\n" not in str(told.value) and len(str(told.value)) < 500


# Replaying on another source.


def test_masks_are_replayed_bit_for_bit_on_the_same_source_and_asked_again_on_another():
    editing, _ = edited(["bright", "delete"])
    same = Editing(State(two_layers()), tools(), editing.document)
    assert bits_of(same.state) == bits_of(editing.state)
    # A mask that its query would not give shows that it is not asked.
    lie = Selection(Everything(), {"a": Bits.of(np.arange(60) < 3)}, {"a": digest_of(splats()), "b": digest_of(splats(40, 1))})
    document = EMPTY.after(Do(Entry.new(Select(lie))))
    assert Editing(State(two_layers()), tools(), document).state.selected_count == 3
    other = Scene({"a": Layer(splats(seed=7)), "b": Layer(splats(40, 1), TURNED)})
    assert Editing(State(other), tools(), document).state.selected_count == 100


def test_a_bare_mask_is_refused_on_another_source_in_one_line():
    mask = {"a": np.arange(60) < 3}
    state = State(two_layers())
    document = EMPTY.after(Do(Entry.new(Delete(Selection.painted(mask, state)))))
    assert Editing(State(two_layers()), tools(), document).state.living_count == 97
    with pytest.raises(ValueError, match="bare mask fits only the scene that it was made for") as told:
        Editing(State(Scene({"a": Layer(splats(seed=7))})), tools(), document)
    assert "\n" not in str(told.value)


def test_a_selection_that_reaches_a_layer_that_is_not_shown_fits_it_too():
    """Its masks hold all that is selected, also where nobody looks."""
    editing = Editing(State(two_layers()), tools())
    editing.select(OfLayer("b"))
    editing.do(ShowLayer("b", False))
    editing.select(OfLayer("a"), "add")
    selection = editing.document.entries[-1].operation.selection
    assert set(selection.masks) == {"a", "b"} == set(selection.rows)
    other = Scene({"a": Layer(splats()), "b": Layer(splats(33, 5))})
    replayed = Editing(State(other), tools(), editing.document).state
    assert len(replayed.selected["b"]) == 33 and replayed.selected_count == 93


@pytest.mark.parametrize("count", [3, 59, 61, 100])
def test_a_mask_of_another_length_is_not_taken(count):
    """A file may say anything."""
    wrong = Selection(Everything(), {"a": Bits.of(np.ones(count, bool))}, {"a": digest_of(splats()), "b": digest_of(splats(40, 1))})
    document = EMPTY.after(Do(Entry.new(Select(wrong)))).after(Do(Entry.new(Hide())))
    state = Editing(State(two_layers()), tools(), document).state
    assert all(len(mask) == len(state.scene.layers[name].content) for name, mask in state.hidden.items())
