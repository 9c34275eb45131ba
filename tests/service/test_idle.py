"""Nobody listening costs nothing, and the first who does hears at once."""

from __future__ import annotations

import threading
import time

import numpy as np

from pipedtln.demo.servers import PrivateServer
from pipedtln.service.causes import SOON_S
from tests.service.bridge import MICROPHONE, RunningBridge, our_streams
from tests.service.rest import idle_shares, wait_at_rest
from tests.service.sounds import first_sound_s


def test_idle_bridge_leaves_the_microphone_alone_and_takes_no_cpu(
    server: PrivateServer, bridge: RunningBridge
) -> None:
    assert our_streams(server) == []
    hops = bridge.status().hops
    assert float(np.median(idle_shares(server, bridge))) < 0.3
    assert bridge.status().hops == hops
    assert our_streams(server) == []


def test_streams_that_change_all_the_time_cost_an_idle_bridge_little(
    server: PrivateServer, bridge: RunningBridge
) -> None:
    """As an app's volume does, and on PulseAudio the rate of every loopback once a second."""
    changes = 12
    with server.player(np.zeros(16_000 * 60, np.float32), server.SPEAKER):
        wait_at_rest(server)
        with server.connect() as pulse:
            stream = next(one for one in pulse.sink_input_list() if one.name == "pacat")
            before = bridge.cpu_seconds()
            for change in range(changes):
                pulse.volume_set_all_chans(stream, 0.5 + 0.3 * (change % 2))
                time.sleep(1.5 * SOON_S)
            spent = 1000 * (bridge.cpu_seconds() - before) / changes
    print(f"{server.kind}: a change takes {spent:.1f} ms of processor time")
    assert spent < 6.0


def test_first_sound_comes_within_a_tenth_of_a_second(
    server: PrivateServer, bridge: RunningBridge
) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 16_000 * 40).astype(np.float32)
    waits = []
    with server.player(noise, server.MICROPHONE_INPUT):
        for _ in range(5):
            with server.recorder(MICROPHONE) as recording:
                heard = recording.wait(0.8)
            first = first_sound_s(heard)
            assert first is not None
            waits.append(1000 * first)
            bridge.wait_state("idle")
    print(f"{server.kind}: first sound after {', '.join(f'{ms:.0f}' for ms in waits)} ms")
    assert float(np.median(waits)) < 100


def test_microphone_is_closed_when_the_last_app_leaves(
    server: PrivateServer, bridge: RunningBridge
) -> None:
    with server.recorder(MICROPHONE), server.recorder(MICROPHONE) as second:
        bridge.wait_state("running")
        second.stop()
        bridge.wait_for(lambda status: len(status.recorders) == 1)
        assert ("DTLN microphone", server.MICROPHONE) in our_streams(server)
    bridge.wait_state("idle")
    assert our_streams(server) == []


def test_level_meter_does_not_open_the_microphone(
    server: PrivateServer, bridge: RunningBridge
) -> None:
    def meter() -> None:
        with server.connect() as pulse:
            source = next(s for s in pulse.source_list() if s.name == MICROPHONE)
            pulse.get_peak_sample(source.name, timeout=2.5)

    thread = threading.Thread(target=meter)
    thread.start()
    seen_meter = False
    try:
        while thread.is_alive():
            with server.connect() as pulse:
                index = pulse.get_source_by_name(MICROPHONE).index
                seen_meter |= any(o.source == index for o in pulse.source_output_list())
            assert bridge.status().state == "idle"
            assert our_streams(server) == []
            time.sleep(0.1)
    finally:
        thread.join()
    assert seen_meter


def test_memory_threads_and_descriptors_stay_flat_over_many_recordings(
    server: PrivateServer, bridge: RunningBridge
) -> None:
    def cycle() -> None:
        with server.recorder(MICROPHONE) as recording:
            recording.wait(0.15)
            bridge.wait_state("running")
        bridge.wait_state("idle")

    for _ in range(5):
        cycle()
    before = (bridge.memory_mb(), bridge.descriptors(), bridge.threads())
    for _ in range(30):
        cycle()
    after = (bridge.memory_mb(), bridge.descriptors(), bridge.threads())
    print(f"{server.kind}: MB, descriptors, threads before {before}, after 30 recordings {after}")
    assert after[0] - before[0] < 3.0
    assert after[1] <= before[1] + 1
    assert after[2] <= before[2]
