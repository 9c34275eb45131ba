"""Supervises the bridge where there is ALSA alone: cards instead of a server's devices.

No server tells of changes, so the supervisor looks. It listens all the time, unless the clean
sound goes to snd-aloop, of which the kernel tells whether anybody records.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic

from pipedtln.audio.api import PERIODS, Latency, Route
from pipedtln.audio.cards import Card, find_card, load_portaudio
from pipedtln.audio.portaudio import PortAudioBackend
from pipedtln.audio.server import ServerInfo
from pipedtln.config import Config
from pipedtln.devices.cards import (
    check_no_loop,
    choose_card_microphone,
    choose_card_output,
    is_recorded,
)
from pipedtln.errors import PipedtlnError
from pipedtln.service.backoff import Backoff
from pipedtln.service.channels import choose_or_do_without, wants_channels
from pipedtln.service.desk import Survey
from pipedtln.service.listening import Listening
from pipedtln.service.view import View
from pipedtln.stream.engine import Engine

LOG = logging.getLogger(__name__)

LOOK_S = 0.5
"""Seconds between two looks at open streams."""
IDLE_LOOK_S = 0.1
"""The same while nobody records: the first word must not be lost."""
RESCAN_S, MOST_RESCAN_S = 1.0, 5.0
"""Shortest and longest pause between two searches for a card that is not there."""
LINGER_S = 0.5
"""Seconds that streams stay open after the last recorder left."""
STOP_S = 5.0


class CardSupervisor:
    """Runs the engine on sound cards; the counterpart of :class:`Supervisor`.

    Parameters
    ----------
    on_change : called in the supervisor's thread when :attr:`view` has changed

    Raises
    ------
    ServerError
        If sounddevice or PortAudio is not installed.
    """

    def __init__(self, config: Config, engine: Engine, on_change: Callable[[], None]) -> None:
        self._config = config
        self._on_change = on_change
        self._backend = PortAudioBackend()
        self._listening = Listening(self._backend, engine)
        self._wishes: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="pipedtln-supervisor", daemon=True)
        self._out: Card | None = None
        self._survey: Survey | None = None
        self._problem: str | None = None
        self._rescan = Backoff(RESCAN_S, MOST_RESCAN_S)
        self._left_at: float | None = None
        self.backend = "portaudio"
        self.view = View()
        self.alive_at = monotonic()
        """Monotonic time of the last completed look, for the watchdog."""

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self, *, remove_devices: bool = False) -> None:
        """End and close the streams."""
        self._wishes.put(False)
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            LOG.error("the cards could not be closed within %.0f s", STOP_S)

    def reconfigure(self, config: Config) -> None:
        """Follow other wishes from the next look on; from any thread."""
        self._config = config
        self._wishes.put(True)

    def latency(self) -> Latency | None:
        """PortAudio's report of its buffers, None while nothing is open; from any thread."""
        return self._listening.latency()

    # --- the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                self._look()
            except PipedtlnError as error:
                self._lose(str(error))
            except Exception:
                self._lose("a look at the sound cards failed; the journal says why")
                LOG.exception("%s", self._problem)
            self._publish()
            self.alive_at = monotonic()
            try:
                going = self._wishes.get(timeout=self._listening.pause(self._pause()))
            except Empty:
                continue
            if not going:
                break
            self._survey = None
            self._rescan.reset()
        self._listening.close()

    def _pause(self) -> float:
        if self._survey is None:
            return max(0.0, self._rescan.at - monotonic())
        return LOOK_S if self._listening.session else IDLE_LOOK_S

    def _look(self) -> None:
        now = monotonic()
        if self._survey is None:
            if not self._rescan.due(now):
                return
            self._listening.follow(None)
            self._backend.refresh()
            self._survey = self._examine(self._config)
            self._problem = None
            LOG.info("microphone: %s; output: %s", self._survey.mic, self._survey.output)
        self._listening.follow(self._wanted(now))
        if self._listening.problem is not None and self._listening.session is None:
            # The card is gone, or in other hands: PortAudio sees a new one only when it looks anew.
            self._lose(self._listening.problem)
        elif self._listening.session is not None:
            self._rescan.reset()

    def _wanted(self, now: float) -> Route | None:
        survey, out = self._survey, self._out
        assert survey is not None
        assert survey.mic is not None
        assert out is not None
        if is_recorded(out) is False:
            if self._left_at is None:
                self._left_at = now
            if self._listening.session is None or now >= self._left_at + LINGER_S:
                return None
        else:
            self._left_at = None
        return Route(
            mic=survey.mic,
            out=out.name,
            ref=survey.reference,
            period=PERIODS[self._config.latency],
            mic_channel=survey.mic_channel,
            ref_channel=survey.ref_channel,
            latency_ms=self._config.latency_ms,
        )

    def _examine(self, config: Config) -> Survey:
        """Choose the cards.

        Raises
        ------
        DeviceError
            If there is no microphone or no output.
        ServerError
            If PortAudio fails.
        """
        mic, out = choose_card_microphone(config.mic), choose_card_output(config.output)
        check_no_loop(mic, out)
        self._out = out
        problems: list[str] = []
        mic_channel = ref_channel = None
        reference = None
        if wants_channels(config):
            mic_channel, ref_channel, problem = choose_or_do_without(mic.inputs, mic.name, config)
            problems += [problem] if problem else []
        if config.reference == "speaker":
            problems.append(
                "no echo is cancelled: without a sound server there is no DTLN Speaker; set "
                "reference to channel:N or to an input"
            )
        elif config.reference not in ("auto", "none") and not config.reference.startswith(
            "channel:"
        ):
            try:
                reference = find_card(config.reference, "input").name
            except PipedtlnError as error:
                problems.append(f"no echo is cancelled: {error}")
        words = str(load_portaudio().get_portaudio_version()[1])
        version = re.sub(r"^PortAudio V?|,.*$", "", words)
        return Survey(
            ServerInfo("portaudio", version, "PortAudio", None, None),
            mic.name,
            reference,
            out.name,
            tuple(problems),
            mic_channel=mic_channel,
            ref_channel=ref_channel,
        )

    def _lose(self, why: str) -> None:
        self._problem = why
        self._listening.follow(None)
        self._survey = None
        self._rescan.fail(monotonic())

    def _publish(self) -> None:
        survey, listening = self._survey, self._listening
        found = survey.problems if survey else ()
        view = View(
            survey=survey,
            route=listening.route,
            session=listening.session,
            problems=tuple(p for p in (self._problem, listening.problem, *found) if p),
            ready=survey is not None,
        )
        if view == self.view:
            return
        for problem in view.problems:
            if problem not in self.view.problems:
                LOG.warning("%s", problem)
        self.view = view
        self._on_change()
