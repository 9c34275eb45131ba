"""The reference beside the microphone, however the two run."""

from __future__ import annotations

import numpy as np
import pytest

from pipedtln.processor import HOP, SAMPLE_RATE
from pipedtln.stream.reference import SETTLE_HOPS, ReferenceFeed
from pipedtln.stream.ring import Ring
from tests.stream.sounds import tone


def ramp(start: int, count: int) -> np.ndarray:
    """Samples that tell their own place, exact in float32 up to 16 million."""
    return np.arange(start, start + count, dtype=np.float32)


class Pair:
    """A microphone hop at a time, with a reference that comes as the test says."""

    def __init__(self, feed: ReferenceFeed | None = None) -> None:
        self.feed = feed or ReferenceFeed()
        self.ring = Ring(SAMPLE_RATE)
        self.sent = 0
        self.hops = 0
        self.out = np.zeros(HOP, dtype=np.float32)

    def send(self, count: int) -> None:
        self.ring.write(ramp(self.sent, count))
        self.sent += count

    def lose(self, count: int) -> None:
        self.sent += count

    def read(self, ahead: int = 0) -> bool:
        whole = self.feed.read(self.ring, self.out, ahead)
        self.hops += 1
        return whole

    def run(self, hops: int) -> None:
        for _ in range(hops):
            self.send(HOP)
            self.read()

    @property
    def age(self) -> float:
        """Samples by which the reference's hop is older than the microphone's."""
        return (self.hops - 1) * HOP - float(self.out[0])


def test_reference_stays_in_its_place_sample_by_sample() -> None:
    pair = Pair()
    pair.run(SETTLE_HOPS + 10)
    age = pair.age
    for _ in range(1000):
        pair.run(1)
        assert pair.age == age
        assert np.array_equal(np.diff(pair.out), np.ones(HOP - 1))
    assert pair.feed.drift_ppm == 0.0


@pytest.mark.parametrize("skew", [640, 1500, 8000])
def test_skew_of_the_start_is_trimmed(skew: int) -> None:
    pair = Pair()
    pair.send(skew)
    pair.run(SETTLE_HOPS + 10)
    waiting = pair.ring.readable
    assert waiting <= pair.feed.target + HOP
    dropped = pair.feed.dropped
    pair.run(2000)
    assert pair.feed.dropped == dropped


def test_late_samples_leave_the_pairing_as_it_was() -> None:
    pair = Pair()
    pair.run(200)
    age = pair.age
    late = 0
    for hop in range(400):
        if hop % 100 < 6:
            late += HOP
        else:
            pair.send(HOP + late)
            late = 0
        pair.read()
        if hop % 100 > 20:
            assert pair.age == pytest.approx(age, abs=40.0)
    assert pair.feed.padded > 0
    assert pair.feed.dropped > 0


def test_burst_of_both_streams_keeps_the_pairing() -> None:
    pair = Pair()
    pair.run(200)
    age, dropped = pair.age, pair.feed.dropped
    for burst in (2, 5, 12, 19):
        pair.send(burst * HOP)
        for left in reversed(range(burst)):
            assert pair.read(left * HOP)
        assert pair.age == age
    assert pair.feed.dropped == dropped


def test_reference_that_stops_is_silence_and_comes_back() -> None:
    pair = Pair()
    pair.run(200)
    for _ in range(300):
        pair.read()
    assert not pair.out.any()
    pair.sent = pair.hops * HOP
    pair.run(100)
    assert pair.out.any()
    assert 0 <= pair.age <= pair.feed.target + 2 * HOP
    padded = pair.feed.padded
    pair.run(1000)
    assert pair.feed.padded == padded


def test_no_reference_at_all_is_silence() -> None:
    pair = Pair()
    for _ in range(500):
        assert not pair.read()
        assert not pair.out.any()


def test_sound_left_out_of_both_keeps_the_pairing() -> None:
    pair = Pair()
    pair.run(200)
    age = pair.age
    pair.send(10 * HOP)
    pair.feed.skip(pair.ring, 30 * HOP)
    pair.hops += 30
    for _ in range(20):  # what was still to come of the thirty
        pair.send(HOP)
    pair.run(20)
    assert pair.age == pytest.approx(age, abs=pair.feed.target)


@pytest.mark.parametrize("ppm", [500.0, -500.0, 300.0, -300.0, 20.0])
@pytest.mark.parametrize("fragment", [1, 128, 341])
def test_drift_for_an_hour_is_held_without_a_slip(ppm: float, fragment: int) -> None:
    hour = (ppm, fragment) in [(500.0, 128), (-300.0, 341)]
    hops = (3600 if hour else 300) * SAMPLE_RATE // HOP
    feed, ring, rng = ReferenceFeed(), Ring(SAMPLE_RATE), np.random.default_rng(4)
    out, zeros = np.zeros(HOP, dtype=np.float32), np.zeros(SAMPLE_RATE, dtype=np.float32)
    jitter = rng.integers(0, 40, hops)
    due = np.arange(1, hops + 1) * (HOP * (1 + ppm * 1e-6)) - jitter
    arrived = (due // fragment * fragment).astype(np.int64)
    sent, most, trouble, held = 0, 0, (0, 0), []
    for hop in range(hops):
        count = int(arrived[hop]) - sent
        if count > 0:
            ring.write(zeros[:count])
            sent += count
        feed.read(ring, out)
        if hop == 2 * SETTLE_HOPS:
            trouble = (feed.dropped, feed.padded)
        elif hop > 2 * SETTLE_HOPS:
            most = max(most, ring.readable)
        if hop > hops // 2:
            held.append(feed.drift_ppm)
    mean = float(np.mean(held))
    print(f"{ppm:+.0f} ppm by {fragment}: held at {mean:+.0f}, most waiting {most}")
    assert (feed.dropped, feed.padded) == trouble
    assert most < feed.target + HOP + fragment + 160
    assert mean == pytest.approx(ppm, abs=100)


@pytest.mark.parametrize("ppm", [0.0, 200.0])
@pytest.mark.parametrize("hops", [2, 4])
def test_hops_read_at_once_are_those_read_one_by_one(hops: int, ppm: float) -> None:
    sound = tone(40 * SAMPLE_RATE, 300.0)
    results = []
    for at_once in (1, hops):
        feed, ring, sent, blocks = ReferenceFeed(), Ring(SAMPLE_RATE), 0, []
        for block in range(1, 4000 // hops):
            due = int(block * hops * HOP * (1 + ppm * 1e-6))
            # A tenth of a second comes too late once.
            if block * hops // 12 != 100:
                ring.write(sound[sent:due])
                sent = due
            for left in range(hops - at_once, -1, -at_once):
                out = np.zeros(at_once * HOP, dtype=np.float32)
                feed.read(ring, out, left * HOP)
                blocks.append(out)
        results.append((np.concatenate(blocks), feed))
    (alone, by_one), (together, by_several) = results
    # (It begins with a whole block.)
    assert 0 <= by_several.padded - by_one.padded < hops * HOP
    assert by_one.padded > 12 * HOP
    assert by_several.dropped - by_several.padded == by_one.dropped - by_one.padded
    assert by_several.drift_ppm == pytest.approx(by_one.drift_ppm, abs=3)
    assert (by_one.drift_ppm > 50) == (ppm > 0)
    # A third of a sample: what was late steers by a little less or more.
    step = np.abs(np.diff(sound)).max()
    np.testing.assert_allclose(together[8 * HOP :], alone[8 * HOP :], atol=step / 3)
