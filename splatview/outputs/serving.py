"""A page of ours on its way to browsers: an asyncio loop on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from contextlib import suppress


class Serving(ABC):
    """Serves from `start` to `close`. `_serve` does it: it sets `_ready` once requests are answered, and ends after `_stopped`."""

    def __init__(self, name: str) -> None:
        """`name`: of the thread."""
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to serve; returns when requests are answered."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Close every connection and free the port."""
        with suppress(RuntimeError):  # it is closed, or has failed
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    @abstractmethod
    async def _serve(self) -> None: ...

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
