"""The browser's own drawing, without a browser: how splats are packed, what a page is sent of them, and what the server draws meanwhile."""

import asyncio
import gc
import json
import math
import re
import time
import tracemalloc
import weakref
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from scripted_client import ScriptedClient
from small_fields import ball
from test_viewer import coloured_ball, nobody_left
from test_viewer_world import no_tools

from splatview import Gaussians, RenderOptions, Scene, open_renderer
from splatview.edit.document import EMPTY
from splatview.edit.operations import Hide, Place, RemoveLayer, Rename, ShowHidden, ShowLayer
from splatview.edit.select import Selection
from splatview.geometry import Similarity, matrix_from_quat
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings, preview, webgl
from splatview.viewer.preview import Preview
from splatview.viewer.space import NEAR, point_under
from splatview.viewer.view import View
from splatview.viewer.webgl import LIKE, Packer, pack, rounded_up
from splatview.viewer.world import World

UPPER = [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]


# Packing


def unpacked(chunk):
    """Centres [n, 3], covariances [n, 6], colours and opacities [n, 4], in the layer's units."""
    records = chunk.records
    centres = records[:, :3].copy().view(np.float32).astype(np.float64) * chunk.unit
    covariances = records[:, 4:7].copy().view(np.float16).astype(np.float64) * chunk.unit**2
    return centres, covariances, records[:, 7:].copy().view(np.uint8) / 255


def full(triangles):
    return triangles[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)


@given(st_numpy.arrays(np.float64, (4, 3, 3), elements=st.floats(-128, 128)))
def test_a_covariance_is_rounded_up_and_by_little(roots):
    exact = (roots @ roots.swapaxes(1, 2))[:, *UPPER]
    halves = rounded_up(exact).astype(np.float64)
    assert np.linalg.eigvalsh(full(halves - exact)).min() >= -1e-9 * np.abs(exact).max(initial=1)
    assert (np.abs(halves - exact) <= 2**-9 * np.trace(full(exact), axis1=1, axis2=2)[:, None] + 2**-22).all()


@pytest.mark.parametrize("size,spread", [(-4, 1.0), (-16, 1.0), (8, 1.0), (-3, 6.0)])
def test_chunks_hold_every_splat_once_as_it_was(random_gaussians, monkeypatch, size, spread):
    monkeypatch.setattr(webgl, "CHUNK", 300)
    made = random_gaussians(1000, degree=1)
    rng = np.random.default_rng(1)
    splats = Gaussians(made.means, made.quats, rng.normal(size, spread, (1000, 3)), made.opacity_logits, made.sh)
    chunks = list(pack(splats))
    assert np.array_equal(np.sort(np.concatenate([chunk.which for chunk in chunks])), np.arange(1000))
    sizes = splats.scales.max(1)
    assert (np.diff(np.concatenate([sizes[chunk.which] for chunk in chunks])) <= 0).all()  # the largest first
    for chunk in chunks:
        centres, covariances, colours = unpacked(chunk)
        axes = matrix_from_quat(splats.quats[chunk.which].astype(float)) * splats.scales[chunk.which][:, None, :].astype(float)
        wanted = axes @ axes.swapaxes(1, 2)
        assert len(chunk.which) <= 300 and sizes[chunk.which].max() <= LIKE * sizes[chunk.which].min() * (1 + 1e-6)
        assert np.allclose(centres, splats.means[chunk.which], rtol=1e-6, atol=1e-12)
        error = np.abs(covariances - wanted[:, *UPPER]).max(1)
        assert (error <= 2**-8 * np.trace(wanted, axis1=1, axis2=2)).all()
        rgba = np.c_[np.clip(splats.colours[chunk.which], 0, 1), splats.opacities[chunk.which]]
        assert np.abs(colours - rgba).max() <= 0.51 / 255
        assert not chunk.records[:, 3].any()


def test_what_is_not_finite_is_left_out():
    good = coloured_ball(8)
    means, quats, scales, logits, sh = (getattr(good, name).copy() for name in ("means", "quats", "log_scales", "opacity_logits", "sh"))
    means[0, 1], quats[1, 2], scales[2, 0], logits[3], sh[4, 0, 2] = math.nan, math.inf, 1e4, math.nan, -math.inf
    logits[5], scales[6] = math.inf, -math.inf  # opaque, and a point: both are numbers
    [*chunks] = pack(Gaussians(means, quats, scales, logits, sh))
    assert sorted(np.concatenate([chunk.which for chunk in chunks])) == [5, 6, 7]
    assert all(np.isfinite(part).all() for chunk in chunks for part in unpacked(chunk))
    assert list(pack(good.take([]))) == []


def test_what_is_hidden_has_no_opacity_and_nothing_else_changes():
    [chunk] = pack(coloured_ball(50))
    hidden = np.arange(50) % 3 == 0
    records = chunk.without(hidden)
    gone = hidden[chunk.which]
    assert (records[gone, 7] >> 24 == 0).all() and np.array_equal(records[~gone], chunk.records[~gone])
    assert np.array_equal(records[gone, :7], chunk.records[gone, :7])
    assert chunk.without(None) is chunk.records and chunk.without(np.zeros(50, bool)) is chunk.records


def test_everybody_shares_what_is_packed_as_long_as_somebody_needs_it():
    packer, content = Packer(), coloured_ball(50)
    first = packer.packed(content)
    assert packer.packed(content) is first and packer.packed(coloured_ball(50)) is not first
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    packer.close()


# One page


class FakePage:
    """Remembers what it was told."""

    def __init__(self):
        self.did = []

    def __getattr__(self, name):
        return lambda *arguments: self.did.append((name, *arguments))

    def told(self, name):
        return [entry[1:] for entry in self.did if entry[0] == name]

    def taken(self):
        """What was told since the last call."""
        did, self.did = self.did, []
        return did


class NowPacker(Packer):
    """Does everything at once."""

    def soon(self, task):
        task()


class Visit:
    def __init__(self, scene, able=True, wish="browser"):
        self.page = FakePage()
        self.settled = []
        self.world = World(scene, no_tools(), lambda: self.preview.world_changed())
        self.placing = Similarity((0.9, 0.1, 0.2, 0.3), (1.0, 2.0, 3.0), 3.0)
        self.preview = Preview(self.page, self.world, self.placing, NowPacker(), lambda: self.settled.append(self.who()))
        self.preview.choose(wish)
        if able is not None:
            self.preview.told_able(able)

    def do(self, operation):
        self.world.do(operation).result()

    def hide(self, masks):
        self.do(Hide(Selection.painted(masks, self.world.state)))

    def who(self, **view):
        return self.preview.settle(View(**view))

    def receive(self):
        """Acknowledge all that is sent."""
        acknowledged = 0
        while len(sent := self.page.told("send")) > acknowledged:
            acknowledged += 1
            self.preview.arrived(sent[acknowledged - 1][-1])
        return self.page.taken()


@pytest.fixture
def scene():
    return Scene({"ball": Layer(coloured_ball(500)), "twin": Layer(coloured_ball(300, seed=1), visible=False)})


def test_the_server_draws_until_the_page_has_everything(scene, monkeypatch):
    monkeypatch.setattr(webgl, "CHUNK", 200)
    visit = Visit(scene)
    [(_, chunk, records, _, number)] = visit.page.told("send")
    assert visit.who() == "server" and chunk == 0 and len(records) == 200
    visit.preview.arrived(number + 1000)  # a page may say anything
    assert len(visit.page.told("send")) == 1
    visit.receive()
    assert visit.who() == "browser" and visit.settled[-1] == "browser"


def test_where_splats_stand_is_where_the_page_sees_them(scene):
    """Node pose and chunk scale together are the page's similarity and the layer's placement."""
    placement = Similarity((0.2, 0.5, -0.1, 0.4), (4.0, 0.0, -1.0), 0.3)
    visit = Visit(scene.placed("ball", placement))
    [(_, where, visible)] = visit.page.told("place")
    [(_, _, records, scale, _)] = visit.page.told("send")
    local = records[:, :3].copy().view(np.float32).astype(float)
    seen = scale * (local @ where.rotation.T) + np.asarray(where.translation)
    content = scene.layers["ball"].content
    [chunk] = pack(content)
    wanted = visit.placing.apply(placement.apply(content.means[chunk.which].astype(float)))
    assert visible and np.allclose(seen, wanted, atol=1e-5)


def test_nothing_is_sent_again_that_did_not_change(scene):
    visit = Visit(scene)
    visit.receive()
    change = visit.do
    change(Place("ball", Similarity(translation=(1.0, 0.0, 0.0))))
    assert [entry[0] for entry in visit.receive()] == ["place"]
    change(Place("ball", Similarity(scale=2.0)))
    assert [entry[0] for entry in visit.receive()] == ["scale", "place"]
    change(Rename("ball", "globe"))
    assert visit.receive() == []
    change(ShowLayer("globe", False))
    assert [(entry[0], entry[-1]) for entry in visit.receive()] == [("place", False)]
    assert visit.who() == "browser"  # there is nothing to see, and it is all there
    change(ShowLayer("globe", True))
    assert [(entry[0], entry[-1]) for entry in visit.receive()] == [("place", True)]
    change(ShowLayer("twin", True))
    assert [entry[0] for entry in visit.receive() if entry[0] != "draw"] == ["place", "send"]
    change(RemoveLayer("globe"))
    [(_, _, chunks)] = [entry for entry in visit.receive() if entry[0] == "remove"]
    assert list(chunks) == [0]
    visit.world.restore(visit.world.scene.with_layer("twin", Layer(coloured_ball(70))), EMPTY).result()  # other content
    assert sorted(entry[0] for entry in visit.receive() if entry[0] != "draw") == ["place", "remove", "send"]


def test_two_layers_of_one_content_have_a_node_each(scene):
    content = scene.layers["ball"].content
    visit = Visit(Scene({"a": Layer(content), "b": Layer(content, Similarity(translation=(9.0, 0.0, 0.0)))}))
    assert len({node for node, *_ in visit.page.told("place")}) == 2
    visit.receive()
    visit.do(RemoveLayer("a"))
    assert [entry[0] for entry in visit.receive()] == ["remove"]
    [node] = visit.preview._nodes
    assert node.where.translation == pytest.approx(visit.placing.apply((9.0, 0.0, 0.0)))


def test_a_mask_sends_the_chunks_that_it_changes(scene, monkeypatch):
    monkeypatch.setattr(webgl, "CHUNK", 100)
    visit = Visit(scene)
    assert len([entry for entry in visit.receive() if entry[0] == "send"]) == 5
    second = visit.preview._nodes[0].packed.chunks[1].which
    hidden = np.zeros(500, bool)
    hidden[second[:7]] = True
    visit.hide({"ball": hidden})
    assert visit.who() == "server"
    [(_, _, chunk, records, *_)] = [entry for entry in visit.receive() if entry[0] == "send"]
    assert chunk == 1 and (records[:, 7] >> 24 == 0).sum() == 7 and visit.who() == "browser"
    visit.world.restore(scene, visit.world.document).result()  # the same again, in other arrays
    assert [entry for entry in visit.receive() if entry[0] == "send"] == []
    visit.do(ShowLayer("ball", False))
    visit.do(ShowHidden())
    assert [entry for entry in visit.receive() if entry[0] == "send"] == []  # nobody sees it
    visit.world.undo().result()
    visit.world.undo().result()
    visit.receive()
    visit.do(ShowHidden())
    assert [entry[2] for entry in visit.receive() if entry[0] == "send"] == [1]


@pytest.mark.parametrize("view", [{"shown": "depth"}, {"beside": "alpha"}, {"splat_scale": 0.5}], ids=str)
def test_what_splats_cannot_show_the_server_draws(scene, view):
    visit = Visit(scene, wish="hybrid")
    visit.receive()
    assert visit.who() == "hybrid" and visit.who(**view) == "server" and visit.who() == "hybrid"
    assert [who for who, _ in visit.page.told("draw")] == ["server", "hybrid"]


def test_the_page_is_told_the_background(scene):
    visit = Visit(scene)
    visit.receive()
    assert visit.who(background=(1.0, 0.0, 0.5)) == "browser"
    assert visit.page.told("draw") == [("browser", (1.0, 0.0, 0.5))]


def test_a_browser_without_a_graphics_card_is_told_so_once_and_sent_nothing(scene):
    visit = Visit(scene, able=False)
    visit.do(ShowLayer("twin", True))
    assert visit.who() == "server" and visit.page.told("send") == []
    [(title, _)] = visit.page.told("notify")
    assert title == "The server draws"


def test_a_page_that_does_not_answer_is_sent_nothing(scene):
    visit = Visit(scene, able=None)
    assert visit.who() == "server" and visit.page.taken() == [("begin",)]


def test_too_many_splats_are_refused_and_hidden_ones_make_room(scene, monkeypatch):
    monkeypatch.setattr(preview, "MOST", 700)
    visit = Visit(scene)
    visit.receive()
    visit.do(ShowLayer("twin", True))
    [(_, text)] = visit.page.told("notify")
    assert visit.who() == "server" and "800 splats" in text and "700" in text
    visit.do(ShowLayer("ball", False))
    assert visit.receive() and visit.who() == "browser"
    assert [node.name for node in visit.preview._nodes] == ["twin"]
    visit.do(ShowLayer("twin", False))
    visit.do(ShowLayer("ball", True))
    visit.receive()
    assert visit.who() == "browser" and [node.name for node in visit.preview._nodes] == ["ball"]


def test_a_large_scene_says_how_far_it_is(scene, monkeypatch):
    monkeypatch.setattr(webgl, "CHUNK", 100)
    monkeypatch.setattr(preview, "LARGE", 1000)
    visit = Visit(scene)
    told = [text for name, *rest in visit.receive() if name == "busy" for text in rest[1:]]
    assert len(told) == 6 and re.fullmatch(r"\d+ of \d+ MB", told[0]) and told[-1] is None


def test_the_server_draws_again_when_asked(scene):
    visit = Visit(scene)
    visit.receive()
    visit.preview.choose("server")
    assert [entry[0] for entry in visit.receive() if entry[0] != "draw"] == ["remove"] and visit.who() == "server"
    visit.preview.choose("hybrid")
    visit.receive()
    assert visit.who() == "hybrid"


def test_what_goes_wrong_is_said_and_the_server_draws(scene, monkeypatch, caplog):
    monkeypatch.setattr(preview.Packer, "packed", lambda self, content: 1 / 0)
    visit = Visit(scene)
    assert visit.who() == "server" and visit.page.told("notify") == [("The server draws", "division by zero")]
    assert "could not prepare the splats" in caplog.text


# The whole viewer


@asynccontextmanager
async def drawing(viewer, able=True):
    """A scripted page with a graphics card; `client.splats` are the nodes that it was sent."""
    async with ScriptedClient.connect(viewer.url, width=320, height=180) as client:
        client.splats = []
        heed = client._heed

        async def heed_splats(message):
            await heed(message)
            if message["type"] == "GaussianSplatsMessage":
                client.splats.append(message["name"])
            source = message.get("source", "")
            if "__splatviewPreview?.destroy" in source and "CanDraw" in source:
                await client.send("CanDraw", able=able)
            if arrived := re.fullmatch(r"__splatviewPreview\.arrived\((\d+)\)", source):
                await client.send("SplatsArrived", number=int(arrived[1]))

        client._heed = heed_splats
        await client.orbit(0.0)
        yield client


async def told_to_draw(client, who):
    """Wait until the page was told that `who` draws."""
    await client.until(
        lambda: next((one for one in reversed(client.scripts) if "Preview.draw(" in one), "").startswith(f'__splatviewPreview.draw("{who}"')
    )


@pytest.fixture
def viewer_of(scene):
    running = []

    def start(draw):
        running.append(Viewer(scene, ViewerSettings(port=0, up="z", open=False, draw=draw)))
        return running[-1]

    yield start
    for viewer in running:
        viewer.close()


async def fly(client, steps=30):
    """Move for half a second; the number of pictures that came meanwhile."""
    before = len(client.arrivals)
    await client.send("CameraHeld", on=True)
    for step in range(steps):
        await client.orbit(0.1 * step)
        await asyncio.sleep(0.5 / steps)
    arrived = len(client.arrivals) - before
    await client.send("CameraHeld", on=False)
    return arrived


def test_no_picture_is_drawn_where_the_browser_draws(viewer_of):
    viewer = viewer_of("browser")

    async def visit():
        async with drawing(viewer) as client:
            await told_to_draw(client, "browser")
            assert client.splats == ["/splats 1/0"]
            await asyncio.sleep(0.3)
            [session] = viewer.sessions
            drawn, draw = [], session._channel.draw
            session._channel.draw = lambda turn, interrupt: (drawn.append(turn), draw(turn, interrupt))[1]
            assert await fly(client) == 0
            await asyncio.sleep(0.6)
            assert drawn == [] and session._pacer.due() is None
            await client.set("Show", "depth")  # splats have no picture of it
            await told_to_draw(client, "server")
            await client.until(lambda: drawn)
            await client.set("Show", "colour")
            await told_to_draw(client, "browser")

    asyncio.run(visit())


def test_one_picture_is_drawn_at_rest_and_none_while_moving_in_hybrid(viewer_of):
    viewer = viewer_of("hybrid")

    async def visit():
        async with drawing(viewer) as client:
            await told_to_draw(client, "hybrid")
            await client.rest()
            dropped = viewer.sessions[0]._pacer.dropped
            before = len(client.arrivals)
            assert await fly(client) == 0
            await client.until(lambda: len(client.arrivals) > before)
            await asyncio.sleep(0.7)
            assert len(client.arrivals) == before + 1
            assert client.arrivals[-1].size == (320, 180) and viewer.sessions[0]._pacer.dropped == dropped
            expected = [one for one in client.scripts if "Preview.expect(" in one]
            assert f"{viewer.sessions[0]._page.pose.position[0]:.4f}" in expected[-1]  # the page knows what the picture is of

    asyncio.run(visit())


def test_pictures_flow_again_when_the_server_is_chosen(viewer_of):
    viewer = viewer_of("browser")

    async def visit():
        async with drawing(viewer) as client:
            await told_to_draw(client, "browser")
            await client.set("Drawn by", "server")
            await told_to_draw(client, "server")
            await client.rest()
            assert await fly(client) >= 3

    asyncio.run(visit())


def test_a_page_on_software_gl_is_drawn_for(viewer_of):
    viewer = viewer_of("hybrid")

    async def visit():
        async with drawing(viewer, able=False) as client:
            await client.rest()
            assert await fly(client) >= 3 and client.splats == []

    asyncio.run(visit())


def test_focus_finds_the_point_under_the_cursor_where_nothing_was_drawn(viewer_of):
    viewer = viewer_of("browser")

    async def visit():
        async with drawing(viewer) as client:
            await told_to_draw(client, "browser")
            await client.orbit(1.0)
            await client.send("PointPicked", x=0.5, y=0.5)
            told = await client.until(lambda: [one for one in client.scripts if one.startswith("__splatview.lookAt(")])
            camera = viewer.sessions[0].camera(320, 180)
            return camera, json.loads(told[-1].removeprefix("__splatview.lookAt(").removesuffix(")"))

    camera, point = asyncio.run(visit())
    depth = open_renderer("cpu").render(viewer.scene, camera, RenderOptions(near=NEAR / viewer.placing.scale)).depth
    assert np.allclose(point, viewer.placing.apply(point_under(0.5, 0.5, depth, camera)), atol=1e-4)


def test_another_page_costs_the_server_no_copy():
    count = 300_000
    viewer = Viewer(Scene({"ball": Layer(coloured_ball(count))}), ViewerSettings(port=0, up="z", open=False, draw="browser"))

    async def visit():
        async with drawing(viewer) as first:
            await told_to_draw(first, "browser")
            tracemalloc.start()
            async with drawing(viewer) as second, drawing(viewer) as third:
                await told_to_draw(second, "browser")
                await told_to_draw(third, "browser")
                await asyncio.sleep(0.5)
                gc.collect()
                return tracemalloc.get_traced_memory()[0]

    try:
        held = asyncio.run(visit())
    finally:
        tracemalloc.stop()
        viewer.close()
    assert held < 0.5 * 32 * count


def test_whoever_leaves_lets_go_of_the_splats(viewer_of):
    viewer = viewer_of("browser")

    async def visit():
        async with drawing(viewer) as client:
            await told_to_draw(client, "browser")
            return [weakref.ref(node.packed) for node in viewer.sessions[0].preview._nodes]

    packed = asyncio.run(visit())
    nobody_left(viewer)
    for _ in range(50):
        gc.collect()
        if packed[0]() is None:
            return
        time.sleep(0.05)
    raise AssertionError("what was packed is still held")


def test_settings_name_who_may_draw():
    with pytest.raises(ValueError, match=r"expected one of .*'hybrid'.*got 'gpu'"):
        ViewerSettings(draw="gpu")  # type: ignore[arg-type]


def test_a_field_is_not_for_browsers_and_that_is_said_once(scene):
    visit = Visit(scene.with_layer("fox", Layer(ball(), visible=False)))
    visit.receive()
    assert visit.who() == "browser"
    visit.do(ShowLayer("fox", True))
    visit.do(Place("fox", Similarity(scale=2.0)))
    assert visit.who() == "server" and len(visit.page.told("notify")) == 1
    visit.do(ShowLayer("fox", False))
    visit.receive()
    assert visit.who() == "browser"
