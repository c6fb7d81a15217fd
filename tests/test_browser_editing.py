"""Editing in a real browser, from the first rectangle to the exported file: real mouse and keys."""

import numpy as np
import pytest
from chromium import CHROMIUM
from test_browser import SHOWN, SIZE, at_rest, canvas, chromium, until  # noqa: F401 (chromium is a fixture)
from test_viewer import coloured_ball, nobody_left

from splatview import RenderOptions, Scene, load, open_renderer, save
from splatview.edit.operations import Grade
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.desk import open_document
from splatview.viewer.space import NEAR

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: expected Chromium at {CHROMIUM}"),
]


@pytest.fixture
def start(chromium, tmp_path, monkeypatch):  # noqa: F811
    """Opens viewers of a scene or a document, with a page each, and closes them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    opened = []

    def open_one(scene, **more):
        viewer = Viewer(scene, ViewerSettings(port=0, up="z", open=False, root=tmp_path), key="editing", **more)
        page = chromium.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        opened.append((viewer, page))
        page.goto(viewer.url)
        page.wait_for_function(f"window.__splatview && {SHOWN}", timeout=60_000)
        [session] = until(page, lambda: viewer.sessions)
        at_rest(page, session)
        for folder in ("View", "Layers", "Select"):  # out of the way
            page.get_by_text(folder, exact=True).first.click()
        return viewer, page, session

    def close(viewer, page):
        page.close()
        nobody_left(viewer)
        viewer.close()
        opened.remove((viewer, page))

    yield open_one, close
    for one in list(opened):
        close(*one)


def folder(page, name):
    """Open a folder, or close it."""
    page.get_by_text(name, exact=True).last.click()
    page.wait_for_timeout(500)


def field(page, label):
    return page.get_by_text(label, exact=True).locator("xpath=ancestor::*[.//input][1]").locator("input").last


def stroke(page, *points):
    """Draw along `points` with the button down."""
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


def drawn_alike(page, session, scene):
    """Whether the page shows `scene` as it would be drawn."""
    at_rest(page, session)
    options = RenderOptions(near=NEAR / session._placing.scale, outputs=("rgb8",))
    wanted = open_renderer("cpu").render(scene, session.camera(*SIZE), options).rgb8[180:, : SIZE[0] - 340]
    return np.abs(canvas(page) - wanted).mean() < 1


def test_a_scene_is_edited_saved_opened_again_and_exported(start, tmp_path):
    open_one, close = start
    save(Scene({"ball": Layer(coloured_ball(6000))}), tmp_path / "ball.ply")
    viewer, page, session = open_one(load(tmp_path / "ball.ply").read_from(str(tmp_path / "ball.ply")))
    world = viewer.world
    middle = SIZE[0] // 2, SIZE[1] // 2

    page.mouse.click(*middle)  # the keys are the picture's
    page.keyboard.press("r")
    page.wait_for_timeout(300)
    stroke(page, (middle[0] - 60, middle[1] - 60), (middle[0], middle[1]))
    chosen = until(page, lambda: world.edited.selected_count)
    assert 0 < chosen < 3000
    page.keyboard.press("Delete")
    until(page, lambda: world.edited.living_count == 6000 - chosen)
    page.keyboard.press("Control+z")
    until(page, lambda: world.edited.living_count == 6000)
    page.keyboard.press("Control+Shift+Z")
    until(page, lambda: world.edited.living_count == 6000 - chosen)

    page.keyboard.press("b")
    page.wait_for_timeout(300)
    stroke(page, (middle[0] + 20, middle[1] + 20), (middle[0] + 70, middle[1] + 30))
    until(page, lambda: world.edited.selected_count)
    page.keyboard.press("Escape")
    folder(page, "Grade")
    field(page, "Exposure").fill("1.5")
    until(page, lambda: world.state is not world.edited)  # seen before it is done
    page.get_by_role("button", name="Apply grade").click()
    until(page, lambda: isinstance(world.document.entries[-1].operation, Grade))
    folder(page, "Grade")

    page.mouse.click(40, SIZE[1] - 40)
    page.keyboard.press("Control+s")
    until(page, lambda: viewer.desk.path is not None)
    assert viewer.desk.path == (tmp_path / "ball.splatview").resolve()
    page.keyboard.press("Control+Shift+A")  # the mark of what is selected is no part of a picture
    until(page, lambda: not world.edited.selected_count)
    page.wait_for_timeout(500)  # or it would be the repetition of a held key
    page.keyboard.press("Control+s")
    until(page, lambda: viewer.desk.is_saved(world.document))
    wanted = world.edited.result()
    until(page, lambda: drawn_alike(page, session, wanted))  # once notices have gone
    close(viewer, page)

    scene, document = open_document(tmp_path / "ball.splatview")
    viewer, page, session = open_one(scene, document=document, path=tmp_path / "ball.splatview")
    again = viewer.world.edited.result()
    names = "means", "quats", "log_scales", "opacity_logits", "sh"
    assert all(np.array_equal(getattr(again.layers["ball"].content, one), getattr(wanted.layers["ball"].content, one)) for one in names)
    until(page, lambda: drawn_alike(page, session, wanted))
    folder(page, "History")
    page.locator(".splatview-history .jump").last.click()  # as it was opened
    until(page, lambda: viewer.world.edited.living_count == 6000)
    page.locator(".splatview-history .jump").first.click()
    until(page, lambda: viewer.world.edited.living_count == 6000 - chosen)
    folder(page, "History")
    folder(page, "Export")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download", exact=True).click()
    assert download.value.suggested_filename == "ball.ply"
    download.value.save_as(tmp_path / "exported.ply")
    exported = load(tmp_path / "exported.ply").layers["exported"].content
    assert len(exported) == 6000 - chosen
    assert all(np.array_equal(getattr(exported, one), getattr(wanted.layers["ball"].content, one)) for one in names)
