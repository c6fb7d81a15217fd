"""Styles in a real browser: one is turned on and changed, the person flies on, and the camera keeps its rate."""

import time

import numpy as np
import pytest
from chromium import CHROMIUM
from test_browser import SHOWN, SIZE, at_rest, canvas, chromium, drag, until  # noqa: F401  (a fixture)
from test_viewer import coloured_ball

from splatview import Scene
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: expected Chromium at {CHROMIUM}"),
]


class Slow:
    """Three pictures a second."""

    def style(self, frame):
        time.sleep(0.33)
        return 255 - frame.rgb8


def rate(tab, session, seconds=2.0):
    """Pictures that the page acknowledges in a second, while the camera is dragged."""
    before, began = session._pacer.stats.sent, time.monotonic()
    drag(tab, lambda: time.monotonic() - began > seconds)
    pace = (session._pacer.stats.sent - before) / (time.monotonic() - began)
    tab.mouse.up()
    return pace


def test_a_style_is_turned_on_and_changed_and_flying_keeps_its_rate(chromium):  # noqa: F811
    with Viewer(Scene({"ball": Layer(coloured_ball(2000))}), ViewerSettings(port=0, open=False)) as viewer:
        tab = chromium.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        tab.goto(viewer.url)
        tab.wait_for_function(f"window.__splatview && {SHOWN}", timeout=60_000)
        [session] = viewer.sessions
        at_rest(tab, session)
        plain = canvas(tab)
        tab.keyboard.press("y")
        until(tab, lambda: session.view.shown == "style" and session.styling.figures[0].processed)
        until(tab, lambda: np.abs(canvas(tab) - plain).mean() > 1)  # the page shows the style
        at_rest(tab, session)
        painted = canvas(tab)
        tab.get_by_text("Style", exact=True).first.click()
        tab.get_by_text("Surprise me").click()
        until(tab, lambda: np.abs(canvas(tab) - painted).mean() > 0.3)  # and another one when it is changed
        tab.mouse.click(300, 400)
        tab.keyboard.press("y")
        at_rest(tab, session)
        usual = rate(tab, session)
        slow = Slow()
        session.set_style(slow)
        tab.keyboard.press("y")
        until(tab, lambda: session.styling.figures[0].processed)
        before = session.styling.figures[0].processed
        styled = rate(tab, session)
        made = session.styling.figures[0].processed - before
        assert styled > 0.6 * usual and made <= 8, (usual, styled, made)
        at_rest(tab, session)
        until(tab, lambda: canvas(tab)[-2, 2].min() > 200)
        tab.close()
