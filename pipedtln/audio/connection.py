"""The connection to a PulseAudio server that streams: a libpulse context on its own thread."""

from __future__ import annotations

import ctypes as c
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from pipedtln.audio import libpulse as pa
from pipedtln.errors import ServerError

OWNER = "pipedtln"
OPEN_TIMEOUT_S = 5.0
STAY = {"node.dont-fallback": "true"}
"""WirePlumber 0.5 takes PA_STREAM_DONT_MOVE for leave to use the default device instead of ours."""


class Closeable(Protocol):
    """Something that lives on a connection."""

    def close(self) -> None: ...


class Connection:
    """A libpulse context on a threaded mainloop."""

    def __init__(self, server: str | None, app: str | None = None) -> None:
        self._words = {"application.name": app or OWNER}
        if app is None:
            self._words["pipedtln.owner"] = OWNER
        self.lib = pa.load()
        self.sessions: set[Closeable] = set()
        lib = self.lib
        self._changed = threading.Event()
        with ExitStack() as undo:
            self._loop = lib.pa_threaded_mainloop_new()
            undo.callback(lib.pa_threaded_mainloop_free, self._loop)
            with self._properties({"application.id": "io.github.pipedtln"}) as properties:
                self.context = lib.pa_context_new_with_proplist(
                    lib.pa_threaded_mainloop_get_api(self._loop), OWNER.encode(), properties
                )
            undo.callback(lib.pa_context_unref, self.context)
            self._on_state = pa.ContextNotify(lambda _context, _data: self._changed.set())
            lib.pa_context_set_state_callback(self.context, self._on_state, None)
            address = server.encode() if server else None
            if lib.pa_context_connect(self.context, address, pa.PA_CONTEXT_NOAUTOSPAWN, None) < 0:
                raise self._error("no audio server answers")
            undo.callback(lib.pa_context_disconnect, self.context)
            lib.pa_threaded_mainloop_start(self._loop)
            undo.callback(lib.pa_threaded_mainloop_stop, self._loop)
            self._await_ready()
            self._undo = undo.pop_all()

    @property
    def alive(self) -> bool:
        """Whether the server still answers on this connection."""
        return bool(self.lib.pa_context_get_state(self.context) == pa.PA_CONTEXT_READY)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the mainloop's thread out."""
        self.lib.pa_threaded_mainloop_lock(self._loop)
        try:
            yield
        finally:
            self.lib.pa_threaded_mainloop_unlock(self._loop)

    def lock(self) -> None:
        """As :meth:`locked`, for the hot path."""
        self.lib.pa_threaded_mainloop_lock(self._loop)

    def unlock(self) -> None:
        """Let the mainloop's thread in again."""
        self.lib.pa_threaded_mainloop_unlock(self._loop)

    def new_stream(self, name: str, rate: int, channels: tuple[str, ...]) -> int:
        """A stream of float32 that bears our words; call under the lock.

        ``channels`` are the positions of its channels, ``("mono",)`` for one.
        """
        spec = pa.SampleSpec(pa.PA_SAMPLE_FLOAT32LE, rate, len(channels))
        positions = pa.ChannelMap()
        if not self.lib.pa_channel_map_parse(c.byref(positions), ",".join(channels).encode()):
            raise ServerError(f"the audio server knows no channels {', '.join(channels)}")
        words = {**self._words, **STAY, "media.name": name}
        with self._properties(words) as properties:
            stream = self.lib.pa_stream_new_with_proplist(
                self.context, name.encode(), c.byref(spec), c.byref(positions), properties
            )
        if not stream:
            raise self._error(f"the audio server made no stream for {name}")
        return int(stream)

    def last_error(self) -> int:
        """The context's last error number."""
        return int(self.lib.pa_context_errno(self.context))

    def close(self) -> None:
        """Disconnect, close what sessions are left and end the mainloop's thread."""
        for session in list(self.sessions):
            session.close()
        self._undo.close()

    def _await_ready(self) -> None:
        ended = (pa.PA_CONTEXT_FAILED, pa.PA_CONTEXT_TERMINATED)
        while (state := self.lib.pa_context_get_state(self.context)) != pa.PA_CONTEXT_READY:
            if state in ended:
                raise self._error("no audio server answers")
            self._changed.clear()
            if self.lib.pa_context_get_state(self.context) != state:
                continue
            if not self._changed.wait(OPEN_TIMEOUT_S):
                raise ServerError(f"the audio server did not answer within {OPEN_TIMEOUT_S:.0f} s")

    def _error(self, what: str) -> ServerError:
        why = self.lib.pa_strerror(self.last_error()).decode()
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
