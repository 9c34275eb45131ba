"""What the bridge asks of an audio server: streams in and out between clocks.

A backend moves samples and counts; it never infers, never blocks the server, and never touches
modules, nodes or defaults (that is the job of :mod:`pipedtln.devices`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pipedtln.processor import Block
from pipedtln.stream.ring import Ring

PERIODS = {"low": 128, "balanced": 256, "saver": 512}
"""Samples at a time by the ``latency`` setting: 8, 16 and 32 ms."""


@dataclass(frozen=True)
class Route:
    """Which devices to join, by their names on the server.

    ``ref`` is a source's name (a monitor, as a rule) or None for no reference.
    ``mic_channel`` and ``ref_channel`` pick channels of the microphone where the card itself
    carries the reference (negative counts from the end); None means a mono mixdown by the server.
    ``channels`` are the positions of the microphone's channels in order ("front-left"), where one
    is picked on a server that would mix them otherwise.
    """

    mic: str
    out: str
    ref: str | None = None
    sample_rate: int = 16_000
    period: int = PERIODS["balanced"]
    """Samples that the server is asked to deliver at a time."""
    mic_channel: int | None = None
    ref_channel: int | None = None
    channels: tuple[str, ...] = ()
    latency_ms: int = 40
    """What a card is asked to buffer; sound servers decide that themselves."""

    @property
    def has_reference(self) -> bool:
        """Whether anything carries what the loudspeakers play."""
        return self.ref is not None or self.ref_channel is not None


@dataclass
class Counters:
    """What a session has counted since it opened; written by the server's thread only."""

    wakeups: int = 0
    underruns: int = 0
    overruns: int = 0
    mic_holes: int = 0


MOST_ECHO_MS = 2000.0
"""Echo delay above which a server's account is not believed."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds that sound spends in the server's own buffers, by its own report."""

    mic_ms: float = 0.0
    ref_ms: float = 0.0
    """Negative where the sound of a monitor has yet to reach the loudspeaker."""
    out_ms: float = 0.0

    @property
    def echo_ms(self) -> float | None:
        """Echo delay from reference to microphone by this account; None where it tells nothing.

        What the air, the drivers and a second server add is not in it: a first guess.
        """
        delay = self.mic_ms - self.ref_ms
        return delay if 0 < delay <= MOST_ECHO_MS else None


class Session(Protocol):
    """Open streams of one route.

    A thread of the backend's fills ``mic`` and ``ref`` and calls ``wake`` after each period, in
    which they are emptied and :meth:`write`, :meth:`jump` and :meth:`queued` are called. It may
    take its time: no server and no card waits for that thread.

    The output is bound to the device's time: where it runs dry the device goes on in silence, and
    sound that comes too late is lost rather than played later.
    """

    mic: Ring
    ref: Ring
    counters: Counters

    @property
    def period(self) -> int:
        """Samples that arrive at a time, as asked for."""

    @property
    def paired(self) -> bool:
        """Whether ``mic`` and ``ref`` are channels of one stream, sample beside sample."""

    @property
    def underruns(self) -> int:
        """Times that the output ran dry."""

    @property
    def held_back(self) -> int:
        """Samples of the microphone that wait in the server even after it has just sent some."""

    @property
    def failure(self) -> str | None:
        """Why the streams ended by themselves, or None while they live."""

    def write(self, block: Block) -> None:
        """Queue samples for the virtual microphone; never blocks on the server's pace."""

    def jump(self, count: int) -> None:
        """Put ``count`` samples of silence before the next write, past ones included."""

    def queued(self) -> int:
        """Samples written but not played; negative where the device went on without them.

        As if the device took them evenly rather than a period at a time.
        """

    def latency(self) -> Latency:
        """Ask the server's own report of its buffers."""

    def close(self) -> None:
        """Close the streams; safe to call twice and after a failure."""


class AudioBackend(Protocol):
    """A way to reach an audio server."""

    name: str

    def open(self, route: Route, wake: Callable[[], None]) -> Session:
        """Open the streams of a route.

        Raises
        ------
        ServerError
            If no server answers or it refuses a stream.
        DeviceNotFoundError
            If a device of the route does not exist.
        """

    def close(self) -> None:
        """Leave the server."""
