"""Reads and sets the server's default source and sink."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import pulsectl

from pipedtln.audio.server import server_errors, server_info, server_info_anew
from pipedtln.devices.listing import list_sinks, list_sources
from pipedtln.errors import DeviceError, DeviceNotFoundError

_SETTLE_S = 2.0
_AGAIN_S = 0.4


@dataclass(frozen=True)
class Defaults:
    """Names of the default devices; None where the server has none."""

    source: str | None
    sink: str | None


def get_defaults(pulse: pulsectl.Pulse) -> Defaults:
    """Ask for the default devices as they are in effect now.

    Raises
    ------
    ServerError
        If the server is gone.
    """
    info = server_info_anew(pulse)
    return Defaults(source=info.default_source, sink=info.default_sink)


def set_default_source(pulse: pulsectl.Pulse, name: str) -> None:
    """Make a source the default, and wait until it is.

    Raises
    ------
    DeviceNotFoundError
        If there is no such source; nothing has changed.
    DeviceError
        If the server does not follow within two seconds.
    ServerError
        If the server is gone.
    """
    if all(source.name != name for source in list_sources(pulse)):
        raise DeviceNotFoundError(f"no source named {name!r}. List sources with: pipedtln devices")
    _insist(pulse, "source", name, pulse.source_default_set)


def set_default_sink(pulse: pulsectl.Pulse, name: str) -> None:
    """Make a sink the default, and wait until it is.

    Raises
    ------
    DeviceNotFoundError, DeviceError, ServerError
        As for :func:`set_default_source`.
    """
    if all(sink.name != name for sink in list_sinks(pulse)):
        raise DeviceNotFoundError(f"no sink named {name!r}. List sinks with: pipedtln devices")
    _insist(pulse, "sink", name, pulse.sink_default_set)


def _insist(
    pulse: pulsectl.Pulse, kind: str, name: str, make_default: Callable[[str], None]
) -> None:
    # PipeWire's policy daemon decides, some milliseconds later; one that has just started may
    # overwrite what it was told meanwhile with what it remembers, so it is told again.
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        with server_errors(f"make {name} the default {kind}"):
            make_default(name)
        again = time.monotonic() + _AGAIN_S
        while time.monotonic() < again:
            if getattr(server_info(pulse), f"default_{kind}") == name:
                return
            time.sleep(0.01)
        if getattr(get_defaults(pulse), kind) == name:
            return
    raise DeviceError(
        f"the server did not make {name!r} the default {kind}; "
        "is its policy daemon running? See: systemctl --user status wireplumber"
    )
