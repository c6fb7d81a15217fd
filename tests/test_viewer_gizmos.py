"""Gizmos, numbers, volumes and measures through a scripted client."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hand_cases import balls, drag, said, scope
from test_viewer import scripted
from test_viewer_panels import ready, seen, value

from splatview.geometry import Similarity, matrix_from_quat
from splatview.viewer.panels.measure import Measure


@pytest.fixture
def viewer(tmp_path):
    with balls(tmp_path) as running:
        yield running


def test_a_drag_of_the_selection_is_shown_at_once_and_is_one_operation(viewer):
    async def script(client):
        await ready(client)
        await client.stroke("rectangle", [(0.4, 0.4), (0.6, 0.6)])
        await seen(lambda: viewer.world.state.selected_count)
        mask = viewer.world.state.selected["ball"]
        before = viewer.scene.layers["ball"].content
        await client.trigger("Move the selection")
        [(_, panel)] = viewer._sessions.values()
        await seen(lambda: panel.arrange._gizmo.visible)
        start, up, right = np.array(panel.arrange._gizmo.position), np.array([0, 0, 1.5]), np.array([1.0, 0, 0])
        assert np.allclose(viewer.placing.inverse().apply(start), np.median(before.means[mask], axis=0), atol=1e-5)
        await drag(client, viewer, "/selection", start + up, end=False)
        await seen(lambda: len(viewer.scene.layers) == 2)  # lifted
        assert viewer.scene.layers["ball"].content is before and len(viewer.world.document.entries) == 1
        assert list(panel.layers._rows) == ["ball"]
        await client.send("TransformControlsDragEndMessage", name="/selection", owner=scope(viewer))
        await seen(lambda: len(viewer.world.document.entries) == 2)
        after = viewer.world.state.scene.layers["ball"].content
        offset = viewer.placing.inverse().apply([0, 0, 1.5]) - viewer.placing.inverse().apply([0, 0, 0])
        assert list(viewer.scene.layers) == ["ball"] and viewer.world.document.entries[1].operation.label == "Move"
        assert np.allclose(after.means[mask], before.means[mask] + offset, atol=1e-5)
        assert np.array_equal(after.means[~mask], before.means[~mask])
        await seen(lambda: np.allclose(panel.arrange._gizmo.position, start + up, atol=1e-4))
        await client.trigger("Scale the selection")
        await seen(lambda: panel.arrange._gizmo.active_axes == (True, False, False))
        await drag(client, viewer, "/selection", start + up + right)
        await seen(lambda: len(viewer.world.document.entries) == 3)
        scaled = viewer.world.state.scene.layers["ball"].content
        assert np.allclose(scaled.log_scales[mask] - after.log_scales[mask], math.log(2), atol=1e-4)
        await drag(client, viewer, "/selection", [math.nan, 0, 0])
        await client.trigger("Undo")
        await seen(lambda: viewer.world.document.cursor == 2)

    scripted(viewer, script)


def test_without_a_selection_the_gizmo_moves_the_chosen_layer(viewer):
    async def script(client):
        await ready(client)
        await client.trigger("Rotate the selection")
        [(_, panel)] = viewer._sessions.values()
        await seen(lambda: panel.arrange._gizmo.visible)
        quat = (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5))
        await drag(client, viewer, "/selection", panel.arrange._gizmo.position, quat)
        await seen(lambda: viewer.scene.layers["ball"].placement != Similarity())
        placement = viewer.scene.layers["ball"].placement
        assert np.allclose(placement.rotation, matrix_from_quat(np.array(quat)), atol=1e-6) and placement.scale == 1

    scripted(viewer, script)


def test_numbers_move_turn_and_scale_about_a_pivot_that_was_set(viewer):
    async def script(client):
        await ready(client)
        await client.trigger("Select all")
        await seen(lambda: viewer.world.state.selected_count == 3000)
        await client.until(lambda: any(value(client, "Pivot")))  # the selection's middle is shown
        before = viewer.scene.layers["ball"].content.means
        await client.set("Pivot", [1.0, 0.0, 0.0])
        await client.set("Rotate by", [0.0, 0.0, 90.0])
        await client.set("Scale by", 2.0)
        await client.set("Move by", [0.0, 0.0, 5.0])
        await client.press("Apply")
        await seen(lambda: len(viewer.world.document.entries) == 2)
        after = viewer.scene.layers["ball"].content.means
        x, y, z = before.T
        assert np.allclose(after, np.stack([1 - 2 * y, 2 * (x - 1), 2 * z + 5], -1), atol=1e-5)
        await client.until(lambda: value(client, "Scale by") == 1.0 and np.allclose(value(client, "Pivot"), [1, 0, 5]))
        await client.set("Resize", "+10%")
        await seen(lambda: len(viewer.world.document.entries) == 3)
        assert np.allclose(viewer.scene.layers["ball"].content.means, [1, 0, 5] + 1.1 * (after - [1, 0, 5]), atol=1e-4)

    scripted(viewer, script)


def test_volumes_select_crop_and_have_names_in_expressions(viewer):
    async def script(client):
        await ready(client)
        [(_, panel)] = viewer._sessions.values()
        await client.rest()
        await client.set("New", "Sphere")
        await seen(lambda: "sphere1" in panel.select._editor.volumes)
        await client.set("Volume middle", [0.0, 0.0, 1.0])
        await client.set("Sphere radius", 0.5)
        await client.set("Inside", "Set")
        means = viewer.scene.layers["ball"].content.means
        wanted = np.linalg.norm(means - [0, 0, 1], axis=1) <= 0.5
        await seen(lambda: np.array_equal(viewer.world.state.selected.get("ball"), wanted))
        await client.set("New", "Box")
        await seen(lambda: "box1" in panel.select._editor.volumes)
        await client.set("Volume middle", [1.0, 0.0, 0.0])
        await client.set("Box size", [0.5, 4.0, 4.0])
        await client.set("Inside", "Add")
        boxed = np.abs(means[:, 0] - 1) <= 0.25
        await seen(lambda: np.array_equal(viewer.world.state.selected.get("ball"), wanted | boxed))
        await client.set("Expression", "within(sphere1) or within(box1)")
        await client.set("Where it holds", "Remove")
        await seen(lambda: not viewer.world.state.selected)
        for text, wrong in (("x +", "something behind"), ("import os", "such as"), ("within(nobody)", "nobody")):
            await client.set("Expression", text)
            await client.set("Where it holds", "Set")
            await client.until(lambda wrong=wrong: said(client, wrong))
        await client.set("Expression", "x > 0")
        await client.set("Where it holds", "Set")
        await seen(lambda: np.array_equal(viewer.world.state.selected.get("ball"), means[:, 0] > 0))
        await client.set("Crop to volume", "Keep inside")
        await seen(lambda: np.array_equal(viewer.world.state.deleted.get("ball"), ~boxed))
        await client.trigger("Undo")
        await client.set("Crop to volume", "Keep outside")
        await seen(lambda: np.array_equal(viewer.world.state.deleted.get("ball"), boxed))
        await drag(client, viewer, "/volume", [0.0, 0.0, 3.0])
        box = panel.select._editor.volumes["box1"]
        await seen(lambda: np.allclose(panel.select._editor.volumes["box1"].centre, viewer.placing.inverse().apply([0, 0, 3.0]), atol=1e-6))
        assert panel.select._editor.volumes["box1"].size == box.size
        await client.press("Remove volume")
        await seen(lambda: list(panel.select._editor.volumes) == ["sphere1"])

    scripted(viewer, script)


def test_a_measure_rescales_three_points_level_and_an_axis_is_up(viewer):
    async def script(client):
        await ready(client)
        await client.rest()
        [(session, panel)] = viewer._sessions.values()
        await client.press("Measure")
        await client.until(lambda: any('use("pick"' in source for source in client.scripts))
        await client.stroke("pick", [(0.45, 0.5)])
        await client.until(lambda: any("(2 of 2)" in source for source in client.scripts))
        await client.stroke("pick", [(0.55, 0.5)])
        await client.until(lambda: said(client, "scene units"))
        measure: Measure = panel.arrange.measure
        ends = measure._ends
        assert all(np.linalg.norm(end) == pytest.approx(1, abs=0.15) for end in ends)
        assert value(client, "Length") == pytest.approx(np.linalg.norm(ends[1] - ends[0]), rel=1e-4)
        await client.set("Length", 10.0)
        await client.press("Rescale the scene")
        await seen(lambda: viewer.scene.layers["ball"].placement.scale != 1)
        assert viewer.scene.layers["ball"].placement.scale == pytest.approx(10 / np.linalg.norm(ends[1] - ends[0]))
        await client.until(lambda: said(client, "10 scene units"))
        await client.trigger("Undo")
        await seen(lambda: viewer.scene.layers["ball"].placement.scale == 1)
        await client.set("Up is", "x")
        await client.press("Turn upright")
        await seen(lambda: np.allclose(viewer.scene.layers["ball"].placement.rotation @ [1, 0, 0], [0, 0, 1], atol=1e-6))
        await client.trigger("Undo")
        await seen(lambda: viewer.scene.layers["ball"].placement.is_identity)
        await client.rest(0.8)
        await client.press("Align the floor")
        got = []
        point_at = session.point_at

        def noted(*where):
            found = point_at(*where)
            found.add_done_callback(lambda done: got.append(done.result()))
            return found

        session.point_at = noted
        for place, at in enumerate([(0.45, 0.45), (0.55, 0.45), (0.5, 0.55)]):
            await client.until(lambda place=place: any(f"({place + 1} of 3)" in source for source in client.scripts))
            await client.stroke("pick", [at])
        await seen(lambda: not viewer.scene.layers["ball"].placement.is_identity)
        assert np.allclose(viewer.scene.layers["ball"].placement.apply(np.stack(got))[:, 2], 0, atol=1e-6)

    scripted(viewer, script)
