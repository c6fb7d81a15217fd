"""Documents in the page: saved and opened again, with their sources, and unsaved work that is offered."""

from __future__ import annotations

import zipfile

import pytest
from edit_visits import dressed, opened_again, same, told
from scripted_client import ScriptedClient
from test_viewer import coloured_ball, nobody_left, scripted
from test_viewer_panels import ready, value

from splatview import Scene, save
from splatview.edit import archive
from splatview.edit.document import Document, Entry, Source
from splatview.edit.embedding import embedded
from splatview.edit.grade import Grading
from splatview.edit.journal import Locked
from splatview.edit.operations import AddLayers, Delete, Grade, PlaceAll, SwapLevel
from splatview.edit.select import OfLayer, Range
from splatview.edit.state import digest_of
from splatview.formats.inria import decode, encode
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.desk import Desk, read


@pytest.fixture
def titled(tmp_path):
    scene = dressed(Scene({"ball": Layer(coloured_ball(400))}), tmp_path)
    with Viewer(scene, ViewerSettings(port=0, up="z", open=False, root=tmp_path), key=str(tmp_path)) as running:
        yield running
        nobody_left(running)


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
