"""What one stream loses alone is left out of the other, by when their sound arrives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipedtln.processor import HOP, SAMPLE_RATE
from pipedtln.stream.losses import LEAST, LossWatch
from pipedtln.stream.reference import ReferenceFeed
from pipedtln.stream.ring import Ring

STEP = 16
"""Samples (1 ms) by which time goes on here."""


class Stream:
    """A device whose samples tell their own place, and the server between it and its ring."""

    def __init__(self, world: World, fragment: int, ppm: float = 0.0) -> None:
        self.ring = Ring(2 * SAMPLE_RATE, world.clock)
        self.fragment = fragment
        self.rate = 1 + ppm * 1e-6
        self.sent = 0
        self.stalled = False
        self.losing = False

    def go_on(self, now: float, jitter: int) -> None:
        due = int((now * SAMPLE_RATE - jitter) * self.rate) // self.fragment * self.fragment
        count = due - self.sent
        if count <= 0 or self.stalled:
            return
        if not self.losing:
            self.ring.write(np.arange(self.sent, due, dtype=np.float32))
        self.sent = due


class World:
    """Both streams and what reads them hop by hop, in a time of its own."""

    def __init__(self, fragments: tuple[int, int] = (256, 256), ppm: float = 0.0) -> None:
        self._now = 0.0
        self._random = np.random.default_rng(7)
        self.mic = Stream(self, fragments[0])
        self.ref = Stream(self, fragments[1], ppm)
        self.feed = ReferenceFeed()
        self.feed.reset(LossWatch(self.mic.ring, self.ref.ring))
        self.heard, self.out = np.zeros((2, HOP), dtype=np.float32)

    def clock(self) -> float:
        return self._now

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * SAMPLE_RATE / STEP)):
            self._now += STEP / SAMPLE_RATE
            for stream in (self.mic, self.ref):
                stream.go_on(self._now, int(self._random.integers(0, 32)))
            while (waiting := self.mic.ring.readable) >= HOP:
                self.mic.ring.read(self.heard)
                self.feed.read(self.ref.ring, self.out, waiting - HOP)

    @property
    def age(self) -> float:
        """Samples by which the reference's hop is older than the microphone's."""
        return float(self.heard[-1] - self.out[-1])


@pytest.mark.parametrize("fragments", [(256, 256), (128, 341), (512, 64)])
@pytest.mark.parametrize("ms", [8, 16, 40, 70])
@pytest.mark.parametrize("who", ["mic", "ref"])
def test_a_loss_of_one_stream_moves_nothing_for_longer_than_a_second(
    who: str, ms: int, fragments: tuple[int, int]
) -> None:
    world = World(fragments)
    world.run(5.0)
    age = world.age
    stream = world.mic if who == "mic" else world.ref
    before = stream.sent
    stream.losing = True
    while stream.sent - before < ms * SAMPLE_RATE // 1000:
        world.run(0.001)
    stream.losing = False
    world.run(1.2)
    # But for jitter, and for what the steering has moved until the loss was known.
    assert world.age == pytest.approx(age, abs=40)
    world.run(20.0)
    assert world.age == pytest.approx(age, abs=80)
    assert abs(world.feed.drift_ppm) < 250


def test_a_loss_of_both_streams_moves_nothing() -> None:
    world = World()
    world.run(5.0)
    age, dropped = world.age, world.feed.dropped
    world.mic.losing = world.ref.losing = True
    world.run(0.048)
    world.mic.losing = world.ref.losing = False
    world.run(3.0)
    assert world.age == pytest.approx(age, abs=2)
    assert world.feed.dropped == dropped


@pytest.mark.parametrize("who", ["mic", "ref", "both"])
@pytest.mark.parametrize("ms", [30, 90, 200])
def test_what_is_merely_late_is_no_loss(who: str, ms: int) -> None:
    world = World()
    world.run(5.0)
    age = world.age
    late = [world.mic, world.ref] if who == "both" else [getattr(world, who)]
    for stream in late:
        stream.stalled = True
    world.run(ms / 1000)
    for stream in late:
        stream.stalled = False
    world.run(2.0)
    gone = who == "ref" and ms == 200
    assert world.age == pytest.approx(age, abs=256 if gone else 40)


@pytest.mark.parametrize("ppm", [500.0, -300.0])
def test_drift_is_no_loss(ppm: float) -> None:
    world = World((256, 341), ppm)
    watch = LossWatch(world.mic.ring, world.ref.ring)
    world.feed.reset()
    for _ in range(120):
        world.run(0.5)
        assert watch.look() == 0


def test_losses_are_told_to_the_sample_and_small_ones_are_not() -> None:
    now = [0.0]
    mic, ref = (Ring(SAMPLE_RATE, lambda: now[0]) for _ in range(2))
    watch = LossWatch(mic, ref)
    block = np.zeros(HOP, dtype=np.float32)

    def go_on(mic_loses: int = 0, ref_loses: int = 0) -> int:
        for hop in range(64):
            now[0] += HOP / SAMPLE_RATE
            mic.write(block[: HOP - (mic_loses if hop == 0 else 0)])
            ref.write(block[: HOP - (ref_loses if hop == 0 else 0)])
            mic.skip(HOP)
            ref.skip(HOP)
        return watch.look()

    assert [go_on(), go_on()] == [0, 0]
    assert go_on(mic_loses=100) == 100
    assert go_on(ref_loses=120) == -120
    assert go_on(mic_loses=128, ref_loses=128) == 0
    assert go_on(mic_loses=LEAST - 1) == 0
    watch.forget()
    assert [go_on(mic_loses=128), go_on()] == [0, 0]
    # A stream that stands still for a look tells nothing, nor does the look after it.
    now[0] += 0.5
    assert watch.look() == 0
    assert [go_on(), go_on()] == [0, 0]


def test_a_stream_late_throughout_a_look_is_back_in_its_place_by_the_next() -> None:
    world = World()
    world.run(5.0)
    age = world.age
    # Each millisecond of these 0.6 s half a fragment later than the clock has it.
    for _ in range(600):
        world.mic.stalled = True
        world.run(0.001)
        world.mic.stalled = False
        world.mic.go_on(world.clock(), 160)
    world.run(2.0)
    assert world.age == pytest.approx(age, abs=40)


def test_nothing_written_leads_by_nothing() -> None:
    ring = Ring(HOP, lambda: 1.0)
    assert ring.lead() == -math.inf
    ring.write(np.zeros(HOP, dtype=np.float32))
    assert ring.lead() == HOP - SAMPLE_RATE
    assert ring.lead() == -math.inf
