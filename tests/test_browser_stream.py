"""The page of a stream in a real browser: the picture, the original on the other side of a line that is dragged, and what is told."""

import io

import numpy as np
import pytest
from chromium import CHROMIUM
from PIL import Image
from test_browser import chromium, until  # noqa: F401  (a fixture)

from splatview.outputs.guard import listen
from splatview.outputs.http import Window

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: expected Chromium at {CHROMIUM}"),
]

RED, BLUE = (200, 30, 30), (30, 30, 200)


def flat(colour):
    return np.full((180, 320, 3), colour, np.uint8)


def share_of_blue(tab):
    """How much of the middle row of the picture is the original, which is blue."""
    shot = np.asarray(Image.open(io.BytesIO(tab.locator("canvas").screenshot())).convert("RGB")).astype(int)
    row = shot[shot.shape[0] // 4]
    return float((row[:, 2] > row[:, 0]).mean())


def test_the_page_shows_the_style_beside_the_original(chromium):  # noqa: F811
    figures = {"counts": {"captured": 1234, "shown": 7}, "stages": [{"name": "style", "p50": 4.25, "p95": 9}], "rate": 29.5, "error": ""}
    window = Window(listen("127.0.0.1", 0), lambda: figures)
    window.start()
    try:
        tab, complaints = chromium.new_page(viewport={"width": 800, "height": 600}), []
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.goto(window.url)
        window.show(flat(RED), flat(BLUE))
        until(tab, lambda: window.shown == 1)
        assert share_of_blue(tab) == pytest.approx(0.5, abs=0.03)
        box = tab.locator("canvas").bounding_box()
        assert box["width"] == pytest.approx(800, abs=1), "as large as there is room"
        tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
        tab.mouse.down()
        tab.mouse.move(box["x"] + box["width"] / 5, box["y"] + 60, steps=4)
        tab.mouse.up()
        assert share_of_blue(tab) == pytest.approx(0.2, abs=0.03)
        tab.keyboard.press("o")
        assert share_of_blue(tab) == pytest.approx(0, abs=0.03), "the style alone"
        tab.keyboard.press("o")
        for number in range(2, 5):
            window.show(flat((200, 30 + number, 30)), flat(BLUE))
            until(tab, lambda number=number: window.shown == number)
        assert share_of_blue(tab) == pytest.approx(0.2, abs=0.03), "the line stays where it is"
        text = " ".join(tab.locator("footer").inner_text().split())
        assert "captured 1,234" in text and "style 4.3 / 9.0 ms" in text and "per second 29.5" in text
        assert not tab.locator("#error").is_visible()
        figures["error"] = "style: it <b>broke</b>"
        until(tab, lambda: tab.locator("#error").is_visible())
        assert tab.locator("#error").inner_text() == "style: it <b>broke</b>", "as text"
        assert not complaints
    finally:
        window.close()
    until(tab, lambda: tab.get_by_text("The stream has ended.").is_visible())
    tab.close()
