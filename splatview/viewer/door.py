"""The front door: the one port that people reach, with viser behind it.

viser itself listens on a random loopback port and answers only to requests that carry the secret which the door adds.
"""

from __future__ import annotations

import asyncio
import socket
import ssl

from aiohttp import ClientError, ClientSession, TCPConnector, web

from splatview.outputs.guard import Guard
from splatview.outputs.serving import Serving
from splatview.viewer.downloads import Downloads
from splatview.viewer.passage import GRACE, STALLED, Passage
from splatview.viewer.uploads import Uploads

SECRET_HEADER = "X-Splatview-Door"
PAGE = "/?fixedDpr=1&hideViserLogo"  # fixedDpr: the page would lower its resolution by itself when it is slow
PAGE_SWITCHES = {"websocket", "playbackPath"}  # would make the page take orders from somebody else's server
MESSAGE_LIMIT = 8 * 2**20  # bytes that a page may send at once


class Door(Serving):
    """Serves the page, its websocket, uploads and downloads on `listener`, from viser on loopback port `inner_port`."""

    def __init__(
        self,
        listener: socket.socket,
        inner_port: int,
        secret: str,
        uploads: Uploads | None = None,
        tls: ssl.SSLContext | None = None,
        downloads: Downloads | None = None,
    ) -> None:
        super().__init__("splatview-door")
        self._guard = Guard(listener, PAGE, tls is not None)
        self._tls = tls
        self._listener = listener
        self._inner = f"127.0.0.1:{inner_port}"
        self._secret = secret
        self._uploads = uploads
        self._downloads = downloads
        self._pages: set[Passage] = set()

    @property
    def url(self) -> str:
        """The address to open, with the token if one is asked for."""
        return self._guard.url

    @property
    def port(self) -> int:
        return self._guard.port

    @property
    def token(self) -> str | None:
        """What strangers lack; None: only this machine reaches the page."""
        return self._guard.token

    async def _serve(self) -> None:
        app = web.Application(middlewares=[self._guard.middleware])
        app.router.add_get("/", self._page)
        if self._uploads is not None:
            app.router.add_post("/upload", self._uploads.receive)
        if self._downloads is not None:
            app.router.add_get("/download/{id}", self._downloads.send, allow_head=False)  # which would take the file from its page
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE, lingering_time=2.0)
        await runner.setup()
        async with ClientSession(connector=TCPConnector(limit=0), headers={SECRET_HEADER: self._secret}, auto_decompress=False) as inner:
            self._http = inner
            await web.SockSite(runner, self._listener, ssl_context=self._tls).start()
            self._ready.set()
            await self._stopped.wait()
            await asyncio.gather(*(page.end(1001) for page in self._pages), runner.cleanup())

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        if "fixedDpr" not in request.query or (PAGE_SWITCHES | {"token"}) & set(request.query):
            raise web.HTTPFound(PAGE)
        accepted = {"Accept-Encoding": request.headers.get("Accept-Encoding", "identity")}
        try:
            async with self._http.get(f"http://{self._inner}/", headers=accepted) as answer:
                headers = {name: answer.headers[name] for name in ("Content-Type", "Content-Encoding") if name in answer.headers}
                body, status = await answer.read(), answer.status
        except ClientError:
            raise web.HTTPBadGateway(text="The viewer is not answering.") from None
        # The page is one file. It loads nothing from anywhere else, and nobody else's page holds it in a frame.
        socket_here = self._guard.socket_at(request)
        headers["Content-Security-Policy"] = (
            f"default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; connect-src 'self' {socket_here} blob: data:; "
            "frame-ancestors 'self'; object-src 'none'; base-uri 'none'; form-action 'none'"
        )
        return web.Response(body=body, status=status, headers=headers)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        asked = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if name.strip()]
        down = web.WebSocketResponse(protocols=asked, max_msg_size=MESSAGE_LIMIT, compress=False, heartbeat=STALLED)
        if not down.can_prepare(request):
            raise web.HTTPBadRequest(text="Expected a websocket handshake.")
        try:
            async with self._http.ws_connect(f"ws://{self._inner}/", protocols=asked, max_msg_size=0, compress=0) as up:
                await down.prepare(request)
                page = Passage(down, request.transport)
                self._pages.add(page)
                try:
                    await page.carry(up)
                finally:
                    self._pages.discard(page)
        except ClientError:
            raise web.HTTPBadGateway(text="The viewer is not answering.") from None
        return down
