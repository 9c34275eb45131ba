"""The worker: hops in order, from the rings of a session through the processor to its output.

One thread, started when an app begins to record and joined when the last one stops. It sleeps
until the server's thread wakes it, works off every whole hop that has arrived, and sleeps again.
"""

from __future__ import annotations

import gc
import logging
import math
import threading
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Protocol

import numpy as np

from pipedtln.processor import HOP, SAMPLE_RATE, Block
from pipedtln.stream.pacer import OutputPacer
from pipedtln.stream.reference import ReferenceFeed
from pipedtln.stream.ring import Ring
from pipedtln.stream.voice import Voice

LOG = logging.getLogger(__name__)

LATE_SAMPLES = 6 * HOP
"""Backlog (48 ms) above which hops are let through unprocessed until it is worked off."""
STALE_SAMPLES = 20 * HOP
"""Backlog (160 ms) above which the oldest sound is dropped: the process had been stopped."""


class Port(Protocol):
    """The engine's side of an open session (see ``pipedtln.audio.api.Session``)."""

    mic: Ring
    ref: Ring

    @property
    def paired(self) -> bool: ...

    @property
    def underruns(self) -> int: ...

    def write(self, block: Block) -> None: ...

    def jump(self, count: int) -> None: ...

    def queued(self) -> int: ...


class Tap(Protocol):
    """Something that listens to every hop; must only copy."""

    def hear(self, mic: Block, ref: Block, out: Block) -> None: ...


@dataclass(frozen=True)
class StreamReport:
    """What the engine tells of the present or last session."""

    hops: int
    dropped_hops: int
    backlog_ms: float
    queue_ms: float
    reference_backlog_ms: float
    reference_padded: int
    drift_ppm: float
    corrected: int
    margin_ms: float


class Engine:
    """Runs a :class:`Voice` over the hops of one session at a time.

    Parameters
    ----------
    voice : what to run
    pacer, feed : output queue and reference; given for tests
    """

    def __init__(
        self,
        voice: Voice,
        *,
        pacer: OutputPacer | None = None,
        feed: ReferenceFeed | None = None,
    ) -> None:
        self.voice = voice
        self.pacer = pacer or OutputPacer()
        self.feed = feed or ReferenceFeed()
        self.dropped_hops = 0
        self.last_hop_at = 0.0
        """Monotonic time of the last finished hop: the watchdog's food."""
        self._taps: tuple[Tap, ...] = ()
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._queue_level = 0.0
        self._backlog = 0.0
        self._underruns = 0
        self._mic = np.zeros(HOP, dtype=np.float32)
        self._ref = np.zeros(HOP, dtype=np.float32)
        self._out = np.zeros(HOP, dtype=np.float32)

    def wake(self) -> None:
        """Sound has arrived; called from the server's thread, never blocks."""
        self._wakes.put(True)

    def start(self, port: Port, first_guess_ms: float | None = None) -> None:
        """Work on a session until :meth:`stop`.

        Parameters
        ----------
        first_guess_ms : echo delay by the server's account, held until one is measured
        """
        if self._thread is not None:
            raise RuntimeError("the engine already runs")
        self.voice.reset(first_guess_ms)
        self.pacer.reset()
        self.feed.reset()
        self._underruns = port.underruns
        self._queue_level = self._backlog = 0.0
        while not self._wakes.empty():
            self._wakes.get()
        self.last_hop_at = monotonic()
        self._thread = threading.Thread(
            target=self._run, args=(port,), name="pipedtln-worker", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the worker and wait for it; safe when not running."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._wakes.put(False)
            thread.join()

    @property
    def running(self) -> bool:
        """Whether a session is being worked on."""
        return self._thread is not None and self._thread.is_alive()

    def add_tap(self, tap: Tap) -> None:
        """Let something hear every hop from the next one on."""
        self._taps = (*self._taps, tap)

    def remove_tap(self, tap: Tap) -> None:
        """Stop letting it hear."""
        self._taps = tuple(t for t in self._taps if t is not tap)

    def report(self) -> StreamReport:
        """What has been counted and measured; from any thread."""
        to_ms = 1000 / SAMPLE_RATE
        return StreamReport(
            hops=self.voice.hops,
            dropped_hops=self.dropped_hops + self.pacer.dropped // HOP,
            backlog_ms=self._backlog * to_ms,
            queue_ms=self._queue_level * to_ms,
            reference_backlog_ms=self.feed.backlog_ms,
            reference_padded=self.feed.padded,
            drift_ppm=self.feed.drift_ppm,
            corrected=self.pacer.corrected,
            margin_ms=self.pacer.margin * to_ms,
        )

    def _run(self, port: Port) -> None:
        # What lives now lives as long as the stream: keep the collector from walking it again.
        # Not collected first, for that takes long enough to be heard at the start.
        gc.freeze()
        try:
            while self._wait():
                self._work(port)
        finally:
            gc.unfreeze()

    def _wait(self) -> bool:
        """Sleep until there is sound; False when asked to stop."""
        going = self._wakes.get()
        try:
            while True:
                going = self._wakes.get_nowait() and going
        except Empty:
            return going

    def _work(self, port: Port) -> None:
        waiting = port.mic.readable
        if waiting > STALE_SAMPLES:
            stale = (waiting - LATE_SAMPLES) // HOP * HOP
            port.mic.skip(stale)
            if port.paired:
                port.ref.skip(stale)
            else:
                self.feed.skip(port.ref, stale)
            self.dropped_hops += stale // HOP
            LOG.warning("dropped %d ms of old sound after a stall", stale * 1000 // SAMPLE_RATE)
        while port.mic.readable >= HOP:
            self._hop(port)
        self.last_hop_at = monotonic()

    def _hop(self, port: Port) -> None:
        waiting = port.mic.readable
        self._backlog += 0.02 * (waiting - HOP - self._backlog)
        port.mic.read(self._mic)
        ahead = waiting - HOP
        if port.paired:
            # Channels of one card share its clock: nothing to hold, pad or resample.
            port.ref.read(self._ref)
        else:
            self.feed.read(port.ref, self._ref, ahead)
        # A broken driver's NaN would stay in the network's memory for ever.
        for block in (self._mic, self._ref):
            if not math.isfinite(float(np.dot(block, block))):
                block[:] = 0
        self.voice.process(self._mic, self._ref, self._out, late=waiting > LATE_SAMPLES)
        for tap in self._taps:
            tap.hear(self._mic, self._ref, self._out)
        underruns = port.underruns
        if underruns != self._underruns:
            self._underruns = underruns
            self.pacer.underrun()
        queued = port.queued()
        gap = self.pacer.gap(queued, ahead)
        if gap:
            port.jump(gap)
            queued += gap
        self._queue_level += 0.02 * (queued - self._queue_level)
        paced = self.pacer.pace(self._out, queued, ahead)
        if paced is not None:
            port.write(paced)
