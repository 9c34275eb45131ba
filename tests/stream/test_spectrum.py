"""The spectrometer puts each tone in its band at its power, and costs the worker a copy."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pipedtln.control.api import BANDS
from pipedtln.processor import HOP, SAMPLE_RATE, Block
from pipedtln.stream.spectrum import Spectrometer


def hear(meter: Spectrometer, mic: Block, out: Block) -> None:
    silence = np.zeros(HOP, dtype=np.float32)
    for at in range(0, len(mic) - HOP + 1, HOP):
        meter.hear(mic[at : at + HOP], silence, out[at : at + HOP])


def tone(hertz: float, amplitude: float = 1.0) -> Block:
    at = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * hertz * at)).astype(np.float32)


def band_of(hertz: float) -> int:
    """Equal steps of mel from 0 to 8 kHz."""
    mel = 2595 * np.log10(1 + np.array([hertz, 8000.0]) / 700)
    return int(BANDS * mel[0] / mel[1])


@pytest.mark.parametrize("hertz", [100.0, 440.0, 1000.0, 2500.0, 5000.0, 7500.0])
def test_a_tone_is_loudest_in_its_band(hertz: float) -> None:
    meter = Spectrometer(BANDS)
    hear(meter, tone(hertz), np.zeros(SAMPLE_RATE // 2, dtype=np.float32))
    mic, out = meter.spectra()
    assert len(mic) == len(out) == BANDS
    assert abs(int(np.argmax(list(mic))) - band_of(hertz)) <= 1
    assert set(out) == {0}


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 0.001])
def test_all_bands_sum_up_to_the_power(amplitude: float) -> None:
    meter = Spectrometer(BANDS)
    hear(meter, tone(1000.0, amplitude), tone(300.0, amplitude))
    for spectrum in meter.spectra():
        decibels = np.frombuffer(spectrum, dtype=np.uint8) / 2.0 - 120.0
        total = 10 * np.log10(np.sum(10 ** (decibels / 10)))
        assert abs(total - 20 * np.log10(amplitude / np.sqrt(2))) < 0.7


def test_silence_and_overload_stay_within_a_byte() -> None:
    meter = Spectrometer(BANDS)
    assert meter.spectra() == (bytes(BANDS), bytes(BANDS))
    hear(meter, tone(1000.0, 1000.0), tone(1000.0, 1e-9))
    mic, out = meter.spectra()
    assert max(mic) == 255
    assert set(out) == {0}


def test_what_was_heard_before_is_forgotten() -> None:
    meter = Spectrometer(BANDS)
    hear(meter, tone(1000.0), tone(1000.0))
    silence = np.zeros(SAMPLE_RATE // 2, dtype=np.float32)
    hear(meter, silence, silence)
    assert meter.spectra() == (bytes(BANDS), bytes(BANDS))


def test_the_worker_pays_little() -> None:
    meter = Spectrometer(BANDS)
    block = np.zeros(HOP, dtype=np.float32)
    best_hear = best_spectra = 1.0
    for _ in range(200):
        begin = time.perf_counter()
        meter.hear(block, block, block)
        middle = time.perf_counter()
        meter.spectra()
        end = time.perf_counter()
        best_hear, best_spectra = min(best_hear, middle - begin), min(best_spectra, end - middle)
    print(f"hear {1e6 * best_hear:.1f} us a hop, spectra {1e6 * best_spectra:.0f} us a question")
    assert best_hear < 100e-6
    assert best_spectra < 10e-3
