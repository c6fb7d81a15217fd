"""Where a document lives: what is on the disk when, and what is offered to whoever opens the same files again."""

from __future__ import annotations

import errno
import os

import pytest
from test_edit_document import bits_of, splats, tools

from splatview import Scene, save
from splatview.edit.document import EMPTY, Do, Document, Entry
from splatview.edit.editing import Editing
from splatview.edit.journal import HEAD, Locked
from splatview.edit.operations import Delete, Place, RemoveLayer, Select, ShowLayer
from splatview.edit.select import Range, Selection
from splatview.edit.state import State
from splatview.formats import load
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer.desk import Desk, journals_folder, open_document
from splatview.viewer.loading import Loading
from splatview.viewer.world import World


@pytest.fixture(autouse=True)
def state_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.ply"
    save(Scene({"a": Layer(splats())}), path)
    return path


def opened(file):
    return load(file).read_from(str(file))


class Sitting:
    """A desk and a world, as a viewer has them."""

    def __init__(self, scene, key="a", **more):
        self.desk = Desk(scene, key, **more)
        self.world = World(scene, tools(self.desk.load), lambda: None, self.desk.document, self.desk.record)

    def do(self, *operations):
        for operation in operations:
            self.world.do(operation).result()
        return self

    def end(self):
        """As a kill would: nothing is written any more."""
        self.world.close()
        self.desk.close()
        return self

    def recover(self):
        return self.world.put(self.desk.recover, self.desk.taken).result()


SELECT = Select(Selection(Range("x", 0.0, 9.0)))


def test_what_was_left_is_offered_and_is_the_same_when_it_is_taken(file):
    first = Sitting(opened(file)).do(SELECT, Delete(), ShowLayer("a", False)).end()
    second = Sitting(opened(file))
    assert second.desk.recovered is not None and not second.world.document.entries
    assert bits_of(second.recover()) == bits_of(first.world.state)
    assert second.desk.recovered is None
    second.do(ShowLayer("a", True)).end()
    third = Sitting(opened(file))
    assert third.desk.recovered is not None and len(third.desk.recovered.entries) == 4
    third.end()


def test_nothing_is_offered_where_nothing_was_done(file):
    Sitting(opened(file)).end()
    again = Sitting(opened(file)).end()
    assert again.desk.recovered is None


def test_what_was_put_aside_is_not_offered_and_stays_on_the_disk(file):
    Sitting(opened(file)).do(SELECT).end()
    second = Sitting(opened(file))
    second.desk.dismiss()
    assert second.desk.recovered is None and len(list(journals_folder().glob("*.kept-1"))) == 1
    second.end()
    third = Sitting(opened(file)).end()
    assert third.desk.recovered is None


def test_what_was_left_can_still_be_taken_after_other_work(file):
    first = Sitting(opened(file)).do(SELECT, Delete()).end()
    second = Sitting(opened(file)).do(ShowLayer("a", False))
    assert bits_of(second.recover()) == bits_of(first.world.state)
    second.end()
    third = Sitting(opened(file)).end()
    assert third.desk.recovered is not None and len(third.desk.recovered.entries) == 2


def test_work_that_cannot_be_taken_is_offered_still_and_the_present_one_goes_on(file):
    first = Sitting(opened(file)).do(SELECT, Delete(Selection.painted({"a": splats().means[:, 0] > 0}, State(opened(file))))).end()
    assert first.world.state.living_count < 60
    save(Scene({"a": Layer(splats(seed=5))}), file)  # the file is another one now, and a bare mask does not fit it
    second = Sitting(opened(file))
    with pytest.raises(ValueError, match="bare mask"):
        second.recover()
    assert second.desk.recovered is not None
    second.do(ShowLayer("a", False)).end()
    third = Sitting(opened(file)).end()
    assert third.desk.recovered is not None
    assert [entry.operation.label for entry in third.desk.recovered.entries] == ["Hide layer a"]
    [kept] = journals_folder().glob("*.kept-1")
    assert kept.read_bytes().startswith(HEAD)


def test_what_the_disk_does_not_take_has_not_happened_and_the_next_change_does(file, monkeypatch):
    sitting = Sitting(opened(file)).do(SELECT)
    before = sitting.world.state, sitting.world.document

    def fsync(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match=r"Nothing has changed, as it could not be kept in .*: No space left on device"):
            sitting.do(Delete())
    assert (sitting.world.state, sitting.world.document) == before
    sitting.do(Delete()).end()
    assert [entry.operation.label for entry in Sitting(opened(file)).end().desk.recovered.entries] == ["Select by range", "Delete"]


def test_a_document_that_is_put_in_its_place_has_a_journal_of_its_own(file):
    sitting = Sitting(opened(file)).do(ShowLayer("a", False))
    other = Document(sitting.world.document.sources).after(Do(Entry.new(Place("a", Similarity(scale=2.0)))))
    sitting.world.restore(opened(file), other).result()
    sitting.do(ShowLayer("a", False)).end()
    again = Sitting(opened(file)).end()
    assert [entry.operation.label for entry in again.desk.recovered.entries] == ["Place layer a", "Hide layer a"]


def test_a_journal_that_a_newer_one_wrote_is_not_written_over(file):
    Sitting(opened(file)).do(SELECT).end()
    [path] = journals_folder().glob("*.journal")
    path.write_bytes(b"splatview journal 9\nprecious")
    Sitting(opened(file)).do(SELECT).end()
    [kept] = journals_folder().glob("*.kept-1")
    assert kept.read_bytes() == b"splatview journal 9\nprecious"


def test_two_of_the_same_files_have_a_journal_each_and_both_are_offered(file):
    first, second = Sitting(opened(file)).do(SELECT), Sitting(opened(file)).do(ShowLayer("a", False))
    first.do(Delete())
    first.end()
    second.end()
    counts = []
    for _ in range(2):
        again = Sitting(opened(file))
        counts.append(len(again.desk.recovered.entries))
        again.desk.dismiss()
        again.end()
    assert sorted(counts) == [1, 2]
    assert Sitting(opened(file)).end().desk.recovered is None


def test_a_file_that_was_sent_is_there_for_whoever_takes_the_work_up(file, tmp_path):
    """It was in the page of somebody, and is nowhere else."""
    sent = tmp_path / "sent.ply"
    save(Scene({"sent": Layer(splats(7, 4))}), sent)
    first = Sitting(opened(file))
    loading = Loading(first.world, first.desk)
    assert loading.add(sent, stays=False).result(10) == "sent" and not sent.exists()
    loading.close()
    first.do(ShowLayer("a", False)).end()
    second = Sitting(opened(file))
    assert bits_of(second.recover()) == bits_of(first.world.state)
    assert list(second.world.scene.layers) == ["a", "sent"]
    second.end()


# With a name.


def titled(path):
    scene, document = open_document(path)
    return Sitting(scene, str(path), document=document, path=path)


def test_a_document_that_was_saved_is_opened_as_it_was_and_nothing_is_offered(file, tmp_path):
    path = tmp_path / "one.splatview"
    first = Sitting(opened(file)).do(SELECT, Delete())
    first.desk.save(path, first.world.sourced())
    assert first.desk.is_saved(first.world.document)
    first.end()
    second = titled(path)
    assert bits_of(second.world.state) == bits_of(first.world.state) and second.desk.recovered is None
    assert second.desk.is_saved(second.world.document)
    second.do(ShowLayer("a", False)).end()
    third = titled(path)
    assert third.desk.recovered is not None and len(third.desk.recovered.entries) == 3
    third.recover()
    assert not third.world.scene.layers["a"].visible and not third.desk.is_saved(third.world.document)
    third.end()
    assert Sitting(opened(file)).end().desk.recovered is None  # it is no longer untitled


def test_a_titled_document_that_is_open_elsewhere_is_locked(file, tmp_path):
    path = tmp_path / "one.splatview"
    first = Sitting(opened(file)).do(SELECT)
    first.desk.save(path, first.world.sourced())
    with pytest.raises(Locked, match="edited by another splatview"):
        titled(path)
    second = Sitting(opened(file), "other").do(ShowLayer("a", False))
    before = path.read_bytes()
    with pytest.raises(Locked):
        second.desk.save(path, second.world.sourced())
    assert path.read_bytes() == before and second.desk.path is None
    second.do(RemoveLayer("a")).end()
    first.end()
    assert len(Sitting(opened(file), "other").end().desk.recovered.entries) == 2


def test_a_document_that_changed_after_its_journal_is_opened_and_the_journal_offered(file, tmp_path):
    path = tmp_path / "one.splatview"
    first = Sitting(opened(file)).do(SELECT)
    first.desk.save(path, first.world.sourced())
    first.do(Delete()).end()
    second = titled(path)
    assert len(second.world.document.entries) == 1 and len(second.desk.recovered.entries) == 2
    second.end()


def test_without_a_key_nothing_is_written(file):
    desk = Desk(opened(file))
    desk.record(Do(Entry.new(SELECT)), EMPTY)
    desk.close()
    assert not journals_folder().exists()


def test_the_state_of_a_recovered_document_is_that_of_a_replay(file):
    first = Sitting(opened(file)).do(SELECT, Delete())
    first.world.undo().result()
    first.end()
    second = Sitting(opened(file))
    document = second.desk.recovered
    assert document.cursor == 1 and len(document.entries) == 2
    assert bits_of(second.recover()) == bits_of(Editing(State(opened(file)), tools(), document).state)
    second.end()
