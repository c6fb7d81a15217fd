"""Hash-grid fields in a real browser: alone, beside splats, and where the browser was to draw."""

import numpy as np
import pytest
from chromium import CHROMIUM
from small_fields import ball
from test_browser import at_rest, chromium, until  # noqa: F401  (a fixture)
from test_browser_webgl import DRAWN, PICTURE, alike, drawn, opened, seen
from test_viewer import coloured_ball

from splatview import Scene, load, save
from splatview.edit.operations import Place, ShowLayer
from splatview.geometry import Similarity
from splatview.scene import Layer

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
