"""The virtual devices on real servers: made once, adopted, repaired, removed, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pulsectl
import pytest

from pipedtln.audio.server import connect
from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivateServer
from pipedtln.devices.defaults import set_default_sink, set_default_source
from pipedtln.devices.listing import Device, list_sinks, list_sources
from pipedtln.devices.names import MICROPHONE, OUTPUT, OWNER_PROPERTY, SPEAKER
from pipedtln.devices.parts import (
    MICROPHONE_PART,
    OUTPUT_PART,
    SPEAKER_PART,
    Part,
    Role,
    loopback_part,
)
from pipedtln.devices.virtual import VirtualDevices
from pipedtln.errors import DeviceError, DeviceNotFoundError, PipedtlnError

ALL: list[Role] = ["speaker", "output", "microphone", "loopback"]
RATE = 16_000


def devices(pulse: pulsectl.Pulse) -> list[Device]:
    return [*list_sinks(pulse), *list_sources(pulse, monitors=False)]


def names(pulse: pulsectl.Pulse) -> list[str]:
    return sorted(device.name for device in devices(pulse))


def tone(seconds: float) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)).astype("f4")


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples.astype(np.float64)))))


def unload(pulse: pulsectl.Pulse, role: Role) -> None:
    module = next(m for m in VirtualDevices(pulse).modules() if m.role == role)
    pulse.module_unload(module.index)
    wait_until(lambda: module not in VirtualDevices(pulse).modules(), timeout=2.0)


def test_ensure_makes_the_set_and_the_second_time_nothing(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    before = names(pulse)
    virtual = VirtualDevices(pulse)
    began = time.monotonic()
    first = virtual.ensure(server.SPEAKER)
    between = time.monotonic()
    second = virtual.ensure(server.SPEAKER)
    ended = time.monotonic()
    print(
        f"{server.kind}: created in {1e3 * (between - began):.0f} ms, "
        f"adopted in {1e3 * (ended - between):.0f} ms"
    )
    assert first.created == ALL
    assert (second.created, second.removed) == ([], [])
    assert sorted(second.adopted) == sorted(ALL)
    assert names(pulse) == sorted([*before, MICROPHONE, SPEAKER, OUTPUT])
    assert virtual.loopback_target() == server.SPEAKER


def test_every_device_module_and_stream_bears_the_owner(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    VirtualDevices(pulse).ensure(server.SPEAKER)
    owned = {device.name for device in devices(pulse) if device.owner == "pipedtln"}
    assert owned == {MICROPHONE, SPEAKER, OUTPUT}
    assert all(
        OWNER_PROPERTY in m.argument
        for m in server.module_list()
        if "pipedtln_" in (m.argument or "")
    )
    playing = [s for s in pulse.sink_input_list() if s.proplist.get(OWNER_PROPERTY) == "pipedtln"]
    assert len(playing) == 1
    monitors = {d.name for d in list_sources(pulse) if d.is_monitor and d.ours}
    assert monitors == {f"{SPEAKER}.monitor", f"{OUTPUT}.monitor"}


def test_microphone_is_a_real_source_with_a_good_name(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    VirtualDevices(pulse).ensure(server.SPEAKER)
    microphone = next(d for d in list_sources(pulse) if d.name == MICROPHONE)
    assert microphone.description == "DTLN Microphone"
    assert not microphone.is_monitor
    assert microphone.channels == 1
    assert microphone.properties["device.class"] == "sound"
    assert microphone.properties["device.icon_name"] == "audio-input-microphone"
    speaker = next(d for d in list_sinks(pulse) if d.name == SPEAKER)
    assert speaker.description == "DTLN Speaker"


def test_sound_reaches_the_speaker_and_the_microphone(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    VirtualDevices(pulse).ensure(server.SPEAKER)
    with server.player(tone(4.0), SPEAKER):
        assert level(server.record(f"{server.SPEAKER}.monitor", 1.0)[RATE // 2 :]) > 0.1
    with server.player(tone(4.0), OUTPUT):
        assert level(server.record(MICROPHONE, 1.0)[RATE // 2 :]) > 0.1


@pytest.mark.parametrize("role", ALL)
def test_a_module_unloaded_by_hand_is_mended_and_sound_returns(
    server: PrivateServer, pulse: pulsectl.Pulse, role: Role
) -> None:
    virtual = VirtualDevices(pulse)
    virtual.ensure(server.SPEAKER)
    before = names(pulse)
    unload(pulse, role)
    assert virtual.verify(server.SPEAKER)
    changes = virtual.ensure(server.SPEAKER)
    print(f"{server.kind}: {role} unloaded, {changes}")
    assert role in changes.created
    assert names(pulse) == before
    with server.player(tone(4.0), OUTPUT):
        assert level(server.record(MICROPHONE, 1.0)[RATE // 2 :]) > 0.1
    with server.player(tone(4.0), SPEAKER):
        assert level(server.record(f"{server.SPEAKER}.monitor", 1.0)[RATE // 2 :]) > 0.1


@pytest.mark.parametrize(
    "part", [SPEAKER_PART, OUTPUT_PART, MICROPHONE_PART, loopback_part("fake_speaker")]
)
def test_doubles_are_reduced_to_one(
    server: PrivateServer, pulse: pulsectl.Pulse, part: Part
) -> None:
    virtual = VirtualDevices(pulse)
    virtual.ensure(server.SPEAKER)
    before = names(pulse)
    pulse.module_load(part.module, part.arguments)
    assert virtual.verify(server.SPEAKER)
    assert virtual.ensure(server.SPEAKER).removed == [part.role]
    assert names(pulse) == before
    assert virtual.verify(server.SPEAKER) == []


def test_two_instances_at_once_leave_one_set(server: PrivateServer) -> None:
    failures: list[Exception] = []
    gate = threading.Barrier(2)

    def instance() -> None:
        try:
            with connect(server.url) as own:
                gate.wait(5.0)
                VirtualDevices(own).ensure(server.SPEAKER)
        except (PipedtlnError, threading.BrokenBarrierError) as error:
            failures.append(error)

    threads = [threading.Thread(target=instance) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    assert failures == []
    with connect(server.url) as pulse:
        virtual = VirtualDevices(pulse)
        virtual.ensure(server.SPEAKER)
        assert sorted(module.role for module in virtual.modules()) == sorted(ALL)
        ours = [device.name for device in devices(pulse) if device.ours]
        assert sorted(ours) == sorted([MICROPHONE, SPEAKER, OUTPUT])


def test_a_part_with_other_arguments_is_replaced(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    pulse.module_load(OUTPUT_PART.module, OUTPUT_PART.arguments.replace("16000", "44100"))
    changes = VirtualDevices(pulse).ensure(server.SPEAKER)
    assert changes.removed == ["output"]
    assert changes.created == ALL
    assert VirtualDevices(pulse).verify(server.SPEAKER) == []


def test_what_a_killed_process_left_is_adopted(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    program = (
        "import sys, time\n"
        "from pipedtln.audio.server import connect\n"
        "from pipedtln.devices.virtual import VirtualDevices\n"
        "VirtualDevices(connect()).ensure('fake_speaker')\n"
        "print('made', flush=True)\n"
        "time.sleep(60)\n"
    )
    env = {**server.env, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        before = names(pulse)
        process.send_signal(signal.SIGKILL)
    changes = VirtualDevices(pulse).ensure(server.SPEAKER)
    assert (changes.created, changes.removed) == ([], [])
    assert names(pulse) == before


def test_remove_takes_exactly_ours_and_can_be_repeated(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    owned = "'pipedtln.owner=\"pipedtln2\"'"
    others = [
        ("module-null-sink", "sink_name=pipedtln_speaker2"),
        ("module-null-sink", f"sink_name=pipedtln_out_of_tune sink_properties={owned}"),
        ("module-remap-source", "source_name=my_pipedtln_microphone master=fake_mic_hw.monitor"),
        ("module-loopback", "source=pipedtln_speaker2.monitor sink=fake_speaker latency_msec=50"),
    ]
    for module, argument in others:
        pulse.module_load(module, argument)
    before = names(pulse)
    arguments = sorted(m.argument for m in server.module_list() if m.argument)
    virtual = VirtualDevices(pulse)
    virtual.ensure(server.SPEAKER)
    pulse.module_load(SPEAKER_PART.module, SPEAKER_PART.arguments)
    removed = virtual.remove()
    assert sorted(removed) == sorted([*ALL, "speaker"])
    assert names(pulse) == before
    assert sorted(m.argument for m in server.module_list() if m.argument) == arguments
    assert virtual.remove() == []


def test_loopback_follows_the_output_and_stays_off_our_devices(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    virtual = VirtualDevices(pulse)
    virtual.ensure(server.SPEAKER)
    server.plug_speaker("other_speaker")
    assert virtual.repin("other_speaker")
    assert virtual.loopback_target() == "other_speaker"
    assert not virtual.repin("other_speaker")
    set_default_sink(pulse, SPEAKER)
    set_default_source(pulse, MICROPHONE)
    server.unplug_speaker("other_speaker")
    assert virtual.loopback_target() is None
    assert virtual.repin(server.SPEAKER)
    assert virtual.loopback_target() == server.SPEAKER
    assert virtual.verify(server.SPEAKER) == []
    for ours in (SPEAKER, OUTPUT):
        with pytest.raises(DeviceError, match="own"):
            virtual.repin(ours)
    with pytest.raises(DeviceNotFoundError, match="no sink named 'gone'"):
        virtual.ensure("gone")


def test_loopback_goes_with_its_output(server: PrivateServer, pulse: pulsectl.Pulse) -> None:
    # Without node.dont-fallback PipeWire 1.4 leaves it, connected to nothing.
    virtual = VirtualDevices(pulse)
    server.plug_speaker("other_speaker")
    virtual.ensure("other_speaker")
    server.unplug_speaker("other_speaker")

    def left() -> list[str]:
        return [module.role for module in virtual.modules() if module.role == "loopback"]

    assert wait_until(lambda: not left(), 3.0)


def test_without_a_real_output_there_is_no_loopback(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    virtual = VirtualDevices(pulse)
    assert virtual.ensure(None).created == ["speaker", "output", "microphone"]
    assert virtual.verify(None) == []
    assert virtual.loopback_target() is None
    assert virtual.ensure(server.SPEAKER).created == ["loopback"]
    assert virtual.ensure(None).removed == ["loopback"]


def test_a_namesake_of_another_program_is_named_and_left_alone(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    index = pulse.module_load("module-null-sink", f"sink_name={SPEAKER}")
    with pytest.raises(DeviceError, match=f"{SPEAKER}.*pactl unload-module {index}"):
        VirtualDevices(pulse).ensure(server.SPEAKER)
    assert VirtualDevices(pulse).modules() == []
    assert index in {module.index for module in server.module_list()}


def test_devices_can_be_made_again_after_a_server_restart(server: PrivateServer) -> None:
    for end in (server.stop_server, server.kill, server.stop_server):
        with connect(server.url) as pulse:
            assert VirtualDevices(pulse).ensure(server.SPEAKER).created == ALL
        end()
        server.start()
