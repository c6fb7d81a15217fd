"""The browser's own drawing in a real browser: headless Chromium on software GL, which is told to draw all the same."""

import io
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from chromium import CHROMIUM
from PIL import Image
from test_browser import at_rest, chromium, until  # noqa: F401  (a fixture)

from splatview import Gaussians, RenderOptions, Scene, open_renderer
from splatview.edit.operations import Hide, Place, RemoveLayer, ShowLayer
from splatview.edit.select import Selection
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings, webgl
from splatview.viewer.space import NEAR

SIZE = (960, 600)
CLEAR = np.s_[180:560, :600]  # neither the panel nor viser's notice nor our line is there
DRAWN = "[__viserMutable.backgroundMaterial.visible, !!__viserMutable.scene.getObjectByProperty('renderOrder', 10000)?.visible]"
PICTURE, SPLATS = [True, False], [False, True]
NOTE = "document.querySelector('.splatview-preview')"

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: expected Chromium at {CHROMIUM}"),
]


def medium_splats(count=300, degree=0, seed=0):
    """A cloud in which every splat covers many pixels."""
    rng = np.random.default_rng(seed)
    sh = np.concatenate([rng.normal(0, 1, (count, 1, 3)), rng.normal(0, 0.7, (count, (degree + 1) ** 2 - 1, 3))], 1)
    means, sizes = rng.normal(0, 0.5, (count, 3)), rng.normal(-2.5, 0.3, (count, 3))
    return Gaussians(means, rng.normal(size=(count, 4)), sizes, rng.normal(1, 1.5, count), sh)


@contextmanager
def opened(browser, scene, draw, query="?fixedDpr=1&drawOnSoftware"):
    """A viewer, its only session, and the tab; the tab must have had no errors."""
    complaints = []
    with Viewer(scene, ViewerSettings(port=0, up="z", open=False, draw=draw)) as viewer:
        tab = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(viewer.url + query)
        tab.wait_for_function("window.__splatviewPreview", timeout=60_000)
        yield viewer, viewer.sessions[0], tab
        tab.close()
    assert not complaints


@pytest.fixture(scope="module")
def in_hybrid(chromium):  # noqa: F811
    with opened(chromium, Scene({"cloud": Layer(medium_splats(degree=1))}), "hybrid") as (viewer, session, tab):
        until(tab, lambda: session._pacer.draws == "at rest")
        yield viewer, session, tab


def seen(tab):
    """What the person sees [H, W, 3]."""
    return np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("RGB"))[CLEAR]


def drawn(viewer, session, **options):
    """What the CPU renderer draws of the same."""
    options = {"near": NEAR / viewer.placing.scale, "background": session.view.background, "hidden": viewer.world.hidden, **options}
    frame = open_renderer("cpu").render(viewer.scene, session.camera(*SIZE), RenderOptions(outputs=("rgb8",), **options))
    return frame.rgb8[CLEAR]


def alike(tab, wanted, decibels, timeout=20.0):
    """Wait until the tab shows `wanted`, and say how well it does."""
    best = [0.0]

    def good():
        best.append(cv2.PSNR(seen(tab), wanted))
        return best[-1] >= decibels

    until(tab, good, timeout)
    return best[-1]


def test_the_browser_draws_the_same_picture_as_the_server(chromium, monkeypatch):  # noqa: F811
    monkeypatch.setattr(webgl, "CHUNK", 100)
    placement = Similarity((0.9, 0.1, 0.2, 0.3), (0.1, 0.2, -0.1), 1.3)
    scene = Scene({"cloud": Layer(medium_splats(), placement), "twin": Layer(medium_splats(60, seed=1), visible=False)})
    with opened(chromium, scene, "browser") as (viewer, session, tab):
        until(tab, lambda: tab.evaluate(DRAWN) == SPLATS)
        until(tab, lambda: tab.evaluate(f"getComputedStyle({NOTE}).opacity") == "1")
        assert tab.evaluate(f"{NOTE}.textContent").startswith("Preview drawn by your browser: no view-dependent colour")
        assert alike(tab, drawn(viewer, session), 35) >= 35  # the law asks for 25

        session.change(background=(0.2, 0.5, 0.9))
        alike(tab, drawn(viewer, session), 35)
        viewer.world.do(ShowLayer("twin", True)).result()
        viewer.world.do(Place("cloud", Similarity(translation=(0.3, 0.0, 0.2), scale=0.7))).result()
        alike(tab, drawn(viewer, session), 35)
        viewer.world.edit(lambda state: Hide(Selection.painted({"cloud": np.arange(300) % 2 == 0}, state))).result()
        alike(tab, drawn(viewer, session), 35)
        viewer.world.do(RemoveLayer("cloud")).result()
        alike(tab, drawn(viewer, session), 35)

        sent = session._pacer.stats.sent
        tab.mouse.move(200, 350)
        tab.mouse.down()
        for step in range(10):
            tab.mouse.move(200 + 10 * step, 350)
            tab.wait_for_timeout(30)
        tab.mouse.up()
        tab.wait_for_timeout(1500)
        assert session._pacer.stats.sent == sent
        alike(tab, drawn(viewer, session), 35)


def test_in_hybrid_the_picture_gives_way_to_the_splats_and_comes_back(in_hybrid):
    viewer, session, tab = in_hybrid
    at_rest(tab, session)
    full = drawn(viewer, session)
    alike(tab, full, 38)  # as in `--draw server`
    assert tab.evaluate(DRAWN) == PICTURE
    assert cv2.PSNR(full, drawn(viewer, session, sh_degree=0)) < 30  # else this would show nothing

    watch = f"""() => {{ window.__drawn = []; const scene = __viserMutable.scene, draw = scene.onBeforeRender;
        scene.onBeforeRender = (...all) => {{ draw(...all); window.__drawn.push({DRAWN}.join()); }} }}"""
    tab.evaluate(watch)
    sent = session._pacer.stats.sent
    tab.mouse.move(200, 350)
    tab.mouse.down()
    end = 200
    for _ in range(12):
        end += 10
        tab.mouse.move(end, 350)
        tab.wait_for_timeout(30)
    moving = tab.evaluate("window.__drawn")
    tab.mouse.up()
    until(tab, lambda: tab.evaluate(DRAWN) == PICTURE)
    at_rest(tab, session)
    alike(tab, drawn(viewer, session), 38)
    frames = tab.evaluate("window.__drawn")
    assert set(frames) == {"true,false", "false,true"}  # in no frame both, and in none neither
    assert "false,true" in moving and frames[-1] == "true,false" and session._pacer.stats.sent > sent

    session._page.set_fov(1.2)  # another way to move
    until(tab, lambda: tab.evaluate("window.__drawn").count("false,true") > frames.count("false,true"))
    at_rest(tab, session)
    alike(tab, drawn(viewer, session), 38)


def test_splats_are_what_is_seen_while_moving_in_hybrid(in_hybrid):
    viewer, session, tab = in_hybrid
    at_rest(tab, session)
    session._channel.limit("never")  # the camera will rest, and the picture of it stays away
    session._page.set_fov(0.7)
    until(tab, lambda: abs(session._page.pose.fov_y - 0.7) < 1e-6 and tab.evaluate(DRAWN) == SPLATS)
    alike(tab, drawn(viewer, session, sh_degree=0), 35)


def test_a_browser_on_software_gl_shows_what_the_server_draws(chromium):  # noqa: F811
    with opened(chromium, Scene({"cloud": Layer(medium_splats(degree=1))}), "browser", "?fixedDpr=1") as (viewer, session, tab):
        tab.get_by_text("This browser has no graphics card").wait_for(timeout=20_000)
        at_rest(tab, session)
        assert session._pacer.draws == "always" and tab.evaluate(DRAWN) == PICTURE
        alike(tab, drawn(viewer, session), 38)


def test_the_panel_hands_the_drawing_over_and_back(in_hybrid):
    viewer, session, tab = in_hybrid
    session.preview.choose("server")
    until(tab, lambda: session._pacer.draws == "always")
    at_rest(tab, session)
    alike(tab, drawn(viewer, session), 38)
    session.preview.choose("browser")
    alike(tab, drawn(viewer, session, sh_degree=0), 35)
