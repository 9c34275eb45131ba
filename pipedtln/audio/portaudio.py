"""Streams through PortAudio, for hosts with ALSA alone.

::

    card ──▶ callback: copy ──▶ pump: pick channels, to 16 kHz ──▶ rings ──▶ worker
    card ◀── callback: copy ◀── ring at the card's rate ◀── to the card's rate ◀── worker

The output is bound to the card's time as elsewhere: the callback counts what it missed, and as
much of what comes later is left out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

import numpy as np

from pipedtln.audio.api import Counters, Latency, Route
from pipedtln.audio.cards import (
    Card,
    Shape,
    find_card,
    find_shape,
    load_portaudio,
    portaudio_errors,
    refresh_cards,
)
from pipedtln.audio.channels import choose_channels, picks_channels
from pipedtln.audio.rates import RateConverter
from pipedtln.errors import ServerError
from pipedtln.processor import Block
from pipedtln.stream.ring import Ring

LOG = logging.getLogger(__name__)

RING_SECONDS = 1


class PortAudioBackend:
    """Opens cards by the numbers or parts of names that sounddevice takes.

    A route's devices are PortAudio's; its ``latency_ms`` is what the cards are asked to buffer.

    Raises
    ------
    ServerError
        If sounddevice or PortAudio is not installed.
    """

    name = "portaudio"

    def __init__(self) -> None:
        load_portaudio()
        self._sessions: list[PortAudioSession] = []

    def refresh(self) -> None:
        """Look for cards again, unless a stream is open.

        Raises
        ------
        ServerError
            If PortAudio fails.
        """
        self._sessions = [session for session in self._sessions if not session.closed]
        if not self._sessions:
            refresh_cards()

    def open(self, route: Route, wake: Callable[[], None]) -> PortAudioSession:
        """Open the streams of a route.

        Raises
        ------
        ServerError
            If a card refuses, as when another program uses it.
        DeviceNotFoundError
            If a device of the route does not exist.
        DeviceError
            If the card lacks a channel of the route.
        """
        session = PortAudioSession(route, wake)
        self._sessions.append(session)
        return session

    def close(self) -> None:
        """Close what is still open."""
        for session in self._sessions:
            session.close()
        self._sessions = []


class PortAudioSession:
    """The open streams of one route; see :class:`pipedtln.audio.api.Session`."""

    def __init__(self, route: Route, wake: Callable[[], None]) -> None:
        self._route = route
        self._wake = wake
        self._failure: str | None = None
        self.closed = False
        self.mic = Ring(RING_SECONDS * route.sample_rate)
        self.ref = Ring(RING_SECONDS * route.sample_rate)
        self.counters = Counters()
        self._pumped: SimpleQueue[tuple[_Source, Block] | None] = SimpleQueue()
        self._missed = self._paid = 0
        self._started = False
        self._burst = 0
        """Samples that the card may take at once: a period is half its buffer or less."""
        with ExitStack() as undo:
            out = find_card(route.out, "output")
            shape = find_shape(out, "output", (1, 2, out.outputs))
            self._to_card = RateConverter(route.sample_rate, shape.sample_rate)
            self._card_rate = shape.sample_rate
            self._queue = Ring(RING_SECONDS * shape.sample_rate)
            self._scratch = np.zeros(shape.sample_rate, dtype=np.float32)
            microphone = _Source(route, route.mic, "microphone")
            sources = [microphone]
            if route.ref is not None and not self.paired:
                sources.insert(0, _Source(route, route.ref, "reference"))
            self._microphone = microphone
            pump = threading.Thread(target=self._pump, name="pipedtln-pump", daemon=True)
            pump.start()
            undo.callback(pump.join, 5.0)
            undo.callback(self._pumped.put, None)
            self._out = self._open(undo, "Output", out, shape, self._play)
            self._inputs = [
                self._open(undo, "Input", source.card, source.shape, self._hear(source))
                for source in sources
            ]
            self._burst = int(self._out.latency * route.sample_rate / 2)
            self._undo = undo.pop_all()
        LOG.info("microphone: %s; output: %s", microphone.shape, shape)

    @property
    def period(self) -> int:
        """As the route asks for."""
        return self._route.period

    @property
    def paired(self) -> bool:
        """Whether the reference is a channel of the microphone's card."""
        return self._route.ref_channel is not None

    held_back = 0
    """Nothing: a card's own periods are asked for."""

    @property
    def underruns(self) -> int:
        """Times that the output ran dry."""
        return self.counters.underruns

    @property
    def failure(self) -> str | None:
        """Why the streams ended by themselves, or None while they live."""
        return self._failure

    def write(self, block: Block) -> None:
        """Queue samples for the output; what the card has passed already is lost."""
        sound = self._to_card.convert(block)
        late = min(self._missed - self._paid, len(sound))
        if late:
            self._paid += late
            sound = sound[late:]
        self._queue.write(sound)
        self._started = True

    def jump(self, count: int) -> None:
        """Put ``count`` samples of silence before the next write."""
        self.write(np.zeros(count, dtype=np.float32))

    def queued(self) -> int:
        """Samples written but not played, beyond what the card may take in one burst.

        Negative where it took more, and where it went on without them.
        """
        level = self._queue.readable - (self._missed - self._paid)
        return level * self._route.sample_rate // self._card_rate - self._burst

    def latency(self) -> Latency:
        """PortAudio's own report of its buffers, with the converters' delay."""
        if self.closed or self._failure:
            return Latency()
        convert = self._microphone.convert.delay_ms
        return Latency(
            self._inputs[-1].latency * 1000 + convert,
            self._inputs[0].latency * 1000 + convert if self._route.has_reference else 0.0,
            self._out.latency * 1500 + self._to_card.delay_ms,
        )

    def close(self) -> None:
        """Close the streams; safe to call twice and after a failure."""
        if not self.closed:
            self.closed = True
            self._undo.close()

    # --- in PortAudio's threads: copy, count, return ------------------------------------------

    def _hear(self, source: _Source) -> Callable[[Any, int, Any, Any], None]:
        def heard(sound: Block, _frames: int, _time: Any, status: Any) -> None:
            if status.input_overflow:
                self.counters.overruns += 1
            self._pumped.put((source, sound.copy()))

        return heard

    def _play(self, out: Block, frames: int, _time: Any, status: Any) -> None:
        sound = self._scratch[:frames]
        got = self._queue.read(sound)
        if got < frames:
            sound[got:] = 0
            self._missed += frames - got
        if self._started and (got < frames or status.output_underflow):
            self.counters.underruns += 1
        out[:] = sound[:, np.newaxis]

    def _ended(self, name: str) -> None:
        if not self.closed and self._failure is None:
            self._failure = f"the stream of {name} ended"

    # --- in the pump's thread -----------------------------------------------------------------

    def _pump(self) -> None:
        while (arrived := self._pumped.get()) is not None:
            source, sound = arrived
            if source is not self._microphone:
                self.ref.write(source.pick(sound))
                continue
            self.counters.wakeups += 1
            picked = source.pick(sound)
            if self.paired:
                self.ref.write(picked[:, 1])
                picked = picked[:, 0]
            self.mic.write(picked)
            if self.mic.readable >= self._route.period:
                try:
                    self._wake()
                except Exception:
                    # A broken hop must not stop the next ones.
                    LOG.exception("the work on a stream failed")

    # --- opening ------------------------------------------------------------------------------

    def _open(
        self,
        undo: ExitStack,
        kind: str,
        card: Card,
        shape: Shape,
        callback: Callable[[Any, int, Any, Any], None],
    ) -> Any:
        with portaudio_errors(f"open '{card.name}'"):
            stream = getattr(load_portaudio(), f"{kind}Stream")(
                device=card.index,
                channels=shape.channels,
                samplerate=shape.sample_rate,
                dtype="float32",
                blocksize=self._route.period * shape.sample_rate // self._route.sample_rate,
                latency=self._route.latency_ms / 1000,
                callback=callback,
                finished_callback=lambda: self._ended(card.name),
            )
            undo.callback(_close, stream)
            stream.start()
        return stream


class _Source:
    """An input card, and what becomes of its frames."""

    def __init__(self, route: Route, wanted: str, role: str) -> None:
        self.card = find_card(wanted, "input")
        self._columns: list[int] = []
        picked = role == "microphone" and picks_channels(route)
        counts = _widths(self.card, route) if picked else (1, 2, self.card.inputs)
        self.shape = find_shape(self.card, "input", counts)
        if picked:
            mic, ref = choose_channels(
                self.shape.channels, self.card.name, route.mic_channel, route.ref_channel
            )
            self._columns = [index for index in (mic, ref) if index is not None]
        self.convert = RateConverter(
            self.shape.sample_rate, route.sample_rate, max(1, len(self._columns))
        )

    def pick(self, frames: Block) -> Block:
        """At the network's rate: shape (n, 2) of two picked channels, else (n,)."""
        if len(self._columns) > 1:
            return self.convert.convert(np.ascontiguousarray(frames[:, self._columns]))
        if self._columns:
            return self.convert.convert(np.ascontiguousarray(frames[:, self._columns[0]]))
        if frames.shape[1] == 1:
            return self.convert.convert(frames[:, 0])
        return self.convert.convert(frames.mean(axis=1, dtype=np.float32))


def _widths(card: Card, route: Route) -> tuple[int, ...]:
    """Numbers of channels to try where one is picked.

    What ALSA's configuration makes claims 32 and more where it takes any number, so that the last
    one means nothing; but one that is counted from the front is there.
    """
    picks = [pick for pick in (route.mic_channel, route.ref_channel) if pick is not None]
    if card.hardware or min(picks) < 0:
        return (card.inputs,)
    return (max(2, max(picks) + 1), card.inputs)


def _close(stream: Any) -> None:
    try:
        with portaudio_errors("close a stream"):
            stream.close()
    except ServerError as error:
        LOG.debug("%s", error)  # the card is gone, and with it the stream
