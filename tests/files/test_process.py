"""File mode keeps length, rate and time, whatever the file and the size of the pieces."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from pipedtln.files import Pair, process_file
from tests.files.processors import BatchSquarer, Delayed, Reference, Silencer, Squarer
from tests.files.sounds import babble, lag, snr_db, write


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_output_has_the_length_rate_and_time_of_the_input(tmp_path: Path, rate: int) -> None:
    sound = babble(2.0137, rate)
    mic = write(tmp_path / "mic.wav", sound, rate, "FLOAT")
    report = process_file(mic, tmp_path / "out.wav", Delayed())
    got, got_rate = sf.read(tmp_path / "out.wav", dtype="float32")
    inside = slice(rate // 10, -rate // 10)
    snr = snr_db(got[inside], sound[inside])
    print(f"{rate} Hz: lag {lag(got, sound)} samples, {snr:.1f} dB SNR")
    assert (got_rate, len(got), report.frames) == (rate, len(sound), len(sound))
    assert lag(got, sound) == 0
    assert snr > 40


@pytest.mark.parametrize("latency", [0, 1, 127, 128, 129, 384, 1000])
def test_any_latency_is_taken_out_to_the_sample(tmp_path: Path, latency: int) -> None:
    sound = babble(0.5, 16000)
    mic = write(tmp_path / "mic.wav", sound, 16000, "FLOAT")
    process_file(mic, tmp_path / "out.wav", Delayed(latency))
    np.testing.assert_array_equal(sf.read(tmp_path / "out.wav", dtype="float32")[0], sound)


@pytest.mark.parametrize("count", [1, 127, 128, 129, 511, 4096, 16384])
def test_a_recording_of_any_length_comes_back_whole(tmp_path: Path, count: int) -> None:
    sound = babble(2.0, 16000)[:count]
    mic = write(tmp_path / "mic.wav", sound, 16000, "FLOAT")
    process_file(mic, tmp_path / "out.wav", Delayed())
    np.testing.assert_array_equal(sf.read(tmp_path / "out.wav", dtype="float32")[0], sound)


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_a_tiny_recording_of_another_rate_keeps_its_length(tmp_path: Path, count: int) -> None:
    mic = write(tmp_path / "mic.wav", babble(1.0, 44100)[:count], 44100)
    process_file(mic, tmp_path / "out.wav", Delayed())
    assert sf.info(tmp_path / "out.wav").frames == count


@pytest.mark.parametrize("rate", [16000, 44100])
def test_the_size_of_the_pieces_does_not_change_a_sample(tmp_path: Path, rate: int) -> None:
    mic = write(tmp_path / "mic.wav", babble(0.8, rate)[: 64 * (rate // 100)], rate, "FLOAT")
    ref = write(tmp_path / "ref.wav", babble(1.0, 48000, seed=2), 48000, "FLOAT")
    outputs = []
    for chunk in (1, 127, 128, 129, 4096, 1 << 20):
        out = tmp_path / f"{chunk}.wav"
        process_file(mic, out, Squarer(), ref=ref, chunk=chunk)
        outputs.append(sf.read(out, dtype="float32")[0])
    for other in outputs[1:]:
        np.testing.assert_array_equal(other, outputs[0])


@pytest.mark.parametrize("count", [1, 2 * 128, 5 * 128, 6 * 128 + 1, 8000])
def test_several_hops_go_at_once_where_the_processor_takes_them(tmp_path: Path, count: int) -> None:
    sound = babble(0.6, 16000)[:count]
    mic = write(tmp_path / "mic.wav", sound, 16000, "FLOAT")
    batched, outputs = BatchSquarer(), []
    for processor in (Squarer(), batched):
        process_file(mic, tmp_path / "out.wav", processor, strength=70)
        outputs.append(sf.read(tmp_path / "out.wav", dtype="float32")[0])
    np.testing.assert_array_equal(*outputs)
    hops = -(-(count + batched.latency_samples) // 128)
    assert (batched.batches, batched.alone) == divmod(hops, batched.batch)


def test_the_reference_stays_in_time_with_the_microphone_at_any_pair_of_rates(
    tmp_path: Path,
) -> None:
    mic = write(tmp_path / "mic.wav", babble(2.0, 44100), 44100, "FLOAT")
    far = babble(2.5, 48000, seed=2)
    ref = write(tmp_path / "ref.wav", far, 48000, "FLOAT")
    process_file(mic, tmp_path / "out.wav", Reference(), ref=ref)
    got = sf.read(tmp_path / "out.wav", dtype="float32")[0]
    wanted = np.interp(np.arange(len(got)) / 44100, np.arange(len(far)) / 48000, far)
    assert lag(got, wanted.astype(np.float32)) == 0


@pytest.mark.parametrize(("channel", "which"), [(0, 0), (1, 1), (2, 2), (-1, 2), (-3, 0)])
def test_the_chosen_channel_is_the_one_processed(tmp_path: Path, channel: int, which: int) -> None:
    sounds = [babble(0.3, 16000, seed) for seed in range(3)]
    mic = write(tmp_path / "mic.wav", np.stack(sounds, axis=1), 16000, "FLOAT")
    process_file(mic, tmp_path / "out.wav", Delayed(), channel=channel)
    got = sf.read(tmp_path / "out.wav", dtype="float32")[0]
    np.testing.assert_array_equal(got, sounds[which])


def test_one_file_may_hold_microphone_and_reference(tmp_path: Path) -> None:
    sounds = [babble(0.3, 16000, seed) for seed in range(2)]
    mic = write(tmp_path / "both.wav", np.stack(sounds, axis=1), 16000, "FLOAT")
    process_file(mic, tmp_path / "out.wav", Reference(), ref=mic, ref_channel=-1)
    np.testing.assert_array_equal(sf.read(tmp_path / "out.wav", dtype="float32")[0], sounds[1])


@pytest.mark.parametrize(("strength", "gain"), [(0, 1.0), (25, 0.75), (100, 0.0)])
def test_strength_says_how_much_of_the_removed_stays_out(
    tmp_path: Path, strength: int, gain: float
) -> None:
    sound = babble(0.3, 16000)
    mic = write(tmp_path / "mic.wav", sound, 16000, "FLOAT")
    process_file(mic, tmp_path / "out.wav", Silencer(), strength=strength)
    got = sf.read(tmp_path / "out.wav", dtype="float32")[0]
    np.testing.assert_allclose(got, gain * sound, atol=1e-6)


def test_align_moves_the_reference_and_may_look_ahead(tmp_path: Path) -> None:
    far = babble(0.5, 16000, seed=2)
    mic = write(tmp_path / "mic.wav", babble(0.5, 16000), 16000, "FLOAT")
    ref = write(tmp_path / "ref.wav", far, 16000, "FLOAT")

    def two_hops_earlier(pairs: Iterator[Pair]) -> Iterator[Pair]:
        whole = list(pairs)
        later = [ref for _, ref in whole[2:]] + [np.zeros(128, np.float32)] * 2
        return iter([(mic, ref) for (mic, _), ref in zip(whole, later, strict=True)])

    process_file(mic, tmp_path / "out.wav", Reference(), ref=ref, align=two_hops_earlier)
    got = sf.read(tmp_path / "out.wav", dtype="float32")[0]
    np.testing.assert_array_equal(got[:-256], far[256:])


def test_progress_reaches_the_whole_and_the_levels_are_told(tmp_path: Path) -> None:
    sound = babble(3.0, 48000)
    mic = write(tmp_path / "mic.wav", sound, 48000, "FLOAT")
    told: list[tuple[float, float | None]] = []
    report = process_file(
        mic, tmp_path / "out.wav", Silencer(), progress=lambda done, all_: told.append((done, all_))
    )
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (3.0, 3.0)
    assert report.mic_dbfs == pytest.approx(10 * np.log10(np.mean(sound**2)), abs=0.1)
    assert report.out_dbfs == -np.inf


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    peaks = []
    for seconds in (4, 40):
        mic = tmp_path / f"{seconds}.wav"
        with sf.SoundFile(mic, "w", 48000, 2, "PCM_16") as file:
            for second in range(seconds):
                file.write(np.repeat(babble(1.0, 48000, second)[:, None], 2, axis=1))
        tracemalloc.start()
        process_file(mic, tmp_path / "out.wav", Delayed(), ref=mic)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    print(f"peak memory: {peaks[0] / 1e3:.0f} kB for 4 s, {peaks[1] / 1e3:.0f} kB for 40 s")
    assert peaks[1] < peaks[0] * 1.2 + 100_000
