"""Exporting: what a page may write, what is written, and how it is fetched."""

from __future__ import annotations

import numpy as np
import pytest
from edit_visits import edited, fetched, same
from test_viewer import coloured_ball, scripted
from test_viewer_panels import ready, seen

from splatview import Scene, load
from splatview.edit.operations import Delete
from splatview.edit.select import Range
from splatview.edit.state import State
from splatview.formats import FORMATS
from splatview.formats.report import Report
from splatview.frame import Masks
from splatview.scene import Layer
from splatview.viewer.exporting import BYTES, WRITABLE, Export, readable
from splatview.viewer.paths import to_write


@pytest.fixture
def viewer(tmp_path):
    with edited(tmp_path) as running:
        yield running


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
