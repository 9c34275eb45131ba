"""Default devices are read and set for real."""

from __future__ import annotations

import pulsectl
import pytest

from pipedtln.demo.servers import PrivateServer
from pipedtln.devices.defaults import (
    Defaults,
    get_defaults,
    set_default_sink,
    set_default_source,
)
from pipedtln.devices.names import MICROPHONE, SPEAKER
from pipedtln.devices.virtual import VirtualDevices
from pipedtln.errors import DeviceNotFoundError


def test_defaults_change_and_come_back(server: PrivateServer, pulse: pulsectl.Pulse) -> None:
    before = get_defaults(pulse)
    assert before == Defaults(source=server.MICROPHONE, sink=server.SPEAKER)
    VirtualDevices(pulse).ensure(server.SPEAKER)
    assert get_defaults(pulse) == before
    set_default_source(pulse, MICROPHONE)
    set_default_sink(pulse, SPEAKER)
    assert get_defaults(pulse) == Defaults(source=MICROPHONE, sink=SPEAKER)
    set_default_source(pulse, server.MICROPHONE)
    set_default_sink(pulse, server.SPEAKER)
    VirtualDevices(pulse).remove()
    assert get_defaults(pulse) == before


def test_an_unknown_default_changes_nothing(server: PrivateServer, pulse: pulsectl.Pulse) -> None:
    before = get_defaults(pulse)
    with pytest.raises(DeviceNotFoundError, match="no source named 'gone'"):
        set_default_source(pulse, "gone")
    with pytest.raises(DeviceNotFoundError, match="no sink named 'gone'"):
        set_default_sink(pulse, "gone")
    assert get_defaults(pulse) == before
