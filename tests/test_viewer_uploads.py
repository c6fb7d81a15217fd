"""Files that pages send, and what they may name on the server."""

import asyncio
import contextlib
import os
import socket
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
import tiny_onnx
from aiohttp import ClientSession
from chromium import CHROMIUM, CHROMIUM_FLAGS, LAUNCHER
from hypothesis import given
from hypothesis import strategies as st
from test_viewer import coloured_ball

from splatview import Scene, save
from splatview.outputs.guard import listen
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings, uploads
from splatview.viewer.door import Door
from splatview.viewer.paths import below
from splatview.viewer.uploads import LONGEST_NAME, Uploads, plain_name

# What a page may name


@pytest.fixture
def root(tmp_path):
    """A folder with a scene, and ways out of it."""
    folder = tmp_path / "root"
    (folder / "run").mkdir(parents=True)
    (folder / "run" / "a b.ply").write_bytes(b"ply")
    (tmp_path / "secret.ply").write_bytes(b"secret")
    (folder / "inside").symlink_to(folder / "run")
    (folder / "outside.ply").symlink_to(tmp_path / "secret.ply")
    (folder / "up").symlink_to("..")
    (folder / "circle").symlink_to("circle")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize("named", ["run/a b.ply", "./run/../run/a b.ply", "inside/a b.ply", "{root}/run/a b.ply", "run//a b.ply"])
def test_what_lies_below_the_root_is_found(root, named):
    assert below(root, named.format(root=root)) == root.resolve() / "run" / "a b.ply"
    assert below(root, "run") == root.resolve() / "run" and below(root, ".") == root.resolve()


WAYS_OUT = ["..", "../secret.ply", "run/../../secret.ply", "outside.ply", "up/secret.ply", "up", "{root}/../secret.ply", "/etc/passwd", "/"]
NOTHING = ["", "  ", "none.ply", "run/a b.ply/x", "circle", "circle/x", "pipe", "a\0b", "x" * 5000, "\ud800"]


@pytest.mark.parametrize("named", WAYS_OUT + NOTHING)
def test_what_leads_out_or_is_no_file_is_refused_in_one_line(root, named):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        below(root, named.format(root=root))


def test_nothing_is_learned_of_what_lies_outside(root):
    said = set()
    for named in ("../secret.ply", "../no such file.ply"):
        with pytest.raises(ValueError) as refused:
            below(root, named)
        said.add(str(refused.value).replace(repr(named), "it"))
    assert len(said) == 1 and "below" in said.pop()


def test_without_a_root_nothing_may_be_named():
    with pytest.raises(ValueError, match="--root"):
        below(None, "a.ply")


@given(st.text())
def test_any_name_is_below_or_refused(tmp_path_factory, named):
    folder = tmp_path_factory.getbasetemp().resolve()
    with contextlib.suppress(ValueError):
        assert below(folder, named).is_relative_to(folder)


@given(st.text(max_size=400))
def test_a_plain_name_is_one_file_in_a_folder(name):
    plain = plain_name(name)
    assert plain == Path(plain).name and not plain.startswith(".") and plain.isprintable()
    assert 1 <= len(plain.encode()) <= LONGEST_NAME and plain_name(plain) == plain


@pytest.mark.parametrize(
    "name,plain",
    {
        "garden.ply": "garden.ply",
        "my garden.compressed.ply": "my garden.compressed.ply",
        "../../etc/passwd": "passwd",
        "C:\\scans\\garden.ply": "garden.ply",
        ".bashrc": "bashrc",
        "a\n\x1b[31mb.ply": "a [31mb.ply",
        "\u202egarden.ply": "garden.ply",
        "..": "upload",
        "": "upload",
        "日本.spz": "日本.spz",
        "x" * 500 + ".spz": "x" * (LONGEST_NAME - 4) + ".spz",
    }.items(),
)
def test_names_stay_what_people_know(name, plain):
    assert plain_name(name) == plain


# Through the door


class Reader:
    """Takes files as the viewer's loading does, slowly if asked to."""

    def __init__(self):
        self.got, self.go_on, self.error = [], threading.Event(), None
        self.go_on.set()

    def __call__(self, path, page):
        future = Future()

        def read():
            self.go_on.wait(10)
            self.got.append((path, path.read_bytes()))
            future.set_exception(self.error) if self.error else future.set_result(path.stem)

        threading.Thread(target=read).start()
        return future


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def desk(reader):
    """An upload desk of 1 MB behind a door of its own."""
    taken = Uploads(10**6, reader)
    door = Door(listen("127.0.0.1", 0), 1, "", taken)
    door.start()
    yield taken, f"http://127.0.0.1:{door.port}"
    door.close()
    taken.close()
    assert not taken._folder.exists()


def left(taken):
    """Files that are still there, once there is nobody who could be about to remove them."""
    for _ in range(100):
        if not (found := list(taken._folder.rglob("*"))):
            break
        time.sleep(0.02)
    return found


def send(base, *bodies, name="garden.ply", **headers):
    """The answers to uploads that are sent at once."""

    async def one(client, body):
        async with client.post(f"{base}/upload", params={"name": name}, data=body, headers={"Origin": base, **headers}) as answer:
            return answer.status, await answer.json()

    async def everything():
        async with ClientSession() as client:
            return await asyncio.gather(*(one(client, body) for body in bodies))

    return asyncio.run(everything())


def parts(total, size=50_000):
    """A body whose length is not told before."""

    async def sending():
        for _ in range(total // size):
            yield b"x" * size

    return sending()


def test_a_file_arrives_as_it_was_sent_and_is_gone_after_it_was_read(desk, reader):
    taken, base = desk
    content = os.urandom(900_000)
    assert send(base, content, name="../a garden.ply") == [(200, {"added": "a garden"})]
    [(path, read)] = reader.got
    assert read == content and path.is_relative_to(taken._folder) and path.name == "a garden.ply"
    assert not left(taken)


def test_nobody_else_may_read_it(desk):
    assert desk[0]._folder.stat().st_mode & 0o777 == 0o700


def test_files_of_one_name_do_not_meet(desk, reader):
    taken, base = desk
    assert [status for status, _ in send(base, b"first", b"second", b"third")] == [200] * 3
    assert sorted(read for _, read in reader.got) == [b"first", b"second", b"third"]
    assert len({path for path, _ in reader.got}) == 3 and not left(taken)


@pytest.mark.parametrize("told", [True, False])
def test_a_file_too_large_is_refused(desk, reader, told):
    taken, base = desk
    [(status, answer)] = send(base, b"x" * 1_020_000 if told else parts(1_050_000))
    assert status == 413 and "1 MB" in answer["error"] and not reader.got and not left(taken)
    [(status, _)] = send(base, b"x" * 10**6 if told else parts(10**6))
    assert status == 200


def test_a_length_too_large_is_refused_before_a_byte_was_sent(desk):
    taken, base = desk
    port = int(base.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        head = f"POST /upload?name=x.ply HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: {base}\r\nContent-Length: 99999999999\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")
    assert not left(taken)


def test_what_is_wrong_with_the_file_is_said_without_the_servers_folders(desk, reader):
    taken, base = desk
    for error, words in {
        ValueError(f"{taken._folder}/1/garden.ply: expected a header"): "garden.ply: expected a header",
        MemoryError(): "Mem",
    }.items():
        reader.error = error
        [(status, answer)] = send(base, b"x")
        assert status == 422 and words in answer["error"] and not left(taken)
        taken._count = 0


def test_an_empty_file_is_refused(desk, reader):
    assert send(desk[1], b"")[0][0] == 400 and not reader.got and not left(desk[0])


def test_a_full_disk_is_said(desk, reader, monkeypatch):
    taken, base = desk
    monkeypatch.setattr(uploads, "SPARE", 1 << 60)
    [(status, answer)] = send(base, b"x")
    assert status == 507 and "no room" in answer["error"] and not reader.got and not left(taken)


def test_more_than_a_few_at_once_are_asked_to_wait(desk, reader):
    taken, base = desk
    reader.go_on.clear()
    threading.Timer(0.5, reader.go_on.set).start()
    answers = send(base, *[b"x"] * 6)
    assert sorted(status for status, _ in answers) == [200] * 4 + [503] * 2
    assert send(base, b"x")[0][0] == 200 and not left(taken)


@contextlib.contextmanager
def half_sent(base, close=True):
    """An upload of which the first part has arrived."""
    port = int(base.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = f"POST /upload?name=x.ply HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: {base}\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 300_000)
        yield connection


def arrived(taken):
    for _ in range(200):
        if any(path.is_file() and path.stat().st_size for path in taken._folder.rglob("*")):
            return
        time.sleep(0.02)
    raise AssertionError("nothing arrived")


def test_a_cancelled_upload_leaves_nothing(desk, reader):
    taken, base = desk
    with half_sent(base):
        arrived(taken)
    assert not left(taken) and not reader.got
    assert send(base, b"x")[0][0] == 200  # and it does not count any more


def test_an_upload_that_falls_silent_is_given_up(desk, reader, monkeypatch):
    taken, base = desk
    monkeypatch.setattr(uploads, "SILENCE", 0.3)
    with half_sent(base) as connection:
        arrived(taken)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")
    assert not left(taken) and not reader.got


def test_an_upload_does_not_hold_up_the_end(reader):
    taken = Uploads(10**6, reader)
    door = Door(listen("127.0.0.1", 0), 1, "", taken)
    door.start()
    with half_sent(f"http://127.0.0.1:{door.port}"):
        arrived(taken)
        began = time.monotonic()
        door.close()
        taken.close()
        assert time.monotonic() - began < 1 and not taken._folder.exists()


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}])
def test_another_site_sends_nothing(desk, reader, headers):
    async def status():
        async with ClientSession() as client, client.post(f"{desk[1]}/upload", data=b"x", headers={"Origin": desk[1], **headers}) as answer:
            return answer.status

    assert asyncio.run(status()) == 403 and not reader.got


def test_the_origin_must_be_told(desk, reader):
    async def status():
        async with ClientSession() as client, client.post(f"{desk[1]}/upload?name=x", data=b"x") as answer:
            return answer.status

    assert asyncio.run(status()) == 403 and not reader.got


def test_the_server_holds_no_file_in_memory(tmp_path):
    """300 MB pass through while the memory that is in use at once stays small."""

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    seen = []

    def read(path, page):
        future = Future()
        seen.append(path.stat().st_size)
        future.set_result("x")
        return future

    taken = Uploads(400 * 10**6, read)
    door = Door(listen("127.0.0.1", 0), 1, "", taken)
    door.start()
    base = f"http://127.0.0.1:{door.port}"
    send(base, parts(10**7, 10**6))
    before, highest, done = resident(), [0], threading.Event()

    def watch():
        while not done.wait(0.01):
            highest[0] = max(highest[0], resident())

    watching = threading.Thread(target=watch)
    watching.start()
    assert send(base, parts(3 * 10**8, 10**6))[0][0] == 200
    done.set()
    watching.join()
    door.close()
    taken.close()
    assert seen[-1] == 3 * 10**8 and highest[0] - before < 40 * 2**20


def test_a_viewer_may_take_no_files(tmp_path):
    with Viewer(Scene({"ball": Layer(coloured_ball(300))}), ViewerSettings(port=0, open=False, upload_limit_mb=0)) as viewer:

        async def status():
            origin = viewer.url.rstrip("/")
            async with ClientSession() as client, client.post(f"{origin}/upload?name=x", data=b"x", headers={"Origin": origin}) as answer:
                return answer.status

        assert asyncio.run(status()) in (404, 405)


# In the page


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    save(Scene({"twin": Layer(coloured_ball(200, seed=1))}), folder / "twin.ply")
    (folder / "broken <b>.ply").write_bytes((folder / "twin.ply").read_bytes()[:2000])
    (folder / "large.ply").write_bytes(bytes(1_200_000))
    (folder / "negative.onnx").write_bytes(tiny_onnx.mixed(-tiny_onnx.SAME, (1, 1, 1)))
    return folder


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=LAUNCHER, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


DROP = """(names) => {
    const data = new DataTransfer();
    for (const [name, bytes] of names) data.items.add(new File([Uint8Array.from(atob(bytes), (one) => one.charCodeAt())], name));
    const target = document.elementFromPoint(300, 200);
    for (const kind of ["dragenter", "dragover", "drop"])
        target.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.mark.xdist_group("browser")
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: expected Chromium at {CHROMIUM}")
def test_files_are_dropped_on_the_page_or_chosen(chromium, files, monkeypatch, tmp_path):
    from base64 import b64encode

    monkeypatch.setenv("SPLATVIEW_MODELS", str(tmp_path / "models"))
    with Viewer(Scene({"ball": Layer(coloured_ball(300))}), ViewerSettings(port=0, up="z", open=False, upload_limit_mb=1)) as viewer:
        tab = chromium.new_page(viewport={"width": 800, "height": 500})
        complaints = []
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(viewer.url)
        tab.wait_for_function("window.__splatviewFiles", timeout=60_000)
        rows = tab.locator("#splatview-files > div")

        def drop(*names):
            tab.evaluate(DROP, [[name, b64encode((files / name).read_bytes()).decode()] for name in names])

        drop("twin.ply", "broken <b>.ply")  # one after the other
        tab.wait_for_function("() => document.querySelectorAll('#splatview-files > div').length === 2")
        rows.filter(has_text="added as twin").wait_for()
        broken = rows.filter(has_text="broken <b>.ply")
        tab.wait_for_function("() => !/waiting|reading|MB of/.test(document.querySelector('#splatview-files').innerText)")
        assert "/tmp" not in broken.inner_text() and "expected" in broken.inner_text()
        assert list(viewer.scene.layers) == ["ball", "twin"]

        drop("negative.onnx")
        rows.filter(has_text="added as the network negative.onnx").wait_for()
        deadline = time.monotonic() + 20
        while not (viewer.sessions[0].view.shown == "style" and viewer.sessions[0].styling.figures[0].processed):
            assert time.monotonic() < deadline, "the page that sent it draws with it"
            tab.wait_for_timeout(30)
        assert list(viewer.scene.layers) == ["ball", "twin"]

        drop("large.ply")
        assert "larger than 1.0 MB" in rows.filter(has_text="large.ply").inner_text()

        [session] = viewer.sessions
        choosers = []
        tab.on("filechooser", lambda one: choosers.append(one))
        session._page.choose_file()
        deadline = time.monotonic() + 30
        while not choosers and time.monotonic() < deadline:
            tab.mouse.click(300, 200)  # a browser opens its window of files only soon after a click, before or after it was told to
            tab.wait_for_timeout(500)
        choosers[0].set_files(files / "twin.ply")
        rows.filter(has_text="added as twin 2").wait_for()
        assert list(viewer.scene.layers) == ["ball", "twin", "twin 2"]
        assert not list(viewer._uploads._folder.rglob("*.ply"))

        rows.filter(has_text="large.ply").get_by_role("button").click()
        assert rows.filter(has_text="large.ply").count() == 0
        assert not complaints
        tab.close()


@pytest.mark.xdist_group("browser")
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: expected Chromium at {CHROMIUM}")
def test_a_link_with_the_token_works_from_another_site(chromium):
    """Browsers keep a strict cookie back when another site began the visit: the page must come all the same."""
    with Viewer(Scene({"ball": Layer(coloured_ball(300))}), ViewerSettings(host="0.0.0.0", port=0, open=False)) as viewer:
        target = f"http://127.0.0.1:{viewer._door.port}/?token={viewer._door.token}"
        tab = chromium.new_page()
        tab.route("http://mail.example/**", lambda route: route.fulfill(body=f"<a href='{target}'>look</a>", content_type="text/html"))
        tab.goto("http://mail.example/")
        tab.click("a")
        tab.wait_for_function("window.__splatview", timeout=60_000)
        assert "token" not in tab.url
        tab.close()
