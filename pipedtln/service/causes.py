"""What makes the supervisor look again: posted by any thread, taken by one."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from time import monotonic
from typing import Literal

Cause = Literal["devices", "soon", "recorders", "client", "config", "lost", "stop"]

SOON_S = 0.3
"""Delay of a look after a mere change of a device: volume sliders tell many of them."""


class Causes:
    """A burst of causes becomes one set; ``"soon"`` becomes ``"devices"`` a moment later."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Cause] = SimpleQueue()
        self._soon_at: float | None = None

    def post(self, cause: Cause) -> None:
        """Ask for a look; from any thread, also from callbacks."""
        self._queue.put(cause)

    def take(self, timeout: float) -> set[Cause]:
        """Wait for causes, at most ``timeout`` seconds; an empty set if there were none."""
        now = monotonic()
        deadline = now + max(0.0, timeout)
        while True:
            until = deadline if self._soon_at is None else min(deadline, self._soon_at)
            causes = self._posted(until - now)
            now = monotonic()
            if "soon" in causes:
                causes.discard("soon")
                self._soon_at = self._soon_at or now + SOON_S
            if "devices" in causes or (self._soon_at is not None and now >= self._soon_at):
                self._soon_at = None
                causes.add("devices")
            if causes or now >= deadline:
                return causes

    def _posted(self, timeout: float) -> set[Cause]:
        causes: set[Cause] = set()
        try:
            causes.add(self._queue.get(timeout=max(0.0, timeout)))
            while True:
                causes.add(self._queue.get_nowait())
        except Empty:
            pass
        return causes
