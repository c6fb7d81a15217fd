"""The page in a real browser: headless Chromium on software GL, real mouse and keys."""

import io
import os
import time

import numpy as np
import pytest
from chromium import CHROMIUM, CHROMIUM_FLAGS, LAUNCHER
from PIL import Image
from test_viewer import coloured_ball, nobody_left

from splatview import Scene, save
from splatview.cli import main
from splatview.formats import save_cameras
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.space import NEAR

SIZE = (960, 600)
SHOWN = "__viserMutable.backgroundMaterial.uniforms.colorMap.value"

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: expected Chromium at {CHROMIUM}"),
]


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=LAUNCHER, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def viewer():
    scene = Scene({"ball": Layer(coloured_ball(20_000))})
    with Viewer(scene, ViewerSettings(port=0, up="z", open=False)) as running:
        yield running


@pytest.fixture(scope="module")
def page(chromium, viewer):
    tab = chromium.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
    complaints = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(viewer.url)
    tab.wait_for_function(f"window.__splatview && {SHOWN}", timeout=60_000)
    yield tab
    assert not complaints
    tab.close()


@pytest.fixture
def session(page, viewer):
    """The page's session, at home and at rest."""
    [only] = viewer.sessions
    page.keyboard.press("Home")
    at_rest(page, only)
    return only


def until(page, true, timeout=20.0):
    """Wait for `true()` while the browser goes on."""
    end = time.monotonic() + timeout
    while not (found := true()):
        assert time.monotonic() < end, "waited in vain"
        page.wait_for_timeout(30)
    return found


def at_rest(page, session):
    """Wait until the page shows the picture of a view that no longer changes."""
    page.wait_for_timeout(300)
    until(page, lambda: session._pacer.due() is None and session._pacer.may_send(time.monotonic()) and session._channel.ready is None)


def picture_size(page):
    return page.evaluate(f"[{SHOWN}.image.width, {SHOWN}.image.height]")


def drag(page, enough=lambda: True):
    """Press the button and move to and fro, until `enough()`; the button stays down."""
    page.mouse.move(200, 250)
    page.mouse.down()
    end, step = time.monotonic() + 30, 0
    while step < 25 or not enough():
        assert time.monotonic() < end, "dragged in vain"
        step += 1
        page.mouse.move(200 + 8 * (step % 40), 250 + 3 * (step % 40))
        page.wait_for_timeout(16)


def canvas(page):
    """What is seen of the picture, as pixels [H, W, 3], without the panel at the right."""
    shot = page.screenshot(clip={"x": 0, "y": 180, "width": SIZE[0] - 340, "height": SIZE[1] - 180})
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def test_a_single_worker_has_all_browsers(request):
    """xdist groups tests by what it adds to their names; without that, several browsers would fight for two cores."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@browser")


def test_pictures_arrive_and_are_acknowledged_while_dragging_and_the_one_at_rest_is_full_size(page, session):
    before, wanted, drawn = session._pacer.stats.sent, [], []
    ask, draw = session._pacer.ask, session._channel.draw
    dropped = session._pacer.dropped
    session._pacer.ask = lambda request, now: ask(request, now) and not wanted.append(request)
    session._channel.draw = lambda turn, interrupt: (draw(turn, interrupt), drawn.append(turn))[0]
    acknowledged = []
    told = session._pacer.acknowledged
    session._pacer.acknowledged = lambda number, now: (acknowledged.append(number), told(number, now))[1]
    drag(page, enough=lambda: len(acknowledged) >= 5)
    assert session._pacer.stats.sent - before >= 5
    page.mouse.up()
    at_rest(page, session)
    session._pacer.ask, session._pacer.acknowledged, session._channel.draw = ask, told, draw
    assert session._pacer.stats.lost == 0
    assert picture_size(page) == list(SIZE)
    distinct = {id(turn.request) for turn in drawn}
    assert len(wanted) == len(distinct) + session._pacer.dropped - dropped  # drawn or counted as dropped


def test_pictures_are_as_fine_as_the_screen(chromium, viewer, page):
    """But for software GL, which this tab hides."""
    [first] = viewer.sessions
    tab = chromium.new_page(viewport={"width": 400, "height": 300}, device_scale_factor=2)
    tab.add_init_script("WebGL2RenderingContext.prototype.getExtension = () => null")
    tab.goto(viewer.url)
    tab.wait_for_function(f"window.__splatview && {SHOWN}", timeout=60_000)
    [session] = [one for one in viewer.sessions if one is not first]
    at_rest(tab, session)
    assert picture_size(tab) == [800, 600]
    assert tab.evaluate("[__viserMutable.canvas.width, __viserMutable.canvas.height]") == [800, 600]
    tab.close()
    until(page, lambda: viewer.sessions == [first])


def test_dragging_orbits_and_home_comes_back(page, session):
    home = session._page.pose
    drag(page)
    page.mouse.up()
    at_rest(page, session)
    moved = session._page.pose
    assert np.linalg.norm(np.subtract(moved.position, home.position)) > 1
    assert np.allclose(np.linalg.norm(moved.position), np.linalg.norm(home.position), rtol=1e-3)
    page.keyboard.press("Home")
    page.wait_for_timeout(1000)
    at_rest(page, session)
    assert np.allclose(session._page.pose.position, home.position, atol=0.02)


def test_flying_turns_on_the_spot_and_keys_move(page, session):
    page.keyboard.press("v")
    until(page, lambda: session.flying)
    page.wait_for_timeout(300)
    start = session._page.pose
    drag(page)
    page.mouse.up()
    at_rest(page, session)
    turned = session._page.pose
    assert np.linalg.norm(np.subtract(turned.position, start.position)) < 0.2
    assert abs(np.dot(turned.wxyz, start.wxyz)) < 0.999
    page.keyboard.down("w")
    page.wait_for_timeout(700)
    page.keyboard.up("w")
    at_rest(page, session)
    assert np.linalg.norm(np.subtract(session._page.pose.position, turned.position)) > 0.5
    page.keyboard.press("v")
    until(page, lambda: not session.flying)


def test_focus_turns_about_the_point_that_was_clicked(page, session):
    before = session._page.pose
    page.keyboard.press("f")
    page.wait_for_function("__viserMutable.canvas.style.cursor === 'crosshair'")
    page.mouse.click(SIZE[0] / 2 + 60, SIZE[1] / 2)
    until(page, lambda: np.linalg.norm(session._page.pose.look_at) > 1.5)
    at_rest(page, session)
    after = session._page.pose
    assert np.linalg.norm(after.look_at) == pytest.approx(3.0, rel=0.1)  # on the ball
    assert np.allclose(after.position, before.position, atol=0.02)


def test_a_plain_click_moves_nothing(page, session):
    before, sent = session._page.pose, session._pacer.stats.sent
    page.mouse.click(SIZE[0] / 2 + 60, SIZE[1] / 2)
    at_rest(page, session)
    assert session._page.pose.look_at == pytest.approx(before.look_at) and session._pacer.stats.sent == sent


def test_a_setting_of_the_panel_changes_the_picture(page, session):
    before = canvas(page)
    row = page.get_by_text("SH degree", exact=True).locator("xpath=ancestor::*[.//input][1]").locator("input").last
    row.fill("0")
    row.press("Enter")
    until(page, lambda: session.view.sh_degree == 0)
    at_rest(page, session)
    assert np.abs(canvas(page) - before).max() > 20
    row.fill("1")
    row.press("Enter")
    until(page, lambda: session.view.sh_degree is None)


def test_keys_choose_what_is_shown(page, session):
    page.mouse.click(100, SIZE[1] - 20)
    page.keyboard.press("n")
    until(page, lambda: session.view.shown == "depth")
    page.keyboard.press("Shift+KeyN")
    until(page, lambda: session.view.shown == "colour")


def test_a_screenshot_of_the_panel_is_what_the_command_line_draws(page, session, viewer, tmp_path):
    folder = page.get_by_text("Screenshot", exact=True)
    folder.click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save PNG").click()
    folder.click()
    saved = np.asarray(Image.open(waiting.value.path()).convert("RGB"))
    assert saved.shape == (1080, 1920, 3)
    save(viewer.scene, tmp_path / "ball.ply")
    save_cameras([session.camera(1920, 1080)], tmp_path / "camera.json")
    near = repr(NEAR / viewer.placing.scale)
    assert main(["render", f"{tmp_path}/ball.ply", "-o", f"{tmp_path}/out.png", "--camera", f"{tmp_path}/camera.json", "--near", near]) == 0
    assert np.array_equal(saved, np.asarray(Image.open(tmp_path / "out.png")))


def test_visers_own_objects_sit_inside_the_scene(page, session, viewer):
    """The axes are as long as a third of the ball's radius: hidden inside it, seen when it is not drawn."""

    def axes_seen():
        red, green, blue = np.moveaxis(canvas(page), -1, 0)
        return bool(((blue > 150) & (red < 60) & (green < 60)).sum() > 30)

    page.mouse.click(100, SIZE[1] - 20)
    for _ in range(2):
        page.keyboard.press("n")
    until(page, lambda: session.view.shown == "alpha")  # the ball is white, so that what is blue is an axis
    page.wait_for_timeout(300)
    page.keyboard.press("x")
    at_rest(page, session)
    page.wait_for_timeout(500)
    assert not axes_seen()
    viewer.show(viewer.scene.shown("ball", False))
    until(page, axes_seen)
    viewer.show(viewer.scene.shown("ball", True))
    until(page, lambda: not axes_seen())
    page.keyboard.press("x")
    for _ in range(2):
        page.keyboard.press("Shift+KeyN")
    until(page, lambda: session.view.shown == "colour")


def test_a_resized_window_gets_pictures_of_its_size(page, session):
    page.set_viewport_size({"width": 800, "height": 400})
    until(page, lambda: picture_size(page) == [800, 400])
    page.set_viewport_size({"width": SIZE[0], "height": SIZE[1]})
    until(page, lambda: picture_size(page) == list(SIZE))


def test_a_hidden_tab_owes_its_answer_until_it_is_seen_again(page, session):
    hide = """(on) => {
        Object.defineProperty(document, "hidden", { value: on, configurable: true });
        dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    sent = session._pacer.stats.sent
    for scale in (0.5, 0.6, 0.7):
        session.change(splat_scale=scale)
        page.wait_for_timeout(300)
    assert session._pacer.stats.sent == sent + 1
    page.evaluate(hide, False)
    until(page, lambda: session._pacer.stats.sent > sent + 1)
    session.change(splat_scale=1.0)
    at_rest(page, session)


def test_a_closed_tab_frees_its_session(chromium, viewer, page):
    before = len(viewer.sessions)
    tab = chromium.new_page(viewport={"width": 400, "height": 300})
    tab.goto(viewer.url)
    until(tab, lambda: len(viewer.sessions) == before + 1)
    tab.close()
    until(page, lambda: len(viewer.sessions) == before)
    assert len(viewer._pipeline) == before


def test_the_last_one_leaves_nothing(chromium, viewer, page):
    page.close()
    nobody_left(viewer)
    assert not viewer.sessions
