"""The viewer with hash-grid fields: alone and beside splats, seen, placed, hidden, removed, and kept in a document."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hand_cases import drag
from scripted_client import decoded
from small_fields import ball
from test_viewer import coloured_ball, nobody_left, scripted
from test_viewer_panels import seen

from splatview import Scene, load, save
from splatview.edit.document import Document
from splatview.edit.editing import Editing
from splatview.edit.operations import AddLayers, Merge, Place, PlaceAll, RemoveLayer, Rename, ShowLayer
from splatview.edit.select import Everything, Tools
from splatview.edit.state import State
from splatview.geometry import Similarity
from splatview.outputs.images import encode_jpeg
from splatview.scene import Layer
from splatview.stream import resolution
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.desk import Desk, open_document
from splatview.viewer.picture import STILL_QUALITY
from splatview.viewer.space import page_from_world


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("fields") / "fox.ingp"
    save(Scene({"fox": Layer(ball())}), path)
    return path


@pytest.fixture(scope="module")
def mixed(file):
    """A red ball of a field, and beside it a grey one of splats."""
    grey = replace(coloured_ball(), sh=np.zeros((3000, 1, 3)))
    return load(file).read_from(str(file)).joined(Scene({"splats": Layer(grey, Similarity(translation=(2, 0, 0), scale=0.3))}))


def red(pixels):
    """Where the field's colour is seen."""
    return np.abs(pixels.astype(int) - [230, 26, 26]).max(-1) < 40


def test_a_field_is_seen_and_has_a_depth(file):
    with Viewer(load(file), ViewerSettings(port=0, open=False)) as viewer:

        async def script(client):
            await client.orbit(0.5)
            return await client.rest()

        last = scripted(viewer, script)
        assert last.size == (320, 180) and red(last.pixels).mean() > 0.05 and red(last.pixels)[90, 160]
        depth = decoded(last.depth)
        assert (depth[0, 0] == 255).all() and depth[45, 80, 0] < 100, "there is something in the middle, and nothing in the corner"


def test_a_field_at_rest_comes_in_more_and_more_pixels_and_at_last_as_it_is_drawn_at_once(mixed, monkeypatch):
    monkeypatch.setattr(resolution, "FIRST_MS", 0.01)
    monkeypatch.setattr(resolution, "NEXT_MS", 0.01)
    with Viewer(mixed, ViewerSettings(port=0, open=False)) as viewer:

        async def script(client):
            await client.rest()
            [session] = viewer.sessions
            client.arrivals.clear()
            await client.orbit(0.5, 5.0)
            last = await client.rest()
            assert session.camera(client.width, client.height) == session._seen.camera
            return last, [one for one in client.arrivals if one.size == (320, 180)], session._request(session._seen.camera)

        last, seen, request = scripted(viewer, script)
        assert len(seen) >= len(resolution.SHARES)
        frame = viewer.renderer.render(viewer.scene, request.camera, request.options("colour"))
        assert last.jpeg == encode_jpeg(frame.rgb8, STILL_QUALITY, full_colour=True)
        assert [one.jpeg == last.jpeg for one in seen[-2:]] == [False, True], "the one before lacks something"


def test_a_field_is_a_layer_like_others(mixed):
    """It is listed, told of, hidden, placed, renamed and removed, and it all can be undone; tools for splats pass it by."""
    with Viewer(mixed, ViewerSettings(port=0, open=False)) as viewer:

        async def script(client):
            await client.until(lambda: {"fox", "splats"} <= set(client.widgets))
            whole = (await client.rest()).pixels
            said = " ".join(str(properties.get("content")) + str(properties.get("hint")) for _, properties in client.widgets.values())
            assert "Hash-grid field in a box of 1 x 1 x 1: 1 levels" in said and "a field of 13" in said

            async def after(operation):
                await asyncio.wrap_future(viewer.world.do(operation))
                return (await client.rest()).pixels

            assert red(whole).sum() > 100
            assert not red(await after(ShowLayer("fox", False))).any()
            await after(ShowLayer("fox", True))
            moved = await after(Place("fox", viewer.scene.layers["fox"].placement @ Similarity(translation=(0, 0, 2))))
            assert red(moved).any() and red(moved & red(whole)[..., None]).sum() < 0.5 * red(whole).sum()
            await client.set("Gizmo", True)
            await client.press("Examine")
            await client.until(lambda: any("1 finding" in str(one.get("content")) for _, one in client.widgets.values()))
            state = await asyncio.wrap_future(viewer.world.select(Everything()))
            assert list(state.selected) == ["splats"]
            assert not red(await after(RemoveLayer("fox"))).any()
            for _ in range(5):
                await asyncio.wrap_future(viewer.world.undo())
            return whole, (await client.rest()).pixels

        before, again = scripted(viewer, script)
        assert np.abs(before.astype(int) - again).mean() < 1
        nobody_left(viewer)


def test_a_field_is_cropped_exposed_and_backed_in_the_page(mixed):
    """By buttons, numbers and the gizmo; each is one step of the history, and the picture shows it."""
    with Viewer(mixed, ViewerSettings(port=0, open=False)) as viewer:
        placed = viewer.scene.layers["fox"].placement

        def fox():
            return viewer.world.edited.scene.layers["fox"]

        async def script(client):
            await client.until(lambda: {"fox", "splats"} <= set(client.widgets))
            whole = (await client.rest()).pixels
            await client.set("Layer", "splats")
            await client.until(lambda: not client.widgets["Field"][1]["visible"])
            await client.set("Layer", "fox")
            await client.until(lambda: client.widgets["Field"][1]["visible"])
            await client.set("Crop with a", "Box")
            await seen(lambda: len(fox().cuts) == 1)
            await client.set("Crop middle", placed.apply([0.5, 0.5, 0.75]).tolist())
            await client.set("Crop size", [2.0, 2.0, 0.5 * placed.scale])
            await seen(lambda: np.allclose(fox().bounds, [[0, 0, 0.5], [1, 1, 1]], atol=1e-6))
            entries = len(viewer.world.document.entries)
            half = (await client.rest()).pixels
            assert 0.3 * red(whole).sum() < red(half).sum() < 0.7 * red(whole).sum(), "the upper half is left"
            await client.set("What it does", "Cut out")
            await seen(lambda: not fox().cuts[0].keeps)
            other = (await client.rest()).pixels
            assert red(other).any() and (red(half) & red(other)).sum() < 0.1 * red(whole).sum(), "the lower half is left"
            await client.set("Soft edge", 0.05)
            await seen(lambda: fox().cuts[0].volume.falloff == pytest.approx(0.05 / placed.scale))
            await client.set("Field exposure", -2.0)
            await seen(lambda: fox().exposure == -2)
            await client.set("Own background", True)
            await client.set("Background of the field", [0, 0, 255])
            await seen(lambda: fox().background == (0, 0, 1))
            dark = (await client.rest()).pixels.astype(int)
            assert np.abs(dark[0, 0] - [0, 0, 255]).max() < 8 and not red(dark).any()
            far = viewer.placing.apply(placed.apply([0.5, 0.5, 5.0]))
            await drag(client, viewer, "/crop", far, end=False)
            await seen(lambda: np.allclose(viewer.scene.layers["fox"].cuts[0].volume.centre, [0.5, 0.5, 5.0], atol=1e-5))
            assert fox().cuts[0].volume.centre != viewer.scene.layers["fox"].cuts[0].volume.centre, "it is a preview until it is let go"
            await drag(client, viewer, "/crop", far)
            await seen(lambda: np.allclose(fox().cuts[0].volume.centre, [0.5, 0.5, 5.0], atol=1e-5))
            assert len(viewer.world.document.entries) <= entries + 6
            await client.press("Remove this crop")
            await seen(lambda: viewer.world.document.entries[-1].operation.label == "Show all of fox")
            while viewer.world.document.cursor:
                await asyncio.wrap_future(viewer.world.undo())
            await client.until(lambda: client.widgets["Field exposure"][1]["value"] == 0)
            again = (await client.rest()).pixels
            assert np.abs(whole.astype(int) - again).mean() < 1

        scripted(viewer, script)
        nobody_left(viewer)


def test_crop_to_volume_crops_fields_and_splats(mixed):
    with Viewer(mixed, ViewerSettings(port=0, open=False)) as viewer:

        async def script(client):
            await client.until(lambda: {"fox", "splats"} <= set(client.widgets))
            await client.rest()
            [(_, panel)] = viewer._sessions.values()
            await client.set("New", "Sphere")
            await seen(lambda: "sphere1" in panel.select._editor.volumes)
            await client.set("Volume middle", [2.0, 0.0, 0.25])
            await seen(lambda: panel.select._editor.volumes["sphere1"].centre == (2, 0, 0.25))
            await client.set("Sphere radius", 0.3)
            await seen(lambda: panel.select._editor.volumes["sphere1"].radius == 0.3)
            await client.set("Crop to volume", "Keep outside")
            await seen(lambda: len(viewer.world.document.entries) == 2)
            layers, volume = viewer.world.edited.scene.layers, panel.select._editor.volumes["sphere1"]
            [cut] = layers["fox"].cuts
            moved = cut.moved(layers["fox"].placement).volume
            assert not cut.keeps and moved.radius == pytest.approx(volume.radius) and moved.centre == pytest.approx((2, 0, 0.25))
            within = volume.contains(layers["splats"].placement.apply(layers["splats"].content.means))
            assert 0 < within.mean() < 1 and np.array_equal(viewer.world.state.deleted["splats"], within)
            await client.set("Crop to volume", "Keep inside")
            await seen(lambda: [cut.keeps for cut in viewer.world.edited.scene.layers["fox"].cuts] == [False, True])

        scripted(viewer, script)


def test_operations_on_layers_take_fields_and_those_on_gaussians_say_no(mixed):
    editing = Editing(State(mixed), Tools(lambda: pytest.fail("nothing is drawn"), lambda path, level: load(path)))
    editing.do(Rename("fox", "dog"))
    editing.do(PlaceAll(Similarity(translation=(0, 0, 1))))
    assert editing.state.scene.layers["dog"].placement.translation[2] == pytest.approx(mixed.layers["fox"].placement.translation[2] + 1)
    with pytest.raises(ValueError, match="found a hash-grid field"):
        editing.do(Merge(("dog", "splats"), "both"))
    assert list(editing.state.scene.layers) == ["dog", "splats"]


@pytest.mark.parametrize("everything", [False, True])
def test_a_document_keeps_its_fields(mixed, file, tmp_path, everything):
    desk = Desk(mixed)
    document = Document(sources=desk.document.sources)
    editing = Editing(State(mixed), Tools(lambda: pytest.fail("nothing is drawn"), desk.load), document)
    editing.do(AddLayers(str(file), ("again",)))
    editing.do(Place("again", Similarity(translation=(0, 0, 3))))
    path = tmp_path / "work.splatview"
    desk.save(path, editing.document, everything)
    assert (path.stat().st_size > file.stat().st_size) == everything
    scene, opened = open_document(path)
    with Viewer(scene, ViewerSettings(port=0, open=False), document=opened, path=path) as viewer:
        viewer.world.call(lambda: None).result(20)
        assert list(viewer.scene.visible_fields) == ["fox", "again"]
        assert viewer.scene.layers["again"].placement.translation == (0, 0, 3)
        assert viewer.scene.layers["fox"].placement == mixed.layers["fox"].placement
    desk.close()


def test_the_page_is_as_large_as_the_field(file):
    with Viewer(load(file), ViewerSettings(port=0, open=False)) as viewer:
        assert viewer.framing.up_axis == "z" and viewer.placing.scale == pytest.approx(page_from_world(viewer.framing).scale)
        assert viewer.framing.centre == pytest.approx(load(file).layers["fox"].placement.apply([0.5, 0.5, 0.5]), abs=0.02)
