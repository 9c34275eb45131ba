"""A continuous tone through the bridge, beside the same tone on the server's own way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from pipedtln.audio.api import PERIODS, Route
from pipedtln.audio.pulse import PulseBackend
from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivateServer
from pipedtln.processor import SAMPLE_RATE
from pipedtln.stream.engine import Engine
from pipedtln.stream.failopen import FailOpen
from pipedtln.stream.voice import Voice
from tests.stream.sounds import tone, without_tone

OUT, OTHER = "test_out", "test_other"
WINDOW = 160
AUDIBLE = 0.01
"""Residual of a tone of amplitude 0.3 above which a window is called a click (-30 dB)."""
ATTEMPTS = 3
START_S = 1.5
"""After which what a start leaves in the queue has been cut."""
STALL_S = 5.0
MOST_AFTER_S = 2.0


def clicks(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    """Times in seconds of the places where the tone breaks; those within 50 ms count once."""
    left = np.abs(without_tone(sound, window=WINDOW)).reshape(-1, WINDOW).max(axis=1)
    times = np.flatnonzero(left > AUDIBLE) * WINDOW / SAMPLE_RATE
    return times[np.diff(times, prepend=-1.0) > 0.05]


def make_output(server: PrivateServer) -> None:
    with server.connect() as pulse:
        pulse.module_load("module-null-sink", f"sink_name={OUT} norewinds=1 rate=16000 channels=1")


def make_other_way(server: PrivateServer) -> str:
    """The server's own way from the microphone into a sink, and what an app records there.

    PipeWire in want of time loses sound, of each stream by itself: where there are as many streams
    one behind the other as through the bridge, as many clicks may be heard. PulseAudio does not.
    """
    if server.kind == "pulseaudio":
        return server.MICROPHONE
    with server.connect() as pulse:
        pulse.module_load("module-null-sink", f"sink_name={OTHER} rate=16000 channels=1")
        way = f"source={server.MICROPHONE} sink={OTHER} latency_msec=20 channels=1"
        pulse.module_load("module-loopback", way)
    return f"{OTHER}.monitor"


def pass_through(server: PrivateServer, seconds: float, period: int) -> None:
    """Run a tone through, record it there and on the server's own way, and compare.

    A run with more clicks through the bridge than on that way is repeated, for they come by chance
    in both; those of our own making come again.
    """
    make_output(server)
    other = make_other_way(server)
    for _ in range(ATTEMPTS):
        ours, theirs, underruns, dropped = pass_once(server, seconds, period, other)
        # What the server says was late is the machine's doing; all else would be ours.
        clean = ours <= theirs + 2 * underruns and (not dropped or underruns > 0)
        if clean or not theirs:
            break
    assert clean


def pass_once(
    server: PrivateServer, seconds: float, period: int, other: str
) -> tuple[int, int, int, int]:
    """Clicks through the bridge, clicks of another source, underruns, hops dropped."""
    engine, backend = Engine(Voice(FailOpen(None))), PulseBackend(server.url)
    with (
        server.player(tone(round((seconds + 10) * SAMPLE_RATE)), server.MICROPHONE_INPUT),
        server.recorder(other) as beside,
    ):
        beside.wait(0.5)
        # The app records before the streams are opened, as in life: one that comes later changes
        # the server's buffers, and so the level of the queue.
        with server.recorder(f"{OUT}.monitor") as through:
            session = backend.open(
                Route(
                    mic=server.MICROPHONE, out=OUT, ref=f"{server.SPEAKER}.monitor", period=period
                ),
                engine.wake,
            )
            engine.start(session)
            time.sleep(START_S)
            before, dropped = session.underruns, engine.report().dropped_hops
            skip_out, skip_raw = through.count, beside.count
            through.wait(skip_out / through.rate + seconds)
            out, raw = through.samples()[skip_out:], beside.samples()[skip_raw:]
        report, underruns = engine.report(), session.underruns - before
        engine.stop()
        session.close()
        backend.close()
    ours, theirs = clicks(out), clicks(raw)
    print(
        f"{server.kind}: {seconds:.0f} s in periods of {period / 16:.0f} ms, clicks {len(ours)} "
        f"through the bridge, {len(theirs)} beside it; underruns {underruns}, "
        f"{report.corrected} samples corrected, queue {report.queue_ms:.1f} ms, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    assert np.abs(out[-SAMPLE_RATE:]).max() == pytest.approx(0.3, abs=0.03)
    return len(ours), len(theirs), underruns, report.dropped_hops - dropped


def test_click_is_found_where_one_is() -> None:
    sound = tone(4 * SAMPLE_RATE)
    assert len(clicks(sound)) == 0
    sound[20_000] += 0.05
    cut = np.delete(sound, np.arange(40_020, 40_030))
    assert len(clicks(cut)) == 2


@pytest.mark.parametrize("period", PERIODS.values(), ids=PERIODS)
def test_tone_passes_without_a_click(server: PrivateServer, period: int) -> None:
    pass_through(server, 6.0, period)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("period", PERIODS.values(), ids=PERIODS)
def test_tone_passes_for_ten_minutes_without_a_click(server: PrivateServer, period: int) -> None:
    pass_through(server, 600.0, period)


STALLED = """
import sys, time
from pipedtln.audio.api import PERIODS, Route
from pipedtln.audio.pulse import PulseBackend
from pipedtln.stream.engine import Engine
from pipedtln.stream.failopen import FailOpen
from pipedtln.stream.voice import Voice

server, mic, out = sys.argv[1:]
engine, backend = Engine(Voice(FailOpen(None))), PulseBackend(server)
session = backend.open(Route(mic=mic, out=out), engine.wake)
engine.start(session)
while session.failure is None:
    time.sleep(0.1)
    waiting = session.mic.readable + session.queued()
    print(time.monotonic(), waiting / 16, flush=True)
"""


def test_latency_is_back_two_seconds_after_a_stall(server: PrivateServer) -> None:
    make_output(server)
    command = [sys.executable, "-c", STALLED, server.url, server.MICROPHONE, OUT]
    told: list[tuple[float, float]] = []
    with (
        server.player(tone(30 * SAMPLE_RATE), server.MICROPHONE_INPUT),
        server.recorder(f"{OUT}.monitor"),
        subprocess.Popen(command, env=server.env, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                at, waiting = map(float, line.split())
                told.append((at, waiting))
                if len(told) == 40:
                    process.send_signal(signal.SIGSTOP)
                    assert wait_until(lambda: False, timeout=STALL_S) is False
                    process.send_signal(signal.SIGCONT)
                    resumed = time.monotonic()
                if len(told) > 40 and at > resumed + 5.0:
                    break
        finally:
            process.kill()
    before = float(np.median([waiting for _, waiting in told[20:40]]))
    after = [w for at, w in told if at > resumed + MOST_AFTER_S]
    print(f"{server.kind}: waiting {before:.1f} ms before, {np.median(after):.1f} after a stall")
    assert len(told) > 60
    assert np.median(after) < before + 25.0
    assert max(after) < before + 60.0
