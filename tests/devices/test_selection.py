"""Which microphone, loudspeaker and reference are chosen, and that none makes a loop."""

from __future__ import annotations

import numpy as np
import pulsectl
import pytest

from pipedtln.audio.server import connect
from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivateServer
from pipedtln.devices.defaults import set_default_sink, set_default_source
from pipedtln.devices.listing import Device, is_ours, list_sinks, list_sources
from pipedtln.devices.names import MICROPHONE, OUTPUT, OUTPUT_MONITOR, SPEAKER, SPEAKER_MONITOR
from pipedtln.devices.selection import (
    choose_microphone,
    choose_output,
    choose_reference,
    reference_channel,
)
from pipedtln.devices.virtual import VirtualDevices
from pipedtln.errors import ConfigError, DeviceError, DeviceNotFoundError


@pytest.fixture
def ours_are_defaults(server: PrivateServer) -> None:
    """Make our devices, and make them the defaults, as setup --set-default does."""
    with connect(server.url) as connection:
        VirtualDevices(connection).ensure(server.SPEAKER)
    server.make_default(source=MICROPHONE, sink=SPEAKER)


def test_auto_follows_the_defaults(server: PrivateServer) -> None:
    server.plug_microphone("other_mic")
    server.plug_speaker("other_speaker")
    for mic, speaker in (("other_mic", "other_speaker"), ("fake_mic", "fake_speaker")):
        server.make_default(source=mic, sink=speaker)
        # (Who is connected already may miss it, see server_info.)
        with connect(server.url) as pulse:
            # The previous choice counts only where the default cannot be used.
            assert choose_microphone(pulse, "auto", "fake_mic") == mic
            assert choose_output(pulse, "auto", "fake_speaker") == speaker
            assert choose_reference(pulse) == f"{speaker}.monitor"


@pytest.mark.usefixtures("ours_are_defaults")
def test_auto_never_takes_our_own_when_they_are_the_defaults(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    assert choose_microphone(pulse) == server.MICROPHONE
    assert choose_output(pulse, previous=server.SPEAKER) == server.SPEAKER
    assert choose_reference(pulse) == SPEAKER_MONITOR
    server.plug_microphone("other_mic")
    server.plug_speaker("other_speaker")
    server.make_default(source=MICROPHONE, sink=SPEAKER)
    with connect(server.url) as afterwards:
        for mic, speaker in (("other_mic", "other_speaker"), ("fake_mic", "fake_speaker")):
            assert choose_microphone(afterwards, previous=mic) == mic
            assert choose_output(afterwards, previous=speaker) == speaker


@pytest.mark.usefixtures("ours_are_defaults")
@pytest.mark.parametrize("name", [MICROPHONE, OUTPUT_MONITOR, SPEAKER_MONITOR])
def test_our_own_sources_are_refused_by_name(pulse: pulsectl.Pulse, name: str) -> None:
    with pytest.raises(DeviceError, match=f"{name}.*loop"):
        choose_microphone(pulse, name)


@pytest.mark.usefixtures("ours_are_defaults")
@pytest.mark.parametrize("name", [SPEAKER, OUTPUT])
def test_our_own_sinks_are_refused_by_name(pulse: pulsectl.Pulse, name: str) -> None:
    with pytest.raises(DeviceError, match=f"{name}.*loop"):
        choose_output(pulse, name)


@pytest.mark.usefixtures("ours_are_defaults")
def test_sources_made_of_our_microphone_are_refused(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    for name, master in (("copy", MICROPHONE), ("copy_of_copy", "copy")):
        pulse.module_load("module-remap-source", f"source_name={name} master={master}")
        assert wait_until(lambda: name in _names(list_sources(pulse)), timeout=2.0)  # noqa: B023
    set_default_source(pulse, "copy_of_copy")
    # PipeWire links an idle remap only when someone records from it.
    with server.recorder("copy_of_copy") as recording:
        recording.wait(0.1)
        with pytest.raises(DeviceError, match="loop"):
            choose_microphone(pulse, "copy_of_copy")
        assert choose_microphone(pulse) == server.MICROPHONE


@pytest.mark.usefixtures("ours_are_defaults")
def test_sinks_that_play_into_our_speaker_are_refused(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    pulse.module_load("module-remap-sink", f"sink_name=equalizer master={SPEAKER}")
    assert wait_until(lambda: "equalizer" in _names(list_sinks(pulse)), timeout=2.0)
    set_default_sink(pulse, "equalizer")
    with server.player(np.zeros(80_000, np.float32), "equalizer"):
        assert wait_until(lambda: _refused(pulse, "equalizer"), timeout=3.0)
        assert choose_output(pulse, previous=server.SPEAKER) == server.SPEAKER


def test_names_that_do_not_exist_are_named(server: PrivateServer, pulse: pulsectl.Pulse) -> None:
    with pytest.raises(DeviceNotFoundError, match=r"no source named 'gone'.*pipedtln devices"):
        choose_microphone(pulse, "gone")
    for choose in (choose_output, choose_reference):
        with pytest.raises(DeviceNotFoundError, match=r"no sink named 'gone'.*pipedtln devices"):
            choose(pulse, "gone")
    with pytest.raises(DeviceNotFoundError, match=SPEAKER):
        choose_reference(pulse, "speaker")


def test_no_microphone_is_an_error_and_no_output_is_none(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    server.unplug_microphone()
    with pytest.raises(DeviceNotFoundError, match="no microphone"):
        choose_microphone(pulse)
    # A monitor is no microphone unless the user names it.
    assert choose_microphone(pulse, "fake_speaker.monitor") == "fake_speaker.monitor"
    for sink in list_sinks(pulse):
        if sink.module is not None:
            pulse.module_unload(sink.module)
    assert wait_until(lambda: {s.name for s in list_sinks(pulse)} <= {"auto_null"}, timeout=3.0)
    assert choose_output(pulse) is None
    assert choose_reference(pulse) is None


@pytest.mark.usefixtures("ours_are_defaults")
def test_reference_can_be_pinned(server: PrivateServer, pulse: pulsectl.Pulse) -> None:
    assert choose_reference(pulse, "speaker") == SPEAKER_MONITOR
    assert choose_reference(pulse, server.SPEAKER) == f"{server.SPEAKER}.monitor"
    assert choose_reference(pulse, "none") is None
    assert choose_reference(pulse, "channel:-1") is None
    with pytest.raises(DeviceError, match="loop"):
        choose_reference(pulse, OUTPUT)
    server.make_default(sink=OUTPUT)
    with connect(server.url) as afterwards:
        assert choose_reference(afterwards) not in (None, OUTPUT_MONITOR)


def test_reference_channel_is_read_or_refused() -> None:
    assert reference_channel("channel:-1") == -1
    assert reference_channel("channel:3") == 3
    assert reference_channel("speaker") is None
    with pytest.raises(ConfigError, match="channel:one"):
        reference_channel("channel:one")


def test_listing_tells_devices_apart(server: PrivateServer, pulse: pulsectl.Pulse) -> None:
    VirtualDevices(pulse).ensure(server.SPEAKER)
    pulse.module_load("module-null-sink", "sink_name=pipedtln_speaker2")
    sources = {source.name: source for source in list_sources(pulse)}
    sinks = {sink.name: sink for sink in list_sinks(pulse)}
    assert sources["fake_mic"].is_default
    assert sources["fake_mic"].description == "Microphone fake_mic"
    assert (sinks["fake_speaker"].channels, sources["fake_mic"].channels) == (2, 1)
    assert sources["fake_speaker.monitor"].monitor_of == "fake_speaker"
    assert sinks["fake_speaker"].monitor == "fake_speaker.monitor"
    assert {name for name, device in sinks.items() if is_ours(device)} == {SPEAKER, OUTPUT}
    assert {name for name, device in sources.items() if is_ours(device)} == {
        MICROPHONE,
        SPEAKER_MONITOR,
        OUTPUT_MONITOR,
    }
    assert {source.name for source in list_sources(pulse, monitors=False)} == {
        MICROPHONE,
        "fake_mic",
    }


def _names(devices: list[Device]) -> set[str]:
    return {device.name for device in devices}


def _refused(pulse: pulsectl.Pulse, name: str) -> bool:
    try:
        choose_output(pulse, name)
    except DeviceError:
        return True
    return False
