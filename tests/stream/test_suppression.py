"""The suppression meter compares levels while the far end sounds, and only then."""

from __future__ import annotations

import numpy as np
import pytest

from pipedtln.processor import HOP
from pipedtln.stream.suppression import SuppressionMeter

HOPS_PER_SECOND = 125.0


def feed(meter: SuppressionMeter, hops: int, out_gain: float, ref_gain: float = 0.1) -> None:
    rng = np.random.default_rng(0)
    for _ in range(hops):
        noise = rng.standard_normal(HOP).astype(np.float32) * np.float32(0.1)
        ref = np.full(HOP, ref_gain, np.float32)
        meter.update(noise, ref, noise * np.float32(out_gain))


def test_nothing_is_told_before_a_second_of_far_end() -> None:
    meter = SuppressionMeter(HOPS_PER_SECOND)
    feed(meter, 124, 0.1)
    assert meter.suppression_db is None
    feed(meter, 1, 0.1)
    assert meter.suppression_db == pytest.approx(20, abs=1e-3)


def test_what_happens_without_the_far_end_does_not_count() -> None:
    meter = SuppressionMeter(HOPS_PER_SECOND)
    feed(meter, 200, 0.01)
    feed(meter, 2000, 1.0, ref_gain=0.0)
    assert meter.suppression_db == pytest.approx(40, abs=1e-3)


def test_the_figure_follows_within_seconds() -> None:
    meter = SuppressionMeter(HOPS_PER_SECOND)
    feed(meter, 1000, 1.0)
    assert meter.suppression_db == pytest.approx(0, abs=1e-3)
    feed(meter, 5 * 125, 0.1)
    told = meter.suppression_db
    print("5 s after 20 dB began it tells", told)
    assert told == pytest.approx(20, abs=3)


def test_reset_forgets_and_perfect_silence_is_bounded() -> None:
    meter = SuppressionMeter(HOPS_PER_SECOND)
    feed(meter, 200, 0.0)
    assert meter.suppression_db == pytest.approx(80)
    meter.reset()
    assert meter.suppression_db is None
