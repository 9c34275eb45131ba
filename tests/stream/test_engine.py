"""The worker between the rings of a session and its output."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from unittest.mock import Mock

import numpy as np
import pytest

from pipedtln.audio.api import Route
from pipedtln.audio.memory import MemoryBackend, MemorySession
from pipedtln.processor import HOP, SAMPLE_RATE, Block, Processor
from pipedtln.stream.engine import LATE_SAMPLES, STALE_SAMPLES, Engine
from pipedtln.stream.failopen import FailOpen
from pipedtln.stream.pacer import OutputPacer
from pipedtln.stream.tap import Recorder
from pipedtln.stream.voice import Voice
from tests.stream.sounds import Samples, tone
from tests.stream.test_failopen import Delay

LATENCY = 384


class Bench:
    """An engine on a session whose server is the test."""

    def __init__(self, processor: Processor | None = None, *, paired: bool = False) -> None:
        self.engine = Engine(Voice(FailOpen(processor)))
        route = Route(
            mic="mic",
            out="out",
            ref=None if paired else "ref",
            ref_channel=1 if paired else None,
        )
        self.session: MemorySession = MemoryBackend().open(route, self.engine.wake)

    def play(self, mic: Samples, ref: Samples | None = None) -> Samples:
        """Deliver hop by hop; what the device played."""
        played = []
        for at in range(0, len(mic), HOP):
            self.session.deliver(
                mic[at : at + HOP], ref[at : at + HOP] if ref is not None else None
            )
            assert self.session.mic.readable < HOP
            played.append(self.session.take(HOP))
        return np.concatenate(played)


class Ear:
    """Keeps the first sample of every hop of the microphone."""

    def __init__(self) -> None:
        self.heard: list[float] = []

    def hear(self, mic: Block, ref: Block, out: Block) -> None:
        self.heard.append(float(mic[0]))


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    made.engine.start(made.session)
    yield made
    made.engine.stop()


def test_microphone_comes_out_in_order_and_whole(bench: Bench) -> None:
    sound = np.arange(1, 300 * HOP + 1, dtype=np.float32)
    played = bench.play(sound)
    heard = played[played != 0]
    begin = int(heard[heard >= HOP][0])
    inner = heard[heard >= HOP]
    assert np.array_equal(inner, np.arange(begin, begin + len(inner), dtype=np.float32))
    assert len(inner) > 200 * HOP
    assert bench.session.underruns == 0
    delay = int(np.flatnonzero(played == 5000)[0]) - 4999
    assert delay < LATENCY + 40e-3 * SAMPLE_RATE


def test_reference_reaches_the_processor_beside_the_microphone(bench: Bench) -> None:
    recorder = Recorder(1.0)
    bench.engine.add_tap(recorder)
    sound = np.arange(1, 250 * HOP + 1, dtype=np.float32)
    bench.play(sound, sound)
    assert recorder.full
    mic, ref, _ = recorder.sound()
    age = mic[-HOP:] - ref[-HOP:]
    assert np.ptp(age) == 0
    assert 0 <= age[0] <= 40e-3 * SAMPLE_RATE


def test_old_sound_is_dropped_after_a_stall(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    sound = np.arange(1, 101, dtype=np.float32).repeat(HOP)
    ear = Ear()
    bench.engine.add_tap(ear)
    bench.engine.start(bench.session)
    bench.session.deliver(np.zeros(HOP, dtype=np.float32))
    bench.session.deliver(sound)
    assert bench.session.mic.readable < HOP
    bench.engine.stop()
    assert len(sound) > STALE_SAMPLES
    kept = LATE_SAMPLES // HOP
    assert ear.heard == [0, *range(101 - kept, 101)]
    assert bench.engine.report().dropped_hops == 100 - kept
    assert "dropped" in caplog.text


@pytest.mark.parametrize("paired", [False, True], ids=["two streams", "one stream"])
def test_what_came_while_the_streams_were_opened_makes_no_queue_longer(
    paired: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def opened(early: Samples) -> Bench:
        bench = Bench(paired=paired)
        bench.session.deliver(early, early)
        bench.engine.start(bench.session)
        bench.play(np.full(HOP, 1000.0, dtype=np.float32))
        return bench

    sound = np.arange(1, 101, dtype=np.float32).repeat(HOP)
    many, few = opened(sound), opened(sound[:0])
    assert many.session.queued() == few.session.queued()
    assert many.engine.report().dropped_hops == 0
    assert "dropped" not in caplog.text


def test_what_came_while_the_streams_were_opened_is_heard_as_far_as_it_is_not_late() -> None:
    bench = Bench()
    ear = Ear()
    bench.engine.add_tap(ear)
    bench.session.deliver(np.arange(1, 4, dtype=np.float32).repeat(HOP))
    bench.engine.start(bench.session)
    bench.session.deliver(np.full(HOP, 4, dtype=np.float32))
    bench.engine.stop()
    wanted = (bench.engine.pacer.margin + bench.session.period) // HOP + 1
    assert ear.heard == list(range(5 - min(4, wanted), 5))


class Tired(Delay):
    """A network that takes a while over each hop."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        time.sleep(self.seconds)
        super().process(mic, ref, out)


def test_what_waits_is_let_through_only_where_the_network_is_too_slow_to_catch_up() -> None:
    waiting = 3 * LATE_SAMPLES
    for seconds, worked_on in ((0.0, waiting), (0.003, LATE_SAMPLES)):
        network = Tired(seconds)
        bench = Bench(network)
        bench.engine.start(bench.session)
        bench.play(np.zeros(10 * HOP, np.float32))
        before = network.calls
        bench.session.deliver(np.zeros(waiting, np.float32))
        assert bench.session.mic.readable < HOP
        assert network.calls - before == worked_on // HOP
        assert (bench.engine.voice.processing.bypassed_hops > 0) == (worked_on < waiting)
        bench.engine.stop()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_drivers_nan_is_silenced_in_microphone_and_reference(bench: Bench, bad: float) -> None:
    recorder = Recorder(100.0)
    bench.engine.add_tap(recorder)
    mic, ref = tone(100 * HOP), tone(100 * HOP)
    mic[50 * HOP + 3] = ref[60 * HOP + 3] = bad
    played = bench.play(mic, ref)
    assert np.isfinite(recorder.sound()).all()
    assert np.isfinite(played).all()
    assert np.abs(played[-20 * HOP :]).max() > 0.2


def test_tap_hears_from_its_adding_to_its_removal(bench: Bench) -> None:
    recorder = Recorder(10.0)
    silence = np.zeros(10 * HOP, dtype=np.float32)
    bench.play(silence)
    bench.engine.add_tap(recorder)
    bench.play(silence)
    bench.engine.remove_tap(recorder)
    bench.play(silence)
    assert recorder.sound().shape[1] == len(silence)


def test_third_underrun_within_minutes_raises_the_margin(bench: Bench) -> None:
    bench.play(tone(50 * HOP))
    before = bench.engine.report().margin_ms
    for underruns in (1, 2, 3):
        assert bench.engine.report().margin_ms == before
        bench.session.take(2000)
        bench.play(tone(60 * HOP))
        assert bench.session.underruns == underruns
    assert bench.engine.report().margin_ms > before


class Slow:
    """A tap that holds up the work until it is let go."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()

    def hear(self, mic: Block, ref: Block, out: Block) -> None:
        self.entered.set()
        assert self.go.wait(10)


def test_stop_waits_for_the_hop_at_hand_and_start_works_again(bench: Bench) -> None:
    slow = Slow()
    bench.engine.add_tap(slow)
    hop = np.zeros(HOP, dtype=np.float32)
    server = threading.Thread(target=bench.session.deliver, args=(hop,))
    stopper = threading.Thread(target=bench.engine.stop)
    server.start()
    assert slow.entered.wait(10)
    stopper.start()
    stopper.join(0.1)
    assert stopper.is_alive()
    slow.go.set()
    stopper.join(10)
    server.join(10)
    assert not bench.engine.running
    hops = bench.engine.voice.hops
    bench.session.deliver(hop)
    assert bench.engine.voice.hops == hops
    bench.engine.stop()
    bench.engine.start(bench.session)
    bench.engine.wake()
    assert bench.engine.voice.hops == hops + 1


def test_hops_go_on_after_a_fault_of_ours(bench: Bench) -> None:
    class Faulty:
        def hear(self, mic: Block, ref: Block, out: Block) -> None:
            raise RuntimeError("a fault of ours")

    faulty = Faulty()
    bench.engine.add_tap(faulty)
    with pytest.raises(RuntimeError, match="of ours"):
        bench.play(tone(HOP))
    assert bench.engine.busy_since is None
    bench.engine.remove_tap(faulty)
    bench.play(tone(10 * HOP))
    assert bench.engine.voice.hops == 11


def test_pacer_is_told_by_the_clock_how_old_sound_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pacer, now = OutputPacer(), 0
    arrived, pace = Mock(wraps=pacer.arrived), Mock(wraps=pacer.pace)
    monkeypatch.setattr(pacer, "arrived", arrived)
    monkeypatch.setattr(pacer, "pace", pace)
    engine = Engine(Voice(FailOpen(None)), pacer=pacer, clock=lambda: now / SAMPLE_RATE)
    session = MemoryBackend().open(Route(mic="mic", out="out"), engine.wake)
    engine.start(session)
    # On time, then half a hop that comes 10 samples late, then what makes it whole and more.
    for when, count in ((HOP, HOP), (HOP * 3 // 2 + 10, HOP // 2), (5 * HOP, HOP * 7 // 2)):
        now = when
        session.deliver(np.zeros(count, dtype=np.float32))
    engine.stop()
    assert [call.args for call in arrived.call_args_list] == [(0,), (10,), (0,)]
    ages = [call.kwargs["age"] for call in pace.call_args_list]
    assert ages == [0, 3 * HOP, 2 * HOP, HOP, 0]


def test_second_start_is_refused() -> None:
    bench = Bench()
    bench.engine.start(bench.session)
    with pytest.raises(RuntimeError):
        bench.engine.start(bench.session)
    bench.engine.stop()


def test_collector_is_left_as_it_was_found() -> None:
    bench = Bench()
    frozen = gc.get_freeze_count()
    bench.engine.start(bench.session)
    bench.play(tone(5 * HOP))
    assert gc.get_freeze_count() > frozen
    bench.engine.stop()
    assert gc.get_freeze_count() == 0
    assert gc.isenabled()


def test_reference_is_held_by_the_servers_account_until_the_echo_is_found() -> None:
    made = Bench()
    made.engine.start(made.session, first_guess_ms=200.0)
    try:
        held = made.engine.voice.alignment.held_ref_ms
    finally:
        made.engine.stop()
    assert 160 <= held <= 190
    made.engine.start(made.session)
    made.engine.stop()
    assert made.engine.voice.alignment.held_ref_ms == 0
