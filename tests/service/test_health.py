"""systemd's watchdog is fed by what works or has nothing to do, and by nothing else."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest

from pipedtln.audio.api import Route
from pipedtln.audio.memory import MemoryBackend
from pipedtln.demo.servers import PrivateServer
from pipedtln.processor import HOP, SAMPLE_RATE, Block
from pipedtln.service import health
from pipedtln.stream.engine import Engine
from pipedtln.stream.failopen import FailOpen
from pipedtln.stream.voice import Voice
from tests.service.bridge import RunningBridge

ROUTE = Route(mic="mic", out="out", ref="ref")


class Stuck:
    """A network that hangs in its first hop until it is let go."""

    sample_rate, hop, latency_samples, uses_reference = SAMPLE_RATE, HOP, 384, False

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        self.entered.set()
        self.go.wait(30)
        out[:] = mic

    def reset(self) -> None:
        pass


def test_worker_that_hangs_is_told_and_one_that_idles_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "HUNG_S", 0.3)
    stuck = Stuck()
    engine = Engine(Voice(FailOpen(stuck)))
    session = MemoryBackend().open(ROUTE, engine.wake)
    assert health.hung(engine, time.monotonic()) is None
    engine.start(session)
    hop = np.zeros(HOP, dtype=np.float32)
    server = threading.Thread(target=session.deliver, args=(hop,))
    try:
        time.sleep(0.5)
        assert health.hung(engine, time.monotonic()) is None, "silence is no hang"
        server.start()
        assert stuck.entered.wait(5)
        time.sleep(0.5)
        reason = health.hung(engine, time.monotonic())
        assert reason is not None
        assert "busy with one hop" in reason
    finally:
        stuck.go.set()
        server.join()
        engine.stop()
    assert health.hung(engine, time.monotonic()) is None


def test_supervisor_that_hangs_is_told() -> None:
    engine = Engine(Voice(FailOpen(None)))
    reason = health.hung(engine, time.monotonic() - health.BLIND_S - 1)
    assert reason is not None
    assert "no look at the devices" in reason


@pytest.mark.pulseaudio
def test_idle_service_says_ready_and_feeds_the_watchdog(pulseaudio: PrivateServer) -> None:
    address = pulseaudio.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(10)
        env: dict[str, str | None] = {
            "NOTIFY_SOCKET": str(address),
            "WATCHDOG_USEC": "1000000",
            "PIPEDTLN_BYPASS": "on",
        }
        with RunningBridge(pulseaudio, env=env) as bridge:
            told = ""
            while "READY=1" not in told:
                told = manager.recv(4096).decode()
            fed: list[float] = []
            while len(fed) < 5:
                if "WATCHDOG=1" in manager.recv(4096).decode():
                    fed.append(time.monotonic())
            gaps = np.diff(fed)
            print(f"fed every {gaps.mean():.2f} s")
            assert gaps.max() < 1.0
            assert bridge.stop() == 0
            rest = []
            manager.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    rest.append(manager.recv(4096).decode())
            assert "STOPPING=1" in "\n".join(rest)
