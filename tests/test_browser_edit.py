"""Editing in a real browser: real mouse and keys select, delete, undo, move, and place volumes."""

from __future__ import annotations

import numpy as np
import pytest
from chromium import CHROMIUM
from test_browser import SHOWN, SIZE, at_rest, canvas, chromium, until  # noqa: F401 (chromium is a fixture)
from test_browser_panels import field, red_arrow
from test_viewer import coloured_ball, nobody_left

from splatview import RenderOptions, Scene, open_renderer
from splatview.edit.region import Rectangle
from splatview.edit.select import Drawn, Look, chosen
from splatview.edit.state import State
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.space import NEAR

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: expected Chromium at {CHROMIUM}"),
]

COUNT = 20_000
LEFT, TOP, RIGHT, BOTTOM = 380, 230, 520, 360  # a rectangle on the ball, in pixels of the page


@pytest.fixture(scope="module")
def viewer():
    with Viewer(Scene({"ball": Layer(coloured_ball(COUNT))}), ViewerSettings(port=0, up="z", open=False)) as running:
        yield running


@pytest.fixture(scope="module")
def page(chromium, viewer):  # noqa: F811
    tab = chromium.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
    complaints = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(viewer.url)
    tab.wait_for_function(f"window.__splatview && {SHOWN} && window.__splatviewTools", timeout=60_000)
    until(tab, lambda: viewer.sessions)
    yield tab
    assert not complaints
    tab.close()
    nobody_left(viewer)


@pytest.fixture
def session(page, viewer):
    """The page's session at rest, the document as it began, nothing selected and no tool in hand."""
    [only] = viewer.sessions
    page.evaluate("document.activeElement?.blur()")
    page.keyboard.press("Escape")  # before the click, which a tool would take for one of its own
    page.mouse.click(60, SIZE[1] - 20)
    page.keyboard.press("Escape")
    viewer.world.jump(0).result()
    at_rest(page, only)
    return only


def drag(page, places):
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
        page.wait_for_timeout(20)
    page.mouse.up()


def use(page, key, tool):
    """Take a tool by its key, and wait until the page has it."""
    page.keyboard.press(key)
    page.wait_for_function(f"document.querySelector('.splatview-hint')?.innerText.startsWith('{tool}')")


def drawn(page, viewer, session, tint=True):
    """How far, on average, the page's picture is from the document as it is now."""
    state = viewer.world.edited
    options = RenderOptions(
        near=NEAR / viewer.placing.scale, outputs=("rgb8",), hidden=state.undrawn, tinted=state.selected if tint else {}
    )
    wanted = open_renderer("cpu").render(state.scene, session.camera(*SIZE), options).rgb8
    return np.abs(canvas(page)[:300] - wanted[180:480, : SIZE[0] - 340]).mean()  # above the tool's line


def test_a_rectangle_selects_del_deletes_and_keys_undo_and_redo(page, viewer, session):
    use(page, "r", "Rectangle")
    drag(page, [(LEFT, TOP), (450, 300), (RIGHT, BOTTOM)])
    until(page, lambda: viewer.world.edited.selected_count)
    mask = viewer.world.edited.selected["ball"]
    shape = Rectangle(LEFT / SIZE[0], TOP / SIZE[1], RIGHT / SIZE[0], BOTTOM / SIZE[1])
    query = Drawn(shape, session.camera(*SIZE), look=Look(near=NEAR / viewer.placing.scale))
    assert np.array_equal(mask, chosen(query, State(viewer.scene), viewer._tools)["ball"]) and 10 < mask.sum() < COUNT / 2
    page.get_by_text(f"{mask.sum():,} splats, {100 * mask.mean():.1f} %").wait_for()
    until(page, lambda: drawn(page, viewer, session) < 3)
    assert drawn(page, viewer, session, tint=False) > 3  # it is seen
    page.keyboard.press("Delete")
    until(page, lambda: viewer.world.edited.deleted)
    assert np.array_equal(viewer.world.edited.deleted["ball"], mask)
    page.get_by_text("Nothing is selected.", exact=True).wait_for()
    until(page, lambda: drawn(page, viewer, session) < 3)
    page.keyboard.press("Control+z")
    until(page, lambda: not viewer.world.edited.deleted)
    assert np.array_equal(viewer.world.edited.selected["ball"], mask)
    page.keyboard.press("Control+Shift+z")
    until(page, lambda: viewer.world.edited.deleted)
    until(page, lambda: drawn(page, viewer, session) < 3)


def test_a_brush_selects_what_it_touches_and_is_seen_before_it_ends(page, viewer, session):
    use(page, "b", "Brush")
    page.mouse.move(LEFT, 280)
    page.mouse.down()
    for step in range(12):
        page.mouse.move(LEFT + 8 * step, 280)
        page.wait_for_timeout(30)
    until(page, lambda: viewer.world.state.selected_count)
    assert not viewer.world.document.cursor  # it is a preview
    page.mouse.up()
    until(page, lambda: viewer.world.edited.selected_count)
    first = viewer.world.edited.selected["ball"]
    page.keyboard.down("Shift")
    drag(page, [(480, 280), (500, 320), (500, 350)])
    page.keyboard.up("Shift")
    until(page, lambda: viewer.world.edited.selected_count > first.sum())
    both = viewer.world.edited.selected["ball"]
    assert (both >= first).all()
    page.keyboard.down("Control")
    drag(page, [(480, 280), (500, 320), (500, 350)])
    page.keyboard.up("Control")
    until(page, lambda: viewer.world.edited.selected_count < both.sum())
    until(page, lambda: drawn(page, viewer, session) < 3)
    page.keyboard.press("]")
    until(page, lambda: float(field(page, "Brush size").input_value()) > 6.9)


def test_keys_with_ctrl_choose_and_do_not_move_the_camera(page, viewer, session):
    before = session._page.pose
    page.keyboard.press("Control+a")
    until(page, lambda: viewer.world.edited.selected_count == COUNT)
    page.keyboard.press("Control+Shift+a")
    until(page, lambda: not viewer.world.edited.selected)
    page.keyboard.press("Control+i")
    until(page, lambda: viewer.world.edited.selected_count == COUNT)
    page.keyboard.press("h")
    until(page, lambda: viewer.world.edited.hidden)
    page.keyboard.press("Shift+KeyH")
    until(page, lambda: not viewer.world.edited.hidden)
    page.keyboard.press("Control+e")
    page.wait_for_function("document.querySelector('.splatview-hint')?.innerText.startsWith('Eyedropper')")
    page.mouse.click(450, 300)
    until(page, lambda: 0 < viewer.world.edited.selected_count < COUNT)
    page.keyboard.press("Escape")
    page.wait_for_function("!document.querySelector('.splatview-draws')")
    until(page, lambda: viewer._sessions and next(iter(viewer._sessions.values()))[1].select._tool.value == "none")
    assert np.allclose(session._page.pose.position, before.position, atol=1e-4)


def test_the_gizmo_moves_the_selection_and_nothing_else(page, viewer, session):
    use(page, "r", "Rectangle")
    drag(page, [(LEFT, TOP), (450, 300), (RIGHT, BOTTOM)])
    until(page, lambda: viewer.world.edited.selected_count)
    mask, before = viewer.world.edited.selected["ball"], viewer.world.edited.scene.layers["ball"].content
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    arrow = until(page, lambda: red_arrow(page))
    lifted = []
    told = viewer.world._changed
    viewer.world._changed = lambda: (lifted.append(len(viewer.scene.layers)), told())
    drag(page, [(arrow[0] + 3 * step, arrow[1]) for step in range(20)])
    viewer.world._changed = told
    until(page, lambda: viewer.world.document.cursor == 2)
    after = viewer.world.edited.scene.layers["ball"].content
    offset = after.means[mask] - before.means[mask]
    assert 2 in lifted and list(viewer.scene.layers) == ["ball"]
    assert offset[:, 0].min() > 0.1 and np.allclose(offset, offset[0], atol=1e-5) and np.allclose(offset[:, 1:], 0, atol=1e-5)
    assert np.array_equal(after.means[~mask], before.means[~mask])
    page.keyboard.press("1")
    until(page, lambda: red_arrow(page) is None)
    until(page, lambda: drawn(page, viewer, session) < 3)


def test_without_a_selection_keys_turn_the_layer(page, viewer, session):
    page.keyboard.press("1")
    arrow = until(page, lambda: red_arrow(page))
    drag(page, [(arrow[0] + 3 * step, arrow[1]) for step in range(15)])
    until(page, lambda: viewer.world.edited.scene.layers["ball"].placement != Similarity())
    assert viewer.world.edited.scene.layers["ball"].placement.translation[0] > 0.1
    page.keyboard.press("1")
    until(page, lambda: red_arrow(page) is None)


def test_typing_an_expression_presses_no_key_of_the_tools(page, viewer, session):
    page.keyboard.press("Control+a")
    until(page, lambda: viewer.world.edited.selected_count == COUNT)
    page.get_by_text("Where an expression holds", exact=True).click()
    text = field(page, "Expression")
    text.click()
    page.keyboard.type("x > 0.55 or opacity < 0.1 lbrm1h", delay=10)
    for _ in range(len(" lbrm1h") + 1):
        page.keyboard.press("Backspace")
    page.keyboard.type("05")
    page.get_by_role("button", name="Set", exact=True).first.click()
    until(page, lambda: viewer.world.document.cursor == 2)
    content = viewer.scene.layers["ball"].content
    wanted = (content.means[:, 0] > 0.55) | (1 / (1 + np.exp(-content.opacity_logits)) < 0.05)
    assert np.count_nonzero(viewer.world.edited.selected["ball"] != wanted) <= 1
    assert (
        not viewer.world.edited.deleted and not viewer.world.edited.hidden and page.evaluate("!document.querySelector('.splatview-draws')")
    )
    text.fill("x >")
    page.get_by_role("button", name="Set", exact=True).first.click()
    page.get_by_text("expected something behind >").wait_for()
    page.get_by_text("Where an expression holds", exact=True).click()
