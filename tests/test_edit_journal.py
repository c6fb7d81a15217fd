"""The journal: what was confirmed is there, whatever happens to the file and to whoever writes it."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splatview.edit import journal as journals
from splatview.edit.bits import Bits
from splatview.edit.document import EMPTY, Amend, Do, Document, Entry, Jump, Reorder, Source, Switch, encode
from splatview.edit.journal import ASIDE, HEAD, RECORD, Journal, Locked
from splatview.edit.operations import Delete, Place, ShowLayer
from splatview.edit.select import Everything, Selection
from splatview.geometry import Similarity

START = Document((Source("/a/b.ply", ("0" * 32,), ("a",)),))


def changes():
    """One of each kind, some of them with masks."""
    mask = Bits.of(np.arange(200) % 7 == 3)
    entries = [
        Entry(ShowLayer("a", False), "person 1", 1.5, "one"),
        Entry(Delete(Selection(Everything(), {"a": mask}, {"a": "0" * 32})), id="two"),
        Entry(Place("a", Similarity(scale=2.0)), id="three"),
    ]
    return [
        *map(Do, entries),
        Jump(2),
        Switch(entries[0].id, False),
        Jump(3),
        Amend(entries[2].id, Place("a", Similarity(scale=3.0))),
        Reorder(entries[2].id, 0),
        Do(Entry(ShowLayer("ünï\n", True), id="four")),
    ]


def documents_after(some, start=START):
    made = [start]
    for change in some:
        made.append(made[-1].after(change))
    return made


def text(document):
    return None if document is None else json.dumps(encode(document))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "er" / "one.journal"


def written(path, some=None):
    journal = Journal(path)
    journal.begin(START)
    for change in some or changes():
        journal.record(change)
    journal.close()
    return path.read_bytes()


def document_in(path):
    journal = Journal(path)
    journal.close()
    return journal.document


def read(path):
    return text(document_in(path))


def test_what_was_recorded_is_read_again(path):
    some = changes()
    journal = Journal(path)
    assert journal.document is None
    journal.begin(START)
    for change, wanted in zip(some, documents_after(some)[1:], strict=True):
        journal.record(change)
        assert journals._read(path)[0] is not None and text(journals._read(path)[0]) == text(wanted)
    journal.close()
    assert read(path) == text(documents_after(some)[-1])


def test_cut_anywhere_it_holds_the_changes_that_are_whole(path):
    some = changes()
    whole = written(path, some)
    wanted = [text(document) for document in documents_after(some)]
    ends, at = [], len(HEAD)
    while at < len(whole):
        at += RECORD.size + RECORD.unpack_from(whole, at)[0]
        ends.append(at)
    assert len(ends) == len(wanted)
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        count = sum(end <= length for end in ends)
        assert text(journals._read(path)[0]) == (wanted[count - 1] if count else None), length


def test_after_a_cut_it_goes_on_as_if_nothing_had_been_torn(path):
    some = changes()
    whole = written(path, some)
    wanted = {text(document): document for document in documents_after(some)}
    for length in random.Random(0).sample(range(len(HEAD), len(whole)), 40):
        path.write_bytes(whole[:length])
        journal = Journal(path)
        if journal.document is None:
            journal.begin(START)
        document = wanted.get(text(journal.document), START)
        change = Do(Entry.new(ShowLayer("more", True)))
        journal.record(change)
        journal.close()
        assert read(path) == text(document.after(change)), length


def test_a_flipped_bit_never_gives_a_wrong_document(path):
    some = changes()
    whole = written(path, some)
    allowed = {text(document) for document in documents_after(some)} | {None}
    for bit in random.Random(0).sample(range(8 * len(whole)), 600):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert text(journals._read(path)[0]) in allowed, bit


@settings(max_examples=100)
@given(st.binary(max_size=200), st.booleans())
def test_anything_else_is_an_empty_journal(tmp_path_factory, content, headed):
    path = tmp_path_factory.mktemp("any") / "one.journal"
    path.write_bytes(HEAD * headed + content)
    assert read(path) is None


def record_of(value):
    data = json.dumps(value).encode() if not isinstance(value, bytes) else value
    return RECORD.pack(len(data), zlib.crc32(data)) + data


@pytest.mark.parametrize(
    "value",
    [
        3,
        {"do": None},
        {"do": {"operation": {"is": []}}},
        {"jump": 99},
        {"jump": -1},
        {"jump": 10**30},
        {"switch": "nobody", "on": True},
        {"amend": "nobody", "operation": {"is": "Delete"}},
        {"reorder": [], "to": 0},
        {"of a newer version": 1},
        b"[" * 200_000,
        b"\xff\xfe",
        b"NaN",
        b'{"jump": 1e999}',
    ],
    ids=lambda value: repr(value)[:50],
)
def test_a_record_of_another_version_ends_it(path, value):
    """A record that is whole and means nothing: what is before it counts, and nothing behind it."""
    some = changes()
    whole = written(path, some[:3])
    behind = record_of({"jump": 0})
    path.write_bytes(whole + record_of(value) + behind)
    assert read(path) == text(documents_after(some[:3])[-1])


def test_a_length_that_is_too_large_is_no_memory(path):
    whole = written(path)
    path.write_bytes(whole + struct.pack("<II", 0xFFFFFFFF, 0) + b"x")
    assert read(path) == text(documents_after(changes())[-1]) or read(path) is not None


def test_a_journal_of_another_version_is_put_aside_and_not_lost(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"splatview journal 9\n" + b"what a newer one wrote")
    journal = Journal(path)
    assert journal.document is None
    kept = journal.set_aside()
    journal.begin(START)
    journal.close()
    assert kept is not None and kept.read_bytes().endswith(b"newer one wrote") and read(path) == text(START)


# Two at once.


def test_the_second_on_one_path_is_told_who_has_it(path):
    first = Journal(path)
    with pytest.raises(Locked, match=f"edited by another splatview .process {os.getpid()}."):
        Journal(path)
    first.begin(START)
    with pytest.raises(Locked):
        Journal(path)
    first.close()
    assert read(path) == text(START)


WRITER = """
import sys, time
from pathlib import Path
from splatview.edit.document import EMPTY, Do, Entry
from splatview.edit.journal import Journal, Locked
from splatview.edit.operations import ShowLayer
try:
    journal = Journal(Path(sys.argv[1]))
except Locked as error:
    print("locked:", error, flush=True)
    raise SystemExit(3)
journal.begin(EMPTY)
for step in range(10**9):
    journal.record(Do(Entry.new(ShowLayer(str(step), True))))
    print(step, flush=True)
"""


def test_another_process_is_told_too_and_a_killed_one_lets_go(path):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout
        try:
            first.stdout.readline()
            second = subprocess.run([sys.executable, "-c", WRITER, str(path)], capture_output=True, text=True, timeout=30)
            assert second.returncode == 3 and f"process {first.pid}" in second.stdout
        finally:
            first.send_signal(signal.SIGKILL)
        confirmed = [int(line) for line in first.stdout.read().splitlines() if line.strip().isdecimal()]
    document = document_in(path)
    assert document is not None and len(document.entries) >= confirmed[-1] + 1
    assert [entry.operation.layer for entry in document.entries] == [str(step) for step in range(len(document.entries))]


def test_a_closed_journal_writes_nothing_more(path):
    """Somebody else may have it by then."""
    journal = Journal(path)
    journal.begin(START)
    journal.close()
    whole = path.read_bytes()
    for late in (lambda: journal.record(changes()[0]), lambda: journal.begin(EMPTY), journal.set_aside, journal.forget):
        with pytest.raises(OSError, match="closed"):
            late()
    assert path.read_bytes() == whole
    journal.close()


# A disk that is full or broken.


def test_what_does_not_reach_the_disk_is_not_in_the_journal_and_the_next_is(path, monkeypatch):
    some = changes()
    journal = Journal(path)
    journal.begin(START)
    journal.record(some[0])
    sync, bad = os.fsync, [True]

    def fsync(file):
        if bad[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    monkeypatch.setattr(os, "fsync", fsync)
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            journal.record(some[1])
        assert text(journals._read(path)[0]) == text(START.after(some[0]))  # also if it is killed now
    bad[0] = False
    journal.record(some[2])
    journal.close()
    assert read(path) == text(START.after(some[0]).after(some[2]))


def test_a_beginning_that_fails_leaves_what_was_there(path, monkeypatch):
    some = changes()
    whole = written(path, some)
    journal = Journal(path)

    def fsync(file):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError):
            journal.begin(EMPTY)
    assert path.read_bytes() == whole
    journal.record(Do(Entry.new(ShowLayer("more", True))))
    journal.close()
    assert json.loads(read(path))["operations"][-1]["operation"]["layer"] == "more"
    assert not list(path.parent.glob("*.part"))


FULL = """
import resource, signal, sys
from pathlib import Path
from splatview.edit.document import EMPTY, Do, Entry
from splatview.edit.journal import Journal
from splatview.edit.operations import ShowLayer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]))
journal.begin(EMPTY)
done = []
def record(name):
    journal.record(Do(Entry.new(ShowLayer(name, True))))
    done.append(name)
record("a")
size = journal.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, resource.RLIM_INFINITY))
for name in "bc":
    try:
        record(name * 40)
    except OSError as error:
        done.append(error.errno)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
record("d")
print(done)
"""


def test_a_file_that_may_not_grow_keeps_what_is_whole(path):
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == f"['a', {errno.EFBIG}, {errno.EFBIG}, 'd']", done.stderr
    assert [entry.operation.layer for entry in document_in(path).entries] == ["a", "d"]


def test_a_long_journal_is_read_quickly(path):
    journal = Journal(path)
    journal.begin(START)
    journal.close()
    with path.open("ab") as file:
        for step in range(5000):
            file.write(record_of({"do": {"operation": {"is": "ShowLayer", "layer": str(step), "visible": True}, "id": str(step)}}))
    began = time.process_time()
    assert len(document_in(path).entries) == 5000
    assert time.process_time() - began < 5


def test_journals_that_were_set_aside_do_not_fill_the_disk(tmp_path):
    journal = Journal(tmp_path / "x.journal")
    kept = []
    for _ in range(ASIDE + 5):
        journal.begin(Document())
        kept.append(journal.set_aside())
    journal.close()
    assert len(list(tmp_path.glob("x.kept-*"))) == ASIDE and kept[-1].exists()
