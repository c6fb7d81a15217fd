"""The panel's folders for editing: their laws without a page, and their widgets through a scripted client and the door."""

from __future__ import annotations

import re
import time
import zipfile

import numpy as np
import pytest
from aiohttp import ClientSession
from scripted_client import ScriptedClient
from test_viewer import coloured_ball, nobody_left, scripted
from test_viewer_door import asked, cookie
from test_viewer_panels import ready, seen, value

from splatview import Scene, load, save
from splatview.edit import archive
from splatview.edit.document import Document, Entry, Source
from splatview.edit.grade import Grading
from splatview.edit.journal import Locked
from splatview.edit.operations import AddLayers, Delete, Grade, PlaceAll
from splatview.edit.select import OfLayer, Range
from splatview.edit.state import State
from splatview.formats import FORMATS
from splatview.formats.report import Report
from splatview.frame import Masks
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.desk import Desk, open_document
from splatview.viewer.downloads import WAITING, Downloads
from splatview.viewer.exporting import BYTES, WRITABLE, Export, readable
from splatview.viewer.paths import to_write


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
