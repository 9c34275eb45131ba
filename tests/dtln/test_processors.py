"""Both processors as streams: what every Processor promises."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pipedtln.dtln import EchoCanceller, NoiseSuppressor, load_processor
from pipedtln.errors import BlockShapeError
from pipedtln.processor import FRAME, HOP, Processor
from tests.dtln.sounds import scene, snr_db, stream

NAMES = (
    "ns-int8",
    "aec-128-int8",
    "aec-256-int8",
    "ns-float",
    "ns-row8",
    "aec-128-row8",
    "ns-block8",
    "aec-128-block8",
)


@pytest.fixture(params=NAMES)
def processor(request: pytest.FixtureRequest, models: Path) -> NoiseSuppressor | EchoCanceller:
    if request.param.endswith("block8"):
        pytest.importorskip("onnxruntime")
    return load_processor(request.param)


def test_tells_its_properties(processor: Processor) -> None:
    assert (processor.sample_rate, processor.hop) == (16_000, 128)
    assert processor.uses_reference == isinstance(processor, EchoCanceller)


def test_latency_is_what_it_says(processor: Processor) -> None:
    mic, ref = scene(3.0)
    out = stream(processor, mic, np.zeros_like(ref))
    size = 2 * len(mic)
    cross = np.fft.irfft(np.fft.rfft(out, size) * np.conj(np.fft.rfft(mic, size)), size)
    assert int(np.argmax(cross)) == processor.latency_samples == 384


def test_out_may_be_the_microphone_block(processor: Processor) -> None:
    mic, ref = scene(1.0)
    expected = stream(processor, mic, ref)
    processor.reset()
    block = np.empty(HOP, np.float32)
    for start in range(0, len(mic), HOP):
        block[:] = mic[start : start + HOP]
        processor.process(block, ref[start : start + HOP], block)
        np.testing.assert_array_equal(block, expected[start : start + HOP])


def test_inputs_are_left_alone(processor: Processor) -> None:
    mic, ref = scene(0.2)
    before = mic.copy(), ref.copy()
    stream(processor, mic, ref)
    np.testing.assert_array_equal(mic, before[0])
    np.testing.assert_array_equal(ref, before[1])


def test_reset_equals_a_new_one(processor: Processor) -> None:
    mic, ref = scene(1.0)
    first = stream(processor, mic, ref)
    carried = stream(processor, mic, ref)
    processor.reset()
    np.testing.assert_array_equal(stream(processor, mic, ref), first)
    assert snr_db(first, carried) < 60.0, "the state must matter, or reset is not tested"


def test_two_of_a_kind_do_not_share_state(models: Path) -> None:
    one, other = load_processor("ns-int8"), load_processor("ns-int8")
    mic, ref = scene(1.0)
    alone = stream(one, mic, ref)
    one.reset()
    out, noise = np.empty_like(mic), np.random.default_rng(3).normal(size=HOP).astype(np.float32)
    for start in range(0, len(mic), HOP):
        hop = slice(start, start + HOP)
        one.process(mic[hop], ref[hop], out[hop])
        other.process(noise, noise, np.empty(HOP, np.float32))
    np.testing.assert_array_equal(out, alone)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros(127, np.float32),
        np.zeros(129, np.float32),
        np.zeros(HOP, np.float64),
        np.zeros(HOP, np.int16),
        np.zeros((HOP, 1), np.float32),
        np.zeros(2 * HOP, np.float32)[::2],
    ],
    ids=["short", "long", "double", "integer", "column", "strided"],
)
def test_rejects_a_wrong_block_and_goes_on_unharmed(processor: Processor, bad: np.ndarray) -> None:
    mic, ref = scene(0.3)
    expected = stream(processor, mic, ref)
    processor.reset()
    good = np.full(HOP, 0.3, np.float32)
    with pytest.raises(BlockShapeError, match="mic must be"):
        processor.process(bad, good, good)
    with pytest.raises(BlockShapeError, match="out must be"):
        processor.process(good, good, bad)
    if processor.uses_reference:
        with pytest.raises(BlockShapeError, match="ref must be"):
            processor.process(good, bad, good)
    np.testing.assert_array_equal(stream(processor, mic, ref), expected)


def test_silence_stays_silent(processor: Processor) -> None:
    silence = np.zeros(3 * 16_000 // HOP * HOP, np.float32)
    out = stream(processor, silence, silence)
    assert np.isfinite(out).all()
    assert np.abs(out).max() < 1e-3


def test_full_scale_comes_out_finite(processor: Processor) -> None:
    loud = np.sign(np.random.default_rng(5).normal(size=16_000 // HOP * HOP)).astype(np.float32)
    assert np.isfinite(stream(processor, loud, loud)).all()


def test_powers_are_those_of_the_newest_frames(models: Path) -> None:
    processor = load_processor("aec-128-int8")
    assert isinstance(processor, EchoCanceller)
    mic, ref = scene(0.5)
    stream(processor, mic, ref)
    for power, sound in ((processor.mic_power, mic), (processor.ref_power, ref)):
        expected = np.abs(np.fft.rfft(sound[-512:])) ** 2
        np.testing.assert_allclose(power, expected, rtol=1e-3, atol=1e-6)
        assert power.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            power[:] = 0
    held = processor.mic_power
    processor.reset()
    assert not held.any()


def test_the_suppressor_tells_its_power_too(models: Path) -> None:
    processor = load_processor("ns-int8")
    mic, ref = scene(0.5)
    stream(processor, mic, ref)
    expected = np.abs(np.fft.rfft(mic[-512:])) ** 2
    np.testing.assert_allclose(processor.mic_power, expected, rtol=1e-3, atol=1e-6)
    with pytest.raises(ValueError, match="read-only"):
        processor.mic_power[:] = 0


def test_memory_does_not_grow_with_hops(processor: Processor) -> None:
    mic, ref = scene(4.0)
    stream(processor, mic, ref)
    gc.collect()
    tracemalloc.start()
    try:
        out = np.empty(HOP, np.float32)
        for _ in range(50):
            processor.process(mic[:HOP], ref[:HOP], out)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for start in range(0, len(mic), HOP):
            processor.process(mic[start : start + HOP], ref[start : start + HOP], out)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"{len(mic) // HOP} hops: {after - before} bytes more, {peak - before} at most")
    assert after - before < 2_000
    # One transform of NumPy's takes 18 kB while it runs; the network itself none.
    assert peak - before < 30_000


@pytest.mark.parametrize("pipeline", [False, True])
def test_forgetting_zeroes_the_state_and_keeps_the_sound(models: Path, pipeline: bool) -> None:
    def made() -> EchoCanceller:
        made = load_processor("aec-128-int8", pipeline=pipeline)
        assert isinstance(made, EchoCanceller)
        return made

    mic, ref = scene(2.0)
    at = len(mic) // 2 // HOP * HOP
    plain, long, short = made(), made(), made()
    whole = stream(plain, mic, ref)
    stream(long, mic[:at], ref[:at])
    stream(short, mic[at - FRAME : at], ref[at - FRAME : at])
    long.forget()
    short.forget()
    after, begun = (stream(processor, mic[at:], ref[at:]) for processor in (long, short))
    # What was heard before makes no difference once the frames of before have been given ...
    np.testing.assert_array_equal(after[FRAME:], begun[FRAME:])
    assert snr_db(whole[at + FRAME :], after[FRAME:]) < 60.0, "the state must matter"
    # ... and these are given: nothing breaks off.
    seam = np.diff(np.concatenate((whole[:at], after)))[at - 1]
    assert abs(seam) <= np.abs(np.diff(whole)).max()
