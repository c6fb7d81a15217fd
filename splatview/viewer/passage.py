"""A page's websocket and its counterpart at viser, tied together: what one side says, the other hears, at the pace of the slower one."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import ClientWebSocketResponse, WSMsgType, web

STALLED = 20.0  # seconds after which a page that takes nothing of what it is sent is dropped
GRACE = 0.3  # seconds in which a page may say goodbye


class Passage:
    """One page's websocket, tied to its counterpart at viser."""

    def __init__(self, down: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self._down = down
        self._transport = transport
        self._passed = 0

    async def carry(self, up: ClientWebSocketResponse) -> None:
        """Pass binary messages on in both directions until one side closes, or the page takes nothing any more."""
        work = [asyncio.ensure_future(one) for one in (self._downwards(up), self._upwards(up), self._watch())]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in work:
                one.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await self.end(up.close_code or 1000)

    async def end(self, code: int) -> None:
        """Close the page's side: politely if it takes what it is sent, at once if not."""
        if not self._waiting:
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(GRACE):
                    await self._down.close(code=code)
        if self._waiting and self._transport is not None:
            self._transport.abort()  # closed, it would wait until all of this was taken

    @property
    def _waiting(self) -> int:
        """Bytes that the page has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    async def _downwards(self, up: ClientWebSocketResponse) -> None:
        async for message in up:
            if message.type is WSMsgType.BINARY:
                await self._down.send_bytes(message.data)  # waits while the page is slow: so viser waits, and keeps what is newest
                self._passed += 1

    async def _upwards(self, up: ClientWebSocketResponse) -> None:
        async for message in self._down:
            if message.type is WSMsgType.BINARY:
                await up.send_bytes(message.data)

    async def _watch(self) -> None:
        """Return when the page has taken nothing of what waits for it for a while."""
        steps, before = 0, (0, 0)
        while steps < 4:
            await asyncio.sleep(STALLED / 4)
            now = self._passed, self._waiting
            steps = steps + 1 if now[0] == before[0] and now[1] >= before[1] > 0 else 0
            before = now
