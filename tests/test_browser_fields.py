"""Hash-grid fields in a real browser: alone, beside splats, and where the browser was to draw."""

import cv2
import numpy as np
import pytest
from chromium import CHROMIUM
from small_fields import ball
from test_browser import at_rest, chromium, until  # noqa: F401  (a fixture)
from test_browser_webgl import CLEAR, DRAWN, PICTURE, SIZE, alike, drawn, opened, seen
from test_scenes_field import FIELD, LIKENESS, SPLATS
from test_viewer import coloured_ball

from splatview import RenderOptions, Scene, load, open_renderer, save
from splatview.edit.operations import Place, ShowLayer
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer.space import NEAR

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: expected Chromium at {CHROMIUM}"),
]


@pytest.fixture
def field(tmp_path):
    save(Scene({"fox": Layer(ball())}), tmp_path / "fox.ingp")
    return load(tmp_path / "fox.ingp")


def test_a_field_is_shown(chromium, field):  # noqa: F811
    with opened(chromium, field, "hybrid", "?fixedDpr=1") as (viewer, session, tab):
        at_rest(tab, session)
        alike(tab, drawn(viewer, session), 35)
        red = np.abs(seen(tab).astype(int) - [230, 26, 26]).max(-1) < 40
        assert 0.05 < red.mean() < 0.9


def test_a_mixed_scene_is_shown_by_the_server_whoever_was_to_draw(chromium, field):  # noqa: F811
    scene = field.joined(Scene({"splats": Layer(coloured_ball(2000), Similarity(translation=(0.8, 0.5, 0.5), scale=0.2))}))
    with opened(chromium, scene, "browser") as (viewer, session, tab):
        tab.get_by_text("Browsers draw splats only").wait_for(timeout=20_000)
        at_rest(tab, session)
        assert session._pacer.draws == "always" and tab.evaluate(DRAWN) == PICTURE
        alike(tab, drawn(viewer, session), 35)
        viewer.world.do(Place("fox", Similarity(translation=(0.3, 0.0, 0.2), scale=0.7))).result()
        at_rest(tab, session)
        alike(tab, drawn(viewer, session), 35)
        viewer.world.do(ShowLayer("fox", False)).result()
        until(tab, lambda: session._pacer.draws == "never")
        alike(tab, drawn(viewer, session, sh_degree=0), 30)


def as_splats(viewer, session):
    """What the bundled splats look like from where the person stands."""
    camera = session.camera(*SIZE)
    options = RenderOptions(outputs=("rgb8",), near=NEAR / viewer.placing.scale, background=session.view.background)
    return open_renderer("cpu").render(load(SPLATS), camera, options).rgb8[CLEAR]


def test_the_bundled_field_opens_and_shows_the_stage(chromium):  # noqa: F811
    with opened(chromium, load(FIELD), "hybrid", "?fixedDpr=1") as (viewer, session, tab):
        at_rest(tab, session)
        alike(tab, drawn(viewer, session), 35)
        assert cv2.PSNR(seen(tab), as_splats(viewer, session)) > LIKENESS
        assert seen(tab).std() > 30


def test_the_bundled_field_opens_beside_splats(chromium):  # noqa: F811
    """A ball stands before the stage, and is half sunk into its floor."""
    ball_of_splats = Layer(coloured_ball(2000), Similarity(translation=(0.0, -4.0, 0.0), scale=1.5))
    scene = load(FIELD).joined(Scene({"ball": ball_of_splats}))
    with opened(chromium, scene, "hybrid", "?fixedDpr=1") as (viewer, session, tab):
        at_rest(tab, session)
        alike(tab, drawn(viewer, session), 35)
        both = seen(tab)
        viewer.world.do(ShowLayer("ball", False)).result()
        at_rest(tab, session)
        alike(tab, drawn(viewer, session), 35)
        changed = np.abs(both.astype(int) - seen(tab)).max(-1) > 30
        assert 0.01 < changed.mean() < 0.3, "the ball is in front, and the stage around it stays"
        assert cv2.PSNR(seen(tab), as_splats(viewer, session)) > LIKENESS
        viewer.world.do(ShowLayer("led_stage", False)).result()
        viewer.world.do(ShowLayer("ball", True)).result()
        at_rest(tab, session)
        alike(tab, drawn(viewer, session), 30)
