"""The delay estimator finds the echo, keeps it, and is not fooled by what is no echo."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.scenes import (
    RATE,
    Sound,
    at_level,
    clipped,
    convolve,
    mixed,
    music_like,
    pink_noise,
    random_room,
    shifted,
    speech_like,
)
from pipedtln.processor import FRAME, HOP
from pipedtln.stream.delay import DelayEstimator

HOP_MS = 8.0


@dataclass
class Track:
    """What the estimator said after each hop; NaN for nothing yet."""

    delay_ms: NDArray[np.float64]
    confidence: NDArray[np.float64]

    def found_after_ms(self, true_ms: float, tolerance_ms: float = 16.0) -> float:
        near = np.abs(self.delay_ms - true_ms) <= tolerance_ms
        assert near.any(), f"never near {true_ms} ms, last said {self.delay_ms[-1]}"
        return float(np.argmax(near)) * HOP_MS


def powers(sound: Sound) -> NDArray[np.float32]:
    padded = np.concatenate((np.zeros(FRAME - HOP, np.float32), sound))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    return np.square(np.abs(np.fft.rfft(frames, axis=1))).astype(np.float32)


def track(mic: Sound, ref: Sound, hold_ref: int = 0, hold_mic: int = 0) -> Track:
    estimator = DelayEstimator()
    mics, refs = powers(mic), powers(ref)
    delay, confidence = [], []
    for hop in range(len(mics)):
        of_mic, of_ref = hop - hold_mic, hop - hold_ref
        estimator.update(
            mics[max(of_mic, 0)],
            of_mic if of_mic >= 0 else None,
            refs[max(of_ref, 0)],
            of_ref if of_ref >= 0 else None,
        )
        found = estimator.delay_hops
        delay.append(np.nan if found is None else found * HOP_MS)
        confidence.append(estimator.confidence)
    return Track(np.array(delay), np.array(confidence))


def room(rng: np.random.Generator) -> Sound:
    return random_room(rng, t60=0.3, direct_db=3.0)


@pytest.mark.parametrize("delay_ms", [-40, -16, 0, 20, 60, 150, 300, 500, 1000, 1900])
def test_first_answer_comes_within_a_second_of_the_echo(delay_ms: int) -> None:
    rng = np.random.default_rng(delay_ms + 100)
    scene = mixed(rng, speech_like(rng, 6.0), room(rng), delay_ms, snr_db=20)
    said = track(scene.mic, scene.ref)
    found = said.found_after_ms(delay_ms) - max(delay_ms, 0)
    print(f"{delay_ms} ms found {found:.0f} ms after the echo began")
    assert found <= 1000
    settled = said.delay_ms[int((max(delay_ms, 0) + 1500) / HOP_MS) :]
    assert np.abs(settled - delay_ms).max() <= 16
    assert said.confidence[-1] > 0.9


@pytest.mark.parametrize("hold_ref", [0, 10, 30, 50])
@pytest.mark.parametrize("hold_mic", [0, 5])
def test_holds_of_either_signal_do_not_change_the_answer(hold_ref: int, hold_mic: int) -> None:
    rng = np.random.default_rng(5)
    scene = mixed(rng, speech_like(rng, 5.0), room(rng), 250.0)
    said = track(scene.mic, scene.ref, hold_ref, hold_mic)
    assert said.delay_ms[-1] == pytest.approx(250, abs=12)


@pytest.mark.parametrize("kind", ["noise", "double talk", "clipping", "music", "volume"])
def test_trouble_does_not_hide_the_echo(kind: str) -> None:
    errors = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        ref = music_like(rng, 7.0) if kind == "music" else speech_like(rng, 7.0)
        near = speech_like(rng, 7.0) * 0.5 if kind == "double talk" else None
        played = clipped(ref) if kind == "clipping" else None
        snr_db = 0.0 if kind == "noise" else 25.0
        scene = mixed(rng, ref, room(rng), 180.0, near=near, played=played, snr_db=snr_db)
        mic = scene.mic
        if kind == "volume":
            steps = np.repeat(10 ** (rng.uniform(-15, 5, 14) / 20), RATE // 2)
            mic = (mic * steps).astype(np.float32)
        said = track(mic, ref)
        errors.append(float(np.nanmax(np.abs(said.delay_ms[int(3500 / HOP_MS) :] - 180))))
        assert not np.isnan(said.delay_ms[int(3500 / HOP_MS)])
    print(kind, "largest errors after 3.5 s:", errors)
    assert max(errors) <= 16


@pytest.mark.parametrize(("before", "after"), [(20, 300), (300, 20), (60, 1000), (1000, 60)])
def test_a_changed_path_is_found_within_two_seconds(before: int, after: int) -> None:
    rng = np.random.default_rng(before)
    ref = speech_like(rng, 10.0)
    response = room(rng)
    mic = convolve(shifted(ref, before * 16), response)
    half = len(mic) // 2
    mic[half:] = convolve(shifted(ref, after * 16), response)[half:]
    mic = at_level(mic) + pink_noise(rng, len(mic)) * 0.001
    said = track(mic.astype(np.float32), ref)
    start = half // HOP
    assert said.delay_ms[start - 1] == pytest.approx(before, abs=16)
    took = Track(said.delay_ms[start:], said.confidence[start:]).found_after_ms(after)
    print(f"{before} -> {after} ms after {took:.0f} ms")
    assert took <= 2000


def test_near_end_speech_alone_moves_nothing() -> None:
    rng = np.random.default_rng(8)
    ref = speech_like(rng, 10.0)
    half = len(ref) // 2
    ref[half:] = 0.0
    scene = mixed(rng, ref, room(rng), 120.0)
    mic = scene.mic.copy()
    mic[half + RATE :] += speech_like(rng, 10.0)[half + RATE :]
    said = track(mic, ref)
    after = said.delay_ms[half // HOP :]
    assert np.abs(after - 120).max() <= 16
    frozen = said.delay_ms[(half + 3 * RATE) // HOP :]
    assert np.ptp(frozen) == 0


def test_silence_says_nothing() -> None:
    rng = np.random.default_rng(9)
    silence = np.zeros(4 * RATE, np.float32)
    said = track(speech_like(rng, 4.0), silence)
    assert np.isnan(said.delay_ms).all()
    assert said.confidence.max() == 0.0


def test_a_reference_without_an_echo_earns_no_confidence() -> None:
    most = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        said = track(speech_like(rng, 8.0), speech_like(rng, 8.0))
        most.append(float(said.confidence.max()))
    print("confidence without any echo:", most)
    assert max(most) < 0.8


def test_a_quiet_reference_is_heard() -> None:
    rng = np.random.default_rng(10)
    scene = mixed(rng, speech_like(rng, 5.0), room(rng), 200.0)
    said = track(scene.mic, at_level(scene.ref, 0.0008))
    assert said.delay_ms[-1] == pytest.approx(200, abs=16)


def test_a_slow_walk_of_the_delay_is_followed_without_a_jump() -> None:
    rng = np.random.default_rng(11)
    ref = speech_like(rng, 20.0)
    drift = 1500e-6
    late = np.interp(np.arange(len(ref)) * (1 - drift), np.arange(len(ref)), ref)
    scene = mixed(rng, ref, room(rng), 100.0, played=late.astype(np.float32))
    said = track(scene.mic, ref)
    true = 100 + drift * 1000 * np.arange(len(said.delay_ms)) * 0.008
    known = ~np.isnan(said.delay_ms)
    errors = np.abs(said.delay_ms - true)[known]
    print("largest error on a walk of 30 ms:", errors.max())
    assert errors.max() <= 20
    assert np.abs(np.diff(said.delay_ms[known])).max() <= HOP_MS


def test_reset_forgets() -> None:
    rng = np.random.default_rng(12)
    scene = mixed(rng, speech_like(rng, 3.0), room(rng), 80.0)
    mics, refs = powers(scene.mic), powers(scene.ref)
    estimator = DelayEstimator()
    answers = []
    for _ in range(2):
        for hop in range(len(mics)):
            estimator.update(mics[hop], hop, refs[hop], hop)
        answers.append((estimator.delay_hops, estimator.scores().copy()))
        estimator.reset()
        assert estimator.delay_hops is None
    assert answers[0][0] == answers[1][0]
    np.testing.assert_array_equal(answers[0][1], answers[1][1])


def test_an_expected_delay_is_found_sooner() -> None:
    rng = np.random.default_rng(13)
    scene = mixed(rng, speech_like(rng, 4.0), room(rng), 300.0, snr_db=10)
    mics, refs = powers(scene.mic), powers(scene.ref)
    took = []
    for guess in (None, 37):
        estimator = DelayEstimator()
        if guess is not None:
            estimator.expect(guess)
        hop = 0
        while estimator.delay_hops is None:
            estimator.update(mics[hop], hop, refs[hop], hop)
            hop += 1
        took.append(hop)
    print("hops without and with a guess:", took)
    assert took[1] < took[0]


def test_one_hop_costs_little() -> None:
    rng = np.random.default_rng(14)
    scene = mixed(rng, speech_like(rng, 8.0), room(rng), 100.0)
    mics, refs = powers(scene.mic), powers(scene.ref)
    costs = []
    for _ in range(3):
        estimator = DelayEstimator()
        started = perf_counter()
        for hop in range(len(mics)):
            estimator.update(mics[hop], hop, refs[hop], hop)
        costs.append((perf_counter() - started) / len(mics) * 1e6)
    print(f"{min(costs):.0f} us per hop")
    # five per cent of a hop on any machine that can run the networks; 50 us where it was written
    assert min(costs) < 400
