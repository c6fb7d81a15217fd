"""A page that shows the newest picture of a stream, the original beside it, and what became of the frames.

Each page has a slot of its own: it is sent the newest picture when it has drawn the one before, so a slow one holds nobody up.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from splatview.arrays import Bytes
from splatview.outputs.guard import Guard
from splatview.outputs.images import encode_jpeg
from splatview.outputs.serving import Serving

PAGE = Path(__file__).with_name("window.html")
QUALITY = 88  # of JPEG
TELL_EVERY = 0.5  # seconds between two reports
STALLED = 20.0  # seconds after which a page that takes nothing is dropped
GRACE = 0.3  # seconds in which pages may say goodbye
LONGEST = 64  # bytes that a page says at once

Figures = Callable[[], Mapping[str, Any]]


class Window(Serving):
    """Serves the page on `listener`, over https if `tls` is given.

    `figures` is what is told beside the picture: "counts", "stages", "error" (see window.html).
    """

    def __init__(self, listener: socket.socket, figures: Figures = dict, tls: ssl.SSLContext | None = None) -> None:
        self.figures = figures
        self.shown = 0  # pictures that a page has drawn
        self.dropped = 0  # that no page was sent: a newer one came before
        super().__init__("splatview-window")
        self._guard = Guard(listener, secure=tls is not None)
        self._listener, self._tls = listener, tls
        self._newest: _Sent | None = None
        self._pages: set[_Page] = set()

    @property
    def url(self) -> str:
        """The address to open, with the token if one is asked for."""
        return self._guard.url

    def show(self, picture: Bytes, original: Bytes) -> None:
        """Show `picture` [H, W, 3], and what it was made of, of its size, from now on. For one thread, which is not kept waiting."""
        sent = _Sent(encode_jpeg(picture, QUALITY), encode_jpeg(original, QUALITY))
        with suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(self._put, sent)

    def _put(self, sent: _Sent) -> None:
        self.dropped += self._newest is not None and not self._newest.taken
        self._newest = sent
        for page in self._pages:
            page.fresh.set()

    async def _serve(self) -> None:
        app = web.Application(middlewares=[self._guard.middleware])
        app.router.add_get("/", self._page)
        app.router.add_get("/pictures", self._pictures)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE)
        await runner.setup()
        await web.SockSite(runner, self._listener, ssl_context=self._tls).start()
        self._ready.set()
        await self._stopped.wait()
        await asyncio.gather(*(page.end() for page in self._pages), runner.cleanup())

    async def _page(self, request: web.Request) -> web.Response:
        policy = (
            f"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:; "
            f"connect-src {self._guard.socket_at(request)}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        )
        return web.Response(text=PAGE.read_text("utf-8"), content_type="text/html", headers={"Content-Security-Policy": policy})

    async def _pictures(self, request: web.Request) -> web.StreamResponse:
        """The websocket of a page: it is told pictures (binary) and figures (text), and says "drawn" after each picture."""
        channel = web.WebSocketResponse(max_msg_size=LONGEST, compress=False, heartbeat=STALLED)
        if not channel.can_prepare(request):
            raise web.HTTPBadRequest(text="Expected a websocket handshake.")
        await channel.prepare(request)
        page = _Page(channel, request.transport)
        self._pages.add(page)
        work = [asyncio.ensure_future(one) for one in (self._send(page), self._tell(page))]
        try:
            async for message in channel:
                if message.type is WSMsgType.TEXT and page.showing is not None:
                    self.shown += not page.showing.seen
                    page.showing.seen = True
                    page.drawn.set()
        finally:
            self._pages.discard(page)
            for one in work:
                one.cancel()
            await asyncio.gather(*work, return_exceptions=True)
        return channel

    async def _send(self, page: _Page) -> None:
        """Send one picture after another, each when the page has drawn the one before."""
        with suppress(ConnectionError):
            while True:
                while self._newest is None or self._newest is page.showing:
                    page.fresh.clear()
                    await page.fresh.wait()
                page.showing = self._newest
                page.showing.taken = True
                page.drawn.clear()
                try:
                    async with asyncio.timeout(STALLED):
                        await page.channel.send_bytes(page.showing.message)
                        await page.drawn.wait()
                except TimeoutError:
                    page.abort()
                    return

    async def _tell(self, page: _Page) -> None:
        """Send the figures from time to time."""
        with suppress(ConnectionError):
            while True:
                await page.channel.send_str(json.dumps(self.figures()))
                await asyncio.sleep(TELL_EVERY)


class _Sent:
    """A picture on its way."""

    def __init__(self, picture: bytes, original: bytes) -> None:
        self.message = struct.pack("<I", len(picture)) + picture + original
        self.taken = self.seen = False  # by any page


class _Page:
    """One page that is open."""

    def __init__(self, channel: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self.channel = channel
        self.showing: _Sent | None = None
        self.fresh, self.drawn = asyncio.Event(), asyncio.Event()
        self._transport = transport

    async def end(self) -> None:
        """Close: politely if it takes what it is sent, at once if not."""
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(GRACE):
                await self.channel.close(code=1001)
        self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
