"""Decides which microphone, loudspeaker and reference to use, so that no loop can arise."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pulsectl

from pipedtln.audio.server import server_errors
from pipedtln.devices.listing import NO_INDEX, Device, list_sinks, list_sources
from pipedtln.devices.names import (
    MICROPHONE,
    NO_OUTPUT,
    OUTPUT,
    OUTPUT_MONITOR,
    RESERVED,
    SPEAKER,
    SPEAKER_MONITOR,
)
from pipedtln.errors import ConfigError, DeviceError, DeviceNotFoundError

_CHANNEL = re.compile(r"channel:(-?\d+)")


def choose_microphone(
    pulse: pulsectl.Pulse, wanted: str = "auto", previous: str | None = None
) -> str:
    """Name of the source to clean.

    Parameters
    ----------
    wanted : a source's name, or ``"auto"``: the default source, unless that is ours or a
        monitor; then ``previous`` where it is there, and then the best real microphone (one
        whose port is plugged, hardware, and highest in the server's ranking)
    previous : the microphone used before, remembered by the caller

    Raises
    ------
    DeviceNotFoundError
        If there is no such source, or no microphone at all.
    DeviceError
        If the named source is ours or is fed by ours.
    ServerError
        If the server is gone.
    """
    sources = list_sources(pulse)
    forbidden = RESERVED | _derived_sources(pulse, sources)
    if wanted != "auto":
        return _named(sources, wanted, forbidden, "source").name
    real = [
        source
        for source in sources
        if not (source.ours or source.is_monitor or source.name in forbidden)
    ]
    if not real:
        raise DeviceNotFoundError(
            "no microphone is connected; plug one in, or see: pipedtln devices"
        )
    return _best(real, previous).name


def choose_output(
    pulse: pulsectl.Pulse, wanted: str = "auto", previous: str | None = None
) -> str | None:
    """Name of the sink that DTLN Speaker plays to; None if there is no real one.

    Parameters
    ----------
    wanted : a sink's name, or ``"auto"``: the default sink, unless that is ours; then
        ``previous`` where it is there, and then the best real sink
    previous : the output used before, remembered by the caller

    Raises
    ------
    DeviceNotFoundError
        If there is no sink of the wanted name.
    DeviceError
        If the named sink is ours or plays into ours.
    ServerError
        If the server is gone.
    """
    sinks = list_sinks(pulse)
    forbidden = RESERVED | _sinks_into_ours(pulse, sinks)
    if wanted != "auto":
        return _named(sinks, wanted, forbidden, "sink").name
    real = [
        sink
        for sink in sinks
        if not (sink.ours or sink.name in forbidden or sink.name == NO_OUTPUT)
    ]
    return _best(real, previous).name if real else None


def choose_reference(pulse: pulsectl.Pulse, reference: str = "auto") -> str | None:
    """Name of the source that carries what the loudspeakers play; None for no such source.

    Parameters
    ----------
    reference : as in config.toml: ``"auto"`` (monitor of the default sink), ``"speaker"``
        (monitor of DTLN Speaker), a sink's name, ``"none"``, or ``"channel:N"``, which needs no
        source of its own (see :func:`reference_channel`)

    Raises
    ------
    DeviceNotFoundError
        If there is no sink of that name.
    DeviceError
        If it is the sink that the bridge itself writes to.
    ServerError
        If the server is gone.
    """
    if reference == "none" or reference_channel(reference) is not None:
        return None
    sinks = list_sinks(pulse)
    if reference == "speaker":
        reference = SPEAKER
    if reference != "auto":
        return _named(sinks, reference, frozenset({OUTPUT}), "sink").monitor
    heard = [sink for sink in sinks if sink.name not in (OUTPUT, NO_OUTPUT)]
    default = next((sink for sink in heard if sink.is_default), None)
    if default is not None:
        return default.monitor
    real = [sink for sink in heard if not (sink.ours or sink.name in RESERVED)]
    return _best(real, None).monitor if real else None


def reference_channel(reference: str) -> int | None:
    """Channel of the microphone that ``"channel:N"`` names (negative: from the end), else None.

    Raises
    ------
    ConfigError
        If it starts with ``channel:`` but no whole number follows.
    """
    if not reference.startswith("channel:"):
        return None
    match = _CHANNEL.fullmatch(reference)
    if match is None:
        raise ConfigError(
            f"reference = {reference!r} names no channel; write e.g. channel:-1 for the last one"
        )
    return int(match.group(1))


def _named(devices: Iterable[Device], wanted: str, forbidden: frozenset[str], word: str) -> Device:
    device = next((device for device in devices if device.name == wanted), None)
    if wanted in forbidden:
        raise DeviceError(
            f"{word} {wanted!r} carries pipedtln's own sound, which would make a loop; "
            "choose another from: pipedtln devices"
        )
    if device is None:
        raise DeviceNotFoundError(
            f"no {word} named {wanted!r}. List {word}s with: pipedtln devices"
        )
    return device


def _best(devices: list[Device], previous: str | None) -> Device:
    return max(
        devices,
        key=lambda device: (
            device.is_default,
            device.name == previous,
            device.available,
            device.is_hardware,
            device.priority,
            -device.index,
        ),
    )


def _derived_sources(pulse: pulsectl.Pulse, sources: list[Device]) -> frozenset[str]:
    """Sources that other modules (remap, echo cancel) make out of our sound."""
    with server_errors("list the recording streams"):
        streams = pulse.source_output_list()
    names = {source.index: source.name for source in sources}
    inputs: dict[int, set[str]] = {}
    for stream in streams:
        if stream.owner_module != NO_INDEX and stream.source in names:
            inputs.setdefault(int(stream.owner_module), set()).add(names[stream.source])
    tainted = {MICROPHONE, OUTPUT_MONITOR, SPEAKER_MONITOR}
    _spread(tainted, [source for source in sources if not source.is_monitor], inputs)
    return frozenset(tainted)


def _sinks_into_ours(pulse: pulsectl.Pulse, sinks: list[Device]) -> frozenset[str]:
    """Sinks whose modules (remap, combine, equalizer) play on into our sinks."""
    with server_errors("list the playing streams"):
        streams = pulse.sink_input_list()
    names = {sink.index: sink.name for sink in sinks}
    outputs: dict[int, set[str]] = {}
    for stream in streams:
        if stream.owner_module != NO_INDEX and stream.sink in names:
            outputs.setdefault(int(stream.owner_module), set()).add(names[stream.sink])
    tainted = {SPEAKER, OUTPUT}
    _spread(tainted, sinks, outputs)
    return frozenset(tainted)


def _spread(tainted: set[str], devices: list[Device], linked: dict[int, set[str]]) -> None:
    """Add each device whose module is linked to a tainted one, until nothing is new."""
    grown = True
    while grown:
        grown = False
        for device in devices:
            if device.module is None or device.name in tainted:
                continue
            if linked.get(device.module, set()) & tainted:
                tainted.add(device.name)
                grown = True
