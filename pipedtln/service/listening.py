"""The streams that are open now and the engine on them: opened, watched, mended, closed."""

from __future__ import annotations

import gc
import logging
import threading
from dataclasses import replace
from time import monotonic

from pipedtln.audio.api import AudioBackend, Latency, Route, Session
from pipedtln.errors import PipedtlnError
from pipedtln.processor import HOP
from pipedtln.service.backoff import Backoff
from pipedtln.stream.engine import Engine

LOG = logging.getLogger(__name__)

SILENT_S = 1.5
"""Seconds without a hop after which a stream is taken for dead and opened again."""
MOST_SILENT_S = 30.0
"""Longest such time: it doubles with each reopening that brought no sound either."""
ASLEEP_S = 1.5
"""Seconds between two looks at open streams that only a stopped process lets pass."""
LATE_MS = 500.0
"""Milliseconds of captured sound in the server's buffers that are not caught up with."""
STEADY_S = 5.0
"""Seconds of sound after which earlier failures are forgotten."""
RETRY_S, MOST_RETRY_S = 0.25, 8.0
"""Shortest and longest pause between two attempts to open what was refused."""


class Listening:
    """Runs the engine on one route at a time; all calls but :meth:`latency` from one thread.

    Attributes
    ----------
    session, route : what is open, or None; the route may lack a reference that was refused
    """

    def __init__(self, backend: AudioBackend, engine: Engine) -> None:
        self._backend = backend
        self._engine = engine
        self._guard = threading.Lock()
        self._wanted: Route | None = None
        self._retry = Backoff(RETRY_S, MOST_RETRY_S)
        self._silent_s = SILENT_S
        self._opened_at = self._watched_at = 0.0
        self._hops_before = 0
        self._refused: str | None = None
        self._silence: str | None = None
        self.session: Session | None = None
        self.route: Route | None = None

    @property
    def problem(self) -> str | None:
        """Why there is no sound although there should be, or what is missing from it."""
        return self._refused or self._silence

    def follow(self, wanted: Route | None) -> None:
        """Make the streams what they should be now: those of a route, or none."""
        now = monotonic()
        if wanted != self._wanted:
            if self.session is not None:
                self._close()
            self._wanted = wanted
            self._retry.reset()
            self._silent_s = SILENT_S
            self._refused = self._silence = None
        if self.session is not None:
            self._watch(now)
        if wanted is not None and self.session is None and self._retry.due(now):
            self._open(wanted, now)

    def pause(self, longest: float) -> float:
        """Seconds until the next :meth:`follow` is due, if nothing happens before."""
        if self._wanted is None or self.session is not None:
            return longest
        return min(longest, max(0.0, self._retry.at - monotonic()))

    def latency(self) -> Latency | None:
        """The server's report of its buffers, None while nothing is open; from any thread."""
        with self._guard:
            # Under the guard: a closed connection's memory must not be asked any more.
            return self.session.latency() if self.session else None

    def close(self) -> None:
        """Close the streams and leave the server."""
        self.follow(None)
        with self._guard:
            self._backend.close()

    def _open(self, wanted: Route, now: float) -> None:
        route = wanted
        if wanted.ref is not None and self._retry.failures >= 2:
            # Twice refused: the microphone must not wait for a reference that cannot be had.
            route = replace(wanted, ref=None)
        try:
            session = self._backend.open(route, self._engine.wake)
        except PipedtlnError as error:
            # The device went between the look and now, or the server is going.
            self._refused = str(error)
            self._retry.fail(now)
            return
        self._refused = None
        if route != wanted:
            self._refused = f"no echo is cancelled: {wanted.ref} cannot be opened"
        self._hops_before = self._engine.voice.hops
        self._engine.start(session, session.latency().echo_ms if route.ref else None)
        self.session, self.route = session, route
        self._opened_at = self._watched_at = now
        LOG.info("listening to %s", route.mic)

    def _close(self) -> None:
        session = self.session
        if session is None:
            return
        mic = self.route.mic if self.route else None
        self._engine.stop()
        with self._guard:
            self.session = self.route = None
            session.close()
        # The engine keeps the collector away while it works, and a session is a cycle.
        gc.collect()
        LOG.info("closed %s", mic)

    def _watch(self, now: float) -> None:
        """Close streams that have ended, or that bring no sound although they are open."""
        session, route = self.session, self.route
        assert session is not None
        assert route is not None
        if session.failure is not None:
            LOG.warning("%s", session.failure)
            self._close()
            if now - self._opened_at < STEADY_S:
                self._retry.fail(now)
            else:
                self._retry.reset()
            return
        asleep_s, self._watched_at = now - self._watched_at, now
        late_ms = session.latency().mic_ms if now - self._opened_at > STEADY_S else 0.0
        heard = self._engine.voice.hops > self._hops_before
        silent_s = now - self._engine.last_hop_at
        if asleep_s > ASLEEP_S:
            # The process was stopped, or the server hung. PulseAudio then delivers the hole in its
            # buffer as silence, second by second.
            LOG.warning("all stood still for %.1f s; opening the streams anew", asleep_s)
            self._close()
        elif heard and silent_s < SILENT_S and late_ms > LATE_MS:
            LOG.warning("%s is %.0f ms late; opening the streams anew", route.mic, late_ms)
            self._close()
        elif heard and silent_s < SILENT_S:
            if now - self._opened_at > STEADY_S:
                self._retry.reset()
            self._silent_s = SILENT_S
            self._silence = None
        elif silent_s > self._silent_s and session.mic.readable < HOP:
            # PipeWire 1.4 keeps the stream of an unplugged microphone open without data, and a
            # suspended source brings none either.
            self._silence = f"no sound comes from {route.mic}; is it switched off or suspended?"
            self._silent_s = min(MOST_SILENT_S, 2 * self._silent_s)
            self._close()
