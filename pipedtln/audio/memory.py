"""The hand-written double of an audio server: sound goes in and out of memory.

Tests play the server: they deliver microphone and reference in any rhythm, and take the output at
any pace. Nothing here knows of time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipedtln.audio.api import Counters, Latency, Route
from pipedtln.errors import DeviceNotFoundError, ServerError
from pipedtln.processor import Block
from pipedtln.stream.ring import Ring


class MemoryBackend:
    """An audio server with the given devices.

    Parameters
    ----------
    devices : names that a route may use
    """

    name = "memory"

    def __init__(self, devices: tuple[str, ...] = ("mic", "ref", "out")) -> None:
        self.devices = set(devices)
        self.answers = True
        self.sessions: list[MemorySession] = []

    def open(self, route: Route, wake: Callable[[], None]) -> MemorySession:
        """Open a session, as a real server would or would not."""
        if not self.answers:
            raise ServerError("no audio server answers")
        for device in (route.mic, route.ref, route.out):
            if device is not None and device not in self.devices:
                raise DeviceNotFoundError(f"no device named '{device}'")
        session = MemorySession(route, wake)
        self.sessions.append(session)
        return session

    def close(self) -> None:
        """End all sessions."""
        for session in self.sessions:
            session.close()


class MemorySession:
    """A session whose server is the test."""

    def __init__(self, route: Route, wake: Callable[[], None]) -> None:
        self.route = route
        self.mic = Ring(route.sample_rate)
        self.ref = Ring(route.sample_rate)
        self.counters = Counters()
        self.closed = False
        self.held_back = 0
        self._wake = wake
        self._failure: str | None = None
        self._sound = np.zeros(0, dtype=np.float32)
        self._lead = 0
        self._started = False

    @property
    def failure(self) -> str | None:
        """As told by :meth:`fail`."""
        return self._failure

    @property
    def period(self) -> int:
        """As the route asks for."""
        return self.route.period

    @property
    def paired(self) -> bool:
        """Whether one card brings both."""
        return self.route.ref_channel is not None

    @property
    def underruns(self) -> int:
        """Times that :meth:`take` found too little."""
        return self.counters.underruns

    def deliver(self, mic: Block, ref: Block | None = None) -> None:
        """Let sound arrive at microphone and reference."""
        self.counters.wakeups += 1
        if ref is not None:
            self.ref.write(ref)
        self.mic.write(mic)
        self._wake()

    def take(self, count: int) -> Block:
        """Play the device that drains the output; what is missing is silence."""
        block = np.zeros(count, dtype=np.float32)
        sound, self._sound = self._sound[:count], self._sound[count:]
        block[: len(sound)] = sound
        self._lead -= count
        if len(sound) < count and self._started:
            self.counters.underruns += 1
        return block

    def fail(self, reason: str) -> None:
        """End the streams as a server that goes away does."""
        self._failure = reason
        self._wake()

    def write(self, block: Block) -> None:
        """Queue output; what the device has passed is lost."""
        self._started = True
        lost = min(len(block), max(0, -self._lead))
        self._lead += len(block)
        self._sound = np.concatenate((self._sound, block[lost:]))

    def jump(self, count: int) -> None:
        """Queue silence."""
        self.write(np.zeros(count, dtype=np.float32))

    def queued(self) -> int:
        """Samples that lie ahead of the device, or behind it."""
        return self._lead

    def latency(self) -> Latency:
        """Memory has none."""
        return Latency()

    def close(self) -> None:
        """End the session."""
        self.closed = True
