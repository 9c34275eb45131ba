"""Puts together what the bridge tells of itself."""

from __future__ import annotations

import os
from time import monotonic

from pipedtln import __version__
from pipedtln.audio.api import Latency, Session
from pipedtln.config import Config
from pipedtln.control.api import Status
from pipedtln.processor import HOP, SAMPLE_RATE
from pipedtln.service.view import View
from pipedtln.stream.engine import Engine
from pipedtln.stream.failopen import FailOpen

_AT_LEAST_S = 1.0
"""Shortest time over which wake-ups are counted."""


class Teller:
    """Makes a :class:`Status` out of the parts; belongs to the main loop."""

    def __init__(self, engine: Engine, processing: FailOpen) -> None:
        self._engine = engine
        self._processing = processing
        self._began = monotonic()
        self._counted: Session | None = None
        self._mark = (0.0, 0)
        self._wakeups_per_s: float | None = None

    def status(
        self,
        config: Config,
        view: View,
        latency: Latency | None,
        model: str | None,
        problems: list[str],
    ) -> Status:
        """A snapshot of the whole.

        Parameters
        ----------
        latency : the server's report of its buffers, None while nothing is open
        model : name of the network in use
        problems : what is wrong besides what the view tells; the first ones say why the
            microphone goes through unprocessed
        """
        survey, route = view.survey, view.route
        processing, report = self._processing, self._engine.report()
        alignment = self._engine.voice.alignment
        is_open = processing.problem is not None or processing.processor is None
        load = processing.load() if route else None
        parts = self._latency_parts(latency) if route and latency else {}
        if parts and latency and survey and survey.server.kind == "portaudio":
            # A card plays from its own buffer; a server's virtual device has none.
            parts["card"] = round(latency.out_ms, 1)
        return Status(
            state=_state(config, view, is_open=is_open),
            version=__version__,
            pid=os.getpid(),
            uptime_s=round(monotonic() - self._began, 1),
            server=f"{survey.server.kind} {survey.server.version}" if survey else None,
            mic=route.mic if route else (survey.mic if survey else None),
            reference=_reference(view),
            output=survey.output if survey else None,
            model=model,
            strength=config.strength,
            bypass=config.bypass,
            muted=config.muted,
            recorders=[recorder.name for recorder in view.recorders if recorder.listens],
            latency_ms=round(sum(parts.values()), 1) if parts else None,
            latency_parts_ms=parts,
            echo_delay_ms=alignment.echo_delay_ms if route else None,
            echo_suppression_db=_rounded(alignment.echo_suppression_db) if route else None,
            load={"mean": round(load[0], 4), "p99": round(load[1], 4)} if load else {},
            hops=report.hops,
            dropped_hops=report.dropped_hops,
            bypassed_hops=processing.bypassed_hops,
            xruns=view.session.underruns if view.session else 0,
            wakeups_per_s=self._wakeups(view.session),
            drift_ppm=round(report.drift_ppm, 1) if route and route.ref else None,
            corrected_ms=round(report.corrected * 1000 / SAMPLE_RATE, 2),
            problems=[*view.problems, *problems],
        )

    def _latency_parts(self, server: Latency) -> dict[str, float]:
        """Milliseconds from the microphone's device to the virtual one, by where they are spent."""
        report = self._engine.report()
        return {
            "capture": round(max(0.0, server.mic_ms), 1),
            "backlog": round(report.backlog_ms, 1),
            # A hop must be whole before it is worked on.
            "network": round((HOP + self._engine.voice.latency_samples) * 1000 / SAMPLE_RATE, 1),
            "queue": round(report.queue_ms, 1),
        }

    def _wakeups(self, session: Session | None) -> float | None:
        """Wake-ups per second of this session over the last second or more."""
        now = monotonic()
        if session is None or session is not self._counted:
            self._counted, self._wakeups_per_s = session, None
            self._mark = (now, session.counters.wakeups if session else 0)
            return None
        since, count = self._mark
        if now - since >= _AT_LEAST_S:
            wakeups = session.counters.wakeups
            self._wakeups_per_s = round((wakeups - count) / (now - since), 1)
            self._mark = (now, wakeups)
        return self._wakeups_per_s


def status_line(status: Status) -> str:
    """One line for ``systemctl status`` and the journal."""
    line = status.state
    if status.state in ("running", "bypassed", "muted", "open") and status.recorders:
        line += f": {status.mic} for {', '.join(status.recorders)}"
    if status.problems:
        line += f" ({status.problems[0]})"
    return line


def _state(config: Config, view: View, *, is_open: bool) -> str:
    if view.survey is None:
        return "waiting" if view.problems else "starting"
    if view.survey.mic is None:
        return "waiting"
    if config.muted:
        return "muted"
    if config.bypass:
        return "bypassed"
    if is_open:
        return "open"
    return "running" if view.route else "idle"


def _reference(view: View) -> str | None:
    """What carries the loudspeakers' sound: a source, or a channel of the microphone."""
    told = view.route or view.survey
    if told is None or told.ref_channel is not None:
        return f"channel:{told.ref_channel}" if told else None
    return view.route.ref if view.route else (view.survey.reference if view.survey else None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
