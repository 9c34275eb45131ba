"""Streams on PipeWire's own graph, without the pulse server between.

```
 microphone's ports ──▶ ┌─────────────────┐        ┌────────────────┐
                        │ capture: AUX0   │ worker │ playback: AUX0 │ ──▶ virtual microphone
 monitor's ports ─────▶ │          AUX1   │ ─────▶ │                │
                        └─────────────────┘        └────────────────┘
                     one group, so one driver and one cycle (from PipeWire 0.3.72 on)
```

Microphone and reference are two channels of one stream, sample beside sample. The streams'
resamplers and queues run in libpipewire's data thread, in C alone; Python hears of each cycle in
a thread of its own (streams without PW_STREAM_FLAG_RT_PROCESS) and queues what the next cycles
will take. Links are made by us, port to port, so that no policy daemon moves them.

The output is bound to the driver's clock, as :class:`pipedtln.audio.api.Session` asks: what is
written too late for its cycle is left out.
"""

from __future__ import annotations

import ctypes as c
import os
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic, monotonic_ns

import numpy as np

from pipedtln.audio import libpipewire as pw
from pipedtln.audio.api import Counters, Latency, Route
from pipedtln.audio.channels import choose_channels
from pipedtln.audio.connection import OWNER
from pipedtln.audio.graph import OPEN_TIMEOUT_S, Graph, Port
from pipedtln.errors import DeviceNotFoundError, ServerError
from pipedtln.processor import HOP, Block
from pipedtln.stream.ring import Ring

SAMPLE_BYTES = 4
RING_SECONDS = 1
MONITOR = ".monitor"
"""What a sink's monitor is called after the sink's name by pulse servers."""
BUFFERS = 32
BUFFER_SAMPLES = 1024
MOVES_REMAPPED = (0, 3, 72)
"""The first PipeWire whose remapped devices go on when their driver changes. Before, one that is
hit in the middle of it, as DTLN Microphone may be where our streams join its driver with the
microphone's, is silent from then on, for the next recordings too (PipeWire's issue 3276)."""
WATCH_CYCLES = 64
"""Cycles whose fullest queue is compared with the clock's account."""
ASTRAY = 32
"""Samples (2 ms) by which they may differ."""


class PipeWireBackend:
    """One connection to PipeWire, kept between sessions so that opening is quick."""

    name = "pipewire"

    def __init__(self) -> None:
        self._graph: Graph | None = None

    def connect(self) -> None:
        """Reach the server ahead of the first session.

        Raises
        ------
        ServerError
            If PipeWire does not answer, or its library is not installed.
        """
        self._connected()

    def open(self, route: Route, wake: Callable[[], None]) -> PipeWireSession:
        """Open the streams of a route.

        Raises
        ------
        ServerError
            If PipeWire does not answer or refuses a stream.
        DeviceNotFoundError
            If a device of the route does not exist.
        """
        return PipeWireSession(self._connected(), route, wake)

    def close(self) -> None:
        """Leave the server."""
        if self._graph is not None:
            self._graph.close()
            self._graph = None

    def _connected(self) -> Graph:
        if self._graph is not None and not self._graph.alive:
            self.close()
        if self._graph is None:
            self._graph = Graph()
        return self._graph


class PipeWireSession:
    """The open streams of one route; see :class:`pipedtln.audio.api.Session`."""

    def __init__(self, graph: Graph, route: Route, wake: Callable[[], None]) -> None:
        self._graph = graph
        self._lib = graph.lib
        self._route = route
        self._wake = wake
        self._failure: str | None = None
        self._closed = False
        self._streaming = False
        self._turns_before = graph.turns
        self._width = 2 if route.has_reference else 1
        self._gains = (1.0, 1.0)
        self._scratch = np.zeros(8 * BUFFER_SAMPLES, dtype=np.float32)
        self._silence = np.zeros(HOP, dtype=np.float32)
        self._kept: list[object] = []
        self._time = pw.Time()
        self._at_time = c.byref(self._time)
        self._cycle_at_ns = 0
        self._position = self._cycle = 0
        """Where the device's time is, and samples of one cycle of it."""
        self._written: int | None = None
        """Where in the device's time the next write lies; None before the first."""
        self._dry = True
        self._most_excess: int | None = None
        self._usual_excess: int | None = None
        self._cycles_seen = 0
        self.mic = Ring(RING_SECONDS * route.sample_rate)
        self.ref = Ring(RING_SECONDS * route.sample_rate)
        self.counters = Counters()
        self._links: list[Callable[[], None]] = []
        self._undo = ExitStack()
        # Last: links that are taken away before their streams leave two descriptors open each
        # time (0.3.65), of messages to what is no longer there.
        self._undo.callback(self._forget_links)
        try:
            sources, monitors, sinks = self._devices()
            graph.do(self._make)
            self._await(lambda: len(self._own(self._capture, output=False)) == self._width)
            self._await(lambda: len(self._own(self._playback, output=True)) == 1)
            graph.do(lambda: self._link(sources, monitors, sinks))
            self._await(lambda: self._streaming)
        except BaseException:
            self.close()
            raise
        graph.sessions.add(self)

    @property
    def failure(self) -> str | None:
        """Why the streams ended by themselves, or None while they live."""
        if self._failure is None and not self._graph.alive:
            self._failure = "PipeWire went away"
        return self._failure

    @property
    def period(self) -> int:
        """Samples of a cycle of the graph, or as asked for if that is more.

        Other apps may make cycles shorter, which does not make ours less late.
        """
        return max(self._cycle, self._route.period)

    @property
    def paired(self) -> bool:
        """Always, where there is a reference: both are channels of one stream."""
        return self._route.has_reference

    held_back = 0
    """Nothing: what a cycle brings is there when it is over."""

    @property
    def underruns(self) -> int:
        """Times that the output ran dry."""
        return self.counters.underruns

    def write(self, block: Block) -> None:
        """Queue samples for the virtual microphone; what comes too late is left out."""
        if self._written is None:
            self._written = self._taken
        late = self._taken - self._written
        self._written += len(block)
        if late > 0:
            self._note_dry()
            block = block[late:]
        if len(block):
            self._queue(block)

    def jump(self, count: int) -> None:
        """Put ``count`` samples of silence before the next write, past ones included."""
        if self._written is None:
            self._written = self._taken
        while count > 0:
            self.write(self._silence[: min(count, HOP)])
            count -= HOP

    def queued(self) -> int:
        """Samples written but not played; negative where the device went on without them.

        A cycle takes its samples at once; what has been played of them is reckoned by the clock.
        """
        if self._written is None:
            return -self._cycle
        elapsed_ns = monotonic_ns() - self._cycle_at_ns
        played = elapsed_ns * self._route.sample_rate // 1_000_000_000
        return self._written - self._taken - min(played, self._cycle)

    def latency(self) -> Latency:
        """The graph's own report of its delays; tells nothing of the echo's."""
        if self._closed or not self._time.rate.denom:
            return Latency()
        delay_ms = 1000 * self._time.delay * self._time.rate.num / self._time.rate.denom
        return Latency(0.0, 0.0, max(0.0, delay_ms))

    def close(self) -> None:
        """Close the streams; safe to call twice and after a failure."""
        if not self._closed:
            self._closed = True
            self._graph.sessions.discard(self)
            self._graph.do(self._undo.close)

    @property
    def _taken(self) -> int:
        """Where in its time the device has taken samples up to."""
        return self._position + self._cycle

    # --- called back by libpipewire: copy, count, return ---------------------------------------

    def _arrived(self, _data: int) -> None:
        self.counters.wakeups = self._graph.turns - self._turns_before
        while buffer := self._lib.pw_stream_dequeue_buffer(self._capture):
            data = buffer.contents.buffer.contents.datas[0]
            chunk = data.chunk.contents
            count = chunk.size // (SAMPLE_BYTES * self._width)
            if data.data and count:
                self._take(data.data + chunk.offset, count)
            self._lib.pw_stream_queue_buffer(self._capture, buffer)
        self._look_at_the_clock()
        if self.mic.readable >= HOP:
            self._graph.call_soon(self._wake)

    def _take(self, address: int, count: int) -> None:
        if self._width == 1 and self._gains[0] == 1.0:
            self.mic.write_at(address, count)
            return
        samples = (c.c_float * (count * self._width)).from_address(address)
        frames = np.ctypeslib.as_array(samples).reshape(count, self._width)
        scaled = self._scratch[:count]
        rings = (self.ref, self.mic) if self._width == 2 else (self.mic,)
        # The reference first: a reader that finds the microphone's sample finds its too.
        for ring, channel in zip(rings, range(self._width - 1, -1, -1), strict=True):
            np.multiply(frames[:, channel], self._gains[channel], out=scaled)
            ring.write(scaled)

    def _look_at_the_clock(self) -> None:
        time = self._time
        self._lib.pw_stream_get_time_n(self._playback, self._at_time, c.sizeof(pw.Time))
        if not time.rate.denom or time.now == self._cycle_at_ns:
            return
        position = time.ticks * time.rate.num * self._route.sample_rate // time.rate.denom
        if self._cycle_at_ns and position > self._position:
            cycle = position - self._position
            # After a stall several cycles have passed; they have not become longer.
            if not self._streaming or cycle < 2 * self._cycle:
                self._cycle = cycle
            if not self._streaming:
                self._streaming = True
                self._graph.changed.set()
        self._cycle_at_ns, self._position = time.now, position
        self._compare(time.queued)

    def _compare(self, queued: int) -> None:
        """Hold the clock's account against the queue's: where the device paused, they differ.

        Buffers leave the queue whole, so that it tells too little by up to one of them. The most
        that it tells over a while is right but for what the resampler keeps, which stays the same.
        """
        if self._written is None:
            return
        ahead = self._written - self._taken
        if ahead < 0:
            self._note_dry()
            return
        self._dry = False
        excess = queued - ahead
        most = excess if self._most_excess is None else max(excess, self._most_excess)
        self._most_excess = most
        self._cycles_seen += 1
        if self._cycles_seen < WATCH_CYCLES:
            return
        self._most_excess, self._cycles_seen = None, 0
        if self._usual_excess is None:
            self._usual_excess = most
        elif abs(most - self._usual_excess) > ASTRAY:
            self._written += most - self._usual_excess

    def _note_dry(self) -> None:
        self.counters.underruns += not self._dry
        self._dry = True
        self._most_excess, self._cycles_seen = None, 0

    def _queue(self, block: Block) -> None:
        buffer = self._lib.pw_stream_dequeue_buffer(self._playback)
        if not buffer:
            self.counters.overruns += 1
            return
        content = buffer.contents
        data = content.buffer.contents.datas[0]
        c.memmove(data.data, block.ctypes.data, block.nbytes)
        chunk = data.chunk.contents
        chunk.offset, chunk.size, chunk.stride = 0, block.nbytes, SAMPLE_BYTES
        content.size = len(block)
        self._lib.pw_stream_queue_buffer(self._playback, buffer)

    def _state_changed(self, _data: int, _old: int, state: int, error: bytes | None) -> None:
        if state == pw.PW_STREAM_STATE_ERROR:
            self._fail(f"PipeWire ended a stream: {(error or b'').decode(errors='replace')}")
        self._graph.changed.set()

    def _fail(self, reason: str) -> None:
        if not self._closed and self._failure is None:
            self._failure = reason
            self._graph.changed.set()
            self._graph.call_soon(self._wake)

    # --- opening -----------------------------------------------------------------------------

    def _devices(self) -> tuple[list[Port], list[Port], list[Port]]:
        """Ports of the microphone, of the reference (or none) and of the output."""
        route = self._route
        source = self._found(route.mic, output=True)
        mic, ref = choose_channels(len(source), route.mic, route.mic_channel, route.ref_channel)
        reference: list[Port] = []
        if ref is not None:
            reference = [source[ref]]
        elif route.ref:
            reference = self._found(route.ref, output=True)
        return ([source[mic]] if mic is not None else source), reference, self._found(route.out)

    def _found(self, name: str, *, output: bool = False) -> list[Port]:
        node: list[int] = []

        def there() -> bool:
            number = self._graph.node(name)
            if number is None and name.endswith(MONITOR):
                number = self._graph.node(name[: -len(MONITOR)])
            node[:] = [] if number is None else [number]
            return bool(node and self._graph.ports(node[0], output=output))

        try:
            self._await(there, 1.0)
        except ServerError as error:
            raise DeviceNotFoundError(
                f"no device named '{name}'. List them with: pipedtln devices"
            ) from error
        return self._graph.ports(node[0], output=output)

    def _make(self) -> None:
        route = self._route
        self._capture = self._stream(
            "DTLN microphone",
            "Capture",
            pw.PW_DIRECTION_INPUT,
            [pw.format_pod(route.sample_rate, self._width)],
            self._arrived,
        )
        self._playback = self._stream(
            "DTLN output",
            "Playback",
            pw.PW_DIRECTION_OUTPUT,
            [
                pw.format_pod(route.sample_rate, 1),
                pw.buffers_pod(BUFFERS, BUFFER_SAMPLES * SAMPLE_BYTES),
            ],
        )

    def _stream(
        self,
        name: str,
        category: str,
        direction: int,
        pods: list[bytes],
        process: Callable[[int], None] | None = None,
    ) -> int:
        words = {
            "application.name": OWNER,
            "application.id": "io.github.pipedtln",
            "pipedtln.owner": OWNER,
            "media.name": name,
            "media.type": "Audio",
            "media.category": category,
            "node.name": f"pipedtln.{category.lower()}",
            "node.description": name,
            "node.autoconnect": "false",
            "node.latency": f"{self._route.period}/{self._route.sample_rate}",
            "state.restore-props": "false",
            "state.restore-target": "false",
        }
        if pw.version(self._lib) >= MOVES_REMAPPED:
            words["node.group"] = f"pipedtln-{os.getpid()}"
        stream = self._graph.new_stream(name, words)
        self._undo.callback(self._lib.pw_stream_destroy, stream)
        callbacks: dict[int, object] = {
            pw.STREAM_STATE_CHANGED: pw.StreamState(self._state_changed)
        }
        if process is not None:
            callbacks[pw.STREAM_PROCESS] = pw.StreamProcess(process)
        table, hook = pw.events(pw.STREAM_EVENTS, callbacks), pw.Hook()
        self._kept += [*callbacks.values(), table, hook]
        self._lib.pw_stream_add_listener(stream, c.byref(hook), table, None)
        flags = pw.PW_STREAM_FLAG_MAP_BUFFERS | pw.PW_STREAM_FLAG_DONT_RECONNECT
        answer = self._lib.pw_stream_connect(
            stream, direction, pw.PW_ID_ANY, flags, pw.params(pods), len(pods)
        )
        if answer < 0:
            raise ServerError(f"PipeWire refused a stream: {os.strerror(-answer)}")
        return stream

    def _own(self, stream: int, *, output: bool) -> list[Port]:
        return self._graph.ports(self._lib.pw_stream_get_node_id(stream), output=output)

    def _link(self, sources: list[Port], monitors: list[Port], sinks: list[Port]) -> None:
        inputs = self._own(self._capture, output=False)
        output = self._own(self._playback, output=True)[0]
        links = [(port, inputs[0]) for port in sources]
        links += [(port, inputs[1]) for port in monitors]
        links += [(output, port) for port in sinks]
        # Ports linked to one are added up there; a mono mix is their mean.
        self._gains = (1 / len(sources), 1 / max(1, len(monitors)))
        for source, sink in links:
            self._links.append(self._graph.link(source, sink, self._link_ended))

    def _link_ended(self) -> None:
        self._fail("a link to a device ended")

    def _forget_links(self) -> None:
        while self._links:
            self._links.pop()()

    def _await(self, done: Callable[[], bool], timeout: float = OPEN_TIMEOUT_S) -> None:
        end = monotonic() + timeout
        while True:
            self._graph.changed.clear()
            if done():
                return
            if self._failure is not None:
                raise ServerError(self._failure)
            if not self._graph.changed.wait(max(0.0, end - monotonic())):
                raise ServerError("PipeWire did not open the streams in time")
