"""Who may speak to a page of ours.

Any web page may open a websocket to a server on the reader's own machine, so Host and Origin are checked on every
address, also on loopback; on any other address a token is asked for as well.
"""

from __future__ import annotations

import errno
import hmac
import ipaddress
import os
import re
import secrets
import socket
import sys
import webbrowser
from functools import cached_property

from aiohttp import web

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::\d{1,5})?")


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


def announce(url: str, opened: bool) -> None:
    """Tell that the page is ready, in one line that scripts wait for, and open it if that is wanted and there is a display."""
    print(f"splatview is ready: {url}", flush=True)
    if opened and (sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)):
        webbrowser.open(url)  # without a display it would be a text browser, in the terminal


class Guard:
    """Looks at every request to an application on `listener`, whose page is at `page`; `secure`: it speaks https."""

    def __init__(self, listener: socket.socket, page: str = "/", secure: bool = False) -> None:
        self.host: str = listener.getsockname()[0]
        self.port: int = listener.getsockname()[1]
        self.token = None if is_loopback(self.host) else secrets.token_urlsafe(24)
        self.cookie = f"splatview-{self.port}"  # of the port, because cookies are not: two viewers on one machine would take each other's
        self._page, self._secure = page, secure

    @property
    def url(self) -> str:
        """The address to open, with the token if one is asked for."""
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        place = f"{'https' if self._secure else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}/"
        return place if self.token is None else f"{place}?token={self.token}"

    @web.middleware
    async def middleware(self, request: web.Request, handler) -> web.StreamResponse:
        try:
            self._check(request)
            answer = await handler(request)
        except web.HTTPException as raised:  # refusals and redirects are answers, too
            answer = raised
        answer.headers.update({"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"})
        if isinstance(answer, web.HTTPException):
            raise answer
        return answer

    def socket_at(self, request: web.Request) -> str:
        """Where the page's own websocket is, for its content policy."""
        return f"{'wss' if self._secure else 'ws'}://{request.host}"

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
            answer = web.HTTPOk(content_type="text/html", text=f"<meta http-equiv=refresh content='0;url={self._page}'>")
        else:
            answer = web.HTTPFound(self._page)
        answer.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict", secure=self._secure)
        return answer

    def _knows_host(self, host: str) -> bool:
        """Names of this machine: a foreign name that was made to resolve to it is none of them; an address cannot be faked so."""
        if self.token is None:
            return is_loopback(host)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host.lower() in self._names
        return True

    @cached_property
    def _names(self) -> frozenset[str]:
        """Those of this machine; asked for once, since a name server that does not answer would hold up all requests."""
        name = socket.gethostname().lower()
        return frozenset({"localhost", name, f"{name}.local", socket.getfqdn().lower()})
