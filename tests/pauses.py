"""Tells whether the machine itself stood still while a test listened."""

from __future__ import annotations

import threading
import time
from types import TracebackType

TURN_S = 0.004


class Pauses:
    """Measures within a ``with`` block how late a thread wakes up that sleeps all the time."""

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Pauses:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._over.is_set():
            time.sleep(TURN_S)
            now = time.monotonic()
            self.longest_ms = max(self.longest_ms, 1000 * (now - before - TURN_S))
            before = now
