"""Tones, and what is left when a tone is taken out again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipedtln.processor import SAMPLE_RATE

Samples = NDArray[np.float32]


def tone(count: int, frequency: float = 440.0, amplitude: float = 0.3) -> Samples:
    """A sine, float32, shape (count,), 16 kHz."""
    time = np.arange(count) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def without_tone(
    sound: NDArray[np.floating], frequency: float = 440.0, window: int = 320
) -> NDArray[np.float64]:
    """What remains of a sound when the tone that fits each short window best is taken out.

    Amplitude, phase and a small detuning (their first derivatives) are fitted per window, so that
    slow bends of the phase vanish and clicks stay. The ends that fill no window are left out.
    """
    windows = len(sound) // window
    cut = np.asarray(sound[: windows * window], dtype=np.float64).reshape(windows, window)
    time = np.arange(window) / SAMPLE_RATE
    slope = np.linspace(-1, 1, window)
    c, s = (f(2 * np.pi * frequency * time) for f in (np.cos, np.sin))
    basis = np.stack([c, s, c * slope, s * slope, c * slope**2, s * slope**2], axis=1)
    weights, *_ = np.linalg.lstsq(basis, cut.T, rcond=None)
    return (cut - (basis @ weights).T).ravel()


def snr_db(sound: NDArray[np.floating], frequency: float) -> float:
    """Level of the best fitting steady tone over what is not that tone."""
    time = np.arange(len(sound)) / SAMPLE_RATE
    basis = np.stack([f(2 * np.pi * frequency * time) for f in (np.cos, np.sin)], axis=1)
    weights, *_ = np.linalg.lstsq(basis, sound, rcond=None)
    fit = basis @ weights
    return float(10 * np.log10(np.mean(fit**2) / np.mean((sound - fit) ** 2)))
