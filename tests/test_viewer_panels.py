"""The panel: its laws without a page, and its widgets through a scripted client."""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ngp_files import made
from scripted_client import ScriptedClient
from test_inspection import sick
from test_viewer import coloured_ball, nobody_left, scripted
from test_viewer_world import no_tools
from viser._messages import HotkeyKey

from splatview import Camera, Scene, save
from splatview.edit.editing import Editing
from splatview.edit.state import State
from splatview.formats import load_cameras
from splatview.framing import Framing
from splatview.geometry import Similarity, matrix_from_quat
from splatview.inspection import finite_mask, odd_quats
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.panels.doctor import findings
from splatview.viewer.panels.keys import KEYS, help_rows
from splatview.viewer.panels.placement import degrees_from_quat, dragged, gizmo_pose, middle_of, quat_from_degrees
from splatview.viewer.panels.statistics import stacked
from splatview.viewer.panels.widgets import fitting
from splatview.viewer.picture import Saved
from splatview.viewer.space import page_from_world

ANGLES = st.floats(-720, 720)
PLACEMENTS = st.builds(
    lambda quat, at, scale: Similarity(tuple(quat), tuple(at), scale),
    st.lists(st.floats(0.1, 1), min_size=4, max_size=4),
    st.lists(st.floats(-50, 50), min_size=3, max_size=3),
    st.floats(0.01, 100),
)


# Placement


@given(st.tuples(ANGLES, ANGLES, ANGLES))
def test_angles_and_quaternions_make_the_same_rotation(angles):
    quat = np.array(quat_from_degrees(angles))
    assert np.allclose(matrix_from_quat(np.array(quat_from_degrees(degrees_from_quat(quat)))), matrix_from_quat(quat), atol=1e-6)


@pytest.mark.parametrize("angles", [(30, 90, 40), (30, -90, 40), (0, 90, 0), (180, 0, 0), (0, 180, 0)])
def test_angles_at_the_poles_make_the_same_rotation(angles):
    quat = np.array(quat_from_degrees(angles))
    assert np.allclose(matrix_from_quat(np.array(quat_from_degrees(degrees_from_quat(quat)))), matrix_from_quat(quat), atol=1e-7)


def test_turns_are_about_x_then_y_then_z():
    assert np.allclose(matrix_from_quat(np.array(quat_from_degrees((90, 0, 90)))) @ [0, 1, 0], [0, 0, 1])
    assert np.allclose(matrix_from_quat(np.array(quat_from_degrees((0, 90, 90)))) @ [1, 0, 0], [0, 0, -1])


@given(PLACEMENTS, st.sampled_from(["x", "y", "-y", "z"]))
def test_a_gizmo_that_was_not_moved_moves_nothing(placement, up):
    page = page_from_world(Framing((3.0, -2.0, 40.0), 25.0, up))
    layer = Layer(coloured_ball(50), placement)
    pose = gizmo_pose(layer, page)
    assert np.allclose(dragged(layer, page, pose.quat, pose.translation).matrix, placement.matrix, atol=1e-7 * (1 + placement.scale))


@given(PLACEMENTS, st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.lists(st.floats(0.1, 1), min_size=4, max_size=4))
def test_the_middle_of_the_layer_is_where_the_gizmo_is(placement, position, quat):
    page = page_from_world(Framing((3.0, -2.0, 40.0), 25.0, "-y"))
    layer = Layer(coloured_ball(51), placement)
    moved = dragged(layer, page, quat, position)
    assert moved.scale == placement.scale
    assert np.allclose(page.apply(moved.apply(middle_of(layer.content))), position, atol=1e-6)
    assert np.allclose(page.rotation @ moved.rotation, matrix_from_quat(np.array(quat)), atol=1e-6)


def test_what_is_not_finite_is_no_placement():
    page = page_from_world(Framing((0, 0, 0), 1.0, "z"))
    with pytest.raises(ValueError, match="finite"):
        dragged(Layer(coloured_ball(5)), page, (1, 0, 0, 0), (math.nan, 0, 0))


def test_a_layer_without_a_finite_splat_has_a_middle():
    nowhere = replace(coloured_ball(3), means=np.full((3, 3), np.nan))
    assert middle_of(nowhere).tolist() == [0, 0, 0]


# Keys


def test_no_key_is_given_twice_or_moves_the_camera():
    pressed = [(key.key.upper(), key.modifier) for key in KEYS.values() if key.key]
    assert len(set(pressed)) == len(pressed) and len({key.what for key in KEYS.values()}) == len(KEYS)
    moving = {*"WASDQE", "ARROWUP", "ARROWDOWN", "ARROWLEFT", "ARROWRIGHT"}
    assert not {key for key, modifier in pressed if modifier is None} & moving
    assert {key.key for key in KEYS.values() if key.key} <= set(HotkeyKey.__args__)
    assert not {("K", "cmd/ctrl"), ("P", "cmd/ctrl+shift")} & set(pressed)  # the palette's own


def test_the_help_names_every_key():
    text = " ".join(help_rows().values())
    assert (
        all(key.text in text or key.text.startswith("Shift+") for key in KEYS.values())
        and "Ctrl+Shift+Z" in text
        and "Shift+1 to Shift+9" in text
    )


# Curves and widgets


def test_stacked_curves_end_at_the_sum():
    curves = stacked([{"a": 1.0, "b": 2.0}, {"b": 5.0}], ["a", "b"])
    assert [curve.tolist() for curve in curves] == [[3.0, 5.0], [1.0, 0.0]]


class Widget:
    def __init__(self, value, **properties):
        self.value = value
        self.__dict__.update(properties)


@pytest.mark.parametrize(
    ("widget", "value", "fits"),
    [
        (Widget(1.0, min=0.5, max=2), 1.5, 1.5),
        (Widget(1.0, min=0.5, max=2), 1e300, 2.0),
        (Widget(1.0, min=0.5, max=2), math.nan, None),
        (Widget(1.0, min=0.5, max=2), True, None),
        (Widget(1.0, min=0.5, max=2), "1", None),
        (Widget(7, min=5, max=200), 6.9, 6),
        (Widget(False), True, True),
        (Widget(False), 1, None),
        (Widget("a", options=("a", "b")), "b", "b"),
        (Widget("a", options=("a", "b")), "c", None),
        (Widget("a", options=("a", "b")), ["a"], None),
        (Widget((0, 0, 0)), [300, -1, 7], (255, 0, 7)),
        (Widget((0, 0, 0)), [1, 2], None),
        (Widget((0, 0, 0)), [1, 2, "3"], None),
        (Widget((0, 0, 0)), None, None),
        (Widget((5.0, 5.0), min=(1, 1), max=(8, 8)), [0, 9], (1.0, 8.0)),
    ],
)
def test_only_what_fits_is_put_into_a_widget(widget, value, fits):
    assert fitting(widget, value) == fits and type(fitting(widget, value)) is type(fits)


# The doctor


def test_every_finding_is_cured_and_undone(random_gaussians):
    splats, wanted = sick(random_gaussians)
    start = State(Scene({"a": Layer(splats)}))
    found = findings(start.scene.layers["a"])
    assert {finding.cure for finding in found} == {"hide", "remove", "normalise"}
    for finding in found:
        editing = Editing(start, no_tools())
        treated = editing.do(finding.treatment(start, "a"))
        content = treated.scene.layers["a"].content
        if finding.cure == "hide":
            assert np.array_equal(treated.hidden["a"], finding.which) and content is splats
            assert not editing.do(finding.treatment(treated, "a", False)).hidden
            editing.undo()
        elif finding.cure == "remove":
            assert set(np.flatnonzero(treated.deleted["a"])) == wanted["broken"] and finite_mask(treated.living("a")).all()
            assert content is splats and treated.living_count == len(splats) - 2
        else:
            assert len(content) == len(splats) and not odd_quats(content).any()
        assert editing.undo() and editing.state.scene is start.scene and not editing.state.undrawn


def test_what_is_deleted_is_not_found_again(random_gaussians):
    splats, wanted = sick(random_gaussians)
    gone = np.isin(np.arange(len(splats)), list(wanted["broken"] | wanted["giant"]))
    left = {finding.kind for finding in findings(Layer(splats), gone)}
    assert left == {finding.kind for finding in findings(Layer(splats))} - {"broken", "giant"}


def test_a_removal_keeps_what_was_hidden(random_gaussians):
    splats, wanted = sick(random_gaussians)
    editing = Editing(State(Scene({"a": Layer(splats)})), no_tools())
    found = {finding.kind: finding for finding in findings(editing.state.scene.layers["a"])}
    for kind in ("giant", "broken"):
        editing.do(found[kind].treatment(editing.state, "a"))
    assert set(np.flatnonzero(editing.state.hidden["a"])) == wanted["giant"]
    assert set(np.flatnonzero(editing.state.undrawn["a"])) == wanted["giant"] | wanted["broken"]


# Through the door


@pytest.fixture
def viewer(tmp_path):
    scene = Scene({"ball": Layer(coloured_ball()), "twin": Layer(coloured_ball(seed=1), visible=False)})
    with Viewer(scene, ViewerSettings(port=0, up="z", open=False, root=tmp_path)) as running:
        yield running
        nobody_left(running)


async def ready(client, label="Name"):
    await client.until(lambda: label in client.widgets and "command Screenshot" in client.widgets and client.arrivals)


def value(client, label):
    return client.widgets[label][1]["value"]


async def seen(true, timeout=5.0):
    """Wait for something that no message tells."""
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.02)


def test_every_key_is_registered_as_the_table_says(viewer):
    async def script(client):
        await ready(client)
        return {
            props["label"]: (props["hotkey"], props["modifier"])
            for name, (_, props) in client.widgets.items()
            if name.startswith("command ")
        }

    registered = scripted(viewer, script)
    assert registered == {key.what: (key.key, key.modifier) for key in KEYS.values()}


def test_a_layer_is_renamed_when_the_person_stops_typing(viewer):
    told = []
    viewer.world._changed = (lambda before: lambda: (told.append(list(viewer.scene.layers)), before()))(viewer.world._changed)

    async def script(client):
        await ready(client)
        for text in ("g", "ga", "garden"):
            await client.set("Name", text)
            await asyncio.sleep(0.1)
        await seen(lambda: "garden" in viewer.scene.layers)
        await client.until(lambda: value(client, "Layer") == "garden" and client.widgets["ball"][1]["label"] == "garden")
        await client.set("Name", "twin")  # taken
        await client.until(lambda: value(client, "Name") == "twin 2")
        await client.set("Name", "  ")  # no name
        await client.until(lambda: value(client, "Name") == "twin 2")
        await client.trigger("Undo")
        await client.trigger("Undo")
        await seen(lambda: list(viewer.scene.layers) == ["ball", "twin"])

    scripted(viewer, script)
    assert ["garden", "twin"] in told and not any("g" in names for names in told)


def test_a_name_goes_to_the_layer_that_was_chosen_when_it_was_typed(viewer):
    async def script(client):
        await ready(client)
        await client.set("Name", "garden")
        await client.set("Layer", "twin")
        await seen(lambda: list(viewer.scene.layers) == ["garden", "twin"])
        await client.until(lambda: value(client, "Name") == "twin")

    scripted(viewer, script)


def test_numbers_place_a_layer_and_typing_is_one_step(viewer):
    async def script(client):
        await ready(client)
        await client.rest()
        for x in (1.0, 1.5, 1.52):
            await client.set("Position", [x, 0.0, 0.0])
        await client.set("Rotation", [0.0, 0.0, 90.0])
        await client.set("Scale", 2.0)
        await seen(lambda: viewer.scene.layers["ball"].placement.scale == 2)
        placement = viewer.scene.layers["ball"].placement
        await client.trigger("Undo")
        await client.until(lambda: value(client, "Position") == [0.0, 0.0, 0.0] and value(client, "Scale") == 1.0)
        assert viewer.scene.layers["ball"].placement == Similarity() and viewer.world.document.cursor == 0
        await client.trigger("Redo")
        await client.until(lambda: np.allclose(value(client, "Rotation"), [0, 0, 90]))
        await client.press("Reset placement")
        await seen(lambda: viewer.scene.layers["ball"].placement == Similarity())
        return placement

    placement = scripted(viewer, script)
    assert np.allclose(placement.matrix @ [1, 0, 0, 1], [1.52, 2, 0, 1])


def test_what_is_typed_stays_while_what_was_typed_before_is_on_its_way(viewer):
    async def script(client):
        await ready(client)
        await client.rest()
        first, second, told, heed = threading.Event(), threading.Event(), [], client._heed

        async def heed_and_note(message):
            await heed(message)
            told.append(value(client, "Rotation"))

        for going, label, typed in ((first, "Position", [1.0, 0.0, 0.0]), (second, "Rotation", [0.0, 0.0, 90.0])):
            viewer.world.call(lambda going=going: going.wait(10))
            await client.set(label, typed)
            await asyncio.sleep(0.3)
        client._heed = heed_and_note
        first.set()
        await seen(lambda: viewer.scene.layers["ball"].placement.translation == (1.0, 0.0, 0.0))
        await asyncio.sleep(0.3)
        second.set()
        await seen(lambda: np.allclose(viewer.scene.layers["ball"].placement.matrix @ [1, 0, 0, 1], [1, 1, 0, 1]))
        await client.rest()
        return told

    told = scripted(viewer, script)
    assert told and np.allclose(told, [0, 0, 90])


def test_numbers_that_are_no_placement_do_not_stay(viewer):
    async def script(client):
        await ready(client)
        await client.rest()
        await client.set("Scale", math.nan)
        await client.press("Reset placement")
        await client.until(lambda: value(client, "Scale") == 1.0)

    scripted(viewer, script)
    assert viewer.scene.layers["ball"].placement == Similarity() and not viewer.world.document.entries


def test_a_drag_of_the_gizmo_is_one_step_and_nonsense_is_none(viewer):
    gizmo = {"name": "/layer", "wxyz": [1.0, 0, 0, 0]}

    async def script(client):
        await ready(client)
        await client.trigger("Move the layer")
        await client.until(lambda: client.widgets["Gizmo"][1]["value"])
        await client.send("TransformControlsDragStartMessage", name="/layer", owner=client_scope(viewer))
        for step in range(1, 11):
            await client.send("TransformControlsUpdateMessage", **gizmo, position=[0.3 * step, 0.0, 0.0], owner=client_scope(viewer))
        await client.send("TransformControlsUpdateMessage", **gizmo, position=[math.nan, 0.0, 0.0], owner=client_scope(viewer))
        await client.send("TransformControlsDragEndMessage", name="/layer", owner=client_scope(viewer))
        await seen(lambda: viewer.scene.layers["ball"].placement != Similarity())
        await asyncio.sleep(0.3)
        return viewer.scene.layers["ball"].placement

    placement = scripted(viewer, script)
    nobody_left(viewer)
    middle = viewer.placing.apply(placement.apply(middle_of(viewer.scene.layers["ball"].content)))
    assert np.allclose(middle, [3, 0, 0], atol=1e-5)
    assert viewer.world.undo().result().scene.layers["ball"].placement == Similarity() and viewer.world.document.cursor == 0


def client_scope(viewer):
    """How viser names the page whose gizmo it is."""
    [one] = viewer._server.get_clients().values()
    return str(one.client_id)


def test_rows_that_did_not_change_are_the_same_for_the_other(viewer):
    async def run():
        settings = {"width": 160, "height": 90}
        async with ScriptedClient.connect(viewer.url, **settings) as one, ScriptedClient.connect(viewer.url, **settings) as other:
            await one.orbit(0)
            await other.orbit(1)
            await ready(one)
            await ready(other)
            before = {label: uuid for label, (uuid, _) in other.widgets.items()}
            await other.set("Name", "half a na")  # somebody is typing
            await one.set("twin", True)
            await one.set("Layer", "twin")
            await one.press("Remove")
            await other.until(lambda: "twin" not in other.widgets)
            assert value(other, "Name") == "half a na"  # what was typed was not written over
            assert {label: uuid for label, (uuid, _) in other.widgets.items()} == {k: v for k, v in before.items() if k != "twin"}
            await one.trigger("Undo")
            await other.until(lambda: "twin" in other.widgets)
            await seen(lambda: "half a na" in viewer.scene.layers)

    asyncio.run(run())


def test_a_file_below_the_root_becomes_a_layer_and_others_are_refused(viewer, tmp_path):
    save(Scene({"a": Layer(coloured_ball(500))}), tmp_path / "more.spz")
    save(Scene({"a": Layer(made(levels=2, log2_size=6))}), tmp_path / "fox.ingp")
    (tmp_path / "broken.ply").write_bytes(b"ply\nformat binary_little_endian 1.0\nelement vertex 9999999999\nend_header\n")

    async def script(client):
        await ready(client, "File")
        for path, wanted in (("more.spz", "more"), ("../x.ply", "Not opened"), ("broken.ply", "Reading broken.ply")):
            await client.set("File", path)
            await client.press("Open")
            await client.until(lambda wanted=wanted: wanted in client.widgets or dict(client.notices.values()).get(wanted))
        await client.set("File", "fox.ingp")
        await client.press("Open")
        await client.until(lambda: "fox" in client.widgets)
        return dict(client.notices.values())

    notices = scripted(viewer, script)
    assert "below" in notices["Not opened"] and "broken.ply" in notices["Reading broken.ply"]
    assert list(viewer.scene.layers) == ["ball", "twin", "more", "fox"]
    assert viewer.scene.layers["more"].source == str(tmp_path / "more.spz")


def test_a_level_of_detail_takes_the_place_of_another(data, tmp_path):
    folder = data / "splats" / "playbot_sog_lod"
    with Viewer(Scene(), ViewerSettings(port=0, open=False, root=folder)) as viewer:

        async def script(client):
            await ready(client, "File")
            await client.set("File", "lod-meta.json")
            await client.press("Open")
            await client.until(lambda: client.widgets["Detail"][1]["visible"] and len(client.widgets["Detail"][1]["options"]) > 2, 60)
            await client.set("Name", "bot")
            await client.set("Position", [1.0, 2.0, 3.0])
            await seen(lambda: "bot" in viewer.scene.layers)
            options = client.widgets["Detail"][1]["options"]
            await client.set("Detail", options[-1])
            await seen(lambda: options[-1].endswith(f"{len(viewer.scene.layers['bot'].content):,} splats"), 60)
            await client.until(lambda: value(client, "Detail") == options[-1])

        scripted(viewer, script)
        nobody_left(viewer)
        [layer] = viewer.scene.layers.values()
        assert layer.placement.translation == (1, 2, 3)
        assert len(viewer.world.undo().result().scene.layers["bot"].content) > len(layer.content)


def test_a_viewer_that_reads_closes_at_once(viewer, tmp_path):
    os.mkfifo(tmp_path / "endless.ply")  # opening it waits for somebody who writes
    waiting = [viewer.studio.loading.add(tmp_path / "endless.ply") for _ in range(3)]
    time.sleep(0.1)
    began = time.monotonic()
    viewer.close()
    assert time.monotonic() - began < 2
    with (tmp_path / "endless.ply").open("wb"):  # now its thread goes on, and ends
        pass
    assert waiting[1].cancelled() and waiting[2].cancelled()


def test_the_doctor_finds_cures_and_shows_again(random_gaussians):
    splats, wanted = sick(random_gaussians)
    scene = Scene({"sick": Layer(splats)})
    with Viewer(scene, ViewerSettings(port=0, up="z", open=False)) as viewer:

        async def script(client):
            await ready(client, "Examine")
            await client.press("Examine")
            await client.until(lambda: "Hide 1 giant" in client.widgets)
            await client.press("Hide 1 giant")
            await client.until(lambda: client.widgets["Hide 1 giant"][1]["label"] == "Show 1 giant")
            assert set(np.flatnonzero(viewer.world.hidden["sick"])) == wanted["giant"]
            await client.press("Hide 1 giant")
            await client.until(lambda: client.widgets["Hide 1 giant"][1]["label"] == "Hide 1 giant")
            assert not viewer.world.hidden
            await client.press("Remove 2 broken")
            await client.until(lambda: "Remove 2 broken" not in client.widgets and "Hide 1 giant" in client.widgets)
            [odd] = await client.until(lambda: [label for label in client.widgets if label.startswith("Normalise")])
            await client.press(odd)
            await client.until(lambda: odd not in client.widgets)

        scripted(viewer, script)
        nobody_left(viewer)
        content = viewer.world.state.living("sick")
        assert finite_mask(content).all() and not odd_quats(content).any() and len(content) == len(splats) - 2
        viewer.world.jump(0).result()
        assert viewer.scene == scene
        nobody_left(viewer)


def test_views_are_saved_gone_to_for_everybody_and_downloaded(viewer, tmp_path):
    async def script(client):
        await ready(client, "View name")
        await client.orbit(0.7)
        await client.trigger("Save this view")
        await client.until(lambda: "View 1" in client.widgets)
        await client.orbit(2.0)
        await client.set("View name", "from <b>behind</b>")
        await client.press("Save this view")
        await client.until(lambda: "from <b>behind</b>" in client.widgets)
        await client.trigger("Go to view 1")
        await client.until(lambda: any("__splatview.go(" in source for source in client.scripts))
        [gone] = [json.loads(source[len("__splatview.go(") : -1]) for source in client.scripts if "__splatview.go(" in source]
        await client.orbit(3.0)
        await client.set("View 1", "Update")
        await seen(lambda: viewer.studio.remembered.memory.bookmarks[0].position[0] < 0)
        await client.press("Download cameras")
        await client.until(lambda: client.downloads)
        await client.set("View 1", "Remove")
        await client.until(lambda: "View 1" not in client.widgets)
        await client.trigger("Go to view 9")  # there is none
        return gone, client.downloads["splatview_cameras.json"]

    gone, downloaded = scripted(viewer, script)
    assert gone == [pytest.approx([7 * math.cos(0.7), 7 * math.sin(0.7), 1.7]), pytest.approx([0, 0, 0], abs=1e-9)]
    (tmp_path / "cameras.json").write_bytes(downloaded)
    first, second = load_cameras(tmp_path / "cameras.json")
    assert isinstance(first, Camera) and first.width == 1920 and not np.allclose(first.position, second.position)
    assert viewer.placing.apply(second.position) == pytest.approx([7 * math.cos(2), 7 * math.sin(2), 1.7])
    assert [bookmark.name for bookmark in viewer.studio.remembered.memory.bookmarks] == ["from <b>behind</b>"]


def test_settings_views_and_placements_outlive_the_viewer(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    scene = Scene({"ball": Layer(coloured_ball(), source="/a/ball.ply")})
    settings = ViewerSettings(port=0, up="z", open=False)

    async def change(client):
        await ready(client)
        await client.set("Splat scale", 0.5)
        await client.set("Background", [255, 0, 0])
        await client.set("Field of view", 31)
        await client.set("Position", [1.0, 0.0, 0.0])
        await client.trigger("Save this view")
        await client.until(lambda: "View 1" in client.widgets)
        await client.rest()

    async def look(client):
        await ready(client)
        [session] = viewer.sessions
        await seen(lambda: session.view.splat_scale == 0.5 and session.view.background == (1.0, 0.0, 0.0))
        await client.until(lambda: value(client, "Field of view") == 31 and "View 1" in client.widgets)
        await client.press("Reset settings")
        await seen(lambda: session.view.splat_scale == 1.0 and session.view.background == (0.0, 0.0, 0.0))
        await client.until(lambda: value(client, "Splat scale") == 1.0)

    async def again(client):
        await ready(client)
        return value(client, "Splat scale")

    for script in (change, look, again):
        with Viewer(scene, settings, key="ball") as viewer:
            assert script is change or viewer.scene.layers["ball"].placement.translation == (1, 0, 0)
            result = scripted(viewer, script)
            nobody_left(viewer)
    assert result == 1.0
    with Viewer(scene, settings, key="another") as viewer:
        assert viewer.scene == scene and not viewer.studio.remembered.memory.bookmarks


def test_a_remembered_file_full_of_nonsense_harms_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    settings = ViewerSettings(port=0, up="z", open=False)
    with Viewer(Scene({"ball": Layer(coloured_ball())}), settings, key="x") as viewer:
        for label in ("Splat scale", "Background", "Antialiasing", "Grid", "Size", "SH degree", "Nobody"):
            viewer.studio.remembered.set(label, {"a": [None, "b", 1e300]})
        viewer.studio.remembered.set("Render size", 1e300)

        async def script(client):
            await ready(client)
            return value(client, "Splat scale"), (await client.rest()).size

        scale, size = scripted(viewer, script)
        assert scale == 1.0 and size == (640, 360)  # the window's, twice as fine: the slider ends there
        nobody_left(viewer)


def test_curves_are_drawn_only_when_they_are_asked_for(viewer):
    async def script(client):
        await ready(client, "Curves")

        def plots():
            return [props for _, props in client.widgets.values() if "series" in props]

        assert not plots()
        await client.set("Curves", True)
        for step in range(100):
            await client.orbit(0.1 * step)
            await asyncio.sleep(0.03)
            if len(plots()) == 3:
                break
        assert len(plots()) == 3 and {"blend", "encode"} <= {one.get("label") for one in plots()[0]["series"]}
        await client.set("Curves", False)
        await client.until(lambda: not plots())

    scripted(viewer, script)


def test_the_panel_says_what_the_overdraw_guard_lets_through(viewer):
    async def script(client):
        await client.rest()
        [(session, panel)] = viewer._sessions.values()
        snapshot, said = session._pacer.stats.snapshot(0.0, 0), []
        for limit in (None, 1024):
            panel.statistics.show(snapshot, replace(session._seen, saved=Saved(limit)))
            said.append("nearest 1,024 per tile" in panel.statistics._figures.content)
        return said

    assert scripted(viewer, script) == [False, True]


def test_an_empty_scene_has_a_panel():
    with Viewer(Scene({"nothing": Layer(coloured_ball().take([]))}), ViewerSettings(port=0, open=False)) as viewer:

        async def script(client):
            await client.until(lambda: "command Screenshot" in client.widgets)
            await client.trigger("Move the layer")
            await client.press("Examine")
            await client.until(lambda: any("no Gaussians" in str(props.get("content", "")) for _, props in client.widgets.values()))
            await client.press("Remove")
            await client.until(lambda: value(client, "Layer") == "no layer")
            await client.press("Remove")
            await client.press("Reset placement")

        scripted(viewer, script)
        nobody_left(viewer)
