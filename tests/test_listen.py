"""What is said comes back at the real output as much later as was asked, and leaves nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipedtln.audio.server import connect
from pipedtln.demo.apps import Playback, Recording
from pipedtln.demo.servers import PrivateServer
from pipedtln.listen import APP, DelayLine
from tests.control.session import wait_until
from tests.service.bridge import ROOT, RunningBridge

RATE = 16_000


@pytest.mark.parametrize("delay", [0, 1, 319, 320, 321, 5000])
@pytest.mark.parametrize("size", [1, 127, 320, 4096])
def test_the_line_gives_back_what_came_before(delay: int, size: int) -> None:
    sound = np.random.default_rng(3).standard_normal(8192).astype(np.float32)
    line = DelayLine(delay)
    heard = sound.copy()
    for start in range(0, len(heard), size):
        line.exchange(heard[start : start + size])
    assert np.array_equal(heard[delay:], sound[: len(sound) - delay])
    assert not heard[:delay].any()


@contextmanager
def listening(server: PrivateServer, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A ``pipedtln listen`` that is at work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipedtln", "listen", *options],
        env={**server.env, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: len(streams(server)) == 2 or process.poll() is not None, "streams", 20)
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


def streams(server: PrivateServer) -> list[str]:
    with connect(server.url) as pulse:
        every = [*pulse.sink_input_list(), *pulse.source_output_list()]
    return [raw.name for raw in every if raw.proplist.get("application.name") == APP]


def modules(server: PrivateServer) -> int:
    with connect(server.url) as pulse:
        return len(pulse.module_list())


def onset(sound: np.ndarray) -> float:
    """Seconds until the first loud sample."""
    loud = np.flatnonzero(np.abs(sound) > 0.05)
    assert loud.size, f"nothing was heard; peak {np.abs(sound).max():.4f}"
    return float(loud[0]) / RATE


def test_one_hears_oneself_later_and_nothing_is_left(server: PrivateServer) -> None:
    burst = np.zeros(2 * RATE, np.float32)
    time_s = np.arange(RATE // 2) / RATE
    burst[RATE : RATE + len(time_s)] = 0.5 * np.sin(2 * np.pi * 500 * time_s)
    with RunningBridge(server, "--bypass") as bridge:
        bridge.wait_state("bypassed")
        before = modules(server)
        with listening(server, "--delay", "1.5") as process:
            assert APP in bridge.wait_for(lambda now: bool(now.recorders)).recorders
            bridge.wait_for(lambda now: now.hops > 100)
            with (
                Recording("fake_mic", server.env, server.folder, rate=RATE) as said,
                Recording("fake_speaker.monitor", server.env, server.folder, rate=RATE) as heard,
            ):
                with Playback(burst, "fake_mic_hw", server.env, server.folder) as playback:
                    playback.wait()
                time.sleep(2.5)
            late = onset(heard.samples()) - onset(said.samples())
            print(f"heard {late:.2f} s after it was said")
            assert 1.4 < late < 2.1
            assert modules(server) == before
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=20)
            assert process.returncode == 0, stderr
            assert "fake_speaker" in stderr
        wait_until(lambda: not streams(server), "end of the streams")
        with listening(server) as process:
            process.kill()
            process.wait()
            wait_until(lambda: not streams(server), "end of the streams")
        assert modules(server) == before
        with listening(server) as process:
            process.terminate()
            assert process.wait(20) == 0


def test_it_never_plays_to_our_own_devices(server: PrivateServer) -> None:
    with RunningBridge(server, "--bypass") as bridge:
        bridge.wait_state("bypassed")
        for name, code in (("pipedtln_speaker", 6), ("nowhere", 6)):
            said = subprocess.run(
                [sys.executable, "-m", "pipedtln", "listen", "--output", name],
                env={**server.env, "PYTHONPATH": str(ROOT)},
                capture_output=True, text=True, timeout=30, check=False,
            )  # fmt: skip
            assert (said.returncode, said.stderr.count("\n")) == (code, 1), said.stderr


def test_without_a_service_it_says_so(tmp_path: Path, pulseaudio: PrivateServer) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "pipedtln", "listen"],
        env={**pulseaudio.env, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert said.returncode == 3
    assert "systemctl --user start pipedtln" in said.stderr
