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
import re
import secrets
import socket
import ssl
import threading

from aiohttp import ClientError, ClientSession, TCPConnector, web

from splatview.viewer.downloads import Downloads
from splatview.viewer.passage import GRACE, STALLED, Passage
from splatview.viewer.uploads import Uploads

SECRET_HEADER = "X-Splatview-Door"
PAGE = "/?fixedDpr=1&hideViserLogo"  # fixedDpr: the page would lower its resolution by itself when it is slow
PAGE_SWITCHES = {"websocket", "playbackPath"}  # would make the page take orders from somebody else's server
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::\d{1,5})?")
MESSAGE_LIMIT = 8 * 2**20  # bytes that a page may send at once


class PortTaken(OSError):
    """The port of the page belongs to another program."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; PortTaken if the port is in use, OSError if the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6())
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


def same(given: str, wanted: str) -> bool:
    """Whether two secrets are equal, in a time that tells nothing; `given` may be any text that a header holds."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


class Door:
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
        self.host: str = listener.getsockname()[0]
        self.port: int = listener.getsockname()[1]
        self.token = None if is_loopback(self.host) else secrets.token_urlsafe(24)
        self.cookie = f"splatview-{self.port}"  # of the port, because cookies are not: two viewers on one machine would take each other's
        self._tls = tls
        self._listener = listener
        self._inner = f"127.0.0.1:{inner_port}"
        self._secret = secret
        self._uploads = uploads
        self._downloads = downloads
        self._pages: set[Passage] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="splatview-door", daemon=True)
        self._stopped = asyncio.Event()
        self._ready = threading.Event()
        self._failure: BaseException | None = None

    @property
    def url(self) -> str:
        """The address to open, with the token if one is asked for."""
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        place = f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}/"
        return place if self.token is None else f"{place}?token={self.token}"

    def start(self) -> None:
        """Begin to serve; returns when requests are answered."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Close every connection and free the port."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()  # whoever waits for it is not left waiting by a failure
            self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(middlewares=[self._guard])
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

    @web.middleware
    async def _guard(self, request: web.Request, handler) -> web.StreamResponse:
        try:
            self._check(request)
            answer = await handler(request)
        except web.HTTPException as raised:  # refusals and redirects are answers, too
            answer = raised
        answer.headers.update({"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"})
        if isinstance(answer, web.HTTPException):
            raise answer
        return answer

    def _check(self, request: web.Request) -> None:
        """Raise the answer that a stranger gets."""
        hosts, origins = request.headers.getall("Host", []), request.headers.getall("Origin", [])
        host = HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if host is None or not request.raw_path.startswith("/") or not self._knows_host(host[1].strip("[]")):
            raise web.HTTPForbidden(text="This address is not one of splatview's.")
        if origins and origins != [f"{request.scheme}://{hosts[0]}"]:
            raise web.HTTPForbidden(text="Another site may not talk to splatview.")
        if request.method == "POST" and not origins:  # every browser tells it
            raise web.HTTPForbidden(text="Expected an Origin header.")
        if self.token is None or same(request.cookies.get(self.cookie, ""), self.token):
            return
        if request.method == "GET" and request.path == "/" and same(request.query.get("token", ""), self.token):
            raise self._let_in(request)
        raise web.HTTPForbidden(
            text="Open the address that splatview printed when it was started: it ends with a token, a new one with every start."
        )

    def _let_in(self, request: web.Request) -> web.HTTPException:
        """To the page with a cookie, and without the token in the address bar."""
        assert self.token is not None
        # Where another site began the visit (a link in a web mail), a strict cookie would not go along with a redirect.
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            answer = web.HTTPOk(content_type="text/html", text=f"<meta http-equiv=refresh content='0;url={PAGE}'>")
        else:
            answer = web.HTTPFound(PAGE)
        answer.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict", secure=self._tls is not None)
        return answer

    def _knows_host(self, host: str) -> bool:
        """Names of this machine: a foreign name that was made to resolve to it is none of them; an address cannot be faked so."""
        if self.token is None:
            return is_loopback(host)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            name = socket.gethostname().lower()
            return host.lower() in {"localhost", name, f"{name}.local", socket.getfqdn().lower()}
        return True

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
        socket_here = f"{'wss' if self._tls else 'ws'}://{request.host}"
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
