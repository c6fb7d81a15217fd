"""Hands on the document: strokes become queries, gizmos motions, clicks measures; laws without a page, and through a scripted client."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_client import ScriptedClient
from test_viewer import coloured_ball, nobody_left, scripted
from test_viewer_panels import ready, seen, value

from splatview import Camera, RenderOptions, Scene, open_renderer
from splatview.edit.grade import Painting
from splatview.edit.operations import Move
from splatview.edit.region import Lasso, Polygon, Rectangle, Stroke
from splatview.edit.select import Drawn, Flooded, Look, Selection, Slab, Surface, Through, Tools, Under, chosen
from splatview.edit.state import State
from splatview.edit.transform import about
from splatview.frame import Masks
from splatview.framing import Framing
from splatview.geometry import Similarity, matrix_from_quat
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.editor import Editor, Picking, how_of, query_of, shape_of
from splatview.viewer.lifting import Lifted, middle_of_selection, motion
from splatview.viewer.panels.measure import Measure
from splatview.viewer.panels.shape import placed
from splatview.viewer.picture import OUTLINE, outlined
from splatview.viewer.space import NEAR, page_from_world
from splatview.viewer.tools import Drawn as Piece
from splatview.viewer.wireframes import box_lines, sphere_lines
from splatview.viewer.world import World
from splatview.volumes import Box, Sphere

CAMERA = Camera.look_at((0, -4, 0), (0, 0, 0), (0, 0, 1), 0.8, 320, 180)
LOOK = Look()
PLACEMENTS = st.builds(
    lambda quat, at, scale: Similarity(tuple(quat), tuple(at), scale),
    st.lists(st.floats(0.1, 1), min_size=4, max_size=4),
    st.lists(st.floats(-5, 5), min_size=3, max_size=3),
    st.floats(0.1, 10),
)


def points(*places):
    return np.array(places, np.float64)


def asks(tool, *places, **picking):
    return query_of(tool, points(*places), 0.1, CAMERA, Picking(**picking), LOOK)


# Strokes


@pytest.mark.parametrize(
    ("held", "how"), [((), "set"), (("shift",), "add"), (("ctrl",), "remove"), (("shift", "ctrl"), "intersect"), (("alt",), "set")]
)
def test_modifiers_are_those_of_the_field(held, how):
    assert how_of(frozenset(held)) == how


@pytest.mark.parametrize(
    "tool, kind", [("rectangle", Rectangle), ("lasso", Lasso), ("polygon", Polygon), ("brush", Stroke), ("paint", Stroke)]
)
def test_a_stroke_is_asked_as_its_tool_draws(tool, kind):
    query = asks(tool, (0.2, 0.2), (0.6, 0.3), (0.5, 0.8))
    assert isinstance(query, Drawn) and isinstance(query.shape, kind) and query.camera == CAMERA and query.depth == Surface(0.1)


@pytest.mark.parametrize(
    ("picking", "depth"),
    [
        ({}, Surface(0.1)),
        ({"least": 0.5}, Surface(0.5)),
        ({"reach": "through"}, Through()),
        ({"reach": "slab", "near": 1, "far": 2}, Slab(1, 2)),
    ],
)
def test_how_deep_a_stroke_reaches_is_the_settings_choice(picking, depth):
    assert asks("rectangle", (0.2, 0.2), (0.6, 0.3), **picking).depth == depth


def test_a_click_with_any_tool_takes_one_and_no_area_asks_nothing():
    for tool in ("point", "rectangle", "lasso"):
        assert asks(tool, (0.5, 0.5), (0.5005, 0.501)) == Under(CAMERA, 0.5, 0.5, LOOK)
    assert isinstance(asks("flood", (0.5, 0.5)), Flooded) and isinstance(asks("brush", (0.5, 0.5)).shape, Stroke)
    assert asks("rectangle", (0.2, 0.5), (0.8, 0.5)) is None and asks("polygon", (0.1, 0.1), (0.5, 0.5)) is None
    assert asks("rectangle") is None


def test_a_stroke_of_minutes_is_thinned_and_keeps_its_ends():
    many = np.random.default_rng(0).uniform(size=(100_000, 2))
    shape = shape_of("brush", many, 0.1)
    assert len(shape.points) == 20_000 and shape.points[0] == tuple(many[0]) and shape.points[-1] == tuple(many[-1])


class Hand:
    def __init__(self):
        self.used = []

    def use(self, tool, radius=None, hint=None):
        self.used.append((tool, hint))

    def radius(self, fraction):
        self.used.append(("radius", fraction))

    def notify(self, title, text):
        self.used.append((title, text))


class Visit:
    """A session that always saw the ball from the same place."""

    look = LOOK

    def __init__(self):
        self.asked = []

    def camera_of(self, number):
        self.asked.append(number)
        return CAMERA

    def point_at(self, number, x, y):
        found = Future()
        found.set_result(None if x > 0.9 else np.array([x, y, 0.0]))
        return found


@pytest.fixture
def hands():
    renderer = open_renderer("cpu")
    tools = Tools(lambda: renderer, lambda path, level: pytest.fail("nothing is read here"))
    world = World(Scene({"ball": Layer(coloured_ball(1000))}), tools)
    hand, visit = Hand(), Visit()
    editor = Editor(hand, hand, visit, world, tools, "somebody")

    def stroke(tool, *places, held=(), end="end", number=7):
        for place, (x, y) in enumerate(places):
            editor.drawn(Piece(tool, "move" if place else "start", (x, y), frozenset(held), 0.1, number))
        editor.drawn(Piece(tool, end, (), frozenset(held), 0.1, number))
        return world.call(lambda: world.state).result(20)

    yield editor, world, hand, visit, stroke
    world.close()


def selected(state):
    return state.selected.get("ball", np.zeros(1000, bool))


def test_strokes_obey_the_algebra_of_sets_and_are_one_operation_each(hands):
    editor, world, _, visit, stroke = hands
    one = selected(stroke("rectangle", (0.4, 0.3), (0.55, 0.7)))
    both = selected(stroke("rectangle", (0.5, 0.3), (0.6, 0.7), held=["shift"]))
    other = both & ~one | chosen(asks("rectangle", (0.5, 0.3), (0.6, 0.7)), State(world.scene), editor._tools)["ball"]
    assert one.any() and np.array_equal(both, one | other)
    assert np.array_equal(selected(stroke("rectangle", (0.5, 0.3), (0.6, 0.7), held=["ctrl"])), one & ~other)
    stroke("rectangle", (0.4, 0.3), (0.55, 0.7))
    assert np.array_equal(selected(stroke("rectangle", (0.5, 0.3), (0.6, 0.7), held=["shift", "ctrl"])), one & other)
    assert len(world.document.entries) == 5 and set(visit.asked) == {7} and world.document.entries[0].author == "somebody"


def test_a_brush_shows_at_once_what_it_reaches_and_a_cancelled_one_leaves_nothing(hands):
    editor, world, _, _, stroke = hands
    before = world.edited
    editor.drawn(Piece("brush", "start", (0.5, 0.5, 0.55, 0.5), frozenset(), 0.1, 1))
    editor.drawn(Piece("brush", "move", (), frozenset(), 0.1, 1))
    shown = world.call(lambda: world.state).result(20)
    assert shown.selected_count > 0 and world.edited is before
    editor.drawn(Piece("brush", "cancel", (), frozenset(), 0.1, 1))
    assert world.state is before and not world.document.entries
    after = stroke("brush", (0.5, 0.5), (0.55, 0.5))
    assert np.array_equal(selected(after), selected(shown)) and len(world.document.entries) == 1


def test_the_eyedropper_takes_what_has_the_colour_of_the_front(hands):
    editor, world, _, _, stroke = hands
    editor.change(likeness=0.3)
    mask = selected(stroke("eyedropper", (0.5, 0.5)))
    colours = world.scene.layers["ball"].content.colours
    front = chosen(Under(CAMERA, 0.5, 0.5, LOOK), world.state, editor._tools)["ball"]
    assert np.array_equal(mask, (np.abs(colours - colours[front]) <= 0.3).all(1)) and mask.sum() > 1
    assert not selected(stroke("eyedropper", (0.01, 0.01))).any()  # nothing is there


def test_paint_colours_what_lies_under_the_brush_and_nothing_else(hands):
    editor, world, hand, _, stroke = hands
    editor.change(painting=Painting((0.0, 1.0, 0.0)))
    before = world.state.scene.layers["ball"].content
    reached = chosen(asks("paint", (0.5, 0.5), (0.55, 0.5)), world.state, editor._tools)["ball"]
    after = stroke("paint", (0.5, 0.5), (0.55, 0.5)).scene.layers["ball"].content
    assert not hand.used
    assert np.allclose(after.colours[reached], (0, 1, 0), atol=1e-5) and np.array_equal(after.sh[~reached], before.sh[~reached])
    stroke("paint", (0.01, 0.01))
    assert len(world.document.entries) == 1 and not hand.used


def test_points_are_picked_one_by_one_and_the_tool_comes_back(hands):
    editor, _, hand, _, stroke = hands
    editor.use("brush")
    got = []
    editor.pick(2, "Two points", got.append)
    assert hand.used[-1] == ("pick", "Two points (1 of 2)")
    stroke("pick", (0.2, 0.3))
    stroke("pick", (0.95, 0.3))  # met nothing
    assert hand.used[-1][0] == "Nothing there" and editor.tool == "pick" and not got
    stroke("pick", (0.4, 0.5))
    assert editor.tool == "brush" and np.allclose(got[0], [(0.2, 0.3, 0), (0.4, 0.5, 0)])
    editor.pick(1, "One", got.append)
    editor.left()  # Escape
    assert hand.used[-1] == ("none", None)  # also a page that a tool was on its way to
    stroke("pick", (0.4, 0.5))
    assert len(got) == 1 and editor.tool == "none"


# Moving


def picture(state):
    options = RenderOptions(hidden=state.undrawn, tinted=state.selected, outputs=("rgb8",))
    return open_renderer("cpu").render(state.scene, CAMERA, options).rgb8.astype(int)


def chosen_state(placement=Similarity(), share=0.3):
    rng = np.random.default_rng(1)
    scene = Scene({"a": Layer(coloured_ball(2000), placement), "b": Layer(coloured_ball(500, seed=2), Similarity(scale=0.5))})
    masks = Masks({"a": rng.uniform(size=2000) < share, "b": np.ones(500, bool)})
    return replace(State(scene), selected=masks)


@pytest.mark.parametrize("placement", [Similarity(), Similarity((0.8, 0.2, -0.4, 0.3), (0.2, 0.1, -0.3), 0.8)], ids=["plain", "placed"])
def test_a_lifted_selection_looks_as_the_moved_one_will(placement):
    state = chosen_state(placement)
    transform = about(Similarity((0.9, 0.1, 0.4, -0.2), (0.3, -0.2, 0.1), 1.3), (0.1, 0.2, 0.3))
    shown = Lifted(state).moved(transform)
    done = Move(transform, Selection.of(state)).apply(state, None)
    assert np.abs(picture(shown) - picture(done)).max() <= 3
    assert shown.selected_count == done.selected_count == state.selected_count and shown.scene.count > state.scene.count
    assert Lifted(state).moved(transform).scene.layers["b"].content is state.scene.layers["b"].content  # all of it: nothing is taken out


def test_lifting_without_moving_changes_nothing_that_is_seen():
    state = chosen_state()
    assert np.abs(picture(Lifted(state).moved(Similarity())) - picture(state)).max() <= 1


@given(PLACEMENTS)
def test_the_middle_of_a_selection_moves_with_it(transform):
    state = chosen_state()
    before = middle_of_selection(state)
    moved = middle_of_selection(Lifted(state).moved(Similarity(translation=transform.translation)))
    assert np.allclose(moved, before + transform.translation, atol=1e-4)
    assert middle_of_selection(replace(state, selected=Masks())) is None


PAGES = st.builds(
    lambda up, radius: page_from_world(Framing((1.0, -2.0, 3.0), radius, up)), st.sampled_from(["z", "-y", "x"]), st.floats(0.5, 50)
)
TRIPLES = st.lists(st.floats(-5, 5), min_size=3, max_size=3).map(np.array)


@given(PAGES, TRIPLES, TRIPLES)
def test_a_gizmo_moves_by_as_much_as_it_was_dragged(page, pivot, offset):
    transform = motion("move", pivot, page, page.quat, page.apply(pivot + offset))
    assert transform.quat == (1, 0, 0, 0) and transform.scale == 1 and np.allclose(transform.translation, offset, atol=3e-4)


@given(PAGES, TRIPLES, st.lists(st.floats(0.1, 1), min_size=4, max_size=4))
def test_a_gizmo_turns_about_its_pivot_along_the_worlds_axes(page, pivot, quat):
    turn = Similarity(tuple(quat))
    transform = motion("rotate", pivot, page, (page @ turn).quat, page.apply(pivot))
    assert transform.scale == 1 and np.allclose(transform.rotation, turn.rotation, atol=1e-9)
    assert np.allclose(transform.apply(pivot), pivot, atol=1e-9)


@given(PAGES, TRIPLES, st.floats(-2, 2))
def test_a_handle_scales_about_its_pivot_and_back(page, pivot, pull):
    at = page.apply(pivot) + page.rotation @ [pull, 0, 0]
    transform = motion("scale", pivot, page, page.quat, at)
    assert transform.scale == pytest.approx(2**pull, rel=1e-5) and np.allclose(transform.apply(pivot), pivot, atol=1e-9)
    assert transform.quat == (1, 0, 0, 0)


@given(PAGES, TRIPLES)
def test_a_gizmo_that_was_only_clicked_on_moves_nothing(page, pivot):
    for kind in ("move", "rotate", "scale"):  # a page keeps its numbers in 32 bits
        assert motion(kind, pivot, page, np.float32(page.quat), page.apply(pivot) + 1e-6) == Similarity()


def test_nonsense_of_a_page_is_no_motion():
    page = page_from_world(Framing((0, 0, 0), 1.0, "z"))
    for bad in ((math.nan, 0, 0), (math.inf, 0, 0)):
        with pytest.raises(ValueError, match="finite"):
            motion("move", np.zeros(3), page, page.quat, bad)


def test_wires_are_as_large_as_their_volumes():
    box, sphere = box_lines(), sphere_lines()
    assert box.shape == (12, 2, 3) and np.allclose(np.abs(box), 0.5) and np.allclose(np.linalg.norm(box[:, 0] - box[:, 1], axis=1), 1)
    assert len({tuple(sorted(map(tuple, edge.tolist()))) for edge in box}) == 12
    assert np.allclose(np.linalg.norm(sphere, axis=-1), 1, atol=1e-6)


# Through the door


@pytest.fixture
def viewer(tmp_path):
    scene = Scene({"ball": Layer(coloured_ball(3000))})
    with Viewer(scene, ViewerSettings(port=0, up="z", open=False, root=tmp_path)) as running:
        yield running
        nobody_left(running)


def said(client, text):
    return any(text in str(properties.get("content", "")) for _, properties in client.widgets.values())


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


def scope(viewer):
    [one] = viewer._server.get_clients().values()
    return str(one.client_id)


async def drag(client, viewer, name, position, wxyz=(1.0, 0.0, 0.0, 0.0), end=True):
    owner = scope(viewer)
    await client.send("TransformControlsDragStartMessage", name=name, owner=owner)
    await client.send("TransformControlsUpdateMessage", name=name, wxyz=list(wxyz), position=[float(x) for x in position], owner=owner)
    if end:
        await client.send("TransformControlsDragEndMessage", name=name, owner=owner)


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


@given(PLACEMENTS)
def test_a_volume_stands_in_the_page_where_it_stands_in_the_world(placement):
    page = page_from_world(Framing((1.0, -2.0, 3.0), 7.0, "-y"))
    box = Box(placement.translation, (1.0, 2.0, 3.0), placement.quat)
    at, size = placed(box, page)
    corners = at.apply(box_lines().reshape(-1, 3) * size / at.scale)
    assert np.allclose(np.abs((page.inverse().apply(corners) - box.centre) @ box.rotation), [0.5, 1.0, 1.5], atol=1e-5)
    at, size = placed(Sphere(placement.translation, 2.0, 1.0), page, falloff=True)
    assert np.allclose(np.asarray(size) / page.scale, 3) and np.allclose(
        page.inverse().apply(at.translation), placement.translation, atol=1e-6
    )
