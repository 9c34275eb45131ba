"""The work: hops in order, from the rings of a session through the processor to its output.

It has no thread of its own: the backend's thread that took the sound in calls :meth:`Engine.wake`,
which works off every whole hop, so that sound is not handed over once more on its way.
"""

from __future__ import annotations

import gc
import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

import numpy as np

from pipedtln.processor import HOP, MOST_BATCH, SAMPLE_RATE, Block
from pipedtln.stream.losses import LossWatch
from pipedtln.stream.pacer import OutputPacer
from pipedtln.stream.reference import ReferenceFeed
from pipedtln.stream.ring import Ring
from pipedtln.stream.voice import Voice

LOG = logging.getLogger(__name__)

LATE_SAMPLES = 6 * HOP
"""Backlog (48 ms, or two periods) above which hops are let through unprocessed until it is worked
off, unless the network is quick enough to work it off itself."""
PATIENT_PERIOD = 4 * HOP
"""Period (32 ms) from which hops wait until as many are there as go at once: who asks for so long a
one wants little work, not soon, and a server may bring sound more often for another app's sake."""
STALE_SAMPLES = 20 * HOP
"""Backlog (160 ms) above which the oldest sound is dropped: the process had been stopped."""


class Port(Protocol):
    """The engine's side of an open session (see ``pipedtln.audio.api.Session``)."""

    mic: Ring
    ref: Ring

    @property
    def period(self) -> int: ...

    @property
    def paired(self) -> bool: ...

    @property
    def underruns(self) -> int: ...

    @property
    def held_back(self) -> int: ...

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
    clock : tells the seconds by which sound is late
    """

    def __init__(
        self,
        voice: Voice,
        *,
        pacer: OutputPacer | None = None,
        feed: ReferenceFeed | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.voice = voice
        self._clock = clock
        self.pacer = pacer or OutputPacer()
        self.feed = feed or ReferenceFeed()
        self.dropped_hops = 0
        self.last_hop_at = 0.0
        """Monotonic time of the last finished hop."""
        self.busy_since: float | None = None
        """Monotonic time since which the present work has been going on: the watchdog's food."""
        self.thread_id: int | None = None
        """The operating system's number of the thread that worked last."""
        self._taps: tuple[Tap, ...] = ()
        self._port: Port | None = None
        self._turn = threading.Lock()
        self._queue_level = 0.0
        self._backlog = 0.0
        self._underruns = 0
        blocks = np.zeros((3, MOST_BATCH, HOP), dtype=np.float32)
        self._blocks = [tuple(blocks[:, :count].reshape(3, -1)) for count in range(MOST_BATCH + 1)]
        """Microphone, reference and output of so many hops at once."""
        self._each = list(zip(*blocks, strict=True))

    def wake(self) -> None:
        """Sound has arrived: work on it, if started. Called by the backend, in a thread that may
        take its time."""
        with self._turn:
            if self._port is None:
                return
            if self.thread_id is None:
                self.thread_id = threading.get_native_id()
            self.busy_since = monotonic()
            try:
                self._work(self._port)
                self.last_hop_at = monotonic()
            finally:
                self.busy_since = None

    def start(self, port: Port, first_guess_ms: float | None = None) -> None:
        """Work on a session until :meth:`stop`.

        Parameters
        ----------
        first_guess_ms : echo delay by the server's account, held until one is measured
        """
        with self._turn:
            if self._port is not None:
                raise RuntimeError("the engine already runs")
            self.voice.reset(first_guess_ms)
            idle_s = monotonic() - self.last_hop_at
            self.pacer.reset(port.period, round(idle_s * SAMPLE_RATE / HOP))
            self.feed.reset(LossWatch(port.mic, port.ref))
            self._underruns = port.underruns
            self._queue_level = self._backlog = 0.0
            self.busy_since = self.thread_id = None
            self.last_hop_at = monotonic()
            # What lives now lives as long as the stream: keep the collector from walking it again.
            # Not collected first, for that takes long enough to be heard at the start.
            gc.freeze()
            self._port = port

    def stop(self) -> None:
        """End, after the hops being worked on; safe when not running."""
        with self._turn:
            if self._port is not None:
                self._port = None
                gc.unfreeze()

    @property
    def running(self) -> bool:
        """Whether a session is being worked on."""
        return self._port is not None

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

    def _work(self, port: Port) -> None:
        waiting = port.mic.readable
        self.pacer.arrived(self._age(port.mic.taken + waiting))
        if not self.pacer.started:
            # What came while the streams were opened, but for what is not late yet.
            self._leave_out(port, self.pacer.surplus(port.queued(), waiting))
        elif waiting > STALE_SAMPLES:
            stale = (waiting - LATE_SAMPLES) // HOP * HOP
            self._leave_out(port, stale)
            self.dropped_hops += stale // HOP
            LOG.warning("dropped %d ms of old sound after a stall", stale * 1000 // SAMPLE_RATE)
        patient = port.period >= PATIENT_PERIOD
        most = max(LATE_SAMPLES, 2 * port.period)
        while (waiting := port.mic.readable) >= HOP:
            late = waiting > most and not self.voice.catches_up(waiting // HOP)
            # What came together goes together, unless it is late: then every hop is looked at.
            batch = 1 if late else self.voice.batch
            if waiting < batch * HOP:
                if patient:
                    break
                batch = 1
            self._hops(port, waiting, batch, waiting % (batch * HOP) if patient else 0, late)

    def _leave_out(self, port: Port, count: int) -> None:
        """Skip the oldest samples of both streams."""
        port.mic.skip(count)
        if port.paired:
            port.ref.skip(count)
        else:
            self.feed.skip(port.ref, count)

    def _hops(self, port: Port, waiting: int, count: int, staying: int, late: bool) -> None:
        """Work on the oldest of the ``waiting`` samples, of which the newest are ``staying`` for
        now: on one hop, or on several at once."""
        mic, ref, out = self._blocks[count]
        ahead = waiting - len(mic)
        behind = (count - 1) * HOP
        # (For the mean of the hops, as if they went one by one.)
        self._backlog += 0.02 * count * (ahead + behind / 2 - self._backlog)
        port.mic.read(mic)
        if port.paired:
            # Channels of one card share its clock: nothing to hold, pad or resample.
            port.ref.read(ref)
        else:
            self.feed.read(port.ref, ref, ahead)
        # A broken driver's NaN would stay in the network's memory for ever. (Whatever it is
        # multiplied by, it shows in the sum.)
        if not math.isfinite(np.dot(mic, ref)):
            for block in (mic, ref):
                if not math.isfinite(np.dot(block, block)):
                    block[:] = 0
        if count == 1:
            self.voice.process(mic, ref, out, late=late)
        else:
            self.voice.process_batch(mic, ref, out)
        for tap in self._taps:
            for hop in self._each[:count]:
                tap.hear(*hop)
        self._put_out(port, out, ahead - staying)

    def _put_out(self, port: Port, out: Block, ahead: int) -> None:
        """Queue processed hops, after which ``ahead`` more samples were waiting."""
        underruns = port.underruns
        if underruns != self._underruns:
            self._underruns = underruns
            self.pacer.underrun()
        hops = len(out) // HOP
        queued, age = port.queued(), self._age(port.mic.taken)
        gap = self.pacer.gap(queued, ahead, hops)
        if gap:
            port.jump(gap)
            queued += gap
        self._queue_level += 0.02 * hops * (queued + (hops - 1) * HOP / 2 - self._queue_level)
        paced = self.pacer.pace(out, queued, ahead, port.held_back, age=age)
        if paced is not None:
            port.write(paced)

    def _age(self, count: int) -> int:
        """Samples since the last of the first ``count`` was recorded, plus a constant."""
        return int(self._clock() * SAMPLE_RATE) - count
