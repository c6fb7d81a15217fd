"""A hub of models on this machine, for the real client."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SHA = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serving(root: Path, kind: type[BaseHTTPRequestHandler] | None = None) -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(kind or Hub, root))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Hub(BaseHTTPRequestHandler):
    """Repositories in folders `root`/OWNER/NAME, as the hub serves them."""

    def __init__(self, root: Path, *arguments) -> None:
        self.root = root
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/"):
            owner, name = path.split("/")[3:5]
            folder = self.root / owner / name
            files = [
                {"rfilename": str(file.relative_to(folder)), "size": file.stat().st_size} for file in folder.rglob("*") if file.is_file()
            ]
            self.answer(json.dumps({"id": f"{owner}/{name}", "sha": SHA, "siblings": files}).encode() if files else None)
        else:
            owner, name, _, _, *rest = path[1:].split("/")
            file = self.root / owner / name / "/".join(rest)
            self.answer(file.read_bytes() if file.is_file() else None)

    def answer(self, content: bytes | None) -> None:
        self.send_response(200 if content is not None else 404)
        content = content or b"{}"
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": SHA, "Content-Length": str(len(content))}
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_) -> None:
        """Nothing."""


class Elsewhere(Hub):
    """One that has its large files in a store of another kind, as the hub has; it is out of reach."""

    def do_GET(self) -> None:
        if not self.path.endswith("/read-token"):
            super().do_GET()
            return
        self.send_response(200)
        told = {"X-Xet-Cas-Url": "http://127.0.0.1:9", "X-Xet-Access-Token": "none", "X-Xet-Token-Expiration": str(1 << 40)}
        for header, value in {**told, "Content-Length": "0"}.items():
            self.send_header(header, value)
        self.end_headers()

    def end_headers(self) -> None:
        if ".safetensors" in self.path:
            self.send_header("X-Xet-Hash", "ab" * 32)
            self.send_header("X-Xet-Refresh-Route", f"http://{self.headers['Host']}/read-token")
        super().end_headers()
