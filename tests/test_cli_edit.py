"""Edits on the command line: replayed, opened, listed, and refused in one line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from PIL import Image
from test_edit_document import ARRAYS, edited, splats, tools, two_layers

from splatview import Camera, RenderOptions, Scene, load, open_renderer, save
from splatview.cli import main
from splatview.edit import archive
from splatview.edit.document import EMPTY, Do, Document, Entry, encode
from splatview.edit.editing import Editing
from splatview.edit.operations import AddLayers, Delete, Place, Rename, Select, ShowLayer
from splatview.edit.select import Drawn, Range, Selection
from splatview.edit.state import State
from splatview.formats import save_cameras
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer.desk import Desk, sources_of

DELETE_FAINT = {"operations": [{"is": "Select", "selection": "opacity < 0.5"}, {"is": "Delete"}]}


@pytest.fixture
def scene_file(tmp_path):
    path = tmp_path / "cloud.ply"
    save(Scene({"cloud": Layer(splats())}), path)
    return path


def written(path):
    (layer,) = load(path).layers.values()
    return layer.content


def script(tmp_path, data):
    path = tmp_path / "edits.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def run(*words):
    return main([str(word) for word in words])


def refused(capsys, *words):
    assert run(*words) == 2
    told = capsys.readouterr()
    assert told.err.startswith("splatview: ") and told.err.count("\n") == 1, told.err
    return told.err


@pytest.fixture
def document(scene_file):
    """What somebody made of the scene in the viewer."""
    scene = load(scene_file).read_from(str(scene_file))
    editing = Editing(State(scene), tools(), Document(sources_of(scene)))
    editing.select(Range("x", 0.0, 9.0))
    editing.do(Delete())
    editing.do(Place("cloud", Similarity(scale=2.0)))
    editing.do(Rename("cloud", "garden"))
    editing.do(ShowLayer("garden", False))
    editing.undo()
    return editing


def test_a_script_by_hand_is_done(tmp_path, scene_file, capsys):
    out = tmp_path / "out.ply"
    assert run("edit", scene_file, "--script", script(tmp_path, DELETE_FAINT), "-o", out) == 0
    faint = splats().opacities < 0.5
    assert np.array_equal(written(out).means, splats().means[~faint])
    told = capsys.readouterr().out
    assert "2 operations" in told and f"{(~faint).sum()} Gaussians (60 before)" in told
    assert run("edit", scene_file, "--script", script(tmp_path, DELETE_FAINT["operations"]), "-o", out) == 0  # a bare list


@pytest.mark.parametrize("kind", ["splatview", "json"])
def test_a_document_is_replayed_as_it_was_on_the_same_scene(tmp_path, scene_file, document, capsys, kind):
    path, out = tmp_path / f"one.{kind}", tmp_path / "out.ply"
    if kind == "json":
        path.write_text(json.dumps(encode(document.document)))
    else:
        archive.write(path, document.document)
    assert run("edit", scene_file, "--script", path, "-o", out) == 0
    assert "2 selections as made in the document: the scene is the same" in capsys.readouterr().out
    save(document.state.result(), tmp_path / "wanted.ply")
    for array in ARRAYS:
        assert np.array_equal(getattr(written(out), array), getattr(written(tmp_path / "wanted.ply"), array))


def test_on_another_scene_selections_are_made_again(tmp_path, document, capsys):
    other, path, out = tmp_path / "other.ply", tmp_path / "one.splatview", tmp_path / "out.ply"
    save(Scene({"x": Layer(splats(80, seed=9))}), other)
    archive.write(path, document.document)
    assert run("edit", other, "--script", path, "-o", out) == 0
    assert "2 selections made again: the scene is another" in capsys.readouterr().out
    assert len(written(out)) == int((splats(80, seed=9).means[:, 0] < 0).sum())


def test_files_that_operations_add_lie_beside_the_script(tmp_path, scene_file):
    save(Scene({"more": Layer(splats(7, 3))}), tmp_path / "more.ply")
    out = tmp_path / "out.ply"
    assert run("edit", scene_file, "--script", script(tmp_path, [{"is": "AddLayers", "path": "more.ply"}]), "-o", out) == 0
    assert len(written(out)) == 67


def test_a_bare_mask_on_another_scene_is_one_line(tmp_path, scene_file, capsys):
    state = State(Scene({"cloud": Layer(splats(seed=5))}))
    document = EMPTY.after(Do(Entry.new(Delete(Selection.painted({"cloud": np.arange(60) < 9}, state)))))
    told = refused(capsys, "edit", scene_file, "--script", script(tmp_path, encode(document)), "-o", tmp_path / "o.ply")
    assert "operation 1, Delete: a bare mask fits only the scene" in told and not (tmp_path / "o.ply").exists()


@pytest.mark.parametrize(
    "data,says",
    [
        ("", "edits.json: "),
        ("[" * 100_000, "without end"),
        ("3", "expected an object"),
        ({"operations": [{"is": "Explode"}]}, "expected one of AddLayers"),
        ({"operations": [{"is": "RemoveLayer", "layer": "x"}]}, "operation 1, Remove layer x: expected a layer called 'x'"),
        ({"operations": [{"is": "Delete", "selection": "opacity <"}]}, r"operations\[0\]"),
        ({"operations": [{"is": "Delete", "selection": "opacity >= 0"}]}, "nothing is left of the 60 Gaussians"),
        ({"operations": [{"is": "AddLayers", "path": "none.ply"}]}, "operation 1, Add none.ply: .*none.ply"),
        ({"operations": [], "version": 9}, "a newer splatview wrote it"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_cannot_be_done_is_one_line(tmp_path, scene_file, capsys, data, says):
    out = tmp_path / "out.ply"
    assert re.search(says, refused(capsys, "edit", scene_file, "--script", script(tmp_path, data), "-o", out))
    assert not out.exists()


def test_files_that_are_not_there_are_one_line(tmp_path, scene_file, capsys):
    assert "none.json" in refused(capsys, "edit", scene_file, "--script", tmp_path / "none.json", "-o", tmp_path / "o.ply")
    assert "none.ply" in refused(
        capsys, "edit", tmp_path / "none.ply", "--script", script(tmp_path, DELETE_FAINT), "-o", tmp_path / "o.ply"
    )


def test_a_document_of_two_files_wants_two(tmp_path, scene_file, capsys):
    save(Scene({"b": Layer(splats(9, 2))}), tmp_path / "b.ply")
    scene = Scene()
    for path in (scene_file, tmp_path / "b.ply"):
        scene = scene.joined(load(path).read_from(str(path)))
    archive.write(tmp_path / "two.splatview", Document(sources_of(scene)).after(Do(Entry.new(ShowLayer("b", False)))))
    words = "--script", tmp_path / "two.splatview", "-o", tmp_path / "o.ply"
    assert "expected 2 layers, found 1" in refused(capsys, "edit", scene_file, *words)
    assert run("edit", scene_file, tmp_path / "b.ply", *words) == 0
    assert len(written(tmp_path / "o.ply")) == 60


def test_selections_that_look_at_the_picture_are_drawn(tmp_path, scene_file):
    from splatview import Camera
    from splatview.edit.region import Rectangle

    camera = Camera.look_at((0, -6, 1), (0, 0, 0), (0, 0, 1), 0.8, 96, 64)
    document = EMPTY.after(Do(Entry.new(Select(Selection(Drawn(Rectangle(0, 0, 0.5, 1), camera)))))).after(Do(Entry.new(Delete())))
    out = tmp_path / "out.ply"
    assert run("edit", scene_file, "--script", script(tmp_path, encode(document)), "-o", out, "--backend", "cpu") == 0
    assert 0 < len(written(out)) < 60


# Documents.


def test_info_lists_what_is_in_a_document(tmp_path, scene_file, document, capsys):
    path = tmp_path / "one.splatview"
    archive.write(path, document.document.after(Do(Entry.new(AddLayers(str(tmp_path / "gone.ply"))))))
    assert run("info", path, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [operation["is"] for operation in facts["operations"]] == ["Select", "Delete", "Place", "Rename", "AddLayers"]
    assert facts["operations"][1]["selected"] == 60 - document.state.living_count
    assert facts["sources"][0]["path"] == str(scene_file) and facts["missing"] == [str(tmp_path / "gone.ply")]
    assert run("info", path) == 0
    told = capsys.readouterr().out
    assert "5 operations" in told and "Place layer cloud" in told and "gone.ply is not there" in told
    archive.write(path, document.document)
    assert run("info", path) == 0
    assert "of which the last 1 are undone" in capsys.readouterr().out


def test_what_is_no_document_is_one_line(tmp_path, scene_file, capsys):
    path = tmp_path / "x.splatview"
    path.write_bytes(b"PK nonsense")
    assert "x.splatview: expected a splatview document" in refused(capsys, "info", path)
    assert "x.splatview: expected a splatview document" in refused(capsys, "view", path)
    assert "none.splatview" in refused(capsys, "view", tmp_path / "none.splatview")
    assert "expected one document" in refused(capsys, "view", path, scene_file)
    assert "expected one document" in refused(capsys, "view", path, "--level", "1")


def test_missing_and_changed_sources_are_a_choice_in_one_line(tmp_path, scene_file, document, capsys):
    path = tmp_path / "one.splatview"
    scene_file_digests = Document(tuple(source_with_digests(document.document, scene_file)), document.document.entries, 4)
    archive.write(path, scene_file_digests)
    kept = scene_file.read_bytes()
    scene_file.unlink()
    assert "--sources FOLDER" in refused(capsys, "view", path)
    save(Scene({"cloud": Layer(splats(seed=8))}), scene_file)
    told = refused(capsys, "view", path)
    assert "--changed rerun" in told and "--sources FOLDER" in told
    (tmp_path / "elsewhere").mkdir()
    scene_file.unlink()
    (tmp_path / "elsewhere" / scene_file.name).write_bytes(kept)
    with opened(path, "--sources", tmp_path / "elsewhere") as (process, line):
        assert "http://" in line
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143


@pytest.mark.parametrize("everything", [False, True])
def test_pictures_are_drawn_of_a_document_wherever_its_sources_are(monkeypatch, tmp_path, scene_file, document, capsys, everything):
    """Within it, or in another folder; as it is shown, and nothing is left behind."""
    path, desk = tmp_path / "one.splatview", Desk(document.start.scene)
    desk.save(path, document.document, everything=everything)
    camera = Camera.look_at((0, -9, 1), (0, 0, 0), (0, 0, 1), 0.8, 64, 48)
    save_cameras([camera], tmp_path / "camera.json")
    words = "render", path, "--camera", tmp_path / "camera.json", "-o", tmp_path / "out.png"
    (tmp_path / "elsewhere").mkdir()
    scene_file.rename(tmp_path / "elsewhere" / scene_file.name)
    if not everything:
        assert "--sources FOLDER" in refused(capsys, *words)
        words = *words, "--sources", tmp_path / "elsewhere"
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert run(*words) == 0 and not list((tmp_path / "temporary").iterdir())
    drawn = open_renderer("cpu").render(document.state.scene, camera, RenderOptions(outputs=("rgb8",), hidden=document.state.undrawn))
    with Image.open(tmp_path / "out.png") as picture:
        assert np.array_equal(picture, drawn.rgb8) and drawn.rgb8.any()


def test_a_document_on_changed_sources_is_made_again_or_refused_in_one_line(tmp_path, scene_file, document, capsys):
    path = tmp_path / "one.splatview"
    archive.write(path, Document(tuple(source_with_digests(document.document, scene_file)), document.document.entries, 4))
    bare = Selection.painted({"cloud": np.arange(60) < 9}, document.start)
    archive.write(tmp_path / "bare.splatview", Document(document.document.sources).after(Do(Entry.new(Delete(bare)))))
    save(Scene({"cloud": Layer(splats(seed=8))}), scene_file)
    with opened(path, "--changed", "rerun") as (process, line):
        assert "http://" in line
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert "bare mask fits only the scene" in refused(capsys, "view", tmp_path / "bare.splatview", "--changed", "rerun", "--port", 0)


def source_with_digests(document, scene_file):
    from dataclasses import replace

    from splatview.edit.state import digest_of

    for source in document.sources:
        yield replace(source, digests=tuple(digest_of(layer.content) for layer in load(scene_file).layers.values()))


def opened(*words):
    from contextlib import contextmanager

    @contextmanager
    def running():
        command = [sys.executable, "-m", "splatview", "view", "--port", "0", "--no-open", "--backend", "cpu", *map(str, words)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
            try:
                yield process, process.stdout.readline()
            finally:
                process.kill()

    return running()


def test_two_servers_cannot_write_one_document_and_the_second_says_so(tmp_path, scene_file, document):
    path = tmp_path / "one.splatview"
    archive.write(path, document.document)
    with opened(path) as (first, line):
        assert "http://" in line
        with opened(path) as (second, nothing):
            assert nothing == "" and second.wait(20) == 2
            told = second.stderr.read()
        assert told.count("\n") == 1 and f"edited by another splatview (process {first.pid})" in told
        first.kill()
    with opened(path) as (third, line):  # a killed one does not keep it
        assert "http://" in line
        third.send_signal(signal.SIGTERM)
        assert third.wait(20) == 143


def test_the_whole_of_an_edit_replays_from_the_command_line(tmp_path):
    """Every kind of operation that needs no picture, on two layers."""
    names = ["bright", "grade", "ball", "move", "hide", "save", "range", "delete", "paint", "cap", "place", "copy", "place all"]
    editing, _ = edited(names)
    for name, layer in two_layers().layers.items():
        save(Scene({name: Layer(layer.content)}), tmp_path / f"{name}.ply")
    path, out = tmp_path / "edits.json", tmp_path / "out.ply"
    start = [{"is": "Place", "layer": "b", "placement": {"is": "Similarity", **similarity(two_layers().layers["b"].placement)}}]
    path.write_text(json.dumps({"operations": start + encode(editing.document)["operations"]}))
    assert run("edit", tmp_path / "a.ply", tmp_path / "b.ply", "--script", path, "-o", out) == 0
    save(editing.state.result(), tmp_path / "wanted.ply")
    for array in ARRAYS:
        assert np.allclose(getattr(written(out), array), getattr(written(tmp_path / "wanted.ply"), array), atol=1e-6)


def similarity(placement):
    return {"quat": list(placement.quat), "translation": list(placement.translation), "scale": placement.scale}
