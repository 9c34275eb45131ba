"""Hops that come together are worked on together, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from benchmarks.scenes import mixed, speech_like
from pipedtln.audio.api import Route
from pipedtln.audio.memory import MemoryBackend
from pipedtln.dtln import load_processor
from pipedtln.dtln.canceller import EchoCanceller
from pipedtln.processor import FRAME, HOP, Block
from pipedtln.stream.align import FAR
from pipedtln.stream.engine import LATE_SAMPLES, PATIENT_PERIOD, Engine
from pipedtln.stream.failopen import LOAD_HOPS, FailOpen
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

SOUND = tone(2000 * HOP)
HOPS = pytest.mark.parametrize("hops", [2, 4])


class Batches:
    """Takes several hops, one by one, and counts how often."""

    batch = 2
    batches = 0

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        raise NotImplementedError

    def process_batch(self, mic: Block, ref: Block, out: Block) -> None:
        self.batches += 1
        assert len(mic) == self.batch * HOP
        for row, hop in enumerate(hops_of(mic)):
            self.process(mic[hop], ref[hop], out[hop])
            self.done(row)

    def done(self, row: int) -> None:
        """A hop of the batch is."""


class BatchDelay(Delay, Batches):
    """The same, and several at once."""

    def __init__(self, hops: int) -> None:
        super().__init__()
        self.batch = hops


class BatchNetwork(Network, Batches):
    """The same, and several at once."""

    def __init__(self, hops: int, *, echo: bool = False, gain: float = 1.0) -> None:
        super().__init__(echo=echo, gain=gain)
        self.batch = hops
        self.mic_powers = self.ref_powers = np.zeros((hops, FRAME // 2 + 1), np.float32)


class BatchSpectra(SpectraOnly, Batches):
    """The same, and several at once."""

    def __init__(self, hops: int) -> None:
        super().__init__()
        self.batch = hops
        self.mic_powers, self.ref_powers = np.zeros((2, hops, FRAME // 2 + 1), np.float32)

    def done(self, row: int) -> None:
        self.mic_powers[row], self.ref_powers[row] = self.mic_power, self.ref_power


def hops_of(sound: Samples, hops: int = 1) -> list[slice]:
    """Where its hops lie, or so many at a time; what is left at the end is not among them."""
    size = hops * HOP
    return [slice(at, at + size) for at in range(0, len(sound) // size * size, size)]


def silence(hops: int) -> Samples:
    return np.zeros(hops * HOP, dtype=np.float32)


def by_batches(voice: Voice, mic: Samples, ref: Samples, hops: int) -> Samples:
    """What comes of a sound, so many hops at a time."""
    parts = hops_of(mic, hops)
    out = np.zeros(parts[-1].stop, dtype=np.float32)
    for part in parts:
        if hops == 1:
            voice.process(mic[part], ref[part], out[part])
        else:
            voice.process_batch(mic[part], ref[part], out[part])
    return out


@HOPS
def test_whatever_is_steered_batches_sound_like_hops(hops: int) -> None:
    # (Seldom enough for fades to end: a batch that is faded out is faded out by its first hop.)
    random = np.random.default_rng(4)
    processor = BatchDelay(hops)
    singly, batched = FailOpen(BatchDelay(hops)), FailOpen(processor)
    out, wanted = np.zeros((2, hops * HOP), dtype=np.float32)
    for number, part in enumerate(hops_of(SOUND, hops)):
        if number % 10 == 0:
            bypass, muted = random.random(2) < 0.3
            strength = int(random.choice((0, 40, 100)))
            for stage in (singly, batched):
                stage.bypass = bypass
                stage.strength = strength
                stage.muted = muted
        mic, ref = SOUND[part], silence(hops)
        for hop in hops_of(mic):
            singly.process(mic[hop], ref[hop], wanted[hop])
        batched.process_batch(mic, ref, out)
        np.testing.assert_array_equal(out, wanted)
        assert batched.bypassed_hops == singly.bypassed_hops
    assert processor.batches > 100


@HOPS
def test_a_batch_that_breaks_lets_all_its_hops_of_the_microphone_through(hops: int) -> None:
    processor = BatchDelay(hops)
    stage = FailOpen(processor)
    out = np.zeros(hops * HOP, dtype=np.float32)
    *before, last = hops_of(SOUND, hops)[:11]
    for part in before:
        stage.process_batch(SOUND[part], silence(hops), out)
    processor.breaks = float("nan")
    stage.process_batch(SOUND[last], silence(hops), out)
    assert stage.bypassed_hops == hops
    assert stage.problem == "the network's output is not finite"
    late = processor.latency_samples
    wanted = SOUND[last.start + HOP - late : last.stop - late]
    np.testing.assert_allclose(out[HOP:], wanted, atol=1e-6)


@HOPS
def test_a_processor_that_takes_no_batches_gets_hops(hops: int) -> None:
    alone, batched = Delay(), BatchDelay(hops)
    results = []
    for processor in (alone, batched):
        voice = Voice(FailOpen(processor))
        results.append(by_batches(voice, SOUND, np.zeros_like(SOUND), hops))
        assert voice.hops == len(SOUND) // HOP
    np.testing.assert_array_equal(*results)
    assert batched.batches == batched.calls // hops > 0


def test_hops_that_come_otherwise_than_the_processor_takes_them_go_alone() -> None:
    singly, processor = Delay(), BatchDelay(4)
    results = [
        by_batches(Voice(FailOpen(one)), SOUND, np.zeros_like(SOUND), 2)
        for one in (singly, processor)
    ]
    np.testing.assert_array_equal(*results)
    assert processor.batches == 0


@HOPS
def test_load_of_a_batch_is_that_of_each_hop(hops: int, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(np.arange(0.0, 10_000.0, 0.002 * hops))
    monkeypatch.setattr("pipedtln.stream.failopen.perf_counter", lambda: float(next(times)))
    stage = FailOpen(BatchDelay(hops))
    # Not a multiple of what is kept: some batch lies across the end.
    stage.process(silence(1), silence(1), silence(1))
    for _ in range(3 * LOAD_HOPS // hops):
        stage.process_batch(silence(hops), silence(hops), silence(hops))
    assert stage.load() == pytest.approx((0.25, 0.25))


@HOPS
def test_networks_change_between_single_hops_alone(hops: int) -> None:
    quiet, echo = BatchNetwork(hops), BatchNetwork(hops, echo=True)
    voice = Voice(FailOpen(NetworkSwitch(quiet, [echo]), HOP))
    some = 20 * hops * HOP
    by_batches(voice, SOUND[:some], np.zeros(some, np.float32), hops)
    assert (quiet.batches, echo.ran) == (20, 0)
    # The far end begins with the second hop of a batch.
    ref = np.concatenate((silence(1), SOUND[: some - HOP]))
    by_batches(voice, SOUND[:some], ref, hops)
    before = echo.ran - hops * echo.batches
    assert before == 3, "the hops in which it warms up and is faded in"
    assert echo.batches == 20 - (2 if hops == 2 else 1)
    lasting = HANG_SAMPLES // (hops * HOP) + 40
    by_batches(voice, SOUND[: lasting * hops * HOP], silence(lasting * hops), hops)
    assert quiet.batches >= 20 + 35


def test_the_processor_forgets_once_the_reference_has_come_from_afar() -> None:
    rng = np.random.default_rng(13)
    sound = mixed(rng, speech_like(rng, 4.0), room(rng), 200.0)
    for hops in (1, 2, 4):
        inner = BatchSpectra(hops)
        voice = Voice(FailOpen(inner))
        held = []
        for part in hops_of(sound.mic, hops):
            by_batches(voice, sound.mic[part], sound.ref[part], hops)
            held.append(round(voice.alignment.held_ref_ms / 8))
        moved = [i for i in range(1, len(held)) if held[i] != held[i - 1]]
        assert abs(held[moved[0]] - held[moved[0] - 1]) > FAR
        # Not before all of its frame is of the reference's new place, nor much later: the move
        # begins with the next batch, and the batch in which it ends is worked on to its end.
        (forgot,) = inner.forgot
        assert FRAME // HOP <= forgot - hops * moved[0] <= FRAME // HOP + max(5, 2 * hops), hops


def test_real_networks_sound_the_same_and_find_the_echo(models: Path) -> None:
    rng = np.random.default_rng(13)
    sound = mixed(rng, speech_like(rng, 6.0), room(rng), 200.0)
    results = []
    for hops in (1, 2, 4):
        echo = load_processor("aec-128-row8", batch=hops)
        assert isinstance(echo, EchoCanceller)
        switch = NetworkSwitch(load_processor("ns-row8", batch=hops), [echo])
        voice = Voice(FailOpen(switch))
        results.append(by_batches(voice, sound.mic, sound.ref, hops))
        delay = voice.alignment.echo_delay_ms
        assert delay is not None
        assert abs(delay - 200) <= 16
    # What is learned steers some hops later, and only that: once the reference is in its place, all
    # come to the same.
    late = slice(len(results[0]) // 2, len(results[-1]))
    for hops, batched in zip((2, 4), results[1:], strict=True):
        agreement = snr_db(results[0][late], batched[late])
        print(f"{hops} hops at once: {agreement:.1f} dB")
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
    session.deliver(np.ones(2 * HOP, np.float32))
    assert queued[0] <= 0 < queued[1], "the first hop is out before the second is worked on"
    engine.stop()


@HOPS
def test_the_engine_hands_on_by_batches_what_came_so(
    hops: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = BatchDelay(hops)
    size = hops * HOP
    route = Route(mic="mic", out="out", ref="ref", period=size)
    engine = Engine(Voice(FailOpen(processor)))
    session = MemoryBackend().open(route, engine.wake)
    recorder = Recorder(1.0)
    engine.add_tap(recorder)
    engine.start(session)
    write = Mock(wraps=session.write)
    monkeypatch.setattr(session, "write", write)
    # Too short for the queue to be made shorter meanwhile.
    sound = np.arange(1, 400 * HOP + 1, dtype=np.float32)
    played = []
    for part in hops_of(sound, hops):
        session.deliver(sound[part], sound[part])
        played.append(session.take(size))
    assert processor.batches >= 400 // hops - 1, "all but that in which the far end begins"
    mic, ref, out = recorder.sound()
    assert (np.diff(mic) == 1).all()
    assert np.ptp(mic[-HOP:] - ref[-HOP:]) == 0
    np.testing.assert_allclose(out[1000:], 0.5 * (mic[1000:] - processor.latency_samples))
    heard = np.concatenate(played)
    inner = heard[heard > 40 * HOP]
    assert np.allclose(np.diff(inner), 0.5), "no hop is lost, doubled or out of order"
    assert session.underruns == 0
    written = [len(call.args[0]) for call in write.call_args_list]
    assert written[-(400 // hops - 1) :] == [size] * (400 // hops - 1), "one message for each batch"
    assert len(written) <= 400 // hops + 1
    before = processor.batches
    session.deliver(np.zeros(2 * LATE_SAMPLES, np.float32))
    assert processor.batches == before + 2 * LATE_SAMPLES // size
    assert engine.voice.processing.bypassed_hops == 0, "what waits is worked off soon anyhow"
    engine.stop()


def test_with_long_periods_hops_wait_until_as_many_are_there_as_go_at_once() -> None:
    processor = BatchDelay(4)
    engine = Engine(Voice(FailOpen(processor)))
    route = Route(mic="mic", out="out", ref="ref", period=PATIENT_PERIOD)
    session = MemoryBackend().open(route, engine.wake)
    engine.start(session)
    # Another app has the server bring 11 ms at a time; the output goes on as it did.
    sound, size = SOUND[: 900 * 176], 176
    for at in range(0, len(sound), size):
        session.deliver(sound[at : at + size], sound[at : at + size])
        session.take(size)
    assert processor.calls == 4 * processor.batches, "the reference begins with a batch, too"
    assert processor.calls >= len(sound) // HOP - 3
    assert engine.voice.processing.bypassed_hops <= 4, "but for those in which the delay is filled"
    assert session.underruns == 0
    engine.stop()


@HOPS
def test_a_switch_for_recordings_takes_batches_and_gives_the_same(hops: int) -> None:
    far = slice(101 * HOP, 151 * HOP)
    mic, ref = SOUND[: 1000 * HOP], silence(1000)
    ref[far] = mic[far]
    outputs = []
    for size in (1, hops):
        quiet, echo = BatchNetwork(hops), BatchNetwork(hops, echo=True, gain=0.5)
        switch = FarEndSwitch(quiet, [echo])
        assert switch.batch == hops
        out = np.zeros_like(mic)
        for part in hops_of(mic, size):
            step = switch.process if size == 1 else switch.process_batch
            step(mic[part], ref[part], out[part])
        assert switch.switches == 2
        outputs.append(out)
    np.testing.assert_array_equal(*outputs)
    taken = quiet.batches + echo.batches
    print(f"{taken} of {1000 // hops} batches at once")
    assert taken > 0.95 * 1000 / hops
