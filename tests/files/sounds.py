"""Test sounds that soundfile can write at any rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray


def babble(seconds: float, rate: int, seed: int = 1) -> NDArray[np.float32]:
    """Noise below 3.4 kHz whose level wanders: no two stretches of it are alike."""
    count = round(seconds * rate)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    spectrum[np.fft.rfftfreq(count, 1 / rate) > 3400] = 0
    noise = np.fft.irfft(spectrum, count)
    envelope = 0.6 + 0.4 * np.sin(2 * np.pi * 0.7 * np.arange(count) / rate)
    sound = (0.2 * envelope * noise / np.std(noise)).clip(-0.99, 0.99)
    return np.asarray(sound, np.float32)


def write(path: Path, sound: NDArray[np.float32], rate: int, subtype: str | None = None) -> Path:
    """Write a sound file and give its path."""
    sf.write(path, sound, rate, subtype=subtype)
    return path


def lag(later: NDArray[np.float32], earlier: NDArray[np.float32]) -> int:
    """Samples by which ``later`` lies behind ``earlier``, by their cross-correlation."""
    size = 2 * max(len(later), len(earlier))
    cross = np.fft.irfft(np.fft.rfft(later, size) * np.conj(np.fft.rfft(earlier, size)), size)
    peak = int(np.argmax(cross))
    return peak if peak < size // 2 else peak - size


def snr_db(got: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Energy of the wanted sound over that of the difference, in dB."""
    return float(10 * np.log10(np.sum(wanted**2) / (np.sum((got - wanted) ** 2) + 1e-20)))
