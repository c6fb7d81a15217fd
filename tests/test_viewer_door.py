"""The front door against strangers: with a real client, and on a bare socket where a library would tidy the request up."""

import asyncio
import contextlib
import http.client
import itertools
import re
import socket
import ssl
import subprocess

import pytest
from aiohttp import ClientSession, CookieJar, WSServerHandshakeError
from scripted_client import PROTOCOL
from test_viewer import coloured_ball

from splatview import Scene
from splatview.cli import main
from splatview.outputs.guard import listen
from splatview.outputs.tls import context
from splatview.scene import Layer
from splatview.viewer import Viewer, ViewerSettings
from splatview.viewer.page import SECRET_HEADER


@pytest.fixture(scope="module")
def scene():
    return Scene({"ball": Layer(coloured_ball(300))})


@pytest.fixture(scope="module")
def at_home(scene):
    """A viewer for this machine alone."""
    with Viewer(scene, ViewerSettings(port=0, open=False)) as viewer:
        yield viewer


@pytest.fixture(scope="module")
def abroad(scene):
    """A viewer that asks for its token."""
    with Viewer(scene, ViewerSettings(host="0.0.0.0", port=0, open=False)) as viewer:
        yield viewer


def asked(port, *lines, host="127.0.0.1", body=b""):
    """The status and the head of the answer to a request that consists of `lines`, as they are."""
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\r\n\r\n" + body)
        head = b""
        with contextlib.suppress(ConnectionResetError):
            while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
                head += more
    return (int(head.split()[1]) if head else 0), head.split(b"\r\n\r\n")[0].decode("latin-1")


def page(port, *more, path="/?fixedDpr=1", host=None, method="GET"):
    return asked(port, f"{method} {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{port}'}", *more)[0]


def handshake(port, *more, path="/", host=None):
    lines = "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    return page(port, *lines, f"Sec-WebSocket-Protocol: {PROTOCOL}", *more, path=path, host=host)


def cookie(viewer, token=None, port=None):
    return b"Cookie: splatview-%d=" % (port or viewer._door.port) + (token if token is not None else viewer._door.token).encode("latin-1")


# The token


def bad_tokens(token):
    return {
        "none": "",
        "guessed": "A" * len(token),
        "shortened": token[:-1],
        "lengthened": token + "A",
        "in capitals": token.swapcase(),
        "not ASCII": "tök€n",
        "no text": "\udcff\udcfe",
    }


def test_the_token_opens_page_and_websocket_and_leaves_the_address_bar(abroad):
    base = f"http://127.0.0.1:{abroad._door.port}/"

    async def visit():
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:  # of an address, not a name
            async with client.get(f"{base}?token={abroad._door.token}") as answer:
                assert answer.status == 200 and "<html" in await answer.text()
                assert "token" not in str(answer.url) and "fixedDpr" in str(answer.url)
            for again in (
                "",
                f"?token={abroad._door.token}&fixedDpr=1",
                "?token=wrong&fixedDpr=1",
            ):  # with the cookie: a page from the history
                async with client.get(base + again) as answer:
                    assert answer.status == 200 and "token" not in str(answer.url)
            async with client.ws_connect(base, protocols=[PROTOCOL], origin=base.rstrip("/")) as opened:
                assert (await opened.receive(5)).type.name == "BINARY"

    asyncio.run(visit())


@pytest.mark.parametrize("kind", bad_tokens("x" * 32))
def test_without_the_token_nothing_answers(abroad, kind):
    bad = bad_tokens(abroad._door.token)[kind]
    port = abroad._door.port
    raw = bad.encode("utf-8", "surrogateescape")
    quoted = "".join(f"%{byte:02x}" for byte in raw)
    assert page(port, b"Cookie: splatview-%d=" % port + raw) == 403
    assert handshake(port, b"Cookie: splatview-%d=" % port + raw) == 403
    assert page(port, path=f"/?token={quoted}") == 403
    assert handshake(port, path=f"/?token={quoted}") == 403
    assert asked(port, b"GET /?token=" + raw + b" HTTP/1.1", f"Host: 127.0.0.1:{port}")[0] in (400, 403)
    assert asked(port, f"POST /upload?name=x&token={quoted} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Length: 0")[0] == 403


def test_the_token_does_not_count_elsewhere(abroad):
    """Nor does the cookie under another viewer's name; in the address it opens the page alone, which sets the cookie."""
    port, token = abroad._door.port, abroad._door.token
    assert page(port, cookie(abroad)) == 200
    assert page(port, cookie(abroad, port=port + 1)) == 403
    assert page(port, b"Cookie: splatview=" + token.encode()) == 403
    assert page(port, path=f"/index.html?token={token}") == 403
    assert page(port, path=f"/?token={token}", method="POST") == 403
    assert handshake(port, path=f"/?token={token}") == 302
    assert page(port, f"Authorization: Bearer {token}") == 403


def test_a_token_of_an_earlier_start_is_stale(scene, abroad):
    stale = abroad._door.token
    with Viewer(scene, ViewerSettings(host="0.0.0.0", port=0, open=False)) as later:
        port = later._door.port
        assert stale != later._door.token
        assert page(port, cookie(later, stale)) == 403 and handshake(port, cookie(later, stale)) == 403
        status, head = asked(port, f"GET /?token={stale} HTTP/1.1", f"Host: 127.0.0.1:{port}")
        assert status == 403 and "Set-Cookie" not in head


def test_the_cookie_is_kept_from_scripts_and_other_sites(abroad):
    port, token = abroad._door.port, abroad._door.token
    status, head = asked(port, f"GET /?token={token} HTTP/1.1", f"Host: 127.0.0.1:{port}")
    [given] = re.findall(r"(?i)^set-cookie: (.*)$", head.replace("\r", ""), re.M)
    assert status == 302 and given.startswith(f"splatview-{port}={token};")
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in given.split(";")}
    assert "secure" not in given.lower()  # a browser would not send it back over http
    assert "no-store" in head and "no-referrer" in head


def test_a_link_from_another_site_lets_people_in(abroad):
    """A strict cookie does not go along with a redirect that another site began: the page goes on by itself there."""
    port, token = abroad._door.port, abroad._door.token
    status, head = asked(port, f"GET /?token={token} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Sec-Fetch-Site: cross-site")
    assert status == 200 and f"splatview-{port}={token}" in head


def test_two_viewers_on_one_machine_keep_their_visitors(scene, abroad):
    with Viewer(scene, ViewerSettings(host="0.0.0.0", port=0, open=False)) as other:

        async def visit():
            async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
                told = []
                for query, viewer in itertools.product(("?token={}", ""), (abroad, other)):
                    async with client.get(f"http://127.0.0.1:{viewer._door.port}/{query.format(viewer._door.token)}") as answer:
                        told.append(answer.status)
                return told

        assert asyncio.run(visit()) == [200] * 4


# Names and origins


FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1.evil.example",
    "localhost.evil.example:{port}",
    "127.0.0.1@evil.example",
    "",
    "[::1",
    "a b",
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_name_that_was_made_to_mean_this_machine_is_refused(at_home, abroad, host):
    for viewer in (at_home, abroad):
        port = viewer._door.port
        for more in [(), (cookie(viewer),)] if viewer is abroad else [()]:
            named = host.format(port=port)
            assert asked(port, "GET /?fixedDpr=1 HTTP/1.1", f"Host: {named}", *more)[0] in (400, 403)
            assert asked(port, "GET /?fixedDpr=1 HTTP/1.1", f"Host: {named}", f"Origin: http://{named}", *more)[0] in (400, 403)


def test_the_host_is_named_once_and_in_its_place(at_home):
    port = at_home._door.port
    own = f"Host: 127.0.0.1:{port}"
    assert asked(port, "GET /?fixedDpr=1 HTTP/1.1", own)[0] == 200
    assert asked(port, "GET /?fixedDpr=1 HTTP/1.0")[0] in (400, 403)
    assert asked(port, "GET /?fixedDpr=1 HTTP/1.1")[0] in (400, 403)
    assert asked(port, "GET /?fixedDpr=1 HTTP/1.1", own, "Host: evil.example")[0] in (400, 403)
    assert asked(port, "GET /?fixedDpr=1 HTTP/1.1", "Host: evil.example", own)[0] in (400, 403)
    assert asked(port, "GET http://evil.example/?fixedDpr=1 HTTP/1.1", own)[0] in (400, 403)
    assert asked(port, f"GET http://127.0.0.1:{port}/?fixedDpr=1 HTTP/1.1", "Host: evil.example")[0] in (400, 403)


ORIGINS = [
    "http://evil.example",
    "null",
    "",
    "https://127.0.0.1:{port}",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "http://127.0.0.1:{port}.evil.example",
    "file://",
]


@pytest.mark.parametrize("origin", ORIGINS)
def test_another_origin_is_refused(at_home, abroad, origin):
    for viewer, more in ((at_home, ()), (abroad, (cookie(abroad),))):
        line = f"Origin: {origin.format(port=viewer._door.port)}"
        assert page(viewer._door.port, line, *more) == 403
        assert handshake(viewer._door.port, line, *more) == 403
        own = f"Origin: http://127.0.0.1:{viewer._door.port}"
        assert handshake(viewer._door.port, own, *more) == 101
        assert page(viewer._door.port, own, line, *more) == 403


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_ipv6(scene):
    with Viewer(scene, ViewerSettings(host="::1", port=0, open=False)) as viewer:
        port = viewer._door.port
        assert viewer.url == f"http://[::1]:{port}/"
        for host, status in {f"[::1]:{port}": 200, f"localhost:{port}": 200, "[2001:db8::1]": 403, "::1": 403, "evil.example": 403}.items():
            assert asked(port, "GET /?fixedDpr=1 HTTP/1.1", f"Host: {host}", host="::1")[0] == status, host


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no sockets for both")
def test_all_addresses_are_those_of_both_kinds():
    with listen("::", 0) as listener:
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), timeout=5).close()


# Paths and methods


PATHS = [
    "/../../etc/passwd",
    "/..%2f..%2fetc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/%252e%252e/etc/passwd",
    "//etc/passwd",
    "/..\\..\\etc\\passwd",
    "/index.html/../../../etc/passwd",
    "/./../etc/passwd",
    "/%00",
    "/etc/passwd%00.html",
    "/file:///etc/passwd",
    "/index.html",
    "/upload",
    "/%ff",
]


@pytest.mark.parametrize("path", PATHS)
def test_there_is_one_page_and_no_way_to_a_file(at_home, abroad, path):
    for viewer, more in ((at_home, ()), (abroad, (cookie(abroad),))):
        status, head = asked(viewer._door.port, f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{viewer._door.port}", *more)
        assert status in (400, 404, 405) and "root:" not in head
        assert handshake(viewer._door.port, *more, path=path) in (400, 404, 405)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "NONSENSE"])
def test_other_methods_do_nothing(at_home, method):
    port = at_home._door.port
    own = f"Origin: http://127.0.0.1:{port}"
    assert page(port, own, "Content-Length: 0", method=method, path="/") in (400, 405)
    assert asked(port, f"{method} * HTTP/1.1", f"Host: 127.0.0.1:{port}")[0] in (400, 403)
    assert asked(port, "CONNECT evil.example:80 HTTP/1.1", f"Host: 127.0.0.1:{port}")[0] in (400, 403)


def test_huge_and_broken_requests_are_refused_and_the_door_lives_on(at_home):
    port = at_home._door.port
    big = "x" * 100_000
    assert page(port, f"X-Big: {big}") in (0, 400, 431)
    assert page(port, f"Cookie: splatview={big}") in (0, 400, 431)
    assert page(port, path=f"/?fixedDpr=1&{big}") in (0, 400, 414)
    assert page(port, *(f"X-{n}: y" for n in range(5000))) in (0, 400, 431)
    for nonsense in (b"\x16\x03\x01\x02\x00\x01\x00", b"\x00" * 50, b"GET / HTTP/9.9", b"GET"):
        assert asked(port, nonsense)[0] in (0, 400, 505)
    assert page(port) == 200


def test_the_page_does_not_take_orders_from_another_server(at_home):
    port = at_home._door.port
    for switch in ("websocket=ws://evil.example/", "playbackPath=http://evil.example/x"):
        status, head = asked(port, f"GET /?fixedDpr=1&{switch} HTTP/1.1", f"Host: 127.0.0.1:{port}")
        assert status == 302 and "evil" not in head


def test_the_page_loads_nothing_foreign(at_home):
    port = at_home._door.port
    _, head = asked(port, "GET /?fixedDpr=1 HTTP/1.1", f"Host: 127.0.0.1:{port}")
    [policy] = re.findall(r"(?i)content-security-policy: (.*)", head)
    sources = {source for rule in policy.split(";") for source in rule.split()[1:]}
    quoted = {"'self'", "'unsafe-inline'", "'unsafe-eval'", "'none'"}
    assert sources <= quoted | {"blob:", "data:", f"ws://127.0.0.1:{port}"} and "default-src" in policy


# The inner port


def test_viser_answers_nobody_but_the_door(at_home, abroad):
    """Neither with a guess, nor with anything that the door knows, nor by way of the door."""
    for viewer in (at_home, abroad):
        inner, token = viewer._server.get_port(), viewer._door.token or "none"
        for more in (
            (),
            (f"{SECRET_HEADER}: guess",),
            (f"{SECRET_HEADER}: ",),
            (b"X-Splatview-Door: t\xf6k\xff",),
            (cookie(viewer, token),),
        ):
            assert page(inner, *more) == 403 and handshake(inner, *more) == 403
        assert page(inner, f"{SECRET_HEADER}: guess", f"{SECRET_HEADER}: {viewer._door._secret}") == 403
        assert page(inner, path=f"/?token={token}") == 403
        assert page(inner, f"{SECRET_HEADER}: {viewer._door._secret}") == 200  # it is this that is asked for
        assert handshake(inner, f"{SECRET_HEADER}: {viewer._door._secret}") == 101


def test_the_inner_port_is_on_one_address_alone(abroad):
    """A server on all addresses would answer on this one, too, which is loopback as well."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", abroad._server.get_port()), timeout=5)
    socket.create_connection(("127.0.0.2", abroad._door.port), timeout=5).close()


def test_the_secret_is_no_way_through_the_door(abroad):
    port = abroad._door.port
    assert page(port, f"{SECRET_HEADER}: {abroad._door._secret}") == 403
    assert handshake(port, f"{SECRET_HEADER}: {abroad._door._secret}") == 403


def test_the_door_does_not_hand_on_what_a_client_says_of_the_secret(at_home):
    port = at_home._door.port
    assert page(port, f"{SECRET_HEADER}: guess") == 200
    assert handshake(port, f"{SECRET_HEADER}: guess", f"{SECRET_HEADER.lower()}: guess") == 101


def test_a_page_of_another_version_is_told_so(at_home):
    async def visit():
        async with ClientSession() as client, client.ws_connect(at_home.url, protocols=["viser-v0.0.1"]) as opened:
            await opened.receive(5)
            return opened.close_code

    assert asyncio.run(visit()) == 1002


# https


def certificate(folder, name="localhost", password=None):
    """A self-signed certificate and its key."""
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    lock = ["-passout", f"pass:{password}"] if password else ["-nodes"]
    words = ["-x509", "-newkey", "rsa:2048", "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(["openssl", "req", *words, *lock, "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    return certificate(folder), certificate(folder, "other"), certificate(folder, "locked", "secret")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_https(scene, certificates, host):
    (cert, key), *_ = certificates
    trusting = ssl.create_default_context(cafile=cert)
    with Viewer(scene, ViewerSettings(host=host, port=0, open=False, tls_cert=cert, tls_key=key)) as viewer:
        base = f"https://localhost:{viewer._door.port}/"
        query = f"?token={viewer._door.token}" if viewer._door.token else ""
        assert viewer.url.startswith("https://") and viewer.url.endswith(query)

        async def visit():
            async with ClientSession() as client:
                async with client.get(base + query, ssl=trusting) as answer:
                    assert answer.status == 200 and f"wss://localhost:{viewer._door.port}" in answer.headers["Content-Security-Policy"]
                    set_cookie = [one.headers.get("Set-Cookie", "") for one in answer.history]
                origin = base.rstrip("/")
                async with client.ws_connect(base, protocols=[PROTOCOL], origin=origin, ssl=trusting) as opened:
                    assert (await opened.receive(5)).type.name == "BINARY"
                with pytest.raises(WSServerHandshakeError, match="403"):
                    await client.ws_connect(base, protocols=[PROTOCOL], origin=origin.replace("https", "http"), ssl=trusting)
                return set_cookie

        set_cookie = asyncio.run(visit())
        assert [one for one in set_cookie if one] == [one for one in set_cookie if "Secure" in one]
        assert bool("".join(set_cookie)) == (host == "0.0.0.0")
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            plain = http.client.HTTPConnection("127.0.0.1", viewer._door.port, timeout=5)
            plain.request("GET", "/")
            plain.getresponse()


def test_tls_files_that_are_no_use_are_told_in_one_line(scene, certificates, tmp_path, capsys):
    (cert, key), (other_cert, other_key), (locked_cert, locked_key) = certificates
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    for pair, words in {
        (cert, other_key): "does not belong",
        (other_cert, key): "does not belong",
        (locked_cert, locked_key): "passphrase",
        (nothing, key): "expected a certificate",
        (cert, nothing): "expected a certificate",
        (key, cert): "expected a certificate",
        (tmp_path / "none", key): "is not a file",
        (cert, tmp_path): "is not a file",
    }.items():
        with pytest.raises(ValueError, match=words):
            context(*pair)
        with pytest.raises(ValueError, match=words):
            ViewerSettings(tls_cert=pair[0], tls_key=pair[1])
    for half in ({"tls_cert": cert}, {"tls_key": key}):
        with pytest.raises(ValueError, match="both or none"):
            ViewerSettings(**half)
    for command in ("view", "stylize"):
        assert main([command, "--no-open", "--tls-cert", str(cert), "x.ply"]) == 2
        assert "both or none" in capsys.readouterr().err


def test_nobody_is_asked_for_a_passphrase(certificates):
    """OpenSSL would ask on the terminal, and a service would hang."""
    *_, (cert, key) = certificates
    for _ in itertools.repeat(None, 2):
        with pytest.raises(ValueError, match="openssl pkey"):
            context(cert, key)
