"""The tools that draw on the picture, in a real browser: real mouse and keys. What a hostile page may say is tested without one."""

import asyncio
import itertools
import json
import types
import uuid

import numpy as np
import pytest
from chromium import CHROMIUM
from test_browser import SHOWN, SIZE, chromium, until  # noqa: F401 (chromium is a fixture)
from test_viewer import coloured_ball, nobody_left

from splatview import Scene
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.histogram import HistogramPage, HistogramRange, RangeDragged, label, svg, ticks
from splatview.viewer.tools import SAMPLES, ToolLeft, ToolPage, ToolRadius, ToolStroke

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: expected Chromium at {CHROMIUM}"),
]

LAYERS = "document.querySelectorAll('.splatview-tools').length"
DRAWS = "!!document.querySelector('.splatview-draws')"
BRUSHES = "!!document.querySelector('.splatview-brushes')"
HINT = "document.querySelector('.splatview-hint')"


class Drawing:
    """A tab with the tools, and all that they have said."""

    def __init__(self, viewer, tab):
        self.viewer, self.tab = viewer, tab
        self.session = until(tab, lambda: viewer.sessions and viewer.sessions[-1])
        self.pieces, self.radii, self.left, self.camera, self.held = [], [], [], [], []
        page = self.page = self.session._page
        self.tools = ToolPage(page)
        self.tools.on_stroke(self.pieces.append)
        self.tools.on_radius(self.radii.append)
        self.tools.on_left(lambda: self.left.append(True))
        page.on_camera(lambda: self.camera.append(page.pose))
        page.on_held(self.held.append)
        tab.wait_for_function("window.__splatviewTools")

    def use(self, tool, radius=None, hint=None):
        """Choose the tool, wait until the page has it, and forget what was said before."""
        self.tools.use(tool, radius, hint)
        self.heard()
        for said in (self.pieces, self.radii, self.left, self.camera, self.held):
            said.clear()

    def heard(self):
        """Wait until the page has done all that it was told."""
        mark = uuid.uuid4().hex
        self.page.run(f"window.__mark = '{mark}'")
        self.tab.wait_for_function(f"window.__mark === '{mark}'")

    def quiet(self):
        """Wait until the camera has stood still for a while."""
        count = -1
        while count != len(self.camera):
            count = len(self.camera)
            self.frames(12)

    def still(self, element):
        """Where `element` is once it is in view and no longer moves: folders open slowly."""
        element.scroll_into_view_if_needed()
        box = None
        while box != (box := element.bounding_box()):
            self.frames(6)
        return box

    def frames(self, count):
        """Let the page draw so many frames."""
        self.tab.evaluate(
            f"new Promise(done => {{ let n = {count}; const tick = () => n-- ? requestAnimationFrame(tick) : done(); tick(); }})"
        )

    def drag(self, places, modifiers=(), release=True, button="left"):
        """Move along `places` (pixels) with the button down, which comes up again unless told otherwise."""
        for one in modifiers:
            self.tab.keyboard.down(one)
        self.tab.mouse.move(*places[0])
        self.tab.mouse.down(button=button)
        for place in places[1:]:
            self.tab.mouse.move(*place)
        if release:
            self.tab.mouse.up(button=button)
            for one in modifiers:
                self.tab.keyboard.up(one)

    def stroke(self):
        """The stroke that has just ended, as (tool, phases, points [N, 2] in pixels, last piece)."""
        until(self.tab, lambda: self.pieces and self.pieces[-1].phase in ("end", "cancel"))
        pieces, self.pieces[:] = list(self.pieces), []
        assert {piece.tool for piece in pieces} == {pieces[0].tool} and len({piece.modifiers for piece in pieces}) == 1
        points = np.array([value for piece in pieces for value in piece.points]).reshape(-1, 2) * SIZE
        return pieces[0].tool, [piece.phase for piece in pieces], points, pieces[-1]

    def inked(self, x, y):
        """How opaque the drawing is at a place of the canvas (0..255), once it was drawn."""
        self.frames(2)
        return self.tab.evaluate(
            "([x, y]) => { const paper = document.querySelector('.splatview-tools canvas'), fine = devicePixelRatio;"
            "return paper.style.display === 'none' ? 0 : paper.getContext('2d').getImageData(x * fine, y * fine, 1, 1).data[3]; }",
            [x, y],
        )


def settled(pose, other):
    return np.allclose(pose.position, other.position, atol=1e-6) and np.allclose(pose.wxyz, other.wxyz, atol=1e-6)


@pytest.fixture(scope="module")
def viewer():
    with Viewer(Scene({"ball": Layer(coloured_ball(5000))}), ViewerSettings(port=0, up="z", open=False)) as running:
        yield running


@pytest.fixture(scope="module")
def opened(chromium, viewer):  # noqa: F811
    tab = chromium.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
    complaints = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(viewer.url)
    tab.wait_for_function(f"window.__splatview && {SHOWN}", timeout=60_000)
    yield Drawing(viewer, tab)
    assert not complaints
    tab.close()
    nobody_left(viewer)


@pytest.fixture
def drawing(opened):
    """The tab without a tool, its pointer where nothing is."""
    opened.tab.mouse.move(20, SIZE[1] - 60)
    opened.use("none")
    return opened


def waves(count, left=120, right=560):
    """Places of a fast, bent stroke."""
    x = np.linspace(left, right, count)
    return [(float(round(a)), float(round(330 + 110 * np.sin(a / 40)))) for a in x]


@pytest.mark.parametrize("tool", ["lasso", *(pytest.param(tool, marks=pytest.mark.slow) for tool in ("brush", "paint", "rectangle"))])
def test_every_sample_of_a_fast_stroke_arrives_in_order_and_the_camera_stays(drawing, tool):
    drawing.use(tool)
    start = drawing.page.pose
    places = waves(50)
    drawing.drag(places)
    told, phases, points, last = drawing.stroke()
    assert told == tool and phases[0] == "start" and phases[-1] == "end" and set(phases[1:-1]) <= {"move"}
    assert points == pytest.approx(np.array(places), abs=1e-3)
    assert last.modifiers == frozenset() and last.number > 0
    drawing.frames(5)
    assert not drawing.camera and not drawing.held and settled(drawing.page.pose, start)


def test_samples_that_came_between_two_frames_arrive_too(drawing):
    drawing.use("lasso")
    drawing.drag(waves(2), release=False)
    many = [(130.0 + i, 200.0 + (i * 7) % 50) for i in range(900)]
    drawing.tab.evaluate(
        "(places) => { const made = ([x, y], more) => new PointerEvent('pointermove', { pointerId: 1, isPrimary: true, buttons: 1,"
        "  bubbles: true, clientX: x, clientY: y, ...more });"
        "  for (let i = 0; i < places.length; i += 90)"
        "    __viserMutable.canvas.dispatchEvent("
        "      made(places[i + 89], { coalescedEvents: places.slice(i, i + 90).map((at) => made(at)) })); }",
        many,
    )
    drawing.tab.mouse.up()
    _, _, points, _ = drawing.stroke()
    assert points[2:902] == pytest.approx(np.array(many), abs=1e-3)


MOVES = {
    "alt and a drag": lambda drawing: drawing.drag(waves(5), ["Alt"]),
    "a drag of the right button": lambda drawing: drawing.drag(waves(5), button="right"),
    "the wheel": lambda drawing: drawing.tab.mouse.wheel(0, -300),
    "a key": lambda drawing: (drawing.tab.keyboard.down("d"), drawing.frames(6), drawing.tab.keyboard.up("d")),
}


@pytest.mark.parametrize("how", [next(iter(MOVES)), *(pytest.param(how, marks=pytest.mark.slow) for how in list(MOVES)[1:])])
def test_the_camera_still_moves_while_a_tool_is_chosen(drawing, how):
    drawing.use("lasso")
    drawing.tab.mouse.move(300, 300)
    before = drawing.page.pose
    MOVES[how](drawing)
    until(drawing.tab, lambda: not settled(drawing.page.pose, before))
    drawing.quiet()
    turned = not np.allclose(drawing.page.pose.wxyz, before.wxyz, atol=1e-6)
    assert not drawing.pieces and turned == (how == "alt and a drag")


def test_without_a_tool_the_left_button_orbits_and_nothing_is_drawn(drawing):
    until(drawing.tab, lambda: drawing.tab.evaluate(f"[{DRAWS}, {HINT}.style.display]") == [False, "none"])  # once the tool before is gone
    before = drawing.page.pose
    drawing.drag(waves(5))
    until(drawing.tab, lambda: not settled(drawing.page.pose, before))
    assert not drawing.pieces and drawing.held[0]
    drawing.quiet()


def test_shapes_are_drawn_while_the_pointer_moves(drawing):
    drawing.use("rectangle")
    drawing.drag([(200, 250), (300, 300), (400, 380)], release=False)
    assert drawing.inked(300, 300) and drawing.inked(399, 300) > drawing.inked(350, 300) and not drawing.inked(450, 300)
    drawing.tab.mouse.up()
    _, _, points, _ = drawing.stroke()
    assert points[0] == pytest.approx([200, 250]) and points[-1] == pytest.approx([400, 380])
    assert not drawing.inked(300, 300)

    drawing.use("lasso")
    drawing.drag([(200, 250), (400, 250), (400, 400), (200, 400)], release=False)
    assert drawing.inked(300, 330) and not drawing.inked(420, 330)
    drawing.tab.mouse.up()
    drawing.stroke()

    drawing.use("brush", radius=30 / SIZE[1])
    drawing.drag([(200, 300), (300, 300), (400, 300)], release=False)
    edge = [drawing.inked(300, 300 + offset) > 128 for offset in (0, 27, 33, -27, -33)]
    assert edge == [True, True, False, True, False]
    drawing.tab.mouse.up()
    assert drawing.stroke()[3].radius * SIZE[1] == pytest.approx(30)


@pytest.mark.parametrize("keys", [["Shift", "Control"], *(pytest.param([key], marks=pytest.mark.slow) for key in ("Shift", "Control"))])
def test_modifiers_are_those_of_the_start(drawing, keys):
    drawing.use("brush")
    drawing.drag(waves(6), keys, release=False)
    for key in keys:
        drawing.tab.keyboard.up(key)
    drawing.tab.mouse.move(300, 300)
    drawing.tab.mouse.up()
    _, phases, _, last = drawing.stroke()
    assert phases[-1] == "end" and last.modifiers == {{"Shift": "shift", "Control": "ctrl"}[key] for key in keys}


@pytest.mark.parametrize("tool", ["point", *(pytest.param(tool, marks=pytest.mark.slow) for tool in ("flood", "eyedropper", "pick"))])
def test_a_click_is_one_point(drawing, tool):
    drawing.use(tool)
    drawing.drag([(300, 320), (306, 322), (309, 330)])
    told, phases, points, _ = drawing.stroke()
    assert (told, phases) == (tool, ["start", "end"]) and points == pytest.approx(np.array([[300, 320]]))
    drawing.frames(5)
    assert not drawing.camera


CORNERS = [(200, 260), (420, 240), (460, 420), (260, 460)]


@pytest.mark.parametrize("closing", ["double click", "enter", "first corner"])
def test_a_polygon_is_closed_and_told_as_a_whole(drawing, closing):
    drawing.use("polygon")
    for place in CORNERS[:-1]:
        drawing.tab.mouse.click(*place)
    drawing.tab.mouse.click(530, 530)
    drawing.tab.keyboard.press("Backspace")
    assert drawing.inked(380, 340) and not drawing.inked(500, 200)
    if closing == "double click":
        drawing.tab.mouse.dblclick(*CORNERS[-1])
    else:
        drawing.tab.mouse.click(*CORNERS[-1])
        drawing.tab.mouse.click(CORNERS[-1][0] + 1, CORNERS[-1][1])  # no corner of its own
    if closing == "enter":
        drawing.tab.keyboard.press("Enter")
    elif closing == "first corner":
        drawing.tab.mouse.dblclick(CORNERS[0][0] + 2, CORNERS[0][1] - 3)  # the second click starts nothing
    told, phases, points, last = drawing.stroke()
    assert (told, phases) == ("polygon", ["start", "end"]) and points == pytest.approx(np.array(CORNERS), abs=1e-3) and last.number > 0
    drawing.frames(5)
    assert not drawing.pieces and not drawing.camera and not drawing.inked(380, 340)


def test_a_polygon_of_two_corners_stays_open_and_ends_with_its_last_corner(drawing):
    drawing.use("polygon")
    for place in CORNERS[:2]:
        drawing.tab.mouse.click(*place)
    drawing.tab.keyboard.press("Enter")
    drawing.tab.mouse.dblclick(CORNERS[1][0], CORNERS[1][1])
    drawing.frames(5)
    assert [piece.phase for piece in drawing.pieces] == ["start"]
    drawing.tab.keyboard.press("Backspace")
    drawing.tab.keyboard.press("Backspace")
    assert drawing.stroke()[1] == ["start", "cancel"]


def test_escape_gives_up_the_stroke_and_then_the_tool(drawing):
    drawing.use("lasso")
    drawing.drag(waves(10), release=False)
    drawing.tab.keyboard.press("Escape")
    _, phases, _, _ = drawing.stroke()
    assert phases[-1] == "cancel" and "end" not in phases and drawing.tab.evaluate(DRAWS)
    drawing.tab.mouse.move(330, 330)
    drawing.tab.mouse.up()
    assert not drawing.left
    drawing.tab.keyboard.press("Escape")
    until(drawing.tab, lambda: drawing.left)
    assert not drawing.pieces and not drawing.tab.evaluate(DRAWS)
    drawing.drag(waves(5))
    until(drawing.tab, lambda: drawing.camera)
    assert not drawing.pieces
    drawing.quiet()


def test_escape_closes_the_palette_and_not_the_tool_behind_it(drawing):
    drawing.use("lasso")
    words = drawing.tab.get_by_placeholder("Search commands...")
    drawing.tab.keyboard.press("Control+k")
    words.wait_for()
    drawing.tab.keyboard.press("Escape")
    words.wait_for(state="hidden")
    assert not drawing.left and drawing.tab.evaluate(DRAWS)


@pytest.mark.slow
def test_a_stroke_ends_with_its_own_button(drawing):
    drawing.use("lasso")
    drawing.drag(waves(5), release=False)
    drawing.tab.mouse.down(button="right")
    drawing.tab.mouse.up(button="left")
    assert drawing.stroke()[1][-1] == "end"
    drawing.tab.mouse.move(300, 300)
    drawing.tab.mouse.up(button="right")
    drawing.frames(3)
    assert not drawing.pieces and not drawing.camera


def test_a_stroke_is_given_up_when_the_window_loses_the_focus_or_another_tool_is_chosen(drawing):
    drawing.use("brush")
    drawing.drag(waves(6), release=False)
    drawing.tab.evaluate("dispatchEvent(new Event('blur'))")
    assert drawing.stroke()[1][-1] == "cancel"
    drawing.tab.mouse.up()
    drawing.drag(waves(6), release=False)
    drawing.tools.use("rectangle")
    assert drawing.stroke()[1][-1] == "cancel"
    drawing.tab.mouse.up()
    drawing.frames(3)
    assert not drawing.pieces


def test_brackets_and_alt_wheel_change_the_radius_within_limits(drawing):
    drawing.use("brush")
    for given, kept in ((0.0001, 1), (9.0, 500)):
        drawing.tools.radius(given)
        drawing.heard()
        drawing.drag(waves(3))
        assert drawing.stroke()[3].radius * SIZE[1] == pytest.approx(kept)
    drawing.use("brush", radius=40 / SIZE[1])
    drawing.tab.mouse.move(300, 300)
    drawing.tab.keyboard.press("]")
    until(drawing.tab, lambda: drawing.radii)
    assert drawing.radii[-1] * SIZE[1] == pytest.approx(42)
    drawing.tab.keyboard.press("[")
    drawing.tab.keyboard.press("[")
    until(drawing.tab, lambda: drawing.radii[-1] * SIZE[1] == pytest.approx(40 / 1.05))
    drawing.tab.keyboard.down("Alt")
    drawing.tab.mouse.wheel(0, -100)
    until(drawing.tab, lambda: drawing.radii[-1] * SIZE[1] == pytest.approx(40))
    drawing.tab.keyboard.up("Alt")
    assert not drawing.camera


def test_an_echo_of_the_radius_does_not_undo_what_the_person_does_next(drawing):
    drawing.use("brush", radius=40 / SIZE[1])
    drawing.tools.on_radius(lambda radius: (drawing.radii.append(radius), drawing.tools.radius(round(10 * radius) / 10)))
    for _ in range(6):
        drawing.tab.keyboard.press("]")
    until(drawing.tab, lambda: drawing.radii and drawing.radii[-1] * SIZE[1] == pytest.approx(40 * 1.05**6))
    drawing.heard()
    drawing.drag(waves(3))
    assert drawing.stroke()[3].radius * SIZE[1] == pytest.approx(40 * 1.05**6)
    drawing.tools.on_radius(drawing.radii.append)


def test_the_circle_follows_the_pointer_and_the_line_says_what_to_do(drawing):
    def ring():
        drawing.use("brush", radius=25 / SIZE[1])  # a size is not taken while the person is changing it, as a test before this one did
        for place in ((290, 310), (300, 310)):
            drawing.tab.mouse.move(*place)
        drawing.frames(3)
        box = "(({ x, y, width, height }) => [x, y, width, height])"
        return drawing.tab.evaluate(f"{box}(document.querySelector('.splatview-tools > div').getBoundingClientRect())")

    until(drawing.tab, lambda: ring() == pytest.approx([275, 285, 50, 50], abs=0.6))
    assert drawing.tab.evaluate(BRUSHES)
    drawing.use("lasso")
    assert drawing.tab.evaluate(f"{HINT}.textContent") == "Lasso: drag. Shift adds, Ctrl removes, Shift+Ctrl intersects, Esc ends"
    box, panel = (drawing.tab.locator(one).first.bounding_box() for one in (".splatview-hint", "button:has-text('Undo')"))
    assert box["x"] >= 0 and box["x"] + box["width"] < panel["x"]
    drawing.use("pick", hint="<b>first</b> point")
    assert drawing.tab.evaluate(f"{HINT}.textContent") == "<b>first</b> point. Esc ends"
    assert not drawing.tab.evaluate(BRUSHES) and drawing.tab.evaluate(DRAWS)


def test_control_and_a_key_of_the_camera_reaches_the_command_and_moves_nothing(drawing):
    pressed, tab, keys = [], drawing.tab, ("a", "e", "d")
    commands = [drawing.page.gui.add_command(f"Test {key}", hotkey=key.upper(), modifier="cmd/ctrl") for key in keys]
    for command in commands:

        @command.on_trigger
        async def _(event):
            pressed.append(event.target.label[-1])

    drawing.heard()
    tab.evaluate("window.__keys = []; window.__note = (e) => __keys.push([e.key, e.defaultPrevented]); 0")
    tab.evaluate("document.documentElement.addEventListener('keydown', __note)")
    for key in keys:
        tab.keyboard.down("Control")
        tab.keyboard.down(key)
        until(tab, lambda key=key: key in pressed)
        drawing.frames(8)  # held for a while
        tab.keyboard.up(key)
        tab.keyboard.up("Control")
    drawing.frames(5)
    assert pressed == list(keys) and not drawing.camera and not drawing.held
    assert [[key, True] for key in keys] == [note for note in tab.evaluate("__keys") if note[0] in keys]
    assert tab.evaluate("getSelection().toString()") == ""
    tab.evaluate("document.documentElement.removeEventListener('keydown', __note)")
    for command in commands:
        command.remove()
    for key in keys:  # and without Ctrl they move it still
        drawing.camera.clear()
        drawing.held.clear()
        tab.keyboard.down(key)
        until(tab, lambda: drawing.camera and drawing.held)
        tab.keyboard.up(key)
    drawing.quiet()


def test_control_and_a_in_a_text_field_is_the_field_s(drawing):
    tab = drawing.tab
    text = drawing.page.gui.add_text("Words", "some words")
    field = tab.get_by_text("Words", exact=True).locator("xpath=ancestor::*[.//input][1]").locator("input")
    field.click()
    tab.keyboard.press("Control+a")
    assert field.evaluate("(field) => [field.selectionStart, field.selectionEnd]") == [0, 10]
    drawing.frames(5)
    assert not drawing.camera
    text.remove()
    tab.evaluate("document.activeElement.blur()")


COUNTS, EDGES = np.arange(1, 21) ** 3, np.linspace(-1.5, 3.5, 21)


def test_a_range_is_dragged_on_a_histogram_in_units_of_the_data(drawing):
    tab, dragged = drawing.tab, []
    histograms = HistogramPage(drawing.page)
    histograms.on_range(dragged.append)
    folder = drawing.page.gui.add_folder("Data", order=-1)
    with folder:
        shown = drawing.page.gui.add_html(svg(COUNTS, EDGES, True, COUNTS // 2, id="opacity"))
        drawing.page.gui.add_html(svg(COUNTS, EDGES, False, id="other"))
    plot = tab.locator(".splatview-histogram[data-name=opacity] [data-part=plot]")
    plot.wait_for()
    tab.wait_for_function("window.__splatviewHistogram")
    box = drawing.still(plot)
    at = lambda value: (box["x"] + box["width"] * (value + 1.5) / 5, box["y"] + 40)
    drawing.drag([at(0.1), at(0.5), at(1.1)], release=False)
    mark = tab.locator(".splatview-histogram[data-name=opacity] [data-part=range]")
    wide = mark.bounding_box()
    assert wide["x"] == pytest.approx(at(0.0)[0], abs=1) and wide["width"] == pytest.approx(box["width"] * 1.25 / 5, abs=1)
    assert tab.locator("[data-part=reading]").first.text_content() == f"0 to 1.25: {COUNTS[6:11].sum():,}".replace(",", "\u2009")
    shown.content = svg(COUNTS, EDGES, True, COUNTS // 3, id="opacity")  # it comes anew in the middle of the drag
    drawing.frames(5)
    tab.mouse.move(*at(0.8))
    assert mark.bounding_box()["width"] == pytest.approx(box["width"] / 5, abs=1)
    tab.mouse.up()
    until(tab, lambda: dragged)
    assert dragged == [RangeDragged("opacity", EDGES[6], EDGES[10], frozenset())] and not mark.is_visible()

    drawing.drag([at(3.4), at(9.0), at(-9.0)], ["Shift", "Control"])  # beyond both ends
    until(tab, lambda: len(dragged) == 2)
    assert dragged[1] == RangeDragged("opacity", EDGES[0], EDGES[-1], frozenset({"shift", "ctrl"}))
    drawing.use("lasso")
    drawing.drag([at(0.1), at(1.1)], release=False)
    tab.keyboard.press("Escape")  # the histogram's, not the tool's
    tab.mouse.up()
    drawing.frames(5)
    assert len(dragged) == 2 and not drawing.pieces and not drawing.left and not drawing.camera
    folder.remove()


@pytest.mark.slow
def test_strokes_are_fractions_of_the_canvas_also_when_a_panel_is_docked(drawing):
    drawing.use("rectangle")
    panel = drawing.page.gui.main_panel
    panel.dock_left()
    tab = drawing.tab
    until(tab, lambda: tab.evaluate("__viserMutable.canvas.getBoundingClientRect().left") > 100)
    drawing.quiet()
    left, wide = tab.evaluate("(({ left, width }) => [left, width])(__viserMutable.canvas.getBoundingClientRect())")
    drawing.drag([(left + wide / 4, 150), (left + wide / 2, 300)], release=False)
    assert drawing.inked(wide / 3, 200) and not drawing.inked(wide / 5, 200)
    tab.mouse.up()
    points = drawing.stroke()[2] / SIZE
    assert points[0] == pytest.approx([1 / 4, 150 / SIZE[1]]) and points[-1] == pytest.approx([1 / 2, 300 / SIZE[1]])
    layer = tab.evaluate("(({ left, width }) => [left, width])(document.querySelector('.splatview-tools').getBoundingClientRect())")
    assert layer == pytest.approx([left, wide], abs=0.6)
    panel.float()
    until(tab, lambda: tab.evaluate("__viserMutable.canvas.getBoundingClientRect().width") == SIZE[0])


@pytest.mark.slow
def test_a_second_run_of_the_script_leaves_one_layer(drawing):
    drawing.use("lasso")
    drawing.use("lasso")
    assert drawing.tab.evaluate(LAYERS) == 1
    again = Drawing(drawing.viewer, drawing.tab)
    again.use("lasso")
    assert drawing.tab.evaluate(LAYERS) == 1
    again.drag(waves(10))
    assert len(again.stroke()[2]) == 10


@pytest.mark.slow
def test_a_reconnected_page_has_one_layer_and_no_stroke(chromium):  # noqa: F811
    with Viewer(Scene({"ball": Layer(coloured_ball(5000))}), ViewerSettings(port=0, up="z", open=False)) as viewer:
        tab = chromium.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        tab.goto(viewer.url)
        tab.wait_for_function(f"window.__splatview && {SHOWN}", timeout=60_000)
        first = Drawing(viewer, tab)
        first.use("lasso")
        first.drag(waves(10), release=False)
        until(tab, lambda: first.pieces)
        server = viewer._server._websock_server
        [connection] = server._live_connections.values()
        tab.evaluate("window.__known = __viserMutable.sendMessage; 0")
        asyncio.run_coroutine_threadsafe(connection.close(), server._broadcast_buffer.event_loop)
        tab.wait_for_function("__viserMutable.sendMessage !== __known")
        tab.mouse.move(300, 300)
        until(tab, lambda: not tab.evaluate("document.querySelector('.splatview-tools canvas')?.style.display === 'block'"))
        tab.mouse.up()
        first.tools.cancel()
        assert first.pieces[-1].phase == "cancel" and "end" not in [piece.phase for piece in first.pieces]
        until(tab, lambda: viewer.sessions and viewer.sessions != [first.session])
        second = Drawing(viewer, tab)
        second.use("lasso")
        assert tab.evaluate(LAYERS) == 1
        second.drag(waves(10))
        assert second.stroke()[1][-1] == "end"
        tab.close()
        nobody_left(viewer)


@pytest.mark.slow
def test_strokes_are_as_fine_as_the_screen(chromium, viewer, opened):  # noqa: F811
    before = set(viewer.sessions)
    tab = chromium.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, device_scale_factor=2)
    tab.goto(viewer.url)
    tab.wait_for_function(f"window.__splatview && {SHOWN}", timeout=60_000)
    until(tab, lambda: set(viewer.sessions) - before)
    fine = Drawing(viewer, tab)
    fine.use("rectangle")
    fine.drag([(200, 250), (400, 380)], release=False)
    assert fine.inked(300, 300) and not fine.inked(450, 300)
    assert tab.evaluate("(({ width, height }) => [width, height])(document.querySelector('.splatview-tools canvas'))") == [1920, 1200]
    tab.mouse.up()
    assert fine.stroke()[2] == pytest.approx(np.array([[200, 250], [400, 380]]), abs=1e-3)
    tab.close()
    until(opened.tab, lambda: fine.session not in viewer.sessions)


class Wire:
    """Stands where a page would, and says anything."""

    def __init__(self):
        self.handlers, self.scripts = {}, []
        self.client = types.SimpleNamespace(_websock_connection=self)

    def register_handler(self, kind, handler):
        self.handlers[kind] = handler

    def run(self, source):
        self.scripts.append(source)

    def says(self, message):
        self.handlers[type(message)](0, message)


def piece(**changes):
    fields = {"tool": "lasso", "phase": "start", "points": [0.5, 0.25], "modifiers": ["shift"], "radius": 0.1, "number": 3}
    return ToolStroke(**{**fields, **changes})


NONSENSE = [
    {"tool": "none"}, {"tool": "axe"}, {"tool": ["lasso"]}, {"tool": None}, {"phase": "begin"}, {"phase": {}},
    {"points": [0.5]}, {"points": "ab"}, {"points": [0.5, "1"]}, {"points": [0.5, float("nan")]}, {"points": [0.5, float("inf")]},
    {"points": [0.5, 1e9]}, {"points": [True, False]}, {"points": [0.0] * 20_000}, {"points": None}, {"points": [[0.0, 0.0]] * 2},
    {"modifiers": ["hyper"]}, {"modifiers": "shift"}, {"modifiers": [["shift"]]}, {"modifiers": ["shift"] * 4}, {"modifiers": None},
    {"radius": 0}, {"radius": -1.0}, {"radius": "1"}, {"radius": float("nan")}, {"radius": 1e9},
    {"number": -1}, {"number": 1.5}, {"number": True}, {"number": 1 << 60}, {"number": None},
]  # fmt: skip


@pytest.mark.parametrize("changes", NONSENSE)
def test_nonsense_of_a_page_is_dropped(changes):
    wire, told = Wire(), []
    ToolPage(wire).on_stroke(told.append)
    wire.says(piece(**changes))
    assert not told


def test_each_start_is_followed_by_one_end_or_cancel():
    rng = np.random.default_rng(0)
    wire, told = Wire(), []
    tools = ToolPage(wire)
    tools.on_stroke(told.append)
    for _ in range(500):
        phase, tool = str(rng.choice(["start", "move", "end", "cancel"])), str(rng.choice(["lasso", "brush"]))
        wire.says(piece(phase=phase, tool=tool))
        if rng.random() < 0.05:
            tools.cancel()
    tools.cancel()
    under_way = None
    for one in told:
        assert (under_way is None) == (one.phase == "start") and (under_way in (None, one.tool))
        under_way = None if one.phase in ("end", "cancel") else one.tool
    assert under_way is None and {one.phase for one in told} == {"start", "move", "end", "cancel"}


def test_an_endless_stroke_is_cancelled():
    wire, told = Wire(), []
    ToolPage(wire).on_stroke(told.append)
    wire.says(piece())
    for _ in range(SAMPLES // 8000 + 2):
        wire.says(piece(phase="move", points=[0.5] * 16_000))
    assert [one.phase for one in told].count("cancel") == 1 and told[-1].phase == "cancel"
    assert sum(len(one.points) for one in told) <= 2 * SAMPLES


def test_radius_and_range_of_a_hostile_page():
    wire, radii, ranges, left = Wire(), [], [], []
    tools = ToolPage(wire)
    tools.on_radius(radii.append)
    tools.on_left(lambda: left.append(True))
    HistogramPage(wire).on_range(ranges.append)
    for radius in (None, "1", -1.0, 0, float("nan"), 1e9, [], 0.25):
        wire.says(ToolRadius(radius))
    wire.says(ToolLeft())
    assert radii == [0.25] and left == [True]
    good = {"name": "x", "low": 0, "high": 1.0, "modifiers": ["ctrl"]}
    for change in ({"name": 1}, {"name": "x" * 65}, {"low": 2}, {"low": float("nan")}, {"high": "1"}, {"modifiers": [1]}, {}):
        wire.says(HistogramRange(**{**good, **change}))
    assert ranges == [RangeDragged("x", 0.0, 1.0, frozenset({"ctrl"}))]


def test_a_histogram_holds_only_numbers_and_its_escaped_name():
    html = svg([1, 2.0, float("nan")], [0, 1, 2, 3], False, [5, 1, 1], id='"><script>')
    assert "<script" not in html and json.loads(html.split('data-counts="')[1].split('"')[0]) == [1, 2, 0]
    for counts, edges in (([1], [0, 1, 2]), ([1], [1, 0]), ([1], [0, float("inf")]), ([], [0])):
        with pytest.raises(ValueError, match="histogram"):
            svg(counts, edges, False)
    svg([0, 0], [-1e-30, 0, 1e-30], True, [0, 0])
    svg([10**12], [1e300, 2e300], True)


def test_labels_are_round_within_the_range_and_tell_neighbours_apart():
    rng = np.random.default_rng(1)
    for low, span in itertools.chain(
        [(0.0, 1.0), (-5.0, 11.4), (1e6, 2e-3), (0.0, 3e9)], zip(rng.normal(0, 100, 200), 10 ** rng.uniform(-7, 7, 200), strict=True)
    ):
        places = ticks(low, low + span)
        assert 2 <= len(places) <= 8 and all(low - 1e-6 * span <= place <= low + span * (1 + 1e-6) for place in places)
        texts = [label(place, places[1] - places[0]) for place in places]
        assert len(set(texts)) == len(texts)
        assert all(abs(float(text) - place) < 0.5 * (places[1] - places[0]) for text, place in zip(texts, places, strict=True))
