"""Two hops that come together are worked on together, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.scenes import mixed, speech_like
from pipedtln.audio.api import Route
from pipedtln.audio.memory import MemoryBackend
from pipedtln.dtln import load_processor
from pipedtln.dtln.canceller import EchoCanceller
from pipedtln.processor import FRAME, HOP, Block
from pipedtln.stream.align import FAR
from pipedtln.stream.engine import LATE_SAMPLES, Engine
from pipedtln.stream.failopen import FailOpen
from pipedtln.stream.farend import HANG_SAMPLES, FarEndSwitch
from pipedtln.stream.switch import NetworkSwitch
from pipedtln.stream.tap import Recorder
from pipedtln.stream.voice import Voice
from tests.dtln.sounds import snr_db
from tests.stream.sounds import Samples, tone
from tests.stream.spectra import SpectraOnly
from tests.stream.test_align import room
from tests.stream.test_failopen import Delay
from tests.stream.test_switch import Network

BOTH = 2 * HOP
SOUND = tone(2000 * HOP)
SILENCE = np.zeros(BOTH, dtype=np.float32)


class Pairs:
    """Takes pairs, hop by hop, and counts them."""

    pairs = True
    pairs_taken = 0

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        raise NotImplementedError

    def process_two(self, mic: Block, ref: Block, out: Block) -> None:
        self.pairs_taken += 1
        for row, hop in enumerate((slice(0, HOP), slice(HOP, BOTH))):
            self.process(mic[hop], ref[hop], out[hop])
            self.done(row)

    def done(self, row: int) -> None:
        """A hop of the pair is."""


class PairDelay(Delay, Pairs):
    """The same, and pairs."""


class PairNetwork(Network, Pairs):
    """The same, and pairs."""

    mic_powers = ref_powers = np.zeros((2, FRAME // 2 + 1), np.float32)


class PairSpectra(SpectraOnly, Pairs):
    """The same, and pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.mic_powers, self.ref_powers = np.zeros((2, 2, FRAME // 2 + 1), np.float32)

    def done(self, row: int) -> None:
        self.mic_powers[row], self.ref_powers[row] = self.mic_power, self.ref_power


def by_pairs(voice: Voice, mic: Samples, ref: Samples) -> Samples:
    out = np.zeros(len(mic) // BOTH * BOTH, dtype=np.float32)
    for at in range(0, len(out), BOTH):
        both = slice(at, at + BOTH)
        voice.process_two(mic[both], ref[both], out[both])
    return out


def by_hops(voice: Voice, mic: Samples, ref: Samples) -> Samples:
    out = np.zeros(len(mic) // BOTH * BOTH, dtype=np.float32)
    for at in range(0, len(out), HOP):
        hop = slice(at, at + HOP)
        voice.process(mic[hop], ref[hop], out[hop])
    return out


def test_whatever_is_steered_pairs_sound_like_hops() -> None:
    # (Seldom enough for fades to end: a pair that is faded out is faded out by its first hop.)
    random = np.random.default_rng(4)
    processor = PairDelay()
    hops, pairs = FailOpen(PairDelay()), FailOpen(processor)
    out, wanted = np.zeros((2, BOTH), dtype=np.float32)
    for at in range(0, len(SOUND), BOTH):
        if at % (10 * BOTH) == 0:
            bypass, muted = random.random(2) < 0.3
            strength = int(random.choice((0, 40, 100)))
            for stage in (hops, pairs):
                stage.bypass = bypass
                stage.strength = strength
                stage.muted = muted
        mic = SOUND[at : at + BOTH]
        for hop in (slice(0, HOP), slice(HOP, BOTH)):
            hops.process(mic[hop], SILENCE[hop], wanted[hop])
        pairs.process_two(mic, SILENCE, out)
        np.testing.assert_array_equal(out, wanted)
        assert pairs.bypassed_hops == hops.bypassed_hops
    assert processor.pairs_taken > 100


def test_a_pair_that_breaks_lets_both_hops_of_the_microphone_through() -> None:
    processor = PairDelay()
    stage = FailOpen(processor)
    out = np.zeros(BOTH, dtype=np.float32)
    for at in range(0, 10 * BOTH, BOTH):
        stage.process_two(SOUND[at : at + BOTH], SILENCE, out)
    processor.breaks = float("nan")
    at = 10 * BOTH
    stage.process_two(SOUND[at : at + BOTH], SILENCE, out)
    assert stage.bypassed_hops == 2
    assert stage.problem == "the network's output is not finite"
    late = processor.latency_samples
    np.testing.assert_allclose(out[HOP:], SOUND[at + HOP - late : at + BOTH - late], atol=1e-6)


def test_a_processor_that_takes_no_pairs_gets_hops() -> None:
    alone, both = Delay(), PairDelay()
    results = []
    for processor in (alone, both):
        voice = Voice(FailOpen(processor))
        results.append(by_pairs(voice, SOUND, np.zeros_like(SOUND)))
        assert voice.hops == len(SOUND) // HOP
    np.testing.assert_array_equal(*results)
    assert both.pairs_taken == both.calls // 2 > 0


def test_load_of_a_pair_is_that_of_each_hop(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(np.arange(0.0, 100.0, 0.004))
    monkeypatch.setattr("pipedtln.stream.failopen.perf_counter", lambda: float(next(times)))
    stage = FailOpen(PairDelay())
    out = np.zeros(BOTH, dtype=np.float32)
    for _ in range(10):
        stage.process_two(SILENCE, SILENCE, out)
    assert stage.load() == pytest.approx((0.25, 0.25))


def test_networks_change_between_single_hops_alone() -> None:
    quiet, echo = PairNetwork(), PairNetwork(echo=True)
    voice = Voice(FailOpen(NetworkSwitch(quiet, [echo]), HOP))
    by_pairs(voice, SOUND[: 20 * BOTH], np.zeros(20 * BOTH, np.float32))
    assert (quiet.pairs_taken, echo.ran) == (20, 0)
    # The far end begins with the second hop of a pair.
    ref = np.concatenate((np.zeros(HOP, np.float32), SOUND[: 20 * BOTH - HOP]))
    by_pairs(voice, SOUND[: 20 * BOTH], ref)
    before = echo.ran - 2 * echo.pairs_taken
    assert before == 3, "the hops in which it warms up and is faded in"
    assert echo.pairs_taken == 20 - 2
    by_pairs(voice, SOUND[:BOTH], np.zeros(BOTH, np.float32))
    silence = HANG_SAMPLES // BOTH + 40
    by_pairs(voice, SOUND[: silence * BOTH], np.zeros(silence * BOTH, np.float32))
    assert quiet.pairs_taken > 40


def test_the_processor_forgets_once_the_reference_has_come_from_afar() -> None:
    rng = np.random.default_rng(13)
    sound = mixed(rng, speech_like(rng, 4.0), room(rng), 200.0)
    for run in (by_hops, by_pairs):
        inner = PairSpectra()
        voice = Voice(FailOpen(inner))
        held, at = [], 0
        while at + BOTH <= len(sound.mic):
            both = slice(at, at + BOTH)
            run(voice, sound.mic[both], sound.ref[both])
            held.append(round(voice.alignment.held_ref_ms / 8))
            at += BOTH
        moved = [i for i in range(1, len(held)) if held[i] != held[i - 1]]
        assert abs(held[moved[0]] - held[moved[0] - 1]) > FAR
        # Not before all of its frame is of the reference's new place, nor much later.
        (forgot,) = inner.forgot
        assert FRAME // HOP <= forgot - 2 * moved[0] <= FRAME // HOP + 5, run


def test_real_networks_sound_the_same_and_find_the_echo(models: Path) -> None:
    rng = np.random.default_rng(13)
    sound = mixed(rng, speech_like(rng, 6.0), room(rng), 200.0)
    results = []
    for run in (by_hops, by_pairs):
        echo = load_processor("aec-128-row8", pairs=True)
        assert isinstance(echo, EchoCanceller)
        switch = NetworkSwitch(load_processor("ns-row8", pairs=True), [echo])
        voice = Voice(FailOpen(switch))
        results.append(run(voice, sound.mic, sound.ref))
        delay = voice.alignment.echo_delay_ms
        assert delay is not None
        assert abs(delay - 200) <= 16
    # What is learned steers a hop later, and only that: once the reference is in its place, both
    # networks come to the same.
    late = len(results[0]) // 2
    agreement = snr_db(*(result[late:] for result in results))
    print(f"{agreement:.1f} dB")
    assert agreement >= 20


def test_hops_are_not_kept_for_one_another_where_that_saves_nothing() -> None:
    engine = Engine(Voice(FailOpen(Delay())))
    session = MemoryBackend().open(Route(mic="mic", out="out", ref="ref"), engine.wake)
    queued: list[int] = []

    class Ear:
        def hear(self, mic: Block, ref: Block, out: Block) -> None:
            queued.append(session.queued())

    engine.add_tap(Ear())
    engine.start(session)
    session.deliver(np.ones(BOTH, np.float32))
    assert queued[0] <= 0 < queued[1], "the first hop is out before the second is worked on"
    engine.stop()


def test_the_engine_hands_on_by_pairs_what_came_so() -> None:
    processor = PairDelay()
    engine = Engine(Voice(FailOpen(processor)))
    session = MemoryBackend().open(Route(mic="mic", out="out", ref="ref"), engine.wake)
    recorder = Recorder(1.0)
    engine.add_tap(recorder)
    engine.start(session)
    sound = np.arange(1, 200 * BOTH + 1, dtype=np.float32)
    played = []
    for at in range(0, len(sound), BOTH):
        session.deliver(sound[at : at + BOTH], sound[at : at + BOTH])
        played.append(session.take(BOTH))
    assert processor.pairs_taken == 200
    mic, ref, out = recorder.sound()
    assert (np.diff(mic) == 1).all()
    assert np.ptp(mic[-HOP:] - ref[-HOP:]) == 0
    np.testing.assert_allclose(out[1000:], 0.5 * (mic[1000:] - processor.latency_samples))
    heard = np.concatenate(played)
    inner = heard[heard > 20 * BOTH]
    assert np.allclose(np.diff(inner), 0.5), "no hop is lost, doubled or out of order"
    assert session.underruns == 0
    pairs = processor.pairs_taken
    session.deliver(np.zeros(2 * LATE_SAMPLES, np.float32))
    assert processor.pairs_taken == pairs + LATE_SAMPLES // HOP
    assert engine.voice.processing.bypassed_hops == 0, "what waits is worked off soon anyhow"
    engine.stop()


def test_a_switch_for_recordings_takes_pairs_and_gives_the_same() -> None:
    hops, far = 1000, slice(101 * HOP, 151 * HOP)
    mic, ref = SOUND[: hops * HOP], np.zeros(hops * HOP, np.float32)
    ref[far] = mic[far]
    outputs = []
    for size in (HOP, BOTH):
        quiet, echo = PairNetwork(), PairNetwork(echo=True, gain=0.5)
        switch = FarEndSwitch(quiet, [echo])
        assert switch.pairs
        out = np.zeros_like(mic)
        for at in range(0, len(out), size):
            part = slice(at, at + size)
            step = switch.process if size == HOP else switch.process_two
            step(mic[part], ref[part], out[part])
        assert switch.switches == 2
        outputs.append(out)
    np.testing.assert_array_equal(*outputs)
    taken = quiet.pairs_taken + echo.pairs_taken
    print(f"{taken} of {hops // 2} pairs at once")
    assert taken > 0.95 * hops / 2
