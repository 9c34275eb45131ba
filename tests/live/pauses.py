"""Tells whether the machine itself stood still while a test listened."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

TURN_S = 0.004


@contextmanager
def timed_pauses() -> Iterator[list[float]]:
    """Milliseconds by which a thread that only sleeps woke up late, turn by turn, in the block."""
    late_ms: list[float] = [0.0]
    over = threading.Event()

    def watch() -> None:
        before = monotonic()
        while not over.wait(TURN_S):
            now = monotonic()
            late_ms.append(1000 * (now - before - TURN_S))
            before = now

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield late_ms
    finally:
        over.set()
        thread.join()
