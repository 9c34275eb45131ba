"""The control connection to a PulseAudio or PipeWire server, and what server it is."""

from __future__ import annotations

import re
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pulsectl
from pulsectl._pulsectl import LibPulse

from pipedtln.errors import ServerError

CLIENT_NAME = "pipedtln"

PATIENCE_S = 5.0
"""Seconds without any word from the server after which a call to it is given up."""

ServerKind = Literal["pulseaudio", "pipewire", "portaudio"]

_ON_PIPEWIRE = re.compile(r"\(on PipeWire ([^)]+)\)")


@dataclass(frozen=True)
class ServerInfo:
    """Which server answers, and its defaults (None where it has no such device)."""

    kind: ServerKind
    version: str
    name: str
    default_source: str | None
    default_sink: str | None


def connect(
    server: str | None = None,
    timeout: float = 3.0,
    client_name: str = CLIENT_NAME,
    *,
    patience: float | None = PATIENCE_S,
) -> pulsectl.Pulse:
    """Connect to a running server; never starts one.

    Parameters
    ----------
    server : address such as ``unix:/run/user/1000/pulse/native``; None asks the environment
    timeout : seconds to wait for an answer
    client_name : ``application.name`` of the connection
    patience : seconds of silence that end a later call, and the connection with it; None for one
        that waits for events

    Returns
    -------
    A connection for one thread, to be closed by the caller (it is a context manager).

    Raises
    ------
    ServerError
        If no server answers in time.
    """
    # The constructor's own connect would start a PulseAudio daemon where none runs.
    pulse = pulsectl.Pulse(client_name, server=server, connect=False)
    poll = _PollWithDeadline(pulse, time.monotonic() + timeout)
    try:
        pulse.set_poll_func(poll)
        # Not its own timeout: pulsectl 24.12 then waits that long even when answered at once.
        pulse.connect(autospawn=False, wait=False)
    except (pulsectl.PulseError, LibPulse.CallError) as error:
        pulse.close()
        where = f" at {server}" if server else ""
        raise ServerError(
            f"no PulseAudio or PipeWire server answers{where}; "
            "check with: systemctl --user status pipewire-pulse pulseaudio"
        ) from error
    except BaseException:
        pulse.close()
        raise
    poll.connected(patience)
    return pulse


@contextmanager
def server_errors(doing: str) -> Iterator[None]:
    """Turn what pulsectl raises into ServerError: "could not <doing>: ...".

    Raises
    ------
    ServerError
        In place of any error of pulsectl or libpulse, lost connections included.
    """
    try:
        yield
    except pulsectl.PulseDisconnected as error:
        raise ServerError(f"could not {doing}: the audio server went away") from error
    except (pulsectl.PulseError, LibPulse.CallError) as error:
        # CallError, e.g. of a connection that is lost, is no PulseError.
        raise ServerError(
            f"could not {doing}: the audio server refused, went away or does not answer"
        ) from error


def server_info(pulse: pulsectl.Pulse) -> ServerInfo:
    """Ask the server for its name, version and default devices, as this connection knows them.

    PipeWire does not tell those who are connected of a default that changes in the moment in which
    another client connects (``pending`` in its module-metadata, 0.3.65 to 1.6); what was missed
    so stays missed. Where that client goes before the session manager has answered for it, as one
    may that came while WirePlumber started, nobody who is connected is told of any further default
    until WirePlumber starts anew. See :func:`server_info_anew`.

    Raises
    ------
    ServerError
        If the connection is lost.
    """
    with server_errors("ask the server what it is"):
        raw = pulse.server_info()
    name = str(raw.server_name or "")
    match = _ON_PIPEWIRE.search(name)
    return ServerInfo(
        kind="pipewire" if match else "pulseaudio",
        version=match.group(1) if match else str(raw.server_version or ""),
        name=name,
        default_source=_device_or_none(raw.default_source_name),
        default_sink=_device_or_none(raw.default_sink_name),
    )


def server_info_anew(pulse: pulsectl.Pulse) -> ServerInfo:
    """The same, on PipeWire as a new connection knows it, which misses nothing.

    Not for a loop: connecting is what makes others miss a change.

    Raises
    ------
    ServerError
        If the server is gone.
    """
    info = server_info(pulse)
    if info.kind == "pipewire":
        with connect(pulse.server) as fresh:
            info = server_info(fresh)
    return info


def _device_or_none(name: object) -> str | None:
    # pipewire-pulse answers with these placeholders while it has no device.
    if not name or name in ("@DEFAULT_SOURCE@", "@DEFAULT_SINK@"):
        return None
    return str(name)


class _PollWithDeadline:
    """A poll function for libpulse's main loop that ends what has taken too long.

    First that is connecting as a whole, then each single wait for an answer.
    """

    def __init__(self, pulse: pulsectl.Pulse, deadline: float) -> None:
        self._deadline: float | None = deadline
        self._patience: float | None = None
        self._pulse = pulse

    def connected(self, patience: float | None) -> None:
        """The deadline is kept; from now on no wait may last longer than ``patience`` seconds."""
        self._deadline, self._patience = None, patience

    def __call__(self, wanted: list[Any], timeout: float) -> int:
        poll = select.poll()
        for entry in wanted:
            poll.register(entry.fd, entry.events)
        # libpulse says "for ever" by a negative number.
        wait = None if timeout < 0 else timeout
        most = self._patience
        if self._deadline is not None:
            most = max(0.0, self._deadline - time.monotonic())
        if most is not None and (wait is None or wait > most):
            ready = dict(poll.poll(most * 1000.0))
            if not ready:
                # Ends pulsectl's loop; to fail the poll would make libpulse log.
                self._pulse.connected = False
                return 0
        else:
            ready = dict(poll.poll(None if wait is None else wait * 1000.0))
        for entry in wanted:
            entry.revents = ready.get(entry.fd, 0)
        return len(ready)
