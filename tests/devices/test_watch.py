"""The watcher tells every change promptly, and ends when it is told to or the server goes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pulsectl
import pytest

from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivateServer
from pipedtln.devices.names import MICROPHONE
from pipedtln.devices.virtual import VirtualDevices
from pipedtln.devices.watch import Facility, ServerEvent, ServerWatcher
from pipedtln.errors import ServerError


class Log:
    """What a watcher said."""

    def __init__(self, server: PrivateServer) -> None:
        self.events: list[ServerEvent] = []
        self.lost = threading.Event()
        self.watcher = ServerWatcher(self.events.append, self.lost.set, server.url)

    def saw(self, facility: Facility, change: str) -> bool:
        return any(event.facility == facility and event.change == change for event in self.events)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_devices_defaults_and_recorders_are_told(
    server: PrivateServer, pulse: pulsectl.Pulse
) -> None:
    log = Log(server)
    log.watcher.start()
    try:
        VirtualDevices(pulse).ensure(server.SPEAKER)
        for facility in ("sink", "source", "module"):
            assert wait_until(lambda: log.saw(facility, "new"), timeout=2.0), facility  # noqa: B023
        # PipeWire leaves one out that comes in the moment in which another client connects, as
        # those of the devices just made do.
        for name in (MICROPHONE, server.MICROPHONE, MICROPHONE):
            pulse.source_default_set(name)
            if wait_until(lambda: log.saw("server", "change"), timeout=2.0):
                break
        assert log.saw("server", "change")
        log.events.clear()
        began = time.monotonic()
        with server.recorder(MICROPHONE) as recording:
            assert wait_until(lambda: log.saw("source_output", "new"), timeout=2.0, step=0.001)
            print(
                f"{server.kind}: recorder told {1e3 * (time.monotonic() - began):.0f} ms "
                "after its program was started"
            )
            recording.wait(0.1)
        assert wait_until(lambda: log.saw("source_output", "remove"), timeout=2.0)
        server.unplug_microphone()
        assert wait_until(lambda: log.saw("source", "remove"), timeout=2.0)
    finally:
        log.watcher.stop()


def test_stop_is_prompt_repeatable_and_silent(server: PrivateServer) -> None:
    log = Log(server)
    slowest = 0.0
    for _ in range(20):
        log.watcher.start()
        began = time.monotonic()
        log.watcher.stop()
        log.watcher.stop()
        slowest = max(slowest, time.monotonic() - began)
        assert not log.watcher.alive
    print(f"{server.kind}: slowest stop {1e3 * slowest:.1f} ms")
    assert slowest < 0.5
    assert not log.lost.is_set()


def test_start_and_stop_leave_no_descriptor(server: PrivateServer) -> None:
    log = Log(server)
    log.watcher.start()
    log.watcher.stop()
    before = descriptors()
    for _ in range(10):
        log.watcher.start()
        log.watcher.stop()
    assert descriptors() == before


@pytest.mark.parametrize("how", ["stop_server", "kill"])
def test_a_lost_server_is_told_once_and_the_watcher_can_start_anew(
    server: PrivateServer, how: str
) -> None:
    log = Log(server)
    log.watcher.start()
    getattr(server, how)()
    assert log.lost.wait(2.0)
    assert wait_until(lambda: not log.watcher.alive, timeout=1.0)
    log.watcher.stop()
    with pytest.raises(ServerError, match="no PulseAudio or PipeWire server answers"):
        log.watcher.start(timeout=0.5)
    server.start()
    log.watcher.start()
    log.events.clear()
    server.plug_speaker("other_speaker")
    assert wait_until(lambda: log.saw("sink", "new"), timeout=2.0)
    log.watcher.stop()


def test_an_idle_watcher_takes_no_time(server: PrivateServer) -> None:
    log = Log(server)
    log.watcher.start()
    try:
        wait_until(lambda: False, timeout=0.5)
        events = len(log.events)
        before = time.process_time()
        wait_until(lambda: False, timeout=1.0, step=0.5)
        used = time.process_time() - before
        print(f"{server.kind}: {1e3 * used:.2f} ms of CPU in an idle second")
        assert used < 0.02
        assert len(log.events) == events
    finally:
        log.watcher.stop()
