"""Does a client that reads nothing slow the others down? `python tools/many_clients.py`.

Measures pictures per second of seven moving clients, first alone and then with an eighth that asks for pictures and never reads.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from scripted_client import PROTOCOL, ScriptedClient
from soak import DEMO, looked_at, server

WARM_UP = 3.0  # seconds in which every client finds its size


class Mute:
    """A websocket that sends and never reads; its window for what comes in is as small as the system has it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @staticmethod
    @asynccontextmanager
    async def connect(url: str) -> AsyncIterator[Mute]:
        place = urlsplit(url)
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, (place.hostname, place.port))
            lines = (
                "GET / HTTP/1.1",
                f"Host: {place.netloc}",
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
                f"Sec-WebSocket-Protocol: {PROTOCOL}",
            )
            await loop.sock_sendall(connection, "\r\n".join([*lines, "", ""]).encode())
            yield Mute(connection)

    async def send_bytes(self, data: bytes) -> None:
        """ConnectionError if the server has had enough."""
        length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        await asyncio.get_running_loop().sock_sendall(
            self._connection, b"\x82" + length + bytes(4) + data
        )  # a mask of zeros changes nothing


async def keep_turning(client: ScriptedClient, rate: float = 30.0) -> None:
    """Ask for another view `rate` times a second, for ever."""
    began = time.monotonic()
    while True:
        await client.orbit(0.3 * (time.monotonic() - began))
        await asyncio.sleep(1 / rate)


@asynccontextmanager
async def stalled(url: str, size: tuple[int, int]) -> AsyncIterator[asyncio.Task[None]]:
    """A client that asks for pictures and reads nothing; the task ends when the server drops it."""

    async def ask() -> None:
        with suppress(ConnectionError):
            await keep_turning(client)

    async with Mute.connect(url) as mute:
        client = ScriptedClient(cast(Any, mute), *size)
        asking = asyncio.create_task(ask())
        yield asking
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking


async def rates(url: str, count: int, seconds: float, size: tuple[int, int]) -> list[float]:
    """Pictures per second of each of `count` clients that move all the time."""

    async def one() -> float:
        async with ScriptedClient.connect(url, width=size[0], height=size[1]) as client:
            turning = asyncio.create_task(keep_turning(client))
            await asyncio.sleep(WARM_UP)
            client.arrivals = client.arrivals[-1:]
            before, began = len(client.arrivals), time.perf_counter()
            await asyncio.sleep(seconds)
            turning.cancel()
            return (len(client.arrivals) - before) / (time.perf_counter() - began)

    return list(await asyncio.gather(*(one() for _ in range(count))))


async def measure(url: str, process: int, count: int, seconds: float, size: tuple[int, int], rounds: int) -> None:
    """Print the table. Both are measured in turn, several times: a machine has other things to do, now more, now less."""
    print(f"{count} clients of {size[0]} x {size[1]}, {seconds:.0f} s each; pictures per second\n")
    print("alone: mean least  most   with one that stalls: mean least  most   kept   server MB")
    kept, shares = [], []
    for _ in range(rounds):
        alone = await rates(url, count, seconds, size)
        async with stalled(url, size):
            beside = await rates(url, count, seconds, size)
        kept.append(statistics.mean(beside) / statistics.mean(alone))
        shares.append(min(beside) / statistics.mean(beside))
        cells = [f"{statistics.mean(found):5.1f} {min(found):5.1f} {max(found):5.1f}" for found in (alone, beside)]
        print(f"      {cells[0]}                          {cells[1]}  {kept[-1]:5.0%}   {looked_at(process)[0]:9.0f}")
    print(f"\nbeside the one that stalls, the others keep {statistics.median(kept):.0%} of their rate (median of {rounds});")
    print(f"nobody gets less than {min(shares):.0%} of their mean")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 360), help="width and height of the windows, in pixels")
    parser.add_argument("--scene", type=Path, default=DEMO)
    asked = parser.parse_args(words)
    with server(str(asked.scene)) as (process, url):
        asyncio.run(measure(url, process.pid, asked.clients, asked.seconds, tuple(asked.size), asked.rounds))


if __name__ == "__main__":
    main()
