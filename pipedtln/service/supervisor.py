"""Decides when the bridge listens, to which devices, and mends it when the world changes.

One thread. It sleeps until the server says that something changed, then looks at what is there
now (never at what the event said) and makes streams and devices match. So a burst of events costs
one look, and a lost one is made good by the next.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from pipedtln.audio.api import PERIODS, AudioBackend, Latency, Route
from pipedtln.config import Config
from pipedtln.devices.names import OUTPUT
from pipedtln.devices.recorders import Recorder
from pipedtln.devices.watch import ServerEvent
from pipedtln.errors import DeviceError, PipedtlnError, ServerError
from pipedtln.service.backoff import Backoff
from pipedtln.service.causes import Cause, Causes
from pipedtln.service.desk import DeviceDesk, Survey
from pipedtln.service.listening import Listening
from pipedtln.service.memory import DeviceMemory
from pipedtln.service.recheck import Recheck
from pipedtln.service.view import View
from pipedtln.stream.engine import Engine

LOG = logging.getLogger(__name__)

IDLE_LOOK_S = 30.0
"""Seconds between two looks when nothing happens: only a net under lost events."""
BUSY_LOOK_S = 0.5
"""The same while streaming, when the streams themselves are watched."""
RECORDERS_LOOK_S = 5.0
"""The same for who records while streaming: to list them takes 2 to 4 ms."""
REACH_S, MOST_REACH_S = 0.2, 1.0
"""Shortest and longest pause between two attempts to reach a server."""
MEND_S, MOST_MEND_S = 0.5, 15.0
"""The same for virtual devices that cannot be made whole, and for what nobody foresaw."""
LINGER_S = 0.3
"""Seconds that streams stay open after the last recorder left: apps reopen when they restart."""
STOP_S = 5.0
"""Seconds that the thread gets to end; one that hangs must not hold the process."""


class Supervisor:
    """Runs the engine while an app records, on the right devices.

    Parameters
    ----------
    backend, engine : open streams and work on them
    memory : the devices used last
    on_change : called in the supervisor's thread when :attr:`view` has changed
    server : address for the control connection; None for the user's own
    """

    def __init__(
        self,
        config: Config,
        backend: AudioBackend,
        engine: Engine,
        memory: DeviceMemory,
        on_change: Callable[[], None],
        *,
        server: str | None = None,
    ) -> None:
        self._config = config
        self._on_change = on_change
        self._causes = Causes()
        self._listening = Listening(backend, engine)
        self._desk = DeviceDesk(memory, self._event, lambda: self._causes.post("lost"), server)
        self._thread = threading.Thread(target=self._run, name="pipedtln-supervisor", daemon=True)
        self._survey: Survey | None = None
        self._recorders: list[Recorder] = []
        self._problem: str | None = None
        self._reach = Backoff(REACH_S, MOST_REACH_S)
        self._mend = Backoff(MEND_S, MOST_MEND_S)
        self._recheck = Recheck()
        self._examined_at = self._looked_at = self._listed_at = 0.0
        self._left_at: float | None = None
        self._remove_devices = False
        self.backend = backend.name
        self.view = View()
        self.alive_at = monotonic()
        """Monotonic time of the last completed look, for the watchdog."""

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self, *, remove_devices: bool = False) -> None:
        """End: close the streams, leave the server, keep or remove the virtual devices."""
        self._remove_devices = remove_devices
        self._causes.post("stop")
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            LOG.error("the streams could not be closed within %.0f s", STOP_S)

    def reconfigure(self, config: Config) -> None:
        """Follow other wishes from the next look on; from any thread."""
        self._config = config
        self._causes.post("config")

    def latency(self) -> Latency | None:
        """The server's report of its buffers, None while nothing is open; from any thread."""
        return self._listening.latency()

    # --- the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        causes: set[Cause] = {"devices"}
        while "stop" not in causes:
            try:
                self._look(causes)
            except ServerError as error:
                self._lose(str(error))
            except Exception:
                # Whatever it is, the next look starts from what is there.
                self._problem = "a look at the devices failed; the journal says why"
                LOG.exception("%s", self._problem)
                self._mend.fail(monotonic())
            self._publish()
            self.alive_at = monotonic()
            causes = self._causes.take(self._pause())
        self._end()

    def _pause(self) -> float:
        now = monotonic()
        if not self._desk.connected:
            return max(0.0, self._reach.at - now)
        pause = self._looked_at - now + (BUSY_LOOK_S if self._listening.session else IDLE_LOOK_S)
        if self._mend.failures:
            pause = min(pause, self._mend.at - now)
        if self._left_at is not None:
            pause = min(pause, self._left_at + LINGER_S - now)
        if self._recheck.at is not None:
            pause = min(pause, self._recheck.at - now)
        return self._listening.pause(max(0.0, pause))

    def _event(self, event: ServerEvent) -> None:
        """In the watcher's thread."""
        if event.facility == "source_output":
            self._causes.post("recorders")
        elif event.facility == "client":
            if event.change == "new":
                self._causes.post("client")
        elif event.facility == "server" or event.change in ("new", "remove"):
            self._causes.post("devices")
        else:
            self._causes.post("soon")

    def _look(self, causes: set[Cause]) -> None:
        now = monotonic()
        if self._desk.connected and not self._desk.alive:
            raise ServerError("the audio server went away")
        if not self._desk.connected:
            if not self._reach.due(now):
                return
            self._desk.connect()
            self._reach.reset()
            self._survey = None
        if "client" in causes:
            self._recheck.client_came(now)
            if causes == {"client"} and self._pause() > 0.0:
                return  # nothing else is due
        self._looked_at = now
        if "devices" in causes:
            self._recheck.devices_changed(now)
        long_ago = now - self._examined_at >= IDLE_LOOK_S
        missed = (long_ago or self._recheck.due(now)) and self._has_missed(now)
        mend = self._mend.failures > 0 and self._mend.due(now)
        if self._survey is None or missed or mend or long_ago or causes & {"devices", "config"}:
            self._examine()
        if causes or not self._listening.session or now - self._listed_at >= RECORDERS_LOOK_S:
            self._recorders = self._desk.recorders()
            self._listed_at = now
        self._match()

    def _has_missed(self, now: float) -> bool:
        """Whether the server has other defaults than it told us of."""
        self._recheck.done(now)
        return self._survey is not None and self._desk.renew() != self._survey.server

    def _examine(self) -> None:
        before = self._survey
        self._examined_at = monotonic()
        try:
            self._survey = self._desk.survey(self._config)
        except DeviceError as error:
            self._problem = str(error)
            self._mend.fail(monotonic())
            return
        self._problem = None
        self._mend.reset()
        if before is None:
            server = self._survey.server
            LOG.info("connected to %s %s", server.kind, server.version)
        if before is None or before.mic != self._survey.mic:
            LOG.info("microphone: %s", self._survey.mic or "none")
        if before is None or before.output != self._survey.output:
            LOG.info("loudspeaker: %s", self._survey.output or "none")

    def _match(self) -> None:
        """Make the streams what they should be now."""
        now = monotonic()
        wanted = self._desired_route()
        if any(recorder.listens for recorder in self._recorders):
            self._left_at = None
        else:
            # Nobody records any more: wait a moment, in case the app only starts anew.
            if self._left_at is None and self._listening.session is not None:
                self._left_at = now
            if self._left_at is None or now >= self._left_at + LINGER_S:
                wanted = self._left_at = None
        self._listening.follow(wanted)

    def _desired_route(self) -> Route | None:
        survey = self._survey
        if survey is None or survey.mic is None:
            return None
        return Route(
            mic=survey.mic,
            out=OUTPUT,
            ref=survey.reference,
            period=PERIODS[self._config.latency],
            mic_channel=survey.mic_channel,
            ref_channel=survey.ref_channel,
            channels=survey.channels,
        )

    def _lose(self, why: str) -> None:
        self._problem = why
        self._listening.close()
        self._desk.disconnect()
        self._survey = None
        self._recorders = []
        self._left_at = None
        self._mend.reset()
        self._reach.fail(monotonic())

    def _publish(self) -> None:
        survey, listening = self._survey, self._listening
        found = survey.problems if survey else ()
        problems = [p for p in (self._problem, listening.problem, *found) if p]
        view = View(
            survey=survey,
            recorders=tuple(self._recorders),
            route=listening.route,
            session=listening.session,
            problems=tuple(problems),
            ready=survey is not None and self._problem is None,
        )
        if view == self.view:
            return
        for problem in view.problems:
            if problem not in self.view.problems:
                LOG.warning("%s", problem)
        self.view = view
        self._on_change()

    def _end(self) -> None:
        self._listening.close()
        if self._remove_devices and self._desk.connected:
            try:
                self._desk.remove_devices()
            except PipedtlnError as error:
                LOG.warning("the virtual devices stay: %s", error)
        self._desk.disconnect()
