"""Listens to a server's events in a thread of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pulsectl

from pipedtln.audio.server import connect, server_errors
from pipedtln.errors import ServerError

Facility = Literal["sink", "source", "source_output", "module", "server", "card", "client"]
"""Those that are told of. Streams that play are not: PulseAudio trims the rates of its loopbacks
up to once a second, and tells so each time."""
Change = Literal["new", "change", "remove"]

_FACILITIES: tuple[Facility, ...] = (
    "sink",
    "source",
    "source_output",
    "module",
    "server",
    "card",
    "client",
)
_CHANGES: tuple[Change, ...] = ("new", "change", "remove")
_STOP_POLL_S = 0.01


@dataclass(frozen=True)
class ServerEvent:
    """Something came, changed or went; ``server`` changes when a default does."""

    facility: Facility
    change: Change
    index: int


class ServerWatcher:
    """Calls back for each event until stopped or the server is lost.

    Parameters
    ----------
    on_event : called in the watcher's thread; must not block, and must not touch this watcher
    on_lost : called once in the watcher's thread when the connection ends by itself
    server : address, None asks the environment
    """

    def __init__(
        self,
        on_event: Callable[[ServerEvent], None],
        on_lost: Callable[[], None],
        server: str | None = None,
    ) -> None:
        self._on_event = on_event
        self._on_lost = on_lost
        self._server = server
        self._events: deque[ServerEvent] = deque()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._pulse: pulsectl.Pulse | None = None

    def start(self, timeout: float = 3.0) -> None:
        """Subscribe, then listen in a new thread; no event after the return is missed.

        Raises
        ------
        ServerError
            If no server answers.
        """
        pulse = connect(self._server, timeout, patience=None)
        try:
            with server_errors("subscribe to events"):
                pulse.event_mask_set(*_FACILITIES)
                pulse.event_callback_set(self._note)
        except BaseException:
            pulse.close()
            raise
        self._pulse = pulse
        self._stopping.clear()
        self._thread = threading.Thread(target=self._listen, name="pipedtln-watch", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it listens."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """End the thread, from any other one, within some milliseconds; safe to call twice."""
        self._stopping.set()
        thread, pulse = self._thread, self._pulse
        if thread is None or pulse is None:
            return
        while thread.is_alive():
            # A wake-up that comes just before the poll begins is lost: repeat it.
            pulse.event_listen_stop()
            thread.join(_STOP_POLL_S)
        self._thread = self._pulse = None
        pulse.close()

    def _listen(self) -> None:
        pulse = self._pulse
        assert pulse is not None
        while not self._stopping.is_set():
            try:
                with server_errors("listen to events"):
                    pulse.event_listen()
            except ServerError:
                self._deliver()
                if not self._stopping.is_set():
                    self._on_lost()
                return
            self._deliver()

    def _deliver(self) -> None:
        while self._events and not self._stopping.is_set():
            self._on_event(self._events.popleft())

    def _note(self, raw: Any) -> None:
        # Called inside libpulse's loop, where exceptions would be swallowed: only copy.
        for facility in _FACILITIES:
            for change in _CHANGES:
                if raw.facility == facility and raw.t == change:
                    self._events.append(ServerEvent(facility, change, int(raw.index)))
        raise pulsectl.PulseLoopStop
