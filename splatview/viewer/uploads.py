"""Files that a page sends: streamed to a private folder, never held in memory, and gone once they were read."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from aiohttp import web

SPARE = 256 * 2**20  # bytes of the disk that uploads leave free
SILENCE = 60.0  # seconds without a byte after which an upload is given up
AT_ONCE = 4  # uploads; more are asked to come again
LONGEST_NAME = 120  # bytes; file systems take 255, and layers are named by it

Received = Callable[[Path, str], Future[str]]  # reads a file of a page in a thread of its own, and gives what it was added as


def plain_name(name: str) -> str:
    """`name` as that of one file in a folder: no folders, no control characters, not hidden, not too long; "upload" if nothing is left."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(" " if unicodedata.category(one)[0] in "CZ" else one for one in last)
    stem, dot, suffix = re.sub(" +", " ", kept).strip(". ").rpartition(".")
    if not dot:
        stem, suffix = suffix, ""
    end = (dot + suffix).encode()[: LONGEST_NAME // 2]
    return (stem.encode()[: LONGEST_NAME - len(end)] + end).decode(errors="ignore").strip() or "upload"


class Uploads:
    """Takes files of up to `limit` bytes. `received` is called on the door's thread, and must not wait."""

    def __init__(self, limit: int, received: Received) -> None:
        self.limit = limit
        self._received = received
        self._folder = Path(tempfile.mkdtemp(prefix="splatview-"))  # for this user alone
        self._count = 0
        self._running = 0

    def close(self) -> None:
        """Forget every file, and who reads them."""
        self._received = _nobody  # aiohttp keeps the last handlers it called, in a cache of the whole process: not the scene with them
        shutil.rmtree(self._folder, ignore_errors=True)

    async def receive(self, request: web.Request) -> web.Response:
        """Answers `POST /upload?name=...&page=...` with {"added": name} once the file was read, or {"error": text}."""
        if self._running >= AT_ONCE:
            return _refused(503, f"{AT_ONCE} files are being sent already: try again when one of them is done")
        self._running, self._count = self._running + 1, self._count + 1
        name = plain_name(request.query.get("name", ""))
        path = self._folder / str(self._count) / name
        try:
            self._check_room(request.content_length or 0)
            await self._save(request, path)
            return await self._read(path, request.query.get("page", ""))
        except _Refused as refused:
            return _refused(refused.status, str(refused))
        except (ConnectionError, TimeoutError, web.RequestPayloadError):  # cancelled, or the page is gone
            return _refused(400, f"{name} did not arrive completely")
        except OSError as error:
            return _refused(507, f"{name} cannot be kept: {error.strerror or error}")
        finally:
            self._running -= 1
            shutil.rmtree(path.parent, ignore_errors=True)

    async def _save(self, request: web.Request, path: Path) -> None:
        """Write the request's body to `path`, as fast as the disk takes it."""
        path.parent.mkdir()
        size, checked = 0, 0
        with path.open("xb") as file:
            while True:
                async with asyncio.timeout(SILENCE):
                    chunk = await request.content.readany()
                if not chunk:
                    break
                size += len(chunk)
                if size > self.limit or size - checked > SPARE // 4:
                    self._check_room(size, kept=size)
                    checked = size
                await asyncio.to_thread(file.write, chunk)
        if request.content_length is not None and size != request.content_length:
            raise ConnectionError
        if not size:
            raise _Refused(400, "the file is empty")

    async def _read(self, path: Path, page: str) -> web.Response:
        try:
            return web.json_response({"added": await asyncio.wrap_future(self._received(path, page))})
        except Exception as error:  # of the file, mostly; whoever reads it logs what is our fault
            return _refused(422, (str(error) or type(error).__name__).replace(str(path), path.name))

    def _check_room(self, size: int, kept: int = 0) -> None:
        """_Refused if `size` bytes are too many, `kept` of which are on the disk already."""
        if size > self.limit:
            raise _Refused(413, f"the file is larger than {self.limit / 1e6:,.0f} MB, the most that this viewer takes (--upload-limit-mb)")
        if shutil.disk_usage(self._folder).free < size - kept + SPARE:
            raise _Refused(507, f"the server's disk has no room for {size / 1e6:,.0f} MB")


def _nobody(path: Path, page: str) -> Future[str]:
    raise ValueError("the viewer was closed")


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _refused(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
