"""Which supervisor runs the bridge: that of a sound server's devices, or that of bare cards."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from pipedtln.audio.api import AudioBackend, Route, Session
from pipedtln.audio.pipewire import PipeWireBackend
from pipedtln.audio.pulse import PulseBackend
from pipedtln.audio.server import connect
from pipedtln.config import Config
from pipedtln.errors import PipedtlnError, ServerError
from pipedtln.service.cards import CardSupervisor
from pipedtln.service.memory import DeviceMemory
from pipedtln.service.supervisor import Supervisor
from pipedtln.stream.engine import Engine

LOG = logging.getLogger(__name__)

LOOK_S = 4.0
"""Least seconds between two looks whether the other backend would do."""
PATIENCE_S = 10.0
"""Seconds that a sound server gets to answer before bare cards are tried."""

AnySupervisor = Supervisor | CardSupervisor


def make_supervisor(
    config: Config, engine: Engine, on_change: Callable[[], None], backend: str | None = None
) -> AnySupervisor:
    """The supervisor that the settings or ``backend`` name; ``"auto"`` is the pulse server's.

    Raises
    ------
    ServerError
        If PortAudio is named and not installed.
    """
    backend = backend or config.backend
    if backend == "portaudio":
        return CardSupervisor(config, engine, on_change)
    streams: AudioBackend = ShortestWay() if backend == "pipewire" else PulseBackend()
    return Supervisor(config, streams, engine, DeviceMemory(), on_change)


class ShortestWay:
    """PipeWire's own graph where it can be had, else the pulse server: the voice goes on."""

    name = PipeWireBackend.name

    def __init__(self) -> None:
        self._graph = PipeWireBackend()
        self._pulse = PulseBackend()
        self._told: str | None = None

    def open(self, route: Route, wake: Callable[[], None]) -> Session:
        """See :meth:`pipedtln.audio.api.AudioBackend.open`."""
        try:
            self._graph.connect()
        except ServerError as error:
            if str(error) != self._told:
                self._told = str(error)
                LOG.warning("%s; going through the pulse server", error)
            return self._pulse.open(route, wake)
        return self._graph.open(route, wake)

    def close(self) -> None:
        """Leave both."""
        self._graph.close()
        self._pulse.close()


class BackendChoice:
    """Tells when ``"auto"`` should change its mind; its calls may block for a while."""

    def __init__(self) -> None:
        self._alone_since = self._looked_at = monotonic()

    def due(self, config: Config, now: AnySupervisor) -> bool:
        """Whether :meth:`other` may have something else to say; quick."""
        if config.backend != "auto":
            return config.backend != now.backend
        if now.backend == PipeWireBackend.name:
            return True
        on_cards = isinstance(now, CardSupervisor)
        if not on_cards and now.view.survey is not None:
            self._alone_since = monotonic()
            return False
        since = monotonic() - self._looked_at
        return since >= LOOK_S and (on_cards or monotonic() - self._alone_since >= PATIENCE_S)

    def other(self, config: Config, now: AnySupervisor) -> str | None:
        """The backend to change to, or None to stay.

        A desktop whose server comes late or restarts must not lose its cards to us: they are
        tried only after ten seconds without any server, and left as soon as one answers.
        """
        if not self.due(config, now):
            return None
        if config.backend != "auto":
            return config.backend
        if now.backend == PipeWireBackend.name:
            return PulseBackend.name
        self._looked_at = monotonic()
        if isinstance(now, CardSupervisor):
            return "pulse" if _server_answers() else None
        return "portaudio" if _cards_serve(config) else None


def _server_answers() -> bool:
    try:
        connect(timeout=1.0).close()
    except ServerError:
        return False
    return True


def _cards_serve(config: Config) -> bool:
    """Whether PortAudio has a microphone and an output for these settings."""
    from pipedtln.audio.cards import refresh_cards
    from pipedtln.devices.cards import choose_card_microphone, choose_card_output

    try:
        refresh_cards()
        mic, out = choose_card_microphone(config.mic), choose_card_output(config.output)
    except PipedtlnError as error:
        LOG.debug("no bare cards: %s", error)
        return False
    # ALSA's plug-ins to a sound server are no cards.
    return config.mic != "auto" or (mic.hardware is not None and out.hardware is not None)
