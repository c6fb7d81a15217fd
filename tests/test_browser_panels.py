"""The panel in a real browser: typing, dragging the gizmo, the doctor's buttons, keys of saved views, a restart."""

import numpy as np
import pytest
from chromium import CHROMIUM
from test_browser import SHOWN, SIZE, at_rest, canvas, chromium, drag, until  # noqa: F401 (chromium is a fixture)
from test_viewer import coloured_ball, nobody_left

from splatview import Gaussians, RenderOptions, Scene, open_renderer
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.space import NEAR

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: expected Chromium at {CHROMIUM}"),
]


def ball_with_a_giant():
    """A ball, and one splat larger than it, in the middle."""
    ball = coloured_ball(5000)
    giant = np.zeros(5000)
    giant[7] = 1
    means, log_scales = ball.means * (1 - giant[:, None]), np.where(giant[:, None], np.log(8.0), ball.log_scales)
    return Gaussians(means, ball.quats, log_scales, np.where(giant, 4.0, ball.opacity_logits), ball.sh)


@pytest.fixture(scope="module")
def start(chromium):  # noqa: F811
    """Opens viewers of the same scene, with a page each, and closes them."""
    scene = Scene({"ball": Layer(ball_with_a_giant(), source="/ball.ply")})
    opened = []

    def open_one():
        viewer = Viewer(scene, ViewerSettings(port=0, up="z", open=False), key="the ball of the browser's tests")
        page = chromium.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        opened.append((viewer, page))
        page.goto(viewer.url)
        page.wait_for_function(f"window.__splatview && {SHOWN}", timeout=60_000)
        until(page, lambda: viewer.sessions)
        return viewer, page

    yield open_one
    for viewer, page in opened:
        page.close()
        nobody_left(viewer)
        viewer.close()


@pytest.fixture(scope="module")
def opened(start):
    return start()


def field(page, label, at=-1):
    return page.get_by_text(label, exact=True).locator("xpath=ancestor::*[.//input][1]").locator("input").nth(at)


def test_the_doctor_hides_a_giant_and_shows_it_again(opened):
    viewer, page = opened
    [session] = viewer.sessions
    at_rest(page, session)
    assert canvas(page)[:20, :20].max() > 100
    page.get_by_text("Scene doctor", exact=True).click()
    page.get_by_role("button", name="Examine").click()
    page.get_by_role("button", name="Hide 1 giant").click()
    until(page, lambda: "ball" in viewer.world.hidden)
    at_rest(page, session)
    until(page, lambda: canvas(page)[:20, :20].max() < 5)  # the background is black again
    page.get_by_role("button", name="Show 1 giant").click()
    until(page, lambda: not viewer.world.hidden)
    page.get_by_role("button", name="Hide 1 giant").click()  # it is in the way of the next tests
    until(page, lambda: viewer.world.hidden)
    page.get_by_text("Scene doctor", exact=True).click()


def test_a_layer_is_renamed_where_its_name_stands(opened):
    viewer, page = opened
    page.get_by_text("Change a layer", exact=True).click()
    name = field(page, "Name")
    name.fill("")
    name.press_sequentially("planet", delay=40)
    until(page, lambda: list(viewer.scene.layers) == ["planet"])
    page.get_by_text("planet", exact=True).first.wait_for()
    assert name.input_value() == "planet"


def test_the_gizmo_moves_the_layer_in_the_picture(opened):
    viewer, page = opened
    [session] = viewer.sessions
    page.mouse.click(60, SIZE[1] - 20)
    at_rest(page, session)
    assert difference(page, viewer, session) < 3
    page.keyboard.press("t")
    arrow = until(page, lambda: red_arrow(page))
    changes = []
    told = viewer.world._changed
    viewer.world._changed = lambda: (changes.append(viewer.scene), told())
    page.mouse.move(*arrow)
    page.mouse.down()
    for step in range(20):
        page.mouse.move(arrow[0] + 3 * step, arrow[1])
        page.wait_for_timeout(25)
    page.mouse.up()
    viewer.world._changed = told
    at_rest(page, session)
    page.keyboard.press("t")
    layer = viewer.scene.layers["planet"]
    assert layer.placement.translation[0] > 0.1 and np.allclose(layer.placement.translation[1:], 0, atol=1e-6)
    assert len(changes) >= 3
    until(page, lambda: difference(page, viewer, session) < 3)  # the gizmo is gone, too
    page.keyboard.press("Control+z")
    until(page, lambda: viewer.scene.layers["planet"].placement == Similarity())
    until(page, lambda: difference(page, viewer, session) < 3)


def red_arrow(page):
    """Where the tip of the gizmo's x axis is, in pixels of the page; None: nowhere yet."""
    red, green, blue = np.moveaxis(canvas(page), -1, 0)
    rows, columns = np.nonzero((red > 220) & (green < 80) & (blue > 70) & (blue < 150))
    if len(rows) < 40:
        return None
    tip = columns.argmax()
    return float(columns[tip]) - 12, float(rows[columns > columns[tip] - 15].mean()) + 180  # where `canvas` begins


def difference(page, viewer, session):
    """How far, on average, the page's picture is from the scene as it is now."""
    options = RenderOptions(near=NEAR / viewer.placing.scale, outputs=("rgb8",), hidden=viewer.world.hidden)
    drawn = open_renderer("cpu").render(viewer.scene, session.camera(*SIZE), options).rgb8
    return np.abs(canvas(page) - drawn[180:, : SIZE[0] - 340]).mean()


def test_a_view_is_saved_and_gone_back_to_by_keys(opened):
    viewer, page = opened
    [session] = viewer.sessions
    page.mouse.click(60, SIZE[1] - 20)
    at_rest(page, session)
    saved = session._page.pose
    page.keyboard.press("Shift+KeyB")
    until(page, lambda: viewer.studio.remembered.memory.bookmarks)
    drag(page)
    page.mouse.up()
    at_rest(page, session)
    assert np.linalg.norm(np.subtract(session._page.pose.position, saved.position)) > 1
    page.keyboard.press("Shift+Digit1")  # as a keyboard says it: with the sign above the 1
    until(page, lambda: np.allclose(session._page.pose.position, saved.position, atol=1e-3))
    at_rest(page, session)
    assert np.allclose(session._page.pose.wxyz, saved.wxyz, atol=1e-3) and session._page.pose.fov_y == pytest.approx(saved.fov_y)


def test_a_setting_survives_a_restart(opened, start):
    viewer, page = opened
    [session] = viewer.sessions
    scale = field(page, "Splat scale")
    scale.fill("0.5")
    scale.press("Enter")
    until(page, lambda: session.view.splat_scale == 0.5)
    page.close()
    nobody_left(viewer)
    viewer.close()
    again, page = start()
    [session] = again.sessions
    until(page, lambda: session.view.splat_scale == 0.5)
    assert field(page, "Splat scale").input_value() == "0.5"
    assert list(again.scene.layers) == ["planet"] and [one.name for one in again.studio.remembered.memory.bookmarks] == ["View 1"]
