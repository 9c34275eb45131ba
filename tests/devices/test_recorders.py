"""Who records DTLN Microphone, told from level meters and from the bridge itself."""

from __future__ import annotations

import subprocess
import threading

import pulsectl
import pytest

from pipedtln.audio.server import connect
from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivateServer
from pipedtln.devices.names import MICROPHONE, OUTPUT_MONITOR
from pipedtln.devices.recorders import UNLINKED, list_recorders
from pipedtln.devices.virtual import VirtualDevices


@pytest.fixture(autouse=True)
def virtual_devices(server: PrivateServer, pulse: pulsectl.Pulse) -> None:
    """Make the source that is recorded."""
    VirtualDevices(pulse).ensure(server.SPEAKER)


def test_nobody_records_at_first(pulse: pulsectl.Pulse) -> None:
    assert list_recorders(pulse) == []


def test_an_app_is_seen_while_it_records_and_no_longer(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    with server.recorder(MICROPHONE) as recording:
        recording.wait(0.1)
        (recorder,) = list_recorders(pulse)
        assert recorder.name == "parecord"
        assert recorder.pid == recording.pid
        assert recorder.listens
    assert wait_until(lambda: list_recorders(pulse) == [], timeout=2.0)


def test_recorders_of_other_sources_do_not_count(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    with server.recorder(server.MICROPHONE) as mic, server.recorder(OUTPUT_MONITOR) as monitor:
        mic.wait(0.1)
        monitor.wait(0.1)
        assert list_recorders(pulse) == []


def test_a_level_meter_is_told_from_a_listener(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    def meter() -> None:
        with connect(server.url, client_name="mixer") as own:
            own.get_peak_sample(MICROPHONE, 2.0)

    thread = threading.Thread(target=meter)
    thread.start()
    try:
        assert wait_until(lambda: bool(list_recorders(pulse)), timeout=2.0)
        (recorder,) = list_recorders(pulse)
        assert recorder.is_meter
        assert not recorder.listens
    finally:
        thread.join()


def test_streams_of_the_bridge_are_left_out(server: PrivateServer, pulse: pulsectl.Pulse) -> None:
    command = ["parecord", f"--device={MICROPHONE}", "--property=pipedtln.owner=pipedtln", "--raw"]
    with (
        subprocess.Popen(command, env=server.env, stdout=subprocess.DEVNULL) as own,
        server.recorder(MICROPHONE) as app,
    ):
        app.wait(0.5)
        assert len(_streams_on_microphone(pulse)) == 2
        assert [recorder.name for recorder in list_recorders(pulse)] == ["parecord"]
        assert [recorder.pid for recorder in list_recorders(pulse)] == [app.pid]
        own.terminate()


def _streams_on_microphone(pulse: pulsectl.Pulse) -> list[object]:
    indexes = {source.index for source in pulse.source_list() if source.name == MICROPHONE}
    return [stream for stream in pulse.source_output_list() if stream.source in indexes]


@pytest.mark.pipewire
def test_a_native_pipewire_recorder_counts(pipewire: PrivateServer) -> None:
    with connect(pipewire.url) as pulse:
        VirtualDevices(pulse).ensure(pipewire.SPEAKER)
        command = ["pw-record", f"--target={MICROPHONE}", str(pipewire.folder / "x.wav")]
        with subprocess.Popen(command, env=pipewire.env) as process:
            assert wait_until(
                lambda: [r.name for r in list_recorders(pulse) if r.listens] == ["pw-record"],
                timeout=3.0,
            )
            process.terminate()
        assert wait_until(lambda: list_recorders(pulse) == [], timeout=2.0)


@pytest.mark.pipewire
@pytest.mark.parametrize("ours", [True, False], ids=["ours", "another"])
def test_a_recorder_counts_before_it_is_linked(pipewire: PrivateServer, ours: bool) -> None:
    with connect(pipewire.url) as pulse:
        VirtualDevices(pulse).ensure(pipewire.SPEAKER)
        target = MICROPHONE if ours else pipewire.MICROPHONE
        # Never linked, as any stream is not for a moment.
        command = ["pw-record", f"--target={target}", "--properties={node.autoconnect = false}"]
        file = str(pipewire.folder / "x.wav")
        with subprocess.Popen([*command, file], env=pipewire.env) as process:
            try:
                assert wait_until(lambda: UNLINKED in _sources(pulse), timeout=3.0)
                assert [recorder.listens for recorder in list_recorders(pulse)] == [True] * ours
            finally:
                process.terminate()


def _sources(pulse: pulsectl.Pulse) -> list[int]:
    return [stream.source for stream in pulse.source_output_list()]
