"""The folders Grade and Relight: seen at once, applied, and changed later."""

from __future__ import annotations

import numpy as np
import pytest
from edit_visits import edited, told
from hypothesis import given
from hypothesis import strategies as st
from test_viewer import nobody_left, scripted
from test_viewer_panels import ready, seen, value

from splatview.edit.grade import Grading, Painting, graded, painted
from splatview.edit.operations import Paint
from splatview.edit.select import Range
from splatview.framing import Framing
from splatview.viewer.panels.relight import angles, sun
from splatview.viewer.space import page_from_world


@pytest.fixture
def viewer(tmp_path):
    with edited(tmp_path) as running:
        yield running


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
