"""The front door: the one port that people reach, with viser behind it.

Any web page may open a websocket to a server on the reader's own machine, so Host and Origin are checked on every
address, also on loopback; on any other address a token is asked for as well. viser itself listens on a random loopback
port and answers only to requests that carry the secret which the door adds.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import ipaddress
import secrets
import socket
import threading

from aiohttp import ClientSession, TCPConnector, WSMsgType, web

SECRET_HEADER = "X-Splatview-Door"
TOKEN_COOKIE = "splatview"
PAGE = "/?fixedDpr=1&hideViserLogo"  # fixedDpr: the page would lower its resolution by itself when it is slow
PAGE_SWITCHES = {"websocket", "playbackPath"}  # would make the page take orders from somebody else's server
MESSAGE_LIMIT = 50 * 2**20  # bytes that a page may send at once, as viser has it


class PortTaken(OSError):
    """The port of the page belongs to another program."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; PortTaken if the port is in use, OSError if the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} on {host} is taken by another program: choose another with --port, or 0 for any") from error
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Door:
    """Serves the page and its websocket on `listener`, from viser on loopback port `inner_port`."""

    def __init__(self, listener: socket.socket, inner_port: int, secret: str) -> None:
        self.host: str = listener.getsockname()[0]
        self.port: int = listener.getsockname()[1]
        self.token = None if is_loopback(self.host) else secrets.token_urlsafe(24)
        self._listener = listener
        self._inner = f"127.0.0.1:{inner_port}"
        self._secret = secret
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="splatview-door", daemon=True)
        self._stopped = asyncio.Event()
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        """The address to open, with the token if one is asked for."""
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        place = f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"
        return place if self.token is None else f"{place}?token={self.token}"

    def start(self) -> None:
        """Begin to serve; returns when requests are answered."""
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Close every connection and free the port."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._ready.set()  # whoever waits for it is not left waiting by a failure
            self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._page)
        app.router.add_get("/{path:.+}", self._file)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        async with ClientSession(connector=TCPConnector(limit=0), headers={SECRET_HEADER: self._secret}, auto_decompress=False) as inner:
            self._http = inner
            self._sockets: set[web.WebSocketResponse] = set()
            await web.SockSite(runner, self._listener).start()
            self._ready.set()
            await self._stopped.wait()
            for down in list(self._sockets):
                await down.close()
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler) -> web.StreamResponse:
        if not self._knows_host(request.url.host or ""):
            raise web.HTTPForbidden(text="This address is not one of splatview's.")
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"{request.scheme}://{request.host}":
            raise web.HTTPForbidden(text="Another site may not talk to splatview.")
        if self.token is not None and not _same(request.cookies.get(TOKEN_COOKIE, ""), self.token):
            if request.path == "/" and _same(request.query.get("token", ""), self.token):
                answer = web.HTTPFound(PAGE)
                answer.set_cookie(TOKEN_COOKIE, self.token, httponly=True, samesite="Strict")
                raise answer
            raise web.HTTPForbidden(text="Open the address that splatview printed: it ends with a token.")
        return await handler(request)

    def _knows_host(self, host: str) -> bool:
        """Names of this machine: a foreign name that was made to resolve to it is none of them; an address cannot be faked so."""
        if self.token is None:
            return is_loopback(host)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host.lower() in {"localhost", socket.gethostname().lower(), socket.getfqdn().lower()}
        return True

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        if "fixedDpr" not in request.query or PAGE_SWITCHES & set(request.query):
            raise web.HTTPFound(PAGE)
        return await self._file(request)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        accepted = {"Accept-Encoding": request.headers.get("Accept-Encoding", "identity")}
        async with self._http.get(f"http://{self._inner}{request.path}", headers=accepted) as answer:
            headers = {name: answer.headers[name] for name in ("Content-Type", "Content-Encoding") if name in answer.headers}
            # The page loads nothing from anywhere else, and nobody else's page holds it in a frame.
            headers["Content-Security-Policy"] = (
                f"connect-src 'self' ws://{request.host} blob: data:; frame-ancestors 'self'; object-src 'none'; base-uri 'none'"
            )
            return web.Response(body=await answer.read(), status=answer.status, headers=headers)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        asked = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if name.strip()]
        async with self._http.ws_connect(f"ws://{self._inner}/", protocols=asked, max_msg_size=0, compress=0) as up:
            down = web.WebSocketResponse(protocols=asked, max_msg_size=MESSAGE_LIMIT, compress=False, heartbeat=30)
            await down.prepare(request)
            self._sockets.add(down)
            pumps = [asyncio.ensure_future(_pump(up, down)), asyncio.ensure_future(_pump(down, up))]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(up.close(), down.close(code=up.close_code or 1000), *pumps, return_exceptions=True)
            self._sockets.discard(down)
            return down


async def _pump(source, target) -> None:
    """Pass binary messages on until one side closes."""
    async for message in source:
        if message.type is WSMsgType.BINARY:
            await target.send_bytes(message.data)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
