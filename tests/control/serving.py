"""Runs a ControlServer in a thread, for tests that look at it from other processes."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType

from pipedtln.control.server import ControlServer
from tests.control.bridge import QuietBridge


class Serving:
    """A bridge on a bus while the context lasts."""

    def __init__(self, bridge: QuietBridge, address: str) -> None:
        self.bridge = bridge
        self._address = address
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.server: ControlServer

    def __enter__(self) -> Serving:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    async def _start(self) -> None:
        self.server = ControlServer(self.bridge, self._address)
        assert await self.server.start(), self.server.problem

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
