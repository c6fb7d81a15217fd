"""`NAME.splatview`: what was saved is opened again as it was, and whatever else is in such a file is a ValueError."""

from __future__ import annotations

import errno
import json
import os
import random
import time
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from test_edit_document import bits_of, edited, tools, two_layers

from splatview.edit import archive
from splatview.edit.bits import Bits
from splatview.edit.document import EMPTY, Do, Document, Entry, Source, encode
from splatview.edit.editing import Editing
from splatview.edit.operations import AddLayers, Delete, Hide, ShowLayer
from splatview.edit.select import Everything, Selection
from splatview.edit.state import State

MANY = ["bright", "grade", "ball", "move", "hide", "save", "range", "delete", "copy", "off"]


@pytest.fixture(scope="module")
def document():
    return edited(MANY)[0].document


@pytest.fixture
def file(tmp_path, document):
    path = tmp_path / "one.splatview"
    archive.write(path, document)
    return path


def same(one: Document, other: Document) -> bool:
    return encode(one) == encode(other)


def test_what_was_saved_is_opened_again_to_the_last_bit(file, document):
    read = archive.read(file)
    assert same(read, document)
    assert bits_of(Editing(State(two_layers()), tools(), read).state) == bits_of(Editing(State(two_layers()), tools(), document).state)


def test_saving_again_is_in_the_old_ones_place_and_leaves_nothing_else(file, document):
    shorter = document.after(Do(Entry.new(ShowLayer("b", False))))
    archive.write(file, shorter)
    assert same(archive.read(file), shorter)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_file_that_moves_with_its_sources_finds_them(tmp_path):
    (tmp_path / "a" / "scenes").mkdir(parents=True)
    sources = (Source(str(tmp_path / "a" / "scenes" / "x.ply")), Source(str(tmp_path / "other.ply")), Source("embedded:x"))
    document = Document(sources).after(Do(Entry.new(AddLayers(str(tmp_path / "a" / "y.spz")))))
    archive.write(tmp_path / "a" / "one.splatview", document)
    (tmp_path / "a").rename(tmp_path / "b")
    read = archive.read(tmp_path / "b" / "one.splatview")
    assert [source.path for source in read.sources] == [
        str(tmp_path / "b" / "scenes" / "x.ply"),
        str(tmp_path / "other.ply"),
        "embedded:x",
    ]
    assert read.entries[0].operation.path == str(tmp_path / "b" / "y.spz")


def test_masks_are_stored_once_and_shared_when_they_are_read(tmp_path):
    mask = Bits.of(np.random.default_rng(0).random(1_000_000) < 0.5)
    document = EMPTY
    for _ in range(50):
        document = document.after(Do(Entry.new(Hide(Selection(Everything(), {"a": mask}, {"a": "0" * 32})))))
    path = tmp_path / "one.splatview"
    archive.write(path, document)
    assert path.stat().st_size < 200_000
    read = archive.read(path)
    assert len({id(entry.operation.selection.masks["a"].data) for entry in read.entries}) == 1


def test_a_disk_that_is_full_leaves_the_old_file(file, document, monkeypatch):
    before = file.read_bytes()

    def fsync(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        archive.write(file, EMPTY)
    assert file.read_bytes() == before and [path.name for path in file.parent.iterdir()] == [file.name]


# Hostile.


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        archive.read(tmp_path / "none.splatview")


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip", b"PK\x05\x06" + bytes(18), b"{}" * 100], ids=repr)
def test_what_is_no_zip_is_refused(tmp_path, content):
    path = tmp_path / "x.splatview"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.splatview: expected"):
        archive.read(path)


def zipped(path, entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as made:
        for name, data in entries.items():
            made.writestr(name, data)
    return path


DELETE = {"is": "Delete", "selection": {"is": "Selection", "query": {"is": "Everything"}, "rows": {"a": "0"}}}


def with_mask(name="m", count=16):
    selection = DELETE["selection"] | {"masks": {"a": {"is": "Bits", "count": count, "data": name}}}
    return json.dumps({"operations": [DELETE | {"selection": selection}]})


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"other.json": "{}"},
        {"document.json": ""},
        {"document.json": b"\xff\xfe"},
        {"document.json": "[" * 100_000},
        {"document.json": '{"operations": [' + "1" * 5000 + "]}"},
        {"document.json": '{"operations": [], "cursor": NaN}'},
        {"document.json": '{"operations": [], "version": 7}'},
        {"document.json": with_mask()},
        {"document.json": with_mask("../../../etc/passwd")},
        {"document.json": with_mask(), "masks/m": b"not zlib"},
        {"document.json": with_mask(), "masks/m": zlib.compress(b"abc")},
        {"document.json": with_mask(), "masks/m": zlib.compress(bytes(1 << 26))},
        {"document.json": with_mask(count=1 << 40), "masks/m": zlib.compress(b"ab")},
    ],
    ids=lambda entries: repr(entries)[:80],
)
def test_what_is_no_document_is_refused_in_one_line(tmp_path, entries):
    path = zipped(tmp_path / "x.splatview", entries)
    began = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"x\.splatview: ") as told:
            archive.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(told.value) and len(str(told.value)) < 600
    assert peak < 64 << 20 and time.process_time() - began < 5


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path, compression):
    """They could say more with less than the limits count on."""
    path = zipped(tmp_path / "x.splatview", {"document.json": json.dumps({"operations": []})}, compression)
    with pytest.raises(ValueError, match="stored or deflated"):
        archive.read(path)


def test_a_bomb_is_refused_before_it_goes_off(tmp_path):
    path = zipped(tmp_path / "x.splatview", {"document.json": b" " * (300 << 20)})
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="at most"):
            archive.read(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_an_entry_that_lies_about_its_size_is_refused(tmp_path):
    path = zipped(tmp_path / "x.splatview", {"document.json": b'{"operations": []}' + b" " * 100_000})
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ValueError):
        archive.read(path)


def test_cut_or_flipped_anywhere_it_is_refused_or_the_same(file, document, tmp_path):
    whole, chance = file.read_bytes(), random.Random(0)
    path = tmp_path / "broken.splatview"
    wanted = encode(document)
    for _ in range(400):
        broken = bytearray(whole)
        if chance.random() < 0.3:
            broken = broken[: chance.randrange(len(broken))]
        else:
            for _ in range(chance.randint(1, 3)):
                broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        path.write_bytes(broken)
        try:
            read = archive.read(path)
        except ValueError as error:
            assert str(error)
        else:
            assert encode(read) == wanted


def test_a_deleting_document_is_one(tmp_path):
    path = zipped(tmp_path / "x.splatview", {"document.json": with_mask(), "masks/m": zlib.compress(b"ab")})
    [entry] = archive.read(path).entries
    assert isinstance(entry.operation, Delete) and entry.operation.selection.masks["a"].mask.sum() == 6
