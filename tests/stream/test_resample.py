"""The resampler a few parts per million away from one."""

from __future__ import annotations

import numpy as np
import pytest

from pipedtln.stream.pacer import FASTER, SLOWER
from pipedtln.stream.resample import DriftResampler
from tests.stream.sounds import Samples, snr_db, tone

NOISE = np.random.default_rng(3).standard_normal(40_000).astype(np.float32)
SPEEDS = (1.0, 1.0003, 0.9997, FASTER[0][1], SLOWER[0][1], 1.001, 0.999)


def through(sound: Samples, speed: float, count: int = 128) -> Samples:
    """The whole sound in blocks of outputs, pushing exactly what each block needs."""
    resampler, blocks, at = DriftResampler(), [], 0
    while True:
        needed = resampler.needed(count, speed)
        if at + needed > len(sound):
            return np.concatenate(blocks)
        resampler.push(sound[at : at + needed])
        at += needed
        out = np.zeros(count, dtype=np.float32)
        resampler.pull(out, speed)
        blocks.append(out)


@pytest.mark.parametrize("count", [1, 127, 128, 129, 400])
def test_speed_one_passes_samples_unchanged(count: int) -> None:
    out = through(NOISE, 1.0, count)
    delay = DriftResampler.delay_samples
    assert not out[:delay].any()
    assert np.array_equal(out[delay:], NOISE[: len(out) - delay])


@pytest.mark.parametrize("speed", SPEEDS[1:])
@pytest.mark.parametrize("frequency", [100.0, 1000.0, 3900.0])
def test_tone_stays_clean(speed: float, frequency: float) -> None:
    out = through(tone(40_000, frequency), speed)[1000:]
    snr = snr_db(out, frequency * speed)
    print(f"{frequency:.0f} Hz at speed {speed:.5f}: {snr:.1f} dB")
    assert snr > 60


@pytest.mark.parametrize("speed", SPEEDS)
def test_cut_of_the_blocks_does_not_matter(speed: float) -> None:
    outs = [through(NOISE[:8000], speed, count) for count in (1, 127, 128, 400)]
    shortest = min(map(len, outs))
    for out in outs[1:]:
        # Within a stretch the taps go in a straight line, and other blocks have other stretches.
        assert np.max(np.abs(out[:shortest] - outs[0][:shortest])) < 5e-3


def test_needed_and_available_agree_for_any_chunks() -> None:
    rng = np.random.default_rng(5)
    resampler = DriftResampler(capacity=2048)
    pushed = pulled = 0
    for _ in range(5000):
        speed = float(rng.choice(SPEEDS))
        count = int(rng.integers(1, 400))
        needed = resampler.needed(count, speed)
        if needed:
            assert resampler.available(speed) < count
            resampler.push(np.zeros(needed - 1, dtype=np.float32))
            assert resampler.needed(count, speed) == 1
            resampler.push(np.zeros(1, dtype=np.float32))
        assert resampler.needed(count, speed) == 0
        assert resampler.available(speed) >= count
        resampler.pull(np.zeros(count, dtype=np.float32), speed)
        pushed += needed
        pulled += count
    assert pushed == pytest.approx(pulled, rel=2e-3)


def test_pair_of_corrections_ends_on_a_whole_sample() -> None:
    resampler = DriftResampler()
    at = made = 0
    for count, speed in (*FASTER, *SLOWER):
        needed = resampler.needed(count, speed)
        resampler.push(NOISE[at : at + needed])
        at += needed
        resampler.pull(np.zeros(count, dtype=np.float32), speed)
        made += count
    needed = resampler.needed(128, 1.0)
    resampler.push(NOISE[at : at + needed])
    out = np.zeros(128, dtype=np.float32)
    resampler.pull(out, 1.0)
    start = made - DriftResampler.delay_samples
    assert np.array_equal(out, NOISE[start : start + 128])


def test_reset_forgets() -> None:
    resampler = DriftResampler()
    resampler.push(NOISE[:200])
    resampler.pull(np.zeros(100, dtype=np.float32), 1.0003)
    resampler.reset()
    resampler.push(NOISE[:128])
    out = np.zeros(128, dtype=np.float32)
    resampler.pull(out)
    assert not out[: DriftResampler.delay_samples].any()
    assert np.array_equal(out[DriftResampler.delay_samples :], NOISE[:120])
