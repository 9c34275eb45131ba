"""The drop-ins of pipewire/: the same devices at login, adopted by the bridge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipedtln.audio.server import connect
from pipedtln.demo.servers import PrivatePipeWire
from pipedtln.devices.arguments import parse
from pipedtln.devices.listing import list_sinks, list_sources
from pipedtln.devices.names import MICROPHONE, OUTPUT, SPEAKER
from pipedtln.devices.parts import MICROPHONE_PART, OUTPUT_PART, SPEAKER_PART, Part
from pipedtln.devices.virtual import VirtualDevices
from pipedtln.resources import resource
from tests.servers.fixtures import require

FILES = {
    "50-pipedtln-microphone.conf": [OUTPUT_PART, MICROPHONE_PART],
    "50-pipedtln-speaker.conf": [SPEAKER_PART],
}


@pytest.fixture
def logged_in() -> Iterator[PrivatePipeWire]:
    """Start a PipeWire whose user has the drop-ins."""
    require("pipewire")
    server = PrivatePipeWire()
    folder = server.config_home / "pipewire" / "pipewire-pulse.conf.d"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_bytes(resource("pipewire", name).read_bytes())
    with server:
        yield server


@pytest.mark.parametrize(("name", "parts"), FILES.items())
def test_dropin_has_the_very_modules_of_the_bridge(name: str, parts: list[Part]) -> None:
    text = Path(resource("pipewire", name)).read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found = re.findall(r'args = "((?:[^"\\]|\\.)*)"', "\n".join(lines))
    loaded = [re.sub(r"\\(.)", r"\1", args).split(" ", 1) for args in found]
    assert [(module, parse(args)) for module, args in loaded] == [
        (part.module, parse(part.arguments)) for part in parts
    ]


@pytest.mark.pipewire
def test_devices_exist_at_login_and_are_adopted_without_doubles(logged_in: PrivatePipeWire) -> None:
    with connect(logged_in.url) as pulse:
        sources = [source.name for source in list_sources(pulse, monitors=False)]
        sinks = [sink.name for sink in list_sinks(pulse)]
        assert sources.count(MICROPHONE) == 1
        assert sinks.count(SPEAKER) == sinks.count(OUTPUT) == 1
        changes = VirtualDevices(pulse).ensure(logged_in.SPEAKER)
        assert changes.created == ["loopback"]
        assert changes.removed == []
        assert [source.name for source in list_sources(pulse, monitors=False)] == sources
        assert [sink.name for sink in list_sinks(pulse)] == sinks


@pytest.mark.pipewire
def test_devices_of_the_dropin_can_be_removed_while_it_runs(logged_in: PrivatePipeWire) -> None:
    with connect(logged_in.url) as pulse:
        virtual = VirtualDevices(pulse)
        virtual.ensure(logged_in.SPEAKER)
        assert len(virtual.remove()) == 4
        assert not [d.name for d in (*list_sinks(pulse), *list_sources(pulse)) if d.ours]
