"""The connection to a PulseAudio server that streams: libpulse contexts on a thread of their own.

Each stream has a context, and so a socket, to itself. PipeWire's pulse server, up to 1.6.8 at the
least, sends a recording stream nothing in a cycle in which the same client has another message
waiting, as a playback stream's request: its sound then comes a cycle of the graph later, at random
and as often as the two meet (upstream's commit f75fc4c85 mends it).

The thread is Python's own and turns libpulse's mainloop itself: it sleeps in ``poll`` without the
interpreter lock, lets libpulse read, call back and write, and then does the work that a callback
asked for. Sound so passes from socket to socket without a hand-over between threads.
"""

from __future__ import annotations

import ctypes as c
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from pipedtln.audio import libpulse as pa
from pipedtln.errors import ServerError

LOG = logging.getLogger(__name__)

OWNER = "pipedtln"
OPEN_TIMEOUT_S = 5.0
STAY = {"node.dont-fallback": "true"}
"""WirePlumber 0.5 takes PA_STREAM_DONT_MOVE for leave to use the default device instead of ours."""


class Closeable(Protocol):
    """Something that lives on a connection."""

    def close(self) -> None: ...


class Connection:
    """Libpulse contexts and the thread that turns their mainloop.

    Parameters
    ----------
    server : address as in ``$PULSE_SERVER``; None for the user's own
    app : name of an ordinary app; None for the bridge
    contexts : how many streams may have one to themselves

    Attributes
    ----------
    turns : times that the thread has woken up
    """

    def __init__(self, server: str | None, app: str | None, contexts: int) -> None:
        self._words = {"application.name": app or OWNER}
        if app is None:
            self._words["pipedtln.owner"] = OWNER
        self.lib = pa.load()
        self.sessions: set[Closeable] = set()
        self.turns = 0
        self._due: list[Callable[[], None]] = []
        lib = self.lib
        self._lock = threading.Lock()
        self.lock, self.unlock = self._lock.acquire, self._lock.release
        self._ending = False
        self._changed = threading.Event()
        with ExitStack() as undo:
            self._loop = lib.pa_mainloop_new()
            undo.callback(lib.pa_mainloop_free, self._loop)
            self._on_state = pa.ContextNotify(lambda _context, _data: self._changed.set())
            self._contexts = [self._new_context(server, undo) for _ in range(contexts)]
            self._thread = threading.Thread(target=self._run, name="pipedtln-worker", daemon=True)
            self._thread.start()
            undo.callback(self._end)
            for context in self._contexts:
                self._await_ready(context)
            self._undo = undo.pop_all()

    @property
    def alive(self) -> bool:
        """Whether the server still answers on this connection."""
        states = map(self.lib.pa_context_get_state, self._contexts)
        return all(state == pa.PA_CONTEXT_READY for state in states)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the mainloop's thread out; on the hot path ``lock()`` and ``unlock()``."""
        with self._lock:
            yield

    def call_soon(self, work: Callable[[], None]) -> None:
        """From a callback of libpulse's: have the thread do this when all of them have returned,
        once and without the lock."""
        if work not in self._due:
            self._due.append(work)

    def new_stream(self, which: int, name: str, rate: int, channels: tuple[str, ...]) -> int:
        """A stream of float32 that bears our words; call under the lock.

        Parameters
        ----------
        which : number of the context that it has to itself
        channels : positions of its channels, ``("mono",)`` for one
        """
        context = self._contexts[which]
        spec = pa.SampleSpec(pa.PA_SAMPLE_FLOAT32LE, rate, len(channels))
        positions = pa.ChannelMap()
        if not self.lib.pa_channel_map_parse(c.byref(positions), ",".join(channels).encode()):
            raise ServerError(f"the audio server knows no channels {', '.join(channels)}")
        words = {**self._words, **STAY, "media.name": name}
        with self._properties(words) as properties:
            stream = self.lib.pa_stream_new_with_proplist(
                context, name.encode(), c.byref(spec), c.byref(positions), properties
            )
        if not stream:
            raise self._error(context, f"the audio server made no stream for {name}")
        return int(stream)

    def last_error(self, which: int) -> int:
        """A context's last error number."""
        return int(self.lib.pa_context_errno(self._contexts[which]))

    def close(self) -> None:
        """Disconnect, close what sessions are left and end the mainloop's thread."""
        for session in list(self.sessions):
            session.close()
        self._undo.close()

    def _run(self) -> None:
        lib, loop, lock, due = self.lib, self._loop, self._lock, self._due
        with lock:
            while not self._ending and lib.pa_mainloop_prepare(loop, -1) >= 0:
                lock.release()
                try:
                    lib.pa_mainloop_poll(loop)
                finally:
                    lock.acquire()
                self.turns += 1
                if lib.pa_mainloop_dispatch(loop) < 0:
                    return
                while due:
                    work = due.pop()
                    lock.release()
                    try:
                        work()
                    except Exception:
                        # A broken session must not take the connection with it.
                        LOG.exception("the work on a stream failed")
                    finally:
                        lock.acquire()

    def _end(self) -> None:
        self._ending = True
        self.lib.pa_mainloop_wakeup(self._loop)
        self._thread.join()

    def _new_context(self, server: str | None, undo: ExitStack) -> int:
        """Begin to connect."""
        lib = self.lib
        with self._properties({"application.id": "io.github.pipedtln"}) as properties:
            context = int(
                lib.pa_context_new_with_proplist(
                    lib.pa_mainloop_get_api(self._loop), OWNER.encode(), properties
                )
            )
        undo.callback(lib.pa_context_unref, context)
        lib.pa_context_set_state_callback(context, self._on_state, None)
        address = server.encode() if server else None
        if lib.pa_context_connect(context, address, pa.PA_CONTEXT_NOAUTOSPAWN, None) < 0:
            raise self._error(context, "no audio server answers")
        undo.callback(lib.pa_context_disconnect, context)
        return context

    def _await_ready(self, context: int) -> None:
        ended = (pa.PA_CONTEXT_FAILED, pa.PA_CONTEXT_TERMINATED)
        while (state := self.lib.pa_context_get_state(context)) != pa.PA_CONTEXT_READY:
            if state in ended:
                raise self._error(context, "no audio server answers")
            self._changed.clear()
            if self.lib.pa_context_get_state(context) != state:
                continue
            if not self._changed.wait(OPEN_TIMEOUT_S):
                raise ServerError(f"the audio server did not answer within {OPEN_TIMEOUT_S:.0f} s")

    def _error(self, context: int, what: str) -> ServerError:
        why = self.lib.pa_strerror(self.lib.pa_context_errno(context)).decode()
        return ServerError(f"{what}: {why}. Check with: pactl info")

    @contextmanager
    def _properties(self, words: dict[str, str]) -> Iterator[int]:
        properties = self.lib.pa_proplist_new()
        try:
            for key, value in words.items():
                self.lib.pa_proplist_sets(properties, key.encode(), value.encode())
            yield properties
        finally:
            self.lib.pa_proplist_free(properties)
