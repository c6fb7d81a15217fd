"""The page of a stream: newest pictures for each page at its own pace, figures, and nothing for strangers."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
import time

import cv2
import numpy as np
import pytest
from aiohttp import ClientSession, CookieJar, WSMsgType, WSServerHandshakeError
from test_viewer_door import certificate
from tiny_videos import psnr, smooth

from splatview.outputs.guard import listen
from splatview.outputs.http import Window
from splatview.outputs.tls import context

FIGURES = {"counts": {"captured": 3}, "stages": [{"name": "style", "p50": 1.0, "p95": 2.0}], "error": "style: it broke"}


@pytest.fixture
def window():
    window = Window(listen("127.0.0.1", 0), lambda: FIGURES)
    window.start()
    yield window
    window.close()


def decoded(message):
    """The stylised picture and the original [H, W, 3] of a message."""
    (length,) = struct.unpack_from("<I", message)
    jpegs = message[4 : 4 + length], message[4 + length :]
    return tuple(cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB) for jpeg in jpegs)


async def picture(page, draw=True):
    """The next picture's message; the page says that it has drawn it."""
    async with asyncio.timeout(5):
        while True:
            message = await page.receive()
            if message.type is WSMsgType.BINARY:
                if draw:
                    await page.send_str("drawn")
                return message.data


def flat(level):
    return np.full((36, 64, 3), level, np.uint8)


def level_of(message):
    return round(float(decoded(message)[0].mean()))


def test_the_page_shows_the_picture_and_the_original_and_tells_the_figures(window):
    async def visit():
        async with ClientSession() as client:
            async with client.get(window.url) as answer:
                assert answer.status == 200 and "<canvas" in await answer.text()
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            async with client.ws_connect(f"{window.url}pictures", origin=window.url.rstrip("/")) as page:
                first = await page.receive(5)
                assert json.loads(first.data) == FIGURES
                window.show(smooth(0), smooth(9))
                styled, original = decoded(await picture(page))
                assert psnr(styled, smooth(0)) > 32 and psnr(original, smooth(9)) > 32
            async with client.ws_connect(f"{window.url}pictures") as late:  # it is shown what there is
                assert psnr(decoded(await picture(late))[0], smooth(0)) > 32

    asyncio.run(visit())
    assert (window.shown, window.dropped) == (1, 0)


def test_a_slow_page_gets_the_newest_and_holds_nobody_up(window):
    async def visit():
        async with ClientSession() as client:
            places = [client.ws_connect(f"{window.url}pictures") for _ in range(2)]
            async with places[0] as quick, places[1] as slow:
                window.show(flat(10), flat(0))
                assert level_of(await picture(slow, draw=False)) == level_of(await picture(quick)) == 10
                for level in range(20, 120, 10):
                    window.show(flat(level), flat(0))
                    assert level_of(await picture(quick)) == pytest.approx(level, abs=1)
                await slow.send_str("drawn")
                assert level_of(await picture(slow)) == pytest.approx(110, abs=1), "none of those in between"

    asyncio.run(visit())
    assert (window.shown, window.dropped) == (11, 0)


def test_pictures_that_no_page_was_sent_are_dropped(window):
    for level in range(5):
        window.show(flat(level), flat(0))

    async def visit():
        async with ClientSession() as client, client.ws_connect(f"{window.url}pictures") as page:
            await picture(page)

    asyncio.run(visit())
    time.sleep(0.05)
    assert (window.shown, window.dropped) == (1, 4)


def test_strangers_get_nothing(window):
    port = window.url.rsplit(":", 1)[1].rstrip("/")

    async def visit():
        async with ClientSession() as client:
            for path in ("", "pictures"):
                for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": f"http://localhost:{port}"}):
                    async with client.get(window.url + path, headers=headers) as answer:
                        assert answer.status == 403, (path, headers)
            with pytest.raises(WSServerHandshakeError):
                await client.ws_connect(f"{window.url}pictures", origin="http://evil.example")
            async with client.get(f"{window.url}pictures") as answer:
                assert answer.status == 400  # no handshake

    asyncio.run(visit())


def test_the_names_of_this_machine_are_asked_for_once(monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getfqdn", lambda: asked.append(1) or "stage.example")
    window = Window(listen("0.0.0.0", 0))
    window.start()

    async def visit():
        async with ClientSession() as client:
            for name, words in (
                ("stage.example", "Open the address"),
                ("evil.example", "not one of"),
                ("stage.example", "Open the address"),
            ):
                async with client.get(f"http://127.0.0.1:{window._guard.port}/", headers={"Host": name}) as answer:
                    assert answer.status == 403 and words in await answer.text()

    asyncio.run(visit())
    window.close()
    assert len(asked) == 1


def test_beyond_this_machine_a_token_is_asked_for():
    window = Window(listen("0.0.0.0", 0))
    window.start()
    base = f"http://127.0.0.1:{window._guard.port}/"

    async def visit():
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
            for path in ("", "pictures", "pictures?token=" + window._guard.token, "?token=wrong"):
                async with client.get(base + path) as answer:
                    assert answer.status == 403, path
            async with client.get(base + window.url.rsplit("/", 1)[1]) as answer:
                assert answer.status == 200 and "token" not in str(answer.url)
            async with client.ws_connect(f"{base}pictures") as page:
                window.show(flat(1), flat(2))
                assert await picture(page)

    asyncio.run(visit())
    window.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_over_https_it_is_the_same_page(tmp_path, host):
    cert, key = certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=cert)
    window = Window(listen(host, 0), tls=context(cert, key))
    window.start()
    base, entry = f"https://localhost:{window._guard.port}/", window.url.rpartition("/")[2]
    assert window.url.startswith("https://") and bool(entry) == (host == "0.0.0.0")

    async def visit():
        async with ClientSession() as client:
            async with client.get(base + entry, ssl=trusting) as answer:
                assert answer.status == 200 and base.replace("https", "wss").rstrip("/") in answer.headers["Content-Security-Policy"]
            async with client.ws_connect(f"{base}pictures", origin=base.rstrip("/"), ssl=trusting) as page:
                window.show(smooth(0), smooth(9))
                assert psnr(decoded(await picture(page))[0], smooth(0)) > 32
            with pytest.raises(WSServerHandshakeError, match="403"):
                await client.ws_connect(f"{base}pictures", origin=base.rstrip("/").replace("https", "http"), ssl=trusting)

    asyncio.run(visit())
    window.close()


def test_it_ends_at_once_whoever_is_there(window):
    """A page that reads nothing, one that draws nothing, and pictures that still come."""
    port = window._guard.port
    with socket.create_connection(("127.0.0.1", port)) as deaf:
        handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
        deaf.sendall(f"GET /pictures HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{handshake}\r\n\r\n".encode())
        assert b"101" in deaf.recv(64)
        going = threading.Event()

        def feed():
            noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
            while not going.wait(0.01):
                window.show(noise, noise)

        feeder = threading.Thread(target=feed)
        feeder.start()
        time.sleep(0.3)
        began = time.monotonic()
        window.close()
        assert time.monotonic() - began < 3
        going.set()
        feeder.join()
        with socket.create_server(("127.0.0.1", port)):
            pass  # the port is free
