"""What sources and sinks a server has, as plain typed records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pulsectl

from pipedtln.audio.server import server_errors, server_info
from pipedtln.devices.names import OWNER, OWNER_PROPERTY

DeviceKind = Literal["source", "sink"]

# PA_SINK_HARDWARE and PA_SOURCE_HARDWARE of libpulse's def.h.
_HARDWARE = 0x0004
NO_INDEX = 0xFFFFFFFF
"""libpulse's PA_INVALID_INDEX: belongs to no module, linked to no device."""


@dataclass(frozen=True)
class Device:
    """A source or a sink at the moment of asking.

    Attributes
    ----------
    owner : value of the property ``pipedtln.owner``, None if it has none
    ours : whether it is one of our devices, or the monitor of one
    monitor_of : for a monitor, the name of its sink
    monitor : for a sink, the name of its monitor source
    available : False if the server knows that nothing is plugged into its active port
    priority : the server's ranking, higher is better; comparable among devices of one server
    channel_map : positions of the channels in order, as libpulse names them
    sample_rate : Hz, None where the server does not tell it as a property
    module : index of the module that made it, None if no module did
    """

    name: str
    description: str
    kind: DeviceKind
    index: int
    is_monitor: bool = False
    monitor_of: str | None = None
    monitor: str | None = None
    owner: str | None = None
    ours: bool = False
    is_default: bool = False
    is_hardware: bool = False
    available: bool = True
    priority: int = 0
    channels: int = 1
    channel_map: tuple[str, ...] = ()
    sample_rate: int | None = None
    module: int | None = None
    properties: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)


def list_sinks(pulse: pulsectl.Pulse) -> list[Device]:
    """All sinks, ours included.

    Raises
    ------
    ServerError
        If the server is gone.
    """
    default = server_info(pulse).default_sink
    with server_errors("list the sinks"):
        raws = pulse.sink_list()
    return [_device(raw, "sink", default, frozenset()) for raw in raws]


def list_sources(pulse: pulsectl.Pulse, *, monitors: bool = True) -> list[Device]:
    """All sources, ours included; monitors too unless ``monitors`` is false.

    Raises
    ------
    ServerError
        If the server is gone.
    """
    default = server_info(pulse).default_source
    with server_errors("list the sources"):
        # PulseAudio's monitors do not bear the properties of their sinks.
        our_sinks = frozenset(
            str(sink.name)
            for sink in pulse.sink_list()
            if sink.proplist.get(OWNER_PROPERTY) == OWNER
        )
        raws = pulse.source_list()
    devices = [_device(raw, "source", default, our_sinks) for raw in raws]
    return [device for device in devices if monitors or not device.is_monitor]


def is_ours(device: Device) -> bool:
    """Whether it is one of our devices or the monitor of one; told by the owner property."""
    return device.ours


def _device(raw: Any, kind: DeviceKind, default: str | None, our_sinks: frozenset[str]) -> Device:
    properties: dict[str, str] = dict(raw.proplist)
    monitor_of = raw.monitor_of_sink_name if kind == "source" else None
    owner = properties.get(OWNER_PROPERTY)
    port = raw.port_active
    module = None if raw.owner_module == NO_INDEX else int(raw.owner_module)
    return Device(
        name=str(raw.name),
        description=str(raw.description or raw.name),
        kind=kind,
        index=int(raw.index),
        is_monitor=bool(monitor_of),
        monitor_of=str(monitor_of) if monitor_of else None,
        monitor=str(raw.monitor_source_name) if kind == "sink" else None,
        owner=owner,
        ours=owner == OWNER or monitor_of in our_sinks,
        is_default=raw.name == default,
        is_hardware=bool(raw.flags & _HARDWARE),
        available=port is None or port.available_state != "no",
        priority=_number(properties.get("priority.session")) or (port.priority if port else 0),
        channels=int(raw.channel_count),
        channel_map=tuple(str(position) for position in raw.channel_list),
        sample_rate=_number(properties.get("audio.rate")) or None,
        module=module,
        properties=properties,
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdigit() else 0
