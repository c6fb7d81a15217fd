"""Strokes, keys and selections through a scripted client."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hand_cases import balls, points, said
from scripted_client import ScriptedClient
from test_viewer import nobody_left, scripted
from test_viewer_panels import ready, seen, value

from splatview.edit.select import Look, chosen
from splatview.edit.state import State
from splatview.viewer.editor import Picking, query_of
from splatview.viewer.picture import OUTLINE, outlined
from splatview.viewer.space import NEAR


@pytest.fixture
def viewer(tmp_path):
    with balls(tmp_path) as running:
        yield running


def test_a_stroke_becomes_a_selection_and_a_tinted_picture(viewer):
    async def script(client):
        await ready(client)
        before = await client.rest()
        await client.stroke("rectangle", [(0.4, 0.4), (0.5, 0.5), (0.6, 0.6)])
        await client.until(lambda: said(client, " %</div>"))
        state = viewer.world.state
        [session] = viewer.sessions
        camera, look = session.camera(320, 180), Look(near=NEAR / viewer.placing.scale)
        query = query_of("rectangle", points((0.4, 0.4), (0.6, 0.6)), 0.05, camera, Picking(), look)
        wanted = chosen(query, State(viewer.scene), viewer._tools)
        assert np.array_equal(state.selected["ball"], wanted["ball"]) and state.selected_count > 20
        assert said(client, f"{state.selected_count:,} splats, {100 * state.selected_count / 3000:.1f} %")
        after = await client.rest(0.7)
        changed = np.abs(after.pixels.astype(int) - before.pixels).max(-1) > 12
        columns = np.nonzero(changed)[1]
        assert 0.3 < columns.mean() / 320 < 0.7 and changed[80:100, 140:180].mean() > 0.5 and not changed[:30].any()
        await client.set("Shown as", "nothing")
        plain = await client.until(lambda: client.arrivals[-1].number > after.number and client.arrivals[-1]) and await client.rest(0.7)
        assert np.abs(plain.pixels.astype(int) - before.pixels).max() < 12
        await client.set("Shown as", "outline")
        await client.until(lambda: client.arrivals[-1].number > plain.number)
        outlined = await client.rest(0.7)
        line = np.abs(outlined.pixels.astype(int) - before.pixels).max(-1) > 40
        assert 100 < line.sum() < 2500 and line[70:75, 120:200].any()

    scripted(viewer, script)


def test_a_stroke_is_of_the_picture_it_was_drawn_on_not_of_the_newest_camera(viewer):
    async def script(client):
        await ready(client)
        old = await client.rest()
        await client.orbit(2.0)
        await client.until(lambda: client.arrivals[-1].number > old.number)
        await client.rest(0.7)
        await client.stroke("rectangle", [(0.45, 0.45), (0.55, 0.55)], number=old.number)
        await seen(lambda: viewer.world.state.selected_count)
        means = viewer.scene.layers["ball"].content.means
        return viewer.placing.apply(means[viewer.world.state.selected["ball"]].mean(0))

    middle = scripted(viewer, script)  # the first camera stood at +x of the page
    assert middle[0] > 2.5 and abs(middle[1]) < 0.8


def test_keys_delete_hide_undo_and_show_again(viewer):
    async def script(client):
        await ready(client)
        await client.stroke("rectangle", [(0.4, 0.4), (0.6, 0.6)])
        await seen(lambda: viewer.world.state.selected_count)
        chosen = viewer.world.state.selected["ball"]
        await client.trigger("Delete the selection")
        await seen(lambda: viewer.world.state.deleted)
        assert np.array_equal(viewer.world.state.deleted["ball"], chosen) and not viewer.world.state.selected
        await client.trigger("Undo")
        await seen(lambda: viewer.world.state.selected and not viewer.world.state.deleted)
        await client.trigger("Hide the selection")
        await seen(lambda: viewer.world.state.hidden)
        await client.trigger("Select all")
        await seen(lambda: viewer.world.state.selected_count == 3000 - chosen.sum())
        await client.trigger("Show what is hidden")
        await seen(lambda: not viewer.world.state.hidden)
        await client.trigger("Invert the selection")
        await seen(lambda: np.array_equal(viewer.world.state.selected.get("ball"), chosen))
        await client.trigger("Select none")
        await seen(lambda: not viewer.world.state.selected)
        await asyncio.sleep(0.3)  # a key that is held is one press
        await client.trigger("Delete the selection")
        await client.until(lambda: any("nothing is selected" in text for _, text in client.notices.values()))

    scripted(viewer, script)


def test_a_slab_is_shown_while_it_is_set_and_selects_between_its_depths(viewer):
    async def script(client):
        await ready(client)
        await client.rest()
        await client.set("Reach", "slab")
        await client.until(lambda: client.widgets["Near and far"][1]["visible"])
        [session] = viewer.sessions
        camera = session.camera(320, 180)
        means = viewer.scene.layers["ball"].content.means
        depth = means @ camera.camera_from_world[2, :3] + camera.camera_from_world[2, 3]
        near, far = np.quantile(depth, [0.2, 0.4]).tolist()
        await client.set("Near and far", [near, far])
        await seen(lambda: viewer.world.state.selected_count)
        assert np.array_equal(viewer.world.state.selected["ball"], (depth >= near) & (depth <= far)) and not viewer.world.edited.selected
        await seen(lambda: not viewer.world.state.selected, 5)  # it was a preview
        await client.stroke("rectangle", [(0.1, 0.1), (0.9, 0.9)])
        await seen(lambda: viewer.world.edited.selected_count)
        chosen = viewer.world.edited.selected["ball"]
        assert (depth[chosen] >= near).all() and (depth[chosen] <= far).all()
        await client.trigger("Select the surface or all behind it")
        await seen(lambda: value(client, "Reach") == "surface")

    scripted(viewer, script)


def test_layers_of_what_is_selected_are_made_merged_and_baked(viewer):
    async def script(client):
        await ready(client)
        await client.stroke("rectangle", [(0.4, 0.4), (0.6, 0.6)])
        await seen(lambda: viewer.world.edited.selected_count)
        count = viewer.world.edited.selected_count
        await client.set("To a layer", "Duplicate")
        await seen(lambda: list(viewer.scene.layers) == ["ball", "ball copy"])
        assert len(viewer.scene.layers["ball copy"].content) == count == viewer.world.edited.selected_count
        await client.set("To a layer", "Separate")
        await seen(lambda: "ball copy part" in viewer.scene.layers)
        await client.press("Merge visible layers")
        await seen(lambda: list(viewer.scene.layers) == ["merged"])
        assert len(viewer.scene.layers["merged"].content) == 3000 + count
        await client.press("Cap SH degree")
        await seen(lambda: viewer.scene.layers["merged"].content.sh_degree == 0)
        await client.press("Bake")
        await seen(lambda: viewer.world.document.entries[-1].operation.label == "Bake")
        await client.set("Selected", "Lock")
        await seen(lambda: viewer.world.edited.locked or client.notices)
        await client.set("Bring back", "Locked")
        await seen(lambda: not viewer.world.edited.locked)

    scripted(viewer, script)


def test_an_outline_is_two_pixels_along_the_edge_and_no_more():
    coverage = np.zeros((40, 60), np.float32)
    coverage[10:30, 20:40] = 0.7
    coverage[0:5, 0:5] = 0.4
    pixels = np.random.default_rng(0).integers(0, 200, (40, 60, 3)).astype(np.uint8)
    result = outlined(pixels, coverage)
    line = (result == OUTLINE).all(-1)
    assert line.sum() == 22 * 22 - 18 * 18 and np.array_equal(result[~line], pixels[~line])
    assert not line[11:29, 21:39].any() and not line[:9].any() and (result.base is None or result is not pixels)
    assert outlined(pixels[..., 0], coverage).shape == (40, 60, 3)
    assert not (outlined(pixels, np.ones((40, 60), np.float32)) != pixels).any()  # no edge


def test_selections_are_saved_used_again_and_forgotten(viewer):
    async def script(client):
        await ready(client)
        await client.stroke("rectangle", [(0.4, 0.4), (0.6, 0.6)])
        await seen(lambda: viewer.world.state.selected_count)
        kept = viewer.world.state.selected["ball"]
        await client.press("Save selection")
        await client.until(lambda: "set1" in client.widgets["Saved selection"][1]["options"])
        await client.set("Selection name", "not a name")
        await client.press("Save selection")
        await client.until(lambda: any("letters" in text for _, text in client.notices.values()))
        await client.trigger("Select all")
        await client.set("Use it", "Remove")
        await seen(lambda: np.array_equal(viewer.world.state.selected.get("ball"), ~kept))
        await client.set("Use it", "Set")
        await seen(lambda: np.array_equal(viewer.world.state.selected.get("ball"), kept))
        await client.press("Forget it")
        await client.until(lambda: client.widgets["Saved selection"][1]["options"] == ["none yet"])

    scripted(viewer, script)


def test_two_people_see_each_others_selections_and_undo(viewer):
    async def run():
        settings = {"width": 320, "height": 180}
        async with ScriptedClient.connect(viewer.url, **settings) as one, ScriptedClient.connect(viewer.url, **settings) as other:
            await one.orbit(0)
            await other.orbit(0)
            await ready(one)
            await ready(other)
            before = await other.rest()
            await one.stroke("rectangle", [(0.4, 0.4), (0.6, 0.6)])
            await other.until(lambda: said(other, " %</div>"))
            after = await other.rest(0.7)
            assert np.abs(after.pixels.astype(int) - before.pixels).max() > 60
            await other.trigger("Undo")
            await one.until(lambda: said(one, "Nothing is selected."))

    asyncio.run(run())


def test_a_page_may_send_anything_and_a_stroke_ends_with_its_page(viewer):
    async def script(client):
        await ready(client)
        await client.rest()
        for nonsense in ([(1e9, 0.0)], [(0.5, 0.5)] * 3):
            await client.stroke("rectangle", nonsense, number=10**12)
            await client.stroke("polygon", nonsense)
        await client.stroke("brush", [(0.5, 0.5), (0.52, 0.5)], pause=0.05, end="move")
        await seen(lambda: viewer.world.state.selected_count)

    scripted(viewer, script)
    nobody_left(viewer)
    end = viewer.world.call(lambda: viewer.world.state).result(10)
    assert end is viewer.world.edited
