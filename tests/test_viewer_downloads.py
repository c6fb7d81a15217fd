"""Files that wait at the door until a page fetches them."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest
from edit_visits import edited
from test_viewer import coloured_ball
from test_viewer_door import asked, cookie

from splatview import Scene
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.downloads import WAITING, Downloads


@pytest.fixture
def viewer(tmp_path):
    with edited(tmp_path) as running:
        yield running


@pytest.fixture
def offered(viewer):
    path = viewer.studio.downloads.place("../a \r\nb.ply")
    path.write_bytes(b"x" * 3_000_000)
    return viewer.studio.downloads.offer(path), path


def get(viewer, address, *more, method="GET"):
    return asked(viewer._door.port, f"{method} {address} HTTP/1.1", f"Host: 127.0.0.1:{viewer._door.port}", *more)


def test_a_file_is_fetched_once(viewer, offered):
    address, path = offered
    for method in ("HEAD", "POST", "PUT", "DELETE"):  # none of them takes it
        assert get(viewer, address, f"Origin: {viewer.url.rstrip('/')}", method=method)[0] in (404, 405)
    status, head = get(viewer, address)
    assert status == 200 and "Content-Length: 3000000" in head and "application/octet-stream" in head and "no-store" in head
    assert "filename*=UTF-8''a%20b.ply" in head and "sandbox" in head
    assert not path.exists()
    assert get(viewer, address)[0] == 404


def test_a_page_that_takes_nothing_is_given_up(viewer, monkeypatch):
    monkeypatch.setattr("splatview.viewer.downloads.STALLED", 0.3)
    path = viewer.studio.downloads.place("large.ply")
    with path.open("wb") as file:
        file.truncate(200_000_000)
    address = viewer.studio.downloads.offer(path)
    with socket.create_connection(("127.0.0.1", viewer._door.port), timeout=10) as connection:
        connection.sendall(f"GET {address} HTTP/1.1\r\nHost: 127.0.0.1:{viewer._door.port}\r\n\r\n".encode())
        time.sleep(2.0)
        taken = 0
        with contextlib.suppress(ConnectionResetError):
            while more := connection.recv(1 << 20):
                taken += len(more)
    assert taken < 100_000_000


@pytest.mark.parametrize("more", ["Origin: http://evil.example", "Origin: null", "Host: evil.example"])
def test_another_site_fetches_nothing_and_takes_nothing_away(viewer, offered, more):
    address, path = offered
    assert get(viewer, address, more)[0] in (400, 403)
    assert path.exists() and get(viewer, address, f"Origin: {viewer.url.rstrip('/')}")[0] == 200


@pytest.mark.parametrize("guess", ["", "x", "..", "../..", "%2e%2e%2f", "{id}x", "{id}/", "{id}/../{id}x", "a" * 5000])
def test_no_other_id_fetches_anything(viewer, offered, guess):
    address, path = offered
    number = address.rsplit("/", 1)[-1]
    assert get(viewer, f"/download/{guess.format(id=number)}")[0] in (400, 404)
    assert path.exists()


def test_without_the_token_nothing_is_fetched():
    with Viewer(Scene({"ball": Layer(coloured_ball(9))}), ViewerSettings(host="0.0.0.0", port=0, open=False)) as abroad:
        path = abroad.studio.downloads.place("a.ply")
        path.write_bytes(b"x")
        address = abroad.studio.downloads.offer(path)
        assert get(abroad, address)[0] == 403
        assert get(abroad, f"{address}?token={abroad._door.token}")[0] == 403
        assert get(abroad, address, cookie(abroad, "guessed"))[0] == 403
        assert path.exists() and get(abroad, address, cookie(abroad))[0] == 200
        folder = abroad.studio.downloads._folder
    assert not folder.exists()


def test_files_that_nobody_fetches_give_way(monkeypatch):
    downloads = Downloads()
    try:
        paths = []
        for number in range(WAITING + 3):
            paths.append(downloads.place(f"{number}.ply"))
            paths[-1].write_bytes(b"x")
            downloads.offer(paths[-1])
        assert [path.exists() for path in paths] == [False] * 3 + [True] * WAITING
        assert len({path.parent for path in paths}) == len(paths) and paths[-1].parent.stat().st_mode & 0o077 == 0
        now = time.monotonic()
        monkeypatch.setattr("splatview.viewer.downloads.time.monotonic", lambda: now + 3600)
        last = downloads.place("last.ply")
        last.write_bytes(b"x")
        downloads.offer(last)
        assert [path for path in (*paths, last) if path.exists()] == [last]
    finally:
        downloads.close()
