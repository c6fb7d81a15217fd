"""Files that pages fetch: each once, under an id that nobody guesses, streamed from a private folder and gone afterwards."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from splatview.viewer.uploads import plain_name

PIECE = 1 << 18  # bytes that are read at once
STALLED = 120.0  # seconds in which a page takes nothing, after which the rest is not sent
UNCLAIMED = 600.0  # seconds after which a file that nobody fetched is forgotten
WAITING = 8  # files that may wait to be fetched; the oldest gives way


class Downloads:
    """Offers files to pages. Any thread may offer; the door's thread sends."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="splatview-"))  # for this user alone
        self._offers: dict[str, tuple[Path, float]] = {}
        self._lock = threading.Lock()

    def place(self, name: str) -> Path:
        """Where a file called `name` may be written that is going to be offered."""
        return Path(tempfile.mkdtemp(dir=self._folder)) / plain_name(name)

    def offer(self, path: Path) -> str:
        """The address that `path`, which `place` gave, can be fetched from: once, and not for ever."""
        number, now = secrets.token_urlsafe(24), time.monotonic()
        with self._lock:
            old = [key for key, (_, since) in self._offers.items() if now - since > UNCLAIMED]
            spare = max(0, len(self._offers) - len(old) - WAITING + 1)
            late = [*old, *[key for key in self._offers if key not in old][:spare]]
            gone = [self._offers.pop(key)[0] for key in late]
            self._offers[number] = path, now
        for one in gone:
            self.drop(one)
        return f"/download/{number}"

    def drop(self, path: Path) -> None:
        """Remove a file that `place` gave, if it is there."""
        shutil.rmtree(path.parent, ignore_errors=True)

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Answers `GET /download/ID`; from then on nobody else gets the file."""
        with self._lock:
            path, _ = self._offers.pop(request.match_info["id"], (None, 0.0))
        if path is None:
            raise web.HTTPNotFound(text="This file was fetched already, or waited too long: export it again.")
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except FileNotFoundError:
            raise web.HTTPNotFound(text="This file is no longer there: export it again.") from None
        with file:
            size = path.stat().st_size
            await asyncio.to_thread(self.drop, path)  # what is open stays readable, and is gone whatever happens
            answer = web.StreamResponse(headers=_headers(path.name, size))
            await answer.prepare(request)
            try:
                while piece := await asyncio.to_thread(file.read, PIECE):
                    async with asyncio.timeout(STALLED):
                        await answer.write(piece)
                await answer.write_eof()
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
            return answer

    def close(self) -> None:
        """Forget every file."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _headers(name: str, size: int) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
    }
