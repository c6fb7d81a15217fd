"""The panel's folders for editing: their laws without a page, and their widgets through a scripted client and the door."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import re
import socket
import threading
import time
import zipfile
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st
from scripted_client import ScriptedClient
from test_viewer import coloured_ball, nobody_left, scripted
from test_viewer_door import asked, cookie
from test_viewer_panels import ready, seen, value

from splatview import Scene, load, save
from splatview.edit import archive
from splatview.edit.attributes import in_range
from splatview.edit.document import Document, Entry, Source
from splatview.edit.embedding import embedded
from splatview.edit.grade import Grading, Painting, graded, painted
from splatview.edit.journal import Locked
from splatview.edit.operations import AddLayers, Delete, Grade, Paint, PlaceAll, Rename, ShowLayer, SwapLevel
from splatview.edit.select import OfLayer, Range
from splatview.edit.state import State, digest_of
from splatview.formats import FORMATS
from splatview.formats.inria import decode, encode
from splatview.formats.report import Report
from splatview.frame import Masks
from splatview.framing import Framing
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.desk import Desk, open_document, read
from splatview.viewer.downloads import WAITING, Downloads
from splatview.viewer.exporting import BYTES, WRITABLE, Export, readable
from splatview.viewer.panels.cleanup import summed_up
from splatview.viewer.panels.data import columns, counted
from splatview.viewer.panels.history import WINDOW, clock, listed, window
from splatview.viewer.panels.relight import angles, sun
from splatview.viewer.paths import to_write
from splatview.viewer.space import page_from_world
from splatview.viewer.world import Cancelled


def same(one, other):
    names = "means", "quats", "log_scales", "opacity_logits", "sh"
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@pytest.fixture
def viewer(tmp_path):
    scene = Scene({"ball": Layer(coloured_ball(400)), "twin": Layer(coloured_ball(50, seed=1), visible=False)})
    with Viewer(scene, ViewerSettings(port=0, up="z", open=False, root=tmp_path)) as running:
        yield running
        nobody_left(running)


# What a page may write


@pytest.mark.parametrize("named", ["a.ply", "run/a.ply", "./run/../a.ply", "{root}/a.ply", "new", "run/new.spz"])
def test_files_below_the_root_may_be_written(tmp_path, named):
    (tmp_path / "run").mkdir()
    assert to_write(tmp_path, named.format(root=tmp_path), ".ply").is_relative_to(tmp_path.resolve())
    assert to_write(tmp_path, "new", ".ply").name == "new.ply" and to_write(tmp_path, "new.PLY", ".ply").name == "new.PLY"


REFUSED = ["", " ", ".", "run", "../a", "/etc/passwd", "out/a", "link", "none/a", "a\0b", "x" * 5000, "run/..", "/"]


@pytest.mark.parametrize("named", REFUSED)
def test_nothing_else_may_be_written(tmp_path, named):
    root = tmp_path / "root"
    (root / "run").mkdir(parents=True)
    (root / "out").symlink_to(tmp_path)
    (root / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError):
        to_write(root, named)
    with pytest.raises(ValueError, match="--root"):
        to_write(None, "a.ply")


# Exporting


def test_everything_that_can_be_written_can_be_chosen():
    assert set(WRITABLE.values()) == {entry.suffix for entry in FORMATS if entry.encode} == set(BYTES)


@pytest.mark.parametrize("suffix", BYTES)
def test_the_size_is_about_right(suffix):
    state = State(Scene({"ball": Layer(coloured_ball(5000))}))
    data = next(entry for entry in FORMATS if entry.suffix == suffix).encode(state.scene.layers["ball"].content, Report(), _choices())
    assert 0.6 < len(data) / Export(suffix).size(state) < 1.6


def _choices():
    from splatview.formats import Choices

    return Choices()


def test_what_is_deleted_or_hidden_or_not_selected_is_left_out():
    some = np.arange(100) < 30
    scene = Scene({"a": Layer(coloured_ball(100)), "b": Layer(coloured_ball(50), visible=False)})
    state = State(scene, deleted=Masks({"a": some}), selected=Masks({"a": np.arange(100) >= 90}))
    for export, count in ((Export(), 70), (Export(part="selection"), 10)):
        assert export.count(state) == count == sum(len(layer.content) for layer in export.scene(state).visible_layers.values())
    assert Export(max_sh=0).size(state) < Export().size(state)
    with pytest.raises(ValueError, match="selected"):
        Export(part="selection").scene(State(scene))
    with pytest.raises(ValueError, match="nothing to export"):
        Export().scene(State(scene.shown("a", False)))


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (238e6, "238 MB"), (1.24e9, "1.2 GB")])
def test_sizes_are_readable(size, text):
    assert readable(size) == text


async def fetched(viewer, client, after=0):
    """The answer to the download that the page was told of: its status, name and content."""
    told = await client.until(lambda: [found for one in client.scripts[after:] if (found := re.search(r'"(/download/[^"]+)"', one))])
    async with ClientSession() as http, http.get(viewer.url.rstrip("/") + told[-1][1]) as answer:
        return answer.status, answer.headers.get("Content-Disposition", ""), await answer.read()


def test_a_download_comes_through_the_door_and_holds_the_result(viewer, tmp_path):
    async def script(client):
        await ready(client, "Download")
        assert "400 splats, about" in " ".join(str(props.get("content")) for _, props in client.widgets.values())
        viewer.world.select(Range("x", -9, 0)).result()
        viewer.world.do(Delete()).result()
        await client.press("Download")
        return await fetched(viewer, client)

    status, disposition, data = scripted(viewer, script)
    assert status == 200 and disposition == "attachment; filename*=UTF-8''ball.ply"
    (tmp_path / "back.ply").write_bytes(data)
    kept = viewer.world.edited.result().layers["ball"].content
    assert 0 < len(kept) < 400 and same(load(tmp_path / "back.ply").layers["back"].content, kept)
    assert not list(viewer.studio.downloads._folder.iterdir())


def test_a_file_is_written_below_the_root_and_replaced_only_when_asked(viewer, tmp_path):
    async def script(client):
        await ready(client, "Download")
        await client.set("Path", "../out")
        await client.press("Write on the server")
        await client.until(lambda: any("below" in text for _, text in client.notices.values()))
        await client.set("Format", next(label for label, suffix in WRITABLE.items() if suffix == ".spz"))
        await client.set("Max SH degree", "0")
        await client.set("Path", "out")
        await client.press("Write on the server")
        await client.until(lambda: any("written to out.spz" in text for _, text in client.notices.values()))
        first = (tmp_path / "out.spz").read_bytes()
        viewer.world.select(Range("x", -9, 0)).result()
        await client.set("What", "selection")
        await client.press("Write on the server")
        await client.until(lambda: any("is there already" in str(props.get("content")) for _, props in client.widgets.values()))
        assert (tmp_path / "out.spz").read_bytes() == first
        await client.set("Replace the file?", "Replace")
        await seen(lambda: (tmp_path / "out.spz").read_bytes() != first)

    scripted(viewer, script)
    written = load(tmp_path / "out.spz").layers["out"].content
    assert len(written) == viewer.world.edited.selected_count and written.sh_degree == 0
    assert not (tmp_path.parent / "out.ply").exists()


def test_what_cannot_be_exported_is_said(viewer):
    async def script(client):
        await ready(client, "Download")
        await client.set("What", "selection")
        await client.press("Download")
        await client.until(lambda: any("nothing is selected" in text for _, text in client.notices.values()))
        await client.until(lambda: not client.widgets["Cancel the export"][1]["visible"])

    scripted(viewer, script)
    assert not list(viewer.studio.downloads._folder.iterdir())


# Saving


def dressed(scene, tmp_path):
    """The scene with its layers read from a file, as the command line does."""
    path = tmp_path / "ball.ply"
    save(scene, path)
    return load(path).read_from(str(path))


def opened_again(path, **settings):
    scene, document = open_document(path)
    return Viewer(scene, ViewerSettings(port=0, open=False, **settings), key="again", document=document, path=path)


@pytest.fixture
def titled(tmp_path):
    scene = dressed(Scene({"ball": Layer(coloured_ball(400))}), tmp_path)
    with Viewer(scene, ViewerSettings(port=0, up="z", open=False, root=tmp_path), key=str(tmp_path)) as running:
        yield running
        nobody_left(running)


def told(client, text):
    return any(text in str(props.get("content")) for _, props in client.widgets.values()) or any(
        text in body for _, body in client.notices.values()
    )


def test_a_document_is_saved_and_opened_as_it_was(titled, tmp_path):
    async def script(client):
        await ready(client, "Document file")
        assert value(client, "Document file") == "ball.splatview" and told(client, "nothing to save")
        titled.world.select(Range("x", -9, 0)).result()
        titled.world.do(Delete()).result()
        await client.until(lambda: told(client, "not saved"))
        await client.set("Document file", "run")  # the ending is added
        await client.trigger("Save the document")
        await client.until(lambda: told(client, "run.splatview   (saved)") and told(client, "run.splatview is saved"))
        titled.world.undo().result()
        await client.until(lambda: told(client, "run.splatview •   (not saved)"))
        await client.press("Save")
        await client.until(lambda: told(client, "run.splatview   (saved)"))
        await client.set("Document file", "ball.ply")  # not over a scene: the ending is added
        await client.press("Save as")
        await client.until(lambda: titled.desk.path == (tmp_path / "ball.ply.splatview").resolve())
        await client.set("Document file", "run")
        await client.press("Save as")
        await client.until(lambda: told(client, "is there already"))
        await client.set("Replace the document?", "Keep")
        titled.world.redo().result()

    scripted(titled, script)
    with pytest.raises(Locked):
        opened_again(tmp_path / "ball.ply.splatview")
    with opened_again(tmp_path / "run.splatview") as again:
        assert again.world.document.cursor == 1 and len(again.world.document.entries) == 2
        assert again.world.redo().result().living_count == titled.world.edited.living_count < 400
        assert same(again.world.edited.result().layers["ball"].content, titled.world.edited.result().layers["ball"].content)


def test_what_cannot_be_saved_is_said_in_one_line(titled, tmp_path, monkeypatch):
    other = Desk(titled.scene, "other", titled.world.document, tmp_path / "taken.splatview")
    other.save(tmp_path / "taken.splatview", titled.world.sourced())
    other.close()
    taken = Desk(titled.scene, str((tmp_path / "taken.splatview").resolve()), titled.world.document, tmp_path / "taken.splatview")

    async def script(client):
        await ready(client, "Document file")
        for path, text in (("../x", "below"), ("none/x", "no folder"), ("taken", "another splatview")):
            await client.set("Document file", path)
            await client.press("Save as")
            if path == "taken":
                await client.until(lambda: told(client, "is there already"))
                await client.set("Replace the document?", "Replace")
            await client.until(lambda text=text: told(client, text))

        def full(*_):
            raise OSError(28, "No space left on device", "x")

        monkeypatch.setattr("splatview.viewer.desk.archive.write", full)
        await client.set("Document file", "fits")
        await client.press("Save as")
        await client.until(lambda: told(client, "No space left on device"))

    scripted(titled, script)
    taken.close()
    assert titled.desk.path is None and not (tmp_path / "fits.splatview").exists() and not (tmp_path.parent / "x.splatview").exists()


def test_a_document_with_its_sources_needs_no_other_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    scene = dressed(Scene({"ball": Layer(coloured_ball(400))}), tmp_path)
    save(Scene({"b": Layer(coloured_ball(60, seed=3))}), tmp_path / "more.spz")
    folder = tmp_path / "moved"
    with Viewer(scene, ViewerSettings(port=0, up="z", open=False, root=tmp_path), key=str(tmp_path)) as first:
        first.world.do(PlaceAll(Similarity(scale=2.0))).result()
        first.studio.loading.add(tmp_path / "more.spz").result()
        first.world.select(OfLayer("more")).result()
        first.world.do(Grade(Grading(exposure=1.0))).result()

        async def script(client):
            await ready(client, "Document file")
            await client.set("Embed sources", True)
            await client.set("Document file", "whole")
            await client.press("Save as")
            await client.until(lambda: told(client, "(saved)"))

        scripted(first, script)
        wanted, digests = first.world.edited, {name: rows.digest for name, rows in first.world.edited.rows.items()}
    folder.mkdir()
    (tmp_path / "whole.splatview").rename(folder / "whole.splatview")
    for gone in ("ball.ply", "more.spz"):
        (tmp_path / gone).unlink()
    for _ in range(2):  # what was extracted once is there the second time
        with opened_again(folder / "whole.splatview", root=folder) as again:
            state = again.world.edited
            assert {name: rows.digest for name, rows in state.rows.items()} == digests
            for name, layer in wanted.scene.layers.items():
                assert same(state.scene.layers[name].content, layer.content) and state.scene.layers[name].placement == layer.placement
            assert again.desk.is_saved(again.world.document)
            again.desk.save(folder / "again.splatview", again.world.sourced())  # what was embedded stays so
    with zipfile.ZipFile(folder / "again.splatview") as archive:
        assert {name for name in archive.namelist() if name.startswith("sources/")} == {"sources/ball.ply/1.ply", "sources/more.spz/1.ply"}


def test_a_source_that_has_changed_is_not_embedded_as_if_it_had_not():
    scene, other = (Scene({"a": Layer(coloured_ball(20, seed=seed))}) for seed in (1, 2))
    digest = digest_of(scene.layers["a"].content)
    documents = (
        Document((Source("a.ply", (digest,), ("a",)),)),
        Document((), (Entry(AddLayers("a.ply", ("a",), (digest,))),), 1),
    )
    for document in documents:
        there, entries = embedded(document, lambda path, level: scene, encode)
        assert list(entries) == ["a.ply/1.ply"] and same(decode(entries["a.ply/1.ply"]), scene.layers["a"].content)
        assert "embedded:a.ply" in str(there)
        with pytest.raises(ValueError, match="changed since"):
            embedded(document, lambda path, level: other, encode)


def test_levels_of_detail_that_are_shown_are_embedded_too(tmp_path):
    levels = [Scene({"a": Layer(coloured_ball(count))}) for count in (50, 20, 5)]
    document = Document((Source("a.sog", (), ("a",), (), 0),), tuple(Entry(SwapLevel("a", level)) for level in (2, 0)), 2)
    there, entries = embedded(document, lambda path, level: levels[level or 0], encode)
    archive.write(tmp_path / "a.splatview", there, entries)
    [source] = archive.extracted(tmp_path / "a.splatview", archive.read(tmp_path / "a.splatview"), tmp_path).sources
    for level in (None, 0, 2):
        found = next(iter(read(source.path, level).layers.values()))
        assert same(found.content, levels[level or 0].layers["a"].content) and found.source == source.path
    with pytest.raises(ValueError, match="level of detail 1"):
        read(source.path, 1)


@pytest.mark.parametrize("entry", [f"sources/ball.ply/{name}" for name in ("../../x.ply", "x.py", "1.ply/2.ply", "01", "", "/1.ply")])
def test_nothing_is_extracted_but_layers(tmp_path, entry):
    document = Document((Source("embedded:ball.ply"),))
    archive.write(tmp_path / "a.splatview", document, {})
    with zipfile.ZipFile(tmp_path / "a.splatview", "a") as added:
        added.writestr(entry, b"x")
    for path in ("embedded:ball.ply", "embedded:../ball.ply", "embedded:", "embedded:..", "embedded:ball.ply/.."):
        with pytest.raises(ValueError, match="embedded source"):
            archive.extracted(tmp_path / "a.splatview", Document((Source(path),)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.splatview"]


def test_paths_in_a_document_move_with_its_folder(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    add = AddLayers(str(tmp_path / "a" / "more.spz"), ("more",))
    document = Document((Source(str(tmp_path / "a" / "b" / "ball.ply")),), (Entry(add),), 1)
    archive.write(tmp_path / "a" / "b" / "x.splatview", document)
    (tmp_path / "a").rename(tmp_path / "c")
    again = archive.read(tmp_path / "c" / "b" / "x.splatview")
    assert again.sources[0].path == str((tmp_path / "c" / "b" / "ball.ply").resolve())
    assert again.entries[0].operation.path == str((tmp_path / "c" / "more.spz").resolve())


def test_saving_can_be_cancelled_and_leaves_nothing(titled, tmp_path, monkeypatch):
    def cancelled(*_):
        titled.world.cancel()
        titled.world.tools.progress(0.5, "")

    monkeypatch.setattr("splatview.viewer.desk.inria.encode", cancelled)

    async def script(client):
        await ready(client, "Document file")
        await client.set("Embed sources", True)
        await client.press("Save")
        await client.until(lambda: told(client, "nothing has changed"))

    scripted(titled, script)
    assert titled.desk.path is None and sorted(path.name for path in tmp_path.iterdir()) == ["ball.ply"]


# Recovery


@pytest.mark.parametrize("answer", ["Recover", "Put aside"])
def test_unsaved_work_is_offered_to_everybody_and_handled_once(tmp_path, monkeypatch, answer):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    scene = dressed(Scene({"ball": Layer(coloured_ball(400))}), tmp_path)
    settings = ViewerSettings(port=0, up="z", open=False, root=tmp_path)
    with Viewer(scene, settings, key="k") as first:
        first.world.select(Range("x", -9, 0)).result()
        left = first.world.do(Delete()).result().living_count
    with Viewer(scene, settings, key="k") as second:

        async def script(client):
            async with ScriptedClient.connect(second.url) as other:
                for one in (client, other):
                    await one.orbit(0.0)
                    await one.until(lambda one=one: "Put aside" in one.widgets and told(one, "2 operations"))
                button = next(label for label in client.widgets if label.startswith(answer))
                await client.press(button)
                folder = "Unsaved work was found"
                for one in (client, other):
                    await one.until(lambda one=one: not one.widgets[folder][1]["visible"])
                await other.press(next(label for label in other.widgets if label.startswith("Recover")))
                await other.until(lambda: told(other, "nothing to recover"))

        scripted(second, script)
        assert second.world.edited.living_count == (left if answer == "Recover" else 400)
        assert second.desk.recovered is None


# The door


@pytest.fixture
def offered(viewer):
    path = viewer.studio.downloads.place("../a \r\nb.ply")
    path.write_bytes(b"x" * 3_000_000)
    return viewer.studio.downloads.offer(path), path


def get(viewer, address, *more, method="GET"):
    return asked(viewer._door.port, f"{method} {address} HTTP/1.1", f"Host: 127.0.0.1:{viewer._door.port}", *more)


def test_a_file_is_fetched_once(viewer, offered):
    address, path = offered
    for method in ("HEAD", "POST", "PUT", "DELETE"):  # none of them takes it
        assert get(viewer, address, f"Origin: {viewer.url.rstrip('/')}", method=method)[0] in (404, 405)
    status, head = get(viewer, address)
    assert status == 200 and "Content-Length: 3000000" in head and "application/octet-stream" in head and "no-store" in head
    assert "filename*=UTF-8''a%20b.ply" in head and "sandbox" in head
    assert not path.exists()
    assert get(viewer, address)[0] == 404


def test_a_page_that_takes_nothing_is_given_up(viewer, monkeypatch):
    monkeypatch.setattr("splatview.viewer.downloads.STALLED", 0.3)
    path = viewer.studio.downloads.place("large.ply")
    with path.open("wb") as file:
        file.truncate(200_000_000)
    address = viewer.studio.downloads.offer(path)
    with socket.create_connection(("127.0.0.1", viewer._door.port), timeout=10) as connection:
        connection.sendall(f"GET {address} HTTP/1.1\r\nHost: 127.0.0.1:{viewer._door.port}\r\n\r\n".encode())
        time.sleep(2.0)
        taken = 0
        with contextlib.suppress(ConnectionResetError):
            while more := connection.recv(1 << 20):
                taken += len(more)
    assert taken < 100_000_000


@pytest.mark.parametrize("more", ["Origin: http://evil.example", "Origin: null", "Host: evil.example"])
def test_another_site_fetches_nothing_and_takes_nothing_away(viewer, offered, more):
    address, path = offered
    assert get(viewer, address, more)[0] in (400, 403)
    assert path.exists() and get(viewer, address, f"Origin: {viewer.url.rstrip('/')}")[0] == 200


@pytest.mark.parametrize("guess", ["", "x", "..", "../..", "%2e%2e%2f", "{id}x", "{id}/", "{id}/../{id}x", "a" * 5000])
def test_no_other_id_fetches_anything(viewer, offered, guess):
    address, path = offered
    number = address.rsplit("/", 1)[-1]
    assert get(viewer, f"/download/{guess.format(id=number)}")[0] in (400, 404)
    assert path.exists()


def test_without_the_token_nothing_is_fetched():
    with Viewer(Scene({"ball": Layer(coloured_ball(9))}), ViewerSettings(host="0.0.0.0", port=0, open=False)) as abroad:
        path = abroad.studio.downloads.place("a.ply")
        path.write_bytes(b"x")
        address = abroad.studio.downloads.offer(path)
        assert get(abroad, address)[0] == 403
        assert get(abroad, f"{address}?token={abroad._door.token}")[0] == 403
        assert get(abroad, address, cookie(abroad, "guessed"))[0] == 403
        assert path.exists() and get(abroad, address, cookie(abroad))[0] == 200
        folder = abroad.studio.downloads._folder
    assert not folder.exists()


def test_files_that_nobody_fetches_give_way(monkeypatch):
    downloads = Downloads()
    try:
        paths = []
        for number in range(WAITING + 3):
            paths.append(downloads.place(f"{number}.ply"))
            paths[-1].write_bytes(b"x")
            downloads.offer(paths[-1])
        assert [path.exists() for path in paths] == [False] * 3 + [True] * WAITING
        assert len({path.parent for path in paths}) == len(paths) and paths[-1].parent.stat().st_mode & 0o077 == 0
        now = time.monotonic()
        monkeypatch.setattr("splatview.viewer.downloads.time.monotonic", lambda: now + 3600)
        last = downloads.place("last.ply")
        last.write_bytes(b"x")
        downloads.offer(last)
        assert [path for path in (*paths, last) if path.exists()] == [last]
    finally:
        downloads.close()


# History


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 20))
def test_the_window_holds_its_middle_and_wastes_no_row(count, middle, rows):
    first, last = window(count, middle, rows)
    assert 0 <= first <= last <= count and last - first == min(rows, count)
    assert not count or first <= min(middle, count - 1) < last


def described(html):
    """What a list says: the buttons by their names and values, and the text."""
    pressed = [json.loads(unescape(one)) for one in re.findall(r'data-splatview-press="([^"]*)"', html)]
    return pressed, re.sub(r"<style>[^<]*</style>|<[^>]*>", " ", html)


def test_the_list_is_short_says_who_and_when_and_trusts_no_name():
    author = "<img onerror=alert(1)>"
    entries = tuple(Entry(Rename("a", f"<b>{n}</b>"), author, 1e9 + n, f"id{n}", on=n != 49) for n in range(100))
    html = listed(Document((), entries, 50), 49, ("person 2", "undid 'Delete' of <u>"), now=1e9)
    assert "<img" not in html and "<b>" not in html and "<u>" not in html and "onerror=alert(1)&gt;" in html
    pressed, text = described(html)
    assert len([one for one in pressed if one[0] == "history jump"]) == WINDOW
    assert ["history jump", "50"] in pressed and ["history switch", "id49"] in pressed and "older" in text and "newer" in text
    assert 'class="jump off"' in html and 'class="jump undone"' in html and "person 2 undid" in text and clock(1e9 + 49, 1e9) in text
    assert len(html) < 15_000
    assert "As it was opened" in listed(Document(), 0) and clock(0.0) == "" and "2001-09-09" in clock(1e9, 2e9)


def test_a_page_jumps_switches_moves_and_cancels(viewer):
    names = ["a", "b", "c"]
    for old, new in itertools.pairwise(["ball", *names]):
        viewer.world.do(Rename(old, new), "somebody").result()
    ids = [entry.id for entry in viewer.world.document.entries]

    async def script(client):
        await ready(client, "Download")

        async def press(name, value):
            await client.send("ButtonPressed", name=name, value=value)

        await client.until(lambda: told(client, "Rename b to c"))
        await press("history jump", "1")
        await seen(lambda: viewer.world.document.cursor == 1 and "a" in viewer.scene.layers)
        for name, wrong in (("history jump", "99"), ("history jump", "-1"), ("history switch", "none"), ("history later", ids[2])):
            await press(name, wrong)
        for bad in (None, 5, [], {"a": 1}, "x" * 1000):
            await press("history jump", bad)
            await press(bad, "1")
        await press("history jump", "3")
        await seen(lambda: viewer.world.document.cursor == 3)
        await press("history switch", ids[0])  # the later ones would not work
        await client.until(lambda: told(client, "would no longer work"))
        await press("history switch", ids[2])
        await seen(lambda: "b" in viewer.scene.layers)
        await client.until(lambda: told(client, "person 1 switched off"))
        await press("history switch", ids[2])
        await seen(lambda: "c" in viewer.scene.layers)
        await press("history sooner", ids[1])
        await client.until(lambda: sum("would no longer work" in text for _, text in client.notices.values()) == 2)
        await press("history edit", ids[1])  # a rename has no numbers
        viewer.world.do(ShowLayer("c", False)).result()
        viewer.world.do(ShowLayer("twin", True)).result()
        last = viewer.world.document.entries[-1].id
        await press("history sooner", last)
        await seen(lambda: viewer.world.document.entries[3].id == last)
        viewer.world.undo("somebody else").result()
        await client.until(lambda: told(client, "somebody else undid"))

    scripted(viewer, script)
    assert [entry.on for entry in viewer.world.document.entries] == [True] * 5


def test_what_takes_long_is_shown_and_can_be_cancelled(viewer):
    began = threading.Event()

    def long():
        began.set()
        for step in range(2000):
            viewer.world.tools.progress(step / 2000, "going on")
            time.sleep(0.01)

    async def script(client):
        await ready(client, "Download")
        running = viewer.world.call(long, "A long thing")
        await client.until(lambda: any("A long thing: going on" in one for one in client.scripts))
        await client.send("ButtonPressed", name="cancel", value="")
        await client.until(lambda: client.scripts[-1].endswith("busy(null, 0.000)") or "busy(null" in "".join(client.scripts[-3:]))
        with pytest.raises(Cancelled):
            await asyncio.to_thread(running.result)

    scripted(viewer, script)
    assert viewer.world.busy is None


# Data


def test_the_histogram_counts_all_that_is_there():
    scene = Scene({"a": Layer(coloured_ball(1000)), "b": Layer(coloured_ball(50), visible=False)})
    chosen, gone, unseen = (np.arange(1000) < count for count in (400, 100, 250))
    state = State(scene, selected=Masks({"a": chosen}), deleted=Masks({"a": gone}), hidden=Masks({"a": unseen}))
    values = columns("x", scene, None)
    assert list(values) == ["a"]
    for shown_only, chosen_only, total, marked in ((True, False, 750, 150), (False, False, 900, 300), (True, True, 150, 150)):
        found = counted(values, state, shown_only, chosen_only)
        assert found.every.sum() == total and found.chosen.sum() == marked and (found.chosen <= found.every).all()
    assert counted({}, State(Scene()), True, False) is None


@given(
    st.lists(st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf]), min_size=1, max_size=300),
    st.integers(0, 127),
    st.integers(0, 127),
)
def test_a_range_selects_what_its_bins_have_counted(numbers, one, other):
    values = np.array(numbers, np.float32)
    scene = Scene({"a": Layer(coloured_ball(len(values)))})
    found = counted({"a": values}, State(scene), True, False)
    if found is None:
        assert not np.isfinite(values).any()
        return
    assert found.every.sum() == np.isfinite(values).sum() and found.broken == (~np.isfinite(values)).sum()
    low, high = found.stretched(found.edges[0], found.edges[-1])
    assert in_range(values, low, high).sum() == found.every.sum()  # the whole width holds all, also what lies beyond the bins
    first, last = sorted((one, other))
    low, high = found.stretched(found.edges[first], found.edges[last + 1])
    assert in_range(values, low, high).sum() >= found.every[first : last + 1].sum() - 1


def test_a_range_is_dragged_with_modifiers_and_the_bars_follow(viewer):
    async def script(client):
        await ready(client, "Histogram of")
        assert not told(client, "splatview-histogram")
        await client.set("Histogram of", "Position x")
        await client.until(lambda: told(client, "splatview-histogram"))
        x = viewer.scene.layers["ball"].content.means[:, 0]
        html = next(props["content"] for _, props in client.widgets.values() if "splatview-histogram" in str(props.get("content")))
        edges = json.loads(re.search(r'data-edges="([^"]*)"', html)[1])
        await client.send("HistogramRange", name="data", low=edges[0], high=edges[64], modifiers=[])
        await seen(lambda: viewer.world.edited.selected_count == (x <= edges[64]).sum() > 0)
        await client.until(lambda: told(client, f"{(x <= edges[64]).sum():,} ("))
        await client.send("HistogramRange", name="data", low=edges[100], high=edges[128], modifiers=["shift"])
        wanted = (x <= edges[64]) | (x >= edges[100])
        await seen(lambda: viewer.world.edited.selected_count == wanted.sum())
        await client.send("HistogramRange", name="data", low=edges[0], high=edges[32], modifiers=["ctrl"])
        wanted &= ~(x <= edges[32])
        await seen(lambda: viewer.world.edited.selected_count == wanted.sum())
        await client.send("HistogramRange", name="other", low=edges[0], high=edges[32], modifiers=[])
        await client.set("Histogram of", "Depth")
        await client.until(lambda: told(client, "splatview-histogram"))
        await client.set("Histogram of", "nothing")
        await client.until(lambda: not told(client, "splatview-histogram"))
        return wanted

    assert np.array_equal(scripted(viewer, script), viewer.world.edited.selected["ball"])


# Grade


def test_a_grade_is_seen_at_once_applied_and_changed_later(viewer):
    before = viewer.scene.layers["ball"].content
    x = before.means[:, 0]

    async def script(client):
        await ready(client, "Exposure")
        assert told(client, "Grades everything")
        viewer.world.select(Range("x", -9, 0)).result()
        await client.until(lambda: told(client, f"Grades the {(x <= 0).sum():,} selected"))
        await client.set("Exposure", 1.0)
        await seen(lambda: viewer.scene.layers["ball"].content is not before and not viewer.world.state.selected)
        assert viewer.world.edited.scene.layers["ball"].content is before and viewer.world.edited.selected
        await client.set("Exposure", 0.0)
        await seen(lambda: viewer.scene.layers["ball"].content is before)
        await client.press("Apply grade")
        await client.until(lambda: told(client, "Move a slider first"))
        await client.set("Exposure", 1.0)
        await client.set("Black and white", (0.1, 0.9))
        await client.press("Apply grade")
        await seen(lambda: len(viewer.world.document.entries) == 2)
        await client.until(lambda: value(client, "Exposure") == 0.0 and tuple(value(client, "Black and white")) == (0.0, 1.0))
        entry = viewer.world.document.entries[1]
        assert entry.operation.grading == Grading(exposure=1.0, black_point=0.1, white_point=0.9)
        await client.send("ButtonPressed", name="history edit", value=entry.id)
        await client.until(lambda: value(client, "Exposure") == 1.0)
        await client.until(lambda: "Change the grade" in [p.get("label") for _, p in client.widgets.values()])
        await client.set("Exposure", 2.0)
        await seen(lambda: viewer.world.state is not viewer.world.edited)
        await client.press("Apply grade")
        await seen(lambda: viewer.world.document.entries[1].operation.grading.exposure == 2.0)
        await client.until(lambda: value(client, "Exposure") == 0.0)

    scripted(viewer, script)
    after = viewer.world.edited.scene.layers["ball"].content
    expected, _ = graded(before.sh, before.opacity_logits, x <= 0, Grading(exposure=2.0, black_point=0.1, white_point=0.9))
    assert np.array_equal(after.sh, expected) and len(viewer.world.document.entries) == 2
    assert viewer.world.undo().result().scene.layers["ball"].content is before


def test_paint_gets_another_colour(viewer):
    before = viewer.scene.layers["ball"].content
    viewer.world.select(Range("x", -9, 0)).result()
    viewer.world.do(Paint(Painting((1.0, 0.0, 0.0), 0.5))).result()
    entry = viewer.world.document.entries[1]

    async def script(client):
        await ready(client, "New paint")
        await client.send("ButtonPressed", name="history edit", value=entry.id)
        await client.until(lambda: value(client, "New amount") == 0.5 and tuple(value(client, "New paint")) == (255, 0, 0))
        await client.set("New paint", (0, 0, 255))
        await seen(lambda: viewer.world.state is not viewer.world.edited)
        await client.set("This paint", "Change")
        await client.until(lambda: not client.widgets["Change the paint"][1]["visible"])
        await seen(lambda: viewer.world.document.entries[1].operation.painting == Painting((0.0, 0.0, 1.0), 0.5))

    scripted(viewer, script)
    expected, _ = painted(before.sh, before.opacity_logits, before.means[:, 0] <= 0, Painting((0.0, 0.0, 1.0), 0.5))
    assert np.array_equal(viewer.world.edited.scene.layers["ball"].content.sh, expected)


def test_what_somebody_tried_goes_with_them(viewer):
    async def script(client):
        await ready(client, "Exposure")
        await client.set("Exposure", 1.0)
        await seen(lambda: viewer.world.state is not viewer.world.edited)

    scripted(viewer, script)
    nobody_left(viewer)
    assert viewer.world.state is viewer.world.edited


def test_a_grade_that_is_no_grade_is_refused(viewer):
    async def script(client):
        await ready(client, "Exposure")
        await client.set("Black and white", (0.5, 0.5))
        await client.until(lambda: told(client, "white point above"))
        await client.set("Black and white", (0.0, 1.0))
        await client.set("Exposure", 1e9)
        await client.press("Apply grade")
        await client.until(lambda: told(client, "Grading.exposure"))

    scripted(viewer, script)
    assert not viewer.world.document.entries


# Light


@given(st.floats(-179, 179), st.floats(-89, 89), st.sampled_from(["x", "y", "-y", "z"]))
def test_the_sun_comes_from_where_its_angles_say(azimuth, elevation, up):
    page = page_from_world(Framing((3.0, -2.0, 40.0), 25.0, up))
    assert angles(sun(azimuth, elevation, page), page) == pytest.approx((azimuth, elevation), abs=1e-6)
    assert np.asarray(sun(azimuth, 90.0, page)) == pytest.approx(-Framing((0, 0, 0), 1.0, up).up, abs=1e-6)  # from above, downwards


def test_lights_are_an_operation_that_is_switched_off_and_changed(viewer):
    before = viewer.scene.layers["ball"].content

    async def script(client):
        await ready(client, "Azimuth")
        await client.press("Preview lights")
        await seen(lambda: viewer.world.state is not viewer.world.edited)
        await client.press("Add lights")
        await seen(lambda: len(viewer.world.document.entries) == 1)
        entry = viewer.world.document.entries[0]
        await client.send("ButtonPressed", name="history switch", value=entry.id)
        await seen(lambda: viewer.world.edited.scene.layers["ball"].content is before)
        await client.send("ButtonPressed", name="history switch", value=entry.id)
        await client.send("ButtonPressed", name="history edit", value=entry.id)
        await client.until(lambda: told(client, "Changes lights"))
        await client.set("Sun", False)
        await client.press("Add lights")
        await seen(lambda: viewer.world.document.entries[0].operation.lights == ())

    scripted(viewer, script)
    after = viewer.world.edited.scene.layers["ball"].content
    assert after.sh.mean() != before.sh.mean() and len(viewer.world.document.entries) == 1


def test_a_lamp_stands_in_front_of_what_was_clicked_on(viewer):
    async def script(client):
        await ready(client, "Azimuth")
        await client.rest()
        await client.set("Lamps", "Place")
        await client.until(lambda: any('"pick"' in one for one in client.scripts))
        await client.stroke("pick", [(0.5, 0.5)])
        await client.until(lambda: client.widgets["Lamp position"][1]["visible"] and value(client, "Lamp") == "Lamp 1")
        await client.set("Lamp strength", 3.0)
        await client.set("Sun", False)
        await client.press("Add lights")
        await seen(lambda: len(viewer.world.document.entries) == 1)
        [lamp] = viewer.world.document.entries[0].operation.lights
        assert lamp.strength == 3.0 and 0.9 < np.linalg.norm(lamp.position) < 1.6  # the ball's radius is 1
        await client.set("Lamps", "Remove")
        await client.until(lambda: not client.widgets["Lamp position"][1]["visible"])

    scripted(viewer, script)


# Clean-up


def test_finders_show_what_goes_and_delete_it(viewer):
    splats = coloured_ball(400)
    scales, means = splats.log_scales.copy(), splats.means.copy()
    scales[:3] = np.log(5.0)
    scales[5:9] = -6, -2, -6
    means[10] = np.nan
    means[20:24] = [[50, 0, 0], [0, 50, 0], [0, 0, 50], [0, 70, 0]]
    ill = replace(splats, log_scales=scales, means=means)
    viewer.show(Scene({"ball": Layer(ill)}))

    async def script(client):
        await ready(client, "Find")
        selected = lambda: set(np.flatnonzero(viewer.world.edited.selected.get("ball", np.zeros(400, bool))))
        for kind, wanted in (("Giant", {0, 1, 2}), ("Broken", {10}), ("Needles", {5, 6, 7, 8})):
            await client.set("Find", kind)
            await client.set("What is found", "Preview")
            await seen(lambda wanted=wanted: selected() == wanted)
            await client.until(lambda wanted=wanted: told(client, f"{len(wanted)} ") and told(client, "they are selected"))
        await client.set("Find", "Floaters")
        await client.set("What is found", "Preview")
        await seen(lambda: {20, 21, 22, 23} <= selected())
        await client.set("What is found", "Delete")
        await seen(lambda: viewer.world.edited.living_count <= 396)
        assert viewer.world.document.entries[-1].operation.label == "Remove floaters"
        await client.set("Find", "Broken")
        await client.set("What is found", "Delete")  # without a preview
        await client.until(lambda: told(client, "1 broken splats deleted"))
        await client.set("Find", "Duplicates")
        await client.set("What is found", "Delete")
        await client.until(lambda: told(client, "nothing is selected"))
        await client.set("Find", "Low contribution")
        await client.set("Seen from", "the saved views")
        await client.set("What is found", "Preview")
        await client.until(lambda: told(client, "no view is saved"))
        await client.set("Seen from", "an orbit")
        await client.set("What is found", "Preview")
        await client.until(lambda: told(client, "splats that nobody sees found"))

    scripted(viewer, script)


def test_simplifying_tells_how_the_views_differ(viewer):
    async def script(client):
        await ready(client, "Simplify to")
        assert value(client, "Simplify to") == 225
        await client.set("Simplify to", 300)
        await client.press("Simplify")
        await client.until(lambda: told(client, "PSNR over 12 views"), timeout=60)

    scripted(viewer, script)
    assert viewer.world.edited.living_count == 350  # 300 of the layer that is shown
    assert summed_up([math.inf] * 3).endswith("the same.") and "20.0 dB at worst" in summed_up([20.0, 40.0])


# Whatever a page says


NONSENSE = ("nonsense", "", "Lamp x", "9" * 50)


def test_what_a_page_says_is_in_nobody_elses_way(viewer, caplog):
    choices = ["Format", "spz version", "Max SH degree", "What", "Find", "Seen from", "Lamp", "Within", "Histogram of", "Path"]
    choices.append("Document file")
    numbers = ["Exposure", "Opacity", "Hue shift", "Azimuth", "Sun strength", "Lamp reach", "Simplify to", "Lonely within", "New amount"]
    buttons = ["Download", "Write on the server", "Save", "Apply grade", "Preview lights", "Add lights", "Simplify", "Reset grade"]

    async def script(client):
        async with ScriptedClient.connect(viewer.url) as other:
            await other.orbit(1.0)
            await ready(client, "Lamp reach")
            await ready(other, "Lamp reach")
            for text in NONSENSE:
                for label in choices:
                    await client.set(label, text)
                for label in ("What is found", "Lamps", "This paint", "Replace the file?", "Replace the document?"):
                    await client.set(label, text)
            for number in (math.nan, math.inf, -1e300, 0.0):
                for label in numbers:
                    await client.set(label, number)
                for label in ("Tint", "Black and white", "Lamp position"):
                    await client.set(label, [number] * len(value(client, label)))
                for label in buttons:
                    await client.press(label)
            viewer.world.do(ShowLayer("twin", True)).result(60)  # after all that was pressed
            viewer.world.select(OfLayer("twin")).result(60)
            await other.until(lambda: told(other, "50 selected"), 60)
            await client.set("Exposure", 0.0)
            await client.until(lambda: told(client, "Grades the 50 selected"))

    scripted(viewer, script)
    assert not [record for record in caplog.records if "could not show" in record.message]
