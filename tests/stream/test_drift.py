"""Devices whose clocks differ, through the whole chain: nothing slips and nothing grows."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scenes import speech_like
from pipedtln.audio.api import Route
from pipedtln.audio.memory import MemoryBackend
from pipedtln.processor import FRAME, HOP, SAMPLE_RATE, Block
from pipedtln.stream.engine import Engine
from pipedtln.stream.failopen import FailOpen
from pipedtln.stream.voice import Voice
from tests.stream.sounds import Samples

DELAY_MS = 200
MINUTE = 60 * SAMPLE_RATE // HOP
"""Hops in a minute."""


class Spectra:
    """Lets the microphone through as an echo canceller would, with the spectra that it computes."""

    sample_rate, hop, latency_samples, uses_reference = SAMPLE_RATE, HOP, FRAME - HOP, True

    def __init__(self) -> None:
        self._frames = np.zeros((2, FRAME), np.float32)
        self.mic_power, self.ref_power = np.zeros((2, FRAME // 2 + 1), np.float32)

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        for row, block in zip(self._frames, (mic, ref), strict=True):
            row[:-HOP] = row[HOP:]
            row[-HOP:] = block
        power = np.square(np.abs(np.fft.rfft(self._frames)))
        self.mic_power[:], self.ref_power[:] = power
        out[:] = self._frames[0, :HOP]

    def forget(self) -> None:
        pass

    def reset(self) -> None:
        self._frames.fill(0.0)


class Loudspeaker:
    """Plays speech for ever at its own clock; the microphone hears it a delay later."""

    def __init__(self, ppm: float) -> None:
        self._sound = speech_like(np.random.default_rng(4), 60.0)
        self._rate = 1 + ppm * 1e-6
        self._given = 0

    def played(self, until: float) -> Samples:
        """What its monitor brings until a time, in samples of the microphone's clock."""
        count = int(until * self._rate) - self._given
        indexes = np.arange(self._given, self._given + count) % len(self._sound)
        self._given += count
        return self._sound[indexes]

    def heard(self, start: int) -> Samples:
        """A hop at the microphone."""
        times = (np.arange(start, start + HOP) - DELAY_MS * SAMPLE_RATE / 1000) * self._rate
        below = np.floor(times).astype(np.int64)
        share = (times - below).astype(np.float32)
        size = len(self._sound)
        echo = (1 - share) * self._sound[below % size] + share * self._sound[(below + 1) % size]
        return (0.5 * echo).astype(np.float32)


def run(minutes: int, ref_ppm: float, out_ppm: float) -> None:
    loudspeaker = Loudspeaker(ref_ppm)
    now = 0
    engine = Engine(Voice(FailOpen(Spectra())), clock=lambda: now / SAMPLE_RATE)
    session = MemoryBackend().open(Route(mic="mic", out="out", ref="ref", period=HOP), engine.wake)
    engine.start(session)
    delays, levels, backlogs, held = (np.zeros(minutes * MINUTE) for _ in range(4))
    taken = settled_padding = settled_underruns = 0
    for i in range(minutes * MINUTE):
        now = (i + 1) * HOP
        session.deliver(loudspeaker.heard(i * HOP), loudspeaker.played(now))
        due = int(now * (1 + out_ppm * 1e-6)) - taken
        session.take(due)
        taken += due
        report, alignment = engine.report(), engine.voice.alignment
        delays[i] = np.nan if alignment.echo_delay_ms is None else alignment.echo_delay_ms
        levels[i], backlogs[i] = session.queued(), report.reference_backlog_ms
        held[i] = alignment.held_ref_ms
        if i == MINUTE:
            settled_padding, settled_underruns = report.reference_padded, session.underruns
    engine.stop()
    report = engine.report()
    first, last = slice(3 * MINUTE, 4 * MINUTE), slice(-MINUTE, None)
    growth_ms = (levels[last].mean() - levels[first].mean()) * 1000 / SAMPLE_RATE
    print(
        f"{minutes} min, reference {ref_ppm:+.0f} ppm, output {out_ppm:+.0f} ppm: echo delay "
        f"{np.nanmin(delays[MINUTE:]):.0f} to {np.nanmax(delays[MINUTE:]):.0f} ms, reference held "
        f"{held[MINUTE:].min():.0f} to {held[MINUTE:].max():.0f} ms, its backlog "
        f"{backlogs[first].mean():.1f} and {backlogs[last].mean():.1f} ms at the end; queue grown "
        f"by {growth_ms:+.2f} ms, {report.corrected} samples corrected"
    )
    expected_ms = DELAY_MS - engine.feed.target * 1000 / SAMPLE_RATE
    assert np.abs(delays[MINUTE:] - expected_ms).max() <= 16
    assert np.ptp(held[MINUTE:]) <= 16
    assert report.dropped_hops == 0
    assert report.reference_padded == settled_padding
    assert session.underruns == settled_underruns
    assert abs(backlogs[last].mean() - backlogs[first].mean()) < 2
    assert abs(growth_ms) < 2


@pytest.mark.parametrize(("ref_ppm", "out_ppm"), [(300, -300), (-300, 300)])
def test_drift_for_five_minutes_neither_slips_nor_grows(ref_ppm: float, out_ppm: float) -> None:
    run(5, ref_ppm, out_ppm)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("ref_ppm", "out_ppm"), [(300, -300), (-300, 300)])
def test_drift_for_an_hour_neither_slips_nor_grows(ref_ppm: float, out_ppm: float) -> None:
    run(60, ref_ppm, out_ppm)
