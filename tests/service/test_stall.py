"""A stopped process catches up, and tells its latency."""

from __future__ import annotations

import signal
import time

import pytest

from pipedtln.demo.servers import PrivateServer
from tests.service.bridge import MICROPHONE, RunningBridge
from tests.service.sounds import LOW, tone, wait_heard


@pytest.mark.parametrize(
    ("stop_s", "suspended"),
    [
        pytest.param(0.4, False, id="service for a moment"),
        pytest.param(5.0, False, id="service"),
        pytest.param(0.4, True, id="service and server for a moment", marks=pytest.mark.long),
        pytest.param(5.0, True, id="service and server"),
    ],
)
def test_latency_returns_after_a_stall(
    server: PrivateServer, open_bridge: RunningBridge, stop_s: float, suspended: bool
) -> None:
    roles = ("pulseaudio",) if server.kind == "pulseaudio" else ("pipewire-pulse", "pipewire")
    with (
        server.player(tone(LOW), server.MICROPHONE_INPUT, rate=16_000),
        server.recorder(MICROPHONE) as app,
    ):
        wait_heard(app, LOW)
        time.sleep(2.0)
        before = open_bridge.wait_for(lambda s: s.latency_ms is not None).latency_ms
        assert before is not None
        open_bridge.send(signal.SIGSTOP)
        if suspended:  # a machine that sleeps stops both
            server.send_signal(signal.SIGSTOP, *roles)
        time.sleep(stop_s)
        if suspended:
            server.send_signal(signal.SIGCONT, *roles)
        open_bridge.send(signal.SIGCONT)
        begin = time.monotonic()
        back = wait_heard(app, LOW)
        open_bridge.wait_for(
            lambda s: s.latency_ms is not None and s.latency_ms < before + 25, timeout=8.0
        )
        settled = time.monotonic() - begin
        after = open_bridge.status()
        print(
            f"{server.kind}: stopped {stop_s} s; sound after {back:.2f} s, latency {before} ms "
            f"again ({after.latency_ms}) after {settled:.2f} s; {after.latency_parts_ms}, "
            f"{after.dropped_hops} hops dropped"
        )
        assert settled < 4.0
        assert after.problems == []
