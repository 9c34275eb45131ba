"""Streams through libpulse: the same code on PulseAudio and on PipeWire's pulse server.

What arrives is copied into the session's rings; only the microphone has a read callback, and it
fetches the reference too, so that each period costs one entry into Python. The work on it, which
writes the output, follows in the same turn of the connection's thread.

The output never pauses (no prebuffering): where it ran dry, the device's position moves on in
silence, and what comes too late is lost rather than played later. So an underrun adds no latency,
and ``queued`` tells to the sample how far ahead of the device, or behind it, the next write lies.
With early requests the device's period follows ``minreq`` on both servers, while ``tlength`` may
be long enough for that account never to saturate.
"""

from __future__ import annotations

import ctypes as c
import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import ExitStack
from statistics import fmean
from time import monotonic

import numpy as np

from pipedtln.audio import libpulse as pa
from pipedtln.audio.api import Counters, Latency, Route
from pipedtln.audio.channels import choose_channels, picks_channels
from pipedtln.audio.connection import OPEN_TIMEOUT_S, Connection
from pipedtln.errors import DeviceNotFoundError, ServerError
from pipedtln.processor import HOP, Block
from pipedtln.stream.ring import Ring

LOG = logging.getLogger(__name__)

SAMPLE_BYTES = 4
RING_SECONDS = 1
QUEUE_SECONDS = 0.25
"""What the server is told to ask for: an account, not a delay, and more than ever stands there."""
REPORTS = 10
"""The server's last reports on a recording stream, of which the middle ones' mean is told.
PipeWire's count what waits for a fragment to be full: 5 ms, 11 or none, as the moment is."""
SWING = 1 / 3
"""Part of a fragment by which what waits for one to be full swings on PipeWire: cycles are powers
of two in samples of 48 kHz, fragments of 8, 16 and 32 ms three times such a power. Where cycles are
shorter it swings by less, which the least of several reports leaves out."""
ROUNDED = 2
"""Samples by which it is off, for cycles are no whole number of samples of 16 kHz."""
PARTS = ("microphone", "output", "reference")
"""The streams, each with the context of its place here."""
MONO = ("mono",)
SILENCE = 1024
"""Samples of silence sent at a time."""
FLAGS = pa.PA_STREAM_DONT_MOVE | pa.PA_STREAM_AUTO_TIMING_UPDATE


class PulseBackend:
    """One connection to the server, kept between sessions so that opening is quick.

    Parameters
    ----------
    server : address as in ``$PULSE_SERVER``; None for the user's own
    app : name under which an ordinary app streams; None for the bridge, whose streams bear our
        owner property and count as nobody's recording
    """

    name = "pulse"

    def __init__(self, server: str | None = None, *, app: str | None = None) -> None:
        self._server = server
        self._app = app
        self._connection: Connection | None = None

    def connect(self) -> None:
        """Reach the server ahead of the first session.

        Raises
        ------
        ServerError
            If none answers.
        """
        self._connected()

    def open(self, route: Route, wake: Callable[[], None]) -> PulseSession:
        """Open the streams of a route.

        Raises
        ------
        ServerError
            If no server answers or it refuses a stream.
        DeviceNotFoundError
            If a device of the route does not exist.
        """
        return PulseSession(self._connected(), route, wake)

    def close(self) -> None:
        """Leave the server."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.alive:
            self.close()
        if self._connection is None:
            self._connection = Connection(self._server, self._app, len(PARTS))
        return self._connection


class PulseSession:
    """The open streams of one route; see :class:`pipedtln.audio.api.Session`."""

    def __init__(self, connection: Connection, route: Route, wake: Callable[[], None]) -> None:
        self._connection = connection
        self._call_soon = connection.call_soon
        self._lib = connection.lib
        self._route = route
        self._wake = wake
        self._failure: str | None = None
        self._turns_before = connection.turns
        self._skip = 0
        self._room = 0
        """Bytes that the server has asked for and not got."""
        self._taken = route.period
        """Samples that the device took at its last turn, and when."""
        self._asked_at = monotonic()
        self._ready = threading.Event()
        self._closed = False
        self._mic = self._out = self._ref = 0
        self._callbacks: list[object] = []
        self._pointer, self._size = c.c_void_p(), c.c_size_t()
        self._at_pointer, self._at_size = c.byref(self._pointer), c.byref(self._size)
        self._devices: dict[int, str] = {}
        self._parts: dict[int, int] = {}
        """Kept here, for libpulse knows no context of a stream that was refused."""
        self._frame_bytes: dict[int, int] = {}
        self._ages: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=REPORTS))
        """Milliseconds by which the newest sound of each recording stream was old when told of."""
        self.held_back = 0
        """Samples of the microphone that wait in the server even after it has just sent some."""
        self._held_back: deque[int] = deque(maxlen=REPORTS)
        self._channels = route.channels if picks_channels(route) else MONO
        mic, ref = choose_channels(
            len(self._channels), route.mic, route.mic_channel, route.ref_channel
        )
        self._mic_channel, self._ref_channel = mic or 0, ref or 0
        self._silence = np.zeros(SILENCE, dtype=np.float32)
        self.mic = Ring(RING_SECONDS * route.sample_rate)
        self.ref = Ring(RING_SECONDS * route.sample_rate)
        self.counters = Counters()
        with ExitStack() as undo:
            self._undo = undo
            self._connect(route)
            with connection.locked():
                # PipeWire lengthens it when the device's period grows: look each time.
                self._attr = self._lib.pa_stream_get_buffer_attr(self._out).contents
                self._room = int(self._lib.pa_stream_writable_size(self._out))
                self._on_write = pa.StreamRequest(self._asked)
                self._lib.pa_stream_set_write_callback(self._out, self._on_write, None)
                self._on_read = pa.StreamRequest(self._arrived)
                self._lib.pa_stream_set_read_callback(self._mic, self._on_read, None)
            # Before any stream goes, for it asks for the reference too.
            undo.callback(self._fall_silent)
            # Its callbacks must not be collected as long as libpulse may call them.
            connection.sessions.add(self)
            undo.callback(connection.sessions.discard, self)
            self._undo = undo.pop_all()

    @property
    def failure(self) -> str | None:
        """Why the streams ended by themselves, or None while they live."""
        return self._failure

    @property
    def period(self) -> int:
        """As the route asks for."""
        return self._route.period

    @property
    def paired(self) -> bool:
        """Whether the reference is a channel of the microphone."""
        return self._route.ref_channel is not None

    @property
    def underruns(self) -> int:
        """Times that the output ran dry."""
        return self.counters.underruns

    def write(self, block: Block) -> None:
        """Queue samples for the virtual microphone; they are copied."""
        connection = self._connection
        connection.lock()
        try:
            skip, self._skip = self._skip, 0
            self._send(block, skip)
        finally:
            connection.unlock()

    def jump(self, count: int) -> None:
        """Put ``count`` samples of silence before the next write.

        What the device has passed already is skipped, not sent.
        """
        with self._connection.locked():
            passed = min(count, max(0, -self.queued()))
            count -= passed
            # Only with the next samples: libpulse forgets a seek that comes without any, and all
            # that follows would be too late for ever.
            self._skip += passed
            while count > 0:
                skip, self._skip = self._skip, 0
                self._send(self._silence[: min(count, SILENCE)], skip)
                count -= SILENCE

    def queued(self) -> int:
        """Samples written but not played; negative where the device went on without them.

        The server tells when the device has taken a period; what it has played of it since is
        reckoned by the clock. So the level does not depend on when one happens to look.
        """
        level = (int(self._attr.tlength) - self._room) // SAMPLE_BYTES + self._skip
        played = int((monotonic() - self._asked_at) * self._route.sample_rate)
        return level - min(played, self._taken)

    def _send(self, block: Block, skip: int) -> None:
        if self._failure is None:
            self._lib.pa_stream_write(
                self._out,
                block.ctypes.data,
                block.nbytes,
                None,
                skip * SAMPLE_BYTES,
                pa.PA_SEEK_RELATIVE,
            )
            self._room -= block.nbytes + skip * SAMPLE_BYTES

    def latency(self) -> Latency:
        """The server's own report of its buffers."""
        with self._connection.locked():
            if self._closed or self._failure:
                return Latency()
            return Latency(self._age(self._mic), self._age(self._ref))

    def close(self) -> None:
        """Close the streams; safe to call twice and after a failure."""
        if not self._closed:
            self._closed = True
            self._undo.close()

    # --- called back by libpulse: copy, count, return ------------------------------------------

    def _arrived(self, _stream: int, _size: int, _data: int) -> None:
        self.counters.wakeups = self._connection.turns - self._turns_before
        if self._ref:
            self._fetch(self._ref, self.ref)
        if self._channels == MONO:
            self._fetch(self._mic, self.mic)
        else:
            self._fetch_channels()
        if self.mic.readable >= HOP:
            self._call_soon(self._wake)

    def _fetch(self, stream: int, ring: Ring) -> None:
        lib, pointer, size = self._lib, self._pointer, self._size
        while lib.pa_stream_peek(stream, self._at_pointer, self._at_size) >= 0 and size.value:
            count = size.value // SAMPLE_BYTES
            if pointer.value:
                ring.write_at(pointer.value, count)
            else:
                self.counters.mic_holes += 1
                ring.write_silence(count)
            lib.pa_stream_drop(stream)

    def _fetch_channels(self) -> None:
        """As :meth:`_fetch`, of the picked channels of a stream that has several."""
        lib, pointer, size = self._lib, self._pointer, self._size
        width = len(self._channels)
        while lib.pa_stream_peek(self._mic, self._at_pointer, self._at_size) >= 0 and size.value:
            count = size.value // SAMPLE_BYTES // width
            if pointer.value:
                frames = np.ctypeslib.as_array(
                    (c.c_float * (count * width)).from_address(pointer.value)
                )
                frames = frames.reshape(count, width)
                if self.paired:
                    self.ref.write(frames[:, self._ref_channel])
                self.mic.write(frames[:, self._mic_channel])
            else:
                self.counters.mic_holes += 1
                if self.paired:
                    self.ref.write_silence(count)
                self.mic.write_silence(count)
            lib.pa_stream_drop(self._mic)

    def _asked(self, _stream: int, size: int, _data: int) -> None:
        self._taken = max(self._route.period, (size - self._room) // SAMPLE_BYTES)
        self._room = size
        self._asked_at = monotonic()

    def _state_changed(self, stream: int, _data: int) -> None:
        state = self._lib.pa_stream_get_state(stream)
        self._ready.set()
        if state in (pa.PA_STREAM_FAILED, pa.PA_STREAM_TERMINATED):
            self._fail(f"the stream of {self._devices[stream]} ended")

    def _timed(self, stream: int, _data: int) -> None:
        """Note how old the newest sound of a recording stream is, as the server tells each second.

        libpulse's own reckoning in between goes by the reports of the last 5 s, and is wrong for
        three of them by as much as a stall has lasted. What a report says of its own way here is
        left out: after a stall that is the stall.
        """
        told = self._lib.pa_stream_get_timing_info(stream)
        if told:
            timing = told.contents
            unread = (timing.write_index - timing.read_index) // self._frame_bytes[stream]
            buffered = (timing.source_usec - timing.sink_usec) / 1000
            self._ages[stream].append(buffered + unread * 1000 / self._route.sample_rate)
            if stream == self._mic and timing.write_index:
                self._note_held_back(unread)

    def _note_held_back(self, unread: int) -> None:
        """Note what waits of the microphone in the server, of which the swing is left out.

        PulseAudio sends all it has; there it is nothing.
        """
        apart = (unread + ROUNDED) % (self._route.period * SWING) - ROUNDED
        self._held_back.append(max(0, round(apart)))
        self.held_back = min(self._held_back)

    def _age(self, stream: int) -> float:
        """How old the newest sound of a recording stream usually is, in ms."""
        told = sorted(self._ages[stream])
        apart = len(told) // 4
        return fmean(told[apart : len(told) - apart]) if told else 0.0

    def _moved(self, stream: int, _data: int) -> None:
        name = self._lib.pa_stream_get_device_name(stream)
        if name is None or name.decode() != self._devices[stream]:
            self._fail(f"the stream of {self._devices[stream]} was moved")

    def _underflow(self, _stream: int, _data: int) -> None:
        self.counters.underruns += 1

    def _overflow(self, _stream: int, _data: int) -> None:
        self.counters.overruns += 1

    def _fail(self, reason: str) -> None:
        if not self._closed and self._failure is None:
            self._failure = reason
            self._call_soon(self._wake)

    # --- opening ----------------------------------------------------------------------------

    def _connect(self, route: Route) -> None:
        # The microphone first and alone: the first sound comes as long after it is there as any
        # later one, and PipeWire has streams that are asked for together ready together. What
        # comes while the others are opened waits, for its callback is what starts the work.
        self._mic = self._connect_record(route.mic, "microphone", self._channels)
        self._await_ready()
        self._out = self._connect_playback(route)
        if route.ref and not self.paired:
            self._ref = self._connect_record(route.ref, "reference", MONO)
        self._await_ready()

    def _connect_record(self, device: str, name: str, channels: tuple[str, ...]) -> int:
        route = self._route
        frame_bytes = len(channels) * SAMPLE_BYTES
        flags = FLAGS | pa.PA_STREAM_ADJUST_LATENCY
        if channels != MONO:
            flags |= pa.PA_STREAM_NO_REMAP_CHANNELS | pa.PA_STREAM_NO_REMIX_CHANNELS
        attr = pa.BufferAttr(
            maxlength=RING_SECONDS * route.sample_rate * frame_bytes,
            tlength=pa.UNSET,
            prebuf=pa.UNSET,
            minreq=pa.UNSET,
            fragsize=route.period * frame_bytes,
        )
        with self._connection.locked():
            stream = self._new(device, name, channels)
            self._frame_bytes[stream] = frame_bytes
            notify = pa.StreamNotify(self._timed)
            self._callbacks.append(notify)
            self._lib.pa_stream_set_latency_update_callback(stream, notify, None)
            answer = self._lib.pa_stream_connect_record(
                stream, device.encode(), c.byref(attr), flags
            )
            self._connected(answer, stream)
        return stream

    def _connect_playback(self, route: Route) -> int:
        attr = pa.BufferAttr(
            maxlength=RING_SECONDS * route.sample_rate * SAMPLE_BYTES,
            tlength=int(QUEUE_SECONDS * route.sample_rate) * SAMPLE_BYTES,
            prebuf=0,
            minreq=route.period * SAMPLE_BYTES,
            fragsize=pa.UNSET,
        )
        with self._connection.locked():
            stream = self._new(route.out, "output", MONO)
            for name, callback in (("underflow", self._underflow), ("overflow", self._overflow)):
                notify = pa.StreamNotify(callback)
                self._callbacks.append(notify)
                getattr(self._lib, f"pa_stream_set_{name}_callback")(stream, notify, None)
            answer = self._lib.pa_stream_connect_playback(
                stream,
                route.out.encode(),
                c.byref(attr),
                FLAGS | pa.PA_STREAM_EARLY_REQUESTS,
                None,
                None,
            )
            self._connected(answer, stream)
        return stream

    def _new(self, device: str, name: str, channels: tuple[str, ...]) -> int:
        part = PARTS.index(name)
        stream = self._connection.new_stream(
            part, f"DTLN {name}", self._route.sample_rate, channels
        )
        self._parts[stream] = part
        self._undo.callback(self._release, stream)
        self._devices[stream] = device
        for event, callback in (("state", self._state_changed), ("moved", self._moved)):
            notify = pa.StreamNotify(callback)
            self._callbacks.append(notify)
            getattr(self._lib, f"pa_stream_set_{event}_callback")(stream, notify, None)
        return stream

    def _connected(self, answer: int, stream: int) -> None:
        if answer < 0:
            self._refuse(stream)

    def _await_ready(self) -> None:
        streams = [s for s in (self._out, self._ref, self._mic) if s]
        while True:
            self._ready.clear()
            with self._connection.locked():
                states = {s: self._lib.pa_stream_get_state(s) for s in streams}
            # Only a stream that is no longer being made can be taken back.
            if all(state >= pa.PA_STREAM_READY for state in states.values()):
                failed = [s for s, state in states.items() if state != pa.PA_STREAM_READY]
                if failed:
                    self._refuse(failed[0])
                return
            if not self._ready.wait(OPEN_TIMEOUT_S):
                slow = next(s for s, state in states.items() if state < pa.PA_STREAM_READY)
                raise ServerError(f"the audio server did not open {self._devices[slow]} in time")

    def _refuse(self, stream: int) -> None:
        number = self._connection.last_error(self._parts[stream])
        device = self._devices[stream]
        if number == pa.PA_ERR_NOENTITY:
            raise DeviceNotFoundError(
                f"no device named '{device}'. List them with: pipedtln devices"
            )
        why = self._lib.pa_strerror(number).decode()
        raise ServerError(f"the audio server refused a stream of '{device}': {why}")

    def _fall_silent(self) -> None:
        with self._connection.locked():
            self._lib.pa_stream_set_read_callback(self._mic, pa.NO_REQUEST, None)

    def _release(self, stream: int) -> None:
        lib = self._lib
        with self._connection.locked():
            for name in ("state", "moved", "underflow", "overflow", "latency_update"):
                getattr(lib, f"pa_stream_set_{name}_callback")(stream, pa.NO_NOTIFY, None)
            for name in ("read", "write"):
                getattr(lib, f"pa_stream_set_{name}_callback")(stream, pa.NO_REQUEST, None)
            if lib.pa_stream_get_state(stream) == pa.PA_STREAM_READY:
                lib.pa_stream_disconnect(stream)
            lib.pa_stream_unref(stream)
