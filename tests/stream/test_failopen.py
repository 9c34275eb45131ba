"""The microphone goes on whatever the processor does."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from pipedtln.processor import HOP, SAMPLE_RATE, Block
from pipedtln.stream.failopen import RETRY_HOPS, FailOpen
from tests.stream.sounds import Samples, tone

LATENCY = 384
WARM = LATENCY // HOP + 1


class Delay:
    """A processor that halves its input, delayed; it breaks as told."""

    sample_rate, hop, uses_reference = SAMPLE_RATE, HOP, False

    def __init__(self, gain: float = 0.5, latency: int = LATENCY) -> None:
        self.gain = gain
        self.latency_samples = latency
        self.breaks: Exception | float | None = None
        self.resets = 0
        self.calls = 0
        self._held = np.zeros(latency, dtype=np.float32)

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        self.calls += 1
        if isinstance(self.breaks, Exception):
            raise self.breaks
        held = np.concatenate((self._held, mic))
        out[:] = self.gain * held[:HOP]
        self._held = held[HOP:]
        if self.breaks is not None:
            out[7] = self.breaks

    def reset(self) -> None:
        self.resets += 1
        self._held[:] = 0


def feed(stage: FailOpen, sound: Samples, start: int, hops: int, *, late: bool = False) -> Samples:
    """Process hops ``start`` to ``start + hops`` of a sound."""
    out = np.zeros((hops, HOP), dtype=np.float32)
    silence = np.zeros(HOP, dtype=np.float32)
    for i in range(hops):
        at = (start + i) * HOP
        stage.process(sound[at : at + HOP], silence, out[i], late=late)
    return out.ravel()


def delayed(sound: Samples, start: int, hops: int) -> Samples:
    at = start * HOP - LATENCY
    return sound[at : at + hops * HOP]


SOUND = tone(4000 * HOP, 250.0)
STEP = float(np.abs(np.diff(SOUND)).max())


@pytest.mark.parametrize(
    "breaks", [ValueError("broken"), float("nan"), float("inf")], ids=["raises", "NaN", "Inf"]
)
def test_failure_lets_the_microphone_through_within_one_hop_and_goes_back(
    breaks: Exception | float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    processor = Delay()
    stage = FailOpen(processor)
    before = feed(stage, SOUND, 0, 50)
    processor.breaks = breaks
    broken = feed(stage, SOUND, 50, 3 * RETRY_HOPS)
    assert np.allclose(broken[HOP:], delayed(SOUND, 51, 3 * RETRY_HOPS - 1))
    assert stage.problem is not None
    assert stage.bypassed_hops == 3 * RETRY_HOPS
    assert len(caplog.records) == 1
    processor.breaks = None
    healed = feed(stage, SOUND, 50 + 3 * RETRY_HOPS, 2 * RETRY_HOPS)
    assert stage.problem is None
    assert np.allclose(healed[-50 * HOP :], 0.5 * delayed(SOUND, 5 * RETRY_HOPS, 50), atol=1e-6)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert processor.resets >= 1
    whole = np.concatenate((before, broken, healed))
    assert np.abs(np.diff(whole)).max() < 1.5 * STEP


def test_processor_that_breaks_now_and_then_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    processor = Delay()
    stage = FailOpen(processor)
    for i in range(8):
        processor.breaks = ValueError("now and then")
        feed(stage, SOUND, i * 200, 1)
        processor.breaks = None
        feed(stage, SOUND, i * 200 + 1, 199)
    assert len(caplog.records) <= 2
    assert stage.bypassed_hops >= 8 * RETRY_HOPS


def test_way_back_has_no_hole() -> None:
    processor = Delay(gain=1.0)
    stage = FailOpen(processor)
    feed(stage, SOUND, 0, 20)
    processor.breaks = ValueError("once")
    feed(stage, SOUND, 20, 1)
    processor.breaks = None
    out = feed(stage, SOUND, 21, 300)
    assert np.allclose(out, delayed(SOUND, 21, 300), atol=1e-6)


def test_late_hops_skip_the_processor_and_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    processor = Delay()
    stage = FailOpen(processor)
    feed(stage, SOUND, 0, 20)
    calls = processor.calls
    late = feed(stage, SOUND, 20, 10, late=True)
    assert processor.calls == calls
    assert np.allclose(late[HOP:], delayed(SOUND, 21, 9))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    back = feed(stage, SOUND, 30, 50)
    assert stage.bypassed_hops == 10 + WARM
    assert np.allclose(back[10 * HOP :], 0.5 * delayed(SOUND, 40, 40), atol=1e-6)


def test_missing_model_is_the_delayed_microphone() -> None:
    stage = FailOpen(None)
    out = feed(stage, SOUND, 0, 100)
    assert not out[:LATENCY].any()
    assert np.allclose(out[LATENCY + HOP :], delayed(SOUND, WARM, 96))
    assert stage.bypassed_hops == 100
    assert stage.load() is None


def test_model_that_arrives_later_is_faded_in() -> None:
    stage = FailOpen(None)
    first = feed(stage, SOUND, 0, 100)
    stage.use(Delay())
    out = np.concatenate((first, feed(stage, SOUND, 100, 100)))
    assert np.abs(np.diff(out[LATENCY + HOP :])).max() < 1.5 * STEP
    assert np.allclose(out[-50 * HOP :], 0.5 * delayed(SOUND, 150, 50), atol=1e-6)


@pytest.mark.parametrize("latency", [512, 128])
@pytest.mark.parametrize("before", ["processor", "nothing"])
def test_processor_of_another_delay_takes_the_microphone_with_it(latency: int, before: str) -> None:
    stage = FailOpen(Delay(gain=1.0) if before == "processor" else None)
    first = feed(stage, SOUND, 0, 100)
    stage.use(Delay(gain=1.0, latency=latency))
    out = np.concatenate((first, feed(stage, SOUND, 100, 100)))
    assert stage.latency_samples == latency
    expected = SOUND[150 * HOP - latency : 200 * HOP - latency]
    assert np.allclose(out[-50 * HOP :], expected, atol=1e-6)
    # The step between the two delays goes into the slope of one hop; a shorter delay needs sound
    # that the line has, a longer one begins with what it has.
    assert np.abs(np.diff(out[LATENCY + HOP :])).max() < STEP + 2 * 0.3 / HOP * 1.1
    stage.reset()
    assert not feed(stage, SOUND, 0, 1).any()


def test_processor_of_other_hops_is_refused() -> None:
    processor = Delay()
    processor.hop = 256  # type: ignore[misc]
    with pytest.raises(ValueError, match="Delay takes hops of 256"):
        FailOpen(processor)


@pytest.mark.parametrize("setting", ["bypass", "muted", "strength"])
def test_steering_fades_and_takes_effect_at_once(setting: str) -> None:
    stage = FailOpen(Delay(gain=-1.0))
    parts = [feed(stage, SOUND, 0, 50)]
    for i in range(1, 7):
        if setting == "strength":
            stage.strength = (0, 100, 30)[i % 3]
        else:
            setattr(stage, setting, i % 2 == 1)
        parts.append(feed(stage, SOUND, i * 50, 50))
    out = np.concatenate(parts)[LATENCY + HOP :]
    # A fade over 8 ms between a tone and its inverse adds 0.6 / 128 a sample to its slope.
    assert np.abs(np.diff(out)).max() < STEP + 2 * 0.3 / HOP * 1.1
    quiet = parts[1][HOP:] if setting == "muted" else None
    assert quiet is None or not quiet.any()
    if setting == "bypass":
        assert np.allclose(parts[1][HOP:], delayed(SOUND, 51, 49), atol=1e-6)
        assert stage.bypassed_hops == 0


def test_strength_mixes_linearly() -> None:
    for strength in (0, 25, 50, 100):
        stage = FailOpen(Delay(gain=0.0))
        stage.strength = strength
        out = feed(stage, SOUND, 0, 50)[-20 * HOP :]
        assert np.allclose(out, (1 - strength / 100) * delayed(SOUND, 30, 20), atol=1e-6)


def test_load_counts_the_processor_alone() -> None:
    stage = FailOpen(Delay())
    feed(stage, SOUND, 0, 50)
    load = stage.load()
    assert load is not None
    mean, p99 = load
    assert 0 < mean <= p99


def test_reset_forgets_the_sound() -> None:
    stage = FailOpen(Delay())
    feed(stage, SOUND, 0, 50)
    stage.reset()
    out = feed(stage, np.zeros(50 * HOP, dtype=np.float32), 0, 50)
    assert not out.any()
    assert stage.bypassed_hops == 0
