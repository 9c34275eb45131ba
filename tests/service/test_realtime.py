"""Priority for the thread that carries the sound, where somebody gives it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivateServer
from tests.service.bridge import MICROPHONE, RunningBridge
from tests.service.rtkit import may_have_priority, rtkit
from tests.service.sounds import LOW, tone, wait_heard


def test_thread_that_carries_the_sound_gets_priority(server: PrivateServer, tmp_path: Path) -> None:
    if not may_have_priority():
        pytest.skip("the kernel gives this user no real-time priority")
    with (
        rtkit(tmp_path) as env,
        RunningBridge(server, "--bypass", env={**env}) as bridge,
    ):
        bridge.wait_state("bypassed")
        with (
            server.player(tone(LOW), server.MICROPHONE_INPUT),
            server.recorder(MICROPHONE) as recording,
        ):
            wait_heard(recording, LOW)
            given = tmp_path / "given"
            assert wait_until(given.exists, 10), bridge.log()
            thread, priority = map(int, given.read_text().split())
            assert thread != bridge.pid
            assert Path(f"/proc/{bridge.pid}/task/{thread}").exists()
            assert os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR
            assert os.sched_getscheduler(bridge.pid) == os.SCHED_OTHER
            assert wait_until(lambda: f"real-time priority {priority}" in bridge.log(), 5)
            # What the kernel sends to a thread that ran too long without a pause.
            bridge.send(signal.SIGXCPU)
            assert wait_until(lambda: "gives its real-time priority back" in bridge.log(), 5)
            assert os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER
            wait_heard(recording, LOW)
        assert bridge.stop() == 0


def test_service_works_where_nobody_gives_priority(server: PrivateServer) -> None:
    nowhere: dict[str, str | None] = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}
    with RunningBridge(server, "--bypass", env=nowhere) as bridge:
        bridge.wait_state("bypassed")
        with (
            server.player(tone(LOW), server.MICROPHONE_INPUT),
            server.recorder(MICROPHONE) as recording,
        ):
            wait_heard(recording, LOW)
        assert "riority" not in bridge.log()
        assert bridge.stop() == 0
